//! `paddock browser`: the browsers of a running server, from a shell.
//!
//! Every command is one request, or a few, in the shapes of docs/browser.md. What a person wants to know goes to
//! standard output; with `--json` the server's answer goes there as it came.

mod act;
mod args;
mod asked;
mod commands;
mod keep;
mod read;
mod top;

pub(crate) use self::{args::BrowserArgs, commands::run};
