//! Durable messages and the state that they change.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

use bytes::Bytes;
use jiff::Timestamp;
use paddock_platform::{
    identity::Tenant,
    params,
    store::{Params, Row, Store, StoreError, Transaction},
};

use super::{nodes, statement};

/// Rows of old messages that are forgotten at once.
const FORGET_MAX: i64 = 10_000;

// A message that is there already under the same place was written by this very transaction, whose first try was kept
// although nobody could say so.
statement!(
    SEE_EACH, "see",
    "INSERT INTO agent_seen (agent, message, place, seen_at) VALUES (?1, ?2, ?3, ?4) \
     ON CONFLICT (agent, message) DO UPDATE SET seen_at = excluded.seen_at WHERE agent_seen.place = excluded.place \
     RETURNING place, true AS is_first",
    postgres: "INSERT INTO agent_seen (agent, message, place, seen_at) \
     SELECT DISTINCT ON (n.a, n.m) n.a, n.m, n.p, n.t \
     FROM UNNEST(?1::text[], ?2::bytea[], ?3::bigint[], ?4::bigint[]) AS n (a, m, p, t) ORDER BY n.a, n.m, n.p \
     ON CONFLICT (agent, message) DO UPDATE SET seen_at = excluded.seen_at WHERE agent_seen.place = excluded.place \
     RETURNING place, xmax = 0 AS is_first"
);
statement!(
    INSERT_EACH, "insert_message",
    "INSERT INTO agent_inbox (agent, place, attempts, envelope, content) VALUES (?1, ?2, 0, ?3, ?4) \
     ON CONFLICT DO NOTHING",
    postgres: "INSERT INTO agent_inbox (agent, place, attempts, envelope, content) \
     SELECT n.a, n.p, 0, n.e, n.c FROM UNNEST(?1::text[], ?2::bigint[], ?3::text[], ?4::bytea[]) AS n (a, p, e, c) \
     ON CONFLICT DO NOTHING"
);
statement!(
    CONSUME_EACH, "consume",
    "DELETE FROM agent_inbox WHERE agent = ?1 AND place = ?2",
    postgres: "DELETE FROM agent_inbox i USING UNNEST(?1::text[], ?2::bigint[]) AS n (a, p) \
     WHERE i.agent = n.a AND i.place = n.p"
);
statement!(
    SET_EACH, "set_state",
    "INSERT INTO agent_state (agent, entry, content) VALUES (?1, ?2, ?3) \
     ON CONFLICT (agent, entry) DO UPDATE SET content = excluded.content",
    postgres: "INSERT INTO agent_state (agent, entry, content) \
     SELECT n.a, n.e, n.c FROM UNNEST(?1::text[], ?2::text[], ?3::bytea[]) AS n (a, e, c) \
     ON CONFLICT (agent, entry) DO UPDATE SET content = excluded.content"
);
statement!(
    UNSET_EACH, "unset_state",
    "DELETE FROM agent_state WHERE agent = ?1 AND entry = ?2",
    postgres: "DELETE FROM agent_state s USING UNNEST(?1::text[], ?2::text[]) AS n (a, e) \
     WHERE s.agent = n.a AND s.entry = n.e"
);
statement!(
    BURY_EACH, "bury",
    "INSERT INTO agent_dead_letters (tenant, at, letter) VALUES (?1, ?2, ?3)",
    postgres: "INSERT INTO agent_dead_letters (tenant, at, letter) \
     SELECT n.t, n.a, n.l FROM UNNEST(?1::text[], ?2::bigint[], ?3::text[]) AS n (t, a, l)"
);
statement!(
    REMIND_EACH, "remind",
    "INSERT INTO agent_reminders (agent, message, due_at, envelope, content) VALUES (?1, ?2, ?3, ?4, ?5) \
     ON CONFLICT DO NOTHING",
    postgres: "INSERT INTO agent_reminders (agent, message, due_at, envelope, content) \
     SELECT n.a, n.m, n.d, n.e, n.c FROM \
     UNNEST(?1::text[], ?2::bytea[], ?3::bigint[], ?4::text[], ?5::bytea[]) AS n (a, m, d, e, c) \
     ON CONFLICT DO NOTHING"
);
statement!(
    RUNG_EACH, "rung",
    "DELETE FROM agent_reminders WHERE agent = ?1 AND message = ?2",
    postgres: "DELETE FROM agent_reminders r USING UNNEST(?1::text[], ?2::bytea[]) AS n (a, m) \
     WHERE r.agent = n.a AND r.message = n.m"
);
// One whose schedule was changed meanwhile is due by that.
statement!(
    SCHEDULE_EACH, "schedule",
    "UPDATE agent_schedules SET due_at = ?3 WHERE agent = ?1 AND spec = ?2",
    postgres: "UPDATE agent_schedules s SET due_at = n.d FROM UNNEST(?1::text[], ?2::text[], ?3::bigint[]) \
     AS n (a, s, d) WHERE s.agent = n.a AND s.spec = n.s"
);
statement!(
    DEAD_LETTERS,
    "dead_letters",
    "SELECT letter FROM agent_dead_letters WHERE tenant = ?1 ORDER BY number DESC LIMIT ?2"
);
statement!(
    BACKLOGS,
    "backlogs",
    "SELECT agent, count(*) AS waiting, max(place) AS last FROM agent_inbox GROUP BY agent"
);
statement!(
    ATTEMPT_ALL,
    "attempt",
    "UPDATE agent_inbox SET attempts = attempts + 1 WHERE agent = ?1 AND place <= ?2"
);
statement!(
    LOAD_INBOX,
    "load_inbox",
    "SELECT place, attempts, envelope, content FROM agent_inbox WHERE agent = ?1 AND place <= ?2 ORDER BY place"
);
// What other servers wrote since the agent was taken comes by itself, whatever its place.
statement!(
    LOAD_SHARED,
    "load_shared_inbox",
    "SELECT i.place, i.attempts, i.envelope, i.content FROM agent_inbox AS i WHERE i.agent = ?1 AND i.place <= ?2 \
     AND NOT EXISTS (SELECT 1 FROM agent_arrivals r WHERE r.agent = i.agent AND r.place = i.place) ORDER BY i.place"
);
statement!(LOAD_STATE, "load_state", "SELECT entry, content FROM agent_state WHERE agent = ?1");
statement!(
    FORGET_SEEN,
    "forget_seen",
    "DELETE FROM agent_seen WHERE (agent, message) IN \
     (SELECT agent, message FROM agent_seen WHERE seen_at < ?1 LIMIT ?2)"
);

