//! Keeps the leases of what this server runs, and passes its progress on.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use paddock_platform::{
    params,
    store::{Durability, Params, StoreError},
};

use crate::{EventKind, Job, JobEvent, JobProgress, core::Core, running::Stop, store::sql, verdict::later};

/// How often progress is looked for; what a tool reports in between is not told.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(500);

/// A sign of life of one attempt.
pub(crate) struct Sign {
    pub(crate) job: Arc<Job>,
    pub(crate) lease_until: Timestamp,
    pub(crate) progress: Option<JobProgress>,
}

/// What a sign of life was answered with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SignStatus {
    /// The attempt is the current one.
    Current,
    /// It is, and somebody asked for its end.
    Cancelling,
    /// It is not.
    Lost,
}

/// Writes signs of life; no sync is waited for.
pub(crate) async fn write(core: &Core, mut signs: Vec<Sign>) -> Result<Vec<SignStatus>, StoreError> {
    if signs.is_empty() {
        return Ok(Vec::new());
    }
    // Two transactions that touch the same jobs lock them in the same order.
    let mut order: Vec<usize> = (0..signs.len()).collect();
    order.sort_unstable_by_key(|index| signs[*index].job.id);
    let rows: Vec<Params> = order.iter().map(|index| params_of(&signs[*index])).collect();
    let returned = core
        .store
        .write_with(Durability::Os, move |tx| {
            Box::pin(async move { tx.query_each(&sql::BEAT_EACH, &rows).await })
        })
        .await?;
    let mut answers: HashMap<i64, (bool, u64)> = HashMap::with_capacity(returned.len());
    for row in &returned {
        answers.insert(row.get(0_usize)?, (row.get(1_usize)?, row.get(2_usize)?));
    }
    let mut statuses = Vec::with_capacity(signs.len());
    for Sign { job, progress, .. } in signs.drain(..) {
        let Some((cancelling, changes)) = answers.get(&job.id.key()).copied() else {
            statuses.push(SignStatus::Lost);
            continue;
        };
        statuses.push(if cancelling { SignStatus::Cancelling } else { SignStatus::Current });
        if let Some(progress) = progress {
            core.tell(|| JobEvent {
                id: job.id,
                tenant: job.tenant.clone(),
                queue: Arc::clone(&job.queue),
                kind: Arc::clone(&job.kind),
                sequence: changes,
                at: Timestamp::now(),
                attempt: job.attempt,
                parent: job.parent.as_deref().map(Into::into),
                what: EventKind::Progress(Arc::new(progress)),
            });
        }
    }
    Ok(statuses)
}

fn params_of(sign: &Sign) -> Params {
    let progress = sign.progress.as_ref().map(|progress| serde_json::to_string(progress).unwrap_or_default());
    let news = i64::from(progress.is_some());
    params![sign.job.id.key(), sign.job.attempt, sign.lease_until, progress, news]
}

/// Sends signs of life of what this server runs.
pub(crate) fn spawn(core: &Arc<Core>) {
    let (core, tasks) = (Arc::clone(core), core.tasks.clone());
    let stopping = tasks.stop_token();
    tasks.spawn("jobs-pulse", async move {
        let _ = stopping.run_until_cancelled(beat(&core)).await;
    });
}

async fn beat(core: &Arc<Core>) {
    let mut interval = tokio::time::interval(PROGRESS_INTERVAL);
    let mut renewed = Instant::now();
    loop {
        let asked = tokio::select! {
            _ = interval.tick() => false,
            () = core.beat_now.notified() => true,
        };
        let lease = core.policy().options.lease.get();
        let all = asked || renewed.elapsed() >= lease / 3;
        let beats = core.running.pulse(all);
        if beats.is_empty() {
            continue;
        }
        let lease_until = later(core.now(), lease);
        let jobs: Vec<Arc<Job>> = beats.iter().map(|(job, _)| Arc::clone(job)).collect();
        let sign = |(job, progress)| Sign { job, lease_until, progress };
        match write(core, beats.into_iter().map(sign).collect()).await {
            Ok(statuses) => {
                if all {
                    renewed = Instant::now();
                }
                for (job, status) in jobs.iter().zip(statuses) {
                    let why = match status {
                        SignStatus::Current => continue,
                        SignStatus::Cancelling => Stop::Cancelled,
                        SignStatus::Lost => Stop::LeaseLost,
                    };
                    core.running.stop(job.id.key(), Some(job.attempt), why);
                }
            }
            Err(error) => {
                tracing::warn!(%error, "the leases of running jobs cannot be renewed; trying again");
            }
        }
    }
}
