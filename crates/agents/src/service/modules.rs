//! Components of agents: uploaded once, and named by their digests.

use bytes::Bytes;
use paddock_platform::blobs::{BlobError, BlobKey};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Agents;
use crate::{error::AgentError, message::InvalidField, wasm::Module};

/// A component that was uploaded.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema, ToSchema)]
pub struct ModuleView {
    /// What definitions name it by.
    pub digest: String,
    /// How large it is.
    pub size: u64,
    /// The name that it gives itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What it says that it does.
    pub description: String,
    /// What it says that it can do.
    pub capabilities: Vec<String>,
    /// The tools that it would like to call.
    pub tools: Vec<String>,
}

fn module_key(digest: &str) -> Option<BlobKey> {
    let is_digest = digest.len() == 64 && digest.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_digest.then(|| format!("agents/modules/{digest}.wasm").parse().ok()).flatten()
}

impl Agents {
    /// Takes a component, checks it, and keeps it under its digest.
    pub async fn upload(&self, component: Bytes) -> Result<ModuleView, AgentError> {
        let module = self.0.wasm.prepare(component.clone()).await?;
        let size = component.len() as u64;
        if let Some(key) = module_key(module.digest()) {
            self.0.blobs.put(&key, component).await?;
        }
        let description = module.description().clone();
        Ok(ModuleView {
            digest: module.digest().to_owned(),
            size,
            name: description.name,
            description: description.description,
            capabilities: description.capabilities,
            tools: description.tools,
        })
    }

    /// Sees to it that a component is ready that another server took.
    pub(crate) async fn component(&self, digest: &str) -> Result<(), AgentError> {
        self.module(digest).await.map(|_| ())
    }

    pub(super) async fn module(&self, digest: &str) -> Result<Module, AgentError> {
        if let Some(module) = self.0.wasm.prepared(digest) {
            return Ok(module);
        }
        let unknown = || InvalidField::new("wasm.module", "names no component that was uploaded");
        let key = module_key(digest).ok_or_else(unknown)?;
        let blob = self.0.blobs.get(&key).await.map_err(|error| match error {
            BlobError::NotFound(_) => AgentError::Invalid(unknown()),
            other => other.into(),
        })?;
        Ok(self.0.wasm.prepare(blob.bytes).await?)
    }
}
