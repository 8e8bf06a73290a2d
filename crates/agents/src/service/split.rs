//! Giving a share of the conversations to another version, and deciding about it.

use std::sync::Arc;

use jiff::Timestamp;
use paddock_platform::identity::{Caller, Tenant};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use super::{Agents, topics};
use crate::{
    cell::{Agent, Cell, ORDER_LOOK, Split},
    definition::AgentDefinition,
    error::AgentError,
    message::{AgentName, InvalidField},
    store::{self, StoredAgent, StoredSplit},
};

/// A version that gets a share of the conversations.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SplitInput {
    /// Which.
    pub version: u32,
    /// Its share of the conversations that begin from now on: more than 0, and less than 1.
    pub weight: f64,
}

/// A version that has a share of the conversations.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema, ToSchema)]
pub struct SplitView {
    /// Which.
    pub version: u32,
    /// Its share of the conversations that begin.
    pub weight: f64,
    /// Since when it has one.
    #[schema(value_type = String)]
    #[schemars(with = "String")]
    pub since: Timestamp,
}

fn check(weight: f64) -> Result<(), InvalidField> {
    if weight > 0.0 && weight < 1.0 {
        return Ok(());
    }
    Err(InvalidField::new(
        "weight",
        "must be more than 0 and less than 1; `promote` gives a version everything",
    ))
}

impl Agents {
    /// Deploys a new version beside the one in force, for a share of the conversations.
    pub async fn deploy_beside(
        &self,
        caller: &Caller,
        definition: AgentDefinition,
        weight: f64,
    ) -> Result<u32, AgentError> {
        check(weight)?;
        let scopes = self.prepare(caller, &definition).await?;
        let cell = self.stored(caller.tenant(), &definition.name)?;
        let stored = StoredAgent {
            tenant: caller.tenant().clone(),
            name: definition.name.clone(),
            version: 0,
            status: cell.status(),
            key_id: caller.key_id().map(str::to_owned),
            scopes,
            definition,
            created_at: Timestamp::now(),
        };
        let version = store::put_version(&self.0.core.store, &stored, Timestamp::now()).await?;
        self.split(caller, &stored.name, SplitInput { version, weight }).await?;
        Ok(version)
    }

    /// Gives a version a share of the conversations that begin from now on. One that has a share already keeps the
    /// conversations that it has.
    pub async fn split(
        &self,
        caller: &Caller,
        name: &AgentName,
        input: SplitInput,
    ) -> Result<SplitView, AgentError> {
        let SplitInput { version, weight } = input;
        check(weight)?;
        let tenant = caller.tenant();
        let cell = self.stored(tenant, name)?;
        if cell.agent().version == version {
            return Err(InvalidField::new("version", "is the one in force").into());
        }
        let definition = store::version_of(&self.0.core.store, tenant, name, version).await?;
        let definition = definition.ok_or_else(|| AgentError::NoVersion { name: name.clone(), version })?;
        let scopes = self.prepare(caller, &definition).await?;
        let since = match cell.split() {
            Some(split) if split.agent.version == version => split.since,
            _ => Timestamp::now(),
        };
        let stored = StoredSplit {
            tenant: tenant.clone(),
            name: name.clone(),
            version,
            weight,
            since,
            key_id: caller.key_id().map(str::to_owned),
            scopes,
            definition,
        };
        let _unfollowed = self.unfollowed().await;
        store::put_split(&self.0.core.store, &stored).await?;
        self.put_split(&cell, stored);
        self.look_at_versions(&cell);
        let data = json!({ "version": version, "weight": weight });
        self.0.core.publish(&cell, topics::STATES.name, "split", data);
        Ok(SplitView { version, weight, since })
    }

    /// Puts the version that has a share in force, for everything.
    pub async fn promote(&self, caller: &Caller, name: &AgentName) -> Result<u32, AgentError> {
        let cell = self.stored(caller.tenant(), name)?;
        let split = cell.split().ok_or_else(|| AgentError::NoSplit(name.clone()))?;
        self.deploy(caller, (*split.agent.definition).clone()).await
    }

    /// Takes its share from the version that has one: everything is the one's in force again.
    pub async fn end_split(&self, tenant: &Tenant, name: &AgentName) -> Result<(), AgentError> {
        let cell = self.stored(tenant, name)?;
        if cell.split().is_none() {
            return Err(AgentError::NoSplit(name.clone()));
        }
        let _unfollowed = self.unfollowed().await;
        store::delete_split(&self.0.core.store, tenant, name).await?;
        cell.set_split(None);
        self.look_at_versions(&cell);
        self.0.core.publish(&cell, topics::STATES.name, "split", json!({ "weight": 0 }));
        Ok(())
    }

    fn put_split(&self, cell: &Arc<Cell>, stored: StoredSplit) {
        let caller = Caller::on_behalf(stored.key_id, stored.tenant, stored.scopes);
        let definition = Arc::new(stored.definition);
        let factory = self.factory(&definition, &caller);
        let agent = Arc::new(Agent { definition, version: stored.version, factory, caller });
        cell.set_split(Some(Arc::new(Split { agent, weight: stored.weight, since: stored.since })));
    }

    fn look_at_versions(&self, cell: &Arc<Cell>) {
        cell.order(ORDER_LOOK);
        self.0.core.nudge(cell);
    }

    /// Does here what another server did with the shares of an agent's versions.
    pub(crate) async fn follow_split(&self, cell: &Arc<Cell>) -> Result<(), AgentError> {
        let stored = store::find_split(&self.0.core.store, &cell.space.tenant, &cell.name).await?;
        let now = stored.as_ref().map(|stored| (stored.version, stored.weight, stored.since));
        let before = cell.split().map(|split| (split.agent.version, split.weight, split.since));
        if now == before {
            return Ok(());
        }
        match stored {
            None => cell.set_split(None),
            Some(stored) => {
                if let Some(wasm) = &stored.definition.wasm {
                    self.module(&wasm.module).await?;
                }
                self.put_split(cell, stored);
            }
        }
        self.look_at_versions(cell);
        Ok(())
    }

    /// Brings in what the store has.
    pub(super) async fn load_splits(&self) -> Result<(), AgentError> {
        for stored in store::load_splits(&self.0.core.store).await? {
            let Ok(cell) = self.cell(&stored.tenant, &stored.name) else { continue };
            if let Some(wasm) = &stored.definition.wasm
                && let Err(error) = self.module(&wasm.module).await
            {
                tracing::error!(%error, digest = wasm.module, "the component of agents cannot be had");
            }
            self.put_split(&cell, stored);
        }
        Ok(())
    }
}
