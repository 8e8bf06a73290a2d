//! What a running server consists of, in the order in which it is put together.

use std::{path::PathBuf, sync::Arc, time::Duration};

use paddock_agents::{Agents, Ground};
use paddock_analysis::{Analyses, Analyzer, Archive};
use paddock_browser::{BrowserService, Fleet, Sessions};
use paddock_jobs::{
    Jobs, Role, live,
    mission::{self, Missions},
    schedule::{self, Schedules},
    webhook::Webhooks,
};
use paddock_llm::{Durable, Gateway, GatewayError};
use paddock_platform::{
    blobs::Blobs,
    bus::{Bus, BusError},
    config::{Live, ReloadStatus},
    events::Events,
    http::{AnswersInStore, Idempotency},
    keys::Keys,
    mcp::Mcp,
    seal::Seal,
    store::Store,
    task::Tasks,
    telemetry::Telemetry,
    tool::{Tool, Toolbox},
    units::ByteSize,
};
use paddock_registry::{Registry, gateway};

use super::embeddings::Embeddings;
use crate::{
    cli::complain,
    config::Config,
    exit::{CommandError, CommandResult, Exit},
    llm::DurableJobs,
    mcp_command,
};

/// The largest answer that is kept under an `Idempotency-Key`: a report without its pictures.
const ANSWER_MAX: ByteSize = ByteSize::mib(4);
/// How long background tasks may take to end, after the requests did.
const TASKS_DEADLINE: Duration = Duration::from_secs(10);

/// What a running server consists of.
pub(crate) struct Parts {
    pub(super) live: Live<Config>,
    pub(super) reloads: ReloadStatus,
    pub(super) store: Store,
    pub(super) keys: Keys,
    pub(super) idempotency: Idempotency,
    pub(super) events: Events,
    pub(super) bus: Bus,
    pub(super) browser: BrowserService,
    pub(super) analyses: Analyses,
    pub(super) models: Durable,
    pub(super) registry: Registry,
    pub(super) agents: Agents,
    pub(super) mcp_servers: gateway::Gateway,
    pub(super) jobs: Jobs,
    pub(super) missions: Missions,
    pub(super) schedules: Schedules,
    pub(super) webhooks: Webhooks,
    pub(super) toolbox: Toolbox,
    pub(super) data: PathBuf,
    pub(super) tasks: Tasks,
    pub(super) telemetry: Telemetry,
}

