//! A mailbox: what waits for one agent, in order, never more than its bound.
//!
//! What the bound counts: messages that wait, those of the batch that is being handled, places that are reserved for
//! messages on their way to disk, and messages on disk that are not loaded yet.
//!
//! Where several servers share the agents, a mailbox is either *here*, under an epoch, or *away*: then it takes nothing,
//! and whoever has a message for it passes it on. More may wait in the store for one that comes than it holds: what is
//! beyond its bound comes before anything else as there is room, and until then the mailbox is full for everybody.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use utoipa::ToSchema;

use crate::message::{Message, Performative};

/// For how long it counts how much another server said waits for an agent.
const TOLD_FOR: Duration = Duration::from_secs(1);

/// What happens to a message for a mailbox that is full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Overflow {
    /// It is refused.
    #[default]
    Reject,
    /// The oldest message in memory whose performative is one of `shed` makes room for it; else it is refused.
    Shed,
    /// Its sender waits, until its own deadline or `agents.block_max`.
    Block,
}

/// One message in a mailbox.
#[derive(Clone, Debug)]
pub(crate) struct Delivery {
    pub(crate) message: Arc<Message>,
    /// Its place in the store, if it is there.
    pub(crate) row: Option<i64>,
    /// How often it was tried.
    pub(crate) attempts: u32,
    /// Since when it waits; known of the first of each batch, which is enough to measure by.
    pub(crate) since: Option<Instant>,
}

impl Delivery {
    pub(crate) const fn new(message: Arc<Message>) -> Self {
        Self { message, row: None, attempts: 0, since: None }
    }
}

/// What became of a message that was put in.
#[derive(Debug)]
pub(crate) enum Pushed {
    /// It waits, and the agent knows.
    Queued,
    /// It waits, and nobody runs the agent: whoever put it in has to see to that.
    Asleep,
    /// As [`Pushed::Queued`]; this one made room for it.
    Shed(Delivery),
    /// There is no room.
    Full,
    /// The agent takes no messages.
    Closed,
    /// Another server runs the agent, or nobody yet.
    Away,
}

/// What the agent's task is to do.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Handle what was taken.
    Batch,
    /// Load from the store what waits there.
    Backlog,
    /// Look at what it was told: see [`Mailbox::nudge`].
    Nudge,
}

#[derive(Debug)]
struct Inner {
    queue: VecDeque<Delivery>,
    taken: usize,
    reserved: usize,
    backlog: usize,
    blocked: usize,
    waker: Option<Waker>,
    /// Whether a task runs the agent.
    is_awake: bool,
    /// Whether that task waits, and since which tick.
    idle_since: Option<u64>,
    is_nudged: bool,
    /// Whether it was nudged since it became idle.
    was_nudged: bool,
    is_closed: bool,
    bound: usize,
    overflow: Overflow,
    shed: Vec<Performative>,
    /// Under which this server runs the agent; 0 if it does not.
    epoch: i64,
    /// Under which the task began that runs it.
    task_epoch: i64,
    /// How much waited for the agent elsewhere, and when that was told.
    elsewhere: Option<(usize, Instant)>,
    /// The last place in the store of what waits there beyond the bound; 0 if nothing does.
    surplus_until: i64,
}

impl Inner {
    fn len(&self) -> usize {
        self.queue.len() + self.taken + self.reserved + self.backlog + self.elsewhere()
    }

    /// How much waits for the agent elsewhere, as far as is known. What was told long ago says nothing: who has much to do
    /// gets nothing more, and would be thought busy for ever.
    fn elsewhere(&self) -> usize {
        let told = self.elsewhere.filter(|(_, at)| at.elapsed() < TOLD_FOR);
        told.map_or(0, |(waiting, _)| waiting)
    }

    const fn is_away(&self) -> bool {
        self.epoch == AWAY
    }

    /// Whether some of what waits in the store comes before anything else.
    const fn has_surplus(&self) -> bool {
        self.surplus_until > 0
    }

    /// Keeps a place, unless something else comes first.
    fn reserve(&mut self, is_behind: bool) -> Result<i64, Refusal> {
        if self.is_closed {
            return Err(Refusal::Closed);
        }
        if self.is_away() {
            return Err(Refusal::Away);
        }
        if is_behind || self.len() >= self.bound {
            return Err(Refusal::Full);
        }
        self.reserved += 1;
        Ok(self.epoch)
    }

    /// Whether the task that runs the agent is to end.
    const fn is_over(&self) -> bool {
        self.epoch != self.task_epoch
    }
}

