//! The accessibility script in a real Chromium.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "helpers of tests fail by panicking, and say what they skip"
)]

mod hostile;
mod names;
mod page;
mod walk;
