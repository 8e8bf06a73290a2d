//! What an agent is to the runtime: something that handles one message after the other.
//!
//! Native agents, WASM components, prompt agents and remote agents all implement [`Handler`]. What a handler wants done
//! it says to its [`Turn`]; it takes place when the turn succeeds, and not at all if it fails.

use std::{fmt, sync::Arc};

use bytes::Bytes;
use futures_util::future::{BoxFuture, ready};

use crate::{message::Message, turn::Turn};

/// What an agent does with its messages: one at a time, in the order in which each sender sent them.
pub trait Handler: Send {
    /// Called before the first message of each life of the handler: the agent was started, restarted, or woken after it
    /// was parked.
    fn start<'a>(&'a mut self, _start: Start, _turn: &'a mut Turn) -> Handled<'a> {
        Handled::Done(Ok(()))
    }

    /// Handles one message.
    fn handle<'a>(&'a mut self, message: Arc<Message>, turn: &'a mut Turn) -> Handled<'a>;

    /// What to keep beside the state when the agent is parked; given back in [`Start::snapshot`].
    fn snapshot(&mut self) -> BoxFuture<'_, Option<Bytes>> {
        Box::pin(ready(None))
    }

    /// How many bytes of memory are free when this handler is dropped.
    fn memory(&self) -> u64 {
        0
    }
}

/// How a handler begins.
#[derive(Clone, Debug, Default)]
pub struct Start {
    /// Whether the agent has never run before.
    pub is_first: bool,
    /// What its predecessor left.
    pub snapshot: Option<Bytes>,
}

/// A turn that is over, or one that takes time. What is done at once costs no allocation.
pub enum Handled<'a> {
    /// It is over.
    Done(Result<(), Failure>),
    /// It will be.
    Later(BoxFuture<'a, Result<(), Failure>>),
}

impl Handled<'_> {
    /// It went well, and is over.
    pub const OK: Self = Self::Done(Ok(()));
}

impl fmt::Debug for Handled<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done(result) => f.debug_tuple("Done").field(result).finish(),
            Self::Later(_) => f.write_str("Later"),
        }
    }
}

/// What follows from a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureKind {
    /// The message is at fault: its sender is told, and it is not tried again.
    Invalid,
    /// It is tried again, and put aside when that does not help.
    Retryable,
    /// The handler is broken: its supervisor restarts it, and the message counts as tried.
    Fatal,
}

/// Why a message was not handled. What its turn wanted done is not done.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{detail}")]
pub struct Failure {
    /// What follows from it.
    pub kind: FailureKind,
    /// What happened.
    pub detail: String,
}

impl Failure {
    /// The message is at fault.
    pub fn invalid(detail: impl Into<String>) -> Self {
        Self { kind: FailureKind::Invalid, detail: detail.into() }
    }

    /// Trying again may help.
    pub fn retryable(detail: impl Into<String>) -> Self {
        Self { kind: FailureKind::Retryable, detail: detail.into() }
    }

    /// The handler is broken.
    pub fn fatal(detail: impl Into<String>) -> Self {
        Self { kind: FailureKind::Fatal, detail: detail.into() }
    }
}

/// Makes the handler of an agent, again and again: each restart gets a new one.
pub(crate) type Factory = Arc<dyn Fn() -> Box<dyn Handler> + Send + Sync>;

/// The factory that is this function.
pub(crate) fn factory(make: impl Fn() -> Box<dyn Handler> + Send + Sync + 'static) -> Factory {
    Arc::new(make)
}

/// A native agent that answers every message at once by a function.
pub struct Native<F>(F);

impl<F> Native<F>
where
    F: FnMut(&Message, &mut Turn) -> Result<(), Failure> + Send,
{
    /// An agent that is this function.
    pub const fn new(handle: F) -> Self {
        Self(handle)
    }
}

impl<F> fmt::Debug for Native<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Native")
    }
}

impl<F> Handler for Native<F>
where
    F: FnMut(&Message, &mut Turn) -> Result<(), Failure> + Send,
{
    fn handle<'a>(&'a mut self, message: Arc<Message>, turn: &'a mut Turn) -> Handled<'a> {
        Handled::Done((self.0)(&message, turn))
    }
}
