//! How agents that share browsers keep out of each other's way.
//!
//! * [`CurrentTabs`]: the tab that a session or a named agent means when it names none.
//! * [`Holds`]: who may change a tab. A *lock* reserves it for an owner until it expires; a *handoff* pauses it for
//!   everybody while a person works in it.
//! * [`IdleTabs`]: when a tab that nobody uses any more is closed, if the configuration asks for that.
//!
//! All of it is kept in memory, by tab id and not by page, and none of it grows without bound. [`BrowserService::tab`]
//! is the one place that asks.
//!
//! [`BrowserService::tab`]: crate::BrowserService

mod current;
mod holds;
mod idle;

pub use self::{
    current::NO_CURRENT_TAB,
    holds::{Handoff, HoldError, Holds, Lock, TAB_LOCKED, TAB_PAUSED_HANDOFF},
};
pub(crate) use self::{
    current::{CurrentTabs, Identity},
    idle::IdleTabs,
};
