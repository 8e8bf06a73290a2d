//! Messages that are sent later, and when agents are due on schedule.

use std::collections::HashMap;

use bytes::Bytes;
use jiff::Timestamp;
use paddock_platform::{
    params,
    store::{Row, Store, StoreError, Value},
};

use super::statement;

statement!(
    LOAD_REMINDERS,
    "load_reminders",
    "SELECT agent, due_at, envelope, content FROM agent_reminders ORDER BY due_at LIMIT ?1"
);
statement!(
    LOAD_REMINDERS_OF,
    "load_reminders_of",
    "SELECT agent, due_at, envelope, content FROM agent_reminders WHERE agent = ANY(?1::text[]) ORDER BY due_at"
);
statement!(
    LOAD_SCHEDULE,
    "load_schedule",
    "SELECT agent, spec, due_at FROM agent_schedules WHERE agent = ?1"
);
statement!(LOAD_SCHEDULES, "load_schedules", "SELECT agent, spec, due_at FROM agent_schedules");
statement!(
    SET_SCHEDULE,
    "set_schedule",
    "INSERT INTO agent_schedules (agent, spec, due_at) VALUES (?1, ?2, ?3) \
     ON CONFLICT (agent) DO UPDATE SET spec = excluded.spec, due_at = excluded.due_at"
);
statement!(UNSET_SCHEDULE, "unset_schedule", "DELETE FROM agent_schedules WHERE agent = ?1");

/// A message that is sent later.
#[derive(Debug)]
pub(crate) struct ReminderRow {
    pub(crate) agent: String,
    pub(crate) due_at: Timestamp,
    pub(crate) envelope: String,
    pub(crate) content: Bytes,
}

/// The reminders of all agents, the first that is due first.
pub(crate) async fn load_reminders(store: &Store, max: usize) -> Result<Vec<ReminderRow>, StoreError> {
    let max = i64::try_from(max).unwrap_or(i64::MAX);
    store.query(&LOAD_REMINDERS, params![max]).await?.iter().map(read).collect()
}

fn read(row: &Row) -> Result<ReminderRow, StoreError> {
    Ok(ReminderRow {
        agent: row.get("agent")?,
        due_at: row.get("due_at")?,
        envelope: row.get("envelope")?,
        content: row.get("content")?,
    })
}

/// The reminders of these agents. PostgreSQL only: elsewhere a server has all of them.
pub(crate) async fn load_reminders_of(
    store: &Store,
    agents: &[&str],
) -> Result<Vec<ReminderRow>, StoreError> {
    let agents = Value::Array(agents.iter().map(|agent| Value::from(*agent)).collect());
    store.query(&LOAD_REMINDERS_OF, vec![agents]).await?.iter().map(read).collect()
}

/// By what schedule agents are due, and when, by their keys.
pub(crate) async fn load_schedules(
    store: &Store,
) -> Result<HashMap<String, (String, Timestamp)>, StoreError> {
    let rows = store.query(&LOAD_SCHEDULES, params![]).await?;
    rows.iter().map(|row| Ok((row.get("agent")?, (row.get("spec")?, row.get("due_at")?)))).collect()
}

/// An agent is due at a time, by a schedule.
pub(crate) async fn set_schedule(
    store: &Store,
    agent: &str,
    spec: &str,
    due: Timestamp,
) -> Result<(), StoreError> {
    store.execute(&SET_SCHEDULE, params![agent, spec, due]).await.map(|_| ())
}

/// An agent has no schedule any more.
pub(crate) async fn unset_schedule(store: &Store, agent: &str) -> Result<(), StoreError> {
    store.execute(&UNSET_SCHEDULE, params![agent]).await.map(|_| ())
}

/// The same of one agent.
pub(crate) async fn load_schedules_of(
    store: &Store,
    agent: &str,
) -> Result<HashMap<String, (String, Timestamp)>, StoreError> {
    let rows = store.query(&LOAD_SCHEDULE, params![agent]).await?;
    rows.iter().map(|row| Ok((row.get("agent")?, (row.get("spec")?, row.get("due_at")?)))).collect()
}
