//! Having agents handle messages, or not any more.

use std::{
    collections::HashSet,
    sync::{Arc, atomic::Ordering},
};

use paddock_platform::identity::Tenant;
use serde_json::json;

use super::{Agents, topics};
use crate::{
    cell::{AgentStatus, Cell, ORDER_END, ORDER_LOOK},
    core::Trouble,
    dead::DeadReason,
    error::AgentError,
    message::AgentName,
    store,
};

impl Agents {
    /// Has an agent handle messages, with the version in force.
    pub(crate) fn revive(&self, cell: &Arc<Cell>) {
        cell.set_status(AgentStatus::Active);
        cell.has_scheduled.store(false, Ordering::Release);
        cell.mailbox.open();
        cell.order(ORDER_LOOK);
        self.0.core.nudge(cell);
    }

    /// Removes an agent, its state, and its messages.
    pub async fn remove(&self, tenant: &Tenant, name: &AgentName) -> Result<(), AgentError> {
        let _unfollowed = self.unfollowed().await;
        let cell = self.stored(tenant, name)?;
        let core = &self.0.core;
        self.unlist(&cell);
        store::delete_agent(&core.store, tenant, name, &cell.key).await?;
        core.publish(&cell, topics::STATES.name, "removed", json!({}));
        Ok(())
    }

    /// Removes an agent here that another server removed.
    pub(crate) fn forget(&self, tenant: &Tenant, name: &AgentName) {
        if let Ok(cell) = self.stored(tenant, name) {
            self.unlist(&cell);
        }
    }

    fn unlist(&self, cell: &Arc<Cell>) {
        let core = &self.0.core;
        if !cell.space.remove(cell) {
            // Somebody else was quicker: it is counted once.
            return;
        }
        core.supervisor.leave(&cell.space.tenant, &cell.name);
        self.0.count.fetch_sub(1, Ordering::Relaxed);
        for waiting in cell.mailbox.close() {
            let trouble = Trouble::new(Some(&cell.name), DeadReason::Stopped, "the agent was removed");
            core.bury(&cell.space, &waiting.message, trouble);
        }
        cell.order(ORDER_END);
        core.nudge(cell);
        cell.clear_due();
        core.reminders.forget(&HashSet::from([&*cell.key]));
        if let Some(nodes) = &core.nodes {
            nodes.removed(cell);
        }
    }

    /// Has an agent handle no messages; they wait.
    pub async fn suspend(&self, tenant: &Tenant, name: &AgentName) -> Result<(), AgentError> {
        self.set_status(tenant, name, AgentStatus::Suspended, "suspended").await
    }

    /// Has an agent handle messages again, whether it was suspended or failed too often.
    pub async fn resume(&self, tenant: &Tenant, name: &AgentName) -> Result<(), AgentError> {
        self.set_status(tenant, name, AgentStatus::Active, "resumed").await
    }

    async fn set_status(
        &self,
        tenant: &Tenant,
        name: &AgentName,
        status: AgentStatus,
        kind: &'static str,
    ) -> Result<(), AgentError> {
        let _unfollowed = self.unfollowed().await;
        let cell = self.cell(tenant, name)?;
        store::set_status(&self.0.core.store, tenant, name, status).await?;
        if status == AgentStatus::Active {
            self.revive(&cell);
        } else {
            cell.set_status(status);
            self.0.core.nudge(&cell);
        }
        self.0.core.publish(&cell, topics::STATES.name, kind, json!({}));
        Ok(())
    }
}
