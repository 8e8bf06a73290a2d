//! Bringing agents in: definitions and versions.

use std::sync::{Arc, PoisonError, atomic::Ordering};

use jiff::Timestamp;
use paddock_platform::{
    identity::{Caller, Scope, Tenant},
    problem::Problem,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use super::{Agents, topics};
use crate::{
    cell::{Agent, AgentStatus, Cell},
    definition::{AgentDefinition, AgentKind},
    error::AgentError,
    handler::{self, Factory, Failure, Handled, Handler},
    message::{AgentName, InvalidField, Message},
    prompt::{GatewayModel, Model, PromptHandler},
    remote::RemoteHandler,
    store::{self, StoredAgent},
    turn::Turn,
};

/// Whether a definition can be deployed.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema, ToSchema)]
pub struct Validation {
    /// Whether it can.
    pub valid: bool,
    /// What speaks against it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<String>,
}

/// An agent whose parts are gone: every message is told so.
struct Broken(String);

impl Handler for Broken {
    fn handle<'a>(&'a mut self, _: Arc<Message>, _: &'a mut Turn) -> Handled<'a> {
        Handled::Done(Err(Failure::fatal(self.0.clone())))
    }
}

impl Agents {
    /// Everything that speaks against a definition.
    pub async fn validate(&self, caller: &Caller, definition: &AgentDefinition) -> Validation {
        let errors = match self.prepare(caller, definition).await {
            Ok(_) => Vec::new(),
            Err(error) => vec![Problem::from(error).detail],
        };
        Validation { valid: errors.is_empty(), errors }
    }

    /// Checks a definition, and makes what runs it. Gives the scopes that it needs.
    pub(super) async fn prepare(
        &self,
        caller: &Caller,
        definition: &AgentDefinition,
    ) -> Result<Vec<Scope>, AgentError> {
        definition.check(self.0.core.limits.mailbox_max)?;
        self.check_order(caller.tenant(), definition)?;
        let mut scopes = Vec::new();
        for tool in &definition.tools {
            let scope = self.0.core.toolbox.get().and_then(|toolbox| toolbox.scope_of(tool));
            let Some(scope) = scope else {
                return Err(InvalidField::new("tools", format!("there is no tool `{tool}`")).into());
            };
            caller.require(scope).map_err(AgentError::Refused)?;
            scopes.push(scope);
        }
        if let Some(prompt) = &definition.prompt {
            caller.require(Scope::write("llm")).map_err(AgentError::Refused)?;
            scopes.push(Scope::write("llm"));
            self.check_model(caller, "prompt.model", &prompt.model)?;
            if let Some(embeddings) = &prompt.memory.embeddings {
                self.check_model(caller, "prompt.memory.embeddings", embeddings)?;
            }
        }
        if let Some(wasm) = &definition.wasm {
            let module = self.module(&wasm.module).await?;
            module.check(&wasm.limits)?;
        }
        if let Some(remote) = &definition.remote {
            if remote.token.is_some() {
                caller.require(Scope::admin("agents")).map_err(AgentError::Refused)?;
            }
            self.0.remotes.check(&remote.url).await?;
        }
        scopes.sort_unstable_by_key(ToString::to_string);
        scopes.dedup();
        Ok(scopes)
    }

    fn check_model(&self, caller: &Caller, field: &'static str, model: &str) -> Result<(), InvalidField> {
        let known = self.0.models.models_for(caller);
        // `provider/model` may be anything that the provider has.
        if model.contains('/') || known.iter().any(|(name, _)| name == model) {
            return Ok(());
        }
        let known: Vec<String> = known.into_iter().map(|(name, _)| name).take(20).collect();
        let detail = if known.is_empty() {
            format!("there is no model `{model}`: none is configured (`[llm]`)")
        } else {
            format!("there is no model `{model}`, only {}", known.join(", "))
        };
        Err(InvalidField::new(field, detail))
    }

    /// What makes the agent's handlers.
    pub(super) fn factory(&self, definition: &Arc<AgentDefinition>, caller: &Caller) -> Factory {
        if let Some(prompt) = &definition.prompt {
            let prompt = Arc::new(prompt.clone());
            let model: Arc<dyn Model> = Arc::new(GatewayModel::new(self.0.models.clone(), caller.clone()));
            return handler::factory(move || {
                Box::new(PromptHandler::new(Arc::clone(&prompt), Arc::clone(&model)))
            });
        }
        if let Some(wasm) = definition.wasm.clone() {
            // As long as somebody holds it, its code stays mapped.
            return match self.0.wasm.prepared(&wasm.module) {
                Some(module) => handler::factory(move || module.handler(&wasm.limits)),
                None => handler::factory(|| {
                    Box::new(Broken("its component is not there any more: deploy it again".to_owned()))
                }),
            };
        }
        if let Some(remote) = definition.remote.clone() {
            let client = self.0.remotes.clone();
            return handler::factory(move || Box::new(RemoteHandler::new(client.clone(), remote.clone())));
        }
        handler::factory(|| Box::new(Broken("it is part of a program that does not have it".to_owned())))
    }

    /// Deploys an agent: a new one, or a new version of one that is there. Its messages wait meanwhile, and none is lost.
    pub async fn deploy(&self, caller: &Caller, definition: AgentDefinition) -> Result<u32, AgentError> {
        let scopes = self.prepare(caller, &definition).await?;
        let tenant = caller.tenant().clone();
        if let Ok(cell) = self.cell(&tenant, &definition.name) {
            if cell.agent().definition.kind() == AgentKind::Native {
                return Err(AgentError::Native(definition.name));
            }
        } else {
            self.refuse_too_many()?;
        }
        let mut stored = StoredAgent {
            tenant,
            name: definition.name.clone(),
            version: 0,
            status: AgentStatus::Active,
            key_id: caller.key_id().map(str::to_owned),
            scopes,
            definition,
            created_at: Timestamp::now(),
        };
        let _unfollowed = self.unfollowed().await;
        let (version, since) = store::put_agent(&self.0.core.store, &stored, stored.created_at).await?;
        stored.version = version;
        let tenant = stored.tenant.clone();
        let cell = self.enlist(&tenant, self.agent_of(stored), since)?;
        // The store knows of no share any more.
        cell.set_split(None);
        self.reschedule(&cell).await?;
        self.revive(&cell);
        let data = json!({ "version": version, "kind": cell.agent().definition.kind().name() });
        self.0.core.publish(&cell, topics::STATES.name, "deployed", data);
        Ok(version)
    }

    /// Until this is dropped, what servers say about agents is not followed here ([`crate::nodes::Nodes::unfollowed`]).
    pub(super) async fn unfollowed(&self) -> Option<tokio::sync::RwLockReadGuard<'_, ()>> {
        match &self.0.core.nodes {
            Some(nodes) => Some(nodes.unfollowed().await),
            None => None,
        }
    }

    fn refuse_too_many(&self) -> Result<(), AgentError> {
        if self.0.count.load(Ordering::Relaxed) >= self.agents_max() {
            return Err(AgentError::TooMany(self.agents_max()));
        }
        Ok(())
    }

    pub(crate) fn agent_of(&self, stored: StoredAgent) -> Agent {
        let caller = Caller::on_behalf(stored.key_id, stored.tenant, stored.scopes);
        let definition = Arc::new(stored.definition);
        let factory = self.factory(&definition, &caller);
        Agent { definition, version: stored.version, factory, caller }
    }

    /// Puts an agent where messages find it, which was deployed first at this time.
    pub(crate) fn enlist(
        &self,
        tenant: &Tenant,
        agent: Agent,
        since: Timestamp,
    ) -> Result<Arc<Cell>, AgentError> {
        let core = &self.0.core;
        let space = core.space(tenant);
        let name = agent.definition.name.clone();
        let definition = Arc::clone(&agent.definition);
        core.supervisor.join(tenant, &definition, since);
        let (cell, before) = if let Some(cell) = space.agent(&name) {
            let before = Arc::clone(&cell.replace(agent, core.limits.mailbox_max).definition);
            (cell, Some(before))
        } else {
            self.refuse_too_many()?;
            let cell = Arc::new(Cell::new(&space, agent, core.limits.mailbox_max));
            if core.nodes.is_some() {
                // Until some server takes it.
                cell.mailbox.leave();
            }
            space.agents.pin().insert(name, Arc::clone(&cell));
            if let Some(nodes) = &core.nodes {
                nodes.poke();
            }
            self.0.count.fetch_add(1, Ordering::Relaxed);
            (cell, None)
        };
        let before = before.as_ref().map(|before| (&before.capabilities[..], &before.topics[..]));
        let now = (&definition.capabilities[..], &definition.topics[..]);
        space.enlist(&cell, before.unwrap_or_default(), now);
        Ok(cell)
    }

    /// Puts an earlier version in force again.
    pub async fn roll_back(
        &self,
        caller: &Caller,
        name: &AgentName,
        version: u32,
    ) -> Result<u32, AgentError> {
        let tenant = caller.tenant();
        self.stored(tenant, name)?;
        let definition = store::version_of(&self.0.core.store, tenant, name, version).await?;
        let definition = definition.ok_or_else(|| AgentError::NoVersion { name: name.clone(), version })?;
        self.deploy(caller, definition).await
    }

    /// Deploys an agent under another name.
    pub async fn copy(&self, caller: &Caller, name: &AgentName, to: AgentName) -> Result<u32, AgentError> {
        let cell = self.stored(caller.tenant(), name)?;
        if self.cell(caller.tenant(), &to).is_ok() {
            return Err(AgentError::Exists(to));
        }
        let definition = AgentDefinition { name: to, ..(*cell.agent().definition).clone() };
        self.deploy(caller, definition).await
    }

    /// An agent that is not part of the program.
    pub(super) fn stored(&self, tenant: &Tenant, name: &AgentName) -> Result<Arc<Cell>, AgentError> {
        let cell = self.cell(tenant, name)?;
        if cell.agent().definition.kind() == AgentKind::Native {
            return Err(AgentError::Native(name.clone()));
        }
        Ok(cell)
    }

    /// Brings in what the store has.
    pub(super) async fn load(&self, backlogs: Vec<(String, usize, i64)>) -> Result<(), AgentError> {
        let stored = store::load_agents(&self.0.core.store).await?;
        let mut digests: Vec<String> = Vec::new();
        for agent in &stored {
            if let Some(wasm) = &agent.definition.wasm
                && !digests.contains(&wasm.module)
            {
                digests.push(wasm.module.clone());
            }
        }
        for digest in digests {
            if let Err(error) = self.module(&digest).await {
                tracing::error!(%error, digest, "the component of agents cannot be had");
            }
        }
        for agent in stored {
            let (tenant, status, since) = (agent.tenant.clone(), agent.status, agent.created_at);
            let cell = self.enlist(&tenant, self.agent_of(agent), since)?;
            cell.set_status(status);
            if status == AgentStatus::Failed {
                cell.mailbox.close();
            }
        }
        for (key, waiting, _) in backlogs {
            let found = key
                .split_once('/')
                .and_then(|(tenant, name)| self.cell(&tenant.parse().ok()?, &name.parse().ok()?).ok());
            match found {
                Some(cell) => cell.mailbox.set_backlog(waiting),
                // An agent of the program finds them when it is registered.
                None => {
                    self.0.unclaimed.lock().unwrap_or_else(PoisonError::into_inner).insert(key, waiting);
                }
            }
        }
        Ok(())
    }
}
