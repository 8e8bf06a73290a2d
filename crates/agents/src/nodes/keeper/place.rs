//! Who runs which agent: compared with who is to run it, and changed.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use metrics::{counter, gauge};
use paddock_platform::store::StoreError;

use super::{Keeper, Owner};
use crate::{
    cell::{Cell, ORDER_LEAVE},
    commit::Handover,
    mailbox::AWAY,
    metrics::{AGENTS_OWNED, AGENTS_TAKEN_TOTAL},
    nodes::{placement::Placement, server_of},
    order,
    store::nodes::{Member, Taken},
};

/// Agents that are taken, and handed over, at once.
const TAKE_MAX: usize = 2_000;

impl Keeper {
    /// Compares who runs what with who is to run it.
    pub(super) async fn place(&mut self, is_settled: bool) -> Result<(), StoreError> {
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
    pub(super) fn vacate(&self, cell: &Arc<Cell>) -> bool {
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
