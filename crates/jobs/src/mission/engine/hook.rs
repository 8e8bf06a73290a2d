//! Told of every job of a mission that ends, in the transaction of its end.

use std::{sync::Arc, time::Instant};

use futures_util::future::BoxFuture;
use metrics::histogram;
use paddock_platform::store::{StoreError, Transaction};

use super::{
    Engine, KIND_RUN,
    link::{Link, PREFIX},
};
use crate::{
    Effects, EndHook, Job, JobState,
    mission::{machine::Event, metrics::MISSION_ADVANCE_DURATION_SECONDS},
};

/// See the [module](self).
pub(crate) struct MissionHook(pub(crate) Arc<Engine>);

impl EndHook for MissionHook {
    fn wants(&self, job: &Job, _: JobState) -> bool {
        &*job.kind == KIND_RUN || job.parent.as_deref().is_some_and(|parent| parent.starts_with(PREFIX))
    }

    fn ended<'t>(
        &'t self,
        tx: &'t mut Transaction,
        job: &'t Job,
    ) -> BoxFuture<'t, Result<Effects, StoreError>> {
        Box::pin(async move {
            let began = Instant::now();
            let mut effects = Effects::default();
            if &*job.kind == KIND_RUN {
                effects.extend(self.own_job_ended(tx, job).await?);
            }
            if let Some(link) = job.parent.as_deref().and_then(Link::parse)
                && let Some(mut turn) = self.0.turn(tx, link.mission).await?
            {
                turn.job_ended(link, job).await?;
                effects.extend(turn.close(false).await?);
            }
            histogram!(MISSION_ADVANCE_DURATION_SECONDS).record(began.elapsed());
            Ok(effects)
        })
    }
}

impl MissionHook {
    /// The job that a mission is has ended, not by the mission's own end: somebody cancelled it, or it could not be run.
    async fn own_job_ended(&self, tx: &mut Transaction, job: &Job) -> Result<Effects, StoreError> {
        let Some(mut turn) = self.0.turn(tx, job.id).await? else { return Ok(Effects::default()) };
        if turn.mission.state.phase.is_final() {
            return Ok(Effects::default());
        }
        let event = if job.state == JobState::Cancelled { Event::Cancel } else { Event::Abort };
        turn.take(event, job.error.clone()).await?;
        turn.close(false).await
    }
}
