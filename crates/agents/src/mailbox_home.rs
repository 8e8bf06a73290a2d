//! Mailboxes that come to a server and leave it again.

use std::{collections::VecDeque, sync::MutexGuard, time::Instant};

use super::{AWAY, Delivery, Inner, Mailbox, Refusal};

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

    /// As [`Mailbox::reserve`], for a message that is in the store already and comes before those that are not; after
    /// those that waited when the agent came.
    pub(crate) fn reserve_stored(&self) -> Result<i64, Refusal> {
        let mut inner = self.inner();
        let is_behind = inner.backlog > 0;
        inner.reserve(is_behind)
    }

    /// Whether more waits in the store than the mailbox had room for.
    pub(crate) fn has_surplus(&self) -> bool {
        self.inner().has_surplus()
    }

    /// Whether there is room now for some of what waits in the store beyond the bound.
    pub(crate) fn wants_surplus(&self) -> bool {
        let inner = self.inner();
        inner.has_surplus() && inner.backlog == 0 && inner.len() < inner.bound
    }

    /// More waits in the store, up to this place, than there is room for: it comes before what is sent from now on.
    pub(crate) fn fall_behind(&self, epoch: i64, until: i64) {
        let mut inner = self.inner();
        // One whose backlog is not loaded yet has room that others do not see.
        if inner.epoch == epoch && inner.backlog == 0 {
            inner.surplus_until = inner.surplus_until.max(until);
        }
    }

    /// What waits in the store up to this place has come, or is not there any more.
    pub(crate) fn caught_up(&self, until: i64) {
        let mut inner = self.inner();
        if !inner.has_surplus() || until < inner.surplus_until {
            return;
        }
        inner.surplus_until = 0;
        if inner.blocked > 0 {
            drop(inner);
            self.room.notify_waiters();
        }
    }

    /// This server runs the agent from now on: so many messages wait in the store and fit, more of them up to a place if
    /// that is not 0, and these waited for somebody to run it. Gives whether a task has to be started, and those of them
    /// that it does not take.
    pub(crate) fn settle(
        &self,
        epoch: i64,
        backlog: usize,
        surplus_until: i64,
        mut waited: Vec<Delivery>,
    ) -> (bool, Vec<Delivery>) {
        let mut inner = self.inner();
        inner.epoch = epoch;
        inner.backlog = backlog;
        inner.elsewhere = None;
        inner.surplus_until = surplus_until;
        let room =
            if inner.is_closed || inner.has_surplus() { 0 } else { inner.bound.saturating_sub(inner.len()) };
        let rest = waited.split_off(room.min(waited.len()));
        inner.queue.extend(waited);
        // A task of an epoch before ends by itself, and sees then that there is something to do.
        let is_to_run = !inner.is_awake && (backlog > 0 || !inner.queue.is_empty());
        inner.is_awake |= is_to_run;
        (is_to_run, rest)
    }

    /// This server runs the agent no longer. Gives what waited in memory alone; the rest is in the store. A task that
    /// runs the agent sees that it is to end.
    pub(crate) fn leave(&self) -> Vec<Delivery> {
        self.leave_with(self.inner())
    }

    /// As [`Mailbox::leave`], if no task runs the agent.
    pub(crate) fn leave_if_asleep(&self) -> Option<Vec<Delivery>> {
        let inner = self.inner();
        (!inner.is_awake).then(|| self.leave_with(inner))
    }

    fn leave_with(&self, mut inner: MutexGuard<'_, Inner>) -> Vec<Delivery> {
        inner.epoch = AWAY;
        inner.backlog = 0;
        inner.surplus_until = 0;
        // What a task is in the midst of, and what was on its way to disk, is in the store for whoever runs the agent next.
        inner.taken = 0;
        inner.reserved = 0;
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
            inner.elsewhere = Some((waiting, Instant::now()));
        }
    }
}
