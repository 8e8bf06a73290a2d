//! The ways in which a job is not accepted, not found or not changed.

use std::time::Duration;

use http::StatusCode;
use paddock_platform::{
    blobs::BlobError,
    problem::{CONFLICT, INVALID_REQUEST, NOT_FOUND, OVERLOADED, Problem, ProblemKind},
    store::StoreError,
};

use crate::{JobId, JobState};

/// The queue has as many jobs as it may.
pub const QUEUE_FULL: ProblemKind =
    ProblemKind::new("queue-full", StatusCode::TOO_MANY_REQUESTS, "Queue full");
/// The queue takes no new jobs: it is being drained.
pub const QUEUE_DRAINING: ProblemKind =
    ProblemKind::new("queue-draining", StatusCode::SERVICE_UNAVAILABLE, "Queue draining");
/// The job ended, and the time that it was kept for is over.
pub const JOB_EXPIRED: ProblemKind = ProblemKind::new("job-expired", StatusCode::GONE, "Job expired");
/// The job is not in a state that allows this.
pub const JOB_STATE: ProblemKind = ProblemKind::new("job-state", StatusCode::CONFLICT, "Not in this state");
/// The unique key names a job that was asked for differently.
pub const UNIQUE_KEY_REUSED: ProblemKind =
    ProblemKind::new("unique-key-reused", StatusCode::UNPROCESSABLE_ENTITY, "Unique key reused");
/// The attempt is not the current one: its lease was lost.
pub const LEASE_LOST: ProblemKind = ProblemKind::new("lease-lost", StatusCode::CONFLICT, "Lease lost");

/// A call to the queue did not do what it was asked. Nothing of it was kept.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// A member of the request is not as it must be.
    #[error("`{field}`: {reason}")]
    Invalid {
        /// Which member.
        field: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The tool refused it, or the caller may not call it.
    #[error("{0}")]
    Refused(Problem),
    /// There is no such queue.
    #[error("no queue `{name}`; there are {known}")]
    UnknownQueue {
        /// What was asked for.
        name: String,
        /// Those that there are.
        known: String,
    },
    /// The queue has as many jobs as it may.
    #[error("the queue `{queue}` holds {depth} jobs, more may not wait; try again later")]
    QueueFull {
        /// Which queue.
        queue: String,
        /// How many wait.
        depth: u64,
        /// When a place is expected to be free.
        retry_after: Duration,
    },
    /// The queue is being drained.
    #[error("the queue `{0}` takes no new jobs: it is being drained")]
    Draining(String),
    /// No job has this id, or it is another tenant's.
    #[error("no job `{0}`")]
    NotFound(String),
    /// It was there, and is kept no longer.
    #[error("the job `{0}` ended and is kept no longer")]
    Expired(JobId),
    /// The state of the job does not allow it.
    #[error("the job `{id}` is {state}: it cannot be {verb}")]
    State {
        /// Which job.
        id: JobId,
        /// Where it stands.
        state: JobState,
        /// What was asked, as a participle.
        verb: &'static str,
    },
    /// The attempt is not the current one.
    #[error("attempt {attempt} of the job `{id}` is not the current one: its lease was lost")]
    LeaseLost {
        /// Which job.
        id: JobId,
        /// The attempt that was named.
        attempt: u32,
    },
    /// The unique key names a job that was asked for differently.
    #[error("the unique key `{key}` names the job `{id}`, which was asked for differently")]
    UniqueKeyReused {
        /// The key.
        key: String,
        /// The job.
        id: JobId,
    },
    /// As many callers wait, or changes are pending, as may.
    #[error("{0}; try again shortly")]
    Overloaded(&'static str),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The blobs failed.
    #[error(transparent)]
    Blobs(#[from] BlobError),
}

impl JobError {
    pub(crate) fn invalid(field: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Invalid { field: field.into(), reason: reason.into() }
    }
}

/// When to come back after what passes by itself.
const RETRY_SOON: Duration = Duration::from_secs(1);
/// When to come back to a queue that is being drained.
const RETRY_DRAINING: Duration = Duration::from_mins(1);

impl From<JobError> for Problem {
    fn from(error: JobError) -> Self {
        let detail = error.to_string();
        match error {
            JobError::Invalid { field, .. } => Self::new(INVALID_REQUEST, detail).with("field", field),
            JobError::Refused(problem) => problem,
            JobError::UnknownQueue { .. } => Self::new(INVALID_REQUEST, detail).with("field", "queue"),
            JobError::QueueFull { retry_after, .. } => Self::new(QUEUE_FULL, detail).retry_after(retry_after),
            JobError::Draining(_) => Self::new(QUEUE_DRAINING, detail).retry_after(RETRY_DRAINING),
            JobError::NotFound(_) => Self::new(NOT_FOUND, detail),
            JobError::Expired(_) => Self::new(JOB_EXPIRED, detail),
            JobError::State { state, .. } => Self::new(JOB_STATE, detail).with("state", state.name()),
            JobError::LeaseLost { .. } => Self::new(LEASE_LOST, detail),
            JobError::UniqueKeyReused { id, .. } => {
                Self::new(UNIQUE_KEY_REUSED, detail).with("job", id.to_string())
            }
            JobError::Overloaded(_) => Self::new(OVERLOADED, detail).retry_after(RETRY_SOON),
            JobError::Store(StoreError::Conflict(_)) => {
                Self::new(CONFLICT, "another change got in the way; try again").retry_after(RETRY_SOON)
            }
            JobError::Store(error) => error.into(),
            JobError::Blobs(error) => error.into(),
        }
    }
}
