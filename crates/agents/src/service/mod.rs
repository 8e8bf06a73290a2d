//! [`Agents`]: what routes, tools and commands call.

mod auction;
mod contract_net;
mod deploy;
mod directory;
mod follow;
mod health;
mod look;
mod messages;
mod modules;
mod negotiate;
mod recover;
mod run;
mod schedules;
mod split;
mod steer;
pub(crate) mod topics;
mod upkeep;

use std::{
    collections::HashMap,
    fmt,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicU64, AtomicUsize},
    },
};

use jiff::Timestamp;
use paddock_jobs::Jobs;
use paddock_llm::Gateway;
use paddock_platform::{
    blobs::Blobs,
    bus::Bus,
    config::Section,
    events::Events,
    identity::{Caller, Tenant},
    store::Store,
    task::Tasks,
    tool::Toolbox,
};
use tokio::sync::{Notify, Semaphore};
use tokio_util::task::TaskTracker;

pub(crate) use self::follow::{Followed, News};
pub use self::{
    deploy::Validation,
    look::{AgentView, DefinitionView, VersionView},
    messages::{AnswerView, ExecuteInput, ExecuteOutput, SentView},
    modules::ModuleView,
    run::{Trial, TrialInput},
    split::{SplitInput, SplitView},
};
use crate::{
    AgentsOptions,
    cell::{Agent, Cell},
    commit::Committer,
    core::{Core, Limits},
    dead::DeadLetters,
    definition::AgentDefinition,
    error::AgentError,
    handler::{self, Handler},
    journal::Journal,
    metrics::{self, Meters},
    nodes::{self, Nodes},
    remind::Reminders,
    remote::RemoteClient,
    shares::Shares,
    store,
    supervise::Supervisor,
    wasm::Wasm,
};

/// The agents of a server. Cheap to clone; see the [crate](crate) for the model.
#[derive(Clone)]
pub struct Agents(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) core: Arc<Core>,
    pub(crate) options: Section<AgentsOptions>,
    pub(crate) blobs: Blobs,
    pub(crate) models: Gateway,
    pub(crate) jobs: Jobs,
    pub(crate) wasm: Wasm,
    pub(crate) remotes: RemoteClient,
    /// How many messages wait in the store for agents that are not there yet, by their keys.
    pub(crate) unclaimed: Mutex<HashMap<String, usize>>,
    /// Callers who wait for answers.
    pub(crate) askers: Arc<Semaphore>,
    pub(crate) count: AtomicUsize,
    agents_max: usize,
    /// Where this server is reached, for the cards of its agents.
    pub(crate) base: OnceLock<String>,
    pub(crate) started_at: Timestamp,
}

impl fmt::Debug for Agents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Agents")
    }
}

/// What agents stand on.
#[derive(Debug)]
pub struct Ground<'a> {
    /// Where definitions, states and durable messages are.
    pub store: Store,
    /// Where components are.
    pub blobs: Blobs,
    /// The models of prompt agents.
    pub models: Gateway,
    /// Where agents are run by callers who do not wait.
    pub jobs: Jobs,
    /// Where it is told what happens.
    pub events: Events,
    /// How servers that share the store reach each other.
    pub bus: Bus,
    /// Where compiled code is kept.
    pub data: &'a Path,
    /// What runs in the background.
    pub tasks: &'a Tasks,
}

