//! Sees to it that this server runs the agents that are its own: takes what nobody runs, hands over what is another's,
//! and fetches what came for them.

#[path = "keeper_fetch.rs"]
mod fetch;

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, PoisonError, atomic::Ordering},
    time::Duration,
};

use metrics::{counter, gauge};
use paddock_platform::{identity::Tenant, store::StoreError};
use serde_json::json;
use tokio::time::Instant;

use super::{Nodes, hear, lease, placement::Placement, receive, server_of, view};
use crate::{
    cell::{Cell, ORDER_LEAVE},
    commit::Handover,
    core::{Core, Trouble},
    dead::DeadReason,
    mailbox::AWAY,
    message::AgentName,
    metrics::{AGENTS_NODES, AGENTS_OWNED, AGENTS_TAKEN_TOTAL},
    order,
    service::Agents,
    store::nodes::{self, Member, Taken},
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
/// Agents that are taken, and handed over, at once.
const TAKE_MAX: usize = 2_000;

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

    /// Compares who runs what with who is to run it.
    async fn place(&mut self, is_settled: bool) -> Result<(), StoreError> {
        let members = self.nodes.members();
        let placement = Placement::new(&members);
        let term = self.nodes.term();
        let me = term.as_ref().map_or("", |term| &*term.node);
        let (mut take, mut release, mut released) = (Vec::new(), Vec::new(), Vec::new());
        let cells: Vec<Arc<Cell>> = self.core.spaces.pin().values().flat_map(|space| space.cells()).collect();
        self.forget_removed(&cells);
        // Others run them, or nobody: those that are still here are not any more.
        let is_member = members.iter().any(|member| member.row.node == me);
        let is_mine =
            |cell: &Cell| is_member && self.owners.get(&*cell.key).is_some_and(|owner| owner.node == me);
        let went = |cell: &&Arc<Cell>| !is_mine(cell) && cell.mailbox.epoch() != AWAY;
        let gone: Vec<Arc<Cell>> = cells.iter().filter(went).cloned().collect();
        self.nodes.left(&self.core, &gone);
        for cell in cells {
            let owner = self.owners.get(&*cell.key);
            let runs = owner.and_then(|owner| members.iter().find(|member| member.row.node == owner.node));
            match (owner, runs) {
                (Some(owner), Some(runs)) if runs.row.node == me => {
                    cell.set_owner(None);
                    if self.gives_up(&cell, owner.epoch, is_settled, &placement, me) {
                        release.push((cell.key.to_string(), owner.epoch));
                        released.push(cell);
                    }
                }
                (_, Some(runs)) => {
                    let server = server_of(&runs.row.node);
                    // One of this server's leases before: it ends, and the agent is taken again.
                    if server != &*self.nodes.server {
                        self.nodes.route(&self.core, &cell, Arc::from(server));
                    }
                }
                (_, None) => {
                    cell.set_owner(None);
                    if winner(&placement, &cell, None).is_some_and(|winner| winner.row.node == me)
                        && take.len() < TAKE_MAX
                    {
                        take.push((cell.key.to_string(), cell.mailbox.bound()));
                    }
                }
            }
        }
        self.nodes.parted(&self.core, &released);
        let is_more = take.len() >= TAKE_MAX || release.len() >= TAKE_MAX;
        release.truncate(TAKE_MAX);
        let is_changed = !take.is_empty() || !release.is_empty();
        if is_changed && !me.is_empty() {
            self.change(Arc::from(me), release, take).await?;
        }
        if is_more {
            self.nodes.poke();
        }
        gauge!(AGENTS_OWNED).set(self.nodes.here().len() as f64);
        Ok(())
    }

    /// Agents that were removed need nobody to run them.
    fn forget_removed(&mut self, cells: &[Arc<Cell>]) {
        if self.owners.len() > cells.len() {
            let there: HashSet<&str> = cells.iter().map(|cell| &*cell.key).collect();
            self.owners.retain(|agent, owner| !owner.node.is_empty() || there.contains(agent.as_str()));
        }
    }

    /// Sees to it that this server runs an agent no longer once its turn is over. Gives whether that is so already, and
    /// has only to be completed ([`Nodes::parted`]).
    fn vacate(&self, cell: &Arc<Cell>) -> bool {
        if self.nodes.part_asleep(&self.core, cell) {
            return true;
        }
        cell.order(ORDER_LEAVE);
        self.core.nudge(cell);
        false
    }

    /// Looks at an agent that this server runs; gives whether it can be given up.
    fn gives_up(
        &self,
        cell: &Arc<Cell>,
        epoch: i64,
        is_settled: bool,
        placement: &Placement<'_>,
        me: &str,
    ) -> bool {
        if cell.mailbox.epoch() != epoch {
            // It left by itself, or what became of taking it was not told. Its task may not have ended yet.
            return cell.mailbox.is_vacant();
        }
        let is_mine = winner(placement, cell, Some(me)).is_none_or(|winner| winner.row.node == me);
        !is_mine && is_settled && self.vacate(cell)
    }

    async fn change(
        &mut self,
        node: Arc<str>,
        release: Vec<(String, i64)>,
        take: Vec<(String, usize)>,
    ) -> Result<(), StoreError> {
        let Some(commits) = self.core.commits() else { return Ok(()) };
        if !release.is_empty() {
            tracing::info!(agents = release.len(), "agents go to other servers");
        }
        let handover = Handover { node: Arc::clone(&node), release, take };
        let taken = commits.hand_over(handover).await?;
        if taken.is_empty() {
            return Ok(());
        }
        tracing::info!(agents = taken.len(), "this server runs more agents");
        // What those that come sent before comes before what they send from here.
        self.fetch().await?;
        let mut cells = Vec::with_capacity(taken.len());
        for taken in self.in_order(taken) {
            let was_there = self.owners.contains_key(&taken.key);
            let reason = if was_there { "moved" } else { "new" };
            counter!(AGENTS_TAKEN_TOTAL, "reason" => reason).increment(1);
            self.owners.insert(taken.key.clone(), Owner { node: node.to_string(), epoch: taken.epoch });
            // The lease may have ended meanwhile; then somebody else takes it, or this server again.
            if let (Some(cell), true) = (self.cell(&taken.key), self.nodes.id() == *node) {
                self.nodes.settle(&self.core, &cell, &taken);
                if taken.surplus_until > 0 {
                    self.behind.push(Arc::clone(&cell));
                }
                cells.push(cell);
            }
        }
        // One that ended while they settled stopped only those that had.
        if self.nodes.id() != *node {
            self.nodes.left(&self.core, &cells);
            return Ok(());
        }
        if let Err(error) = self.agents.load_alarms_of(&cells).await {
            // They are taken again, with what they are to be reminded of.
            tracing::warn!(%error, "what agents are to be reminded of cannot be read");
            self.nodes.left(&self.core, &cells);
        }
        Ok(())
    }

    /// Those that others come after begin before them.
    fn in_order(&self, mut taken: Vec<Taken>) -> Vec<Taken> {
        let after = |key: &String| -> Vec<String> {
            let Some(cell) = self.cell(key) else { return Vec::new() };
            let agent = cell.agent();
            agent.definition.after.iter().map(|name| format!("{}/{name}", cell.space.tenant)).collect()
        };
        let agents: Vec<(String, Vec<String>)> =
            taken.iter().map(|taken| (taken.key.clone(), after(&taken.key))).collect();
        let depths = order::depths(&agents);
        let depths: HashMap<&str, usize> =
            agents.iter().zip(depths).map(|((key, _), depth)| (key.as_str(), depth)).collect();
        taken.sort_by_key(|taken| depths.get(taken.key.as_str()).copied());
        taken
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

/// Who is to run an agent. Members of a group that is restarted together are run together.
fn winner<'a>(placement: &Placement<'a>, cell: &Cell, keeper: Option<&str>) -> Option<&'a Member> {
    let agent = cell.agent();
    let definition = &agent.definition;
    match &definition.supervision.group {
        // No agent has such a name.
        Some(group) => {
            let key = format!("{}/@{group}", cell.space.tenant);
            placement.winner(&key, &definition.placement, keeper)
        }
        None => placement.winner(&cell.key, &definition.placement, keeper),
    }
}
