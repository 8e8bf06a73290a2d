//! What can run a job, and who is told when one ends.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, OnceLock, PoisonError, RwLock},
    time::{Duration, Instant},
};

use futures_util::future::BoxFuture;
use paddock_platform::{
    identity::Caller,
    problem::Problem,
    store::{StoreError, Transaction},
    tool::{Progress, Toolbox},
};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::{
    Fault, Job, JobError, JobState,
    service::{Ended, PreparedJob},
};

/// A kind of work that is compiled in, such as delivering a webhook or a step of a mission.
pub trait JobKind: Send + Sync + 'static {
    /// Runs one attempt. Dropping the future must be enough to end it: that is how a cancellation and a timeout reach
    /// it. A panic fails the attempt and nothing else.
    fn run(&self, context: JobContext) -> BoxFuture<'static, Result<Outcome, JobFailure>>;
}

/// What an attempt knows of its job.
#[derive(Clone, Debug)]
pub struct JobContext {
    /// The job as it was claimed; `job.attempt` is the fencing token.
    pub job: Arc<Job>,
    /// When the attempt has to be done.
    pub deadline: Instant,
    /// Where it tells how far it is.
    pub progress: Progress,
    /// Cancelled when somebody asks for the end, a moment before the future is dropped.
    pub cancelled: CancellationToken,
}

/// Writes in the transaction that ends the attempt, and gives the result. It runs only if the attempt is still the
/// current one, so that it happens exactly once; it may be called again if a commit failed. On SQLite it runs on the
/// thread that writes: it awaits nothing but its own statements.
pub type Apply =
    Arc<dyn for<'t> Fn(&'t mut Transaction) -> BoxFuture<'t, Result<Applied, StoreError>> + Send + Sync>;

/// What was written beside the end of an attempt.
#[derive(Debug, Default)]
pub struct Applied {
    /// The result of the job.
    pub result: Value,
    /// What else was done to jobs.
    pub effects: Effects,
}

/// What was done to other jobs in a transaction; told once it is committed.
#[derive(Clone, Debug, Default)]
pub struct Effects {
    /// Those that were enqueued with `Jobs::enqueue_in`.
    pub enqueued: Vec<PreparedJob>,
    /// Those that were ended with `Jobs::finish_in`.
    pub ended: Vec<Ended>,
}

impl Effects {
    /// Adds what else was done.
    pub fn extend(&mut self, more: Self) {
        self.enqueued.extend(more.enqueued);
        self.ended.extend(more.ended);
    }
}

/// How a waiting job ends.
#[derive(Clone, Debug)]
pub enum Finish {
    /// With this result.
    Succeeded(Value),
    /// Because of this.
    Failed(Fault),
    /// Because somebody asked for it.
    Cancelled,
}

/// How an attempt ended well.
pub enum Outcome {
    /// The job succeeded with this result.
    Done(Value),
    /// The job succeeded; this is written in the transaction that says so.
    Apply(Apply),
    /// The job waits, until `Jobs::resume_in` or `Jobs::finish_in`; this is written in the transaction that says so.
    Wait(Option<Apply>),
}

impl Outcome {
    /// [`Outcome::Apply`] of a function.
    pub fn apply<F>(write: F) -> Self
    where
        F: for<'t> Fn(&'t mut Transaction) -> BoxFuture<'t, Result<Applied, StoreError>>
            + Send
            + Sync
            + 'static,
    {
        Self::Apply(Arc::new(write))
    }

    /// [`Outcome::Wait`] with a function.
    pub fn wait<F>(write: F) -> Self
    where
        F: for<'t> Fn(&'t mut Transaction) -> BoxFuture<'t, Result<Applied, StoreError>>
            + Send
            + Sync
            + 'static,
    {
        Self::Wait(Some(Arc::new(write)))
    }
}

impl fmt::Debug for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Done(_) => "Done",
            Self::Apply(_) => "Apply",
            Self::Wait(_) => "Wait",
        })
    }
}

/// An attempt failed.
#[derive(Clone, Debug)]
pub struct JobFailure {
    /// Why.
    pub fault: Fault,
    /// Whether trying again may help; the policy still decides how often.
    pub retryable: bool,
    /// Not sooner than this, whatever the policy says.
    pub retry_after: Option<Duration>,
}

impl JobFailure {
    /// A failure of a class, which trying again may mend.
    pub fn new(class: impl Into<String>, message: impl Into<String>) -> Self {
        Self { fault: Fault::new(class, message), retryable: true, retry_after: None }
    }

    /// As [`JobFailure::new`], where trying again is useless.
    #[must_use]
    pub fn permanent(self) -> Self {
        Self { retryable: false, ..self }
    }
}

