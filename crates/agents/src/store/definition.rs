//! Definitions and their versions.

use jiff::Timestamp;
use paddock_platform::{
    identity::{Scope, Tenant},
    params,
    store::{Row, Store, StoreError, Transaction},
};

use super::{nodes, statement};
use crate::{cell::AgentStatus, definition::AgentDefinition, message::AgentName};

/// Agents that are read at once at the start.
const PAGE: u32 = 5_000;
/// Versions that are listed.
const VERSIONS_MAX: u32 = 100;

/// An agent as the store has it.
#[derive(Clone, Debug)]
pub(crate) struct StoredAgent {
    pub(crate) tenant: Tenant,
    pub(crate) name: AgentName,
    pub(crate) version: u32,
    pub(crate) status: AgentStatus,
    pub(crate) key_id: Option<String>,
    pub(crate) scopes: Vec<Scope>,
    pub(crate) definition: AgentDefinition,
    /// When it was deployed first.
    pub(crate) created_at: Timestamp,
}

statement!(
    LOAD,
    "load",
    "SELECT a.tenant, a.name, a.version, a.status, a.key_id, a.scopes, a.created_at, v.definition FROM agents a \
     JOIN agent_versions v ON v.tenant = a.tenant AND v.name = a.name AND v.version = a.version \
     WHERE (a.tenant, a.name) > (?1, ?2) ORDER BY a.tenant, a.name LIMIT ?3"
);
statement!(
    FIND,
    "find",
    "SELECT a.tenant, a.name, a.version, a.status, a.key_id, a.scopes, a.created_at, v.definition FROM agents a \
     JOIN agent_versions v ON v.tenant = a.tenant AND v.name = a.name AND v.version = a.version \
     WHERE a.tenant = ?1 AND a.name = ?2"
);
statement!(
    VERSION_LAST,
    "version_last",
    "SELECT version, definition FROM agent_versions WHERE tenant = ?1 AND name = ?2 ORDER BY version DESC LIMIT 1"
);
statement!(
    INSERT_VERSION,
    "insert_version",
    "INSERT INTO agent_versions (tenant, name, version, definition, created_at) VALUES (?1, ?2, ?3, ?4, ?5)"
);
statement!(
    PUT,
    "put",
    "INSERT INTO agents (tenant, name, version, status, key_id, scopes, created_at, updated_at) \
     VALUES (?1, ?2, ?3, 0, ?4, ?5, ?6, ?6) ON CONFLICT (tenant, name) DO UPDATE SET version = excluded.version, \
     status = 0, key_id = excluded.key_id, scopes = excluded.scopes, updated_at = excluded.updated_at"
);
statement!(CREATED_AT, "created_at", "SELECT created_at FROM agents WHERE tenant = ?1 AND name = ?2");
statement!(
    FIND_VERSION,
    "find_version",
    "SELECT definition FROM agent_versions WHERE tenant = ?1 AND name = ?2 AND version = ?3"
);
statement!(
    VERSIONS,
    "versions",
    "SELECT version, created_at FROM agent_versions WHERE tenant = ?1 AND name = ?2 ORDER BY version DESC LIMIT ?3"
);
statement!(SET_STATUS, "set_status", "UPDATE agents SET status = ?3 WHERE tenant = ?1 AND name = ?2");
statement!(DELETE, "delete", "DELETE FROM agents WHERE tenant = ?1 AND name = ?2");
statement!(DELETE_SPLITS, "delete_splits", "DELETE FROM agent_splits WHERE tenant = ?1 AND name = ?2");
statement!(DELETE_VERSIONS, "delete_versions", "DELETE FROM agent_versions WHERE tenant = ?1 AND name = ?2");
statement!(DELETE_STATE, "delete_state", "DELETE FROM agent_state WHERE agent = ?1");
statement!(DELETE_INBOX, "delete_inbox", "DELETE FROM agent_inbox WHERE agent = ?1");
statement!(DELETE_SEEN, "delete_seen", "DELETE FROM agent_seen WHERE agent = ?1");
statement!(DELETE_REMINDERS, "delete_reminders", "DELETE FROM agent_reminders WHERE agent = ?1");
statement!(DELETE_SCHEDULE, "delete_schedule", "DELETE FROM agent_schedules WHERE agent = ?1");

