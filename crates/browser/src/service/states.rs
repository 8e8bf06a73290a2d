//! Saved states of browsers: cookies and storage, for a later time or another instance.

use std::{collections::BTreeMap, time::Duration};

use paddock_cdp::protocol::storage::{Cookie, CookieParam};
use paddock_platform::problem::Problem;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, value::RawValue};
use utoipa::{IntoParams, ToSchema};

use super::{BrowserService, READ, TabInUse, Target, WRITE};
use crate::{
    files::StateFile,
    ids::TabId,
    storage::{Area, Item},
};

/// Age at which saved states are cleaned away when the request names none, in hours.
const CLEAN_AGE_HOURS: u64 = 24;
/// Bytes of what a caller notes with a state.
const METADATA_SIZE_MAX: usize = 64 << 10;

/// What a browser remembers of sites: cookies, and the storages of the site that a tab shows.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct BrowserState {
    /// Its name, once it is saved.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// The tab that it is of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tab_id: Option<TabId>,
    /// Where the tab was.
    pub url: String,
    /// Title of the page.
    pub title: String,
    /// When.
    #[schema(value_type = String)]
    pub saved_at: jiff::Timestamp,
    /// Sites whose storages are in it.
    pub origins: Vec<String>,
    /// All cookies of the instance.
    #[schema(value_type = Vec<Object>)]
    pub cookies: Vec<Cookie>,
    /// Storages by site.
    pub storage: BTreeMap<String, SiteStorage>,
    /// What a caller noted.
    #[schema(value_type = Object)]
    pub metadata: Map<String, Value>,
}

/// The storages of a site.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct SiteStorage {
    /// What stays.
    pub local: BTreeMap<String, String>,
    /// What ends with a tab.
    pub session: BTreeMap<String, String>,
    /// Databases, as Paddock writes them.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<Object>>)]
    pub databases: Option<Box<RawValue>>,
}

/// Saves a state.
#[derive(Clone, Default, Deserialize, JsonSchema, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct SaveStateRequest {
    /// Its name; of the present second if absent.
    pub name: Option<String>,
    /// The tab; without one, the tab that was used last.
    pub tab_id: Option<TabId>,
    /// With AES-256-GCM, under `passphrase` or the configured `[browser] state_key`.
    pub encrypt: bool,
    /// What it is encrypted with; implies `encrypt`.
    pub passphrase: Option<String>,
    /// What the caller notes with it.
    #[schemars(with = "Value")]
    #[schema(value_type = Object)]
    pub metadata: Map<String, Value>,
}

/// A state was saved.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct StateSaved {
    /// Its name.
    pub name: String,
    /// Its file on the server.
    pub path: String,
    /// Cookies in it.
    pub cookies: usize,
    /// Sites whose storages are in it.
    pub origins: Vec<String>,
    /// Whether it is encrypted.
    pub encrypted: bool,
}

/// Loads a state.
#[derive(Clone, Deserialize, JsonSchema, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct LoadStateRequest {
    /// Its name, or the beginning of one.
    pub name: String,
    /// The tab; without one, the tab that was used last.
    #[serde(default)]
    pub tab_id: Option<TabId>,
    /// What it was encrypted with.
    #[serde(default)]
    pub passphrase: Option<String>,
}

/// A state was loaded.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct StateLoaded {
    /// Its name.
    pub name: String,
    /// Cookies that were set.
    pub cookies_restored: usize,
    /// Keys that were set in the storages of the site that the tab shows.
    pub storage_items_restored: usize,
    /// Databases of that site that were made.
    pub databases_restored: usize,
    /// Sites whose storages are in the state.
    pub origins: Vec<String>,
}

/// Names a state.
#[derive(Clone, Default, Deserialize, JsonSchema, IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
pub struct StateQuery {
    /// Its name.
    pub name: String,
    /// What it was encrypted with.
    pub passphrase: Option<String>,
}

/// Saved states.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct StateList {
    /// The states, newest first.
    pub states: Vec<StateFile>,
    /// How many.
    pub count: usize,
}

