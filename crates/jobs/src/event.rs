//! What is told of jobs as it happens.

use std::sync::Arc;

use jiff::Timestamp;
use paddock_platform::identity::Tenant;

use crate::{JobId, JobProgress, JobState};

/// Something happened to a job, and was committed. Cheap to clone.
#[derive(Clone, Debug)]
pub struct JobEvent {
    /// Which job.
    pub id: JobId,
    /// Whose.
    pub tenant: Tenant,
    /// Its queue.
    pub queue: Arc<str>,
    /// Its tool or kind.
    pub kind: Arc<str>,
    /// Position among this job's events: grows, may skip. What is in the store is at least as new as the last event.
    pub sequence: u64,
    /// When.
    pub at: Timestamp,
    /// The attempt that it is about; 0 before the first.
    pub attempt: u32,
    /// What it belongs to, as the area that made it calls it.
    pub parent: Option<Arc<str>>,
    /// What.
    pub what: EventKind,
}

/// What happened.
#[derive(Clone, Debug)]
pub enum EventKind {
    /// It is in another state now (or begins it anew: a retry).
    State(JobState),
    /// It got further.
    Progress(Arc<JobProgress>),
    /// Another server changed it: look it up to see how.
    Changed,
}

impl JobEvent {
    /// Whether it may be news for somebody who knows the job as it was after so many changes. What another server did has
    /// no place among them.
    pub const fn is_news_after(&self, changes: u64) -> bool {
        matches!(self.what, EventKind::Changed) || self.sequence > changes
    }

    /// The state that it came into, if the event is about that.
    pub const fn state(&self) -> Option<JobState> {
        match self.what {
            EventKind::State(state) => Some(state),
            EventKind::Progress(_) | EventKind::Changed => None,
        }
    }
}
