//! Looking at agents.

use std::sync::{Arc, atomic::Ordering};

use bytes::Bytes;
use jiff::Timestamp;
use paddock_platform::identity::Tenant;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Agents, SplitView};
use crate::{
    cell::{AgentStatus, Cell, LogLine},
    dead::DeadLetterView,
    definition::{AgentDefinition, AgentKind},
    error::AgentError,
    message::{AgentName, Capability, Label},
    prompt::{PENDING, PendingApproval},
    store::{self, ConversationSummary, Entry},
};

/// An agent as callers see it.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema, ToSchema)]
#[schema(as = AgentSummary)]
pub struct AgentView {
    /// Its name.
    pub name: AgentName,
    /// What it does.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// What it is made of.
    pub kind: AgentKind,
    /// The version in force.
    pub version: u32,
    /// Where it stands.
    pub status: AgentStatus,
    /// What it can do.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub capabilities: Vec<Capability>,
    /// Whether it is in memory, ready for the next message.
    pub awake: bool,
    /// The server that runs it, where several share the agents and one does. The figures of what it did are of the server
    /// that answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// Messages that wait for it.
    pub waiting: usize,
    /// Messages that it handled since the server began.
    pub handled: u64,
    /// Turns that failed since the server began.
    pub failed: u64,
    /// Messages that it sent since the server began.
    pub sent: u64,
    /// How often it was restarted since the server began.
    pub restarts: u64,
    /// For how long it was busy since the server began, turns that are over at once not counted.
    pub busy_ms: u64,
}

/// An agent and its definition.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema, ToSchema)]
#[schema(as = AgentDetail)]
pub struct DefinitionView {
    /// How it is.
    pub agent: AgentView,
    /// What it is.
    pub definition: AgentDefinition,
    /// The version that gets a share of the conversations beside it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub split: Option<SplitView>,
    /// The versions that there are, the newest first.
    pub versions: Vec<VersionView>,
}

/// A version of an agent.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema, ToSchema)]
pub struct VersionView {
    /// Its number.
    pub version: u32,
    /// When it was deployed first.
    #[schema(value_type = String)]
    #[schemars(with = "String")]
    pub created_at: Timestamp,
}

impl Agents {
    fn view(&self, cell: &Arc<Cell>) -> AgentView {
        let agent = cell.agent();
        let count = |of: &std::sync::atomic::AtomicU64| of.load(Ordering::Relaxed);
        AgentView {
            name: cell.name.clone(),
            description: agent.definition.description.clone(),
            kind: agent.definition.kind(),
            version: agent.version,
            status: cell.status(),
            capabilities: agent.definition.capabilities.clone(),
            awake: self.0.core.awake.pin().contains_key(&cell.id()),
            node: self.0.core.nodes.as_ref().and_then(|nodes| nodes.name_of_owner(cell)),
            waiting: cell.mailbox.len(),
            handled: count(&cell.counts.handled),
            failed: count(&cell.counts.failed),
            sent: count(&cell.counts.sent),
            restarts: count(&cell.counts.restarts),
            busy_ms: count(&cell.counts.busy_us) / 1_000,
        }
    }

    /// How an agent is.
    pub fn get(&self, tenant: &Tenant, name: &AgentName) -> Result<AgentView, AgentError> {
        Ok(self.view(&self.cell(tenant, name)?))
    }

    /// An agent's definition and versions.
    pub async fn definition(&self, tenant: &Tenant, name: &AgentName) -> Result<DefinitionView, AgentError> {
        let cell = self.cell(tenant, name)?;
        let versions = store::versions_of(&self.0.core.store, tenant, name).await?;
        let versions = versions.into_iter().map(|(version, created_at)| VersionView { version, created_at });
        Ok(DefinitionView {
            agent: self.view(&cell),
            definition: (*cell.agent().definition).clone(),
            split: cell.split().map(|split| SplitView {
                version: split.agent.version,
                weight: split.weight,
                since: split.since,
            }),
            versions: versions.collect(),
        })
    }

    /// The agents of a tenant by name, after one.
    pub fn list(
        &self,
        tenant: &Tenant,
        capability: Option<&Capability>,
        after: Option<&AgentName>,
        limit: usize,
    ) -> Vec<AgentView> {
        let space = self.0.core.space(tenant);
        let mut cells = space.cells();
        cells.retain(|cell| after.is_none_or(|after| cell.name > *after));
        if let Some(capability) = capability {
            cells.retain(|cell| cell.agent().definition.capabilities.contains(capability));
        }
        cells.sort_unstable_by(|left, right| left.name.cmp(&right.name));
        cells.iter().take(limit).map(|cell| self.view(cell)).collect()
    }

    /// The last lines of an agent's log.
    pub fn log(&self, tenant: &Tenant, name: &AgentName) -> Result<Vec<LogLine>, AgentError> {
        Ok(self.cell(tenant, name)?.log())
    }

    /// The conversations in which something happened lately.
    pub async fn conversations(
        &self,
        tenant: &Tenant,
        limit: u32,
    ) -> Result<Vec<ConversationSummary>, AgentError> {
        self.settled().await;
        Ok(store::conversations(&self.0.core.store, tenant, limit).await?)
    }

    /// What happened in a conversation, after an entry.
    pub async fn timeline(
        &self,
        tenant: &Tenant,
        conversation: &Label,
        after: i64,
        limit: u32,
    ) -> Result<Vec<Entry>, AgentError> {
        self.settled().await;
        Ok(store::timeline(&self.0.core.store, tenant, conversation, after, limit).await?)
    }

    /// Messages that nobody handled: the last ones, and durable ones of before the server began.
    pub async fn dead_letters(&self, tenant: &Tenant, limit: u32) -> Result<Vec<DeadLetterView>, AgentError> {
        let mut letters = self.0.core.dead.of(tenant, limit as usize);
        let stored = store::dead_letters(&self.0.core.store, tenant, limit).await?;
        letters.extend(stored.iter().filter_map(|letter| serde_json::from_str(letter).ok()));
        letters.sort_by_key(|letter: &DeadLetterView| std::cmp::Reverse(letter.at));
        letters.truncate(limit as usize);
        Ok(letters)
    }

    /// Calls of an agent's runs that wait for somebody to approve them, the oldest first.
    pub async fn approvals(
        &self,
        tenant: &Tenant,
        name: &AgentName,
    ) -> Result<Vec<PendingApproval>, AgentError> {
        #[derive(Deserialize)]
        struct Paused {
            approval: PendingApproval,
        }
        let cell = self.cell(tenant, name)?;
        let entries: Vec<(String, Bytes)> =
            store::state_entries(&self.0.core.store, &cell.key, PENDING).await?;
        let read = |(_, bytes): &(String, Bytes)| serde_json::from_slice::<Paused>(bytes).ok();
        Ok(entries.iter().filter_map(read).map(|paused| paused.approval).collect())
    }
}
