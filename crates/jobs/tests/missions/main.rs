//! Missions from end to end, on both engines: what they run, and that no crash makes them lose or repeat anything.
#![expect(clippy::unwrap_used, unreachable_pub, reason = "tests")]

mod crashes;
mod flow;
mod schedules;
mod steering;
mod support;