impl Parts {
    pub(crate) async fn start(
        live: Live<Config>,
        reloads: ReloadStatus,
        data: PathBuf,
        tasks: Tasks,
        telemetry: Telemetry,
        role: Role,
    ) -> Result<Self, CommandError> {
        let failure =
            |error: &(dyn std::error::Error + 'static)| CommandError::from_error(Exit::Failure, error);
        paddock_analysis::metrics::describe();
        paddock_llm::metrics::describe();
        paddock_registry::metrics::describe();
        paddock_jobs::metrics::describe();
        telemetry.metrics().spawn_upkeep(&tasks);
        let config = live.current();
        let store = Store::open(&config.store, &data, &tasks).await.map_err(|error| failure(&error))?;
        let keys = Keys::open(store.clone(), &tasks).await.map_err(|error| failure(&error))?;
        let answers = AnswersInStore::open(store.clone()).await.map_err(|error| failure(&error))?;
        let idempotency = Idempotency::new(answers, ANSWER_MAX, &tasks);
        let blobs = Blobs::open(&config.blobs, &data).map_err(|error| failure(&error))?;
        let archive = Archive::open(store.clone(), blobs.clone()).await.map_err(|error| failure(&error))?;
        let events = Events::new(&config.events, tasks.stop_token());
        let bus = open_bus(&live, &tasks).await?;
        let models = open_models(&live, &store, &tasks).await?;
        let section = live.section(|config| &config.browser);
        let fleet = Fleet::start_with_store(section, &data, store.clone(), events.clone(), &tasks)
            .await
            .map_err(|error| failure(&error))?;
        let options = live.section(|config| &config.analysis);
        let analyzer = Analyzer::new(fleet.clone(), options.clone());
        let analyses = Analyses::start(analyzer, archive, options, &tasks);
        let section = live.section(|config| &config.browser);
        let sessions =
            Sessions::open(store.clone(), keys.clone(), section).await.map_err(|error| failure(&error))?;
        let browser = BrowserService::new(fleet).with_sessions(sessions);
        let section = live.section(|config| &config.registry);
        let registry =
            Registry::start(section, store.clone(), &tasks).await.map_err(|error| failure(&error))?;
        registry.embed_with(Arc::new(Embeddings(models.clone())));
        paddock_registry::publish(&registry, &events, &tasks);
        let mcp_servers = gateway::Gateway::start(&registry);
        let section = live.section(|config| &config.jobs);
        let jobs = Jobs::open(store.clone(), blobs.clone(), section.clone(), &tasks)
            .await
            .map_err(|error| failure(&error))?;
        let ground = Ground {
            store: store.clone(),
            blobs: blobs.clone(),
            models: models.clone(),
            jobs: jobs.clone(),
            events: events.clone(),
            bus: bus.clone(),
            data: &data,
            tasks: &tasks,
        };
        let agents = Agents::open(live.section(|config| &config.agents), ground)
            .await
            .map_err(|error| failure(&error))?;
        let calls = Arc::new(DurableJobs(jobs.clone()));
        let models = Durable::start(models, blobs, calls, live.section(|config| &config.llm), &tasks);
        live::publish(&jobs, &events, &tasks);
        let seal = Seal::open(config.store.seal_key.as_ref(), &data).map_err(|error| failure(&error))?;
        let webhooks = section.map(|options| options.webhooks);
        let webhooks = Webhooks::open(store.clone(), &jobs, seal, webhooks, events.clone(), &tasks)
            .await
            .map_err(|error| failure(&error))?;
        let section = live.section(|config| &config.jobs.missions);
        let missions =
            Missions::open(&jobs, store.clone(), section).await.map_err(|error| failure(&error))?;
        let section = live.section(|config| &config.jobs.schedules);
        let schedules = Schedules::open(&jobs, &missions, keys.clone(), store.clone(), section)
            .await
            .map_err(|error| failure(&error))?;
        let toolbox = toolbox([
            paddock_browser::tools(&browser),
            paddock_analysis::tools(&analyses),
            paddock_llm::tools(models.gateway(), Some(&models)),
            paddock_registry::tools(&registry),
            paddock_agents::tools(&agents),
            paddock_jobs::tools(&jobs),
            mission::tools(&missions),
            schedule::tools(&schedules),
        ]);
        let guests = paddock_agents::tool_source(&agents, Some(Arc::new(mcp_servers.clone())));
        let toolbox = toolbox.with_guests(guests);
        jobs.run(toolbox.clone(), role).await.map_err(|error| failure(&error))?;
        agents.run(toolbox.clone()).await.map_err(|error| failure(&error))?;
        missions.run(&tasks);
        schedules.run(&tasks);
        Ok(Self {
            live,
            reloads,
            store,
            keys,
            idempotency,
            events,
            bus,
            browser,
            analyses,
            models,
            registry,
            agents,
            mcp_servers,
            jobs,
            missions,
            schedules,
            webhooks,
            toolbox,
            data,
            tasks,
            telemetry,
        })
    }

    /// The toolbox as MCP clients see it.
    pub(crate) fn mcp(&self) -> Mcp {
        let options = self.live.section(|config| &config.mcp);
        Mcp::new(self.toolbox.clone(), options, env!("CARGO_PKG_VERSION"), mcp_command::INSTRUCTIONS)
    }

    /// Takes the server apart: jobs first, because they use the browsers, then those, then whatever still runs, and at
    /// last the store.
    pub(crate) async fn stop(self) -> CommandResult {
        self.jobs.drain().await;
        self.browser.fleet().shutdown().await;
        let stopped = self.tasks.stop(TASKS_DEADLINE).await;
        self.store.close().await;
        if let Err(error) = &stopped {
            complain(format_args!("paddock: {error}"));
        }
        // Sending the last spans blocks.
        let _ = tokio::task::spawn_blocking(move || self.telemetry.stop()).await;
        stopped.map_err(|error| CommandError::from_error(Exit::Unfinished, &error))
    }
}

async fn open_bus(live: &Live<Config>, tasks: &Tasks) -> Result<Bus, CommandError> {
    Bus::connect(&live.current().bus, tasks).await.map_err(|error| {
        let exit = match &error {
            BusError::Options(_) | BusError::Secret(_) => Exit::Usage,
            _ => Exit::Failure,
        };
        CommandError::from_error(exit, &error)
    })
}

async fn open_models(live: &Live<Config>, store: &Store, tasks: &Tasks) -> Result<Gateway, CommandError> {
    let section = live.section(|config| &config.llm);
    Gateway::open(section, store.clone(), tasks).await.map_err(|error| {
        let exit = match &error {
            GatewayError::Options(_) => Exit::Usage,
            GatewayError::Store(_) => Exit::Failure,
        };
        CommandError::from_error(exit, &error)
    })
}

/// The tools of all areas. A clash of names is a defect that every start would show.
#[expect(clippy::expect_used, reason = "the set is fixed at compile time and checked by a test")]
fn toolbox<const AREAS: usize>(areas: [Vec<Tool>; AREAS]) -> Toolbox {
    Toolbox::new(areas.into_iter().flatten())
        .expect("the areas' tools have different names and valid schemas")
}
