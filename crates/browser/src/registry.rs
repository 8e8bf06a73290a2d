//! What outlives the server: instances with their saved state, one row each.
//!
//! A row belongs to a node, which is a data directory: servers that share a database do not take each other's
//! instances. A fleet that was given no store keeps its rows in a database of its own that ends with it.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use jiff::Timestamp;
use paddock_platform::{
    identity::Tenant,
    params,
    store::{Migration, Migrations, Row, Statement, Store, StoreError, StoreOptions, StoreUrl},
    task::Tasks,
};
use serde::{Deserialize, Serialize};
use tokio::sync::OnceCell;

use crate::{
    databases::Databases,
    ids::{InstanceId, TabId},
    instance::InstanceSpec,
    saved::Saved,
};

/// The schema of the area.
pub(crate) const MIGRATIONS: Migrations = Migrations::new("browser", &[CREATE, KEEP_DATABASES]);

const CREATE: Migration = Migration::new(
    1,
    "create instances and profiles",
    "CREATE TABLE browser_instances (
        id TEXT NOT NULL,
        node TEXT NOT NULL,
        tenant TEXT NOT NULL,
        spec TEXT NOT NULL,
        tabs TEXT NOT NULL,
        state BLOB,
        created_at BIGINT NOT NULL,
        used_at BIGINT NOT NULL,
        PRIMARY KEY (node, id)
    );
    CREATE TABLE browser_profiles (
        id TEXT PRIMARY KEY,
        tenant TEXT NOT NULL,
        name TEXT NOT NULL,
        description TEXT NOT NULL,
        use_when TEXT NOT NULL,
        source TEXT NOT NULL,
        settings TEXT NOT NULL,
        state BLOB,
        size BIGINT NOT NULL,
        created_at BIGINT NOT NULL,
        used_at BIGINT,
        UNIQUE (tenant, name)
    )",
)
.with_postgres(
    "CREATE TABLE browser_instances (
        id TEXT NOT NULL,
        node TEXT NOT NULL,
        tenant TEXT NOT NULL,
        spec TEXT NOT NULL,
        tabs TEXT NOT NULL,
        state BYTEA,
        created_at BIGINT NOT NULL,
        used_at BIGINT NOT NULL,
        PRIMARY KEY (node, id)
    );
    CREATE TABLE browser_profiles (
        id TEXT PRIMARY KEY,
        tenant TEXT NOT NULL,
        name TEXT NOT NULL,
        description TEXT NOT NULL,
        use_when TEXT NOT NULL,
        source TEXT NOT NULL,
        settings TEXT NOT NULL,
        state BYTEA,
        size BIGINT NOT NULL,
        created_at BIGINT NOT NULL,
        used_at BIGINT,
        UNIQUE (tenant, name)
    )",
);

const KEEP_DATABASES: Migration = Migration::new(
    2,
    "keep databases of pages",
    "ALTER TABLE browser_instances ADD COLUMN databases BLOB;
    ALTER TABLE browser_profiles ADD COLUMN databases BLOB",
)
.with_postgres(
    "ALTER TABLE browser_instances ADD COLUMN databases BYTEA;
    ALTER TABLE browser_profiles ADD COLUMN databases BYTEA",
);

