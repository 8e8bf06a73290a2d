//! Publishing without a key: proofs of namespaces by DNS, by a file and by a workflow, each against a real peer.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test says what it found by panicking"
)]

mod dns;
mod domains;
mod files;
mod harness;
mod rights;
#[path = "../support/mod.rs"]
mod support;
mod workflows;
