//! The accessibility script in a real Chromium.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

mod hostile;
mod names;
mod page;
mod walk;
