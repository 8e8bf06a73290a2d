//! Event queues: bounded, and honest about what they dropped.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use serde::de::DeserializeOwned;
use tokio::sync::mpsc;

use crate::message::Payload;

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
}

impl Subscription {
    /// The next event in the order in which Chrome sent them; `None` when no more can come.
    pub async fn next(&mut self) -> Option<Event> {
        self.events.recv().await
    }

    /// How many events were dropped because the queue was full.
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
}

impl Subscriber {
    pub(crate) fn channel(methods: &'static [&'static str], capacity: usize) -> (Self, Subscription) {
        let (sender, receiver) = mpsc::channel(capacity.max(1));
        let dropped = Arc::new(AtomicU64::new(0));
        let subscriber = Self { methods, events: sender, dropped: Arc::clone(&dropped) };
        (subscriber, Subscription { events: receiver, dropped })
    }

    /// Queues the event if it is one of the subscribed. `false` when the receiving end is gone.
    pub(crate) fn offer(&self, method: &str, params: &Payload) -> bool {
        let Some(method) = self.methods.iter().find(|known| **known == method) else {
            return !self.events.is_closed();
        };
        match self.events.try_send(Event { method, params: params.clone() }) {
            Ok(()) => true,
            Err(mpsc::error::TrySendError::Full(_)) => {
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
    async fn a_subscriber_notices_that_nobody_listens() {
        let (subscriber, subscription) = Subscriber::channel(&["A.b"], 2);
        drop(subscription);
        assert!(!subscriber.offer("A.b", &Payload::empty()));
        assert!(!subscriber.offer("A.other", &Payload::empty()));
    }
}
