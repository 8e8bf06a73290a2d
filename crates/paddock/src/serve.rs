//! `paddock serve`: puts a server together, runs it, and takes it apart in the reverse order.
//!
//! ```text
//! config ─▶ telemetry ─▶ data directory ─▶ store, blobs, keys ─▶ fleet ─▶ analyses, models, jobs ─▶ toolbox ─▶ router ─▶ edge
//! ```

use std::{path::PathBuf, sync::Arc, time::Duration};

use axum::{Router, middleware};
use clap::{Args, ValueEnum};
use paddock_analysis::{Analyses, Analyzer, Archive};
use paddock_browser::{BrowserService, Fleet, Sessions, sessions};
use paddock_jobs::{
    Jobs, Role, live,
    mission::{self, Missions},
    schedule::{self, Schedules},
    webhook::{self, Webhooks},
};
use paddock_llm::{Durable, Gateway, GatewayError};
use paddock_platform::{
    blobs::Blobs,
    config::{Live, ReloadStatus, Watcher},
    events::{self, Events},
    health::{self, Finding, Health},
    http::{
        AnswersInStore, Edge, Idempotency, RouteRules, Server, ServerError, idempotent, openapi, require,
        tools,
    },
    keys::Keys,
    mcp::{self, Mcp},
    problem::error_chain,
    seal::Seal,
    signal::stop_on_signals,
    store::Store,
    task::Tasks,
    telemetry::{Telemetry, profile},
    tool::Toolbox,
    units::ByteSize,
};
use paddock_registry::{Registry, gateway};
use tokio_util::sync::CancellationToken;
use utoipa_axum::router::OpenApiRouter;

use crate::{
    cli::{ConfigArgs, DataArgs, complain, say},
    config::{Config, RESTART_KEYS, load, loader},
    data_dir::{DataDir, DataDirError},
    demo,
    exit::{CommandError, CommandResult, Exit},
    llm::DurableJobs,
    mcp_command,
    status_page::{self, StatusPage},
};

const DISK_FLOOR: ByteSize = ByteSize::mib(1024);
const MEMORY_FLOOR: ByteSize = ByteSize::mib(512);
/// The largest answer that is kept under an `Idempotency-Key`: a report without its pictures.
const ANSWER_MAX: ByteSize = ByteSize::mib(4);
const STORE_PING_DEADLINE: Duration = Duration::from_secs(1);
/// How long background tasks may take to end, after the requests did.
const TASKS_DEADLINE: Duration = Duration::from_secs(10);

/// Flags of `paddock serve`.
#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    /// Where to listen, as host:port [default: 127.0.0.1:7070]
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<String>,
    #[command(flatten)]
    data: DataArgs,
    #[command(flatten)]
    config: ConfigArgs,
    /// What this server does of the work that servers on one database share [default: all of it]
    #[arg(long, value_name = "ROLE", value_delimiter = ',')]
    roles: Vec<RoleArg>,
    /// The queues whose jobs this server runs [default: all of them]
    #[arg(long, value_name = "QUEUE", value_delimiter = ',')]
    queues: Vec<String>,
    /// When the server is up, analyse the bundled shop page and say where its report is
    #[arg(long)]
    demo: bool,
}

/// A part of what a server does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum RoleArg {
    /// Answers requests of all areas; without it, only `/healthz`, `/readyz` and `/metrics`
    Api,
    /// Runs jobs
    Jobs,
}

impl ServeArgs {
    fn has(&self, role: RoleArg) -> bool {
        self.roles.is_empty() || self.roles.contains(&role)
    }

    /// What it does with jobs; a queue that does not exist is a mistake that would only show by nothing happening.
    fn role(&self, config: &Config) -> Result<Role, CommandError> {
        let works = self.has(RoleArg::Jobs);
        if !works && !self.queues.is_empty() {
            let message = "`--queues` says which jobs to run, and `--roles` leaves `jobs` out";
            return Err(CommandError::new(Exit::Usage, message));
        }
        let known = |name: &String| {
            config.jobs.queues.contains_key(name)
                || config.jobs.queue.contains_key(name)
                || name == "standard"
        };
        if let Some(unknown) = self.queues.iter().find(|name| !known(name)) {
            let known: Vec<&str> = config.jobs.queues.keys().map(String::as_str).collect();
            let message = format!("no queue `{unknown}` is configured; there are {}", known.join(", "));
            return Err(CommandError::new(Exit::Usage, message));
        }
        Ok(Role { works, queues: self.queues.clone() })
    }

