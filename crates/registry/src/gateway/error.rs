//! What can go wrong between a caller and a server.

use std::time::Duration;

use http::StatusCode;
use paddock_platform::problem::{
    DEADLINE_EXCEEDED, INVALID_REQUEST, OVERLOADED, Problem, ProblemKind, RATE_LIMITED,
};

/// An MCP server does not start, cannot be reached, or is left alone for a while because it failed.
pub const MCP_SERVER_UNAVAILABLE: ProblemKind =
    ProblemKind::new("mcp-server-unavailable", StatusCode::SERVICE_UNAVAILABLE, "MCP server unavailable");
/// An MCP server ended or broke the protocol while it was asked.
pub const MCP_SERVER_FAILED: ProblemKind =
    ProblemKind::new("mcp-server-failed", StatusCode::BAD_GATEWAY, "MCP server failed");
/// A tool of an MCP server answered that it failed.
pub const TOOL_FAILED: ProblemKind =
    ProblemKind::new("tool-failed", StatusCode::UNPROCESSABLE_ENTITY, "Tool failed");

/// When to come back after being refused for too many calls.
const RETRY_AFTER_FULL: Duration = Duration::from_secs(1);

/// A server could not be asked, or did not answer as it should.
#[derive(Clone, Debug, thiserror::Error)]
pub enum GatewayError {
    /// No server is configured under that name.
    #[error("no MCP server `{0}` is configured")]
    NoServer(String),
    /// The caller sees no tool of that name.
    #[error("no tool `{0}`")]
    NoTool(String),
    /// As many calls run as may.
    #[error("{max} calls of `{server}` run already, its `concurrency_max`")]
    Full {
        /// Which server.
        server: String,
        /// How many may.
        max: usize,
    },
    /// As many calls of the caller run as may.
    #[error("{max} calls of this key to `{server}` run already, its `concurrency_per_key_max`")]
    FullForKey {
        /// Which server.
        server: String,
        /// How many may.
        max: usize,
    },
    /// As many sessions, streams or processes are open as may be.
    #[error("`{server}` has as many {what} as it may have, {max}")]
    TooMany {
        /// Which server.
        server: String,
        /// Of what.
        what: &'static str,
        /// How many may be.
        max: usize,
    },
    /// It does not start, or is left alone for a while.
    #[error("the MCP server `{server}` is not available: {reason}")]
    Unavailable {
        /// Which server.
        server: String,
        /// Why.
        reason: String,
        /// When it is tried again.
        retry_after: Duration,
    },
    /// It ended, or broke the protocol.
    #[error("the MCP server `{server}` failed: {reason}")]
    Failed {
        /// Which server.
        server: String,
        /// How.
        reason: String,
    },
    /// It did not answer in time.
    #[error("the MCP server `{server}` did not answer within {}s", timeout.as_secs())]
    TimedOut {
        /// Which server.
        server: String,
        /// How long it was given.
        timeout: Duration,
    },
    /// It answered with an error of the protocol.
    #[error("{message} (code {code})")]
    Refused {
        /// The code.
        code: i64,
        /// What it says.
        message: String,
    },
    /// The tool says that it failed.
    #[error("{0}")]
    Tool(String),
    /// The client's message makes no sense.
    #[error("{0}")]
    Request(&'static str),
}

impl GatewayError {
    /// What happened, without the server's name.
    pub(super) fn reason(&self) -> String {
        match self {
            Self::Unavailable { reason, .. } | Self::Failed { reason, .. } => reason.clone(),
            Self::TimedOut { timeout, .. } => format!("it did not answer within {}s", timeout.as_secs()),
            other => other.to_string(),
        }
    }

    /// A short name, for metrics and the audit log.
    pub(super) const fn label(&self) -> &'static str {
        match self {
            Self::NoServer(_) | Self::NoTool(_) => "not_found",
            Self::Full { .. } | Self::FullForKey { .. } | Self::TooMany { .. } => "busy",
            Self::Unavailable { .. } => "unavailable",
            Self::Failed { .. } => "failed",
            Self::TimedOut { .. } => "timeout",
            Self::Refused { .. } => "refused",
            Self::Tool(_) => "tool_error",
            Self::Request(_) => "invalid",
        }
    }
}

impl From<GatewayError> for Problem {
    fn from(error: GatewayError) -> Self {
        let detail = error.to_string();
        match error {
            GatewayError::NoServer(_) | GatewayError::NoTool(_) => {
                Self::new(paddock_platform::problem::NOT_FOUND, detail)
            }
            GatewayError::FullForKey { .. } => Self::new(RATE_LIMITED, detail).retry_after(RETRY_AFTER_FULL),
            GatewayError::Full { .. } | GatewayError::TooMany { .. } => {
                Self::new(OVERLOADED, detail).retry_after(RETRY_AFTER_FULL)
            }
            GatewayError::Unavailable { retry_after, .. } => {
                Self::new(MCP_SERVER_UNAVAILABLE, detail).retry_after(retry_after)
            }
            GatewayError::Failed { .. } => Self::new(MCP_SERVER_FAILED, detail),
            GatewayError::TimedOut { .. } => Self::new(DEADLINE_EXCEEDED, detail),
            GatewayError::Refused { .. } | GatewayError::Tool(_) => Self::new(TOOL_FAILED, detail),
            GatewayError::Request(_) => Self::new(INVALID_REQUEST, detail),
        }
    }
}
