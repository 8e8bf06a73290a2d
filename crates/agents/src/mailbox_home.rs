//! Mailboxes that come to a server and leave it again.

use std::collections::VecDeque;

use super::{AWAY, Delivery, Mailbox};

impl Mailbox {
    /// The epoch under which this server runs the agent; [`AWAY`] if it does not.
    pub(crate) fn epoch(&self) -> i64 {
        self.inner().epoch
    }

    /// A task begins to run the agent, under this epoch.
    pub(crate) fn begin(&self) -> i64 {
        let mut inner = self.inner();
        inner.task_epoch = inner.epoch;
        inner.epoch
    }

    /// How many messages may wait.
    pub(crate) fn bound(&self) -> usize {
        self.inner().bound
    }

    /// How many messages there is room for; none before those are loaded that waited when the agent came.
    pub(crate) fn free(&self) -> usize {
        let inner = self.inner();
        if inner.is_away() || inner.is_closed || inner.backlog > 0 {
            0
        } else {
            inner.bound.saturating_sub(inner.len())
        }
    }

    /// This server runs the agent from now on: so many messages wait in the store, and these waited for somebody to run
    /// it. Gives whether a task has to be started.
    pub(crate) fn settle(&self, epoch: i64, backlog: usize, waited: Vec<Delivery>) -> bool {
        let mut inner = self.inner();
        inner.epoch = epoch;
        inner.backlog = backlog;
        inner.elsewhere = 0;
        inner.queue.extend(waited);
        // A task of an epoch before ends by itself, and sees then that there is something to do.
        if inner.is_awake || (inner.queue.is_empty() && backlog == 0) {
            return false;
        }
        inner.is_awake = true;
        true
    }

    /// This server runs the agent no longer. Gives what waited in memory alone; the rest is in the store. A task that
    /// runs the agent sees that it is to end.
    pub(crate) fn leave(&self) -> Vec<Delivery> {
        let mut inner = self.inner();
        inner.epoch = AWAY;
        inner.backlog = 0;
        let queue: VecDeque<Delivery> = std::mem::take(&mut inner.queue);
        inner.idle_since = None;
        let waker = inner.waker.take();
        drop(inner);
        self.room.notify_waiters();
        if let Some(waker) = waker {
            waker.wake();
        }
        queue.into_iter().filter(|delivery| delivery.row.is_none()).collect()
    }

    /// As [`Mailbox::leave`], if no task runs the agent.
    pub(crate) fn leave_if_asleep(&self) -> Option<Vec<Delivery>> {
        let is_awake = self.inner().is_awake;
        (!is_awake).then(|| self.leave())
    }

    /// Whether the agent is not here, and no task runs it any more.
    pub(crate) fn is_vacant(&self) -> bool {
        let inner = self.inner();
        inner.is_away() && !inner.is_awake
    }

    /// The task that ran the agent has ended. Gives whether another has to be started: the agent has come back meanwhile.
    pub(crate) fn retire(&self) -> bool {
        let mut inner = self.inner();
        inner.taken = 0;
        inner.waker = None;
        inner.idle_since = None;
        inner.is_nudged = false;
        inner.is_awake = !inner.is_away() && (inner.backlog > 0 || !inner.queue.is_empty());
        inner.is_awake
    }

    /// How much waits for the agent on the server that runs it, as that server last said.
    pub(crate) fn note_elsewhere(&self, waiting: usize) {
        let mut inner = self.inner();
        if inner.is_away() {
            inner.elsewhere = waiting;
        }
    }
}