static INSERT: Statement = Statement::new(
    "browser",
    "insert_instance",
    "INSERT INTO browser_instances (id, node, tenant, spec, tabs, created_at, used_at) \
     VALUES (?1, ?2, ?3, ?4, '[]', ?5, ?5)",
);
static SAVE: Statement = Statement::new(
    "browser",
    "save_instance",
    "UPDATE browser_instances SET tabs = ?3, state = ?4, used_at = ?5 WHERE node = ?1 AND id = ?2",
);
static LOAD: Statement = Statement::new(
    "browser",
    "load_instance",
    "SELECT state FROM browser_instances WHERE node = ?1 AND id = ?2",
);
static SAVE_DATABASES: Statement = Statement::new(
    "browser",
    "save_instance_databases",
    "UPDATE browser_instances SET databases = ?3 WHERE node = ?1 AND id = ?2",
);
static LOAD_DATABASES: Statement = Statement::new(
    "browser",
    "load_instance_databases",
    "SELECT databases FROM browser_instances WHERE node = ?1 AND id = ?2",
);
static LIST: Statement = Statement::new(
    "browser",
    "list_instances",
    "SELECT id, tenant, spec, tabs, created_at, used_at FROM browser_instances WHERE node = ?1 ORDER BY created_at, id",
);
static DELETE: Statement =
    Statement::new("browser", "delete_instance", "DELETE FROM browser_instances WHERE node = ?1 AND id = ?2");

/// Name of the file that names a data directory's node.
const NODE_FILE: &str = "node";

/// An instance as it was left.
#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) id: InstanceId,
    pub(crate) spec: InstanceSpec,
    pub(crate) tabs: Vec<TabHead>,
    pub(crate) created_at: Timestamp,
    pub(crate) used_at: Timestamp,
}

/// A tab of a hibernated instance, as far as lists show it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TabHead {
    pub(crate) id: TabId,
    pub(crate) url: String,
    pub(crate) title: String,
}

/// The rows of this node.
#[derive(Debug)]
pub(crate) struct Registry {
    node: String,
    store: Backing,
}

#[derive(Debug)]
enum Backing {
    Given(Store),
    /// Opened when first needed.
    Own {
        cell: OnceCell<Store>,
        directory: PathBuf,
        tasks: Tasks,
    },
}

impl Registry {
    /// The rows of a data directory in a store that others share.
    pub(crate) async fn open(store: Store, data_dir: &Path) -> Result<Self, StoreError> {
        store.migrate(&MIGRATIONS).await?;
        let path = data_dir.join("browser").join(NODE_FILE);
        let node = tokio::task::spawn_blocking(move || node_of(&path))
            .await
            .unwrap_or_else(|error| Err(std::io::Error::other(error)))
            .map_err(|error| StoreError::Options(format!("cannot name this node: {error}")))?;
        Ok(Self { node, store: Backing::Given(store) })
    }

    /// Rows that end with the fleet, in a directory that does too.
    pub(crate) fn private(directory: &Path, tasks: &Tasks) -> Self {
        let (directory, tasks) = (directory.to_owned(), tasks.clone());
        Self { node: String::new(), store: Backing::Own { cell: OnceCell::new(), directory, tasks } }
    }

    /// The store behind it.
    pub(crate) async fn store(&self) -> Result<&Store, StoreError> {
        match &self.store {
            Backing::Given(store) => Ok(store),
            Backing::Own { cell, directory, tasks } => {
                let open = || async {
                    let url = StoreUrl::Sqlite("registry.db".into());
                    let options = StoreOptions { url, ..StoreOptions::default() };
                    let store = Store::open(&options, directory, tasks).await?;
                    store.migrate(&MIGRATIONS).await?;
                    Ok(store)
                };
                cell.get_or_try_init(open).await
            }
        }
    }

    /// Closes a store of its own.
    pub(crate) async fn close(&self) {
        // One that is being opened right now is waited for: its files would be left.
        if let Backing::Own { directory, .. } = &self.store
            && let Ok(store) = self.store().await
        {
            store.close().await;
            for suffix in ["", "-wal", "-shm"] {
                std::fs::remove_file(directory.join(format!("registry.db{suffix}"))).ok();
            }
        }
    }

    pub(crate) async fn insert(
        &self,
        id: &InstanceId,
        spec: &InstanceSpec,
        created_at: Timestamp,
    ) -> Result<(), StoreError> {
        let text = serde_json::to_string(spec).unwrap_or_default();
        let params = params![id.as_str(), &self.node, &spec.tenant, text, created_at];
        self.store().await?.execute(&INSERT, params).await.map(drop)
    }

