//! External workers: claiming, signs of life, results.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use paddock_platform::{
    identity::{Caller, Scope, Tenant},
    units::HumanDuration,
};
use serde_json::Value;
use tokio::sync::oneshot;

use super::look;
use crate::{
    Job, JobError, JobFailure, JobId, JobProgress, JobState,
    core::Core,
    dispatch::Poll,
    ledger::{EndStatus, Ending},
    pulse::{self, Sign, SignStatus},
    verdict::{Verdict, later},
    worker,
};

/// A worker's name for itself.
const WORKER_LENGTH_MAX: usize = 128;
const KINDS_MAX: usize = 32;
const JOBS_MAX: usize = 100;
const WAIT_MAX: Duration = Duration::from_mins(1);
const LEASE: (Duration, Duration) = (Duration::from_secs(5), Duration::from_hours(1));
const CLASS_LENGTH_MAX: usize = 64;
const PROGRESS_SIZE_MAX: usize = 16 << 10;

/// A worker asks for jobs.
#[derive(Clone, Debug)]
pub struct ClaimRequest {
    /// Its name for itself.
    pub worker: String,
    /// What it can do.
    pub kinds: Vec<String>,
    /// Where it looks; everywhere when empty.
    pub queues: Vec<String>,
    /// How many it takes at most, 1 to 100.
    pub max: usize,
    /// How long it waits for the first.
    pub wait: Duration,
    /// How long it is believed without a sign of life; the server's when left out.
    pub lease: Option<Duration>,
    /// Everybody's jobs, for those who administer.
    pub all_tenants: bool,
}

/// A sign of life of one attempt.
#[derive(Clone, Debug)]
pub struct Beat {
    /// Which job.
    pub id: JobId,
    /// Which attempt.
    pub attempt: u32,
    /// How much longer it is believed; the server's lease when left out.
    pub lease: Option<Duration>,
    /// How far it is, if that is new.
    pub progress: Option<JobProgress>,
}

/// What a worker has to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BeatStatus {
    /// Go on.
    Current,
    /// Stop: somebody asked for the end of the job.
    Cancel,
    /// Stop: the attempt is not the current one.
    Lost,
}

/// The answer to a sign of life.
#[derive(Clone, Debug)]
pub struct BeatAnswer {
    /// Which job.
    pub id: JobId,
    /// What to do.
    pub status: BeatStatus,
    /// Until when the attempt is believed in now.
    pub lease_until: Option<Timestamp>,
}

/// An attempt that ended well.
#[derive(Clone, Debug)]
pub struct Completion {
    /// Which job.
    pub id: JobId,
    /// Which attempt.
    pub attempt: u32,
    /// What it came to.
    pub result: Value,
}

/// An attempt that failed.
#[derive(Clone, Debug)]
pub struct Failure {
    /// Which job.
    pub id: JobId,
    /// Which attempt.
    pub attempt: u32,
    /// Why, and whether trying again may help.
    pub failure: JobFailure,
}

/// What became of an attempt that a worker ended.
#[derive(Clone, Debug)]
pub struct Settled {
    /// Which job.
    pub id: JobId,
    /// The state that the job came into; `None`: the attempt is not the current one, and nothing was changed.
    pub state: Option<JobState>,
    /// When it is tried again, if it is.
    pub run_at: Option<Timestamp>,
}

/// Whose jobs a caller may work on: everybody's, for those who administer.
fn tenants(caller: &Caller) -> Option<&Tenant> {
    (!caller.may(Scope::admin("jobs"))).then(|| caller.tenant())
}

pub(super) async fn claim(
    core: &Arc<Core>,
    caller: &Caller,
    request: ClaimRequest,
) -> Result<Vec<Arc<Job>>, JobError> {
    let lease = check(core, caller, &request)?;
    let (answer, answered) = oneshot::channel();
    core.supply.poll(Poll {
        worker: request.worker,
        pools: request.kinds.iter().map(|kind| kind.as_str().into()).collect(),
        queues: request.queues.iter().map(|queue| queue.as_str().into()).collect(),
        tenant: (!request.all_tenants).then(|| caller.tenant().clone()),
        max: request.max,
        lease,
        answer,
    })?;
    // One round of the dispatcher belongs to every request; only what comes later is waited for.
    let wait = request.wait.clamp(ROUND_WAIT, WAIT_MAX);
    tokio::select! {
        biased;
        jobs = answered => Ok(jobs.unwrap_or_default()),
        () = tokio::time::sleep(wait) => Ok(Vec::new()),
        () = core.closing.cancelled() => Ok(Vec::new()),
    }
}

