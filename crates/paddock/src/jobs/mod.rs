//! `paddock jobs`: the jobs of a running server, from a shell.
//!
//! Every command is one request, or a few, in the shapes of docs/jobs.md. What a person wants to know goes to standard
//! output; with `--json` the server's answer goes there as it came.

mod args;
mod backlog;
mod commands;
mod schedules;
mod watch;
mod webhooks;

pub(crate) use self::{
    args::JobsArgs,
    commands::{Asked, checked, input, run},
};
