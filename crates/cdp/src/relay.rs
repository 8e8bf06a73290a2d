//! Relays: a foreign client's share of a connection, as raw JSON in and out.
//!
//! A relay has a browser session of its own, and every session that is opened through it belongs to it. What Chrome
//! sends on these sessions, replies and events alike, comes out of one queue in the order in which Chrome sent it. The
//! queue is bounded in messages and bytes: a client that does not keep up loses its relay, never the connection.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use bytes::Bytes;
use serde_json::value::RawValue;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::{
    connection::{Connection, Handle},
    error::CallError,
    message::{self, ErrorBody, Payload},
    protocol::target::{AttachToBrowserTarget, DetachFromTarget},
    session::Session,
};

/// The bounds of a relay.
#[derive(Clone, Copy, Debug)]
pub struct RelayOptions {
    /// Most messages that wait to be taken by the client.
    pub queue_len_max: usize,
    /// Most bytes of them.
    pub queue_size_max: usize,
    /// Most commands without a reply.
    pub calls_max: usize,
}

impl Default for RelayOptions {
    fn default() -> Self {
        Self { queue_len_max: 16 << 10, queue_size_max: 64 << 20, calls_max: 1024 }
    }
}

/// What Chrome sends to a relay.
#[derive(Debug)]
pub enum RelayMessage {
    /// The reply to a command.
    Reply {
        /// What the command was sent with.
        token: u64,
        /// Its result, or Chrome's error.
        result: Result<Payload, ErrorBody>,
    },
    /// An event.
    Event {
        /// The session; that of the relay itself is [`Relay::session`].
        session: Arc<str>,
        /// Its name.
        method: Box<str>,
        /// Its parameters.
        params: Payload,
    },
}

impl RelayMessage {
    fn size(&self) -> usize {
        match self {
            Self::Reply { result: Ok(payload), .. } => payload.as_bytes().len(),
            Self::Reply { result: Err(error), .. } => error.message.len(),
            Self::Event { method, params, .. } => method.len() + params.as_bytes().len(),
        }
    }
}

/// Why a relay yields nothing any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RelayEnd {
    /// The client did not take its messages.
    Overflow,
    /// Chrome is gone.
    Closed,
}

/// A command that a relay does not pass on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RelayError {
    /// The session is not one of the relay's.
    #[error("session with given id not found")]
    UnknownSession,
    /// `calls_max` commands are without a reply already.
    #[error("{calls_max} commands are without a reply already")]
    TooManyCalls {
        /// The maximum.
        calls_max: usize,
    },
    /// The command is larger than the connection takes.
    #[error("a command of {size} bytes is over the maximum")]
    TooLarge {
        /// Its size in bytes.
        size: usize,
    },
    /// Chrome is gone.
    #[error("the connection to Chrome is closed")]
    Closed,
}

/// The end that the connection's tables know.
#[derive(Debug)]
pub(crate) struct Lane {
    messages: mpsc::Sender<RelayMessage>,
    queued_size: AtomicUsize,
    calls: AtomicUsize,
    overflowed: AtomicBool,
    ended: CancellationToken,
    options: RelayOptions,
}

impl Lane {
    /// Queues a message; ends the relay when there is no room.
    pub(crate) fn offer(&self, message: RelayMessage) {
        let size = message.size();
        let queued = self.queued_size.fetch_add(size, Ordering::Relaxed) + size;
        // A single message may be larger than the bound: it is what the client asked for.
        let too_much = queued > self.options.queue_size_max && queued > size;
        if too_much || self.messages.try_send(message).is_err() {
            self.overflowed.store(true, Ordering::Relaxed);
            self.ended.cancel();
        }
    }

    pub(crate) fn answered(&self) {
        self.calls.fetch_sub(1, Ordering::Relaxed);
    }

    pub(crate) fn end(&self) {
        self.ended.cancel();
    }
}

