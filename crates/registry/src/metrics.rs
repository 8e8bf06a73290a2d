//! What the registry reports about itself. `sync_duration_seconds` and `sync_server_count` have the names that dashboards
//! of other registries look for.

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};

/// How long a sync took that read its source's content, by the source's type.
pub const SYNC_DURATION_SECONDS: &str = "sync_duration_seconds";
/// Entries that sources have, by their type.
pub const SYNC_SERVER_COUNT: &str = "sync_server_count";
/// Syncs, by the source's type and outcome: `changed`, `unchanged`, or what went wrong.
pub const REGISTRY_SYNCS_TOTAL: &str = "registry_syncs_total";
/// Entries, by source.
pub const REGISTRY_ENTRIES: &str = "registry_entries";
/// Entries that are kept out, by source.
pub const REGISTRY_QUARANTINED: &str = "registry_quarantined";
/// Syncs that failed since the last one that did not, by source.
pub const REGISTRY_SYNC_FAILURES: &str = "registry_sync_failures";
/// How long putting the views together anew took.
pub const REGISTRY_COMPOSE_DURATION_SECONDS: &str = "registry_compose_duration_seconds";
/// How long searches took.
pub const REGISTRY_SEARCH_DURATION_SECONDS: &str = "registry_search_duration_seconds";
/// Changes of what was published here, by event.
pub const REGISTRY_CHANGES_TOTAL: &str = "registry_changes_total";

/// Gives every metric its unit and help.
pub fn describe() {
    describe_histogram!(
        SYNC_DURATION_SECONDS,
        Unit::Seconds,
        "Duration of a sync that read its source's content, by type of source."
    );
    describe_gauge!(SYNC_SERVER_COUNT, Unit::Count, "Entries that sources have, by type of source.");
    describe_counter!(REGISTRY_SYNCS_TOTAL, Unit::Count, "Syncs, by type of source and outcome.");
    describe_gauge!(REGISTRY_ENTRIES, Unit::Count, "Entries, by source.");
    describe_gauge!(REGISTRY_QUARANTINED, Unit::Count, "Entries that are kept out, by source.");
    describe_gauge!(
        REGISTRY_SYNC_FAILURES,
        Unit::Count,
        "Syncs that failed since the last one that did not, by source."
    );
    describe_histogram!(
        REGISTRY_COMPOSE_DURATION_SECONDS,
        Unit::Seconds,
        "Duration of putting the views together anew."
    );
    describe_histogram!(REGISTRY_SEARCH_DURATION_SECONDS, Unit::Seconds, "Duration of a search.");
    describe_counter!(REGISTRY_CHANGES_TOTAL, Unit::Count, "Changes of what was published here, by event.");
}
