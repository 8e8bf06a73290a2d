//! One configured server: started when it is needed, left alone for a while when it fails, stopped when nobody uses it.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use metrics::{counter, gauge};
use paddock_platform::task::Tasks;
use serde_json::Value;
use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::CancellationToken;

use super::{
    calls::Places,
    client::{Client, KnownTool},
    config::{GatewayServerOptions, RemoteKind},
    conversation::{Conversation, Side, Unclaimed},
    error::GatewayError,
    policy::Policy,
    process::Program,
    remote::{Remote, open_sse, open_streamable},
    sessions::Sessions,
    target::{Target, TargetError, Way},
};
use crate::metrics::{REGISTRY_GATEWAY_STARTS_TOTAL, REGISTRY_GATEWAY_TOOLS};

/// The pause after a second failure in a row; it doubles. After the first one there is none.
const BACKOFF_MIN: Duration = Duration::from_millis(500);
/// Whoever lasted as long has not failed again and again.
const SETTLED_AFTER: Duration = Duration::from_secs(30);
/// How long secrets and entries that were read are used.
const TARGET_LIFE: Duration = Duration::from_secs(10);
/// How often tools of servers elsewhere are listed anew.
const REFRESH_INTERVAL: Duration = Duration::from_mins(5);
/// How often it is looked whether a server is idle or gone.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// Finds a `server.json` in the registry, by name and version.
pub(super) type FindEntry = Arc<dyn Fn(&str, &str) -> Option<Value> + Send + Sync>;

/// What all servers share.
#[derive(Clone)]
pub(super) struct Shared {
    pub(super) tasks: Tasks,
    pub(super) http: reqwest::Client,
    pub(super) find_entry: FindEntry,
    pub(super) processes: Arc<Semaphore>,
    pub(super) processes_max: usize,
    pub(super) tools_max: usize,
    /// Tools have changed.
    pub(super) changed: Arc<Notify>,
}

/// How a server does.
#[derive(Debug, Default)]
struct Condition {
    failures: u32,
    not_before: Option<Instant>,
    last_failure: Option<String>,
    starts: u64,
    listed_at: Option<Instant>,
}

impl Condition {
    fn remember(&mut self, reason: &str) {
        self.last_failure = Some(reason.to_owned());
    }
}

#[derive(Default)]
struct Open {
    own: Option<Client>,
    stateless: Option<Conversation>,
}

/// A configured server.
pub(super) struct Server {
    pub(super) name: Arc<str>,
    pub(super) options: GatewayServerOptions,
    pub(super) policy: Policy,
    pub(super) places: Places,
    pub(super) sessions: Sessions,
    pub(super) shared: Shared,
    pub(super) tools: ArcSwap<Vec<KnownTool>>,
    target: Mutex<Option<(Instant, Target)>>,
    open: tokio::sync::Mutex<Open>,
    condition: Mutex<Condition>,
    relist: Notify,
    pub(super) stop: CancellationToken,
}

impl Server {
    pub(super) fn new(options: GatewayServerOptions, shared: Shared) -> Self {
        Self {
            name: options.name.as_str().into(),
            policy: Policy::compile(&options.tools),
            places: Places::new(&options),
            sessions: Sessions::new(&options),
            options,
            shared,
            tools: ArcSwap::default(),
            target: Mutex::default(),
            open: tokio::sync::Mutex::default(),
            condition: Mutex::default(),
            relist: Notify::new(),
            stop: CancellationToken::new(),
        }
    }

    fn condition(&self) -> MutexGuard<'_, Condition> {
        self.condition.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What it is, with secrets as they are now.
    pub(super) fn target(&self) -> Result<Target, GatewayError> {
        let mut known = self.target.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((read, target)) = &*known
            && read.elapsed() < TARGET_LIFE
        {
            return Ok(target.clone());
        }
        let entry = self
            .options
            .entry
            .as_ref()
            .and_then(|entry| (self.shared.find_entry)(&entry.name, &entry.version));
        let target = Target::of(&self.options, entry.as_ref()).map_err(|error: TargetError| {
            let reason = error.to_string();
            self.condition().remember(&reason);
            self.unavailable(&reason)
        })?;
        *known = Some((Instant::now(), target.clone()));
        Ok(target)
    }

    fn unavailable(&self, reason: &str) -> GatewayError {
        let wait = self.condition().not_before.map(|at| at.saturating_duration_since(Instant::now()));
        GatewayError::Unavailable {
            server: self.name.to_string(),
            reason: reason.to_owned(),
            retry_after: wait.unwrap_or_default().max(Duration::from_secs(1)),
        }
    }

    /// How it is reached, if it is reached over streamable HTTP.
    pub(super) fn remote(&self, target: &Target) -> Option<Remote> {
        let Way::Remote { kind: RemoteKind::StreamableHttp, url, headers } = &target.way else { return None };
        Some(self.remote_at(target, url, headers))
    }

