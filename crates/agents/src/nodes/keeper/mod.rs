//! Sees to it that this server runs the agents that are its own: takes what nobody runs, hands over what is another's,
//! and fetches what came for them.

mod fetch;
mod place;

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, atomic::Ordering},
    time::Duration,
};

use metrics::gauge;
use paddock_platform::{identity::Tenant, store::StoreError};
use serde_json::json;
use tokio::time::Instant;

use super::{Nodes, hear, lease, receive, server_of, view};
use crate::{
    cell::Cell,
    core::{Core, Trouble},
    dead::DeadReason,
    message::AgentName,
    metrics::AGENTS_NODES,
    service::Agents,
    store::nodes::{self, Member},
};

/// How often it is looked without being told.
const LOOK: Duration = Duration::from_secs(1);
/// What is told meanwhile is looked at together.
const GATHER: Duration = Duration::from_millis(10);
/// How often everything is looked through, whether something seems different or not.
const LOOK_THROUGH_EVERY: u32 = 10;
/// How long servers have to be the same before agents move between those that live: one that comes and goes moves none.
const SETTLED: Duration = Duration::from_secs(2);
/// How long a message in memory waits for somebody to run its agent, beyond a lease.
const WAIT_BEYOND: Duration = Duration::from_secs(7);

/// Starts everything that several servers need.
pub(crate) fn spawn(agents: &Agents) {
    let core = &agents.0.core;
    let Some(nodes) = &core.nodes else { return };
    let stopping = core.tasks.stop_token();
    core.tasks.spawn("agents-lease", lease::run(Arc::clone(core)));
    core.tasks.spawn("agents-deliveries", until(&stopping, receive::deliveries(Arc::clone(core))));
    core.tasks.spawn("agents-hints", until(&stopping, receive::hints(Arc::clone(core))));
    core.tasks.spawn("agents-hinted", until(&stopping, receive::tell_hints(Arc::clone(core))));
    core.tasks.spawn("agents-changes", until(&stopping, hear::run(agents.clone())));
    let keeper = Keeper {
        agents: agents.clone(),
        core: Arc::clone(core),
        nodes: Arc::clone(nodes),
        lease: String::new(),
        owners: HashMap::new(),
        last_epoch: 0,
        since: Instant::now(),
        looks: 0,
        behind: Vec::new(),
    };
    core.tasks.spawn("agents-keeper", until(&stopping, keeper.run()));
}

fn until<F: Future<Output = ()> + Send + 'static>(
    stopping: &tokio_util::sync::CancellationToken,
    future: F,
) -> impl Future<Output = ()> + Send + 'static {
    let stopping = stopping.clone();
    async move {
        let _ = stopping.run_until_cancelled(future).await;
    }
}

/// Who runs an agent.
#[derive(Clone, Debug)]
struct Owner {
    node: String,
    epoch: i64,
}

struct Keeper {
    agents: Agents,
    core: Arc<Core>,
    nodes: Arc<Nodes>,
    /// The lease under which it was learned who runs what.
    lease: String,
    owners: HashMap<String, Owner>,
    last_epoch: i64,
    /// When servers came or went last.
    since: Instant,
    looks: u32,
    /// Agents for whom more waited than their mailboxes hold when they were taken.
    behind: Vec<Arc<Cell>>,
}

impl Keeper {
    async fn run(mut self) {
        loop {
            // Where somebody waits it is looked more often.
            let look = if self.nodes.waiting().len() > 0 || self.nodes.has_late() { LOOK / 5 } else { LOOK };
            let _ = tokio::time::timeout(look, self.nodes.changed.notified()).await;
            if let Err(error) = self.look().await {
                tracing::warn!(%error, "it is not known who runs which agent; looking again");
                // What this look was to find is not found yet.
                self.nodes.is_dirty.store(true, Ordering::Release);
                tokio::time::sleep(LOOK).await;
                // What they are of is kept, whoever fetches it when.
                drop(self.nodes.take_late());
            }
            tokio::time::sleep(GATHER).await;
        }
    }

