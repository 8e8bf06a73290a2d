//! Local and session storage of the page that a tab shows, read and written in the isolated world.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    evaluate::{EvaluateError, World},
    tab::Tab,
};

const DEADLINE: Duration = Duration::from_secs(10);
/// Bytes of keys and values that are read of one storage; browsers keep 5 to 10 MB per site.
const SIZE_MAX: usize = 12 << 20;

/// Which storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Area {
    /// What stays.
    Local,
    /// What ends with the tab.
    Session,
}

/// A key and its value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
pub struct Item {
    /// Key.
    pub key: String,
    /// Value.
    pub value: String,
}

/// What the storages of a page hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
pub struct Stored {
    /// The site that they belong to.
    pub origin: String,
    /// What stays.
    pub local: Vec<Item>,
    /// What ends with the tab.
    pub session: Vec<Item>,
    /// Why nothing could be read, for example on a page without an origin.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub error: Option<String>,
}

/// What a change of a storage came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
pub struct StorageChanged {
    /// Whether it was made.
    pub success: bool,
    /// The site.
    pub origin: String,
    /// Why it was not made: the storage is full, or the page has none.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub error: Option<String>,
}

impl Tab {
    /// Reads the storages, or one key of them.
    pub async fn storage(&self, area: Option<Area>, key: Option<&str>) -> Result<Stored, EvaluateError> {
        let (area, key) = (json(&area), json(&key));
        let expression = format!("({READ})({area}, {key}, {SIZE_MAX})");
        self.evaluate_as(&expression, World::Isolated, DEADLINE).await
    }

    /// Sets one key.
    pub async fn set_storage(&self, area: Area, items: &[Item]) -> Result<StorageChanged, EvaluateError> {
        let expression = format!("({SET})({}, {})", json(&area), json(&items));
        self.evaluate_as(&expression, World::Isolated, DEADLINE).await
    }

    /// Removes one key, or all of one storage, or all.
    pub async fn clear_storage(
        &self,
        area: Option<Area>,
        key: Option<&str>,
    ) -> Result<StorageChanged, EvaluateError> {
        let expression = format!("({CLEAR})({}, {})", json(&area), json(&key));
        self.evaluate_as(&expression, World::Isolated, DEADLINE).await
    }
}

fn json<T: Serialize>(value: &T) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

const READ: &str = "(area, key, max) => {
    const result = { origin: location.origin, local: [], session: [] };
    const read = (storage, into) => {
        if (key !== null) {
            const value = storage.getItem(key);
            if (value !== null) into.push({ key, value });
            return;
        }
        let size = 0;
        for (let i = 0; i < storage.length; i++) {
            const name = storage.key(i), value = storage.getItem(name);
            size += name.length + value.length;
            if (size > max) return;
            into.push({ key: name, value });
        }
    };
    try {
        if (area !== 'session') read(localStorage, result.local);
        if (area !== 'local') read(sessionStorage, result.session);
    } catch (error) { result.error = String(error.message).slice(0, 300); }
    return result;
}";

const SET: &str = "(area, items) => {
    const result = { origin: location.origin, success: true };
    try {
        const storage = area === 'local' ? localStorage : sessionStorage;
        for (const { key, value } of items) storage.setItem(key, value);
    } catch (error) { result.success = false; result.error = String(error.message).slice(0, 300); }
    return result;
}";

const CLEAR: &str = "(area, key) => {
    const result = { origin: location.origin, success: true };
    const clear = storage => key === null ? storage.clear() : storage.removeItem(key);
    try {
        if (area !== 'session') clear(localStorage);
        if (area !== 'local') clear(sessionStorage);
    } catch (error) { result.success = false; result.error = String(error.message).slice(0, 300); }
    return result;
}";