    fn remote_at(&self, target: &Target, url: &url::Url, headers: &http::HeaderMap) -> Remote {
        Remote {
            url: url.clone(),
            http: self.shared.http.clone(),
            headers: headers.clone(),
            message_size_max: self.options.message_size_max.as_usize(),
            mask: Arc::clone(&target.mask),
        }
    }

    /// Starts or connects to it.
    pub(super) async fn connect(&self, side: Side) -> Result<Conversation, GatewayError> {
        if let Some(wait) = self.waits() {
            let reason = self.last_failure().unwrap_or_default();
            return Err(GatewayError::Unavailable {
                server: self.name.to_string(),
                reason,
                retry_after: wait,
            });
        }
        let target = self.target()?;
        let line = match &target.way {
            Way::Program { command, env } => {
                let max = self.shared.processes_max;
                let place = Arc::clone(&self.shared.processes).try_acquire_owned().map_err(|_| {
                    GatewayError::TooMany {
                        server: self.name.to_string(),
                        what: "processes beside those of others",
                        max,
                    }
                })?;
                let program = Program {
                    server: Arc::clone(&self.name),
                    command: command.clone(),
                    directory: self.options.directory.clone(),
                    env: env.clone(),
                    memory_max: self.options.memory_max.get(),
                    message_size_max: self.options.message_size_max.as_usize(),
                    mask: Arc::clone(&target.mask),
                };
                program.start(place, &self.shared.tasks).map_err(|error| format!("it cannot be run: {error}"))
            }
            Way::Remote { kind: RemoteKind::StreamableHttp, url, headers } => {
                Ok(open_streamable(self.remote_at(&target, url, headers), &self.shared.tasks))
            }
            Way::Remote { kind: RemoteKind::Sse, url, headers } => {
                let opening = open_sse(self.remote_at(&target, url, headers), &self.shared.tasks);
                match tokio::time::timeout(self.options.start_timeout.get(), opening).await {
                    Ok(opened) => opened.map_err(|error| error.to_string()),
                    Err(_) => Err("it does not answer".to_owned()),
                }
            }
        };
        match line {
            Ok(line) => {
                let conversation = Conversation::begin(line, side, &self.shared.tasks);
                self.condition().starts += 1;
                counter!(REGISTRY_GATEWAY_STARTS_TOTAL, "server" => Arc::clone(&self.name), "outcome" => "ok").increment(1);
                Ok(conversation)
            }
            Err(reason) => Err(self.failed(&reason)),
        }
    }

    /// Notes a failure; the next try has to wait if it was not the first.
    pub(super) fn failed(&self, reason: &str) -> GatewayError {
        counter!(REGISTRY_GATEWAY_STARTS_TOTAL, "server" => Arc::clone(&self.name), "outcome" => "failed")
            .increment(1);
        tracing::warn!(mcp.server = &*self.name, reason, "an MCP server failed");
        {
            let mut condition = self.condition();
            let is_settled = condition.not_before.is_none_or(|at| at.elapsed() > SETTLED_AFTER);
            condition.failures = if is_settled { 1 } else { condition.failures.saturating_add(1) };
            let pause = pause_after(condition.failures, self.options.backoff_max.get());
            condition.not_before = Some(Instant::now() + pause);
            condition.remember(reason);
        }
        self.unavailable(reason)
    }

    /// Notes the end of a conversation that was still needed.
    fn note_end(&self, conversation: &Conversation) {
        if !conversation.is_end_wanted() {
            let _ = self.failed(&conversation.ended().to_string());
        }
    }

    /// How long it is left alone yet.
    fn waits(&self) -> Option<Duration> {
        let wait = self.condition().not_before?.saturating_duration_since(Instant::now());
        (!wait.is_zero()).then_some(wait)
    }

    pub(super) fn last_failure(&self) -> Option<String> {
        self.condition().last_failure.clone()
    }

    /// Paddock's own conversation with it, begun if there is none.
    pub(super) async fn own(&self) -> Result<Client, GatewayError> {
        let mut open = self.open.lock().await;
        if let Some(client) = &open.own
            && !client.conversation.is_over()
        {
            return Ok(client.clone());
        }
        if let Some(gone) = open.own.take() {
            self.note_end(&gone.conversation);
        }
        let conversation = self.connect(Side::Own).await?;
        let unclaimed = Unclaimed::new(&conversation);
        let timeout = self.options.start_timeout.get();
        match Client::begin(&self.name, conversation.clone(), timeout, &self.shared.tasks).await {
            Ok(client) => {
                unclaimed.claim();
                open.own = Some(client.clone());
                self.relist.notify_one();
                Ok(client)
            }
            Err(error) => {
                conversation.kill("it did not begin as servers do");
                Err(self.failed(&error.reason()))
            }
        }
    }

