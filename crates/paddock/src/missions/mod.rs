//! `paddock missions`: graphs of jobs on a running server, from a shell.
//!
//! Every command is one request, or a few, in the shapes of docs/missions.md. What a person wants to know goes to standard
//! output; with `--json` the server's answer goes there as it came.

mod args;
mod commands;
mod show;

pub(crate) use self::{args::MissionsArgs, commands::run};
