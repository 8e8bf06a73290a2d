//! The gateway: MCP servers that Paddock runs or reaches on behalf of agents.
//!
//! ```text
//! /mcp/{server} ─▶ routes ─▶ proxy ───────────────▶ streamable HTTP, as it is
//!                       └──▶ bridge ─▶ Conversation ─▶ Line ─▶ a program's standard input and output, or SSE
//! toolbox ─▶ guest ─▶ Client ─▶ Conversation ─▶ Line ─▶ any of them
//! ```
//!
//! - `/mcp/{server}` passes messages on as they are, but for ids, sessions and progress tokens, which are mapped, secrets,
//!   which are taken out, and tools that the caller may not have. A client has a session of its own, and a program is run
//!   for each; clients of a protocol without sessions share one.
//! - Paddock has a conversation of its own with each server, in which it lists its tools and calls them for the toolbox.
//! - A server is started when it is needed. One that fails is left alone for longer and longer; one that answers nothing
//!   is killed by process group; one that nobody uses is stopped.

mod blocks;
mod bridge;
mod calls;
mod catalogue;
mod client;
mod config;
mod conversation;
mod error;
mod guest;
mod line;
mod message;
mod policy;
mod process;
mod proxy;
mod remote;
mod routes;
mod secrets;
mod server;
mod sessions;
mod target;

use std::{collections::HashMap, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use paddock_platform::{identity::Caller, problem::Problem, tool::GuestTool};
use schemars::JsonSchema;
use serde::Serialize;
use tokio::sync::{Notify, Semaphore};
use utoipa::ToSchema;

use self::{
    calls::Audit,
    catalogue::{Catalogue, Listed},
    policy::{Held, Rules},
    server::{Server, Servers, Shared},
};
use crate::registry::Registry;

pub use self::{
    catalogue::ToolHit,
    config::{
        GatewayEntryOptions, GatewayOptions, GatewayRuleOptions, GatewayServerOptions, RemoteKind, ToolRules,
    },
    error::{GatewayError, MCP_SERVER_FAILED, MCP_SERVER_UNAVAILABLE, TOOL_FAILED},
    routes::{MCP_SERVER_ROUTE, routes},
};

/// How often the configuration is compared with what is in force.
const RELOAD_INTERVAL: Duration = Duration::from_millis(250);
/// How long a connection to a server may take to open.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// The servers of one moment.
struct Board {
    options: GatewayOptions,
    servers: Servers,
    rules: Rules,
    catalogue: ArcSwap<Catalogue>,
    tools_listed_max: usize,
}

struct Inner {
    registry: Registry,
    board: ArcSwap<Board>,
    shared: Shared,
    audit: Audit,
    own_tools: [Arc<GuestTool>; 2],
}

/// The gateway of a server. Cheap to clone.
#[derive(Clone)]
pub struct Gateway(Arc<Inner>);

impl std::fmt::Debug for Gateway {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Gateway")
    }
}