    /// The conversation of clients without sessions.
    pub(super) async fn stateless(&self) -> Result<Conversation, GatewayError> {
        let mut open = self.open.lock().await;
        if let Some(conversation) = &open.stateless
            && !conversation.is_over()
        {
            return Ok(conversation.clone());
        }
        let conversation = self.connect(Side::Stateless).await?;
        open.stateless = Some(conversation.clone());
        Ok(conversation)
    }

    /// Runs until the server is no longer configured, or Paddock stops.
    pub(super) async fn supervise(self: Arc<Self>) {
        let mut look = tokio::time::interval(LOOK_INTERVAL);
        loop {
            let conversation = self.open.lock().await.own.as_ref().map(|own| own.conversation.clone());
            let changed = async {
                match &conversation {
                    Some(conversation) => conversation.tools_changed.notified().await,
                    None => std::future::pending().await,
                }
            };
            let is_asked = tokio::select! {
                () = self.stop.cancelled() => break,
                () = changed => true,
                () = self.relist.notified() => true,
                _ = look.tick() => false,
            };
            self.sweep().await;
            if is_asked || self.is_list_due() {
                self.list().await;
            }
        }
        self.close().await;
    }

    fn is_list_due(&self) -> bool {
        let (listed, is_program) = (self.condition().listed_at, self.options.url.is_none());
        match listed {
            None => self.waits().is_none(),
            // A program says so when its tools change.
            Some(at) => !is_program && at.elapsed() > REFRESH_INTERVAL && self.waits().is_none(),
        }
    }

    /// Asks for its tools.
    async fn list(&self) {
        let listing = async {
            let client = self.own().await?;
            client
                .tools(self.shared.tools_max, self.options.timeout.get(), |name| self.policy.allows(name))
                .await
        };
        let listed = tokio::select! {
            listed = listing => listed,
            () = self.stop.cancelled() => return,
        };
        match listed {
            Ok(tools) => {
                self.condition().listed_at = Some(Instant::now());
                gauge!(REGISTRY_GATEWAY_TOOLS, "server" => Arc::clone(&self.name)).set(tools.len() as f64);
                self.tools.store(Arc::new(tools));
                self.shared.changed.notify_one();
            }
            Err(GatewayError::Unavailable { .. } | GatewayError::TooMany { .. }) => {}
            Err(error) => {
                let _ = self.failed(&error.reason());
            }
        }
    }

    /// Ends what nobody uses, and notes what has ended.
    async fn sweep(&self) {
        self.sessions.sweep();
        let idle_after = self.options.idle_after.get();
        let is_idle =
            |conversation: &Conversation| conversation.idle_for().is_some_and(|idle| idle >= idle_after);
        let mut open = self.open.lock().await;
        if let Some(own) = open.own.as_ref().map(|own| own.conversation.clone()) {
            if own.is_over() {
                open.own = None;
                self.note_end(&own);
            } else if is_idle(&own) {
                own.close();
                open.own = None;
            }
        }
        if let Some(stateless) = &open.stateless
            && (stateless.is_over() || is_idle(stateless))
        {
            stateless.close();
            open.stateless = None;
        }
    }

    async fn close(&self) {
        self.sessions.close_all();
        let mut open = self.open.lock().await;
        if let Some(own) = open.own.take() {
            own.conversation.close();
        }
        if let Some(stateless) = open.stateless.take() {
            stateless.close();
        }
    }

    /// How it does: `ready`, `idle`, `starting` or `failed`.
    pub(super) fn state(&self) -> &'static str {
        let is_running = self
            .open
            .try_lock()
            .is_ok_and(|open| open.own.as_ref().is_some_and(|own| !own.conversation.is_over()));
        let has_failed = self.waits().is_some();
        let condition = self.condition();
        match (is_running, condition.listed_at.is_some()) {
            (true, true) => "ready",
            (false, _) if has_failed => "failed",
            (false, true) => "idle",
            (false, false) if condition.failures > 0 => "failed",
            (_, false) => "starting",
        }
    }

    pub(super) fn starts(&self) -> u64 {
        self.condition().starts
    }

    /// A tool by its own name.
    pub(super) fn has_tool(&self, name: &str) -> bool {
        self.tools.load().iter().any(|tool| tool.name == name)
    }
}

fn pause_after(failures: u32, max: Duration) -> Duration {
    match failures {
        0 | 1 => Duration::ZERO,
        more => BACKOFF_MIN.saturating_mul(1 << (more - 2).min(20)).min(max),
    }
}

/// Servers by name.
pub(super) type Servers = HashMap<String, Arc<Server>>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_first_failure_costs_nothing_and_the_others_more_and_more() {
        let max = Duration::from_mins(1);
        let pauses: Vec<u128> =
            [1, 2, 3, 4, 30].map(|failures| pause_after(failures, max).as_millis()).into();
        assert_eq!(pauses, [0, 500, 1000, 2000, 60_000]);
    }
}
