//! Agents in the order in which they depend on each other: when they are deployed, and when the server starts.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap, VecDeque},
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use paddock_platform::identity::Tenant;

use super::Agents;
use crate::{
    cell::{AgentStatus, Cell, ORDER_START},
    core::Core,
    definition::AgentDefinition,
    message::{AgentName, InvalidField},
    order,
    space::Space,
};

/// How long agents are waited for that others come after.
const START_WAIT: Duration = Duration::from_secs(10);

/// Agents that are started together.
#[derive(Default)]
struct Wave {
    all: Vec<Arc<Cell>>,
    /// Those of them that others come after.
    awaited: Vec<Arc<Cell>>,
}

impl Agents {
    /// Refuses an agent that comes after one that is not there, or after itself.
    pub(super) fn check_order(
        &self,
        tenant: &Tenant,
        definition: &AgentDefinition,
    ) -> Result<(), InvalidField> {
        let (name, after) = (&definition.name, &definition.after);
        let unknown = after.iter().find(|first| *first != name && self.cell(tenant, first).is_err());
        if let Some(unknown) = unknown {
            let detail = format!("there is no agent `{unknown}`: deploy it first");
            return Err(InvalidField::new("after", detail));
        }
        let after_of = |name: &AgentName| {
            self.cell(tenant, name).map(|cell| cell.agent().definition.after.clone()).unwrap_or_default()
        };
        if let Some(circle) = order::circle(name, after, after_of) {
            let way: Vec<String> = circle.iter().map(|name| format!("`{name}`")).collect();
            let detail = format!("goes round in a circle: {}", way.join(" comes after "));
            return Err(InvalidField::new("after", detail));
        }
        Ok(())
    }

    /// Runs those for whom something waits in the store: each when those have started that it comes after.
    pub(super) fn wake_backlogs(&self) {
        let core = &self.0.core;
        let mut waves: BTreeMap<usize, Wave> = BTreeMap::new();
        for space in core.spaces.pin().values() {
            gather(space, &mut waves);
        }
        let mut waves: VecDeque<Wave> = waves.into_values().collect();
        let Some(first) = waves.pop_front() else { return };
        start(core, &first.all);
        if waves.is_empty() {
            return;
        }
        let (core, stopping) = (Arc::clone(core), core.tasks.stop_token());
        core.tasks.clone().spawn("agents-start", async move {
            let mut before = first;
            for wave in waves {
                let started = tokio::time::timeout(START_WAIT, have_started(&core, &before.awaited));
                let Some(started) = stopping.run_until_cancelled(started).await else { return };
                if started.is_err() {
                    tracing::warn!(
                        "agents that others come after have not started; the others start all the same"
                    );
                }
                start(&core, &wave.all);
                before = wave;
            }
        });
    }
}

fn start(core: &Arc<Core>, cells: &[Arc<Cell>]) {
    for cell in cells {
        cell.order(ORDER_START);
        core.nudge(cell);
    }
}

/// Resolves when these have their handlers, or have tried.
async fn have_started(core: &Core, cells: &[Arc<Cell>]) {
    let is_waited_for =
        |cell: &Arc<Cell>| cell.status() == AgentStatus::Active && !cell.has_started.load(Ordering::Acquire);
    loop {
        let started = core.started.notified();
        tokio::pin!(started);
        // From here on nothing is missed.
        started.as_mut().enable();
        if !cells.iter().any(is_waited_for) {
            return;
        }
        started.await;
    }
}

/// Puts the agents for which something waits, and those that these come after, where they belong.
fn gather(space: &Space, waves: &mut BTreeMap<usize, Wave>) {
    let mut cells = space.cells();
    cells.retain(|cell| cell.status() == AgentStatus::Active);
    let agents: Vec<(AgentName, Vec<AgentName>)> =
        cells.iter().map(|cell| (cell.name.clone(), cell.agent().definition.after.clone())).collect();
    let depths = order::depths(&agents);
    let places: HashMap<&AgentName, usize> =
        agents.iter().enumerate().map(|(place, (name, _))| (name, place)).collect();
    let mut is_needed: Vec<bool> = cells.iter().map(|cell| cell.mailbox.len() > 0).collect();
    let mut is_awaited = vec![false; cells.len()];
    let mut deepest_first: Vec<usize> = (0..cells.len()).collect();
    deepest_first.sort_by_key(|place| Reverse(depths[*place]));
    for place in deepest_first {
        if !is_needed[place] {
            continue;
        }
        for first in agents[place].1.iter().filter_map(|name| places.get(name)) {
            is_needed[*first] = true;
            is_awaited[*first] = true;
        }
    }
    for (place, cell) in cells.iter().enumerate().filter(|(place, _)| is_needed[*place]) {
        let wave = waves.entry(depths[place]).or_default();
        wave.all.push(Arc::clone(cell));
        if is_awaited[place] {
            wave.awaited.push(Arc::clone(cell));
        }
    }
}
