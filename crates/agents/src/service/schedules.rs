//! Reminders and schedules: brought in from the store, and kept as definitions come and go.

use std::{collections::HashMap, sync::Arc};

use jiff::Timestamp;

use super::Agents;
use crate::{
    cell::Cell,
    envelope,
    error::AgentError,
    remind::{Alarm, Reminder},
    store,
};

impl Agents {
    /// Brings in what was to be sent later when the server ended, and what is due on schedule.
    pub(super) async fn load_alarms(&self) -> Result<(), AgentError> {
        let core = &self.0.core;
        let max = self.0.options.current().reminders_max;
        for row in store::load_reminders(&core.store, max.saturating_add(1)).await? {
            let Some(place) = core.reminders.admit() else {
                tracing::warn!(
                    max,
                    "more reminders are stored than may be; the last ones wait for another start"
                );
                break;
            };
            let tenant = row.agent.split_once('/').and_then(|(tenant, _)| tenant.parse().ok());
            let message = envelope::read(&row.envelope, row.content);
            let (Some(tenant), Some(message)) = (tenant, message) else {
                tracing::error!(agent = row.agent, "a reminder in the store cannot be read");
                continue;
            };
            let reminder =
                Reminder::new(&core.space(&tenant), Arc::new(message), Some(Arc::from(row.agent)), place);
            core.reminders.set(row.due_at, Alarm::Reminder(reminder));
        }
        let known = store::load_schedules(&core.store).await?;
        let spaces: Vec<_> = core.spaces.pin().values().cloned().collect();
        for cell in spaces.iter().flat_map(|space| space.cells()) {
            self.plan(&cell, &known).await?;
        }
        Ok(())
    }

    /// An agent was deployed: its schedule is the one that it has now.
    pub(super) async fn reschedule(&self, cell: &Arc<Cell>) -> Result<(), AgentError> {
        if cell.agent().definition.schedule.is_none() {
            if cell.clear_due() {
                store::unset_schedule(&self.0.core.store, &cell.key).await?;
            }
            return Ok(());
        }
        let known = store::load_schedules_of(&self.0.core.store, &cell.key).await?;
        self.plan(cell, &known).await
    }

    /// An agent that is due by the same schedule as before stays due when it was: what was missed is made up for, once.
    async fn plan(
        &self,
        cell: &Arc<Cell>,
        known: &HashMap<String, (String, Timestamp)>,
    ) -> Result<(), AgentError> {
        let agent = cell.agent();
        let Some(schedule) = &agent.definition.schedule else { return Ok(()) };
        let spec = schedule.spec();
        let due = match known.get(&*cell.key) {
            Some((before, due)) if *before == spec => *due,
            _ => {
                let Some(due) = schedule.next_after(Timestamp::now()) else { return Ok(()) };
                store::set_schedule(&self.0.core.store, &cell.key, &spec, due).await?;
                due
            }
        };
        if !cell.is_due(due) {
            cell.set_due(due);
            self.0.core.reminders.set(due, Alarm::Schedule(Arc::clone(cell), due));
        }
        Ok(())
    }
}
