//! Agents that were deployed, steered or removed by another server.

use std::{collections::HashSet, sync::Arc};

use paddock_platform::identity::Tenant;

use super::Nodes;
use crate::{
    cell::{AgentStatus, Cell},
    error::AgentError,
    mailbox::AWAY,
    message::AgentName,
    service::Agents,
    store::{self, StoredAgent, nodes},
};

/// Follows what other servers say about agents.
pub(super) async fn run(agents: Agents) {
    let core = Arc::clone(&agents.0.core);
    let Some(nodes) = &core.nodes else { return };
    let mut heard = core.store.listen(nodes::CHANNEL, &core.tasks);
    loop {
        let text = match heard.recv().await {
            Ok(text) => text,
            // Whatever was missed, everything is looked at.
            Err(tokio::sync::broadcast::error::RecvError::Lagged(_)) => String::new(),
            Err(tokio::sync::broadcast::error::RecvError::Closed) => return,
        };
        let alone = nodes.changes.write().await;
        let followed = follow(&agents, nodes, &text).await;
        drop(alone);
        if let Err(error) = followed {
            tracing::warn!(%error, text, "what another server said about an agent is not followed yet");
        }
    }
}

async fn follow(agents: &Agents, nodes: &Nodes, text: &str) -> Result<(), AgentError> {
    if text.is_empty() {
        return everything(agents, nodes).await;
    }
    if let Some(key) = text.strip_prefix(nodes::AGENT) {
        let names =
            key.split_once('/').and_then(|(tenant, name)| Some((tenant.parse().ok()?, name.parse().ok()?)));
        if let Some((tenant, name)) = names {
            one(agents, &tenant, &name).await?;
        }
    }
    nodes.poke();
    Ok(())
}

async fn one(agents: &Agents, tenant: &Tenant, name: &AgentName) -> Result<(), AgentError> {
    if let Some(stored) = store::find_agent(&agents.0.core.store, tenant, name).await? {
        return agents.follow(stored).await;
    }
    agents.forget(tenant, name);
    Ok(())
}

async fn everything(agents: &Agents, nodes: &Nodes) -> Result<(), AgentError> {
    let stored: Vec<StoredAgent> = store::load_agents(&agents.0.core.store).await?;
    let cells: Vec<Arc<Cell>> = agents.0.core.spaces.pin().values().flat_map(|space| space.cells()).collect();
    let there: HashSet<String> =
        stored.iter().map(|stored| format!("{}/{}", stored.tenant, stored.name)).collect();
    for cell in cells.iter().filter(|cell| !there.contains(&*cell.key)) {
        // Deployed since, or removed.
        one(agents, &cell.space.tenant, &cell.name).await?;
    }
    for agent in stored {
        agents.follow(agent).await?;
    }
    nodes.poke();
    Ok(())
}

impl Agents {
    /// Does here what another server did with an agent.
    async fn follow(&self, stored: StoredAgent) -> Result<(), AgentError> {
        let (tenant, name, status) = (stored.tenant.clone(), stored.name.clone(), stored.status);
        let known = self.cell(&tenant, &name).ok();
        let is_same = known.as_ref().is_some_and(|cell| cell.agent().version == stored.version);
        let cell = match known {
            Some(cell) if is_same => cell,
            _ => {
                if let Some(wasm) = &stored.definition.wasm
                    && let Err(error) = self.component(&wasm.module).await
                {
                    tracing::error!(%error, digest = wasm.module, "the component of an agent cannot be had");
                }
                let since = stored.created_at;
                self.enlist(&tenant, self.agent_of(stored), since)?
            }
        };
        self.follow_split(&cell).await?;
        if !is_same && cell.mailbox.epoch() != AWAY {
            self.reschedule(&cell).await?;
        }
        if is_same && cell.status() == status {
            return Ok(());
        }
        match status {
            AgentStatus::Active => self.revive(&cell),
            AgentStatus::Suspended => {
                cell.set_status(status);
                self.0.core.nudge(&cell);
            }
            AgentStatus::Failed => self.0.core.stop_here(&cell),
        }
        Ok(())
    }
}
