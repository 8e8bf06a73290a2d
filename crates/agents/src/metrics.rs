//! The area's metrics.

use metrics::{
    Counter, Histogram, Unit, counter, describe_counter, describe_gauge, describe_histogram, histogram,
};

/// Messages that were accepted from outside. Labels: `delivery`.
pub const AGENTS_MESSAGES_TOTAL: &str = "agents_messages_total";
/// Messages that were handled. Labels: `outcome`.
pub const AGENTS_HANDLED_TOTAL: &str = "agents_handled_total";
/// Messages that nobody will handle. Labels: `reason`.
pub const AGENTS_DEAD_LETTERS_TOTAL: &str = "agents_dead_letters_total";
/// How long the first message of a batch waited.
pub const AGENTS_WAIT_DURATION_SECONDS: &str = "agents_wait_duration_seconds";
/// How long turns took that took time.
pub const AGENTS_TURN_DURATION_SECONDS: &str = "agents_turn_duration_seconds";
/// Turns that took longer than `agents.slow_after`. Labels: `kind`.
pub const AGENTS_SLOW_TOTAL: &str = "agents_slow_total";
/// Restarts. Labels: `kind`.
pub const AGENTS_RESTARTS_TOTAL: &str = "agents_restarts_total";
/// Agents. Labels: `state` (`all`, `awake`).
pub const AGENTS_AGENTS: &str = "agents_agents";
/// Durable changes that shared a transaction.
pub const AGENTS_COMMIT_BATCH: &str = "agents_commit_batch";
/// How long durable changes took from being handed in to being kept.
pub const AGENTS_COMMIT_DURATION_SECONDS: &str = "agents_commit_duration_seconds";
/// Durable messages that were sent again and recognised.
pub const AGENTS_DUPLICATES_TOTAL: &str = "agents_duplicates_total";
/// Changes that were not written because another server runs the agent.
pub const AGENTS_FENCED_TOTAL: &str = "agents_fenced_total";
/// Servers that share the agents.
pub const AGENTS_NODES: &str = "agents_nodes";
/// Agents that this server runs, where several share them.
pub const AGENTS_OWNED: &str = "agents_owned";
/// How long this server's lease still is.
pub const AGENTS_LEASE_LEFT_SECONDS: &str = "agents_lease_left_seconds";
/// Leases that ended although their server ran: it stopped its agents. Labels: `reason`.
pub const AGENTS_LEASES_LOST_TOTAL: &str = "agents_leases_lost_total";
/// Agents that came to this server. Labels: `reason` (`new`, `moved`).
pub const AGENTS_TAKEN_TOTAL: &str = "agents_taken_total";
/// Messages that went to another server, in memory. Labels: `outcome`.
pub const AGENTS_PASSED_TOTAL: &str = "agents_passed_total";
/// Messages that wait until it is known who runs their agents.
pub const AGENTS_HELD: &str = "agents_held";
/// Entries of timelines that were left out.
pub const AGENTS_ENTRIES_LOST_TOTAL: &str = "agents_entries_lost_total";
/// Runs of prompt agents. Labels: `outcome`.
pub const AGENTS_RUNS_TOTAL: &str = "agents_runs_total";
/// How long runs of prompt agents took.
pub const AGENTS_RUN_DURATION_SECONDS: &str = "agents_run_duration_seconds";
/// Tool calls of agents. Labels: `outcome`.
pub const AGENTS_TOOL_CALLS_TOTAL: &str = "agents_tool_calls_total";

/// Times that came for agents with a schedule. Labels: `outcome`.
pub const AGENTS_SCHEDULED_TOTAL: &str = "agents_scheduled_total";

