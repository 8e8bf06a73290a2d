//! The servers as callers see them.

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;
use paddock_platform::{events::News, store::StoreError};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::{Nodes, server_of};
use crate::{
    cell::Cell,
    core::Core,
    service::{Agents, topics},
    store::nodes::{self, Member},
};

/// The servers that run the agents.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema, ToSchema)]
#[schema(as = AgentNodes)]
pub struct NodesView {
    /// Whether there may be several: the store is PostgreSQL.
    pub shared: bool,
    /// What carries messages between them: `local` or `nats`.
    pub bus: String,
    /// Whether it is there.
    pub bus_up: bool,
    /// For how long a server that is not heard of keeps its agents.
    pub lease_ms: u64,
    /// Messages in memory that wait here until it is known who runs their agents.
    pub held: usize,
    /// The servers.
    pub nodes: Vec<NodeView>,
}

/// One server.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema, ToSchema)]
#[schema(as = AgentNode)]
pub struct NodeView {
    /// The id of its lease.
    pub node: String,
    /// What it is called.
    pub name: String,
    /// Whether it is the one that answers.
    pub this: bool,
    /// Its labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// How many agents it is to run, in proportion to the others.
    pub weight: u32,
    /// When it got its lease.
    #[schema(value_type = String)]
    #[schemars(with = "String")]
    pub started_at: Timestamp,
    /// How long ago the lease was renewed.
    pub renewed_ms: u64,
    /// How long it still is; less than 0 if it is over and the agents have not gone to others yet.
    pub lease_left_ms: i64,
    /// How many agents it runs.
    pub agents: u64,
    /// How many of them were awake when the lease was renewed.
    pub awake: u64,
    /// Whether it has so much to do that it gets no more agents.
    pub full: bool,
}

impl Agents {
    /// The servers that run the agents.
    pub async fn nodes(&self) -> Result<NodesView, StoreError> {
        let core = &self.0.core;
        let Some(nodes) = &core.nodes else { return Ok(alone(self)) };
        let members = nodes::members(&core.store).await?;
        let counts = nodes::counts(&core.store).await?;
        let here = nodes.id();
        let view = |member: Member| NodeView {
            this: member.row.node == here,
            agents: counts.get(&member.row.node).copied().unwrap_or(0),
            node: member.row.node,
            name: member.row.name,
            labels: member.row.labels,
            weight: member.row.weight,
            started_at: Timestamp::from_millisecond(member.started_at).unwrap_or_default(),
            renewed_ms: u64::try_from(member.renewed_ms).unwrap_or(0),
            lease_left_ms: member.left_ms,
            awake: member.awake,
            full: member.is_full,
        };
        Ok(NodesView {
            shared: true,
            bus: nodes.bus.engine().to_owned(),
            bus_up: nodes.bus.is_up(),
            lease_ms: u64::try_from(nodes.options.lease().as_millis()).unwrap_or(u64::MAX),
            held: nodes.waiting().len(),
            nodes: members.into_iter().map(view).collect(),
        })
    }
}

/// A server that shares its agents with nobody.
fn alone(agents: &Agents) -> NodesView {
    let core = &agents.0.core;
    let options = agents.0.options.current().nodes;
    let node = NodeView {
        node: String::new(),
        name: options.name(),
        this: true,
        labels: options.labels.clone(),
        weight: options.weight,
        started_at: agents.0.started_at,
        renewed_ms: 0,
        lease_left_ms: 0,
        agents: agents.0.count.load(std::sync::atomic::Ordering::Relaxed) as u64,
        awake: core.awake.pin().len() as u64,
        full: false,
    };
    NodesView {
        shared: false,
        bus: "local".to_owned(),
        bus_up: true,
        lease_ms: 0,
        held: 0,
        nodes: vec![node],
    }
}

impl Nodes {
    /// The name of the server that runs an agent, if that is known.
    pub(crate) fn name_of_owner(&self, cell: &Cell) -> Option<String> {
        if cell.mailbox.epoch() != crate::mailbox::AWAY {
            return Some(self.name.clone());
        }
        let owner = cell.owner()?;
        let members = self.members();
        members
            .iter()
            .find(|member| server_of(&member.row.node) == &*owner)
            .map(|member| member.row.name.clone())
    }
}

/// Tells those who watch that something happened to a server.
pub(super) fn publish(core: &Core, kind: &'static str, name: &str, data: Value) {
    let data = if let Value::Object(data) = data { data } else { Map::new() };
    let about = vec![("name", Arc::from(name))];
    core.events.publish(News { tenant: None, topic: topics::NODES.name, kind, about, data });
}
