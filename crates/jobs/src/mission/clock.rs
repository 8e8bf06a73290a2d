//! Deadlines of missions and of decisions, and the end of what is kept.

use std::time::Duration;

use jiff::Timestamp;
use metrics::gauge;
use paddock_platform::{store::StoreError, task::Tasks};

use super::{Missions, Phase, metrics::MISSIONS_ACTIVE, service::tick, store::sql};

/// How often the store is asked what is due. One seek in an index; also what makes jumps of the clock harmless.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// How often what is kept no longer is looked for, in looks.
const SWEEP_EVERY: u32 = 60;

pub(super) fn spawn(missions: &Missions, tasks: &Tasks) {
    let missions = missions.clone();
    let stopping = tasks.stop_token();
    tasks.spawn("missions-clock", async move {
        let mut looks = 0_u32;
        let mut interval = tokio::time::interval(LOOK_INTERVAL);
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = interval.tick() => {}
                () = stopping.cancelled() => return,
            }
            if let Err(error) = look(&missions, Timestamp::now()).await {
                tracing::warn!(%error, "deadlines of missions could not be looked at; they will be");
            }
            if looks.is_multiple_of(SWEEP_EVERY)
                && let Err(error) = sweep(&missions, Timestamp::now()).await
            {
                tracing::warn!(%error, "missions that are kept no longer could not be removed; they will be");
            }
            looks = looks.wrapping_add(1);
        }
    });
}

/// Looks at every mission that is due.
pub(crate) async fn look(missions: &Missions, now: Timestamp) -> Result<(), StoreError> {
    for id in sql::due_missions(missions.store(), now).await? {
        tick(missions, id, now).await?;
    }
    Ok(())
}

/// Removes what is kept no longer, and counts what is active.
pub(crate) async fn sweep(missions: &Missions, now: Timestamp) -> Result<(), StoreError> {
    for id in sql::expired_missions(missions.store(), now).await? {
        missions.store().write(move |tx| Box::pin(async move { sql::delete_mission(tx, id).await })).await?;
    }
    let counts = sql::count_by_phase(missions.store()).await?;
    for phase in Phase::ALL.into_iter().filter(|phase| !phase.is_final()) {
        let count = counts.iter().find(|(name, _)| name == phase.name()).map_or(0, |(_, count)| *count);
        gauge!(MISSIONS_ACTIVE, "phase" => phase.name()).set(count as f64);
    }
    Ok(())
}
