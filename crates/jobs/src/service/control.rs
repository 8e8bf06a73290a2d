//! Steering jobs and queues.

use std::sync::Arc;

use jiff::Timestamp;
use paddock_platform::{
    identity::Tenant,
    params,
    store::{Row, StoreError, Transaction},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Ended, JobFilter, look};
use crate::{
    Finish, Job, JobError, JobId, JobState,
    core::Core,
    dispatch::Lane,
    ledger::{Told, finish_idle},
    running::Stop,
    store::{row, sql, state},
    sweep,
    verdict::Verdict,
};

pub use crate::policy::QueueMode;

/// Jobs that one step of a bulk operation takes.
const STEP: u32 = 500;
/// How often a job that moves on under our hands is looked at again.
const TRIES_MAX: usize = 5;

/// A queue, and what is in it.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema, ToSchema)]
pub struct QueueStatus {
    /// Its name.
    pub name: String,
    /// Its share of the places, beside those of the other queues.
    pub weight: u32,
    /// Whether jobs go in and out.
    pub mode: QueueMode,
    /// Ready jobs.
    pub queued: u64,
    /// Jobs that become ready later.
    pub scheduled: u64,
    /// Jobs that run.
    pub running: u64,
    /// Jobs that wait for others, or for an approval.
    pub waiting: u64,
    /// Jobs that were tried as often as they may.
    pub dead: u64,
    /// How long the oldest ready job has waited.
    pub oldest_ready_seconds: f64,
    /// How many may wait.
    pub depth_max: u64,
    /// How many run at once, on all servers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concurrency_max: Option<u64>,
    /// When a job counts as accepted: `fsync`, `os`, `memory`.
    pub durability: String,
}

/// Which jobs a redrive means.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Selection {
    /// These, 1,000 at most; all that fit the rest when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ids: Option<Vec<JobId>>,
    /// Of this queue.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue: Option<String>,
    /// Of this tool or kind.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// With an error of this class.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class: Option<String>,
    /// In these states, of `dead`, `failed` and `cancelled`; dead ones when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub states: Option<Vec<JobState>>,
}

impl Selection {
    fn states(&self) -> Result<Vec<JobState>, JobError> {
        let states = self.states.clone().unwrap_or_else(|| vec![JobState::Dead]);
        let fits = |state: &JobState| state.is_final() && *state != JobState::Succeeded;
        if states.is_empty() || !states.iter().all(fits) {
            return Err(JobError::invalid("states", "takes `dead`, `failed` and `cancelled`"));
        }
        Ok(states)
    }

    fn fits(&self, job: &Job) -> bool {
        self.queue.as_deref().is_none_or(|queue| queue == &*job.queue)
            && self.kind.as_deref().is_none_or(|kind| kind == &*job.kind)
            && self
                .class
                .as_deref()
                .is_none_or(|class| job.error.as_ref().is_some_and(|error| error.class == class))
    }
}

/// What a redrive did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
pub struct Redriven {
    /// Jobs that the selection fits.
    pub matched: u64,
    /// Jobs that are back in their queues.
    pub redriven: u64,
}

/// The state and the count of changes that a statement returned.
fn changed(row: &Row) -> Result<(JobState, u64), StoreError> {
    let state = state(row.get(1_usize)?);
    let state = state.ok_or_else(|| StoreError::Corrupt("a job's state cannot be read".to_owned()))?;
    Ok((state, row.get(2_usize)?))
}

pub(super) async fn cancel(core: &Arc<Core>, tenant: &Tenant, id: JobId) -> Result<Job, JobError> {
    for _ in 0..TRIES_MAX {
        let job = look::get(core, tenant, id).await?;
        if job.state.is_final() {
            return Err(JobError::State { id, state: job.state, verb: "cancelled" });
        }
        let ended = if job.state == JobState::Running {
            ask_to_cancel(core, &job).await?
        } else {
            end_idle(core, &job, Verdict::cancelled()).await?
        };
        if let Some(job) = ended {
            return Ok(job);
        }
    }
    Err(StoreError::Conflict("the job moves on faster than it can be cancelled".to_owned()).into())
}

/// Tells a running attempt to end, wherever it runs. `None`: it runs no more.
async fn ask_to_cancel(core: &Arc<Core>, job: &Job) -> Result<Option<Job>, JobError> {
    let (asker, asked) = (Arc::clone(core), job.clone());
    let row = core
        .store
        .write(move |tx| {
            Box::pin(async move {
                let row = tx.query_first(&sql::ASK_TO_CANCEL, params![asked.id.key()]).await?;
                let mut told = Told::default();
                told.changed(Arc::new(asked), JobState::Running, 0);
                told.notify(tx, &asker).await?;
                Ok(row)
            })
        })
        .await?;
    let Some(row) = row else { return Ok(None) };
    let (_, changes) = changed(&row)?;
    core.running.stop(job.id.key(), Some(job.attempt), Stop::Cancelled);
    Ok(Some(Job { cancelling: true, changes, ..job.clone() }))
}

