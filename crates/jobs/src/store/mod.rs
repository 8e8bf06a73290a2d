//! The store's side of jobs: schema, statements, and how rows are read.

pub(crate) mod row;
mod schema;
pub(crate) mod sql;

pub(crate) use schema::MIGRATIONS;

use crate::JobState;

/// How a state is written. Never renumbered: stores outlive versions.
pub(crate) const fn code(state: JobState) -> i32 {
    match state {
        JobState::Queued => 0,
        JobState::Scheduled => 1,
        JobState::Running => 2,
        JobState::Waiting => 3,
        JobState::Succeeded => 4,
        JobState::Failed => 5,
        JobState::Cancelled => 6,
        JobState::Dead => 7,
    }
}

/// A job that is ready and not taken because its concurrency key is at its limit. Told as queued.
pub(crate) const HELD: i32 = 8;

pub(crate) const fn state(code: i32) -> Option<JobState> {
    Some(match code {
        0 | HELD => JobState::Queued,
        1 => JobState::Scheduled,
        2 => JobState::Running,
        3 => JobState::Waiting,
        4 => JobState::Succeeded,
        5 => JobState::Failed,
        6 => JobState::Cancelled,
        7 => JobState::Dead,
        _ => return None,
    })
}