pub(super) fn defect(column: &str, expected: &'static str) -> StoreError {
    StoreError::Column { column: column.to_owned(), expected, found: "something else" }
}

pub(super) fn read_definition(row: &Row) -> Result<AgentDefinition, StoreError> {
    let text: String = row.get("definition")?;
    serde_json::from_str(&text).map_err(|_| defect("definition", "the definition of an agent"))
}

fn read(row: &Row) -> Result<StoredAgent, StoreError> {
    let tenant: String = row.get("tenant")?;
    let name: String = row.get("name")?;
    let scopes: String = row.get("scopes")?;
    let status: i64 = row.get("status")?;
    Ok(StoredAgent {
        tenant: tenant.parse().map_err(|_| defect("tenant", "a tenant"))?,
        name: name.parse().map_err(|_| defect("name", "the name of an agent"))?,
        version: row.get("version")?,
        status: [AgentStatus::Suspended, AgentStatus::Failed]
            .into_iter()
            .find(|known| i64::from(known.code()) == status)
            .unwrap_or(AgentStatus::Active),
        key_id: row.get("key_id")?,
        scopes: scopes.split_whitespace().filter_map(|scope| scope.parse().ok()).collect(),
        definition: read_definition(row)?,
        created_at: row.get("created_at")?,
    })
}

/// All agents of all tenants.
pub(crate) async fn load_agents(store: &Store) -> Result<Vec<StoredAgent>, StoreError> {
    let mut agents: Vec<StoredAgent> = Vec::new();
    loop {
        let last =
            agents.last().map(|agent| (agent.tenant.as_str().to_owned(), agent.name.as_str().to_owned()));
        let (tenant, name) = last.unwrap_or_default();
        let rows = store.query(&LOAD, params![tenant, name, PAGE]).await?;
        let count = rows.len();
        for row in rows {
            agents.push(read(&row)?);
        }
        if count < PAGE as usize {
            return Ok(agents);
        }
    }
}

/// One agent.
pub(crate) async fn find_agent(
    store: &Store,
    tenant: &Tenant,
    name: &AgentName,
) -> Result<Option<StoredAgent>, StoreError> {
    let row = store.query_first(&FIND, params![tenant, name.as_str()]).await?;
    row.as_ref().map(read).transpose()
}

/// Tells the servers that share the store that an agent is another.
pub(super) async fn tell(tx: &mut Transaction, tenant: &Tenant, name: &str) -> Result<(), StoreError> {
    tx.notify(nodes::CHANNEL, format!("{}{tenant}/{name}", nodes::AGENT)).await
}

/// Puts a definition in force under the next version, for everything; the same as the last one is no new version. Gives its
/// version, and when the agent was deployed first.
pub(crate) async fn put_agent(
    store: &Store,
    agent: &StoredAgent,
    now: Timestamp,
) -> Result<(u32, Timestamp), StoreError> {
    let definition = write_definition(&agent.definition)?;
    let (tenant, name) = (agent.tenant.clone(), agent.name.as_str().to_owned());
    let (key_id, scopes) = (agent.key_id.clone(), agent.scopes.iter().map(ToString::to_string));
    let scopes = scopes.collect::<Vec<_>>().join(" ");
    store
        .write(move |tx| {
            Box::pin(async move {
                let version = insert_version(tx, &tenant, &name, definition, now).await?;
                tx.execute(&DELETE_SPLITS, params![&tenant, &name]).await?;
                tx.execute(&PUT, params![&tenant, &name, version, key_id, scopes, now]).await?;
                tell(tx, &tenant, &name).await?;
                let row = tx.query_first(&CREATED_AT, params![&tenant, &name]).await?;
                let created_at = row.map_or(Ok(now), |row| row.get("created_at"))?;
                Ok((version, created_at))
            })
        })
        .await
}

