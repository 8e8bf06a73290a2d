//! Messages that are sent later.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use tokio::{sync::Notify, time::Instant};

use crate::{core::Core, message::Message, space::Space};

/// Reminders that are sent before the clock is looked at again.
const BATCH: usize = 1_000;

type Key = (Instant, u64);
/// A message, and whose agents it is for.
type Reminder = (Arc<Space>, Arc<Message>);

#[derive(Default)]
struct Inner {
    pending: BTreeMap<Key, Reminder>,
    count: u64,
}

/// The messages that are to be sent later, by when.
pub(crate) struct Reminders {
    inner: Mutex<Inner>,
    changed: Notify,
    max: usize,
}

impl Reminders {
    pub(crate) fn new(max: usize) -> Self {
        Self { inner: Mutex::default(), changed: Notify::new(), max }
    }

    /// Gives whether there was room.
    pub(crate) fn add(&self, after: Duration, space: &Arc<Space>, message: Arc<Message>) -> bool {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if inner.pending.len() >= self.max {
            return false;
        }
        let Some(at) = Instant::now().checked_add(after) else { return true };
        inner.count += 1;
        let key = (at, inner.count);
        let is_first = inner.pending.first_key_value().is_none_or(|(first, _)| key < *first);
        inner.pending.insert(key, (Arc::clone(space), message));
        drop(inner);
        if is_first {
            self.changed.notify_one();
        }
        true
    }

    fn due(&self) -> (Vec<Reminder>, Option<Instant>) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let mut due = Vec::new();
        while let Some(first) = inner.pending.first_entry()
            && due.len() < BATCH
        {
            if first.key().0 > now {
                break;
            }
            due.push(first.remove());
        }
        (due, inner.pending.first_key_value().map(|((at, _), _)| *at))
    }

    /// Sends what is due, until the server stops.
    pub(crate) async fn run(core: Weak<Core>) {
        loop {
            let Some(core) = core.upgrade() else { return };
            let (due, next) = core.reminders.due();
            for (space, message) in due {
                core.forward(&space, message).await;
            }
            let stopping = core.tasks.stop_token();
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
