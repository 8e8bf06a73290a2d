//! The ways in which a schedule is not accepted, not found or not changed.

use std::time::Duration;

use http::StatusCode;
use paddock_platform::{
    problem::{INVALID_REQUEST, NOT_FOUND, Problem, ProblemKind},
    store::StoreError,
};

use crate::{JobError, mission::MissionError};

/// The tenant has as many schedules as it may.
pub const SCHEDULES_FULL: ProblemKind =
    ProblemKind::new("schedules-full", StatusCode::TOO_MANY_REQUESTS, "Too many schedules");

/// A schedule acts with the key of whoever made it, and that key holds no longer.
pub const SCHEDULE_KEY_INVALID: ProblemKind =
    ProblemKind::new("schedule-key-invalid", StatusCode::CONFLICT, "The schedule's key holds no longer");

/// When to come back when as many as may are there.
const RETRY_FULL: Duration = Duration::from_mins(5);

/// A call about schedules did not do what it was asked. Nothing of it was kept.
#[derive(Debug, thiserror::Error)]
pub enum ScheduleError {
    /// A member of the request is not as it must be.
    #[error("`{field}`: {reason}")]
    Invalid {
        /// Which member.
        field: String,
        /// What is wrong with it.
        reason: String,
    },
    /// No such schedule.
    #[error("no schedule `{0}`")]
    NotFound(String),
    /// As many as may are there.
    #[error("there are {0} schedules already, more may not be")]
    Full(u64),
    /// The key that it acts with was revoked or has expired.
    #[error(
        "the key `{0}`, which it acts with, was revoked or has expired; put it again with a key that holds"
    )]
    KeyInvalid(String),
    /// The job is not one.
    #[error(transparent)]
    Job(#[from] JobError),
    /// The mission is not one.
    #[error(transparent)]
    Mission(#[from] MissionError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl ScheduleError {
    pub(crate) fn invalid(field: &str, reason: &str) -> Self {
        Self::Invalid { field: field.to_owned(), reason: reason.to_owned() }
    }
}

impl From<ScheduleError> for Problem {
    fn from(error: ScheduleError) -> Self {
        let detail = error.to_string();
        match error {
            ScheduleError::Invalid { field, .. } => Self::new(INVALID_REQUEST, detail).with("field", field),
            ScheduleError::NotFound(_) => Self::new(NOT_FOUND, detail),
            ScheduleError::Full(_) => Self::new(SCHEDULES_FULL, detail).retry_after(RETRY_FULL),
            ScheduleError::KeyInvalid(_) => Self::new(SCHEDULE_KEY_INVALID, detail),
            ScheduleError::Job(error) => error.into(),
            ScheduleError::Mission(error) => error.into(),
            ScheduleError::Store(error) => JobError::from(error).into(),
        }
    }
}
