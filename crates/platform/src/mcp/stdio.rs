//! The protocol over standard input and output, for a client that starts the server itself.

use rmcp::{ServiceExt, service::ServerInitializeError, transport::stdio};

use super::handler::{Asking, Handler, Mcp};
use crate::identity::Caller;

/// The conversation could not be had.
#[derive(Debug, thiserror::Error)]
pub enum StdioError {
    /// The client's first message is not one that a conversation begins with.
    #[error("the client does not begin as MCP clients do")]
    Begin(#[source] Box<ServerInitializeError>),
    /// The task that has it failed.
    #[error("the conversation broke off")]
    BrokeOff(#[source] tokio::task::JoinError),
}

/// Answers one client on standard input and output, as this caller, until it closes its end.
pub async fn serve_stdio(mcp: Mcp, caller: Caller) -> Result<(), StdioError> {
    let agent = uuid::Uuid::new_v4().simple().to_string();
    let handler = Handler { mcp, asking: Asking::Always(caller, agent) };
    let running = match handler.serve(stdio()).await {
        Ok(running) => running,
        // It changed its mind before it said anything.
        Err(ServerInitializeError::ConnectionClosed(_)) => return Ok(()),
        Err(error) => return Err(StdioError::Begin(Box::new(error))),
    };
    running.waiting().await.map(drop).map_err(StdioError::BrokeOff)
}
