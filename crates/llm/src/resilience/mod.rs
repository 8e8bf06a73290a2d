//! What keeps one provider's bad day from becoming everybody's.
//!
//! A [`Lane`] is one credential and one model: the unit that breaks, rests, is ejected, and is measured. A call that goes
//! through a lane holds a [`Permit`], which tells the lane in the end how it went, or, dropped, that nobody knows. Limits
//! of a credential ([`Credential`]) hold for all its models together.
//!
//! [`Breaker`] and [`Window`] are pure state machines: they are told the time.

#[cfg(test)]
mod accounting_tests;
mod allowance;
mod breaker;
mod credential;
mod lane;
mod window;

pub(crate) use allowance::Allowance;
pub(crate) use breaker::{Breaker, BreakerSettings, BreakerState, Pass};
pub(crate) use credential::Credential;
pub(crate) use lane::{Blocked, Lane, LaneSettings, Outcome, Permit};
pub(crate) use window::{Reservation, Window};