fn write_definition(definition: &AgentDefinition) -> Result<String, StoreError> {
    serde_json::to_string(definition).map_err(|_| defect("definition", "a definition that can be written"))
}

async fn insert_version(
    tx: &mut Transaction,
    tenant: &Tenant,
    name: &str,
    definition: String,
    now: Timestamp,
) -> Result<u32, StoreError> {
    let last = tx.query_first(&VERSION_LAST, params![tenant, name]).await?;
    let (last, same) = match &last {
        None => (0_u32, false),
        Some(row) => (row.get("version")?, row.get::<String>("definition")? == definition),
    };
    if same {
        return Ok(last);
    }
    tx.execute(&INSERT_VERSION, params![tenant, name, last + 1, definition, now]).await?;
    Ok(last + 1)
}

/// Adds a version without putting it in force; the same as the last one is no new version. Gives its number.
pub(crate) async fn put_version(
    store: &Store,
    agent: &StoredAgent,
    now: Timestamp,
) -> Result<u32, StoreError> {
    let definition = write_definition(&agent.definition)?;
    let (tenant, name) = (agent.tenant.clone(), agent.name.as_str().to_owned());
    store
        .write(move |tx| Box::pin(async move { insert_version(tx, &tenant, &name, definition, now).await }))
        .await
}

/// One version of a definition.
pub(crate) async fn version_of(
    store: &Store,
    tenant: &Tenant,
    name: &AgentName,
    version: u32,
) -> Result<Option<AgentDefinition>, StoreError> {
    let row = store.query_first(&FIND_VERSION, params![tenant, name.as_str(), version]).await?;
    row.as_ref().map(read_definition).transpose()
}

/// The versions that there are and when they came, the newest first.
pub(crate) async fn versions_of(
    store: &Store,
    tenant: &Tenant,
    name: &AgentName,
) -> Result<Vec<(u32, Timestamp)>, StoreError> {
    let rows = store.query(&VERSIONS, params![tenant, name.as_str(), VERSIONS_MAX]).await?;
    rows.iter().map(|row| Ok((row.get("version")?, row.get("created_at")?))).collect()
}

pub(crate) async fn set_status(
    store: &Store,
    tenant: &Tenant,
    name: &AgentName,
    status: AgentStatus,
) -> Result<(), StoreError> {
    let (tenant, name) = (tenant.clone(), name.as_str().to_owned());
    store
        .write(move |tx| {
            Box::pin(async move {
                tx.execute(&SET_STATUS, params![&tenant, &name, status.code()]).await?;
                tell(tx, &tenant, &name).await
            })
        })
        .await
}

/// Forgets an agent and all that is its own.
pub(crate) async fn delete_agent(
    store: &Store,
    tenant: &Tenant,
    name: &AgentName,
    key: &str,
) -> Result<(), StoreError> {
    let (tenant, name, key) = (tenant.clone(), name.as_str().to_owned(), key.to_owned());
    let is_shared = store.is_shared();
    store
        .write(move |tx| {
            Box::pin(async move {
                if is_shared {
                    nodes::disown(tx, &key).await?;
                }
                for statement in [&DELETE, &DELETE_VERSIONS, &DELETE_SPLITS] {
                    tx.execute(statement, params![&tenant, &name]).await?;
                }
                let own = [&DELETE_STATE, &DELETE_INBOX, &DELETE_SEEN, &DELETE_REMINDERS, &DELETE_SCHEDULE];
                for statement in own {
                    tx.execute(statement, params![&key]).await?;
                }
                tell(tx, &tenant, &name).await
            })
        })
        .await
}
