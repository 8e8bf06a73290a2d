//! Sessions: where commands are sent and events are subscribed to.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use serde::Serialize;
use tokio::{sync::watch, time::timeout};

use crate::{
    connection::Handle,
    error::CallError,
    message::{self, Payload},
    protocol::Command,
    subscription::{Subscriber, Subscription},
    tables::{Failure, Refusal},
};

/// Whether a session can answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionState {
    /// It can.
    Live,
    /// The target's renderer crashed; [`Session::revive`] and a navigation bring it back.
    Crashed,
    /// The target is closed.
    Detached,
    /// Chrome is gone.
    Closed,
}

impl SessionState {
    /// Whether the session never answers again.
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Detached | Self::Closed)
    }
}

/// A flat session with one target, or the browser's own. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Session(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    handle: Arc<Handle>,
    id: Arc<str>,
    target: Arc<str>,
    state: watch::Receiver<SessionState>,
    calls_sent: AtomicU64,
    bytes_sent: AtomicU64,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.handle.core.remove_session(&self.id);
        if !self.id.is_empty() && !self.state.borrow().is_final() {
            // Chrome would keep the session, and what was enabled on it, for as long as its target lives.
            self.handle.detach(&self.id);
        }
    }
}

impl Session {
    pub(crate) fn register(handle: &Arc<Handle>, id: Arc<str>, target: Arc<str>) -> Self {
        let state = handle.core.add_session(Arc::clone(&id));
        let handle = Arc::clone(handle);
        let (calls_sent, bytes_sent) = (AtomicU64::new(0), AtomicU64::new(0));
        Self(Arc::new(Inner { handle, id, target, state, calls_sent, bytes_sent }))
    }

    /// Chrome's id of the session; empty for the browser's own.
    pub fn id(&self) -> &str {
        &self.0.id
    }

    /// The id of the target; empty for the browser's own session.
    pub fn target_id(&self) -> &str {
        &self.0.target
    }

    /// Whether it can answer now.
    pub fn state(&self) -> SessionState {
        *self.0.state.borrow()
    }

    /// How many commands were sent in it so far, and of how many bytes.
    pub fn sent(&self) -> (u64, u64) {
        (self.0.calls_sent.load(Ordering::Relaxed), self.0.bytes_sent.load(Ordering::Relaxed))
    }

    /// Resolves when the session stops answering, with the state that it is in then.
    pub async fn ended(&self) -> SessionState {
        let mut state = self.0.state.clone();
        match state.wait_for(|state| *state != SessionState::Live).await {
            Ok(state) => *state,
            Err(_) => SessionState::Closed,
        }
    }

    /// Resolves when the session never answers again: its target is closed, or Chrome is gone.
    pub async fn closed(&self) {
        // An error means that the connection's tables are gone, which is closed as well.
        self.0.state.clone().wait_for(|state| state.is_final()).await.ok();
    }

    /// Lets a crashed session take commands again, for the navigation that starts a new renderer.
    pub fn revive(&self) {
        self.0.handle.core.revive(&self.0.id);
    }

    /// Sends a command and awaits its reply, within the connection's default deadline.
    pub async fn send<C: Command>(&self, command: &C) -> Result<C::Reply, CallError> {
        self.send_within(command, self.0.handle.core.options.call_deadline).await
    }

    /// Sends a command and awaits its reply.
    pub async fn send_within<C: Command>(
        &self,
        command: &C,
        deadline: Duration,
    ) -> Result<C::Reply, CallError> {
        let reply = self.call(C::METHOD, command, deadline).await?;
        reply.parse().map_err(|source| CallError::Json { method: C::METHOD.to_owned(), source })
    }

    /// Sends any command and awaits its raw result.
    pub async fn call(
        &self,
        method: &str,
        params: &impl Serialize,
        deadline: Duration,
    ) -> Result<Payload, CallError> {
        let core = &self.0.handle.core;
        let (pending, reply) = core.begin(&self.0.id).map_err(|refusal| match refusal {
            Refusal::Session(state) => session_error(state, method),
            Refusal::TooManyCalls => {
                CallError::TooManyCalls { method: method.to_owned(), calls_max: core.options.calls_max }
            }
        })?;
        let command = message::write(pending.id, &self.0.id, method, params)
            .map_err(|source| CallError::Json { method: method.to_owned(), source })?;
        let size_max = core.options.message_size_max;
        if command.len() > size_max {
            return Err(CallError::TooLarge { method: method.to_owned(), size: command.len(), size_max });
        }
        self.0.calls_sent.fetch_add(1, Ordering::Relaxed);
        self.0.bytes_sent.fetch_add(command.len() as u64, Ordering::Relaxed);
        let exchange = async {
            let closed = || CallError::Closed { method: method.to_owned() };
            self.0.handle.outgoing.send(Bytes::from(command)).await.map_err(|_| closed())?;
            match reply.await.map_err(|_| closed())? {
                Ok(Ok(payload)) => Ok(payload),
                Ok(Err(error)) => Err(CallError::Protocol {
                    method: method.to_owned(),
                    code: error.code,
                    message: error.message,
                }),
                Err(Failure::Session(state)) => Err(session_error(state, method)),
                Err(Failure::TooLarge(size)) => {
                    Err(CallError::TooLarge { method: method.to_owned(), size, size_max })
                }
            }
        };
        timeout(deadline, exchange)
            .await
            .unwrap_or_else(|_| Err(CallError::Deadline { method: method.to_owned(), deadline }))
    }

    /// A queue of the session's events of these names, of at most `capacity`; events that find it full are dropped and
    /// counted. Events arrive only of domains that were enabled.
    pub fn subscribe(&self, methods: &'static [&'static str], capacity: usize) -> Subscription {
        let (subscriber, subscription) = Subscriber::channel(methods, capacity);
        self.0.handle.core.subscribe(&self.0.id, subscriber);
        subscription
    }
}

fn session_error(state: SessionState, method: &str) -> CallError {
    let method = method.to_owned();
    match state {
        SessionState::Crashed => CallError::Crashed { method },
        SessionState::Detached => CallError::Detached { method },
        SessionState::Live | SessionState::Closed => CallError::Closed { method },
    }
}
