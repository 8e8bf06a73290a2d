//! The whole configuration: one section per area, put together here and nowhere else.

use paddock_agents::AgentsOptions;
use paddock_analysis::AnalysisOptions;
use paddock_browser::BrowserOptions;
use paddock_jobs::JobsOptions;
use paddock_llm::LlmOptions;
use paddock_platform::{
    blobs::BlobsOptions,
    bus::BusOptions,
    config::{Loaded, Loader},
    events::EventsOptions,
    http::ServerOptions,
    mcp::McpOptions,
    store::StoreOptions,
    telemetry::TelemetryOptions,
};
use paddock_registry::RegistryOptions;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    cli::ConfigArgs,
    exit::{CommandError, Exit},
};

/// The file that is used when none is named, if it is there.
pub(crate) const FILE_DEFAULT: &str = "paddock.toml";

/// Keys and sections that are read once, at start; a reload says so when they change.
pub(crate) const RESTART_KEYS: &[&str] = &[
    "server.listen",
    "server.connections_max",
    "server.header_timeout",
    "server.shutdown",
    "server.debug",
    "store",
    "bus",
    "blobs",
    "events",
    "telemetry",
    "browser.engine",
    "browser.sandbox",
    "analysis.concurrency_max",
    "llm.body_max",
    "llm.log.queue_max",
    "llm.resilience.connect_timeout",
    "agents.agents_max",
    "agents.mailbox_max",
    "agents.message_max",
    "agents.sends_max",
    "agents.state_max",
    "agents.batch_max",
    "agents.block_max",
    "agents.park_after",
    "agents.awake_max",
    "agents.checkpoint_messages",
    "agents.checkpoint_interval",
    "agents.pending_max",
    "agents.dead_letters_max",
    "agents.reminders_max",
    "agents.asks_max",
    "agents.timeline_pending_max",
    "agents.slow_after",
    "agents.wasm",
    "agents.nodes",
    "registry.root",
    "registry.gateway.processes_max",
    "registry.gateway.tools_max",
    "jobs.concurrency",
    "jobs.pollers_max",
    "jobs.pending_max",
    "jobs.missions.watchers_max",
];

/// Paddock's configuration. Everything has a default: an empty file is a working server.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Config {
    /// The HTTP server: where it listens, who may ask, and how much.
    pub server: ServerOptions,
    /// The database.
    pub store: StoreOptions,
    /// How servers that share a database reach each other.
    pub bus: BusOptions,
    /// Where files are kept: reports and pictures.
    pub blobs: BlobsOptions,
    /// Live events of all areas.
    pub events: EventsOptions,
    /// The fleet of browsers.
    pub browser: BrowserOptions,
    /// Durable jobs: queues, workers, and what they are allowed.
    pub jobs: JobsOptions,
    /// The page analyser.
    pub analysis: AnalysisOptions,
    /// The model gateway.
    pub llm: LlmOptions,
    /// Agents: prompts, WebAssembly components, and agents elsewhere.
    pub agents: AgentsOptions,
    /// The registry of MCP servers: where entries come from, and who sees which of them.
    pub registry: RegistryOptions,
    /// The tools as an MCP server.
    pub mcp: McpOptions,
    /// Logs and traces.
    pub telemetry: TelemetryOptions,
}

/// The layers of the configuration that a command was given.
pub(crate) fn loader(args: &ConfigArgs) -> Loader {
    let loader = match &args.config {
        Some(file) => Loader::new().with_file(file),
        None => Loader::new().with_file_if_present(FILE_DEFAULT),
    };
    loader.with_process_env().with_set(args.set.iter().cloned())
}

/// Loads the configuration that a command was given.
pub(crate) fn load(args: &ConfigArgs) -> Result<Loaded<Config>, CommandError> {
    loader(args).load().map_err(|error| CommandError::from_error(Exit::Usage, &error))
}
