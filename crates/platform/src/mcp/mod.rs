//! The toolbox as an MCP server: over streamable HTTP ([`router`]) and over standard input and output ([`serve_stdio`]).
//!
//! ```text
//! POST /mcp ─▶ edge (guard, key, limits) ─▶ http ─┐
//!                                                 ├─▶ Handler ─▶ Toolbox ─▶ an area's service
//! stdin/stdout ─▶ serve_stdio ────────────────────┘
//! ```
//!
//! Nothing is kept between two requests over HTTP, so a client survives a restart of the server, and any number of
//! clients costs nothing. A session id, which clients up to protocol 2025-11-25 get when they initialize, only names
//! the client: it is the agent's name for the tools, and by it a client cancels a call that it made ([`calls`]). One that
//! its client has ended is refused ([`ended`]). Who asks is decided for every request anew, by its key.
//!
//! A caller sees the tools that its scopes allow. An answer is the text or picture that a model reads, and data beside
//! it where the tool has an output schema. A problem is an answer too (`isError`), with what to do: only requests that
//! no tool could answer are errors of the protocol.

mod answer;
mod calls;
mod ended;
mod handler;
mod http;
mod options;
mod stdio;

pub use self::{
    handler::Mcp,
    http::{MCP_ROUTE, router},
    options::McpOptions,
    stdio::{StdioError, serve_stdio},
};