/// The epoch of agents that this server does not run.
pub(crate) const AWAY: i64 = 0;
/// The epoch of all agents of a server that shares them with no other.
pub(crate) const ALONE: i64 = 1;

/// A mailbox. Many put in, one takes out.
#[derive(Debug)]
pub(crate) struct Mailbox {
    inner: Mutex<Inner>,
    /// Told when there is room again.
    room: Notify,
}

impl Mailbox {
    pub(crate) fn new(bound: usize, overflow: Overflow, shed: Vec<Performative>) -> Self {
        let inner = Inner {
            queue: VecDeque::new(),
            taken: 0,
            reserved: 0,
            backlog: 0,
            blocked: 0,
            waker: None,
            is_awake: false,
            idle_since: None,
            is_nudged: false,
            was_nudged: false,
            is_closed: false,
            bound: bound.max(1),
            overflow,
            shed,
            epoch: ALONE,
            task_epoch: ALONE,
            elsewhere: None,
            surplus_until: 0,
        };
        Self { inner: Mutex::new(inner), room: Notify::new() }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Another bound and policy; what waits already stays.
    pub(crate) fn configure(&self, bound: usize, overflow: Overflow, shed: Vec<Performative>) {
        let mut inner = self.inner();
        inner.bound = bound.max(1);
        inner.overflow = overflow;
        inner.shed = shed;
    }

    /// How many messages wait.
    pub(crate) fn len(&self) -> usize {
        self.inner().len()
    }

    /// Whether senders wait for room instead of being refused.
    pub(crate) fn blocks(&self) -> bool {
        self.inner().overflow == Overflow::Block
    }

    /// Puts a message in.
    pub(crate) fn push(&self, mut delivery: Delivery) -> Pushed {
        let mut inner = self.inner();
        if inner.is_closed {
            return Pushed::Closed;
        }
        if inner.is_away() {
            return Pushed::Away;
        }
        // Nothing in memory makes room either: it would be for what comes first.
        if inner.has_surplus() {
            return Pushed::Full;
        }
        let mut shed = None;
        if inner.len() >= inner.bound {
            let place = match inner.overflow {
                Overflow::Shed => inner.queue.iter().position(|waiting| {
                    waiting.row.is_none() && inner.shed.contains(&waiting.message.performative)
                }),
                Overflow::Reject | Overflow::Block => None,
            };
            shed = place.and_then(|place| inner.queue.remove(place));
            if shed.is_none() {
                return Pushed::Full;
            }
        }
        if inner.queue.is_empty() {
            delivery.since = Some(Instant::now());
        }
        inner.queue.push_back(delivery);
        let is_asleep = Self::wake(inner);
        match shed {
            Some(shed) => Pushed::Shed(shed),
            None if is_asleep => Pushed::Asleep,
            None => Pushed::Queued,
        }
    }

    /// Keeps a place for a message that is on its way to disk. Gives the epoch under which it is filled.
    pub(crate) fn reserve(&self) -> Result<i64, Refusal> {
        let mut inner = self.inner();
        let is_behind = inner.has_surplus();
        inner.reserve(is_behind)
    }

    /// Puts a message into the place that was kept for it. Gives whether somebody has to run the agent. In another epoch
    /// it is not put in: whoever runs the agent has it from the store.
    pub(crate) fn fill(&self, mut delivery: Delivery, epoch: i64) -> bool {
        let mut inner = self.inner();
        if inner.epoch != epoch {
            return false;
        }
        inner.reserved = inner.reserved.saturating_sub(1);
        if inner.queue.is_empty() {
            delivery.since = Some(Instant::now());
        }
        inner.queue.push_back(delivery);
        Self::wake(inner)
    }

    /// Gives a kept place back. In another epoch there is none: those who left took theirs with them.
    pub(crate) fn release(&self, epoch: i64) {
        let mut inner = self.inner();
        if inner.epoch != epoch {
            return;
        }
        inner.reserved = inner.reserved.saturating_sub(1);
        if inner.blocked > 0 {
            drop(inner);
            self.room.notify_waiters();
        }
    }

    /// So many messages wait in the store.
    pub(crate) fn set_backlog(&self, count: usize) {
        self.inner().backlog = count;
    }

    /// Puts what was in the store before everything that came since.
    pub(crate) fn load(&self, rows: Vec<Delivery>) {
        let mut inner = self.inner();
        if inner.is_over() {
            return;
        }
        inner.backlog = 0;
        for delivery in rows.into_iter().rev() {
            inner.queue.push_front(delivery);
        }
    }

    /// Wakes the agent's task, or gives that there is none, and marks it as there.
    fn wake(mut inner: MutexGuard<'_, Inner>) -> bool {
        if !inner.is_awake {
            inner.is_awake = true;
            return true;
        }
        let waker = inner.waker.take();
        inner.idle_since = None;
        drop(inner);
        if let Some(waker) = waker {
            waker.wake();
        }
        false
    }

    /// Wakes the agent, whether something waits or not, so that it looks at what it was told. Gives whether somebody has
    /// to run it.
    pub(crate) fn nudge(&self) -> bool {
        let mut inner = self.inner();
        if inner.is_away() && !inner.is_awake {
            return false;
        }
        inner.is_nudged = true;
        Self::wake(inner)
    }

    /// Takes the next batch: up to `max` messages. The batch before counts as handled.
    pub(crate) fn poll_next(
        &self,
        cx: &Context<'_>,
        tick: u64,
        max: usize,
        batch: &mut VecDeque<Delivery>,
    ) -> Poll<Next> {
        let mut inner = self.inner();
        let was_taken = std::mem::take(&mut inner.taken);
        let next = if std::mem::take(&mut inner.is_nudged) || inner.is_over() {
            Poll::Ready(Next::Nudge)
        } else if inner.backlog > 0 {
            Poll::Ready(Next::Backlog)
        } else if inner.queue.is_empty() {
            inner.idle_since = inner.idle_since.or(Some(tick));
            if !inner.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
                inner.waker = Some(cx.waker().clone());
            }
            Poll::Pending
        } else {
            let count = inner.queue.len().min(max);
            if count == inner.queue.len() && batch.is_empty() {
                std::mem::swap(&mut inner.queue, batch);
            } else {
                batch.extend(inner.queue.drain(..count));
            }
            inner.taken = count;
            inner.was_nudged = false;
            Poll::Ready(Next::Batch)
        };
        if was_taken > 0 && inner.blocked > 0 {
            drop(inner);
            self.room.notify_waiters();
        }
        next
    }

