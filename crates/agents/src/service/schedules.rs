//! Reminders and schedules: brought in from the store, and kept as definitions come and go.

use std::{collections::HashMap, sync::Arc};

use jiff::Timestamp;

use super::Agents;
use crate::{
    cell::Cell,
    envelope,
    error::AgentError,
    mailbox::AWAY,
    remind::{Alarm, Reminder},
    store,
};

impl Agents {
    /// Brings in what was to be sent later when the server ended, and what is due on schedule.
    pub(super) async fn load_alarms(&self) -> Result<(), AgentError> {
        let core = &self.0.core;
        // Where several servers share the agents, each looks at those that it gets.
        if core.nodes.is_some() {
            return Ok(());
        }
        let max = self.0.options.current().reminders_max;
        let rows = store::load_reminders(&core.store, max.saturating_add(1)).await?;
        self.set_reminders(rows);
        let known = store::load_schedules(&core.store).await?;
        let spaces: Vec<_> = core.spaces.pin().values().cloned().collect();
        for cell in spaces.iter().flat_map(|space| space.cells()) {
            self.plan(&cell, &known).await?;
        }
        Ok(())
    }

    /// The same of agents that this server runs from now on.
    pub(crate) async fn load_alarms_of(&self, cells: &[Arc<Cell>]) -> Result<(), AgentError> {
        let store = &self.0.core.store;
        let keys: Vec<&str> = cells.iter().map(|cell| &*cell.key).collect();
        self.set_reminders(store::load_reminders_of(store, &keys).await?);
        let has_schedule = |cell: &Arc<Cell>| cell.agent().definition.schedule.is_some();
        if cells.iter().any(has_schedule) {
            let known = store::load_schedules(store).await?;
            for cell in cells {
                self.plan(cell, &known).await?;
            }
        }
        Ok(())
    }

    fn set_reminders(&self, rows: Vec<store::ReminderRow>) {
        let core = &self.0.core;
        for row in rows {
            let Some(place) = core.reminders.admit() else {
                tracing::warn!(
                    max = self.0.options.current().reminders_max,
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
    }

    /// An agent was deployed: its schedule is the one that it has now.
    pub(crate) async fn reschedule(&self, cell: &Arc<Cell>) -> Result<(), AgentError> {
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
        // Whoever runs it sees to it that it is told.
        let is_here = self.0.core.nodes.is_none() || cell.mailbox.epoch() != AWAY;
        if is_here && !cell.is_due(due) {
            cell.set_due(due);
            self.0.core.reminders.set(due, Alarm::Schedule(Arc::clone(cell), due));
        }
        Ok(())
    }
}
