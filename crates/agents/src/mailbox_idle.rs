//! Mailboxes of agents that have nothing to do.

use super::Mailbox;

impl Mailbox {
    /// As [`Mailbox::nudge`], only if the agent is awake and idle since before this tick.
    pub(crate) fn nudge_if_idle_since(&self, tick: u64) {
        let mut inner = self.inner();
        if inner.is_awake && inner.idle_since.is_some_and(|since| since <= tick) {
            inner.is_nudged = true;
            Self::wake(inner);
        }
    }

    /// Whether the agent is awake and idle since before this tick.
    pub(crate) fn is_idle_since(&self, tick: u64) -> bool {
        let inner = self.inner();
        inner.is_awake && inner.idle_since.is_some_and(|since| since <= tick)
    }

    /// As [`Mailbox::nudge_if_idle_since`], once for each time that it became idle: so that it writes what it changed.
    pub(crate) fn nudge_once_idle_since(&self, tick: u64) {
        let mut inner = self.inner();
        let is_idle = inner.is_awake && inner.idle_since.is_some_and(|since| since <= tick);
        if is_idle && !std::mem::replace(&mut inner.was_nudged, true) {
            inner.is_nudged = true;
            let since = inner.idle_since;
            let waker = inner.waker.take();
            // It stays idle: it was only asked to write.
            inner.idle_since = since;
            drop(inner);
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }
}
