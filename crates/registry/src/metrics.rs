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
/// Searches that were to find servers by what they mean, by outcome: `used`, `partial`, `unavailable`.
pub const REGISTRY_SEARCH_SEMANTIC_TOTAL: &str = "registry_search_semantic_total";
/// Texts of servers that are embedded.
pub const REGISTRY_EMBEDDINGS: &str = "registry_embeddings";
/// Texts of servers that are yet to be embedded.
pub const REGISTRY_EMBEDDINGS_MISSING: &str = "registry_embeddings_missing";
/// Changes of what was published here, by event.
pub const REGISTRY_CHANGES_TOTAL: &str = "registry_changes_total";
/// Proofs of namespaces that were presented, by method and outcome: `ok`, `off`, `malformed`, `refused`, `unchecked`, `busy`,
/// `failed`.
pub const REGISTRY_PROOFS_TOTAL: &str = "registry_proofs_total";
/// Calls of tools of MCP servers, by server, tool and outcome: `ok`, `tool_error`, `refused`, `timeout`, `failed`,
/// `unavailable`, `busy`, `cancelled`.
pub const REGISTRY_GATEWAY_CALLS_TOTAL: &str = "registry_gateway_calls_total";
/// How long calls of tools took, by server and tool.
pub const REGISTRY_GATEWAY_CALL_DURATION_SECONDS: &str = "registry_gateway_call_duration_seconds";
/// Processes of MCP servers that run, by server.
pub const REGISTRY_GATEWAY_PROCESSES: &str = "registry_gateway_processes";
/// Sessions that clients have with MCP servers, by server.
pub const REGISTRY_GATEWAY_SESSIONS: &str = "registry_gateway_sessions";
/// Starts of MCP servers and connections to them, by server and outcome: `ok` or `failed`.
pub const REGISTRY_GATEWAY_STARTS_TOTAL: &str = "registry_gateway_starts_total";
/// Tools that MCP servers have, by server.
pub const REGISTRY_GATEWAY_TOOLS: &str = "registry_gateway_tools";

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
    describe_counter!(
        REGISTRY_SEARCH_SEMANTIC_TOTAL,
        Unit::Count,
        "Searches that were to find servers by what they mean, by outcome."
    );
    describe_gauge!(REGISTRY_EMBEDDINGS, Unit::Count, "Texts of servers that are embedded.");
    describe_gauge!(
        REGISTRY_EMBEDDINGS_MISSING,
        Unit::Count,
        "Texts of servers that are yet to be embedded."
    );
    describe_counter!(REGISTRY_CHANGES_TOTAL, Unit::Count, "Changes of what was published here, by event.");
    describe_counter!(
        REGISTRY_PROOFS_TOTAL,
        Unit::Count,
        "Proofs of namespaces that were presented, by method and outcome."
    );
    describe_counter!(
        REGISTRY_GATEWAY_CALLS_TOTAL,
        Unit::Count,
        "Calls of tools of MCP servers, by server, tool and outcome."
    );
    describe_histogram!(
        REGISTRY_GATEWAY_CALL_DURATION_SECONDS,
        Unit::Seconds,
        "Duration of calls of tools of MCP servers, by server and tool."
    );
    describe_gauge!(REGISTRY_GATEWAY_PROCESSES, Unit::Count, "Processes of MCP servers that run, by server.");
    describe_gauge!(
        REGISTRY_GATEWAY_SESSIONS,
        Unit::Count,
        "Sessions of clients with MCP servers, by server."
    );
    describe_counter!(
        REGISTRY_GATEWAY_STARTS_TOTAL,
        Unit::Count,
        "Starts of MCP servers and connections to them, by server and outcome."
    );
    describe_gauge!(REGISTRY_GATEWAY_TOOLS, Unit::Count, "Tools that MCP servers have, by server.");
}