/// Ends a job that does not run. `None`: it has moved on.
async fn end_idle(core: &Arc<Core>, job: &Job, verdict: Verdict) -> Result<Option<Job>, StoreError> {
    let (writer, idle) = (Arc::clone(core), job.clone());
    let ended = core
        .store
        .write(move |tx| Box::pin(async move { finish_idle(tx, &writer, &idle, verdict).await }))
        .await?;
    let Some(ended) = ended else { return Ok(None) };
    if matches!(job.state, JobState::Queued | JobState::Scheduled) {
        core.policy().of(&job.queue).live.add(-1);
    }
    announce_end(core, &ended);
    Ok(Some(ended.job().clone()))
}

pub(super) async fn retry(core: &Arc<Core>, tenant: &Tenant, id: JobId) -> Result<Job, JobError> {
    let job = look::get(core, tenant, id).await?;
    let may = job.state.is_final() && job.state != JobState::Succeeded;
    if !may || !again(core, vec![job.clone()]).await?.contains(&id) {
        let state = if may { look::get(core, tenant, id).await?.state } else { job.state };
        return Err(JobError::State { id, state, verb: "retried" });
    }
    look::get(core, tenant, id).await
}

/// Puts jobs back into their queues; those that let themselves be.
async fn again(core: &Arc<Core>, jobs: Vec<Job>) -> Result<Vec<JobId>, JobError> {
    let (writer, all) = (Arc::clone(core), jobs.clone());
    let rows: Vec<Option<(JobState, u64)>> = core
        .store
        .write(move |tx| {
            Box::pin(async move {
                let now = writer.now();
                let mut done = Vec::with_capacity(all.len());
                let mut told = Told::default();
                for job in &all {
                    let outcome = if job.state == JobState::Cancelled { "cancelled" } else { "failed" };
                    let params = params![job.id.key(), job.attempt, now, outcome];
                    let row = tx.query_first(&sql::REDRIVE, params).await?;
                    if row.is_some() {
                        told.ready(Lane::of(job));
                    }
                    done.push(row.as_ref().map(changed).transpose()?);
                }
                told.notify(tx, &writer).await?;
                Ok(done)
            })
        })
        .await?;
    let mut told = Told::default();
    let mut ids = Vec::new();
    for (job, row) in jobs.into_iter().zip(rows) {
        let Some((state, changes)) = row else { continue };
        core.policy().of(&job.queue).live.add(1);
        told.ready(Lane::of(&job));
        ids.push(job.id);
        told.changed(Arc::new(job), state, changes);
    }
    told.tell(core);
    Ok(ids)
}

pub(super) async fn redrive(
    core: &Arc<Core>,
    tenant: &Tenant,
    selection: &Selection,
    dry_run: bool,
) -> Result<Redriven, JobError> {
    let states = selection.states()?;
    let mut done = Redriven::default();
    if let Some(ids) = &selection.ids {
        let ids_max = core.policy().options.batch_max;
        if ids.is_empty() || ids.len() > ids_max {
            return Err(JobError::invalid("ids", format!("takes 1 to {ids_max}")));
        }
        let mut jobs = Vec::with_capacity(ids.len());
        for id in ids {
            let job = look::get(core, tenant, *id).await?;
            if states.contains(&job.state) && selection.fits(&job) {
                jobs.push(job);
            }
        }
        redrive_step(core, jobs, dry_run, &mut done).await?;
        return Ok(done);
    }
    for state in states {
        let (queue, kind) = (selection.queue.clone(), selection.kind.clone());
        let filter = JobFilter { state: Some(state), queue, kind };
        let mut after = None;
        loop {
            let jobs = look::list(core, tenant, &filter, after, STEP).await?;
            let Some(last) = jobs.last() else { break };
            after = Some(last.id);
            let jobs = jobs.into_iter().filter(|job| selection.fits(job)).collect();
            redrive_step(core, jobs, dry_run, &mut done).await?;
        }
    }
    Ok(done)
}

async fn redrive_step(
    core: &Arc<Core>,
    jobs: Vec<Job>,
    dry_run: bool,
    done: &mut Redriven,
) -> Result<(), JobError> {
    done.matched += jobs.len() as u64;
    if !dry_run && !jobs.is_empty() {
        done.redriven += again(core, jobs).await?.len() as u64;
    }
    Ok(())
}

pub(super) async fn resume_in(
    core: &Core,
    tx: &mut Transaction,
    tenant: &Tenant,
    id: JobId,
) -> Result<bool, StoreError> {
    let Some(key) = core.ids.key_of(tenant, id) else { return Ok(false) };
    let Some(row) = tx.query_first(&sql::FIND_LOCKED, params![key, tenant]).await? else { return Ok(false) };
    let job = row::job(&row, &core.ids)?;
    if tx.query_first(&sql::RESUME, params![key, job.attempt, core.now()]).await?.is_none() {
        return Ok(false);
    }
    let mut told = Told::default();
    told.ready(Lane::of(&job));
    told.notify(tx, core).await?;
    Ok(true)
}