/// Says what each metric means.
pub fn describe() {
    describe_counter!(AGENTS_MESSAGES_TOTAL, Unit::Count, "Messages that were accepted from outside");
    describe_counter!(AGENTS_HANDLED_TOTAL, Unit::Count, "Messages that were handled");
    describe_counter!(AGENTS_DEAD_LETTERS_TOTAL, Unit::Count, "Messages that nobody will handle");
    describe_histogram!(
        AGENTS_WAIT_DURATION_SECONDS,
        Unit::Seconds,
        "How long the first message of a batch waited in its mailbox"
    );
    describe_histogram!(
        AGENTS_TURN_DURATION_SECONDS,
        Unit::Seconds,
        "Duration of turns that were not over at once"
    );
    describe_counter!(AGENTS_SLOW_TOTAL, Unit::Count, "Turns that took longer than `agents.slow_after`");
    describe_counter!(AGENTS_RESTARTS_TOTAL, Unit::Count, "Restarts of agents");
    describe_gauge!(AGENTS_AGENTS, Unit::Count, "Agents, and how many are awake");
    describe_histogram!(AGENTS_COMMIT_BATCH, Unit::Count, "Durable changes that shared a transaction");
    describe_histogram!(
        AGENTS_COMMIT_DURATION_SECONDS,
        Unit::Seconds,
        "Time from handing in a durable change to its commit"
    );
    describe_counter!(
        AGENTS_DUPLICATES_TOTAL,
        Unit::Count,
        "Durable messages that were sent again and recognised"
    );
    describe_counter!(
        AGENTS_FENCED_TOTAL,
        Unit::Count,
        "Changes that were not written because another server runs the agent"
    );
    describe_gauge!(AGENTS_NODES, Unit::Count, "Servers that share the agents");
    describe_gauge!(AGENTS_OWNED, Unit::Count, "Agents that this server runs, where several share them");
    describe_gauge!(AGENTS_LEASE_LEFT_SECONDS, Unit::Seconds, "How long this server's lease still is");
    describe_counter!(AGENTS_LEASES_LOST_TOTAL, Unit::Count, "Leases that ended although their server ran");
    describe_counter!(AGENTS_TAKEN_TOTAL, Unit::Count, "Agents that came to this server");
    describe_counter!(AGENTS_PASSED_TOTAL, Unit::Count, "Messages that went to another server, in memory");
    describe_gauge!(AGENTS_HELD, Unit::Count, "Messages that wait until it is known who runs their agents");
    describe_counter!(AGENTS_ENTRIES_LOST_TOTAL, Unit::Count, "Entries of timelines that were left out");
    describe_counter!(AGENTS_RUNS_TOTAL, Unit::Count, "Runs of prompt agents");
    describe_histogram!(AGENTS_RUN_DURATION_SECONDS, Unit::Seconds, "Duration of runs of prompt agents");
    describe_counter!(AGENTS_TOOL_CALLS_TOTAL, Unit::Count, "Tool calls of agents");
    describe_counter!(AGENTS_SCHEDULED_TOTAL, Unit::Count, "Times that came for agents with a schedule");
    crate::wasm::metrics::describe();
}

/// The series of the hot path, looked up once.
pub(crate) struct Meters {
    pub(crate) accepted: Counter,
    pub(crate) accepted_durable: Counter,
    pub(crate) handled: Counter,
    pub(crate) failed: Counter,
    pub(crate) wait: Histogram,
    pub(crate) turn: Histogram,
}

impl Meters {
    pub(crate) fn new() -> Self {
        Self {
            accepted: counter!(AGENTS_MESSAGES_TOTAL, "delivery" => "memory"),
            accepted_durable: counter!(AGENTS_MESSAGES_TOTAL, "delivery" => "durable"),
            handled: counter!(AGENTS_HANDLED_TOTAL, "outcome" => "ok"),
            failed: counter!(AGENTS_HANDLED_TOTAL, "outcome" => "failed"),
            wait: histogram!(AGENTS_WAIT_DURATION_SECONDS),
            turn: histogram!(AGENTS_TURN_DURATION_SECONDS),
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_metric_is_on_the_page_of_the_area() {
        let page = include_str!("../../../docs/agents.md");
        for source in [include_str!("metrics.rs"), include_str!("wasm/metrics.rs")] {
            let names: Vec<&str> = source
                .lines()
                .filter_map(|line| line.strip_prefix("pub const ")?.split('"').nth(1))
                .collect();
            assert!(!names.is_empty());
            for name in names {
                assert!(page.contains(name), "{name}");
            }
        }
    }
}
