//! Accepting jobs: what is checked, and what is kept.

use std::{collections::HashMap, sync::Arc, time::Instant};

use jiff::Timestamp;
use metrics::histogram;
use paddock_platform::{
    identity::Caller,
    identity::Tenant,
    problem::Problem,
    store::{StoreError, Transaction},
};

use super::look;
use crate::{
    Durability, EventKind, Job, JobError, JobEvent, JobId, JobState, NewJob, Payload, RetryPolicy, Target,
    core::Core,
    dispatch::{Lane, pool_of},
    id::Ids,
    ledger::{self, Inserted},
    metrics::JOBS_ACCEPT_DURATION_SECONDS,
    new_job::Terms,
    policy::{Queue, QueueMode},
    trace::request_trace,
};

/// Longest key that a caller gives.
const KEY_LENGTH_MAX: usize = 255;
const KIND_LENGTH_MAX: usize = 64;
const ATTEMPTS_MAX: u32 = 100;
const WAITS_MAX: usize = 100;
const CLASSES_MAX: usize = 32;
const WEBHOOK_LENGTH_MAX: usize = 2_048;

/// A job that was checked and has its id, and is not kept yet. Cheap to clone.
#[derive(Clone, Debug)]
pub struct PreparedJob(Arc<Prepared>);

#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) id: JobId,
    pub(crate) tenant: Tenant,
    pub(crate) queue: Arc<Queue>,
    pub(crate) kind: Arc<str>,
    pub(crate) external: bool,
    pub(crate) state: JobState,
    pub(crate) priority: i8,
    pub(crate) run_at: Timestamp,
    pub(crate) unique_key: Option<String>,
    pub(crate) concurrency_key: Option<String>,
    pub(crate) parent: Option<String>,
    pub(crate) key_id: Option<String>,
    pub(crate) input: Payload,
    pub(crate) terms: Terms,
    pub(crate) terms_text: Option<String>,
    /// For the id of the job that is there already.
    pub(crate) ids: Arc<Ids>,
}

impl Prepared {
    /// Who can run it.
    pub(crate) fn pool(&self) -> &str {
        pool_of(&self.kind, self.external)
    }
}

impl PreparedJob {
    /// Its id.
    pub fn id(&self) -> JobId {
        self.0.id
    }

    pub(crate) fn get(&self) -> &Prepared {
        &self.0
    }

    pub(crate) fn tenant(&self) -> &Tenant {
        &self.0.tenant
    }

    pub(crate) fn unique_key(&self) -> Option<&str> {
        self.0.unique_key.as_deref()
    }

    /// Whether a job that is there is what this one asks for.
    pub(crate) fn asks_for(&self, known: &Job) -> bool {
        let new = &self.0;
        known.kind == new.kind && known.external == new.external && known.input == new.input
    }

    pub(crate) fn durability(&self) -> Durability {
        self.0.queue.options.durability
    }

    pub(crate) fn stands_in(&self, lane: &Lane) -> bool {
        lane.queue == self.0.queue.name && *lane.pool == *self.0.pool() && lane.tenant == self.0.tenant
    }

    pub(crate) fn lane(&self) -> Lane {
        let pool = self.0.pool().into();
        Lane { queue: Arc::clone(&self.0.queue.name), pool, tenant: self.0.tenant.clone() }
    }

    pub(crate) fn event(&self) -> JobEvent {
        JobEvent {
            id: self.0.id,
            tenant: self.0.tenant.clone(),
            queue: Arc::clone(&self.0.queue.name),
            kind: Arc::clone(&self.0.kind),
            sequence: 1,
            at: self.0.id.created_at(),
            attempt: 0,
            parent: self.0.parent.as_deref().map(Into::into),
            what: EventKind::State(self.0.state),
        }
    }