    /// Waits for a nudge, whatever else waits.
    pub(crate) fn poll_nudge(&self, cx: &Context<'_>) -> Poll<Next> {
        let mut inner = self.inner();
        inner.taken = 0;
        if std::mem::take(&mut inner.is_nudged) || inner.is_over() {
            return Poll::Ready(Next::Nudge);
        }
        inner.waker = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Ends the agent's task if nothing waits. Gives whether it has ended.
    pub(crate) fn fall_asleep(&self) -> bool {
        let mut inner = self.inner();
        inner.taken = 0;
        if !inner.queue.is_empty() || inner.is_nudged || inner.backlog > 0 {
            return false;
        }
        inner.is_awake = false;
        inner.waker = None;
        inner.idle_since = None;
        true
    }

    /// Takes no more messages, and gives up those that wait in memory alone.
    pub(crate) fn close(&self) -> VecDeque<Delivery> {
        let mut inner = self.inner();
        inner.is_closed = true;
        let (kept, waiting) = inner.queue.drain(..).partition(|delivery| delivery.row.is_some());
        inner.queue = kept;
        drop(inner);
        self.room.notify_waiters();
        waiting
    }

    /// Takes messages again.
    pub(crate) fn open(&self) {
        self.inner().is_closed = false;
    }

    /// Puts messages back to the front, for the task that comes next. In another epoch those that are in the store come
    /// from there.
    pub(crate) fn put_back(&self, batch: &mut VecDeque<Delivery>) {
        let mut inner = self.inner();
        inner.taken = 0;
        if inner.is_over() {
            batch.retain(|delivery| delivery.row.is_none());
        }
        while let Some(delivery) = batch.pop_back() {
            inner.queue.push_front(delivery);
        }
    }

    /// Waits for room. `try_again` is asked whenever there may be some.
    pub(crate) async fn room<T>(&self, mut try_again: impl FnMut() -> Option<T>) -> T {
        let _waiting = Blocked::new(self);
        loop {
            let notified = self.room.notified();
            if let Some(done) = try_again() {
                return done;
            }
            notified.await;
        }
    }
}

/// Why there is no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    Full,
    Closed,
    Away,
}

/// Counts a sender that waits, also when it is dropped.
struct Blocked<'a>(&'a Mailbox);

impl<'a> Blocked<'a> {
    fn new(mailbox: &'a Mailbox) -> Self {
        mailbox.inner().blocked += 1;
        Self(mailbox)
    }
}

impl Drop for Blocked<'_> {
    fn drop(&mut self) {
        self.0.inner().blocked -= 1;
    }
}

#[path = "mailbox_home.rs"]
mod home;
#[path = "mailbox_idle.rs"]
mod idle;
#[cfg(test)]
#[path = "mailbox_tests.rs"]
mod tests;