    async fn look(&mut self) -> Result<(), StoreError> {
        self.looks = self.looks.wrapping_add(1);
        let is_told = self.nodes.is_dirty.swap(false, Ordering::AcqRel);
        let is_thorough = self.looks.is_multiple_of(LOOK_THROUGH_EVERY);
        for gone in nodes::expel(&self.core.store).await? {
            tracing::warn!(node = gone, "a server is gone; its agents go to others");
        }
        if is_thorough {
            nodes::forget_owners(&self.core.store).await?;
        }
        let was_moved = self.look_at_members().await? | self.look_at_owners().await?;
        let is_settled = self.since.elapsed() >= SETTLED;
        // When it has just settled agents may move.
        let has_settled = is_settled && self.since.elapsed() < SETTLED + 2 * LOOK;
        if is_told || was_moved || has_settled || is_thorough {
            self.place(is_settled).await?;
        }
        let late = self.nodes.take_late();
        let behind = self.fetch().await?;
        self.nodes.acknowledge_but(late, &behind);
        self.look_at_waiting();
        Ok(())
    }

    /// Gives whether servers came or went.
    async fn look_at_members(&mut self) -> Result<bool, StoreError> {
        let members = nodes::members(&self.core.store).await?;
        let before = self.nodes.members();
        let is_in = |list: &[Member], node: &str| list.iter().any(|member| member.row.node == node);
        let joined: Vec<&Member> =
            members.iter().filter(|member| !is_in(&before, &member.row.node)).collect();
        let left: Vec<&Member> = before.iter().filter(|member| !is_in(&members, &member.row.node)).collect();
        for (kind, changed) in [("joined", &joined), ("left", &left)] {
            for member in changed {
                tracing::info!(node = member.row.node, name = member.row.name, "a server {kind}");
                view::publish(&self.core, kind, &member.row.name, json!({ "node": member.row.node }));
            }
        }
        let is_other = !(joined.is_empty() && left.is_empty());
        gauge!(AGENTS_NODES).set(members.len() as f64);
        let kept = members.clone();
        *self.nodes.members.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(members);
        if is_other {
            if kept.len() > 1 && self.nodes.bus.is_local() {
                tracing::warn!(
                    "servers share agents without a bus (`[bus] url`): messages in memory stay on each"
                );
            }
            self.since = Instant::now();
            self.nodes.keep_links(|server| kept.iter().any(|member| server_of(&member.row.node) == server));
        }
        Ok(is_other)
    }

    /// Gives whether agents went from one to another.
    async fn look_at_owners(&mut self) -> Result<bool, StoreError> {
        let lease = self.nodes.id();
        if lease != self.lease {
            // While this server had none, what changed may have been forgotten.
            (self.lease, self.last_epoch) = (lease, 0);
            self.owners.clear();
        }
        let changes = nodes::changes(&self.core.store, self.last_epoch).await?;
        let is_other = !changes.is_empty();
        for (agent, node, epoch) in changes {
            self.last_epoch = self.last_epoch.max(epoch);
            self.owners.insert(agent, Owner { node, epoch });
        }
        self.nodes.seen.store(self.last_epoch, Ordering::Release);
        Ok(is_other)
    }

    fn cell(&self, key: &str) -> Option<Arc<Cell>> {
        let (tenant, name) = key.split_once('/')?;
        let (tenant, name): (Tenant, AgentName) = (tenant.parse().ok()?, name.parse().ok()?);
        self.core.spaces.pin().get(&tenant)?.agent(&name)
    }

    /// Messages in memory whose agents nobody has run for too long.
    fn look_at_waiting(&self) {
        let overdue = self.nodes.waiting().overdue(self.nodes.options.lease() + WAIT_BEYOND);
        for (cell, message) in overdue {
            let detail = "no server runs it".to_owned();
            let trouble = Trouble::new(Some(&cell.name), DeadReason::Unreachable, detail);
            self.core.troubled(&cell.space, &message, vec![trouble]);
        }
        // Some waited because a server said that it does not run their agents; by now it may, or is not meant any more.
        if self.nodes.waiting().len() > 0 {
            self.nodes.is_dirty.store(true, Ordering::Release);
        }
    }
}