/// A state was deleted.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct StateDeleted {
    /// Its name.
    pub deleted: String,
}

/// Deletes old states.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct CleanStatesRequest {
    /// Their age in hours; 24 if absent or 0.
    pub older_than_hours: u64,
}

/// Old states were deleted.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct StatesCleaned {
    /// How many.
    pub removed: usize,
    /// Their age in hours.
    pub older_than_hours: u64,
}

impl BrowserService {
    /// What the browser of a tab remembers now.
    pub async fn state(&self, target: &Target) -> Result<BrowserState, Problem> {
        let tab = self.tab(target, WRITE).await?;
        let mut state = self.capture_state(target, &tab).await?;
        state.tab_id = Some(tab.id().clone());
        Ok(state)
    }

    async fn capture_state(&self, target: &Target, tab: &TabInUse) -> Result<BrowserState, Problem> {
        let info = tab.info().await?;
        let cookies = self.own(&target.caller, tab.instance_id())?.cookies().await?;
        let stored = tab.storage(None, None).await?;
        let site = |items: Vec<Item>| items.into_iter().map(|item| (item.key, item.value)).collect();
        let mut state = BrowserState {
            url: info.url,
            title: info.title,
            saved_at: jiff::Timestamp::now(),
            cookies,
            ..BrowserState::default()
        };
        state.metadata.insert("origin".to_owned(), stored.origin.clone().into());
        state.metadata.insert("userAgent".to_owned(), tab.user_agent().into());
        if stored.error.is_none() && stored.origin != "null" {
            state.origins.push(stored.origin.clone());
            let size_max = self.options().state_size_max.as_usize();
            let storage = SiteStorage {
                local: site(stored.local),
                session: site(stored.session),
                databases: tab.databases(size_max).await,
            };
            state.storage.insert(stored.origin, storage);
        }
        Ok(state)
    }

    /// Saves what the browser of a tab remembers.
    pub async fn save_state(
        &self,
        target: &Target,
        request: SaveStateRequest,
    ) -> Result<StateSaved, Problem> {
        let encrypted = request.encrypt || request.passphrase.is_some();
        let secret = if encrypted { Some(self.secret(request.passphrase)?) } else { None };
        let tab = self.tab_or_new(target).await?;
        let mut state = self.capture_state(target, &tab).await?;
        state.name = match request.name.filter(|name| !name.is_empty()) {
            Some(name) => name,
            None => jiff::Timestamp::now().strftime("state-%Y%m%d-%H%M%S-%3f").to_string(),
        };
        if !serde_json::to_vec(&request.metadata).is_ok_and(|json| json.len() <= METADATA_SIZE_MAX) {
            return Err(Problem::invalid_field("metadata", "is over 64 KiB"));
        }
        state.metadata.extend(request.metadata);
        let json =
            serde_json::to_vec(&state).map_err(|error| Problem::internal("writing a state", &error))?;
        let (states, tenant) = (self.fleet.0.states.clone(), target.caller.tenant().clone());
        let name = state.name.clone();
        let path = blocking(move || states.save(&tenant, &name, json, secret.as_deref())).await?;
        Ok(StateSaved {
            name: state.name,
            path: path.to_string_lossy().into_owned(),
            cookies: state.cookies.len(),
            origins: state.origins,
            encrypted,
        })
    }

