//! `paddock agents`: agents on a running server, from a shell.
//!
//! Every command is one request, or a few, in the shapes of docs/agents.md. What a person wants to know goes to standard
//! output; with `--json` the server's answer goes there as it came. `new` and `build` need no server.

mod args;
mod commands;
mod project;
mod show;

pub(crate) use self::{args::AgentsArgs, commands::run};