    /// `--listen` is a shorter way to set that key.
    fn config(&self) -> ConfigArgs {
        let mut config = self.config.clone();
        config.set.extend(self.listen.iter().map(|listen| format!("server.listen={listen}")));
        config
    }
}

/// What a running server consists of.
pub(crate) struct Parts {
    live: Live<Config>,
    reloads: ReloadStatus,
    store: Store,
    keys: Keys,
    idempotency: Idempotency,
    events: Events,
    browser: BrowserService,
    analyses: Analyses,
    models: Durable,
    registry: Registry,
    mcp_servers: gateway::Gateway,
    jobs: Jobs,
    missions: Missions,
    schedules: Schedules,
    webhooks: Webhooks,
    toolbox: Toolbox,
    data: PathBuf,
    tasks: Tasks,
    telemetry: Telemetry,
}

/// Runs the command until a signal or a failure.
pub(crate) async fn run(args: ServeArgs) -> CommandResult {
    let config = args.config();
    let loaded = load(&config)?;
    let role = args.role(&loaded.config)?;
    let failure = |error: &(dyn std::error::Error + 'static)| CommandError::from_error(Exit::Failure, error);
    let mut data = hold(&args.data.data)?;
    let telemetry = Telemetry::start(&loaded.config.telemetry, &paddock_llm::metrics::BUCKETS)
        .map_err(|error| failure(&error))?;
    let stop = CancellationToken::new();
    stop_on_signals(stop.clone()).map_err(|error| failure(&error))?;

    let tasks = Tasks::default();
    let (live, reloads) =
        Watcher::spawn(loader(&config), loaded, RESTART_KEYS, &tasks).map_err(|error| failure(&error))?;
    let parts = Parts::start(live, reloads, data.path().to_owned(), tasks, telemetry, role).await?;

    let any_key = parts.keys.any_active().await.map_err(|error| failure(&error))?;
    let bound = Server::bind(&parts.live.current().server, any_key).await;
    let server = match bound {
        Ok(server) => server,
        Err(error) => {
            parts.stop().await?;
            return Err(CommandError::from_error(exit_of_bind(&error), &error));
        }
    };
    let base = format!("http://{}", server.addresses().first().map(ToString::to_string).unwrap_or_default());
    if let Err(error) = data.note_address(base.trim_start_matches("http://")) {
        tracing::warn!(%error, "the address could not be noted in the data directory");
    }
    let app = parts
        .app(server.addresses(), &base, args.has(RoleArg::Api))
        .map_err(|problem| CommandError::from_problem(Exit::Failure, &problem))?;
    say(format_args!("paddock {} listens on {base}", env!("CARGO_PKG_VERSION")));
    say(format_args!(
        "  status {base}/    API {base}/docs    metrics {base}/metrics    data {}",
        data.path().display()
    ));
    if args.demo {
        let demo = demo::run(parts.analyses.clone(), data.path().to_owned(), base.clone());
        let stopping = parts.tasks.stop_token();
        parts.tasks.spawn("demo", async move {
            let _ = stopping.run_until_cancelled(demo).await;
        });
    }

    // Requests that wait for jobs are answered before connections are waited for.
    let (closing, jobs) = (stop.clone(), parts.jobs.clone());
    parts.tasks.spawn("jobs-closing", async move {
        closing.cancelled().await;
        jobs.close();
    });
    let drained = server.serve(app, &parts.tasks, stop).await;
    parts.stop().await?;
    if drained.is_complete() {
        return Ok(());
    }
    let aborted = drained.connections_aborted;
    Err(CommandError::new(Exit::Unfinished, format!("{aborted} requests did not finish before the deadline")))
}

pub(crate) fn hold(path: &std::path::Path) -> Result<DataDir, CommandError> {
    DataDir::hold(path).map_err(|error| {
        let exit = match &error {
            DataDirError::InUse { .. } => Exit::InUse,
            DataDirError::Unusable { .. } => Exit::Failure,
        };
        CommandError::from_error(exit, &error)
    })
}

fn exit_of_bind(error: &ServerError) -> Exit {
    match error {
        ServerError::Bind { source, .. } if source.kind() == std::io::ErrorKind::AddrInUse => Exit::InUse,
        ServerError::Bind { .. } => Exit::Failure,
        ServerError::KeyNeeded { .. } | ServerError::Resolve { .. } => Exit::Usage,
    }
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
        paddock_registry::publish(&registry, &events, &tasks);
        let mcp_servers = gateway::Gateway::start(&registry);
        let section = live.section(|config| &config.jobs);
        let jobs = Jobs::open(store.clone(), blobs.clone(), section.clone(), &tasks)
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
        let toolbox = toolbox(&browser, &analyses, &models, &registry, &jobs, &missions, &schedules);
        let toolbox = toolbox.with_guests(Arc::new(mcp_servers.clone()));
        jobs.run(toolbox.clone(), role).await.map_err(|error| failure(&error))?;
        missions.run(&tasks);
        schedules.run(&tasks);
        Ok(Self {
            live,
            reloads,
            store,
            keys,
            idempotency,
            events,
            browser,
            analyses,
            models,
            registry,
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

    /// All routes behind the edge; of the areas only with `api`.
    fn app(
        &self,
        bound: &[std::net::SocketAddr],
        base: &str,
        api: bool,
    ) -> Result<Router, paddock_platform::problem::Problem> {
        let config = self.live.current();
        let health = self.health();
        let mut app = Router::new().merge(health.router()).merge(self.telemetry.metrics().router());
        if api {
            app = app.merge(self.areas(&health, base)?);
            if config.registry.root {
                app = app.merge(paddock_registry::root_routes(self.registry.clone(), &self.idempotency));
            }
        }
        let section = self.live.section(|config| &config.server);
        let mut edge = Edge::builder(section, bound).keys(Arc::new(self.keys.clone()));
        if let Some(of_agents) = self.browser.sessions() {
            edge = edge.scheme(sessions::SCHEME, Arc::new(of_agents.clone()));
        }
        // These have deadlines of their own, which may be longer.
        let own = ["/analysis", tools::CALL_ROUTE, mcp::MCP_ROUTE, gateway::MCP_SERVER_ROUTE];
        let untimed = own
            .iter()
            .chain(paddock_browser::UNTIMED_ROUTES)
            .chain(paddock_jobs::UNTIMED_ROUTES)
            .chain(mission::UNTIMED_ROUTES);
        for pattern in untimed {
            edge = edge.route(pattern, RouteRules::UNTIMED);
        }
        for pattern in paddock_registry::PUBLIC_ROUTES {
            edge = edge.route(pattern, RouteRules::PUBLIC);
        }
        let streams = paddock_browser::STREAM_ROUTES
            .iter()
            .chain(paddock_jobs::STREAM_ROUTES)
            .chain(mission::STREAM_ROUTES)
            .chain(paddock_registry::STREAM_ROUTES)
            .chain(&[events::EVENTS_ROUTE]);
        for pattern in streams {
            edge = edge.route(pattern, RouteRules::STREAM);
        }
        let calls = RouteRules::UNTIMED.with_body_max(config.llm.body_max);
        for (pattern, is_anthropic) in paddock_llm::API_ROUTES {
            let failures = paddock_llm::render_failure(is_anthropic);
            edge = edge.route(pattern, calls).failures(pattern, failures);
        }
        if config.server.debug {
            app = app.merge(profile::router());
            for pattern in profile::PROFILE_ROUTES {
                edge = edge.route(pattern, profile::PROFILE_RULES);
            }
        }
        Ok(app.layer(edge.build()))
    }

    /// The routes of all areas.
    fn areas(&self, health: &Health, base: &str) -> Result<Router, paddock_platform::problem::Problem> {
        let once = middleware::from_fn_with_state(self.idempotency.clone(), idempotent);
        let (areas, api) = OpenApiRouter::with_openapi(openapi::base(env!("CARGO_PKG_VERSION")))
            .nest("/browser", paddock_browser::router(self.browser.clone()))
            .nest(
                "/analysis",
                paddock_analysis::routes(self.analyses.clone(), self.jobs.clone())
                    .route_layer(once.clone())
                    .route_layer(require("analysis")),
            )
            .nest(
                "/jobs",
                paddock_jobs::routes(self.jobs.clone())
                    .merge(live::routes(self.jobs.clone(), self.events.clone()))
                    .nest("/webhooks", webhook::routes(self.webhooks.clone()))
                    .route_layer(once.clone())
                    .route_layer(require("jobs")),
            )
            .nest("/jobs/schedules", schedule::routes(self.schedules.clone()).route_layer(require("jobs")))
            .nest(
                "/missions",
                mission::routes(self.missions.clone()).route_layer(once).route_layer(require("jobs")),
            )
            .nest("/llm", paddock_llm::router(self.models.gateway().clone(), Some(self.models.clone())))
            .nest("/registry", paddock_registry::routes(self.registry.clone(), &self.idempotency))
            .merge(events::router(self.events.clone()))
            .merge(tools::router(self.toolbox.clone()))
            .merge(mcp::router(self.mcp(), self.tasks.stop_token()))
            .merge(gateway::routes(self.mcp_servers.clone()))
            .split_for_parts();
        let page = StatusPage::new(health.clone(), self.browser.fleet().clone(), self.analyses.clone(), base);
        Ok(areas.merge(openapi::router(&api)?).merge(status_page::router(page)))
    }

    /// The toolbox as MCP clients see it.
    pub(crate) fn mcp(&self) -> Mcp {
        let options = self.live.section(|config| &config.mcp);
        Mcp::new(self.toolbox.clone(), options, env!("CARGO_PKG_VERSION"), mcp_command::INSTRUCTIONS)
    }

    fn health(&self) -> Health {
        let health = Health::default();
        let store = self.store.clone();
        health.register("store", true, move || {
            let store = store.clone();
            async move {
                match store.ping(STORE_PING_DEADLINE).await {
                    Ok(()) => Finding::ok(format!("{} answers", store.engine())),
                    Err(error) => {
                        Finding::failed(error_chain(&error), "check `[store] url` and the database's log")
                    }
                }
            }
        });
        let fleet = self.browser.fleet().clone();
        health.register("browser", true, move || std::future::ready(browser_health(&fleet)));
        let models = self.models.gateway().clone();
        health.register("llm", false, move || std::future::ready(models.health()));
        let jobs = self.jobs.clone();
        health.register("jobs", false, move || {
            let jobs = jobs.clone();
            async move { jobs.health().await }
        });
        let webhooks = self.webhooks.clone();
        health.register("webhooks", false, move || std::future::ready(webhooks.health()));
        let registry = self.registry.clone();
        health.register("registry", false, move || std::future::ready(registry.health()));
        let data = self.data.clone();
        health.register("disk", true, move || health::disk_free(data.clone(), DISK_FLOOR));
        health.register("memory", false, || health::memory_available(MEMORY_FLOOR));
        let reloads = self.reloads.clone();
        health.register("configuration", false, move || {
            std::future::ready(health::config_state(reloads.current().error))
        });
        health
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
fn toolbox(
    browser: &BrowserService,
    analyses: &Analyses,
    models: &Durable,
    registry: &Registry,
    jobs: &Jobs,
    missions: &Missions,
    schedules: &Schedules,
) -> Toolbox {
    let tools = paddock_browser::tools(browser)
        .into_iter()
        .chain(paddock_analysis::tools(analyses))
        .chain(paddock_llm::tools(models.gateway(), Some(models)))
        .chain(paddock_registry::tools(registry))
        .chain(paddock_jobs::tools(jobs))
        .chain(mission::tools(missions))
        .chain(schedule::tools(schedules));
    Toolbox::new(tools).expect("the areas' tools have different names and valid schemas")
}

fn browser_health(fleet: &Fleet) -> Finding {
    match fleet.engine() {
        Ok(engine) => {
            let detail = format!(
                "{}, {} instances, {} ready",
                engine.path.display(),
                fleet.handles().len(),
                fleet.ready()
            );
            Finding::ok(detail)
        }
        Err(error) => Finding::failed(error.to_string(), "`paddock doctor` says more"),
    }
}
