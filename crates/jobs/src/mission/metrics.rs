//! What missions report about themselves.

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};

/// Missions that ended, by outcome.
pub const MISSIONS_TOTAL: &str = "missions_total";
/// Missions that took longer than `[jobs.missions] slow`.
pub const MISSIONS_SLOW_TOTAL: &str = "missions_slow_total";
/// Runs of steps that ended, by outcome; `undo` tells runs from what undid them.
pub const MISSION_STEPS_TOTAL: &str = "mission_steps_total";
/// Missions that have not ended, by phase.
pub const MISSIONS_ACTIVE: &str = "missions_active";
/// How long missions took from being accepted to their end.
pub const MISSION_DURATION_SECONDS: &str = "mission_duration_seconds";
/// How long it took to advance a mission in the transaction that ends one of its jobs.
pub const MISSION_ADVANCE_DURATION_SECONDS: &str = "mission_advance_duration_seconds";
/// Decisions about approvals, by decision: `approved`, `rejected`, `expired`.
pub const MISSION_APPROVALS_TOTAL: &str = "mission_approvals_total";

/// Gives every metric its unit and help.
pub(crate) fn describe() {
    describe_counter!(MISSIONS_TOTAL, "Missions that ended, by outcome.");
    describe_counter!(MISSIONS_SLOW_TOTAL, "Missions that took longer than they should.");
    describe_counter!(
        MISSION_STEPS_TOTAL,
        "Runs of mission steps that ended, by outcome and whether they undid one."
    );
    describe_gauge!(MISSIONS_ACTIVE, "Missions that have not ended, by phase.");
    describe_histogram!(
        MISSION_DURATION_SECONDS,
        Unit::Seconds,
        "Duration of missions from being accepted to their end."
    );
    describe_histogram!(
        MISSION_ADVANCE_DURATION_SECONDS,
        Unit::Seconds,
        "Duration of advancing a mission within the transaction that ends one of its jobs."
    );
    describe_counter!(MISSION_APPROVALS_TOTAL, "Decisions about approvals of missions, by decision.");
}
