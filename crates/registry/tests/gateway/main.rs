//! The gateway to MCP servers: programs that are run, and what clients and the toolbox see of them.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test says what it found by panicking"
)]

mod clients;
mod harness;
mod programs;
#[path = "../support/mod.rs"]
mod support;
mod tools;