    /// The job as it is when it has just been accepted.
    pub fn job(&self) -> Job {
        let new = &self.0;
        Job {
            id: new.id,
            tenant: new.tenant.clone(),
            queue: Arc::clone(&new.queue.name),
            kind: Arc::clone(&new.kind),
            external: new.external,
            state: new.state,
            priority: new.priority,
            run_at: new.run_at,
            started_at: None,
            finished_at: None,
            expires_at: None,
            attempt: 0,
            spared: 0,
            worker: None,
            lease_until: None,
            cancelling: false,
            changes: 1,
            unique_key: new.unique_key.clone(),
            concurrency_key: new.concurrency_key.clone(),
            parent: new.parent.clone(),
            key_id: new.key_id.clone(),
            input: new.input.clone(),
            terms: new.terms.clone(),
            progress: None,
            result: None,
            result_size: None,
            error: None,
            past_attempts: Vec::new(),
        }
    }
}

/// A job that is kept.
#[derive(Clone, Debug)]
pub struct Accepted {
    /// Its id.
    pub id: JobId,
    /// Whether it was there already, under the same unique key.
    pub existed: bool,
    job: Known,
}

#[derive(Clone, Debug)]
enum Known {
    New(PreparedJob),
    Old(Box<Job>),
    /// Within a transaction nothing is read of it.
    Named,
}

impl Accepted {
    /// The job: as it was accepted, or as it is if it existed; `None` for one that existed and was met in a transaction.
    pub fn job(&self) -> Option<Job> {
        match &self.job {
            Known::New(prepared) => Some(prepared.job()),
            Known::Old(job) => Some((**job).clone()),
            Known::Named => None,
        }
    }
}

pub(super) fn prepare_all(
    core: &Core,
    caller: &Caller,
    jobs: Vec<NewJob>,
) -> Result<Vec<PreparedJob>, JobError> {
    let batch_max = core.policy().options.batch_max;
    let count = jobs.len();
    if count == 0 || count > batch_max {
        return Err(JobError::invalid("jobs", format!("takes 1 to {batch_max}, not {count}")));
    }
    let prepare = |(index, job)| {
        prepare(core, caller, job).map_err(|error| if count == 1 { error } else { within(index, error) })
    };
    jobs.into_iter().enumerate().map(prepare).collect()
}

/// Says which of a batch an error is about.
fn within(index: usize, error: JobError) -> JobError {
    match error {
        JobError::Invalid { field, reason } => JobError::invalid(format!("jobs[{index}].{field}"), reason),
        JobError::UnknownQueue { .. } => JobError::invalid(format!("jobs[{index}].queue"), error.to_string()),
        JobError::Refused(problem) => {
            let Problem { detail, extensions, .. } = &problem;
            let field = extensions.as_ref().and_then(|members| members.get("field")?.as_str());
            let field = field.map_or(String::new(), |field| format!(".{field}"));
            let detail = format!("jobs[{index}]: {detail}");
            JobError::Refused(
                Problem { detail, ..problem.clone() }.with("field", format!("jobs[{index}]{field}")),
            )
        }
        error => error,
    }
}

pub(super) fn prepare(core: &Core, caller: &Caller, job: NewJob) -> Result<PreparedJob, JobError> {
    let policy = core.policy();
    let queue = Arc::clone(policy.named(job.queue.as_deref())?);
    let (kind, external) = target(core, caller, &job)?;
    check_terms(&job)?;
    let input = Payload::from(&job.input);
    if input.len() as u64 > policy.options.input_max.get() {
        let reason =
            format!("has {} bytes; `jobs.input_max` allows {}", input.len(), policy.options.input_max);
        return Err(JobError::invalid("input", reason));
    }
    let id = core.ids.next(caller.tenant());
    let (now, created_at) = (core.now(), id.created_at());
    // An id is of this server's clock, which may be ahead of the one that decides.
    let later = job.run_at.filter(|at| *at > now);
    let state = match later {
        _ if job.waiting => JobState::Waiting,
        Some(_) => JobState::Scheduled,
        None => JobState::Queued,
    };
    let run_at = later.unwrap_or(created_at);
    let terms = Terms {
        timeout: job.timeout,
        retry: job.retry,
        retention: job.retention,
        webhook: job.webhook,
        trace: job.trace.or_else(request_trace),
    };
    let terms_text = (terms != Terms::default()).then(|| serde_json::to_string(&terms).unwrap_or_default());
    Ok(PreparedJob(Arc::new(Prepared {
        id,
        tenant: caller.tenant().clone(),
        queue,
        kind: kind.into(),
        external,
        state,
        priority: job.priority,
        run_at,
        unique_key: job.unique_key,
        concurrency_key: job.concurrency_key,
        parent: job.parent,
        key_id: caller.key_id().map(str::to_owned),
        input,
        terms,
        terms_text,
        ids: Arc::clone(&core.ids),
    })))
}

