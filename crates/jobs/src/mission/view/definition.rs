//! Definitions as their callers see them.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::mission::{Definition, store::DefinitionRow};

/// A definition that was stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
pub struct StoredDefinition {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: u32,
    /// Whether this made the version; not, if the latest says the same.
    pub created: bool,
}

/// A stored definition.
#[derive(Clone, Debug, Serialize, JsonSchema, ToSchema)]
pub struct DefinitionView {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: u32,
    /// When it was stored.
    #[schemars(with = "String")]
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// The key that stored it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_by: Option<String>,
    /// How deep it calls other missions; 1 if it calls none.
    pub depth: u32,
    /// What it says.
    #[schema(value_type = Object)]
    pub definition: Definition,
}

impl DefinitionView {
    pub(crate) fn of(row: &DefinitionRow) -> Self {
        Self {
            name: row.name.clone(),
            version: row.version,
            created_at: row.created_at,
            created_by: row.created_by.clone(),
            depth: row.depth,
            definition: serde_json::from_str(&row.body).unwrap_or_default(),
        }
    }
}
