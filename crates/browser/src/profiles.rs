//! Named profiles: cookies and storage that outlive the instances that used them.

use bytes::Bytes;
use jiff::Timestamp;
use paddock_platform::{
    identity::Tenant,
    params,
    store::{Row, Statement, StoreError},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    databases::Databases,
    error::BrowserError,
    ids::ProfileId,
    pool::Isolation,
    registry::{Registry, of_column, read, to_column},
    saved::Saved,
};

static INSERT: Statement = Statement::new(
    "browser",
    "insert_profile",
    "INSERT INTO browser_profiles (id, tenant, name, description, use_when, source, settings, size, created_at) \
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, 0, ?8)",
);
static LIST: Statement = Statement::new(
    "browser",
    "list_profiles",
    "SELECT id, name, description, use_when, source, settings, size, created_at, used_at FROM browser_profiles \
     WHERE tenant = ?1 ORDER BY name",
);
static FIND: Statement = Statement::new(
    "browser",
    "find_profile",
    "SELECT id, name, description, use_when, source, settings, size, created_at, used_at FROM browser_profiles \
     WHERE tenant = ?1 AND (id = ?2 OR name = ?2) ORDER BY CASE WHEN id = ?2 THEN 0 ELSE 1 END LIMIT 1",
);
static UPDATE: Statement = Statement::new(
    "browser",
    "update_profile",
    "UPDATE browser_profiles SET id = ?3, name = ?4, description = ?5, use_when = ?6, settings = ?7 \
     WHERE tenant = ?1 AND id = ?2",
);
static DELETE: Statement =
    Statement::new("browser", "delete_profile", "DELETE FROM browser_profiles WHERE tenant = ?1 AND id = ?2");
static LOAD: Statement =
    Statement::new("browser", "load_profile", "SELECT state FROM browser_profiles WHERE id = ?1");
static SAVE: Statement = Statement::new(
    "browser",
    "save_profile",
    "UPDATE browser_profiles SET state = ?2, size = ?3, used_at = ?4 WHERE id = ?1",
);
static LOAD_DATABASES: Statement = Statement::new(
    "browser",
    "load_profile_databases",
    "SELECT databases FROM browser_profiles WHERE id = ?1",
);
static SAVE_DATABASES: Statement = Statement::new(
    "browser",
    "save_profile_databases",
    "UPDATE browser_profiles SET databases = ?2 WHERE id = ?1",
);
static COUNT: Statement =
    Statement::new("browser", "count_profiles", "SELECT count(*) FROM browser_profiles WHERE tenant = ?1");

/// A profile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    /// Its id.
    pub id: ProfileId,
    /// Its name, unique within the tenant.
    pub name: String,
    /// What it is.
    pub description: String,
    /// When an agent should use it.
    pub use_when: String,
    /// `created` or `imported`.
    pub source: String,
    /// What instances of it are started with when they are not asked for something else.
    pub settings: ProfileSettings,
    /// Bytes of its state.
    pub size: u64,
    /// When it was created.
    pub created: Timestamp,
    /// When its state was saved last.
    pub used: Option<Timestamp>,
}

/// What instances of a profile are started with when the request does not say.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ProfileSettings {
    /// Whether they share their Chrome process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub isolation: Option<Isolation>,
    /// `headless` or `headed`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
}

impl Registry {
    /// Creates a profile; its name must be free.
    pub(crate) async fn create_profile(
        &self,
        tenant: &Tenant,
        profile: Profile,
        max: usize,
    ) -> Result<Profile, BrowserError> {
        let store = self.store().await?;
        let count = store.query_first(&COUNT, params![tenant]).await?;
        let count: usize = count.map(|row| row.get(0)).transpose()?.unwrap_or(0);
        if count >= max {
            return Err(BrowserError::ProfilesExhausted { max });
        }
        let Profile { id, name, description, use_when, source, settings, created, .. } = &profile;
        let settings = serde_json::to_string(settings).unwrap_or_default();
        let params = params![id.as_str(), tenant, name, description, use_when, source, settings, *created];
        store.execute(&INSERT, params).await.map_err(|error| taken(error, name))?;
        Ok(profile)
    }

