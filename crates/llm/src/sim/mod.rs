//! The simulated provider: what tests, demonstrations and the lab use, and nothing that answers questions.
//!
//! It speaks every dialect of the gateway as a provider does, in this process (`url = "sim:"`) or as a server
//! (`paddock llm sim`). What it says depends on the seed and the request; which of its faults happen depends on the seed
//! and the number of the request. Its answers say that they are simulated, in their ids, in `system_fingerprint` where
//! there is one, and in the header `X-Paddock-Simulated`.

mod answer;
mod directive;
mod generate;
mod options;
mod pieces;
mod script;
mod server;
mod steps;
#[cfg(test)]
mod tests;

pub use options::{SimOptions, Spread};
pub use server::SimServer;

pub(crate) use answer::Sim;
