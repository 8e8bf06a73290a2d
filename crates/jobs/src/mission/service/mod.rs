//! [`Missions`]: what routes, tools and commands call.

mod control;
mod define;
mod look;
mod start;

use std::{fmt, sync::Arc, time::Duration};

use paddock_platform::{
    config::Section,
    identity::{Caller, Tenant},
    store::Store,
    task::Tasks,
    tool::Toolbox,
};
use tokio::sync::{Semaphore, broadcast};

pub use self::{control::Decision, start::StartMission};
pub(crate) use self::{
    control::{cancel, tick},
    look::ListQuery,
    start::{insisting, prepare},
};
use super::{
    ApprovalView, Definition, DefinitionView, MissionBrief, MissionError, MissionOptions, MissionView,
    RunView, StoredDefinition, clock,
    engine::{self, Engine},
    metrics,
    store::MIGRATIONS,
};
use crate::{Job, JobId, Jobs};

/// Missions whose changes a slow watcher may be behind; then it looks for itself.
const CHANGED_MAX: usize = 256;

/// The missions of a server. Cheap to clone; see the [module](super) for the model.
#[derive(Clone)]
pub struct Missions(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) jobs: Jobs,
    pub(crate) engine: Arc<Engine>,
    /// Missions that were changed by this server otherwise than by the end of a job.
    pub(crate) changed: broadcast::Sender<JobId>,
    pub(crate) watchers: Arc<Semaphore>,
}

impl fmt::Debug for Missions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Missions")
    }
}

impl Missions {
    /// Opens the missions in a store, bringing their schema up to date, and tells the jobs of their kinds. Before
    /// [`Jobs::run`].
    pub async fn open(
        jobs: &Jobs,
        store: Store,
        options: Section<MissionOptions>,
    ) -> Result<Self, MissionError> {
        metrics::describe();
        store.migrate(&MIGRATIONS).await?;
        let watchers = Arc::new(Semaphore::new(options.current().watchers_max.min(Semaphore::MAX_PERMITS)));
        let engine = Arc::new(Engine::new(jobs, store, options));
        engine::register(&engine, jobs);
        let inner =
            Inner { jobs: jobs.clone(), engine, changed: broadcast::channel(CHANGED_MAX).0, watchers };
        Ok(Self(Arc::new(inner)))
    }

    /// Watches deadlines and forgets what is kept no longer, until the tasks are stopped.
    pub fn run(&self, tasks: &Tasks) {
        clock::spawn(self, tasks);
    }

    pub(crate) fn store(&self) -> &Store {
        &self.0.engine.store
    }

    pub(crate) fn options(&self) -> MissionOptions {
        self.0.engine.options.current()
    }

    fn toolbox(&self) -> Option<Toolbox> {
        self.0.jobs.registry().toolbox().cloned()
    }

    /// Checks a definition without storing it: everything that [`Missions::save`] would refuse is told.
    pub async fn check(&self, caller: &Caller, definition: Definition) -> Result<Definition, MissionError> {
        define::check(self, caller, definition).await.map(|plan| plan.definition)
    }

    /// Stores a definition under the next version of its name. The same again is the version that is there.
    pub async fn save(
        &self,
        caller: &Caller,
        definition: Definition,
    ) -> Result<StoredDefinition, MissionError> {
        define::save(self, caller, definition).await
    }

    /// A definition by its version, or the latest.
    pub async fn definition(
        &self,
        tenant: &Tenant,
        name: &str,
        version: Option<u32>,
    ) -> Result<DefinitionView, MissionError> {
        define::definition(self, tenant, name, version).await
    }

    /// Accepts a mission: once this returns, it will be run. Gives its id, and whether it was there already under the same
    /// unique key.
    pub async fn start(&self, caller: &Caller, start: StartMission) -> Result<(JobId, bool), MissionError> {
        start::start(self, caller, start).await
    }

    /// A mission, with its graph and the state of every step.
    pub async fn get(&self, tenant: &Tenant, id: JobId) -> Result<MissionView, MissionError> {
        look::get(self, tenant, id).await
    }

    /// A mission once it has ended, or as it is when the time is up.
    pub async fn wait(
        &self,
        tenant: &Tenant,
        id: JobId,
        wait_max: Duration,
    ) -> Result<MissionView, MissionError> {
        let _: Job = self.0.jobs.wait(tenant, id, wait_max).await?;
        look::get(self, tenant, id).await
    }

    /// The runs of a step, by item, from one on.
    pub async fn runs(
        &self,
        tenant: &Tenant,
        id: JobId,
        step: &str,
        from: u32,
        limit: u32,
    ) -> Result<Vec<RunView>, MissionError> {
        look::runs(self, tenant, id, step, from, limit).await
    }

    pub(crate) async fn list(
        &self,
        tenant: &Tenant,
        query: &ListQuery,
        before: Option<&str>,
        limit: u32,
    ) -> Result<Vec<MissionBrief>, MissionError> {
        look::list(self, tenant, query, before, limit).await
    }

    /// What a tenant's people are asked now, the oldest first.
    pub async fn open_approvals(
        &self,
        tenant: &Tenant,
        limit: u32,
    ) -> Result<Vec<ApprovalView>, MissionError> {
        look::open_approvals(self, tenant, limit).await
    }

    /// A picture of a mission: its graph, with the state of every step.
    pub async fn graph_svg(&self, tenant: &Tenant, id: JobId) -> Result<String, MissionError> {
        look::graph_svg(self, tenant, id).await
    }

    /// Decides what a person is asked by a step.
    pub async fn decide(
        &self,
        caller: &Caller,
        id: JobId,
        step: &str,
        decision: Decision,
    ) -> Result<MissionView, MissionError> {
        control::decide(self, caller, id, step, decision).await
    }

    /// Cancels a mission: what runs is cancelled, what is done is compensated, then it ends.
    pub async fn cancel(&self, tenant: &Tenant, id: JobId) -> Result<MissionView, MissionError> {
        control::cancel_and_look(self, tenant, id).await
    }

    /// Goes on with a mission that failed or was cancelled, from what failed.
    pub async fn retry(&self, tenant: &Tenant, id: JobId) -> Result<MissionView, MissionError> {
        control::retry(self, tenant, id).await
    }
}