    pub(crate) async fn save(
        &self,
        id: &InstanceId,
        saved: &Saved,
        used_at: Timestamp,
    ) -> Result<(), StoreError> {
        let heads: Vec<TabHead> = saved.tabs.iter().map(TabHead::from).collect();
        let tabs = serde_json::to_string(&heads).unwrap_or_default();
        let state = serde_json::to_vec(saved).unwrap_or_default();
        let params = params![&self.node, id.as_str(), tabs, state, used_at];
        self.store().await?.execute(&SAVE, params).await.map(drop)
    }

    /// The saved state; an empty one if none was saved yet, or if it cannot be read.
    pub(crate) async fn load(&self, id: &InstanceId) -> Result<Saved, StoreError> {
        let row = self.store().await?.query_first(&LOAD, params![&self.node, id.as_str()]).await?;
        let state: Option<Bytes> = row.map(|row| row.get("state")).transpose()?.flatten();
        Ok(state.map_or_else(Saved::default, |state| read(&state)))
    }

    /// Saves what an instance's pages keep in databases: apart from the rest, because it is larger and read less often.
    pub(crate) async fn save_databases(
        &self,
        id: &InstanceId,
        databases: &Databases,
    ) -> Result<(), StoreError> {
        let params = params![&self.node, id.as_str(), to_column(databases)];
        self.store().await?.execute(&SAVE_DATABASES, params).await.map(drop)
    }

    pub(crate) async fn load_databases(&self, id: &InstanceId) -> Result<Databases, StoreError> {
        let row = self.store().await?.query_first(&LOAD_DATABASES, params![&self.node, id.as_str()]).await?;
        of_column(row.as_ref())
    }

    pub(crate) async fn delete(&self, id: &InstanceId) -> Result<(), StoreError> {
        self.store().await?.execute(&DELETE, params![&self.node, id.as_str()]).await.map(drop)
    }

    /// All instances that were left behind. Rows that this version cannot read are left out.
    pub(crate) async fn list(&self) -> Result<Vec<Record>, StoreError> {
        if matches!(&self.store, Backing::Own { .. }) {
            return Ok(Vec::new());
        }
        let rows = self.store().await?.query(&LIST, params![&self.node]).await?;
        Ok(rows.iter().filter_map(|row| record(row).inspect_err(skipped).ok()).collect())
    }
}

fn skipped(error: &String) {
    tracing::warn!(error, "an instance of an earlier run cannot be read and is left out");
}

fn record(row: &Row) -> Result<Record, String> {
    let text = |column: &'static str| row.get::<String>(column).map_err(|error| error.to_string());
    let tenant: Tenant = text("tenant")?.parse().map_err(|error| format!("{error}"))?;
    let spec: InstanceSpec = serde_json::from_str(&text("spec")?).map_err(|error| error.to_string())?;
    Ok(Record {
        id: text("id")?.parse().map_err(|error| format!("{error}"))?,
        spec: InstanceSpec { tenant, ..spec },
        tabs: serde_json::from_str(&text("tabs")?).map_err(|error| error.to_string())?,
        created_at: row.get("created_at").map_err(|error| error.to_string())?,
        used_at: row.get("used_at").map_err(|error| error.to_string())?,
    })
}

/// Databases as they are stored: nothing if there are none.
pub(crate) fn to_column(databases: &Databases) -> Option<Vec<u8>> {
    (!databases.is_empty()).then(|| serde_json::to_vec(databases).unwrap_or_default())
}

/// The databases in a row's `databases`; none if they cannot be read.
pub(crate) fn of_column(row: Option<&Row>) -> Result<Databases, StoreError> {
    let text: Option<Bytes> = row.map(|row| row.get("databases")).transpose()?.flatten();
    let read = |text: Bytes| {
        serde_json::from_slice(&text).unwrap_or_else(|error| {
            tracing::warn!(%error, "saved databases cannot be read; starting without");
            Databases::default()
        })
    };
    Ok(text.map_or_else(Databases::default, read))
}

