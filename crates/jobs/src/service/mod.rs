//! [`Jobs`]: what routes, tools and other areas call.

mod accept;
mod control;
mod external;
mod look;

use std::{fmt, sync::Arc, time::Duration};

use paddock_platform::{
    blobs::Blobs,
    config::Section,
    health::Finding,
    identity::{Caller, Tenant},
    store::{Store, StoreError, Transaction},
    task::Tasks,
    tool::Toolbox,
};
use tokio::sync::broadcast;

pub(crate) use self::control::queues;
pub use self::{
    accept::{Accepted, PreparedJob},
    control::{QueueMode, QueueStatus, Redriven, Selection},
    external::{Beat, BeatAnswer, BeatStatus, ClaimRequest, Completion, Failure, Settled},
    look::JobFilter,
};
use crate::{
    Effects, Finish, Job, JobError, JobEvent, JobId, JobState, JobsOptions, Registry, core::Core, dispatch,
    health, node, pulse, sweep,
};

/// The jobs of a server. Cheap to clone; see the [crate](crate) for the model.
#[derive(Clone)]
pub struct Jobs(pub(crate) Arc<Core>);

impl fmt::Debug for Jobs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Jobs").field(&self.0.node.name).finish()
    }
}

/// What a server does with the jobs in its store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Role {
    /// Whether it runs jobs itself. Accepting them and handing them to external workers, every server does.
    pub works: bool,
    /// The queues that it works at; all of them when empty.
    pub queues: Vec<String>,
}

impl Jobs {
    /// Opens the jobs in a store, bringing their schema up to date. Nothing runs before [`Jobs::run`]: until then areas
    /// add their kinds and hooks to the [`Registry`].
    pub async fn open(
        store: Store,
        blobs: Blobs,
        options: Section<JobsOptions>,
        tasks: &Tasks,
    ) -> Result<Self, JobError> {
        Core::open(store, blobs, options, tasks).await.map(Self)
    }

    /// Where areas add what can run a job, and who is asked when one ends.
    pub fn registry(&self) -> &Registry {
        &self.0.registry
    }

    /// Takes up the work that is there, and what comes. Called once, when the toolbox is put together.
    pub async fn run(&self, toolbox: Toolbox, role: Role) -> Result<(), JobError> {
        self.0.registry.set_toolbox(toolbox);
        self.0.recover().await?;
        dispatch::spawn(&self.0, &role);
        pulse::spawn(&self.0);
        sweep::spawn(&self.0);
        node::spawn(&self.0);
        Ok(())
    }

    /// The server is asked to stop: callers who wait are answered, and workers get nothing more.
    pub fn close(&self) {
        dispatch::close(&self.0);
    }

    /// How the jobs do, for `/readyz`.
    pub async fn health(&self) -> Finding {
        health::look(&self.0).await
    }

    /// Stops taking work, gives what runs its time to end, and gives back the rest. Called before the tasks are stopped.
    pub async fn drain(&self) {
        dispatch::drain(&self.0).await;
    }

    /// Accepts a job: once this returns, it is kept with the durability of its queue.
    pub async fn enqueue(&self, caller: &Caller, job: crate::NewJob) -> Result<Accepted, JobError> {
        let mut accepted = self.enqueue_many(caller, vec![job]).await?;
        accepted.pop().ok_or(JobError::Overloaded("the job was not accepted"))
    }

    /// Accepts all of these jobs or none of them. An error about one names it: `jobs[3].queue`.
    pub async fn enqueue_many(
        &self,
        caller: &Caller,
        mut jobs: Vec<crate::NewJob>,
    ) -> Result<Vec<Accepted>, JobError> {
        for job in &mut jobs {
            if let Some(webhook) = &job.webhook {
                job.webhook = Some(self.check_webhook(caller, webhook).await?);
            }
        }
        let prepared = accept::prepare_all(&self.0, caller, jobs)?;
        accept::enqueue(&self.0, prepared).await
    }

