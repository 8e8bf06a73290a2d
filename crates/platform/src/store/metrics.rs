//! Names of the store's metrics, and the slow-query log.

use std::time::{Duration, Instant};

use metrics::{Unit, describe_gauge, describe_histogram, histogram};

use super::Statement;

/// How long statements took, by area and statement.
pub const STORE_QUERY_DURATION_SECONDS: &str = "store_query_duration_seconds";
/// How long calls waited for a connection or for their turn, by `kind`: `read`, `write` (SQLite), `connection` (PostgreSQL).
pub const STORE_WAIT_DURATION_SECONDS: &str = "store_wait_duration_seconds";
/// How long commits took.
pub const STORE_COMMIT_DURATION_SECONDS: &str = "store_commit_duration_seconds";
/// How many transactions shared a commit (SQLite).
pub const STORE_COMMIT_TRANSACTIONS: &str = "store_commit_transactions";
/// Connections by state: `used`, `idle`, `free` (of the maximum, not used), `max`.
pub const STORE_CONNECTIONS: &str = "store_connections";
/// Calls that wait for a connection or for their turn.
pub const STORE_WAITING: &str = "store_waiting";

/// Registers unit and help of this module's metrics.
pub fn describe() {
    describe_histogram!(STORE_QUERY_DURATION_SECONDS, Unit::Seconds, "Duration of statements");
    describe_histogram!(STORE_WAIT_DURATION_SECONDS, Unit::Seconds, "Wait for a connection or a turn");
    describe_histogram!(STORE_COMMIT_DURATION_SECONDS, Unit::Seconds, "Duration of commits");
    describe_histogram!(STORE_COMMIT_TRANSACTIONS, Unit::Count, "Transactions that shared a commit");
    describe_gauge!(STORE_CONNECTIONS, Unit::Count, "Connections to the store, by state");
    describe_gauge!(STORE_WAITING, Unit::Count, "Calls that wait for the store");
}

/// Times statements and logs the slow ones: area and name, never parameters.
#[derive(Clone, Copy, Debug)]
pub(super) struct StatementClock {
    pub(super) slow_after: Duration,
}

impl StatementClock {
    pub(super) fn observe(self, statement: &Statement, started: Instant) {
        let elapsed = started.elapsed();
        histogram!(STORE_QUERY_DURATION_SECONDS, "area" => statement.area, "statement" => statement.name)
            .record(elapsed);
        if elapsed >= self.slow_after {
            tracing::warn!(
                store.area = statement.area,
                store.statement = statement.name,
                duration_ms = elapsed.as_millis() as u64,
                "slow query"
            );
        }
    }
}
