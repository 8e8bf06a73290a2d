//! The state machine of a mission: what has happened goes in, what is to be done comes out. It knows no store, no clock
//! and no values, only positions; so it can be tried with every graph and every course of events.
//!
//! ```text
//! queued ─▶ running ─▶ concluding ─▶ succeeded
//!              │            │
//!              └─▶ stopping ◀┘   nothing begins; what runs ends (on a cancellation or deadline: is cancelled)
//!                     │
//!                     ▼
//!                compensating ─▶ failed, cancelled      what is done is undone, the last first
//! ```
//!
//! # Invariants
//! 1. A step begins only when all steps that it needs have ended.
//! 2. A run of a step (an item of it) is started once in a generation; a retry begins the next generation, and what was
//!    kept from before is not run again.
//! 3. Nothing is started after a failure, and nothing is undone before all that ran has ended.
//! 4. Steps are undone one after the other, in the reverse of the order in which they ended.
//! 5. Events that come twice, too late or from an earlier generation change nothing.

mod advance;
mod state;
mod undo;

pub use self::state::Phase;
pub(crate) use self::{
    advance::advance,
    state::{Cause, CauseKind, Item, State, Status, StepState},
};

/// What the machine knows of a step.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Shape {
    /// Positions of the steps before it.
    pub(crate) needs: Vec<usize>,
    /// Whether one need that was not skipped is enough.
    pub(crate) join_any: bool,
    pub(crate) approval: bool,
    pub(crate) fan_out: bool,
    /// How many items run at once.
    pub(crate) concurrency: usize,
    /// Whether the mission goes on after its failure.
    pub(crate) tolerant: bool,
    pub(crate) undo: Undo,
}

/// Which runs of a step are undone when the mission fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Undo {
    #[default]
    Never,
    Succeeded,
    Tried,
}

/// What has happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    Start,
    /// The condition and the list of a step were evaluated.
    Evaluated {
        step: usize,
        gate: Gate,
    },
    /// A run ended.
    Ended {
        generation: u32,
        step: usize,
        item: u32,
        undo: bool,
        outcome: RunOutcome,
    },
    /// A person decided, or the time to decide was up.
    Decided {
        step: usize,
        approved: bool,
    },
    /// The mission's output was evaluated, or could not be.
    Concluded {
        succeeded: bool,
    },
    /// Somebody wants it to end.
    Cancel,
    /// Its time is up.
    Deadline,
    /// The mission itself could not be run.
    Abort,
    /// Somebody wants it to go on from what failed.
    Retry,
}

/// What the condition and the list of a step say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gate {
    Skip,
    /// It runs so many times: once, unless it is for each of a list.
    Run(u32),
    /// They could not be evaluated.
    Failed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RunOutcome {
    Succeeded,
    Failed,
    Cancelled,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    /// Evaluate the condition and the list of a step.
    Evaluate { step: usize },
    /// Start a run.
    Run { step: usize, item: u32 },
    /// Ask a person.
    Ask { step: usize },
    /// Ask no longer.
    Withdraw { step: usize },
    /// Start undoing a run.
    Undo { step: usize, item: u32 },
    /// Cancel all runs that have not ended.
    CancelRunning,
    /// Evaluate the mission's output.
    Conclude,
    /// The mission has ended.
    Finish,
}

#[cfg(test)]
mod tests;