/// A client's share of a connection. Dropping it forgets its sessions here; [`Relay::detach`] closes them in Chrome.
#[derive(Debug)]
pub struct Relay {
    browser: Session,
    handle: Arc<Handle>,
    lane: Arc<Lane>,
    session: Arc<str>,
}

/// The receiving end.
#[derive(Debug)]
pub struct RelayMessages {
    lane: Arc<Lane>,
    messages: mpsc::Receiver<RelayMessage>,
}

impl RelayMessages {
    /// The next message in Chrome's order, or why there is none any more.
    pub async fn next(&mut self) -> Result<RelayMessage, RelayEnd> {
        tokio::select! {
            biased;
            () = self.lane.ended.cancelled() => {}
            message = self.messages.recv() => if let Some(message) = message {
                self.lane.queued_size.fetch_sub(message.size(), Ordering::Relaxed);
                return Ok(message);
            }
        }
        let overflowed = self.lane.overflowed.load(Ordering::Relaxed);
        Err(if overflowed { RelayEnd::Overflow } else { RelayEnd::Closed })
    }

    /// Bytes that wait to be taken.
    pub fn queued_size(&self) -> usize {
        self.lane.queued_size.load(Ordering::Relaxed)
    }
}

impl Connection {
    /// Opens a relay: a browser session of its own, and a queue for what comes on it and on those opened through it.
    pub async fn relay(&self, options: RelayOptions) -> Result<(Relay, RelayMessages), CallError> {
        let session = self.browser().send(&AttachToBrowserTarget {}).await?.session_id;
        let (sender, messages) = mpsc::channel(options.queue_len_max.max(1));
        let lane = Arc::new(Lane {
            messages: sender,
            queued_size: AtomicUsize::new(0),
            calls: AtomicUsize::new(0),
            overflowed: AtomicBool::new(false),
            ended: CancellationToken::new(),
            options,
        });
        let relay = Relay {
            browser: self.browser().clone(),
            handle: Arc::clone(&self.handle),
            lane: Arc::clone(&lane),
            session: session.into(),
        };
        relay.handle.core.add_lane_session(Arc::clone(&relay.session), &lane);
        Ok((relay, RelayMessages { lane, messages }))
    }
}

impl Relay {
    /// The relay's own browser session.
    pub fn session(&self) -> &Arc<str> {
        &self.session
    }

    /// Whether a session was opened through the relay and is not closed.
    pub fn has_session(&self, session: &str) -> bool {
        self.handle.core.is_lane_session(session, &self.lane)
    }

    /// Passes a command on; its reply comes as a [`RelayMessage::Reply`] with the token. Waits while the connection
    /// has many commands to write.
    pub async fn send(
        &self,
        session: &str,
        token: u64,
        method: &str,
        params: &RawValue,
    ) -> Result<(), RelayError> {
        let core = &self.handle.core;
        let calls_max = self.lane.options.calls_max;
        if self.lane.calls.load(Ordering::Relaxed) >= calls_max {
            return Err(RelayError::TooManyCalls { calls_max });
        }
        let id = core.begin_relayed(session, &self.lane, token).ok_or_else(|| {
            if core.closed.is_cancelled() { RelayError::Closed } else { RelayError::UnknownSession }
        })?;
        self.lane.calls.fetch_add(1, Ordering::Relaxed);
        let written = match message::write(id, session, method, &params) {
            Ok(command) if command.len() <= core.options.message_size_max => {
                self.handle.outgoing.send(Bytes::from(command)).await.map_err(|_| RelayError::Closed)
            }
            Ok(command) => Err(RelayError::TooLarge { size: command.len() }),
            Err(_) => Err(RelayError::Closed),
        };
        if written.is_err() {
            core.forget_relayed(id);
        }
        written
    }

    /// Closes the relay's sessions in Chrome. What they had changed on the pages (breakpoints, overrides, interception)
    /// is undone by Chrome.
    pub async fn detach(self) {
        // An error means that Chrome is gone, and the sessions with it.
        self.browser.send(&DetachFromTarget { session_id: &self.session }).await.ok();
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.handle.core.remove_lane(&self.lane);
    }
}
