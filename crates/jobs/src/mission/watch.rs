//! Telling a mission's watchers that it changed: each gets what is new, and whoever is slow gets the newest.

use std::time::Duration;

use axum::response::sse::Event;
use futures_util::{Stream, stream};
use paddock_platform::identity::Tenant;
use tokio::{
    sync::{OwnedSemaphorePermit, broadcast, broadcast::error::RecvError},
    time::Instant,
};

use super::{MissionError, MissionView, Missions, engine::is_of, store::sql};
use crate::{JobEvent, JobId};

/// How often a watcher looks for itself: what another server did without ending a job is seen by then.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// Events of one mission are gathered so long: a fan-out of a thousand does not send a thousand pictures of it.
const GATHER: Duration = Duration::from_millis(50);

/// Follows one mission.
pub(crate) struct Watch {
    missions: Missions,
    tenant: Tenant,
    id: JobId,
    jobs: broadcast::Receiver<JobEvent>,
    changed: broadcast::Receiver<JobId>,
    /// The change that was told last.
    told: u64,
    ended: bool,
    _place: OwnedSemaphorePermit,
}

impl Watch {
    /// Begins after a change that the watcher knows of; 0 for none.
    pub(crate) fn begin(
        missions: &Missions,
        tenant: &Tenant,
        id: JobId,
        known: u64,
    ) -> Result<Self, MissionError> {
        let place = missions.0.watchers.clone().try_acquire_owned();
        let place = place.map_err(|_| MissionError::Overloaded("as many watch missions as may"))?;
        Ok(Self {
            jobs: missions.0.jobs.subscribe(),
            changed: missions.0.changed.subscribe(),
            missions: missions.clone(),
            tenant: tenant.clone(),
            id,
            told: known,
            ended: false,
            _place: place,
        })
    }

    /// The mission once it is newer than what was told; `None` after its end was.
    pub(crate) async fn next(&mut self) -> Result<Option<MissionView>, MissionError> {
        if self.ended {
            return Ok(None);
        }
        loop {
            let changes = sql::mission_changes(self.missions.store(), &self.tenant, self.id).await?;
            if changes.is_none_or(|changes| changes > self.told) {
                let view = self.missions.get(&self.tenant, self.id).await?;
                self.told = view.brief.changes;
                self.ended = view.brief.state.is_final();
                return Ok(Some(view));
            }
            self.something().await;
        }
    }

    /// Waits until something may have changed.
    async fn something(&mut self) {
        let until = Instant::now() + LOOK_INTERVAL;
        loop {
            let is_ours = tokio::select! {
                event = self.jobs.recv() => match event {
                    Ok(event) => event.id == self.id || event.parent.as_deref().is_some_and(|parent| is_of(parent, self.id)),
                    Err(RecvError::Lagged(_)) => true,
                    // The server is being taken apart.
                    Err(RecvError::Closed) => {
                        tokio::time::sleep_until(until).await;
                        true
                    }
                },
                id = self.changed.recv() => !matches!(id, Ok(other) if other != self.id),
                () = tokio::time::sleep_until(until) => return,
            };
            if is_ours {
                tokio::time::sleep(GATHER).await;
                return;
            }
        }
    }
}

/// What is told, as server-sent events: `mission` with the whole mission, its `changes` as the id; `error` when it cannot
/// be read, which ends the stream.
pub(crate) fn events(watch: Watch) -> impl Stream<Item = Result<Event, std::convert::Infallible>> {
    stream::unfold(Some(watch), |watch| async move {
        let mut watch = watch?;
        match watch.next().await {
            Ok(None) => None,
            Ok(Some(view)) => {
                let event = Event::default().event("mission").id(view.brief.changes.to_string());
                let event = event.data(serde_json::to_string(&view).unwrap_or_default());
                Some((Ok(event), Some(watch)))
            }
            Err(error) => {
                let problem = paddock_platform::problem::Problem::from(error);
                let event = Event::default().event("error").data(problem.to_document(None).to_string());
                Some((Ok(event), None))
            }
        }
    })
}
