//! Agents that were deployed, steered or removed by another server.

use std::{collections::HashSet, sync::Arc, time::Duration};

use paddock_platform::{identity::Tenant, store::StoreError};

use super::Nodes;
use crate::{
    cell::{AgentStatus, Cell},
    error::AgentError,
    mailbox::AWAY,
    message::AgentName,
    service::Agents,
    store::{self, StoredAgent, nodes},
};

/// How long after the store failed everything is looked at.
const RETRY_WAIT: Duration = Duration::from_secs(1);

/// Follows what other servers say about agents.
pub(super) async fn run(agents: Agents) {
    let core = Arc::clone(&agents.0.core);
    let Some(nodes) = &core.nodes else { return };
    let mut heard = core.store.listen(nodes::CHANNEL, &core.tasks);
    loop {
        let mut text = match heard.recv().await {
            Ok(text) => text,
            // Whatever was missed, everything is looked at.
            Err(tokio::sync::broadcast::error::RecvError::Lagged(_)) => String::new(),
            Err(tokio::sync::broadcast::error::RecvError::Closed) => return,
        };
        while let Err(error) = follow(&agents, nodes, &text).await {
            if !error.is_transient() {
                tracing::error!(%error, text, "what another server said about an agent cannot be followed");
                break;
            }
            tracing::warn!(%error, text, "what another server said about an agent is not followed yet");
            tokio::time::sleep(RETRY_WAIT).await;
            // Whatever else is said meanwhile, everything is looked at.
            text.clear();
        }
    }
}

async fn follow(agents: &Agents, nodes: &Nodes, text: &str) -> Result<(), StoreError> {
    let agent: Option<(Tenant, AgentName)> = text.strip_prefix(nodes::AGENT).and_then(|key| {
        let (tenant, name) = key.split_once('/')?;
        Some((tenant.parse().ok()?, name.parse().ok()?))
    });
    if let Some((tenant, name)) = &agent {
        compile(agents, tenant, name).await?;
    }
    let _alone = nodes.changes.write().await;
    if text.is_empty() {
        return everything(agents, nodes).await;
    }
    if let Some((tenant, name)) = &agent {
        one(agents, tenant, name).await?;
    }
    nodes.poke();
    Ok(())
}

/// Compiles the component of an agent, if it has one, before whoever changes agents here has to wait for that.
async fn compile(agents: &Agents, tenant: &Tenant, name: &AgentName) -> Result<(), StoreError> {
    let stored = store::find_agent(&agents.0.core.store, tenant, name).await?;
    if let Some(wasm) = stored.and_then(|stored| stored.definition.wasm) {
        // What is wrong with it is told where it is followed.
        let _ = agents.component(&wasm.module).await;
    }
    Ok(())
}

async fn one(agents: &Agents, tenant: &Tenant, name: &AgentName) -> Result<(), StoreError> {
    if let Some(stored) = store::find_agent(&agents.0.core.store, tenant, name).await? {
        return followed(agents, stored).await;
    }
    agents.forget(tenant, name);
    Ok(())
}

/// Follows what became of one agent. If that cannot be done here, others are followed all the same.
async fn followed(agents: &Agents, stored: StoredAgent) -> Result<(), StoreError> {
    let (tenant, name) = (stored.tenant.clone(), stored.name.clone());
    match agents.follow(stored).await {
        Err(AgentError::Store(error)) => Err(error),
        Err(error) => {
            tracing::error!(%error, %tenant, agent = %name, "what another server did with an agent cannot be done here");
            Ok(())
        }
        Ok(()) => Ok(()),
    }
}

async fn everything(agents: &Agents, nodes: &Nodes) -> Result<(), StoreError> {
    let stored: Vec<StoredAgent> = store::load_agents(&agents.0.core.store).await?;
    let cells: Vec<Arc<Cell>> = agents.0.core.spaces.pin().values().flat_map(|space| space.cells()).collect();
    let there: HashSet<String> =
        stored.iter().map(|stored| format!("{}/{}", stored.tenant, stored.name)).collect();
    for cell in cells.iter().filter(|cell| !there.contains(&*cell.key)) {
        // Deployed since, or removed.
        one(agents, &cell.space.tenant, &cell.name).await?;
    }
    for agent in stored {
        followed(agents, agent).await?;
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
