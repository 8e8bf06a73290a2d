//! What the fleet measures.

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};

/// Instances, by `state`.
pub const BROWSER_INSTANCES: &str = "browser_instances";
/// Open tabs.
pub const BROWSER_TABS: &str = "browser_tabs";
/// Chrome processes that run.
pub const BROWSER_PROCESSES: &str = "browser_processes";
/// Chrome processes that ended by themselves.
pub const BROWSER_PROCESS_RESTARTS_TOTAL: &str = "browser_process_restarts_total";
/// Renderers that crashed.
pub const BROWSER_TAB_CRASHES_TOTAL: &str = "browser_tab_crashes_total";
/// Tabs that were closed because their pages flooded the connection to Chrome.
pub const BROWSER_TAB_FLOODS_TOTAL: &str = "browser_tab_floods_total";
/// Time from the request for an instance until it is ready.
pub const BROWSER_INSTANCE_CREATE_DURATION_SECONDS: &str = "browser_instance_create_duration_seconds";
/// Time that navigations took, settling included, by `outcome`.
pub const BROWSER_NAVIGATION_DURATION_SECONDS: &str = "browser_navigation_duration_seconds";
/// Time that navigations waited for their turn.
pub const BROWSER_NAVIGATION_QUEUE_DURATION_SECONDS: &str = "browser_navigation_queue_duration_seconds";
/// Instances that were created, by whether one was `ready`.
pub const BROWSER_WARM_POOL_TOTAL: &str = "browser_warm_pool_total";
/// Dialogs that pages opened and that were dismissed.
pub const BROWSER_DIALOGS_TOTAL: &str = "browser_dialogs_total";
/// Instances that lost their Chrome and were restored.
pub const BROWSER_RESTORES_TOTAL: &str = "browser_restores_total";
/// Instances that gave their memory back.
pub const BROWSER_HIBERNATIONS_TOTAL: &str = "browser_hibernations_total";
/// Time that an instance took to have a context again.
pub const BROWSER_WAKE_DURATION_SECONDS: &str = "browser_wake_duration_seconds";
/// Chrome processes that were replaced, by `reason`: `hung`, `memory` or `age`.
pub const BROWSER_PROCESS_REPLACED_TOTAL: &str = "browser_process_replaced_total";
/// Memory of all Chrome processes with their children: proportional set size.
pub const BROWSER_MEMORY_BYTES: &str = "browser_memory_bytes";

/// Downloads of pages that came to their end, by `outcome`.
pub const BROWSER_DOWNLOADS_TOTAL: &str = "browser_downloads_total";

/// Registers the unit and help of each metric.
pub(crate) fn describe() {
    crate::passthrough::describe();
    crate::feed::describe();
    describe_gauge!(BROWSER_INSTANCES, Unit::Count, "Instances, by state");
    describe_gauge!(BROWSER_TABS, Unit::Count, "Open tabs");
    describe_gauge!(BROWSER_PROCESSES, Unit::Count, "Chrome processes that run");
    describe_counter!(
        BROWSER_PROCESS_RESTARTS_TOTAL,
        Unit::Count,
        "Chrome processes that ended by themselves"
    );
    describe_counter!(BROWSER_TAB_CRASHES_TOTAL, Unit::Count, "Renderers that crashed");
    describe_counter!(
        BROWSER_TAB_FLOODS_TOTAL,
        Unit::Count,
        "Tabs that were closed because their pages flooded the connection to Chrome"
    );
    describe_histogram!(
        BROWSER_INSTANCE_CREATE_DURATION_SECONDS,
        Unit::Seconds,
        "Time from the request for an instance until it is ready"
    );
    describe_histogram!(
        BROWSER_NAVIGATION_DURATION_SECONDS,
        Unit::Seconds,
        "Time that navigations took, settling included, by outcome"
    );
    describe_histogram!(
        BROWSER_NAVIGATION_QUEUE_DURATION_SECONDS,
        Unit::Seconds,
        "Time that navigations waited for their turn"
    );
    describe_counter!(
        BROWSER_WARM_POOL_TOTAL,
        Unit::Count,
        "Instances that were created, by whether one was ready"
    );
    describe_counter!(
        BROWSER_RESTORES_TOTAL,
        Unit::Count,
        "Instances that lost their Chrome and were restored"
    );
    describe_counter!(BROWSER_HIBERNATIONS_TOTAL, Unit::Count, "Instances that gave their memory back");
    describe_histogram!(
        BROWSER_WAKE_DURATION_SECONDS,
        Unit::Seconds,
        "Time that an instance took to have a context again"
    );
    describe_counter!(
        BROWSER_PROCESS_REPLACED_TOTAL,
        Unit::Count,
        "Chrome processes that were replaced, by reason: hung, memory or age"
    );
    describe_gauge!(
        BROWSER_MEMORY_BYTES,
        Unit::Bytes,
        "Proportional set size of all Chrome processes with their children"
    );
    describe_counter!(
        BROWSER_DOWNLOADS_TOTAL,
        Unit::Count,
        "Downloads of pages that came to their end, by outcome"
    );
    describe_counter!(BROWSER_DIALOGS_TOTAL, Unit::Count, "Dialogs of pages that were dismissed");
}
