//! The HTTP server from outside: real sockets, one server per test.
#![expect(clippy::unwrap_used, reason = "tests")]

mod answers;
mod failures;
mod guard;
mod idempotency;
mod identity;
mod lifecycle;
mod limits;
mod support;
mod telemetry;
