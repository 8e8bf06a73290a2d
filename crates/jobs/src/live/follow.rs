//! One job, followed to its end.
//!
//! What is sent is read from the store whenever the job comes into another state, so that a watcher that lost its
//! connection, or was too slow, needs nothing but to look again: the id of an event is the job's count of changes.

use std::{convert::Infallible, sync::Arc};

use axum::response::sse::Event;
use futures_util::{Stream, stream};
use paddock_platform::{events::Place, identity::Tenant};
use serde_json::json;
use tokio::sync::broadcast::{Receiver, error::RecvError};

use crate::{EventKind, Job, JobError, JobEvent, JobId, JobProgress, Jobs};

/// A job that is followed.
pub(super) struct Follow {
    jobs: Jobs,
    tenant: Tenant,
    id: JobId,
    events: Receiver<JobEvent>,
    /// The last change that was sent.
    sent: u64,
    /// What is sent next, read already.
    next: Option<Box<Job>>,
    ended: bool,
    _place: Place,
}

impl Follow {
    /// Follows a job from the change on that the watcher saw last; `None` if there is nothing more to come.
    pub(super) async fn begin(
        jobs: Jobs,
        tenant: Tenant,
        id: JobId,
        seen: Option<u64>,
        place: Place,
    ) -> Result<Option<Self>, JobError> {
        // First subscribed, then read: nothing falls in between.
        let events = jobs.subscribe();
        let job = jobs.get(&tenant, id).await?;
        let news = seen.is_none_or(|seen| seen < job.changes);
        if job.state.is_final() && !news {
            return Ok(None);
        }
        let sent = job.changes;
        let next = news.then(|| Box::new(job));
        Ok(Some(Self { jobs, tenant, id, events, sent, next, ended: false, _place: place }))
    }

    /// The events, up to the one that says how the job ended.
    pub(super) fn stream(self) -> impl Stream<Item = Result<Event, Infallible>> {
        stream::unfold(self, |mut follow| async move {
            let event = follow.event().await?;
            Some((Ok(event), follow))
        })
    }

    async fn event(&mut self) -> Option<Event> {
        if self.ended {
            return None;
        }
        if let Some(job) = self.next.take() {
            return Some(self.state(&job));
        }
        loop {
            match self.events.recv().await {
                Ok(event) if event.id != self.id || !event.is_news_after(self.sent) => {}
                Ok(JobEvent { what: EventKind::Progress(progress), attempt, sequence, at, .. }) => {
                    self.sent = sequence;
                    return Some(self.progress(&progress, attempt, sequence, at));
                }
                Ok(_) | Err(RecvError::Lagged(_)) => {
                    // A job that is gone, or a store that is: the watcher asks again and is told.
                    let job = self.jobs.get(&self.tenant, self.id).await.ok()?;
                    if job.changes > self.sent {
                        return Some(self.state(&job));
                    }
                }
                Err(RecvError::Closed) => return None,
            }
        }
    }

    fn state(&mut self, job: &Job) -> Event {
        self.sent = job.changes;
        self.ended = job.state.is_final();
        let text = serde_json::to_string(&self.jobs.brief(job)).unwrap_or_default();
        Event::default().id(job.changes.to_string()).event("state").data(text)
    }

    fn progress(
        &self,
        progress: &Arc<JobProgress>,
        attempt: u32,
        changes: u64,
        at: jiff::Timestamp,
    ) -> Event {
        let text = json!({
            "id": self.id, "attempt": attempt, "progress": progress.as_ref(), "changes": changes, "at": at.to_string(),
        });
        Event::default().id(changes.to_string()).event("progress").data(text.to_string())
    }
}