/// What runs it, if that is there and the caller may ask for it: its name, and whether it is somebody else's.
fn target(core: &Core, caller: &Caller, job: &NewJob) -> Result<(String, bool), JobError> {
    match job.target() {
        Some(Target::Tool(name)) => {
            let toolbox = core.registry.toolbox();
            let toolbox = toolbox.ok_or(JobError::Overloaded("the server is starting"))?;
            toolbox.check(caller, name, &job.input).map_err(JobError::Refused)?;
            Ok((name.to_owned(), false))
        }
        // Compiled in: an area asks for it, and checked what it passes on.
        Some(Target::Kind(kind)) if core.registry.kind(kind).is_some() && kind.contains(':') => {
            Ok((kind.to_owned(), false))
        }
        Some(Target::Kind(kind)) => {
            let fits =
                |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-.".contains(&byte);
            if !(1..=KIND_LENGTH_MAX).contains(&kind.len()) || !kind.bytes().all(fits) {
                return Err(JobError::invalid("kind", "must be 1 to 64 of a-z, 0-9, `_`, `-` and `.`"));
            }
            if core.registry.toolbox().is_some_and(|toolbox| toolbox.scope_of(kind).is_some()) {
                return Err(JobError::invalid("kind", format!("`{kind}` is a tool; say `tool` instead")));
            }
            Ok((kind.to_owned(), true))
        }
        None => Err(JobError::invalid("tool", "name either a `tool` or a `kind`")),
    }
}

fn check_terms(job: &NewJob) -> Result<(), JobError> {
    if !(-100..=100).contains(&job.priority) {
        return Err(JobError::invalid("priority", "must be -100 to 100"));
    }
    for (field, key) in [("unique_key", &job.unique_key), ("concurrency_key", &job.concurrency_key)] {
        let fits = |key: &String| (1..=KEY_LENGTH_MAX).contains(&key.len()) && !key.contains('\0');
        if key.as_ref().is_some_and(|key| !fits(key)) {
            return Err(JobError::invalid(field, format!("must have 1 to {KEY_LENGTH_MAX} bytes")));
        }
    }
    if job.timeout.is_some_and(|timeout| timeout.get().is_zero()) {
        return Err(JobError::invalid("timeout", "must be longer than nothing"));
    }
    if job.webhook.as_ref().is_some_and(|webhook| webhook.len() > WEBHOOK_LENGTH_MAX) {
        return Err(JobError::invalid("webhook", format!("is longer than {WEBHOOK_LENGTH_MAX} bytes")));
    }
    job.retry.as_ref().map_or(Ok(()), check_policy)
}