pub(super) fn announce_job(core: &Arc<Core>, tenant: &Tenant, id: JobId) {
    // What lane it is in says the store; asked for once, not per lane.
    core.supply.look();
    core.tell(|| crate::JobEvent {
        id,
        tenant: tenant.clone(),
        queue: "".into(),
        kind: "".into(),
        sequence: 0,
        at: Timestamp::now(),
        attempt: 0,
        parent: None,
        what: crate::EventKind::Changed,
    });
}

pub(super) async fn finish_in(
    core: &Core,
    tx: &mut Transaction,
    tenant: &Tenant,
    id: JobId,
    outcome: Finish,
) -> Result<Option<Ended>, StoreError> {
    let Some(key) = core.ids.key_of(tenant, id) else { return Ok(None) };
    let Some(row) = tx.query_first(&sql::FIND_LOCKED, params![key, tenant]).await? else { return Ok(None) };
    let job = row::job(&row, &core.ids)?;
    if job.state != JobState::Waiting {
        return Ok(None);
    }
    let verdict = match outcome {
        Finish::Succeeded(result) => Verdict::succeeded(Some((&result).into()), None),
        Finish::Failed(fault) => {
            Verdict::Finish { state: JobState::Failed, result: None, result_size: None, error: Some(fault) }
        }
        Finish::Cancelled => Verdict::cancelled(),
    };
    finish_idle(tx, core, &job, verdict).await
}

pub(super) fn announce_end(core: &Core, ended: &Ended) {
    let mut told = Told::default();
    told.end(ended);
    told.tell(core);
}

pub(crate) async fn queues(core: &Core, tenant: Option<&Tenant>) -> Result<Vec<QueueStatus>, JobError> {
    let whose = tenant.map_or("", Tenant::as_str);
    let mut counts = std::collections::HashMap::new();
    for row in core.store.query(&sql::COUNT, params![whose]).await? {
        let state = state(row.get(1_usize)?).unwrap_or(JobState::Queued);
        *counts.entry((row.get::<String>(0_usize)?, state)).or_insert(0) += row.get::<u64>(2_usize)?;
    }
    let policy = Arc::clone(&core.policy());
    let mut queues = Vec::with_capacity(policy.queues.len());
    for queue in policy.queues.values() {
        let count = |state| counts.get(&(queue.name.to_string(), state)).copied().unwrap_or(0);
        let oldest = sweep::oldest(core, &queue.name).await?.unwrap_or_default();
        queues.push(QueueStatus {
            name: queue.name.to_string(),
            weight: queue.weight,
            mode: core.mode(&queue.name),
            queued: count(JobState::Queued),
            scheduled: count(JobState::Scheduled),
            running: count(JobState::Running),
            waiting: count(JobState::Waiting),
            dead: count(JobState::Dead),
            oldest_ready_seconds: oldest.as_secs_f64(),
            depth_max: queue.options.depth_max,
            concurrency_max: queue.options.concurrency_max,
            durability: queue.options.durability.name().to_owned(),
        });
    }
    queues.sort_by(|a, b| (b.weight, &a.name).cmp(&(a.weight, &b.name)));
    Ok(queues)
}

pub(super) async fn set_mode(core: &Arc<Core>, queue: &str, mode: QueueMode) -> Result<(), JobError> {
    let name = core.policy().named(Some(queue))?.name.to_string();
    let writer = Arc::clone(core);
    core.store
        .write(move |tx| {
            Box::pin(async move {
                tx.execute(&sql::SET_MODE, params![name, mode.name()]).await?;
                let mut told = Told::default();
                told.modes_changed();
                told.notify(tx, &writer).await
            })
        })
        .await?;
    Ok(core.read_modes().await?)
}

pub(super) async fn purge(
    core: &Arc<Core>,
    tenant: &Tenant,
    queue: &str,
    dry_run: bool,
) -> Result<u64, JobError> {
    let queue = core.policy().named(Some(queue))?.name.to_string();
    let mut matched = 0;
    for state in [JobState::Queued, JobState::Scheduled] {
        let filter = JobFilter { state: Some(state), queue: Some(queue.clone()), kind: None };
        let mut after = None;
        loop {
            let jobs = look::list(core, tenant, &filter, after, STEP).await?;
            let Some(last) = jobs.last() else { break };
            after = Some(last.id);
            if dry_run {
                matched += jobs.len() as u64;
                continue;
            }
            for job in &jobs {
                if end_idle(core, job, Verdict::cancelled()).await?.is_some() {
                    matched += 1;
                }
            }
        }
    }
    Ok(matched)
}
