//! The fleet: isolated browsers for agents.

pub mod egress;
pub mod snapshot;
