//! Versions that get a share of the conversations beside the one in force.

use jiff::Timestamp;
use paddock_platform::{
    identity::{Scope, Tenant},
    params,
    store::{Row, Store, StoreError},
};

use super::{
    definition::{defect, read_definition, tell},
    statement,
};
use crate::{definition::AgentDefinition, message::AgentName};

/// A share as whole numbers.
const WHOLE_PPM: f64 = 1_000_000.0;

/// A version that gets a share, as the store has it.
#[derive(Clone, Debug)]
pub(crate) struct StoredSplit {
    pub(crate) tenant: Tenant,
    pub(crate) name: AgentName,
    pub(crate) version: u32,
    pub(crate) weight: f64,
    pub(crate) since: Timestamp,
    pub(crate) key_id: Option<String>,
    pub(crate) scopes: Vec<Scope>,
    pub(crate) definition: AgentDefinition,
}

statement!(
    LOAD_SPLITS,
    "load_splits",
    "SELECT s.tenant, s.name, s.version, s.weight_ppm, s.since, s.key_id, s.scopes, v.definition \
     FROM agent_splits s JOIN agent_versions v ON v.tenant = s.tenant AND v.name = s.name AND v.version = s.version"
);
statement!(
    FIND_SPLIT,
    "find_split",
    "SELECT s.tenant, s.name, s.version, s.weight_ppm, s.since, s.key_id, s.scopes, v.definition \
     FROM agent_splits s JOIN agent_versions v ON v.tenant = s.tenant AND v.name = s.name AND v.version = s.version \
     WHERE s.tenant = ?1 AND s.name = ?2"
);
statement!(
    PUT_SPLIT,
    "put_split",
    "INSERT INTO agent_splits (tenant, name, version, weight_ppm, since, key_id, scopes) \
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT (tenant, name) DO UPDATE SET version = excluded.version, \
     weight_ppm = excluded.weight_ppm, since = excluded.since, key_id = excluded.key_id, scopes = excluded.scopes"
);
statement!(DELETE_SPLIT, "delete_split", "DELETE FROM agent_splits WHERE tenant = ?1 AND name = ?2");
statement!(
    BEGAN,
    "conversation_began",
    "SELECT at FROM agent_entries WHERE tenant = ?1 AND conversation = ?2 ORDER BY number LIMIT 1"
);

fn read(row: &Row) -> Result<StoredSplit, StoreError> {
    let (tenant, name): (String, String) = (row.get("tenant")?, row.get("name")?);
    let (scopes, weight_ppm): (String, i64) = (row.get("scopes")?, row.get("weight_ppm")?);
    Ok(StoredSplit {
        tenant: tenant.parse().map_err(|_| defect("tenant", "a tenant"))?,
        name: name.parse().map_err(|_| defect("name", "the name of an agent"))?,
        version: row.get("version")?,
        weight: weight_ppm as f64 / WHOLE_PPM,
        since: row.get("since")?,
        key_id: row.get("key_id")?,
        scopes: scopes.split_whitespace().filter_map(|scope| scope.parse().ok()).collect(),
        definition: read_definition(row)?,
    })
}

pub(crate) async fn load_splits(store: &Store) -> Result<Vec<StoredSplit>, StoreError> {
    store.query(&LOAD_SPLITS, params![]).await?.iter().map(read).collect()
}

/// The one of an agent.
pub(crate) async fn find_split(
    store: &Store,
    tenant: &Tenant,
    name: &AgentName,
) -> Result<Option<StoredSplit>, StoreError> {
    store.query_first(&FIND_SPLIT, params![tenant, name.as_str()]).await?.as_ref().map(read).transpose()
}

pub(crate) async fn put_split(store: &Store, split: &StoredSplit) -> Result<(), StoreError> {
    let scopes = split.scopes.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
    let weight_ppm = (split.weight * WHOLE_PPM).round() as i64;
    let (tenant, name, key_id) = (&split.tenant, split.name.as_str(), split.key_id.clone());
    let params = params![tenant, name, split.version, weight_ppm, split.since, key_id, scopes];
    let (tenant, name) = (split.tenant.clone(), split.name.as_str().to_owned());
    store
        .write(move |tx| {
            Box::pin(async move {
                tx.execute(&PUT_SPLIT, params).await?;
                tell(tx, &tenant, &name).await
            })
        })
        .await
}

pub(crate) async fn delete_split(store: &Store, tenant: &Tenant, name: &AgentName) -> Result<(), StoreError> {
    let (tenant, name) = (tenant.clone(), name.as_str().to_owned());
    store
        .write(move |tx| {
            Box::pin(async move {
                tx.execute(&DELETE_SPLIT, params![&tenant, &name]).await?;
                tell(tx, &tenant, &name).await
            })
        })
        .await
}

/// When the first entry of a conversation was made, as far as it is still there.
pub(crate) async fn conversation_began(
    store: &Store,
    tenant: &Tenant,
    conversation: &str,
) -> Result<Option<Timestamp>, StoreError> {
    let row = store.query_first(&BEGAN, params![tenant, conversation]).await?;
    row.map(|row| row.get("at")).transpose()
}