/// How long a request that does not want to wait gives the dispatcher to look.
const ROUND_WAIT: Duration = Duration::from_millis(250);

fn check(core: &Core, caller: &Caller, request: &ClaimRequest) -> Result<Duration, JobError> {
    if !(1..=WORKER_LENGTH_MAX).contains(&request.worker.len()) {
        return Err(JobError::invalid("worker", format!("must have 1 to {WORKER_LENGTH_MAX} bytes")));
    }
    if !(1..=KINDS_MAX).contains(&request.kinds.len()) {
        return Err(JobError::invalid("kinds", format!("takes 1 to {KINDS_MAX}")));
    }
    if request.kinds.iter().any(|kind| kind.is_empty() || kind.contains(':')) {
        return Err(JobError::invalid("kinds", "are names such as `resize`"));
    }
    for queue in &request.queues {
        core.policy().named(Some(queue))?;
    }
    if !(1..=JOBS_MAX).contains(&request.max) {
        return Err(JobError::invalid("max", format!("must be 1 to {JOBS_MAX}")));
    }
    if request.wait > WAIT_MAX {
        return Err(JobError::invalid("wait", format!("must be 0 to {} seconds", WAIT_MAX.as_secs())));
    }
    if request.all_tenants {
        caller.require(Scope::admin("jobs")).map_err(JobError::Refused)?;
    }
    lease_of(core, request.lease)
}

fn lease_of(core: &Core, lease: Option<Duration>) -> Result<Duration, JobError> {
    let Some(lease) = lease else { return Ok(core.policy().options.lease.get()) };
    if !(LEASE.0..=LEASE.1).contains(&lease) {
        let (min, max) = (HumanDuration::from(LEASE.0), HumanDuration::from(LEASE.1));
        return Err(JobError::invalid("lease", format!("must be {min} to {max}")));
    }
    Ok(lease)
}

