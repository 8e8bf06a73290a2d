//! What is to happen at a time: messages that are sent later, and agents that are due on schedule.
//!
//! Reminders of durable turns, and of agents that are not part of the program, are in the store, too: written with what
//! else their turn changed, and deleted in the transaction that posts them. So they are posted once, however often the
//! server dies meanwhile.

use std::{
    collections::{BTreeMap, HashSet},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use tokio::{
    sync::{Notify, OwnedSemaphorePermit, Semaphore},
    time::Instant,
};

use crate::{cell::Cell, core::Core, message::Message, space::Space};

/// What is done before the clock is looked at again.
const BATCH: usize = 500;

/// A message that is to be sent later.
pub(crate) struct Reminder {
    pub(crate) space: Arc<Space>,
    pub(crate) message: Arc<Message>,
    /// The agent that set it, if it is in the store.
    pub(crate) stored: Option<Arc<str>>,
    _place: OwnedSemaphorePermit,
}

impl Reminder {
    pub(crate) fn new(
        space: &Arc<Space>,
        message: Arc<Message>,
        stored: Option<Arc<str>>,
        place: OwnedSemaphorePermit,
    ) -> Self {
        Self { space: Arc::clone(space), message, stored, _place: place }
    }
}

impl fmt::Debug for Reminder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reminder").field("message", &self.message.id).finish_non_exhaustive()
    }
}

/// What happens at a time.
#[derive(Debug)]
pub(crate) enum Alarm {
    Reminder(Reminder),
    /// An agent is due, unless it is due at another time by now.
    Schedule(Arc<Cell>, Timestamp),
}

#[derive(Default)]
struct Inner {
    pending: BTreeMap<(Instant, u64), Alarm>,
    count: u64,
}

/// What is to happen, by when.
pub(crate) struct Reminders {
    inner: Mutex<Inner>,
    changed: Notify,
    /// Places for reminders; schedules need none, there are no more than agents.
    places: Arc<Semaphore>,
}

impl Reminders {
    pub(crate) fn new(max: usize) -> Self {
        let places = Arc::new(Semaphore::new(max.min(Semaphore::MAX_PERMITS)));
        Self { inner: Mutex::default(), changed: Notify::new(), places }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for a reminder, if there is one left.
    pub(crate) fn admit(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.places).try_acquire_owned().ok()
    }

    /// Has something happen at a time: at once, if that is over.
    pub(crate) fn set(&self, at: Timestamp, alarm: Alarm) {
        let left = Duration::try_from(at.duration_since(Timestamp::now())).unwrap_or_default();
        // What lies beyond the end of the clock never comes.
        if let Some(at) = Instant::now().checked_add(left) {
            self.set_at(at, alarm);
        }
    }

    /// Has something happen after a while.
    pub(crate) fn set_after(&self, after: Duration, alarm: Alarm) {
        self.set_at(Instant::now() + after, alarm);
    }

    fn set_at(&self, at: Instant, alarm: Alarm) {
        let mut inner = self.inner();
        inner.count += 1;
        let key = (at, inner.count);
        let is_first = inner.pending.first_key_value().is_none_or(|(first, _)| key < *first);
        inner.pending.insert(key, alarm);
        drop(inner);
        if is_first {
            self.changed.notify_one();
        }
    }

    /// Forgets what agents have in the store that were removed, or that another server runs.
    pub(crate) fn forget(&self, agents: &HashSet<&str>) {
        self.inner().pending.retain(|_, alarm| match alarm {
            Alarm::Reminder(reminder) => {
                reminder.stored.as_deref().is_none_or(|agent| !agents.contains(agent))
            }
            Alarm::Schedule(cell, _) => !agents.contains(&*cell.key),
        });
    }

    fn due(&self) -> (Vec<Alarm>, Option<Instant>) {
        let mut inner = self.inner();
        let now = Instant::now();
        let mut due = Vec::new();
        while let Some(first) = inner.pending.first_entry()
            && due.len() < BATCH
            && first.key().0 <= now
        {
            due.push(first.remove());
        }
        (due, inner.pending.first_key_value().map(|((at, _), _)| *at))
    }

    /// Does what is due, until the server stops.
    pub(crate) async fn run(core: Arc<Core>) {
        let stopping = core.tasks.stop_token();
        loop {
            let (due, next) = core.reminders.due();
            if !due.is_empty() {
                core.ring(due).await;
                if stopping.is_cancelled() {
                    return;
                }
                continue;
            }
            let changed = core.reminders.changed.notified();
            let wait = async {
                match next {
                    Some(next) => tokio::time::sleep_until(next).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = wait => {}
                () = changed => {}
                () = stopping.cancelled() => return,
            }
        }
    }
}
