//! The fleet: isolated browsers for agents.