    /// Turns what a caller wrote as `webhook`, an id or a URL, into the id of a webhook of its tenant: before
    /// [`Jobs::prepare`], which takes ids alone.
    pub async fn check_webhook(&self, caller: &Caller, webhook: &str) -> Result<String, JobError> {
        match self.0.registry.webhook_check() {
            Some(check) => check.check(caller, webhook).await,
            None => Err(JobError::invalid("webhook", "this server tells nobody how jobs end")),
        }
    }

    /// Checks a job and gives it its id, without keeping it: for [`Jobs::enqueue_in`].
    pub fn prepare(&self, caller: &Caller, job: crate::NewJob) -> Result<PreparedJob, JobError> {
        accept::prepare(&self.0, caller, job)
    }

    /// Accepts a job within the caller's transaction; if that is not kept, neither is the job. After the commit the
    /// caller says so with [`Jobs::announce`]. The depth of the queue is not checked: what belongs to accepted work is
    /// accepted.
    pub async fn enqueue_in(tx: &mut Transaction, job: &PreparedJob) -> Result<Accepted, StoreError> {
        accept::enqueue_in(tx, job).await
    }

    /// Says that jobs of [`Jobs::enqueue_in`] were committed: they are looked for at once instead of within seconds.
    pub fn announce(&self, jobs: &[PreparedJob]) {
        accept::announce(&self.0, jobs);
    }

    /// A job of a tenant.
    pub async fn get(&self, tenant: &Tenant, id: JobId) -> Result<Job, JobError> {
        look::get(&self.0, tenant, id).await
    }

    /// The result of a job, also one that is too large for the store; `None` while there is none.
    pub async fn result(&self, tenant: &Tenant, id: JobId) -> Result<Option<bytes::Bytes>, JobError> {
        look::result(&self.0, tenant, id).await
    }

    /// A tenant's jobs, the newest first, beginning after one.
    pub async fn list(
        &self,
        tenant: &Tenant,
        filter: &JobFilter,
        after: Option<JobId>,
        limit: u32,
    ) -> Result<Vec<Job>, JobError> {
        look::list(&self.0, tenant, filter, after, limit).await
    }

    /// The job once it has ended, or as it is when the time is up.
    pub async fn wait(&self, tenant: &Tenant, id: JobId, wait_max: Duration) -> Result<Job, JobError> {
        look::wait(&self.0, tenant, id, wait_max).await
    }

    /// Everything that is told of jobs from now on, of all tenants: filter by `tenant`. Who reads too slowly misses
    /// events and is told how many (`RecvError::Lagged`); what the store says is then the truth, and `sequence` of later
    /// events continues from it.
    pub fn subscribe(&self) -> broadcast::Receiver<JobEvent> {
        self.0.events.subscribe()
    }

    /// Cancels a job that has not ended. One that runs is told, and has ended shortly after; the answer is the job as it
    /// is then or still running with `cancelling`.
    pub async fn cancel(&self, tenant: &Tenant, id: JobId) -> Result<Job, JobError> {
        control::cancel(&self.0, tenant, id).await
    }

    /// Runs a job that ended otherwise than well once more, with a new count of attempts.
    pub async fn retry(&self, tenant: &Tenant, id: JobId) -> Result<Job, JobError> {
        control::retry(&self.0, tenant, id).await
    }

    /// Runs all of a tenant's jobs that the selection fits and that ended otherwise than well once more; with `dry_run`
    /// only counts them.
    pub async fn redrive(
        &self,
        tenant: &Tenant,
        selection: &Selection,
        dry_run: bool,
    ) -> Result<Redriven, JobError> {
        control::redrive(&self.0, tenant, selection, dry_run).await
    }

    /// Brings a waiting job back into its queue, within the caller's transaction; whether it did wait. After the commit
    /// say so with [`Jobs::announce_job`].
    pub async fn resume_in(
        &self,
        tx: &mut Transaction,
        tenant: &Tenant,
        id: JobId,
    ) -> Result<bool, StoreError> {
        control::resume_in(&self.0, tx, tenant, id).await
    }

