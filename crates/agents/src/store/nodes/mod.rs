//! Servers that share the agents: which there are, who runs which agent, and which messages came for whom. PostgreSQL only.
//!
//! A server's row is its lease, by the database's clock. Removing the row ends it: a transaction that writes what an agent
//! did locks the row of its server against that ([`held`]), so that nothing is written under a lease that has ended. The
//! id of a row is never used again.
//!
//! Who runs which agent changes under one lock ([`LOCK`]), so that epochs are in the order in which they were committed.

mod arrivals;
mod lease;
mod owners;

use paddock_platform::store::Value;

pub(crate) use self::{
    arrivals::{Arrivals, arrivals, arrive, backlog, pick, places},
    lease::{Busy, Member, NodeRow, expel, join, leave, members, renew},
    owners::{Taken, changes, counts, disown, forget_owners, held, place},
};
use super::statement;

/// Where servers that share a store tell each other that something changed.
pub(crate) const CHANNEL: &str = "paddock_agents";
/// What is told when a server comes or goes, or agents go to another.
pub(crate) const PLACED: &str = "placed";
/// What is told before the key of an agent that is another, or removed.
pub(crate) const AGENT: &str = "agent:";

// The number says whose lock it is.
statement!(LOCK, "lock_placement", "SELECT pg_advisory_xact_lock(7306093012)::text");

fn texts<'a>(of: impl Iterator<Item = &'a str>) -> Value {
    Value::Array(of.map(Value::from).collect())
}
