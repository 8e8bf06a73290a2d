//! Bodies of answers, fetched on demand, or in advance where the operator wants to have them later.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use paddock_cdp::{
    CallError, Session,
    protocol::network::{GetResponseBody, LoadingFinished},
};
use tokio::sync::watch;

use super::Log;
use crate::tab::Tab;

/// How long Chrome may take to hand a body out.
const DEADLINE: Duration = Duration::from_secs(5);
/// Bodies of one tab that are kept, in bytes; the oldest make room.
const SIZE_MAX: usize = 4 << 20;
/// Bytes of one body that are kept.
const BODY_SIZE_MAX: usize = 1 << 20;
/// Ended requests whose bodies are yet to be fetched; at more, some are not kept.
const QUEUE_MAX: usize = 512;

/// A body as text or base64.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Body {
    pub(crate) text: String,
    pub(crate) is_base64: bool,
    /// Only its beginning is kept.
    pub(crate) truncated: bool,
}

/// Bodies that were fetched in advance.
#[derive(Debug, Default)]
pub(crate) struct Bodies {
    state: Mutex<State>,
    changed: watch::Sender<()>,
}

#[derive(Debug, Default)]
struct State {
    by_id: HashMap<String, Arc<Body>>,
    order: VecDeque<String>,
    size: usize,
}

impl Bodies {
    pub(crate) fn get(&self, request_id: &str) -> Option<Arc<Body>> {
        self.lock().by_id.get(request_id).cloned()
    }

    /// Waits until a body has been fetched, or the time is up.
    pub(crate) async fn wait(&self, request_id: &str, timeout: Duration) -> Option<Arc<Body>> {
        let mut changed = self.changed.subscribe();
        let waiting = async {
            loop {
                changed.borrow_and_update();
                if let Some(body) = self.get(request_id) {
                    return Some(body);
                }
                changed.changed().await.ok()?;
            }
        };
        tokio::time::timeout(timeout, waiting).await.ok().flatten()
    }

    fn put(&self, request_id: String, body: Body) {
        let mut state = self.lock();
        state.size += body.text.len();
        if let Some(before) = state.by_id.insert(request_id.clone(), Arc::new(body)) {
            state.size -= before.text.len();
        } else {
            state.order.push_back(request_id);
        }
        while state.size > SIZE_MAX {
            let Some(oldest) = state.order.pop_front() else { break };
            if let Some(body) = state.by_id.remove(&oldest) {
                state.size -= body.text.len();
            }
        }
        drop(state);
        self.changed.send_replace(());
    }

    pub(super) fn clear(&self) {
        *self.lock() = State::default();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Fetches the body of every request that ends, until the session ends.
pub(crate) async fn retain(session: Session, log: Arc<Log>) {
    let mut events = session.subscribe(&["Network.loadingFinished"], QUEUE_MAX);
    while let Some(event) = events.next().await {
        let Ok(LoadingFinished { request_id, .. }) = event.parse() else { continue };
        if let Ok(mut body) = fetch(&session, &request_id).await {
            if body.text.len() > BODY_SIZE_MAX {
                // Base64 is cut where a group ends.
                body.text.truncate(body.text.floor_char_boundary(BODY_SIZE_MAX & !3));
                body.truncated = true;
            }
            log.bodies.put(request_id, body);
        }
    }
}

async fn fetch(session: &Session, request_id: &str) -> Result<Body, CallError> {
    let reply = session.send_within(&GetResponseBody { request_id }, DEADLINE).await?;
    Ok(Body { text: reply.body, is_base64: reply.base64_encoded, truncated: false })
}

impl Tab {
    /// Asks Chrome for the body of an answer; it keeps those of the last megabyte.
    pub(crate) async fn response_body(&self, request_id: &str) -> Result<Body, CallError> {
        fetch(self.session(), request_id).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_oldest_bodies_make_room() {
        let bodies = Bodies::default();
        for id in 0..6 {
            let text = "x".repeat(1 << 20);
            bodies.put(id.to_string(), Body { text, is_base64: false, truncated: false });
        }
        assert!(bodies.get("1").is_none() && bodies.get("2").is_some());
        assert!(bodies.wait("5", Duration::ZERO).await.is_some());
    }
}