    /// A tenant's profiles, by name.
    pub(crate) async fn profiles(&self, tenant: &Tenant) -> Result<Vec<Profile>, BrowserError> {
        let rows = self.store().await?.query(&LIST, params![tenant]).await?;
        Ok(rows.iter().map(profile).collect::<Result<_, _>>()?)
    }

    /// A profile by its id or name.
    pub(crate) async fn profile(&self, tenant: &Tenant, name: &str) -> Result<Profile, BrowserError> {
        let row = self.store().await?.query_first(&FIND, params![tenant, name]).await?;
        let found = row.as_ref().map(profile).transpose()?;
        found.ok_or_else(|| BrowserError::ProfileNotFound(name.to_owned()))
    }

    /// Changes a profile. One that gets another name gets another id: clients hold ids for names.
    pub(crate) async fn update_profile(
        &self,
        tenant: &Tenant,
        id: &ProfileId,
        changed: &Profile,
    ) -> Result<(), BrowserError> {
        let Profile { id: new_id, name, description, use_when, settings, .. } = changed;
        let settings = serde_json::to_string(settings).unwrap_or_default();
        let params = params![tenant, id.as_str(), new_id.as_str(), name, description, use_when, settings];
        let changed =
            self.store().await?.execute(&UPDATE, params).await.map_err(|error| taken(error, name))?;
        if changed == 0 { Err(BrowserError::ProfileNotFound(id.to_string())) } else { Ok(()) }
    }

    /// Deletes a profile with its state.
    pub(crate) async fn delete_profile(&self, tenant: &Tenant, id: &ProfileId) -> Result<(), BrowserError> {
        let deleted = self.store().await?.execute(&DELETE, params![tenant, id.as_str()]).await?;
        if deleted == 0 { Err(BrowserError::ProfileNotFound(id.to_string())) } else { Ok(()) }
    }

    /// The cookies and storage of a profile.
    pub(crate) async fn load_profile(&self, id: &ProfileId) -> Result<Saved, StoreError> {
        let row = self.store().await?.query_first(&LOAD, params![id.as_str()]).await?;
        let state: Option<Bytes> = row.map(|row| row.get("state")).transpose()?.flatten();
        Ok(state.map_or_else(Saved::default, |state| read(&state)))
    }

    /// Saves the cookies and storage of a profile, if it is still there.
    pub(crate) async fn save_profile(&self, id: &ProfileId, saved: &Saved) -> Result<(), StoreError> {
        let state = serde_json::to_vec(saved).unwrap_or_default();
        let size = i64::try_from(state.len()).unwrap_or(i64::MAX);
        let params = params![id.as_str(), state, size, Timestamp::now()];
        self.store().await?.execute(&SAVE, params).await.map(drop)
    }

    pub(crate) async fn load_profile_databases(&self, id: &ProfileId) -> Result<Databases, StoreError> {
        let row = self.store().await?.query_first(&LOAD_DATABASES, params![id.as_str()]).await?;
        of_column(row.as_ref())
    }

    pub(crate) async fn save_profile_databases(
        &self,
        id: &ProfileId,
        databases: &Databases,
    ) -> Result<(), StoreError> {
        let params = params![id.as_str(), to_column(databases)];
        self.store().await?.execute(&SAVE_DATABASES, params).await.map(drop)
    }
}

fn taken(error: StoreError, name: &str) -> BrowserError {
    if error.is_duplicate() { BrowserError::ProfileExists(name.to_owned()) } else { error.into() }
}

fn profile(row: &Row) -> Result<Profile, StoreError> {
    let damaged = |column: &str| StoreError::Column {
        column: column.to_owned(),
        expected: "what this version wrote",
        found: "something else",
    };
    Ok(Profile {
        id: row.get::<String>("id")?.parse().map_err(|_| damaged("id"))?,
        name: row.get("name")?,
        description: row.get("description")?,
        use_when: row.get("use_when")?,
        source: row.get("source")?,
        settings: serde_json::from_str(&row.get::<String>("settings")?).unwrap_or_default(),
        size: row.get("size")?,
        created: row.get("created_at")?,
        used: row.get("used_at")?,
    })
}
