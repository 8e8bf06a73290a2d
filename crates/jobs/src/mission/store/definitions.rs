//! Definitions: written once, never changed.

use jiff::Timestamp;
use paddock_platform::{
    identity::Tenant,
    params,
    store::{Row, Statement, Store, StoreError, Transaction},
};

macro_rules! columns {
    () => {
        "name, version, body, hash, depth, created_ms, created_by"
    };
}

static INSERT: Statement = Statement::new(
    "missions",
    "insert_definition",
    "INSERT INTO mission_definitions (tenant, name, version, body, hash, depth, created_ms, created_by)
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT DO NOTHING",
);
static FIND: Statement = Statement::new(
    "missions",
    "find_definition",
    concat!(
        "SELECT ",
        columns!(),
        " FROM mission_definitions WHERE tenant = ?1 AND name = ?2 AND version = ?3"
    ),
);
static LATEST: Statement = Statement::new(
    "missions",
    "latest_definition",
    concat!(
        "SELECT ",
        columns!(),
        " FROM mission_definitions WHERE tenant = ?1 AND name = ?2 ORDER BY version DESC LIMIT 1"
    ),
);
static VERSIONS: Statement = Statement::new(
    "missions",
    "list_definition_versions",
    concat!(
        "SELECT ",
        columns!(),
        " FROM mission_definitions WHERE tenant = ?1 AND name = ?2 AND version < ?3 ORDER BY version DESC LIMIT ?4"
    ),
);
static LIST: Statement = Statement::new(
    "missions",
    "list_definitions",
    concat!(
        "SELECT ",
        columns!(),
        " FROM mission_definitions AS shown WHERE tenant = ?1 AND name > ?2
          AND version = (SELECT max(version) FROM mission_definitions WHERE tenant = ?1 AND name = shown.name)
          ORDER BY name LIMIT ?3"
    ),
);
static COUNT: Statement = Statement::new(
    "missions",
    "count_definitions",
    "SELECT count(*) FROM mission_definitions WHERE tenant = ?1",
);

/// A stored definition.
#[derive(Clone, Debug)]
pub(crate) struct DefinitionRow {
    pub(crate) name: String,
    pub(crate) version: u32,
    pub(crate) body: String,
    /// Of the body: the same again is the same version.
    pub(crate) hash: String,
    pub(crate) depth: u32,
    pub(crate) created_at: Timestamp,
    pub(crate) created_by: Option<String>,
}

fn read(row: &Row) -> Result<DefinitionRow, StoreError> {
    Ok(DefinitionRow {
        name: row.get(0_usize)?,
        version: row.get(1_usize)?,
        body: row.get(2_usize)?,
        hash: row.get(3_usize)?,
        depth: row.get(4_usize)?,
        created_at: row.get(5_usize)?,
        created_by: row.get(6_usize)?,
    })
}

/// Whether it was kept; not, if that version is there already.
pub(crate) async fn insert_definition(
    store: &Store,
    tenant: &Tenant,
    definition: DefinitionRow,
) -> Result<bool, StoreError> {
    let params = params![
        tenant,
        definition.name,
        definition.version,
        definition.body,
        definition.hash,
        definition.depth,
        definition.created_at,
        definition.created_by,
    ];
    Ok(store.execute(&INSERT, params).await? == 1)
}

/// A definition by its version, or the latest.
pub(crate) async fn find_definition(
    store: &Store,
    tenant: &Tenant,
    name: &str,
    version: Option<u32>,
) -> Result<Option<DefinitionRow>, StoreError> {
    let row = match version {
        Some(version) => store.query_first(&FIND, params![tenant, name, version]).await?,
        None => store.query_first(&LATEST, params![tenant, name]).await?,
    };
    row.as_ref().map(read).transpose()
}

pub(crate) async fn find_definition_in(
    tx: &mut Transaction,
    tenant: &Tenant,
    name: &str,
    version: u32,
) -> Result<Option<DefinitionRow>, StoreError> {
    tx.query_first(&FIND, params![tenant, name, version]).await?.as_ref().map(read).transpose()
}

/// The latest version of every definition, by name.
pub(crate) async fn list_definitions(
    store: &Store,
    tenant: &Tenant,
    after: &str,
    limit: u32,
) -> Result<Vec<DefinitionRow>, StoreError> {
    store.query(&LIST, params![tenant, after, limit]).await?.iter().map(read).collect()
}

/// The versions of a definition, the newest first.
pub(crate) async fn list_versions(
    store: &Store,
    tenant: &Tenant,
    name: &str,
    before: u32,
    limit: u32,
) -> Result<Vec<DefinitionRow>, StoreError> {
    store.query(&VERSIONS, params![tenant, name, before, limit]).await?.iter().map(read).collect()
}

pub(crate) async fn count_definitions(store: &Store, tenant: &Tenant) -> Result<u64, StoreError> {
    let row = store.query_first(&COUNT, params![tenant]).await?;
    row.map_or(Ok(0), |row| row.get(0_usize))
}
