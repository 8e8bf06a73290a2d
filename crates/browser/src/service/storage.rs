//! Reading, setting and clearing local and session storage.

use paddock_platform::problem::Problem;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{BrowserService, Target, WRITE};
use crate::{
    ids::TabId,
    storage::{Area, Item, StorageChanged, Stored},
};

/// Which storage.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, IntoParams)]
#[serde(rename_all = "camelCase", default)]
#[into_params(parameter_in = Query)]
pub struct StorageQuery {
    /// The tab; without one, the tab that was used last.
    #[param(value_type = Option<String>)]
    pub tab_id: Option<TabId>,
    /// `local` or `session`; both if absent.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// Only this key.
    pub key: Option<String>,
}

/// Sets one key.
#[derive(Clone, Debug, Deserialize, JsonSchema, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SetStorageRequest {
    /// The tab; without one, the tab that was used last.
    #[serde(default)]
    pub tab_id: Option<TabId>,
    /// Key.
    pub key: String,
    /// Value.
    #[serde(default)]
    pub value: String,
    /// `local` or `session`.
    #[serde(rename = "type")]
    pub kind: Area,
}

/// Removes one key, or all.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ClearStorageRequest {
    /// The tab; without one, the tab that was used last.
    pub tab_id: Option<TabId>,
    /// The key; all if absent.
    pub key: Option<String>,
    /// `local`, `session` or `all`.
    #[serde(rename = "type")]
    pub kind: Option<String>,
}

/// What was done to a storage.
#[derive(Clone, Debug, Serialize, JsonSchema, ToSchema)]
pub struct StorageCleared {
    /// Whether it was done, and where.
    #[serde(flatten)]
    pub changed: StorageChanged,
    /// `removeItem` or `clear`.
    pub action: String,
    /// The key that was removed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}

impl BrowserService {
    /// What the page's storages hold.
    pub async fn storage(&self, target: &Target, query: StorageQuery) -> Result<Stored, Problem> {
        let area = area(query.kind.as_deref())?;
        // Logins live here too: reading them is more than looking.
        let tab = self.tab(target, WRITE).await?;
        let key = query.key.filter(|key| !key.is_empty());
        Ok(tab.storage(area, key.as_deref()).await?)
    }

    /// Sets one key.
    pub async fn set_storage(
        &self,
        target: &Target,
        request: SetStorageRequest,
    ) -> Result<StorageChanged, Problem> {
        if request.key.is_empty() {
            return Err(Problem::invalid_field("key", "must not be empty"));
        }
        let tab = self.tab(target, WRITE).await?;
        Ok(tab.set_storage(request.kind, &[Item { key: request.key, value: request.value }]).await?)
    }

    /// Removes one key, or all.
    pub async fn clear_storage(
        &self,
        target: &Target,
        request: ClearStorageRequest,
    ) -> Result<StorageCleared, Problem> {
        let area = area(request.kind.as_deref())?;
        let key = request.key.filter(|key| !key.is_empty());
        if area.is_none() && key.is_some() {
            return Err(Problem::invalid_field("key", "needs a `type` of `local` or `session`"));
        }
        let tab = self.tab(target, WRITE).await?;
        let changed = tab.clear_storage(area, key.as_deref()).await?;
        let action = if key.is_some() { "removeItem" } else { "clear" }.to_owned();
        Ok(StorageCleared { changed, action, key })
    }
}

/// None for both.
fn area(kind: Option<&str>) -> Result<Option<Area>, Problem> {
    match kind {
        None | Some("" | "all") => Ok(None),
        Some("local") => Ok(Some(Area::Local)),
        Some("session") => Ok(Some(Area::Session)),
        Some(_) => Err(Problem::invalid_field("type", "must be `local`, `session` or `all`")),
    }
}
