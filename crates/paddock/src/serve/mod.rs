//! `paddock serve`: puts a server together, runs it, and takes it apart in the reverse order.
//!
//! ```text
//! config ─▶ telemetry ─▶ data directory ─▶ store, blobs, keys ─▶ fleet ─▶ analyses, models, jobs ─▶ toolbox ─▶ router ─▶ edge
//! ```

mod app;
mod bearers;
mod embeddings;
mod health;
mod parts;

use clap::{Args, ValueEnum};
use paddock_jobs::Role;
use paddock_platform::{
    config::Watcher,
    http::{Server, ServerError},
    signal::stop_on_signals,
    task::Tasks,
    telemetry::Telemetry,
};
use tokio_util::sync::CancellationToken;

pub(crate) use self::parts::Parts;
use crate::{
    cli::{ConfigArgs, DataArgs, say},
    config::{Config, RESTART_KEYS, load, loader},
    data_dir::{DataDir, DataDirError},
    demo,
    exit::{CommandError, CommandResult, Exit},
};

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