/// The job of an attempt that an external worker has or had; `None` if it is not the current one.
async fn attempt(core: &Core, caller: &Caller, id: JobId, number: u32) -> Result<Option<Arc<Job>>, JobError> {
    let own = |job: &Arc<Job>| tenants(caller).is_none_or(|tenant| *tenant == job.tenant);
    if let Some(job) = core.outstanding.get(id.key(), number).filter(|job| job.id == id).filter(own) {
        return Ok(Some(job));
    }
    let found = match tenants(caller) {
        Some(tenant) => look::get(core, tenant, id).await,
        None => look::get_of_anybody(core, id).await,
    };
    match found {
        Ok(job) if job.attempt == number && job.external => Ok(Some(Arc::new(job))),
        Ok(_) | Err(JobError::NotFound(_) | JobError::Expired(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

pub(super) async fn heartbeat(
    core: &Arc<Core>,
    caller: &Caller,
    beats: Vec<Beat>,
) -> Result<Vec<BeatAnswer>, JobError> {
    check_count(core, beats.len())?;
    let mut answers = Vec::with_capacity(beats.len());
    let mut signs = Vec::with_capacity(beats.len());
    let now = core.now();
    for beat in beats {
        let lease = lease_of(core, beat.lease)?;
        let lost = BeatAnswer { id: beat.id, status: BeatStatus::Lost, lease_until: None };
        answers.push(lost);
        let Some(job) = attempt(core, caller, beat.id, beat.attempt).await? else { continue };
        if job.state != JobState::Running {
            continue;
        }
        let progress = beat.progress.map(JobProgress::bounded);
        let size =
            progress.as_ref().and_then(|progress| progress.data.as_ref()).map(|data| data.to_string().len());
        if size.is_some_and(|size| size > PROGRESS_SIZE_MAX) {
            return Err(JobError::invalid("progress.data", format!("is over {PROGRESS_SIZE_MAX} bytes")));
        }
        let lease_until = later(now, lease).min(deadline(core, &job));
        signs.push((answers.len() - 1, Sign { job, lease_until, progress }));
    }
    let places: Vec<(usize, Timestamp)> =
        signs.iter().map(|(index, sign)| (*index, sign.lease_until)).collect();
    let statuses = pulse::write(core, signs.into_iter().map(|(_, sign)| sign).collect()).await?;
    for ((index, lease_until), status) in places.into_iter().zip(statuses) {
        answers[index].status = match status {
            SignStatus::Current => BeatStatus::Current,
            SignStatus::Cancelling => BeatStatus::Cancel,
            SignStatus::Lost => continue,
        };
        answers[index].lease_until = Some(lease_until);
    }
    Ok(answers)
}

/// When the time for the current attempt is over.
pub(crate) fn deadline(core: &Core, job: &Job) -> Timestamp {
    let timeout = job.timeout(&core.policy().of(&job.queue).options);
    job.started_at.map_or(Timestamp::MAX, |started| later(started, timeout))
}

fn check_count(core: &Core, count: usize) -> Result<(), JobError> {
    let count_max = core.policy().options.batch_max;
    if (1..=count_max).contains(&count) {
        return Ok(());
    }
    Err(JobError::invalid("jobs", format!("takes 1 to {count_max}")))
}

pub(super) async fn complete(
    core: &Arc<Core>,
    caller: &Caller,
    completions: Vec<Completion>,
) -> Result<Vec<Settled>, JobError> {
    check_count(core, completions.len())?;
    let mut endings = Vec::with_capacity(completions.len());
    for Completion { id, attempt: number, result } in completions {
        let job = attempt(core, caller, id, number).await?;
        let ending = match job {
            Some(job) if job.state == JobState::Running => {
                let queue = Arc::clone(core.policy().of(&job.queue));
                Ok(worker::succeeded(core, &queue, job, &result).await)
            }
            // Sent again: the answer to the first was lost on the way.
            Some(job) if job.state == JobState::Succeeded => {
                Err(Settled { id, state: Some(job.state), run_at: None })
            }
            _ => Err(Settled { id, state: None, run_at: None }),
        };
        endings.push((id, ending));
    }
    settle(core, endings).await
}

pub(super) async fn fail(
    core: &Arc<Core>,
    caller: &Caller,
    failures: Vec<Failure>,
) -> Result<Vec<Settled>, JobError> {
    check_count(core, failures.len())?;
    let mut endings = Vec::with_capacity(failures.len());
    for Failure { id, attempt: number, failure } in failures {
        let class = &failure.fault.class;
        if !(1..=CLASS_LENGTH_MAX).contains(&class.len()) {
            return Err(JobError::invalid("class", format!("must have 1 to {CLASS_LENGTH_MAX} bytes")));
        }
        let job = attempt(core, caller, id, number).await?;
        let job = job.filter(|job| job.state == JobState::Running);
        endings.push((
            id,
            match job {
                Some(job) => {
                    let queue = Arc::clone(core.policy().of(&job.queue));
                    Ok(worker::failed(core, &queue, job, failure))
                }
                None => Err(Settled { id, state: None, run_at: None }),
            },
        ));
    }
    settle(core, endings).await
}

/// Writes what is to be written, all of it at the same time.
async fn settle(
    core: &Arc<Core>,
    endings: Vec<(JobId, Result<Ending, Settled>)>,
) -> Result<Vec<Settled>, JobError> {
    let settle = endings.into_iter().map(|(id, ending)| async move {
        let ending = match ending {
            Ok(ending) => ending,
            Err(settled) => return Ok(settled),
        };
        let again_at = match &ending.verdict {
            Verdict::Again { run_at, .. } => Some(*run_at),
            Verdict::Finish { .. } => None,
        };
        let job = Arc::clone(&ending.job);
        Ok(match core.ledger.end_and_tell(ending).await? {
            EndStatus::Lost => Settled { id, state: ended_before(core, &job).await?, run_at: None },
            EndStatus::Ended(state) => {
                Settled { id, state: Some(state), run_at: again_at.filter(|_| !state.is_final()) }
            }
        })
    });
    futures_util::future::try_join_all(settle).await
}

/// Whether this very attempt had ended the job already: the first answer of the store was lost on the way.
async fn ended_before(core: &Core, attempt: &Job) -> Result<Option<JobState>, JobError> {
    match look::get(core, &attempt.tenant, attempt.id).await {
        Ok(job) if job.attempt == attempt.attempt && job.state == JobState::Succeeded => Ok(Some(job.state)),
        Ok(_) | Err(JobError::Expired(_)) => Ok(None),
        Err(error) => Err(error),
    }
}
