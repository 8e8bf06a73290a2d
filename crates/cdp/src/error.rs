//! How a call or a connection fails.

use std::time::Duration;

/// A command that yielded no reply, or a reply that is an error.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// Chrome is gone: it exited, was killed, or the connection was shut down.
    #[error("`{method}`: the connection to Chrome is closed")]
    Closed {
        /// The command.
        method: String,
    },
    /// The renderer of the session's target crashed; such a target answers no command until it is navigated.
    #[error("`{method}`: the target crashed")]
    Crashed {
        /// The command.
        method: String,
    },
    /// The session's target is gone, or somebody detached the session.
    #[error("`{method}`: the target is closed")]
    Detached {
        /// The command.
        method: String,
    },
    /// No reply in time.
    #[error("`{method}`: no reply within {}ms", deadline.as_millis())]
    Deadline {
        /// The command.
        method: String,
        /// How long it was given.
        deadline: Duration,
    },
    /// Chrome answered with an error.
    #[error("`{method}`: {message} ({code})")]
    Protocol {
        /// The command.
        method: String,
        /// JSON-RPC error code, for example -32000.
        code: i64,
        /// Chrome's words.
        message: String,
    },
    /// The reply or the command is larger than `message_size_max`.
    #[error("`{method}`: a message of {size} bytes is over the maximum of {size_max}")]
    TooLarge {
        /// The command.
        method: String,
        /// Bytes of the message.
        size: usize,
        /// The maximum.
        size_max: usize,
    },
    /// `calls_max` calls are in flight already.
    #[error("`{method}`: {calls_max} calls are in flight already")]
    TooManyCalls {
        /// The command.
        method: String,
        /// The maximum.
        calls_max: usize,
    },
    /// The command cannot be written as JSON, or the reply is not what its type says.
    #[error("`{method}`: unexpected JSON")]
    Json {
        /// The command.
        method: String,
        /// What is wrong with it.
        source: serde_json::Error,
    },
}

impl CallError {
    /// Whether no further call on the same session can succeed (unless a crashed target is navigated again).
    pub fn is_session_lost(&self) -> bool {
        matches!(self, Self::Closed { .. } | Self::Crashed { .. } | Self::Detached { .. })
    }
}

/// A connection to a running Chrome that could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Nobody answers at the address, or not with a WebSocket.
    #[error("cannot open {url}")]
    WebSocket {
        /// The address.
        url: String,
        /// Why.
        source: Box<tokio_tungstenite::tungstenite::Error>,
    },
    /// The handshake took too long.
    #[error("{url} did not answer within {}ms", deadline.as_millis())]
    Deadline {
        /// The address.
        url: String,
        /// How long it was given.
        deadline: Duration,
    },
}
