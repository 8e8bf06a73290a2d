//! Event queues: bounded, and honest about what they dropped.

use std::sync::{
    Arc,
    atomic::{AtomicU64, AtomicUsize, Ordering},
};

use serde::de::DeserializeOwned;
use tokio::sync::mpsc;

use crate::message::Payload;

/// Emitted here, not by Chrome: the session's events came faster than they may
/// ([`ConnectionOptions`](crate::ConnectionOptions)). Once per session.
pub const SESSION_FLOODED: &str = "Session.flooded";

/// Events that must not be lost when others fill the queue: places are kept for them.
const ESSENTIAL: [&str; 5] = [
    SESSION_FLOODED,
    "Inspector.targetCrashed",
    "Page.javascriptDialogOpening",
    "Page.javascriptDialogClosed",
    "Page.frameNavigated",
];
/// Places of a queue that are kept for essential events.
const ESSENTIAL_MAX: usize = 256;
/// Bytes of events that may wait in one queue.
const QUEUE_SIZE_MAX: usize = 32 << 20;

/// An event that a session's target emitted.
#[derive(Clone, Debug)]
pub struct Event {
    /// The event's name, as it was subscribed to.
    pub method: &'static str,
    /// Its parameters.
    pub params: Payload,
}

impl Event {
    /// The parameters as a type.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        self.params.parse()
    }
}

/// The receiving end of a bounded event queue. Ends when the session ends.
#[derive(Debug)]
pub struct Subscription {
    events: mpsc::Receiver<Event>,
    dropped: Arc<AtomicU64>,
    size: Arc<AtomicUsize>,
}

impl Subscription {
    /// The next event in the order in which Chrome sent them; `None` when no more can come.
    pub async fn next(&mut self) -> Option<Event> {
        let event = self.events.recv().await?;
        self.size.fetch_sub(event.params.as_bytes().len(), Ordering::Relaxed);
        Some(event)
    }

    /// The next event, if one waits already.
    pub fn try_next(&mut self) -> Option<Event> {
        let event = self.events.try_recv().ok()?;
        self.size.fetch_sub(event.params.as_bytes().len(), Ordering::Relaxed);
        Some(event)
    }

    /// How many events were dropped because the queue was full, of events or of bytes.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

/// The sending end.
#[derive(Debug)]
pub(crate) struct Subscriber {
    methods: &'static [&'static str],
    events: mpsc::Sender<Event>,
    dropped: Arc<AtomicU64>,
    size: Arc<AtomicUsize>,
}

impl Subscriber {
    pub(crate) fn channel(methods: &'static [&'static str], capacity: usize) -> (Self, Subscription) {
        let (sender, receiver) = mpsc::channel(capacity.max(1) + ESSENTIAL_MAX);
        let (dropped, size) = (Arc::<AtomicU64>::default(), Arc::<AtomicUsize>::default());
        let subscriber =
            Self { methods, events: sender, dropped: Arc::clone(&dropped), size: Arc::clone(&size) };
        (subscriber, Subscription { events: receiver, dropped, size })
    }

    /// Queues the event if it is one of the subscribed. `false` when the receiving end is gone.
    pub(crate) fn offer(&self, method: &str, params: &Payload) -> bool {
        let Some(method) = self.methods.iter().find(|known| **known == method) else {
            return !self.events.is_closed();
        };
        let size = params.as_bytes().len();
        let is_full = self.events.capacity() <= ESSENTIAL_MAX && !ESSENTIAL.contains(method);
        if is_full || self.size.load(Ordering::Relaxed) + size > QUEUE_SIZE_MAX {
            self.dropped.fetch_add(1, Ordering::Relaxed);
            return !self.events.is_closed();
        }
        self.size.fetch_add(size, Ordering::Relaxed);
        match self.events.try_send(Event { method, params: params.clone() }) {
            Ok(()) => true,
            Err(mpsc::error::TrySendError::Full(_)) => {
                self.size.fetch_sub(size, Ordering::Relaxed);
                self.dropped.fetch_add(1, Ordering::Relaxed);
                true
            }
            Err(mpsc::error::TrySendError::Closed(_)) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_full_queue_drops_the_newest_and_counts_them() {
        let (subscriber, mut subscription) = Subscriber::channel(&["A.b"], 2);
        for _ in 0..5 {
            assert!(subscriber.offer("A.b", &Payload::empty()));
        }
        assert!(subscriber.offer("A.other", &Payload::empty()));
        assert_eq!(subscription.dropped(), 3);
        drop(subscriber);
        assert!(subscription.next().await.is_some());
        assert!(subscription.next().await.is_some());
        assert!(subscription.next().await.is_none());
    }

    #[tokio::test]
    async fn a_crash_finds_a_place_in_a_full_queue() {
        let (subscriber, mut subscription) = Subscriber::channel(&["A.b", "Inspector.targetCrashed"], 2);
        for _ in 0..5 {
            subscriber.offer("A.b", &Payload::empty());
        }
        subscriber.offer("Inspector.targetCrashed", &Payload::empty());
        let mut methods = Vec::new();
        while let Some(event) = subscription.try_next() {
            methods.push(event.method);
        }
        assert_eq!(methods, ["A.b", "A.b", "Inspector.targetCrashed"]);
    }

    #[tokio::test]
    async fn a_queue_is_bounded_in_bytes_too() {
        let (subscriber, mut subscription) = Subscriber::channel(&["A.b"], 100);
        let large = Payload::from_json(&serde_json::Value::from("x".repeat(QUEUE_SIZE_MAX / 2)));
        for _ in 0..3 {
            subscriber.offer("A.b", &large);
        }
        assert_eq!(subscription.dropped(), 2);
        subscription.next().await;
        subscriber.offer("A.b", &large);
        assert_eq!(subscription.dropped(), 2);
    }

    #[tokio::test]
    async fn a_subscriber_notices_that_nobody_listens() {
        let (subscriber, subscription) = Subscriber::channel(&["A.b"], 2);
        drop(subscription);
        assert!(!subscriber.offer("A.b", &Payload::empty()));
        assert!(!subscriber.offer("A.other", &Payload::empty()));
    }
}