    /// Sets what a saved state remembers: all cookies, and the storages of the site that the tab shows.
    pub async fn load_state(
        &self,
        target: &Target,
        request: LoadStateRequest,
    ) -> Result<StateLoaded, Problem> {
        let tab = self.tab_or_new(target).await?;
        let state = self.read_state(target, request.name, request.passphrase).await?;
        let cookies: Vec<CookieParam> = state.cookies.into_iter().map(Into::into).collect();
        let cookies_restored = self.own(&target.caller, tab.instance_id())?.set_cookies(&cookies).await?;
        let (mut storage_items_restored, mut databases_restored) = (0, 0);
        let origin = tab.storage(Some(Area::Local), Some("")).await?.origin;
        if let Some(site) = state.storage.get(&origin) {
            for (area, stored) in [(Area::Local, &site.local), (Area::Session, &site.session)] {
                let items: Vec<Item> = stored
                    .iter()
                    .map(|(key, value)| Item { key: key.clone(), value: value.clone() })
                    .collect();
                if !items.is_empty() && tab.set_storage(area, &items).await?.success {
                    storage_items_restored += items.len();
                }
            }
            if let Some(databases) = &site.databases {
                databases_restored = tab.set_databases(databases).await?;
            }
        }
        Ok(StateLoaded {
            name: state.name,
            cookies_restored,
            storage_items_restored,
            databases_restored,
            origins: state.origins,
        })
    }

    /// Shows a saved state.
    pub async fn show_state(&self, target: &Target, query: StateQuery) -> Result<BrowserState, Problem> {
        target.caller.require(WRITE)?;
        if query.name.is_empty() {
            return Err(Problem::invalid_field("name", "is required"));
        }
        self.read_state(target, query.name, query.passphrase).await
    }

    async fn read_state(
        &self,
        target: &Target,
        name: String,
        passphrase: Option<String>,
    ) -> Result<BrowserState, Problem> {
        let secret = self.secret(passphrase).ok();
        let (states, tenant) = (self.fleet.0.states.clone(), target.caller.tenant().clone());
        blocking(move || {
            let file = states.find(&tenant, &name)?;
            let json = states.read(&tenant, &file, secret.as_deref())?;
            let state: BrowserState = serde_json::from_slice(&json)
                .map_err(|error| Problem::internal("reading a saved state", &error))?;
            Ok(BrowserState { name: file.name, ..state })
        })
        .await
    }

    /// The caller's saved states, newest first.
    pub async fn states(&self, target: &Target) -> Result<StateList, Problem> {
        target.caller.require(READ)?;
        let (states, tenant) = (self.fleet.0.states.clone(), target.caller.tenant().clone());
        let states = blocking(move || states.list(&tenant)).await?;
        Ok(StateList { count: states.len(), states })
    }

    /// Deletes a saved state.
    pub async fn delete_state(&self, target: &Target, name: String) -> Result<StateDeleted, Problem> {
        target.caller.require(WRITE)?;
        let (states, tenant) = (self.fleet.0.states.clone(), target.caller.tenant().clone());
        let deleted = name.clone();
        blocking(move || states.delete(&tenant, &name)).await?;
        Ok(StateDeleted { deleted })
    }

    /// Deletes old saved states.
    pub async fn clean_states(
        &self,
        target: &Target,
        request: CleanStatesRequest,
    ) -> Result<StatesCleaned, Problem> {
        target.caller.require(WRITE)?;
        let hours = if request.older_than_hours == 0 { CLEAN_AGE_HOURS } else { request.older_than_hours };
        let age = Duration::from_secs(hours.saturating_mul(3600));
        let (states, tenant) = (self.fleet.0.states.clone(), target.caller.tenant().clone());
        let removed = blocking(move || states.clean(&tenant, age)).await?;
        Ok(StatesCleaned { removed, older_than_hours: hours })
    }

    /// What states are encrypted with: the request's passphrase, or the configured key.
    fn secret(&self, passphrase: Option<String>) -> Result<String, Problem> {
        if let Some(passphrase) = passphrase.filter(|passphrase| !passphrase.is_empty()) {
            return Ok(passphrase);
        }
        let Some(key) = self.fleet.0.options.current().state_key else {
            let detail =
                "an encryption key is required: give a `passphrase`, or configure `[browser] state_key`";
            return Err(Problem::invalid_field("encrypt", detail));
        };
        let secret =
            key.resolve().map_err(|error| Problem::internal("reading `[browser] state_key`", &error))?;
        Ok(secret.expose().to_owned())
    }
}

/// Runs what waits for a disk, or counts for long, where it holds nobody up.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(Problem::internal("saved states", &error)))
}
