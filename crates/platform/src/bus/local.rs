//! The bus within one process.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

use super::{Answer, BusError, Heard};

/// What may wait for one who listens; more is left out, as NATS does with those that are too slow.
const WAITING_MAX: usize = 4_096;

type Listeners = HashMap<String, Vec<mpsc::Sender<Heard>>>;

/// Queues by subject.
#[derive(Clone, Default)]
pub(super) struct Local(Arc<Mutex<Listeners>>);

/// One who listens.
#[derive(Debug)]
pub(super) struct Listening(mpsc::Receiver<Heard>);

impl Listening {
    pub(super) async fn next(&mut self) -> Option<Heard> {
        self.0.recv().await
    }
}

impl Local {
    pub(super) fn subscribe(&self, subject: &str) -> Listening {
        let (sender, receiver) = mpsc::channel(WAITING_MAX);
        let mut listeners = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        listeners.entry(subject.to_owned()).or_default().push(sender);
        Listening(receiver)
    }

    /// Those who listen to a subject; the others are forgotten.
    fn listeners(&self, subject: &str) -> Vec<mpsc::Sender<Heard>> {
        let mut listeners = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(found) = listeners.get_mut(subject) else { return Vec::new() };
        found.retain(|listener| !listener.is_closed());
        let found = found.clone();
        if found.is_empty() {
            listeners.remove(subject);
        }
        found
    }

    pub(super) fn publish(&self, subject: &str, body: &Bytes) {
        for listener in self.listeners(subject) {
            // One that is too slow misses it.
            let _ = listener.try_send(Heard { body: body.clone(), answer: Answer::Nobody });
        }
    }

    pub(super) async fn request(
        &self,
        subject: &str,
        body: Bytes,
        deadline: Duration,
    ) -> Result<Bytes, BusError> {
        let mut listeners = self.listeners(subject);
        let Some(first) = listeners.pop() else { return Err(BusError::NobodyListens) };
        let (sender, answer) = oneshot::channel();
        let heard = Heard { body, answer: Answer::Local(sender) };
        first.try_send(heard).map_err(|_| BusError::NobodyListens)?;
        match tokio::time::timeout(deadline, answer).await {
            Ok(Ok(body)) => Ok(body),
            Ok(Err(_)) => Err(BusError::NobodyListens),
            Err(_) => Err(BusError::Timeout(deadline)),
        }
    }
}
