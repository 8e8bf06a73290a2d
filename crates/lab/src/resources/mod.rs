//! What the target and the machine did during a run.

pub(crate) mod process;
pub(crate) mod tree;