fn check_policy(policy: &RetryPolicy) -> Result<(), JobError> {
    let counts = policy.classes.values().chain([&policy.attempts]);
    if counts.into_iter().any(|attempts| !(1..=ATTEMPTS_MAX).contains(attempts)) {
        return Err(JobError::invalid(
            "retry.attempts",
            format!("must be 1 to {ATTEMPTS_MAX}, for each class, too"),
        ));
    }
    if !(1.0..=10.0).contains(&policy.factor) {
        return Err(JobError::invalid("retry.factor", "must be 1 to 10"));
    }
    if !(0.0..=1.0).contains(&policy.jitter) {
        return Err(JobError::invalid("retry.jitter", "must be 0 to 1"));
    }
    if policy.waits.len() > WAITS_MAX || policy.classes.len() > CLASSES_MAX {
        let reason = format!("takes {WAITS_MAX} `waits` and {CLASSES_MAX} `classes` at most");
        return Err(JobError::invalid("retry", reason));
    }
    Ok(())
}

pub(super) async fn enqueue(core: &Core, jobs: Vec<PreparedJob>) -> Result<Vec<Accepted>, JobError> {
    let began = Instant::now();
    reserve(core, &jobs)?;
    let in_memory = |job: &PreparedJob| job.durability() == Durability::Memory && job.unique_key().is_none();
    if jobs.iter().all(in_memory) {
        core.ledger.insert_later(jobs.clone()).inspect_err(|_| release(&jobs))?;
        return Ok(jobs.into_iter().map(new).collect());
    }
    let inserted = match core.ledger.insert(jobs.clone()).await {
        Err(error @ JobError::Overloaded(_)) => {
            release(&jobs);
            return Err(error);
        }
        Err(JobError::Store(error)) if error.is_duplicate() => return Err(reused(core, &jobs, error).await),
        inserted => inserted?,
    };
    histogram!(JOBS_ACCEPT_DURATION_SECONDS).record(began.elapsed());
    let accepted = jobs.into_iter().zip(inserted).map(|(job, inserted)| match inserted {
        Inserted::New => new(job),
        Inserted::Known(known) => Accepted { id: known.id, existed: true, job: Known::Old(known) },
    });
    Ok(accepted.collect())
}

/// Which unique key names a job that was asked for differently.
async fn reused(core: &Core, jobs: &[PreparedJob], error: StoreError) -> JobError {
    for job in jobs {
        let Some(key) = job.unique_key() else { continue };
        match look::by_unique_key(core, job.tenant(), key).await {
            Ok(Some(known)) if !job.asks_for(&known) => {
                return JobError::UniqueKeyReused { key: key.to_owned(), id: known.id };
            }
            Ok(_) => {}
            Err(error) => return error.into(),
        }
    }
    error.into()
}

/// Makes room for all of them or none.
fn reserve(core: &Core, jobs: &[PreparedJob]) -> Result<(), JobError> {
    let mut queues: HashMap<&Arc<str>, (&Arc<Queue>, usize)> = HashMap::new();
    for job in jobs {
        queues.entry(&job.0.queue.name).or_insert((&job.0.queue, 0)).1 += 1;
    }
    if let Some(name) = queues.keys().find(|name| core.mode(name) == QueueMode::Draining) {
        return Err(JobError::Draining(name.to_string()));
    }
    let mut reserved: Vec<(&Arc<Queue>, usize)> = Vec::with_capacity(queues.len());
    for (queue, count) in queues.into_values() {
        if let Err(error) = queue.reserve(count) {
            for (queue, count) in reserved {
                queue.live.add(-i64::try_from(count).unwrap_or(0));
            }
            return Err(error);
        }
        reserved.push((queue, count));
    }
    Ok(())
}

fn release(jobs: &[PreparedJob]) {
    for job in jobs {
        job.0.queue.live.add(-1);
    }
}

fn new(job: PreparedJob) -> Accepted {
    Accepted { id: job.id(), existed: false, job: Known::New(job) }
}

pub(super) async fn enqueue_in(tx: &mut Transaction, job: &PreparedJob) -> Result<Accepted, StoreError> {
    Ok(match ledger::insert_in(tx, job).await? {
        None => new(job.clone()),
        Some(id) => Accepted { id, existed: true, job: Known::Named },
    })
}

pub(super) fn announce(core: &Core, jobs: &[PreparedJob]) {
    ledger::announce(core, jobs);
}
