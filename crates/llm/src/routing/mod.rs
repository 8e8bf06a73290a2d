//! From the name of a model to a place that answers.
//!
//! A [`Plan`] is a configuration, compiled. [`Plan::resolve`] finds the route of a request and those that it falls back
//! to; [`choose`] picks a target and a credential that have a place for it, and says why. A decision is made of the
//! plan, the lanes' state and chance, and nothing else: it waits for nobody.

mod choose;
mod explain;
mod options;
mod plan;

pub(crate) use choose::{Choice, NoChoice, choose, name_of};
pub(crate) use explain::explain;
pub use explain::{Considered, Explanation};
pub use options::{Class, Need, RouteOptions, Strategy, TargetOptions, WhenOptions};
pub(crate) use plan::{Lanes, Plan, Route, Target};

use crate::dialect::scan::Needs;

/// What a decision is made from.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ask<'a> {
    pub(crate) model: &'a str,
    pub(crate) tenant: &'a str,
    pub(crate) team: &'a str,
    pub(crate) tags: Vec<&'a str>,
    pub(crate) headers: Option<&'a http::HeaderMap>,
    pub(crate) needs: Needs,
    pub(crate) tokens_in: u64,
    pub(crate) tokens_out: u64,
    pub(crate) class: Option<Class>,
    /// The most that the call may cost.
    pub(crate) cost_max: Option<crate::govern::Pico>,
    pub(crate) conversation: u64,
    /// The place where the call may have been made already.
    pub(crate) again: Option<&'a str>,
}

/// Whether a name is what a pattern says: the same, or with its beginning where the pattern ends in `*`.
pub(crate) fn matches(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(beginning) => name.starts_with(beginning),
        None => pattern == name,
    }
}
