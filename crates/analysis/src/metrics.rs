//! What an analysis reports about itself.

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};

/// Analyses that ended, by outcome: `ok`, `cached`, or the problem's slug.
pub const ANALYSES_TOTAL: &str = "analysis_total";
/// How long an analysis took from its turn to its report.
pub const ANALYSIS_DURATION_SECONDS: &str = "analysis_duration_seconds";
/// How long one stage took, by stage and screen.
pub const ANALYSIS_STAGE_DURATION_SECONDS: &str = "analysis_stage_duration_seconds";
/// Analyses that wait for their turn.
pub const ANALYSIS_QUEUE_DEPTH: &str = "analysis_queue_depth";
/// Findings, by rule.
pub const ANALYSIS_FINDINGS_TOTAL: &str = "analysis_findings_total";
/// Screens that were looked at again because their browser died.
pub const ANALYSIS_RETRIES_TOTAL: &str = "analysis_retries_total";

/// Gives every metric its unit and help.
pub fn describe() {
    describe_counter!(ANALYSES_TOTAL, "Analyses that ended, by outcome.");
    describe_histogram!(
        ANALYSIS_DURATION_SECONDS,
        Unit::Seconds,
        "Duration of an analysis from its turn to its report."
    );
    describe_histogram!(
        ANALYSIS_STAGE_DURATION_SECONDS,
        Unit::Seconds,
        "Duration of one stage of an analysis, by stage and screen."
    );
    describe_gauge!(ANALYSIS_QUEUE_DEPTH, "Analyses that wait for their turn.");
    describe_counter!(ANALYSIS_FINDINGS_TOTAL, "Findings, by rule.");
    describe_counter!(
        ANALYSIS_RETRIES_TOTAL,
        "Screens that were looked at again because their browser died."
    );
}
