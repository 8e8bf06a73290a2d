//! Timelines of conversations.

use jiff::Timestamp;
use paddock_platform::{
    identity::Tenant,
    params,
    store::{Params, Store, StoreError},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::statement;
use crate::message::Label;

/// Entries that are forgotten at once.
const FORGET_MAX: i64 = 10_000;

statement!(
    INSERT_EACH, "insert_entry",
    "INSERT INTO agent_entries (tenant, conversation, at, kind, agent, entry) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    postgres: "INSERT INTO agent_entries (tenant, conversation, at, kind, agent, entry) \
     SELECT n.t, n.c, n.at, n.k, n.a, n.e FROM \
     UNNEST(?1::text[], ?2::text[], ?3::bigint[], ?4::text[], ?5::text[], ?6::text[]) AS n (t, c, at, k, a, e)"
);
statement!(
    TIMELINE,
    "timeline",
    "SELECT number, at, kind, agent, entry FROM agent_entries WHERE tenant = ?1 AND conversation = ?2 \
     AND number > ?3 ORDER BY number LIMIT ?4"
);
statement!(
    LIST,
    "conversations",
    "SELECT conversation, min(at) AS began, max(at) AS last, count(*) AS entries FROM agent_entries \
     WHERE tenant = ?1 AND number > (SELECT coalesce(max(number), 0) - 20000 FROM agent_entries) \
     GROUP BY conversation ORDER BY max(at) DESC LIMIT ?2"
);
statement!(
    FORGET,
    "forget_entries",
    "DELETE FROM agent_entries WHERE number IN (SELECT number FROM agent_entries WHERE at < ?1 LIMIT ?2)"
);

/// One entry of a timeline.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema, ToSchema)]
#[schema(as = TimelineEntry)]
pub struct Entry {
    /// Its number, larger than those of the entries before it.
    pub number: i64,
    /// When.
    #[schema(value_type = String)]
    #[schemars(with = "String")]
    pub at: Timestamp,
    /// `sent`, `dead`, `failed`, `tool`, `model`, `approval` or `decision`.
    pub kind: String,
    /// The agent that it happened to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    /// What happened: the message, the call, the reason.
    pub entry: Value,
}

/// A conversation in a list.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema, ToSchema)]
pub struct ConversationSummary {
    /// Its id.
    pub id: String,
    /// When it began.
    #[schema(value_type = String)]
    #[schemars(with = "String")]
    pub began_at: Timestamp,
    /// When something happened in it last.
    #[schema(value_type = String)]
    #[schemars(with = "String")]
    pub last_at: Timestamp,
    /// How many entries its timeline has.
    pub entries: u64,
}

/// Writes entries: `tenant, conversation, at, kind, agent, entry`.
pub(crate) async fn insert_entries(store: &Store, rows: Vec<Params>) -> Result<(), StoreError> {
    // What is lost with the machine is a note of what happened, not what happened.
    let durability = paddock_platform::store::Durability::Os;
    store
        .write_with(durability, move |tx| {
            Box::pin(async move { tx.execute_each(&INSERT_EACH, &rows).await.map(|_| ()) })
        })
        .await
}

/// The timeline of a conversation after an entry.
pub(crate) async fn timeline(
    store: &Store,
    tenant: &Tenant,
    conversation: &Label,
    after: i64,
    limit: u32,
) -> Result<Vec<Entry>, StoreError> {
    let rows = store.query(&TIMELINE, params![tenant, conversation.as_str(), after, limit]).await?;
    rows.iter()
        .map(|row| {
            let entry: String = row.get("entry")?;
            Ok(Entry {
                number: row.get("number")?,
                at: row.get("at")?,
                kind: row.get("kind")?,
                agent: row.get("agent")?,
                entry: serde_json::from_str(&entry).unwrap_or_default(),
            })
        })
        .collect()
}

/// The conversations in which something happened lately, the last one first.
pub(crate) async fn conversations(
    store: &Store,
    tenant: &Tenant,
    limit: u32,
) -> Result<Vec<ConversationSummary>, StoreError> {
    let rows = store.query(&LIST, params![tenant, limit]).await?;
    rows.iter()
        .map(|row| {
            Ok(ConversationSummary {
                id: row.get("conversation")?,
                began_at: row.get("began")?,
                last_at: row.get("last")?,
                entries: row.get("entries")?,
            })
        })
        .collect()
}

/// Forgets what happened before a moment. Gives whether there may be more.
pub(crate) async fn forget_entries(store: &Store, before: Timestamp) -> Result<bool, StoreError> {
    let count = store.execute(&FORGET, params![before, FORGET_MAX]).await?;
    Ok(count >= FORGET_MAX.unsigned_abs())
}
