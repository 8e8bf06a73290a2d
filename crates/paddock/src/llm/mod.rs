//! `paddock llm`: the model gateway of a running server, from a shell; and the simulated provider.

mod args;
mod commands;
mod durable;
mod show;
mod sim;

pub(crate) use self::{args::LlmArgs, commands::run, durable::DurableJobs};