/// How one server does.
#[derive(Clone, Debug, Serialize, JsonSchema, ToSchema)]
pub struct GatewayServerStatus {
    /// Its name.
    pub name: String,
    /// `entry`, `url` or `command`.
    pub kind: &'static str,
    /// `ready`, `idle` (it is started when it is needed), `starting` or `failed`.
    pub state: &'static str,
    /// Its tools that the caller may call.
    pub tools: usize,
    /// Sessions that clients have with it.
    pub sessions: usize,
    /// Calls that run.
    pub calls: usize,
    /// How often it was started or connected to.
    pub starts: u64,
    /// Why it failed last, if it did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl Gateway {
    /// Starts what is configured, and follows reloads.
    pub fn start(registry: &Registry) -> Self {
        let tasks = registry.0.tasks.clone();
        let options = registry.options().gateway.clone();
        // Building fails only where the system has no TLS roots or no randomness: then no URL can be reached either.
        let http = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            // A redirect would carry credentials elsewhere.
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("paddock/", env!("CARGO_PKG_VERSION")))
            .build()
            .unwrap_or_default();
        let of_entries = registry.clone();
        let shared = Shared {
            tasks: tasks.clone(),
            http,
            find_entry: Arc::new(move |name, version| of_entries.entry_json(name, version)),
            processes: Arc::new(Semaphore::new(options.processes_max.min(Semaphore::MAX_PERMITS))),
            processes_max: options.processes_max,
            tools_max: options.tools_max,
            changed: Arc::new(Notify::new()),
        };
        let audit = Audit::start(registry.0.store.clone(), &tasks);
        let empty = Board {
            options: GatewayOptions::default(),
            servers: HashMap::new(),
            rules: Rules::default(),
            catalogue: ArcSwap::default(),
            tools_listed_max: 0,
        };
        let gateway = Self(Arc::new(Inner {
            registry: registry.clone(),
            board: ArcSwap::from_pointee(empty),
            shared,
            audit,
            own_tools: guest::own_tools(),
        }));
        gateway.apply(options);
        let (following, stopping) = (gateway.clone(), tasks.stop_token());
        tasks.spawn("registry_gateway", async move {
            let _: Option<()> = stopping.run_until_cancelled(following.follow()).await;
        });
        gateway
    }

    /// Puts changed options in force, and tools that have changed into the catalogue.
    async fn follow(&self) {
        let mut look = tokio::time::interval(RELOAD_INTERVAL);
        loop {
            tokio::select! {
                () = self.0.shared.changed.notified() => {
                    let board = self.0.board.load_full();
                    board.catalogue.store(Arc::new(Catalogue::of(&board.servers)));
                }
                _ = look.tick() => {
                    let wanted = self.0.registry.options();
                    if wanted.gateway != self.0.board.load().options {
                        self.apply(wanted.gateway.clone());
                    }
                }
            }
        }
    }

    /// What stays as it is goes on undisturbed.
    fn apply(&self, options: GatewayOptions) {
        let before = self.0.board.load_full();
        let mut servers = Servers::new();
        let mut started = Vec::new();
        for wanted in &options.servers {
            let known = before.servers.get(&wanted.name).filter(|server| server.options == *wanted);
            let server = known.cloned().unwrap_or_else(|| {
                let server = Arc::new(Server::new(wanted.clone(), self.0.shared.clone()));
                started.push(Arc::clone(&server));
                server
            });
            servers.insert(wanted.name.clone(), server);
        }
        let gone = before
            .servers
            .values()
            .filter(|server| servers.get(&*server.name).is_none_or(|kept| !Arc::ptr_eq(kept, server)));
        gone.for_each(|server| server.stop.cancel());
        let catalogue = ArcSwap::from_pointee(Catalogue::of(&servers));
        let rules = Rules::compile(&options.rules);
        let tools_listed_max = options.tools_listed_max;
        self.0.board.store(Arc::new(Board { options, servers, rules, catalogue, tools_listed_max }));
        for server in started {
            let stopping = self.0.shared.tasks.stop_token();
            self.0.shared.tasks.spawn("registry_gateway_server", async move {
                let stop = server.stop.clone();
                let supervising = server.supervise();
                tokio::select! {
                    () = async { stopping.cancelled().await; stop.cancel(); std::future::pending().await } => {}
                    () = supervising => {}
                }
            });
        }
    }

    fn server(&self, name: &str) -> Result<Arc<Server>, GatewayError> {
        let board = self.0.board.load();
        board.servers.get(name).cloned().ok_or_else(|| GatewayError::NoServer(name.to_owned()))
    }

    /// What a caller may call of a server.
    fn held(&self, server: &Server, caller: &Caller) -> Held {
        Held::new(&server.name, &server.policy, &self.0.board.load().rules, caller)
    }

    /// How the servers do, as far as a caller may see them.
    pub fn status(&self, caller: &Caller) -> Vec<GatewayServerStatus> {
        let board = self.0.board.load();
        let catalogue = board.catalogue.load();
        let allowed = board.rules.of(caller);
        let mut tools: HashMap<&str, usize> = HashMap::new();
        for Listed { server, .. } in catalogue.allowed(&allowed) {
            *tools.entry(&**server).or_default() += 1;
        }
        let of_server = |server: &Arc<Server>| GatewayServerStatus {
            name: server.name.to_string(),
            kind: match (&server.options.entry, &server.options.url) {
                (Some(_), _) => "entry",
                (None, Some(_)) => "url",
                (None, None) => "command",
            },
            state: server.state(),
            tools: tools.get(&*server.name).copied().unwrap_or_default(),
            sessions: server.sessions.len(),
            calls: server.places.running(),
            starts: server.starts(),
            error: server.last_failure(),
        };
        let mut servers: Vec<_> = board.servers.values().map(of_server).collect();
        servers.sort_by(|a, b| a.name.cmp(&b.name));
        servers
    }

    /// The tools that fit some words best, out of those that the caller may call, and how many there are.
    pub async fn search_tools(
        &self,
        caller: &Caller,
        query: String,
        server: Option<String>,
        limit: usize,
    ) -> Result<(Vec<ToolHit>, usize), Problem> {
        const QUERY_LENGTH_MAX: usize = 500;
        if query.len() > QUERY_LENGTH_MAX {
            return Err(Problem::invalid_field("query", format!("is longer than {QUERY_LENGTH_MAX} bytes")));
        }
        let (board, caller) = (self.0.board.load_full(), caller.clone());
        // Computation, and the first search of a catalogue makes its index.
        let searching = tokio::task::spawn_blocking(move || {
            let catalogue = board.catalogue.load();
            catalogue.search(&query, server.as_deref(), limit, &board.rules.of(&caller))
        });
        searching.await.map_err(|error| Problem::internal("searching tools", &error))
    }
}
