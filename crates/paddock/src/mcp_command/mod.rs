//! `paddock mcp`: the tools over standard input and output, for clients that start their servers themselves.
//!
//! A running server is used if there is one, so that its browsers, limits and keys hold for all who come; otherwise
//! this process is a server of its own that ends with the conversation. Standard output belongs to the protocol.

mod bridge;

use std::time::Duration;

use clap::Args;
use paddock_jobs::Role;
use paddock_platform::{
    config::Watcher,
    identity::Caller,
    mcp::{StdioError, serve_stdio},
    signal::stop_on_signals,
    task::Tasks,
    telemetry::{Telemetry, TelemetryOptions},
};
use reqwest::Method;
use tokio_util::sync::CancellationToken;

use crate::{
    cli::{ConfigArgs, complain},
    client::{Client, ServerArgs},
    config::{RESTART_KEYS, load, loader},
    exit::{CommandError, CommandResult, Exit},
    serve::{Parts, hold},
};

/// How the tools go together, for a model.
pub(crate) const INSTRUCTIONS: &str = "Browsers for agents, and a page analyser. Start with browser_navigate; it answers \
    with the page as lines such as `e5:button \"Buy\"`. Act on what you see by its reference (e5): references stay the \
    same while the element lives. Actions answer with what changed, so a new browser_snapshot is rarely needed. Without \
    tabId, tools use the tab that you used last.";
/// How long a server that nobody named may take to say that it is there.
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);

/// Flags of `paddock mcp`.
#[derive(Debug, Args)]
pub(crate) struct McpArgs {
    #[command(flatten)]
    server: ServerArgs,
    /// Use no running server, even if there is one
    #[arg(long, conflicts_with = "server")]
    embedded: bool,
    /// Without a running server: the directory for what outlives the conversation, such as profiles [default: none; all
    /// is gone at the end]
    #[arg(long, value_name = "DIR", env = "PADDOCK_DATA")]
    data: Option<std::path::PathBuf>,
    #[command(flatten)]
    config: ConfigArgs,
}

/// Runs the command until the client closes its end, or a signal.
pub(crate) async fn run(args: McpArgs) -> CommandResult {
    let stop = CancellationToken::new();
    stop_on_signals(stop.clone()).map_err(|error| CommandError::from_error(Exit::Failure, &error))?;
    if !args.embedded {
        let client = Client::new(&args.server, &args.config)?;
        if args.server.server.is_some() {
            client.json(client.request(Method::GET, "/tools").timeout(PROBE_TIMEOUT * 5)).await?;
        }
        let probe = client.json(client.request(Method::GET, "/tools").timeout(PROBE_TIMEOUT));
        match probe.await {
            Ok(_) => {
                complain(format_args!("paddock mcp: using the server at {}", client.base()));
                return bridge::run(client, stop).await;
            }
            Err(error) if error.exit != Exit::NoServer => {
                complain(format_args!("paddock mcp: not using the server at {}: {error}", client.base()));
            }
            Err(_) => {}
        }
    }
    Box::pin(embedded(args, stop)).await
}

/// Serves from this process, with browsers of its own.
async fn embedded(args: McpArgs, stop: CancellationToken) -> CommandResult {
    let failure = |error: &(dyn std::error::Error + 'static)| CommandError::from_error(Exit::Failure, error);
    let mut loaded = load(&args.config)?;
    // Clients show what is logged to their user, or keep it for ever.
    if loaded.config.telemetry == TelemetryOptions::default() {
        "warn".clone_into(&mut loaded.config.telemetry.log);
    }
    let scratch = tempfile::tempdir().map_err(|error| failure(&error))?;
    let data = hold(args.data.as_deref().unwrap_or(scratch.path()))?;
    let telemetry = Telemetry::start(&loaded.config.telemetry, &[]).map_err(|error| failure(&error))?;
    let tasks = Tasks::default();
    let (live, reloads) = Watcher::spawn(loader(&args.config), loaded, RESTART_KEYS, &tasks)
        .map_err(|error| failure(&error))?;
    let role = Role { works: true, queues: Vec::new() };
    let parts = Parts::start(live, reloads, data.path().to_owned(), tasks, telemetry, role).await?;
    complain(format_args!("paddock mcp: no server is running; this process is one until its input ends"));
    let serving = Box::pin(serve_stdio(parts.mcp(), Caller::local()));
    let ended = stop.run_until_cancelled(serving).await.unwrap_or(Ok(()));
    parts.stop().await?;
    ended.map_err(|error| match error {
        StdioError::Begin(_) => CommandError::from_error(Exit::Usage, &error),
        StdioError::BrokeOff(_) => failure(&error),
    })
}
