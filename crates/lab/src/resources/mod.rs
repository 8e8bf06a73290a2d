//! What the target and the machine did during a run.
//!
//! Processes are watched as trees: a server with everything it starts, seen from `/proc` at least once a second. The
//! generator is watched like everything else, as `lab`; what neither it, nor anything that it started, nor a target used is
//! *foreign*, and much of it means that the machine was busy with something else.

mod environment;
mod growth;
mod listener;
mod machine;
pub(crate) mod mark;
pub(crate) mod process;
mod sampler;
pub(crate) mod tree;

pub use self::{
    environment::{commit, config_hash, describe},
    growth::{Allowance, GROWTH_SAMPLES_MIN, GROWTH_SPAN_S_MIN, WARM_UP_SHARE, growth},
};
pub(crate) use self::{
    listener::listener,
    machine::MachineTimes,
    sampler::{Sampler, Samples, Watched},
};
