//! How work with instances and tabs fails, and the problems that users see of it.

use http::StatusCode;
use paddock_cdp::CallError;
use paddock_platform::{
    problem::{INTERNAL, NOT_FOUND, OVERLOADED, Problem, ProblemKind, error_chain},
    units::ByteSize,
};
use std::time::Duration;

use crate::{
    egress::EgressError,
    engine::EngineError,
    ids::{InstanceId, TabId},
    process::LaunchError,
};

/// No Chrome is installed, or it does not start.
pub const BROWSER_UNAVAILABLE: ProblemKind =
    ProblemKind::new("browser-unavailable", StatusCode::SERVICE_UNAVAILABLE, "No browser available");
/// Chrome ended or the tab's renderer crashed in the middle of the work.
pub const BROWSER_CRASHED: ProblemKind =
    ProblemKind::new("browser-crashed", StatusCode::BAD_GATEWAY, "Browser crashed");
/// The instance has as many tabs as it may have.
pub const TABS_EXHAUSTED: ProblemKind =
    ProblemKind::new("tabs-exhausted", StatusCode::TOO_MANY_REQUESTS, "Too many tabs");
/// The page did not answer in time.
pub const PAGE_UNRESPONSIVE: ProblemKind =
    ProblemKind::new("page-unresponsive", StatusCode::GATEWAY_TIMEOUT, "Page does not answer");

/// When a full server is worth asking again.
pub(crate) const RETRY_AFTER: Duration = Duration::from_secs(5);

/// Work with an instance or a tab failed.
#[derive(Debug, thiserror::Error)]
pub enum BrowserError {
    /// No usable Chrome.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// Chrome does not start.
    #[error(transparent)]
    Launch(#[from] LaunchError),
    /// The directory of profiles cannot be used.
    #[error("cannot use the browser's data directory")]
    Profiles(#[source] std::io::Error),
    /// The egress does not start.
    #[error(transparent)]
    Egress(#[from] EgressError),
    /// As many instances as may be.
    #[error("all {max} instances are in use (`[browser] instances_max`); stop one or come back later")]
    InstancesExhausted {
        /// The bound.
        max: usize,
    },
    /// As many tabs as an instance may have.
    #[error("the instance has {max} tabs (`[browser] tabs_per_instance_max`); close one first")]
    TabsExhausted {
        /// The bound.
        max: usize,
    },
    /// The machine is short of memory.
    #[error("{available} of memory is available, less than the {floor} of `[browser] memory_floor`")]
    MemoryLow {
        /// What there is.
        available: ByteSize,
        /// What there must be.
        floor: ByteSize,
    },
    /// There is no such instance.
    #[error("no instance `{0}`")]
    InstanceNotFound(InstanceId),
    /// There is no such tab.
    #[error("tab `{0}` not found")]
    TabNotFound(TabId),
    /// The instance lost its Chrome.
    #[error("instance `{id}` is lost with its pages: {reason}; stop it and start another")]
    InstanceLost {
        /// Which.
        id: InstanceId,
        /// How Chrome ended.
        reason: String,
    },
    /// The instance is stopped.
    #[error("instance `{0}` is stopped")]
    InstanceStopped(InstanceId),
    /// No element matches.
    #[error("no element matches `{0}`, or it is not displayed")]
    NoElement(String),
    /// The selector is not one.
    #[error("`{0}` is not a valid selector")]
    InvalidSelector(String),
    /// The page's answer is not what was asked for.
    #[error("the page gave no usable {0}")]
    Malformed(&'static str),
    /// A command to Chrome failed.
    #[error("Chrome did not do what it was asked")]
    Call(#[source] CallError),
    /// The server shuts down.
    #[error("the server is stopping")]
    Stopping,
}

impl From<CallError> for BrowserError {
    fn from(error: CallError) -> Self {
        Self::Call(error)
    }
}

impl From<BrowserError> for Problem {
    fn from(error: BrowserError) -> Self {
        let text = error_chain(&error);
        match error {
            BrowserError::Engine(_) | BrowserError::Launch(_) => {
                Self::new(BROWSER_UNAVAILABLE, text).retry_after(RETRY_AFTER)
            }
            BrowserError::Profiles(_) | BrowserError::Egress(_) => {
                Self::internal("starting a browser", &error)
            }
            BrowserError::InstancesExhausted { .. }
            | BrowserError::MemoryLow { .. }
            | BrowserError::Stopping => Self::new(OVERLOADED, text).retry_after(RETRY_AFTER),
            BrowserError::TabsExhausted { .. } => Self::new(TABS_EXHAUSTED, text),
            BrowserError::InstanceNotFound(_)
            | BrowserError::TabNotFound(_)
            | BrowserError::NoElement(_)
            | BrowserError::InstanceStopped(_) => Self::new(NOT_FOUND, text),
            BrowserError::InstanceLost { .. } => Self::new(BROWSER_CRASHED, text),
            BrowserError::InvalidSelector(_) => Self::invalid_field("selector", text),
            BrowserError::Malformed(_) => Self::new(INTERNAL, text),
            BrowserError::Call(call) => call_problem(&call),
        }
    }
}

/// What a user is told of a command that failed.
pub(crate) fn call_problem(error: &CallError) -> Problem {
    match error {
        CallError::Closed { .. } => {
            Problem::new(BROWSER_CRASHED, "Chrome ended during the call; the instance and its pages are lost")
        }
        CallError::Crashed { .. } => {
            Problem::new(BROWSER_CRASHED, "the page's renderer crashed; navigating the tab again revives it")
        }
        CallError::Detached { .. } => Problem::new(NOT_FOUND, "the tab was closed during the call"),
        CallError::Deadline { deadline, .. } => Problem::new(
            PAGE_UNRESPONSIVE,
            format!("the page did not answer within {}s", deadline.as_secs_f64()),
        ),
        CallError::TooManyCalls { .. } => {
            Problem::new(OVERLOADED, "too many commands to this Chrome are in flight")
                .retry_after(RETRY_AFTER)
        }
        CallError::TooLarge { size, size_max, .. } => Problem::new(
            PAGE_UNRESPONSIVE,
            format!("the answer of {size} bytes is over the maximum of {size_max}"),
        ),
        CallError::Protocol { .. } | CallError::Json { .. } => {
            Problem::internal("a command to Chrome", error)
        }
    }
}
