//! The ways in which something is not done with agents.

use std::time::Duration;

use http::StatusCode;
use paddock_platform::{
    blobs::BlobError,
    problem::{CONFLICT, DEADLINE_EXCEEDED, NOT_FOUND, OVERLOADED, Problem, ProblemKind},
    store::StoreError,
};

use crate::{
    commit::CommitError,
    core::Trouble,
    dead::DeadReason,
    message::{AgentName, InvalidField},
    wasm::WasmError,
};

/// The mailbox has as many messages as it may.
pub const MAILBOX_FULL: ProblemKind =
    ProblemKind::new("mailbox-full", StatusCode::TOO_MANY_REQUESTS, "Mailbox full");
/// The agent takes no messages: it failed too often and was stopped.
pub const AGENT_STOPPED: ProblemKind =
    ProblemKind::new("agent-stopped", StatusCode::CONFLICT, "Agent stopped");
/// The agent answered that it failed, refused, or did not understand.
pub const AGENT_FAILED: ProblemKind =
    ProblemKind::new("agent-failed", StatusCode::UNPROCESSABLE_ENTITY, "Agent failed");

/// The server that runs the agent could not be reached.
pub const AGENT_UNREACHABLE: ProblemKind =
    ProblemKind::new("agent-unreachable", StatusCode::SERVICE_UNAVAILABLE, "Agent unreachable");

/// When to come back to a mailbox that is full.
const RETRY_SOON: Duration = Duration::from_secs(1);

/// Something was not done.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// A member of what was sent is not as it must be.
    #[error(transparent)]
    Invalid(#[from] InvalidField),
    /// The caller may not do this.
    #[error("{0}")]
    Refused(Problem),
    /// There is no agent of that name.
    #[error("no agent `{0}`")]
    NotFound(AgentName),
    /// There is no such version of the agent.
    #[error("the agent `{name}` has no version {version}")]
    NoVersion {
        /// Which agent.
        name: AgentName,
        /// Which version.
        version: u32,
    },
    /// No version has a share beside the one in force.
    #[error("no version of the agent `{0}` has a share of its conversations")]
    NoSplit(AgentName),
    /// The agent is part of the program.
    #[error("the agent `{0}` is part of the program and cannot be changed")]
    Native(AgentName),
    /// There is one of that name.
    #[error("there is an agent `{0}` already")]
    Exists(AgentName),
    /// As many agents are there as may be.
    #[error("there are {0} agents, and more may not be (`agents.agents_max`)")]
    TooMany(usize),
    /// Nobody got the message.
    #[error("{detail}")]
    Undelivered {
        /// Why.
        reason: DeadReason,
        /// The same as a sentence.
        detail: String,
    },
    /// Nobody answered in time.
    #[error("no answer came within {}s", .0.as_secs_f64())]
    NoAnswer(Duration),
    /// As many callers wait for answers, or changes to be written, as may.
    #[error("{0}; try again shortly")]
    Overloaded(&'static str),
    /// The component is none that can be an agent.
    #[error(transparent)]
    Wasm(#[from] WasmError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The blobs failed.
    #[error(transparent)]
    Blobs(#[from] BlobError),
}

impl From<Trouble> for AgentError {
    fn from(trouble: Trouble) -> Self {
        let detail = match &trouble.receiver {
            Some(name) if trouble.reason != DeadReason::NoReceiver => {
                format!("the agent `{name}` does not get it: {}", trouble.detail)
            }
            _ => trouble.detail,
        };
        Self::Undelivered { reason: trouble.reason, detail }
    }
}

impl From<CommitError> for AgentError {
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::Overloaded => {
                Self::Overloaded("more durable messages wait to be written than may (`agents.pending_max`)")
            }
            CommitError::Store(error) => Self::Store(error),
        }
    }
}

impl From<AgentError> for Problem {
    fn from(error: AgentError) -> Self {
        let detail = error.to_string();
        match error {
            AgentError::Invalid(invalid) => invalid.into(),
            AgentError::Refused(problem) => problem,
            AgentError::NotFound(_) | AgentError::NoVersion { .. } => Self::new(NOT_FOUND, detail),
            AgentError::Native(_) | AgentError::Exists(_) | AgentError::NoSplit(_) => {
                Self::new(CONFLICT, detail)
            }
            AgentError::TooMany(_) => Self::new(OVERLOADED, detail),
            AgentError::Undelivered { reason, .. } => match reason {
                DeadReason::NoReceiver => Self::new(NOT_FOUND, detail),
                DeadReason::Full => Self::new(MAILBOX_FULL, detail).retry_after(RETRY_SOON),
                DeadReason::Unreachable => Self::new(AGENT_UNREACHABLE, detail).retry_after(RETRY_SOON),
                _ => Self::new(AGENT_STOPPED, detail),
            }
            .with("reason", reason.name()),
            AgentError::NoAnswer(_) => Self::new(DEADLINE_EXCEEDED, detail),
            AgentError::Overloaded(_) => Self::new(OVERLOADED, detail).retry_after(RETRY_SOON),
            AgentError::Wasm(error) => error.into(),
            AgentError::Store(error) => error.into(),
            AgentError::Blobs(error) => error.into(),
        }
    }
}
