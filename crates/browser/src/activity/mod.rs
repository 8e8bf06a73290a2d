//! What agents did: the last requests of each tenant, and the agents that made them.
//!
//! Every request under `/browser` is one [`Event`]. Each tenant has a ring of `[browser] activity_max` of them and a
//! list of the agents that were seen last. Both are in memory: this is for watching, the audit trail is the log.

mod event;
mod log;

pub use self::{
    event::{AgentEvent, Event},
    log::AgentView,
};
pub(crate) use self::{
    event::{Note, record, url_of},
    log::{Activity, Filter},
};