/// Reads a saved state.
pub(crate) fn read(state: &[u8]) -> Saved {
    serde_json::from_slice(state).unwrap_or_else(|error| {
        tracing::warn!(%error, "a saved state cannot be read; starting from an empty one");
        Saved::default()
    })
}

fn node_of(path: &Path) -> std::io::Result<String> {
    match std::fs::read_to_string(path) {
        Ok(node) if !node.trim().is_empty() => Ok(node.trim().to_owned()),
        Ok(_) | Err(_) => {
            let node = uuid::Uuid::now_v7().simple().to_string();
            std::fs::write(path, &node)?;
            Ok(node)
        }
    }
}

impl From<&crate::saved::SavedTab> for TabHead {
    fn from(tab: &crate::saved::SavedTab) -> Self {
        Self { id: tab.id.clone(), url: tab.url.clone(), title: tab.title.clone() }
    }
}

#[cfg(test)]
mod tests {
    use paddock_platform::store::testing;

    use super::*;
    use crate::{emulation::Emulation, environment::Settings, network::Route, saved::SavedTab};

    #[tokio::test]
    async fn an_instance_comes_back_as_it_was_saved_and_to_its_own_node_alone() {
        testing::on_each_engine(async |fixture| {
            let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
            for data in [&here, &there] {
                std::fs::create_dir(data.path().join("browser")).unwrap();
            }
            let registry = Registry::open(fixture.open().await, here.path()).await.unwrap();
            let spec = InstanceSpec { name: "mine".to_owned(), ..InstanceSpec::new(Tenant::local()) };
            let (id, at) = (InstanceId::new(), Timestamp::from_millisecond(1_700_000_000_000).unwrap());
            registry.insert(&id, &spec, at).await.unwrap();
            assert_eq!(registry.load(&id).await.unwrap(), Saved::default());
            let tab = SavedTab {
                id: TabId::new(),
                url: "http://a.test/".to_owned(),
                title: "A".to_owned(),
                scroll: (0.0, 12.5),
                session: crate::areas::Areas::default(),
                emulation: Emulation::mobile(),
                scripts: vec!["1".to_owned()],
                settings: Settings {
                    headers: [("a".to_owned(), "b".to_owned())].into(),
                    ..Settings::default()
                },
                routes: vec![std::sync::Arc::new(Route { pattern: "x".to_owned(), ..Route::default() })],
            };
            let saved = Saved { tabs: vec![tab.clone()], ..Saved::default() };
            registry.save(&id, &saved, at).await.unwrap();
            drop(registry);

            let again = Registry::open(fixture.open().await, here.path()).await.unwrap();
            let records = again.list().await.unwrap();
            assert_eq!(records.len(), 1);
            assert_eq!((&records[0].id, &*records[0].spec.name, records[0].created_at), (&id, "mine", at));
            assert_eq!(records[0].tabs, [TabHead::from(&tab)]);
            assert_eq!(again.load(&id).await.unwrap(), saved);
            assert!(again.load_databases(&id).await.unwrap().is_empty());
            let databases = r#"{"http://a.test":[{"name":"d"}]}"#;
            again.save_databases(&id, &serde_json::from_str(databases).unwrap()).await.unwrap();
            let loaded = again.load_databases(&id).await.unwrap();
            assert_eq!(serde_json::to_string(&loaded).unwrap(), databases);

            let other = Registry::open(fixture.open().await, there.path()).await.unwrap();
            assert!(other.list().await.unwrap().is_empty());
            again.delete(&id).await.unwrap();
            assert!(again.list().await.unwrap().is_empty());
        })
        .await;
    }

    #[test]
    fn a_state_that_cannot_be_read_is_an_empty_one() {
        assert_eq!(read(b"{\"cookies\": 7}"), Saved::default());
    }
}
