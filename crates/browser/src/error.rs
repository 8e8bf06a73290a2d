//! How work with instances and tabs fails, and the problems that users see of it.

use http::StatusCode;
use paddock_cdp::CallError;
use paddock_platform::{
    problem::{CONFLICT, INTERNAL, NOT_FOUND, OVERLOADED, Problem, ProblemKind, RATE_LIMITED, error_chain},
    store::StoreError,
    units::ByteSize,
};
use std::time::Duration;

use crate::{
    attach::ATTACH_FAILED,
    egress::EgressError,
    engine::EngineError,
    evaluate::{EvaluateError, look_problem},
    ids::{InstanceId, ProfileId, TabId},
    ports::PortRange,
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
/// The instance has as many DevTools clients as it may have.
pub const CDP_CLIENTS_EXHAUSTED: ProblemKind =
    ProblemKind::new("cdp-clients-exhausted", StatusCode::TOO_MANY_REQUESTS, "Too many DevTools clients");
/// The page did not answer in time.
pub const PAGE_UNRESPONSIVE: ProblemKind =
    ProblemKind::new("page-unresponsive", StatusCode::GATEWAY_TIMEOUT, "Page does not answer");

/// When a full server is worth asking again.
pub(crate) const RETRY_AFTER: Duration = Duration::from_secs(5);

/// When an instance that lost its Chrome is worth asking again.
const RESTORE_AFTER: Duration = Duration::from_secs(1);

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
    /// The client for downloads cannot be made.
    #[error("cannot make a client for downloads")]
    Fetcher(#[source] reqwest::Error),
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
    /// As many DevTools clients as an instance may have.
    #[error("the instance has {max} DevTools clients (`[browser] cdp_clients_max`); close one first")]
    CdpClientsExhausted {
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
    /// As many instances as a tenant may have.
    #[error("the tenant has {max} instances (`[browser] instances_per_tenant_max`); stop one first")]
    TenantInstancesExhausted {
        /// The bound.
        max: usize,
    },
    /// As many instances are awake as may be, and all are in use.
    #[error("{max} instances are awake and in use (`[browser] instances_running_max`); come back later")]
    RunningExhausted {
        /// The bound.
        max: usize,
    },
    /// As many requests work with an instance as may.
    #[error("{max} requests work with instance `{id}` already (`[browser] requests_per_instance_max`)")]
    InstanceBusy {
        /// Which.
        id: InstanceId,
        /// The bound.
        max: usize,
    },
    /// The instance is used and cannot hibernate.
    #[error("instance `{0}` is in use; it cannot hibernate now")]
    InstanceInUse(InstanceId),
    /// The instance stands for a Chrome that somebody else started.
    #[error(
        "instance `{0}` stands for a Chrome that was not started here; it is neither put to sleep nor restarted"
    )]
    InstanceAttached(InstanceId),
    /// The instance lost its Chrome and is being restored.
    #[error("instance `{0}` is being restored; try again")]
    InstanceRestarting(InstanceId),
    /// Another instance uses the profile.
    #[error("profile `{profile}` is in use by instance `{instance}`; stop that first")]
    ProfileInUse {
        /// The profile.
        profile: ProfileId,
        /// The instance.
        instance: InstanceId,
    },
    /// No port is free.
    #[error("no port is free in {range} (`[browser] ports`); stop an instance that has one")]
    PortsExhausted {
        /// The range.
        range: PortRange,
    },
    /// The port that was asked for is taken.
    #[error("port {port} is taken; ask for another, or for `auto`")]
    PortTaken {
        /// Which.
        port: u16,
    },
    /// As many profiles as a tenant may have.
    #[error("the tenant has {max} profiles (`[browser] profiles_per_tenant_max`); delete one first")]
    ProfilesExhausted {
        /// The bound.
        max: usize,
    },
    /// There is no such profile.
    #[error("no profile `{0}`")]
    ProfileNotFound(String),
    /// A profile of that name exists.
    #[error("a profile named `{0}` exists already")]
    ProfileExists(String),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
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
    /// The page did not run a script of ours.
    #[error(transparent)]
    Evaluate(EvaluateError),
    /// A command to Chrome failed.
    #[error("Chrome did not do what it was asked")]
    Call(#[source] CallError),
    /// The server shuts down.
    #[error("the server is stopping")]
    Stopping,
}

impl BrowserError {
    /// Whether it was not even tried: the server is at a bound of its own.
    pub(crate) fn is_refusal(&self) -> bool {
        matches!(
            self,
            Self::InstancesExhausted { .. }
                | Self::RunningExhausted { .. }
                | Self::MemoryLow { .. }
                | Self::Stopping
        )
    }
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
            BrowserError::Launch(LaunchError::Connect(_)) => Self::new(ATTACH_FAILED, text),
            BrowserError::Engine(_) | BrowserError::Launch(_) => {
                Self::new(BROWSER_UNAVAILABLE, text).retry_after(RETRY_AFTER)
            }
            BrowserError::Profiles(_) | BrowserError::Egress(_) | BrowserError::Fetcher(_) => {
                Self::internal("starting a browser", &error)
            }
            BrowserError::InstancesExhausted { .. }
            | BrowserError::RunningExhausted { .. }
            | BrowserError::PortsExhausted { .. }
            | BrowserError::MemoryLow { .. }
            | BrowserError::Stopping => Self::new(OVERLOADED, text).retry_after(RETRY_AFTER),
            BrowserError::TenantInstancesExhausted { .. }
            | BrowserError::ProfilesExhausted { .. }
            | BrowserError::InstanceBusy { .. } => Self::new(RATE_LIMITED, text).retry_after(RETRY_AFTER),
            BrowserError::InstanceInUse(_)
            | BrowserError::InstanceAttached(_)
            | BrowserError::ProfileInUse { .. }
            | BrowserError::PortTaken { .. }
            | BrowserError::ProfileExists(_) => Self::new(CONFLICT, text),
            BrowserError::InstanceRestarting(_) => {
                Self::new(BROWSER_CRASHED, text).retry_after(RESTORE_AFTER)
            }
            BrowserError::Store(error) => error.into(),
            BrowserError::TabsExhausted { .. } => Self::new(TABS_EXHAUSTED, text),
            BrowserError::CdpClientsExhausted { .. } => Self::new(CDP_CLIENTS_EXHAUSTED, text),
            BrowserError::ProfileNotFound(_)
            | BrowserError::InstanceNotFound(_)
            | BrowserError::TabNotFound(_)
            | BrowserError::NoElement(_)
            | BrowserError::InstanceStopped(_) => Self::new(NOT_FOUND, text),
            BrowserError::InstanceLost { .. } => Self::new(BROWSER_CRASHED, text),
            BrowserError::InvalidSelector(_) => Self::invalid_field("selector", text),
            BrowserError::Malformed(_) => Self::new(INTERNAL, text),
            BrowserError::Evaluate(error) => look_problem(error),
            BrowserError::Call(call) => call_problem(&call),
        }
    }
}

/// What a user is told of a command that failed.
pub(crate) fn call_problem(error: &CallError) -> Problem {
    match error {
        CallError::Closed { .. } => Problem::new(
            BROWSER_CRASHED,
            "Chrome ended during the call; the instance is being restored, try again",
        )
        .retry_after(RESTORE_AFTER),
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
