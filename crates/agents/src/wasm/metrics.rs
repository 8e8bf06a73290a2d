//! What agents that are components report.

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};

/// Memories of agents that are ready: `used`, `max`.
pub const AGENTS_WASM_INSTANCES: &str = "agents_wasm_instances";
/// Instances that were made: agents that were started, or woken.
pub const AGENTS_WASM_STARTS_TOTAL: &str = "agents_wasm_starts_total";
/// Idle instances that were put aside, by `reason`: `bound`, `memory`.
pub const AGENTS_WASM_PARKED_TOTAL: &str = "agents_wasm_parked_total";
/// Turns that were cut off, by `reason`: `time`, `wait`, `memory`, `fuel`, `trap`.
pub const AGENTS_WASM_CUT_OFF_TOTAL: &str = "agents_wasm_cut_off_total";
/// Turns that computed for longer than a slice and now take turns.
pub const AGENTS_WASM_COMPUTING: &str = "agents_wasm_computing";
/// How long compiling a component took.
pub const AGENTS_WASM_COMPILE_DURATION_SECONDS: &str = "agents_wasm_compile_duration_seconds";
/// Looks for compiled code on disk, by `outcome`: `hit`, `miss`, `corrupt`.
pub const AGENTS_WASM_CACHE_TOTAL: &str = "agents_wasm_cache_total";

/// Gives every metric its unit and help.
pub fn describe() {
    describe_gauge!(
        AGENTS_WASM_INSTANCES,
        Unit::Count,
        "Memories of agents that are ready, and how many may be"
    );
    describe_counter!(AGENTS_WASM_STARTS_TOTAL, "Instances that were made of components");
    describe_counter!(AGENTS_WASM_PARKED_TOTAL, "Idle instances that were put aside, by reason");
    describe_counter!(AGENTS_WASM_CUT_OFF_TOTAL, "Turns that were cut off, by reason");
    describe_gauge!(AGENTS_WASM_COMPUTING, Unit::Count, "Turns that compute for longer than a slice");
    describe_histogram!(AGENTS_WASM_COMPILE_DURATION_SECONDS, Unit::Seconds, "Time to compile a component");
    describe_counter!(AGENTS_WASM_CACHE_TOTAL, "Looks for compiled code on disk, by outcome");
}
