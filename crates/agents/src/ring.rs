//! What is done when something is due: reminders are sent, and agents told that their time has come.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use jiff::Timestamp;
use metrics::counter;

use crate::{
    cell::{AgentStatus, Cell},
    commit::Change,
    core::Core,
    mailbox::AWAY,
    metrics::AGENTS_SCHEDULED_TOTAL,
    remind::{Alarm, Reminder},
};

/// When a reminder is looked at again for which there was no room.
const FULL_WAIT: Duration = Duration::from_secs(1);
/// When what could not be written is tried again.
const STORE_WAIT: Duration = Duration::from_secs(5);

/// An agent that was due, and when it is next.
struct Firing {
    cell: Arc<Cell>,
    at: Timestamp,
    next: Option<Timestamp>,
    is_sent: bool,
}

impl Core {
    /// Does what is due; what has to be certain is written together.
    pub(crate) async fn ring(self: &Arc<Self>, due: Vec<Alarm>) {
        let mut change = Change::default();
        let (mut reminders, mut firings) = (Vec::new(), Vec::new());
        for alarm in due {
            match alarm {
                Alarm::Reminder(reminder) => reminders.extend(self.ring_reminder(reminder, &mut change)),
                Alarm::Schedule(cell, at) => firings.extend(self.ring_schedule(cell, at, &mut change)),
            }
        }
        if reminders.is_empty() && firings.is_empty() {
            return;
        }
        let Some(commits) = self.commits() else { return };
        if let Err(error) = commits.write(change).await {
            if !self.tasks.is_stopping() {
                tracing::error!(%error, "what agents wanted to be reminded of could not be written; trying again");
            }
            for reminder in reminders {
                self.reminders.set_after(STORE_WAIT, Alarm::Reminder(reminder));
            }
            for Firing { cell, at, is_sent, .. } in firings {
                if is_sent {
                    cell.has_scheduled.store(false, Ordering::Release);
                }
                self.reminders.set_after(STORE_WAIT, Alarm::Schedule(cell, at));
            }
            return;
        }
        for reminder in reminders {
            self.tell_callers(&reminder.space, &reminder.message);
        }
        for Firing { cell, at, next, .. } in firings {
            // Unless it was deployed with another schedule meanwhile.
            if let Some(next) = next
                && cell.is_due(at)
            {
                cell.set_due(next);
                self.reminders.set(next, Alarm::Schedule(cell, next));
            }
        }
    }

    /// The epoch under which this server runs an agent, if it does.
    fn claim(&self, cell: Option<&Arc<Cell>>) -> Option<i64> {
        let epoch = cell.map_or(AWAY, |cell| cell.mailbox.epoch());
        (self.nodes.is_none() || epoch != AWAY).then_some(epoch)
    }

    /// Gives the reminder back if it is sent once the change is written.
    fn ring_reminder(self: &Arc<Self>, reminder: Reminder, change: &mut Change) -> Option<Reminder> {
        let (space, message) = (&reminder.space, &reminder.message);
        if let Some(agent) = &reminder.stored {
            let cell = message.sender.agent().and_then(|name| space.agent(name));
            // Another server runs the agent: it has the reminder from the store.
            change.claims.push((Arc::clone(agent), self.claim(cell.as_ref())?));
        }
        if message.is_durable() {
            let Some(posts) = self.posts_now(space, message) else {
                self.reminders.set_after(FULL_WAIT, Alarm::Reminder(reminder));
                return None;
            };
            self.journal.sent(&space.tenant, message);
            change.posts.extend(posts);
            change.rung.extend(reminder.stored.clone().map(|agent| (agent, message.id)));
            return Some(reminder);
        }
        if let Some(mut delivered) = self.forward_now(space, message) {
            // Somebody's mailbox is full: nobody else waits for that.
            let core = Arc::clone(self);
            self.tasks.spawn("agents-reminder", async move {
                core.deliver_blocked(&reminder.message, &mut delivered).await;
                core.troubled(&reminder.space, &reminder.message, delivered.troubles);
            });
        }
        None
    }

    /// Gives what follows once the change is written; nothing if the agent is not due any more.
    fn ring_schedule(
        self: &Arc<Self>,
        cell: Arc<Cell>,
        at: Timestamp,
        change: &mut Change,
    ) -> Option<Firing> {
        let agent = cell.agent();
        let schedule = agent.definition.schedule.as_ref()?;
        let is_there = cell.space.agent(&cell.name).is_some_and(|there| Arc::ptr_eq(&there, &cell));
        if !is_there || !cell.is_due(at) {
            return None;
        }
        change.claims.push((Arc::clone(&cell.key), self.claim(Some(&cell))?));
        let next = schedule.next_after(at.max(Timestamp::now()));
        // One that comes no more is not due again after a restart either.
        let due = next.unwrap_or(Timestamp::MAX);
        change.scheduled.push((Arc::clone(&cell.key), schedule.spec(), due));
        // One that waits already is enough.
        let is_wanted =
            cell.status() == AgentStatus::Active && !cell.has_scheduled.swap(true, Ordering::AcqRel);
        let message = is_wanted.then(|| schedule.message(&cell.name, &cell.key, at));
        let posts = message.as_ref().and_then(|message| self.posts_now(&cell.space, message));
        let is_sent = posts.as_ref().is_some_and(|posts| !posts.is_empty());
        if is_wanted && !is_sent {
            cell.has_scheduled.store(false, Ordering::Release);
        }
        change.posts.extend(posts.unwrap_or_default());
        let message = message.filter(|_| is_sent);
        if let Some(message) = &message {
            self.journal.sent(&cell.space.tenant, message);
        }
        let outcome = if is_sent { "sent" } else { "left-out" };
        counter!(AGENTS_SCHEDULED_TOTAL, "outcome" => outcome).increment(1);
        Some(Firing { cell, at, next, is_sent })
    }
}