/// What is written together, as rows of parameters.
#[derive(Debug, Default)]
pub(crate) struct ChangeRows {
    /// `agent, message, place, seen_at` of messages that are sent.
    pub(crate) seen: Vec<Params>,
    /// `place` and `agent, place, envelope, content` of the same messages.
    pub(crate) messages: Vec<(i64, Params)>,
    /// `agent, place` of messages that were handled.
    pub(crate) consumed: Vec<Params>,
    /// `agent, entry, content`. Each entry once.
    pub(crate) set: Vec<Params>,
    /// `agent, entry`.
    pub(crate) unset: Vec<Params>,
    /// `tenant, at, letter`.
    pub(crate) dead: Vec<Params>,
    /// `agent, message, due_at, envelope, content` of messages that are to be sent later.
    pub(crate) reminders: Vec<Params>,
    /// `agent, message` of those that are sent.
    pub(crate) rung: Vec<Params>,
    /// `agent, spec, due_at`.
    pub(crate) scheduled: Vec<Params>,
    /// Where several servers share the agents: under which conditions all of it is written.
    pub(crate) fence: Option<Fence>,
}

/// Whose agents a change is about, as the server that writes it believes.
#[derive(Debug, Default)]
pub(crate) struct Fence {
    /// The server.
    pub(crate) node: String,
    /// Agents whose messages and states these are, and the epochs under which the server ran them.
    pub(crate) claims: Vec<(Arc<str>, i64)>,
    /// Messages that are sent, with the epoch under which this server has a place for them in a mailbox.
    pub(crate) posts: Vec<(i64, Arc<str>, i64)>,
}

/// What became of a change.
#[derive(Debug)]
pub(crate) enum Applied {
    /// It is written.
    Kept {
        /// The places of the messages that were not there before.
        new: HashSet<i64>,
        /// Those of them that are for agents of other servers.
        elsewhere: HashSet<i64>,
        /// And those of these whose agents just came to this server: it has them from the store, too.
        coming: HashSet<i64>,
    },
    /// Nothing is: these agents are not the server's any more.
    Fenced(HashSet<Arc<str>>),
}