    /// Ends a waiting job, within the caller's transaction, hooks included. `None` if it did not wait. After the commit pass what this gives to [`Jobs::announce_end`].
    pub async fn finish_in(
        &self,
        tx: &mut Transaction,
        tenant: &Tenant,
        id: JobId,
        outcome: Finish,
    ) -> Result<Option<Ended>, StoreError> {
        control::finish_in(&self.0, tx, tenant, id, outcome).await
    }

    /// Says that what [`Jobs::resume_in`] changed was committed.
    pub fn announce_job(&self, tenant: &Tenant, id: JobId) {
        control::announce_job(&self.0, tenant, id);
    }

    /// Says that what [`Jobs::finish_in`] changed was committed.
    pub fn announce_end(&self, ended: &Ended) {
        control::announce_end(&self.0, ended);
    }

    /// The queues with their settings and what is in them: of this tenant, and with `None` of all.
    pub async fn queues(&self, tenant: Option<&Tenant>) -> Result<Vec<QueueStatus>, JobError> {
        control::queues(&self.0, tenant).await
    }

    /// Takes no more jobs out of a queue, on no server, until [`Jobs::resume_queue`].
    pub async fn pause_queue(&self, queue: &str) -> Result<(), JobError> {
        control::set_mode(&self.0, queue, control::QueueMode::Paused).await
    }

    /// Puts no more jobs into a queue; what is in it is done.
    pub async fn drain_queue(&self, queue: &str) -> Result<(), JobError> {
        control::set_mode(&self.0, queue, control::QueueMode::Draining).await
    }

    /// Undoes pausing and draining.
    pub async fn resume_queue(&self, queue: &str) -> Result<(), JobError> {
        control::set_mode(&self.0, queue, control::QueueMode::Open).await
    }

    /// Cancels what waits or is scheduled in a queue of a tenant; with `dry_run` only counts it.
    pub async fn purge_queue(&self, tenant: &Tenant, queue: &str, dry_run: bool) -> Result<u64, JobError> {
        control::purge(&self.0, tenant, queue, dry_run).await
    }

    /// Claims jobs for an external worker; waits for some if there are none.
    pub async fn claim(&self, caller: &Caller, request: ClaimRequest) -> Result<Vec<Arc<Job>>, JobError> {
        external::claim(&self.0, caller, request).await
    }

    /// Keeps attempts of external workers alive, and takes their progress.
    pub async fn heartbeat(&self, caller: &Caller, beats: Vec<Beat>) -> Result<Vec<BeatAnswer>, JobError> {
        external::heartbeat(&self.0, caller, beats).await
    }

    /// Ends attempts of external workers with results.
    pub async fn complete(
        &self,
        caller: &Caller,
        completions: Vec<Completion>,
    ) -> Result<Vec<Settled>, JobError> {
        external::complete(&self.0, caller, completions).await
    }

    /// Ends attempts of external workers with failures.
    pub async fn fail(&self, caller: &Caller, failures: Vec<Failure>) -> Result<Vec<Settled>, JobError> {
        external::fail(&self.0, caller, failures).await
    }

    /// When the time for the current attempt of a job is over.
    pub(crate) fn deadline_of(&self, job: &Job) -> jiff::Timestamp {
        external::deadline(&self.0, job)
    }

    /// The server's name among those that share its store.
    pub fn node(&self) -> &str {
        &self.0.node.name
    }
}

/// A job that was ended in a transaction of somebody else.
#[derive(Clone, Debug)]
pub struct Ended {
    pub(crate) job: Arc<Job>,
    pub(crate) effects: Effects,
}

impl Ended {
    /// The job as it ended.
    pub fn job(&self) -> &Job {
        &self.job
    }

    /// The state that it ended in.
    pub fn state(&self) -> JobState {
        self.job.state
    }
}
