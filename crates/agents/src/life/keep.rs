//! What of an agent is in the store: reading it, and writing what became of it.

use std::{panic::AssertUnwindSafe, sync::Arc};

use futures_util::FutureExt;

use super::{Go, Life, RETRY_WAIT, SNAPSHOT};
use crate::{commit::Change, envelope, mailbox::Delivery, remind::Alarm, state::State, store};

impl Life {
    /// The state as it is in the store. Gives whether there is one: the server may stop before the store answers.
    pub(super) async fn reload(&mut self) -> bool {
        let mut wait = RETRY_WAIT.0;
        loop {
            match store::load_state(&self.core.store, &self.cell.key).await {
                Ok(values) => {
                    self.is_first = values.is_empty();
                    self.turn.state = State::load(values);
                    self.load_subscriptions();
                    self.dirty_since = None;
                    return true;
                }
                Err(error) => {
                    if self.core.tasks.is_stopping() || self.is_over() {
                        return false;
                    }
                    tracing::warn!(%error, agent = &*self.cell.key, "the state of an agent cannot be read; trying again");
                    if !self.pause(wait).await {
                        return false;
                    }
                    wait = (wait * 2).min(RETRY_WAIT.1);
                }
            }
        }
    }

    /// Writes what has to be written; with `is_due` also what only may be.
    pub(super) async fn checkpoint(&mut self, is_due: bool) -> Go {
        let limits = &self.core.limits;
        let is_old = self
            .dirty_since
            .is_some_and(|since| self.core.tick().saturating_sub(since) >= limits.checkpoint_interval_s);
        let is_due = self.dirty_since.is_some()
            && (is_due || is_old || self.is_urgent || self.since_checkpoint >= limits.checkpoint_messages);
        if self.pending.is_empty() && !is_due {
            return Go::On;
        }
        self.flush().await
    }

    /// Writes everything that is not in the store yet, and then sends what was sent.
    pub(super) async fn flush(&mut self) -> Go {
        (self.since_checkpoint, self.is_urgent) = (0, false);
        let pending = std::mem::take(&mut self.pending);
        let mut change = Change {
            agent: Some((Arc::clone(&self.cell.key), self.epoch)),
            consumed: pending.consumed,
            state: self.turn.state.take_dirty(),
            dead: pending.dead,
            reminders: pending.reminders.iter().map(|(at, kept)| (*at, Arc::clone(&kept.message))).collect(),
            ..Change::default()
        };
        self.dirty_since = None;
        let (mut certain, mut later) = (Vec::new(), Vec::new());
        for message in pending.sends {
            if message.is_durable() {
                self.core.journal.sent(&self.cell.space.tenant, &message);
                let Some(posts) = self.core.posts(&self.cell.space, &message).await else {
                    return self.lost("the server stops").await;
                };
                change.posts.extend(posts);
                certain.push(message);
            } else {
                later.push(message);
            }
        }
        let is_needed = !(change.consumed.is_empty()
            && change.state.is_empty()
            && change.posts.is_empty()
            && change.reminders.is_empty()
            && change.dead.is_empty());
        if is_needed
            && let Some(commits) = self.core.commits()
            && let Err(error) = commits.write(change).await
        {
            return self.lost(&error.to_string()).await;
        }
        for (at, reminder) in pending.reminders {
            self.core.reminders.set(at, Alarm::Reminder(reminder));
        }
        for message in certain {
            self.core.tell_callers(&self.cell.space, &message);
        }
        for message in later {
            self.core.forward(&self.cell.space, message).await;
        }
        Go::On
    }

    /// What was done could not be kept: the agent goes back to what is in the store.
    pub(super) async fn lost(&mut self, error: &str) -> Go {
        (self.handler, self.spare) = (None, None);
        // Where several servers share the agents it is placed anew, which reads everything again.
        if self.core.tasks.is_stopping() || self.term.is_some() {
            return Go::End;
        }
        self.core.log(
            &self.cell,
            tracing::Level::ERROR,
            &format!("back to the last committed state: {error}"),
        );
        if !self.reload().await {
            return Go::End;
        }
        // What was taken out of the mailbox and is still in the store was not handled.
        self.batch.retain(|delivery| delivery.row.is_none());
        self.cell.mailbox.put_back(&mut self.batch);
        self.load_backlog(self.last_row).await
    }

    /// Loads the durable messages up to a place in the store, which are not in the mailbox.
    pub(super) async fn load_backlog(&mut self, until: i64) -> Go {
        let mut wait = RETRY_WAIT.0;
        let rows = loop {
            match store::load_inbox(&self.core.store, &self.cell.key, until).await {
                Ok(rows) => break rows,
                Err(error) => {
                    tracing::warn!(%error, agent = &*self.cell.key, "messages cannot be read; trying again");
                    if !self.pause(wait).await {
                        return Go::End;
                    }
                    wait = (wait * 2).min(RETRY_WAIT.1);
                }
            }
        };
        let mut deliveries = Vec::with_capacity(rows.len());
        for row in rows {
            if let Some(message) = envelope::read(&row.envelope, row.content) {
                deliveries.push(Delivery {
                    row: Some(row.place),
                    attempts: row.attempts,
                    ..Delivery::new(Arc::new(message))
                });
            } else {
                let (agent, place) = (&*self.cell.key, row.place);
                tracing::error!(agent, place, "a message in the store cannot be read");
                self.pending.consumed.push(row.place);
            }
        }
        self.cell.mailbox.load(deliveries);
        Go::On
    }

    /// Has the handler leave what its successor needs.
    pub(super) async fn leave_snapshot(&mut self) {
        let Some(handler) = self.handler.as_mut().filter(|_| self.split.is_none()) else { return };
        let snapshot = AssertUnwindSafe(handler.snapshot()).catch_unwind().await.ok().flatten();
        if let Some(snapshot) = snapshot {
            if self.turn.state.set(SNAPSHOT, snapshot, usize::MAX).is_ok() {
                self.turn.state.commit();
            }
        } else if self.turn.get(SNAPSHOT).is_some() {
            self.turn.state.remove(SNAPSHOT);
            self.turn.state.commit();
        }
    }
}