/// Writes all of it in a transaction.
pub(crate) async fn apply(tx: &mut Transaction, rows: &ChangeRows) -> Result<Applied, StoreError> {
    let (mut elsewhere, mut coming) = (HashSet::new(), HashSet::new());
    if let Some(fence) = &rows.fence {
        let claims = fence.claims.iter().map(|(agent, _)| &**agent);
        let mut agents: Vec<&str> = claims.chain(fence.posts.iter().map(|(_, agent, _)| &**agent)).collect();
        agents.sort_unstable();
        agents.dedup();
        let held = nodes::held(tx, &fence.node, &agents).await?;
        let is_held = |agent: &Arc<str>, epoch: i64| held.get(&**agent) == Some(&epoch);
        let lost = fence.claims.iter().filter(|(agent, epoch)| !is_held(agent, *epoch));
        let lost: HashSet<Arc<str>> = lost.map(|(agent, _)| Arc::clone(agent)).collect();
        if !lost.is_empty() {
            tx.roll_back();
            return Ok(Applied::Fenced(lost));
        }
        let mut agents: HashSet<&str> = HashSet::new();
        for (place, agent, epoch) in &fence.posts {
            // What follows one of them waits behind it.
            if is_held(agent, *epoch) && !agents.contains(&**agent) {
                continue;
            }
            agents.insert(&**agent);
            elsewhere.insert(*place);
            if held.contains_key(&**agent) {
                coming.insert(*place);
            }
        }
    }
    let (mut new, mut first) = (HashSet::new(), HashSet::new());
    for row in tx.query_each(&SEE_EACH, &rows.seen).await? {
        let place: i64 = row.get("place")?;
        new.insert(place);
        if !elsewhere.is_empty() && row.get("is_first")? {
            first.insert(place);
        }
    }
    if let Some(fence) = &rows.fence {
        // What a try before this one kept, without our knowing, was announced then.
        let announced =
            fence.posts.iter().filter(|(place, ..)| elsewhere.contains(place) && first.contains(place));
        let announced: Vec<Params> = announced.map(|(place, agent, _)| params![&**agent, *place]).collect();
        nodes::arrive(tx, &announced).await?;
    }
    let kept = rows.messages.iter().filter(|(place, _)| new.contains(place));
    let kept: Vec<Params> = kept.map(|(_, message)| message.clone()).collect();
    tx.execute_each(&INSERT_EACH, &kept).await?;
    tx.execute_each(&CONSUME_EACH, &rows.consumed).await?;
    tx.execute_each(&UNSET_EACH, &rows.unset).await?;
    tx.execute_each(&SET_EACH, &rows.set).await?;
    tx.execute_each(&BURY_EACH, &rows.dead).await?;
    tx.execute_each(&REMIND_EACH, &rows.reminders).await?;
    tx.execute_each(&RUNG_EACH, &rows.rung).await?;
    tx.execute_each(&SCHEDULE_EACH, &rows.scheduled).await?;
    Ok(Applied::Kept { new, elsewhere, coming })
}

/// A message that waits in the store.
#[derive(Debug)]
pub(crate) struct InboxRow {
    pub(crate) place: i64,
    pub(crate) attempts: u32,
    pub(crate) envelope: String,
    pub(crate) content: Bytes,
}

/// How many messages wait for each agent, and the last place that is taken.
pub(crate) async fn backlogs(store: &Store) -> Result<Vec<(String, usize, i64)>, StoreError> {
    let rows = store.query(&BACKLOGS, params![]).await?;
    rows.iter().map(|row| Ok((row.get("agent")?, row.get("waiting")?, row.get("last")?))).collect()
}

/// What waits for an agent up to a place, in order. Each counts as tried once more: one that ends the server whenever it
/// is handled is put aside some day, too.
pub(crate) async fn load_inbox(store: &Store, agent: &str, until: i64) -> Result<Vec<InboxRow>, StoreError> {
    let load = if store.is_shared() { &LOAD_SHARED } else { &LOAD_INBOX };
    let rows = store.query(load, params![agent, until]).await?;
    store.execute(&ATTEMPT_ALL, params![agent, until]).await?;
    rows.iter().map(read).collect()
}

pub(super) fn read(row: &Row) -> Result<InboxRow, StoreError> {
    Ok(InboxRow {
        place: row.get("place")?,
        attempts: row.get("attempts")?,
        envelope: row.get("envelope")?,
        content: row.get("content")?,
    })
}

pub(crate) async fn load_state(store: &Store, agent: &str) -> Result<BTreeMap<String, Bytes>, StoreError> {
    let rows = store.query(&LOAD_STATE, params![agent]).await?;
    rows.iter().map(|row| Ok((row.get("entry")?, row.get("content")?))).collect()
}

/// The entries of an agent's state that begin so, as far as they are in the store.
pub(crate) async fn state_entries(
    store: &Store,
    agent: &str,
    prefix: &str,
) -> Result<Vec<(String, Bytes)>, StoreError> {
    let mut entries: Vec<(String, Bytes)> =
        load_state(store, agent).await?.into_iter().filter(|(entry, _)| entry.starts_with(prefix)).collect();
    entries.sort_unstable_by(|left, right| left.0.cmp(&right.0));
    Ok(entries)
}

/// The dead letters of a tenant's durable messages as JSON, the newest first.
pub(crate) async fn dead_letters(
    store: &Store,
    tenant: &Tenant,
    limit: u32,
) -> Result<Vec<String>, StoreError> {
    let rows = store.query(&DEAD_LETTERS, params![tenant, limit]).await?;
    rows.iter().map(|row| row.get("letter")).collect()
}

/// Forgets which messages were seen before a moment. Gives whether there may be more.
pub(crate) async fn forget_seen(store: &Store, before: Timestamp) -> Result<bool, StoreError> {
    let count = store.execute(&FORGET_SEEN, params![before, FORGET_MAX]).await?;
    Ok(count >= FORGET_MAX.unsigned_abs())
}