impl From<Problem> for JobFailure {
    /// What the caller did wrong stays wrong; limits, timeouts and what is broken elsewhere pass.
    fn from(problem: Problem) -> Self {
        let status = problem.kind.status;
        let passes = matches!(status.as_u16(), 408 | 409 | 423 | 425 | 429);
        Self {
            retryable: passes || !status.is_client_error(),
            retry_after: problem.retry_after,
            fault: Fault {
                class: problem.kind.slug.to_owned(),
                problem: Some(problem.to_document(None)),
                message: problem.detail,
            },
        }
    }
}

/// Is asked, in the transaction that ends a job, what else belongs into it.
///
/// On SQLite this runs on the thread that writes: it awaits nothing but its own statements. An error keeps the job from
/// ending, and it is tried again.
pub trait EndHook: Send + Sync + 'static {
    /// Whether it is of interest that this job, which has not ended yet, ends in state `end`. Called for every job: it
    /// must be cheap and ask nobody. Ends that nobody wants are written many at a time.
    fn wants(&self, job: &Job, end: JobState) -> bool;

    /// The job has ended as `job` says; its end is committed together with what is written here. Gives what was done to
    /// other jobs with `Jobs::enqueue_in` and `Jobs::finish_in`.
    fn ended<'t>(
        &'t self,
        tx: &'t mut Transaction,
        job: &'t Job,
    ) -> BoxFuture<'t, Result<Effects, StoreError>>;
}

/// Knows what a job's `webhook` may be.
pub trait WebhookCheck: Send + Sync + 'static {
    /// Turns what a caller wrote, an id or a URL, into the id of a webhook of its tenant.
    fn check<'a>(&'a self, caller: &'a Caller, webhook: &'a str) -> BoxFuture<'a, Result<String, JobError>>;
}

/// What can run a job: tools, kinds that are compiled in, and for any other kind external workers. Cheap to clone.
///
/// It is filled while a server is put together, before `Jobs::run`.
#[derive(Clone, Default)]
pub struct Registry(Arc<Inner>);

#[derive(Default)]
struct Inner {
    toolbox: OnceLock<Toolbox>,
    kinds: RwLock<BTreeMap<&'static str, Arc<dyn JobKind>>>,
    hooks: RwLock<Vec<Arc<dyn EndHook>>>,
    webhook_check: OnceLock<Arc<dyn WebhookCheck>>,
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Registry")
    }
}

impl Registry {
    /// Adds a kind that is compiled in. Its name has a `:` in it, as in `webhook:deliver`: callers from outside cannot
    /// enqueue it and external workers cannot claim it.
    pub fn add_kind(&self, name: &'static str, kind: Arc<dyn JobKind>) {
        debug_assert!(name.contains(':'), "{name}");
        self.0.kinds.write().unwrap_or_else(PoisonError::into_inner).insert(name, kind);
    }

    /// Adds somebody who is asked when a job ends.
    pub fn add_hook(&self, hook: Arc<dyn EndHook>) {
        self.0.hooks.write().unwrap_or_else(PoisonError::into_inner).push(hook);
    }

    /// Sets who knows what a job's `webhook` may be, once.
    pub fn set_webhook_check(&self, check: Arc<dyn WebhookCheck>) {
        let _ = self.0.webhook_check.set(check);
    }

    pub(crate) fn webhook_check(&self) -> Option<&Arc<dyn WebhookCheck>> {
        self.0.webhook_check.get()
    }

    /// The toolbox, once; jobs are themselves in it, so it comes after them.
    pub(crate) fn set_toolbox(&self, toolbox: Toolbox) {
        let _ = self.0.toolbox.set(toolbox);
    }

    pub(crate) fn toolbox(&self) -> Option<&Toolbox> {
        self.0.toolbox.get()
    }

    pub(crate) fn kind(&self, name: &str) -> Option<Arc<dyn JobKind>> {
        self.0.kinds.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    /// The hooks that want to know that this job ends so.
    pub(crate) fn hooks_of(&self, job: &Job, end: JobState) -> Vec<Arc<dyn EndHook>> {
        let hooks = self.0.hooks.read().unwrap_or_else(PoisonError::into_inner);
        hooks.iter().filter(|hook| hook.wants(job, end)).cloned().collect()
    }

    /// Whether anybody wants to know that.
    pub(crate) fn is_wanted(&self, job: &Job, end: JobState) -> bool {
        let hooks = self.0.hooks.read().unwrap_or_else(PoisonError::into_inner);
        hooks.iter().any(|hook| hook.wants(job, end))
    }
}