impl Agents {
    /// Opens the agents in a store, bringing its schema up to date. They handle messages from [`Agents::run`] on.
    pub async fn open(options: Section<AgentsOptions>, ground: Ground<'_>) -> Result<Self, AgentError> {
        let Ground { store, blobs, models, jobs, events, bus, data, tasks } = ground;
        metrics::describe();
        store.migrate(&store::MIGRATIONS).await?;
        let current = options.current();
        let wasm = Wasm::start(current.wasm.clone(), wasm_cache(data), tasks)?;
        let nodes = store.is_shared().then(|| {
            let nodes = Nodes::new(current.nodes.clone(), bus, current.pending_max);
            Arc::new(nodes)
        });
        // Where several servers share the agents, each looks at what waits for those that it gets.
        let backlogs = if nodes.is_some() { Vec::new() } else { store::backlogs(&store).await? };
        let place_before = backlogs.iter().map(|(.., last)| *last).max().unwrap_or(0);
        events.declare(&[topics::STATES, topics::NODES]);
        events.declare_on_demand(topics::LOGS, Arc::new(|| {}));
        let threads = tokio::runtime::Handle::current().metrics().num_workers();
        let core = Arc::new(Core {
            limits: Limits::of(&current),
            spaces: papaya::HashMap::new(),
            awake: papaya::HashMap::new(),
            journal: Journal::start(store.clone(), current.timeline_pending_max, tasks),
            store: store.clone(),
            commits: OnceLock::new(),
            dead: DeadLetters::new(current.dead_letters_max),
            reminders: Reminders::new(current.reminders_max),
            supervisor: Supervisor::default(),
            shares: Arc::new(Shares::of_threads(threads)),
            toolbox: OnceLock::new(),
            events,
            meters: Meters::new(),
            tasks: tasks.clone(),
            lives: TaskTracker::new(),
            started: Notify::new(),
            tick: AtomicU64::new(1),
            place_before,
            nodes: nodes.clone(),
        });
        // Weak: the core has the committer.
        let weak = Arc::downgrade(&core);
        let run = move |cell: &Arc<Cell>| {
            if let Some(core) = weak.upgrade() {
                core.run(cell);
            }
        };
        let lives = core.lives.clone();
        let first = place_before + 1;
        let commits = Committer::start(store, current.pending_max, first, nodes, tasks, lives, run);
        let _ = core.commits.set(commits);
        upkeep::end_with_server(&core);
        let remotes = RemoteClient::new(options.map(|options| options.allow));
        let agents = Self(Arc::new(Inner {
            core,
            blobs,
            models,
            jobs,
            wasm,
            remotes,
            unclaimed: Mutex::default(),
            askers: Arc::new(Semaphore::new(current.asks_max.min(Semaphore::MAX_PERMITS))),
            count: AtomicUsize::new(0),
            agents_max: current.agents_max,
            base: OnceLock::new(),
            started_at: Timestamp::now(),
            options,
        }));
        agents.load(backlogs).await?;
        agents.load_splits().await?;
        Ok(agents)
    }

    /// Begins: durable messages that wait are handled, agents may call tools. The toolbox has the agents' own tools in it,
    /// so it comes after them.
    pub async fn run(&self, toolbox: Toolbox) -> Result<(), AgentError> {
        let _ = self.0.core.toolbox.set(toolbox);
        self.load_alarms().await?;
        upkeep::spawn(self);
        nodes::spawn(self);
        self.load_directory().await;
        self.wake_backlogs();
        Ok(())
    }

    /// Says where this server is reached from outside, for the cards of its agents. Once.
    pub fn set_base(&self, base: &str) {
        let _ = self.0.base.set(base.trim_end_matches('/').to_owned());
    }

    /// Adds an agent that is part of the program. Its definition is not stored; its state and its durable messages are. One
    /// with a schedule has to be there before [`Agents::run`].
    pub fn register<H, F>(
        &self,
        tenant: &Tenant,
        definition: AgentDefinition,
        make: F,
    ) -> Result<(), AgentError>
    where
        H: Handler + 'static,
        F: Fn() -> H + Send + Sync + 'static,
    {
        let factory = handler::factory(move || Box::new(make()));
        let caller = Caller::on_behalf(None, tenant.clone(), Vec::new());
        let agent = Agent { definition: Arc::new(definition), version: 0, factory, caller };
        let cell = self.enlist(tenant, agent, Timestamp::now())?;
        let waiting = self.0.unclaimed.lock().unwrap_or_else(PoisonError::into_inner).remove(&*cell.key);
        if let Some(waiting) = waiting {
            cell.mailbox.set_backlog(waiting);
            if self.0.core.toolbox.get().is_some() {
                self.0.core.nudge(&cell);
            }
        }
        Ok(())
    }

    pub(crate) fn agents_max(&self) -> usize {
        self.0.agents_max
    }

    pub(crate) fn cell(
        &self,
        tenant: &Tenant,
        name: &crate::message::AgentName,
    ) -> Result<Arc<Cell>, AgentError> {
        let spaces = self.0.core.spaces.pin();
        let cell = spaces.get(tenant).and_then(|space| space.agent(name));
        cell.ok_or_else(|| AgentError::NotFound(name.clone()))
    }

    /// Resolves when what was noted of conversations before is in the store.
    pub async fn settled(&self) {
        self.0.core.journal.flush().await;
    }
}

fn wasm_cache(data: &Path) -> PathBuf {
    data.join("agents").join("compiled")
}
