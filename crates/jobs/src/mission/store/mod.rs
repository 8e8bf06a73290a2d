//! Missions in the store: definitions, missions, runs of their steps, and what people are asked.
//!
//! A mission's row holds where it stands, as the state machine has it; it is locked while it is advanced. What its runs
//! came to is in rows of their own, so that the end of one of a thousand items writes one of them and one mission, not all.

mod approvals;
mod definitions;
mod missions;
mod runs;
mod schema;

pub(crate) use self::{
    approvals::{ApprovalRow, AskedRow},
    definitions::DefinitionRow,
    missions::{MissionFilter, MissionRow, StoredFault},
    runs::{RunRow, RunState},
    schema::MIGRATIONS,
};

/// Statements and the functions that run them, by table.
pub(crate) mod sql {
    pub(crate) use super::{approvals::*, definitions::*, missions::*, runs::*};
}
