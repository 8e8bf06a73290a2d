//! `paddock serve`: puts a server together, runs it, and takes it apart in the reverse order.
//!
//! ```text
//! config ─▶ telemetry ─▶ data directory ─▶ store, blobs, keys ─▶ fleet ─▶ analyses ─▶ toolbox ─▶ router ─▶ edge
//! ```

use std::{path::PathBuf, sync::Arc, time::Duration};

use axum::{Router, middleware};
use clap::Args;
use paddock_analysis::{Analyses, Analyzer, Archive};
use paddock_browser::{BrowserService, Fleet, Sessions, sessions};
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
    signal::stop_on_signals,
    store::Store,
    task::Tasks,
    telemetry::{Telemetry, profile},
    tool::Toolbox,
    units::ByteSize,
};
use tokio_util::sync::CancellationToken;
use utoipa_axum::router::OpenApiRouter;

use crate::{
    cli::{ConfigArgs, DataArgs, complain, say},
    config::{Config, RESTART_KEYS, load, loader},
    data_dir::{DataDir, DataDirError},
    demo,
    exit::{CommandError, CommandResult, Exit},
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
    /// When the server is up, analyse the bundled shop page and say where its report is
    #[arg(long)]
    demo: bool,
}

impl ServeArgs {
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
    data: PathBuf,
    tasks: Tasks,
    telemetry: Telemetry,
}

/// Runs the command until a signal or a failure.
pub(crate) async fn run(args: ServeArgs) -> CommandResult {
    let config = args.config();
    let loaded = load(&config)?;
    let failure = |error: &(dyn std::error::Error + 'static)| CommandError::from_error(Exit::Failure, error);
    let mut data = hold(&args.data.data)?;
    let telemetry = Telemetry::start(&loaded.config.telemetry, &[]).map_err(|error| failure(&error))?;
    let stop = CancellationToken::new();
    stop_on_signals(stop.clone()).map_err(|error| failure(&error))?;

    let tasks = Tasks::default();
    let (live, reloads) =
        Watcher::spawn(loader(&config), loaded, RESTART_KEYS, &tasks).map_err(|error| failure(&error))?;
    let parts = Parts::start(live, reloads, data.path().to_owned(), tasks, telemetry).await?;

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
        .app(server.addresses(), &base)
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
    ) -> Result<Self, CommandError> {
        let failure =
            |error: &(dyn std::error::Error + 'static)| CommandError::from_error(Exit::Failure, error);
        paddock_analysis::metrics::describe();
        telemetry.metrics().spawn_upkeep(&tasks);
        let config = live.current();
        let store = Store::open(&config.store, &data, &tasks).await.map_err(|error| failure(&error))?;
        let keys = Keys::open(store.clone(), &tasks).await.map_err(|error| failure(&error))?;
        let answers = AnswersInStore::open(store.clone()).await.map_err(|error| failure(&error))?;
        let idempotency = Idempotency::new(answers, ANSWER_MAX, &tasks);
        let blobs = Blobs::open(&config.blobs, &data).map_err(|error| failure(&error))?;
        let archive = Archive::open(store.clone(), blobs).await.map_err(|error| failure(&error))?;
        let events = Events::new(&config.events, tasks.stop_token());
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
        Ok(Self { live, reloads, store, keys, idempotency, events, browser, analyses, data, tasks, telemetry })
    }

    /// All routes behind the edge.
    fn app(
        &self,
        bound: &[std::net::SocketAddr],
        base: &str,
    ) -> Result<Router, paddock_platform::problem::Problem> {
        let config = self.live.current();
        let toolbox = self.toolbox();
        let health = self.health();
        let (areas, api) = OpenApiRouter::with_openapi(openapi::base(env!("CARGO_PKG_VERSION")))
            .nest("/browser", paddock_browser::router(self.browser.clone()))
            .nest(
                "/analysis",
                paddock_analysis::routes(self.analyses.clone())
                    .route_layer(middleware::from_fn_with_state(self.idempotency.clone(), idempotent))
                    .route_layer(require("analysis")),
            )
            .merge(events::router(self.events.clone()))
            .merge(tools::router(toolbox.clone()))
            .merge(mcp::router(self.mcp(toolbox), self.tasks.stop_token()))
            .split_for_parts();
        let page = StatusPage::new(health.clone(), self.browser.fleet().clone(), self.analyses.clone(), base);
        let mut app = areas
            .merge(openapi::router(&api)?)
            .merge(health.router())
            .merge(self.telemetry.metrics().router())
            .merge(status_page::router(page));
        let section = self.live.section(|config| &config.server);
        let mut edge = Edge::builder(section, bound).keys(Arc::new(self.keys.clone()));
        if let Some(of_agents) = self.browser.sessions() {
            edge = edge.scheme(sessions::SCHEME, Arc::new(of_agents.clone()));
        }
        // These have deadlines of their own, which may be longer.
        let own = ["/analysis", tools::CALL_ROUTE, mcp::MCP_ROUTE];
        for pattern in own.iter().chain(paddock_browser::UNTIMED_ROUTES) {
            edge = edge.route(pattern, RouteRules::UNTIMED);
        }
        for pattern in paddock_browser::STREAM_ROUTES.iter().chain(&[events::EVENTS_ROUTE]) {
            edge = edge.route(pattern, RouteRules::STREAM);
        }
        if config.server.debug {
            app = app.merge(profile::router());
            for pattern in profile::PROFILE_ROUTES {
                edge = edge.route(pattern, profile::PROFILE_RULES);
            }
        }
        Ok(app.layer(edge.build()))
    }

    /// The toolbox as MCP clients see it.
    pub(crate) fn mcp(&self, toolbox: Toolbox) -> Mcp {
        let options = self.live.section(|config| &config.mcp);
        Mcp::new(toolbox, options, env!("CARGO_PKG_VERSION"), mcp_command::INSTRUCTIONS)
    }

    /// The tools of all areas. A clash of names is a defect that every start would show.
    #[expect(clippy::expect_used, reason = "the set is fixed at compile time and checked by a test")]
    pub(crate) fn toolbox(&self) -> Toolbox {
        let tools =
            paddock_browser::tools(&self.browser).into_iter().chain(paddock_analysis::tools(&self.analyses));
        Toolbox::new(tools).expect("the areas' tools have different names and valid schemas")
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
        let data = self.data.clone();
        health.register("disk", true, move || health::disk_free(data.clone(), DISK_FLOOR));
        health.register("memory", false, || health::memory_available(MEMORY_FLOOR));
        let reloads = self.reloads.clone();
        health.register("configuration", false, move || {
            std::future::ready(health::config_state(reloads.current().error))
        });
        health
    }

    /// Takes the server apart: the browsers first, then whatever still runs, and at last the store.
    pub(crate) async fn stop(self) -> CommandResult {
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
