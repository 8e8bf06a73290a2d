//! Names of the configuration's metrics.

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};

/// How long a reload took, from the detected change to the swap.
pub const CONFIG_RELOAD_DURATION_SECONDS: &str = "config_reload_duration_seconds";
/// Reloads by outcome: `applied` or `rejected`.
pub const CONFIG_RELOADS_TOTAL: &str = "config_reloads_total";
/// 1 while the file is the configuration in force, 0 while it is rejected.
pub const CONFIG_FILE_VALID: &str = "config_file_valid";
/// Keys that were changed and wait for a restart.
pub const CONFIG_RESTART_PENDING: &str = "config_restart_pending";

/// Registers unit and help of this module's metrics.
pub fn describe() {
    describe_histogram!(
        CONFIG_RELOAD_DURATION_SECONDS,
        Unit::Seconds,
        "Time from a detected change to the swap"
    );
    describe_counter!(CONFIG_RELOADS_TOTAL, Unit::Count, "Configuration reloads, by outcome");
    describe_gauge!(CONFIG_FILE_VALID, Unit::Count, "1 while the file is in force, 0 while it is rejected");
    describe_gauge!(CONFIG_RESTART_PENDING, Unit::Count, "Changed keys that wait for a restart");
}
