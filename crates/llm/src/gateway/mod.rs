//! The gateway: a call from its first byte to its last.
//!
//! ```text
//! body ─▶ facts ─▶ limits, guards ─▶ cache ─▶ route ─▶ attempt ─┬─▶ answer  ─▶ ledger, log
//!                                        ▲                     │
//!                                        └── another place ◀───┘ failed before its first token
//! ```

mod answer;
mod attempt;
mod cache;
mod call;
mod complete;
mod complete_stream;
mod decisions;
mod embed;
mod failed;
mod looks;
mod record;
mod relay;
mod search;
mod semantic;
mod serve;
mod status;
mod stream;
#[cfg(test)]
mod tests;
mod texts;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use metrics::gauge;
use paddock_platform::{
    config::Section,
    health::Finding,
    store::{Store, StoreError},
    task::Tasks,
};
use tokio::sync::watch;

pub(crate) use answer::X_ROUTE;
#[cfg(any(test, feature = "internals"))]
pub(crate) use call::Call;
pub(crate) use complete::problem_of;
pub use complete::{CompleteInput, Completion, CompletionStop, PromptMessage, PromptTool, PromptToolCall};
pub use complete_stream::{CompletionStream, Piece};
pub(crate) use decisions::Decision;
pub use semantic::SemanticOptions;
pub use status::{BreakerAction, BreakerInput, BudgetStatus, LaneStatus, RouteStatus, Status};

use crate::{
    config::LlmOptions,
    gateway::{cache::AnswerCache, decisions::Decisions},
    govern::{Ledger, RequestLog},
    metrics::{LLM_BREAKERS_OPEN, LLM_CALLS_IN_FLIGHT, LLM_PROVIDER_UP},
    resilience::Allowance,
    routing::{Lanes, Plan},
    store::MIGRATIONS,
    upstream::{HttpClient, http_client},
};

/// How often the options are compared with those in force.
const RELOAD_INTERVAL: Duration = Duration::from_millis(500);
/// How often gauges are set.
const REPORT_INTERVAL: Duration = Duration::from_secs(5);
/// How long a probe may take.
const PROBE_TIMEOUT: Duration = Duration::from_secs(10);

/// The gateway could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    /// The configuration is wrong.
    #[error("{0}")]
    Options(String),
    /// The store failed.
    #[error("the gateway's tables cannot be used")]
    Store(#[from] StoreError),
}

/// Models of every provider behind one door. Cheap to clone.
#[derive(Clone)]
pub struct Gateway(Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) plan: ArcSwap<Plan>,
    pub(crate) lanes: Arc<Lanes>,
    pub(crate) http: HttpClient,
    pub(crate) store: Store,
    pub(crate) ledger: Ledger,
    pub(crate) log: RequestLog,
    pub(crate) retries: Allowance,
    pub(crate) hedges: Allowance,
    pub(crate) decisions: Decisions,
    pub(crate) cache: ArcSwap<AnswerCache>,
    pub(crate) in_flight: AtomicUsize,
    /// Why the options as they are now are not in force.
    refused: watch::Sender<Option<String>>,
}

impl std::fmt::Debug for Gateway {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Gateway")
    }
}

impl Gateway {
    /// Opens the gateway and starts what it needs in the background.
    pub async fn open(
        section: Section<LlmOptions>,
        store: Store,
        tasks: &Tasks,
    ) -> Result<Self, GatewayError> {
        store.migrate(&MIGRATIONS).await?;
        let options = section.current();
        let http = http_client(options.resilience.connect_timeout.get());
        let lanes = Arc::<Lanes>::default();
        let cache = AnswerCache::new(&options.cache);
        let seen = options.clone();
        let plan = Plan::new(options, &http, &lanes, None).map_err(GatewayError::Options)?;
        let gateway = Self(Arc::new(Inner {
            plan: ArcSwap::from_pointee(plan),
            lanes,
            http,
            ledger: Ledger::open(store.clone(), tasks).await?,
            log: RequestLog::start(store.clone(), section.clone(), tasks),
            store,
            retries: Allowance::default(),
            hedges: Allowance::default(),
            decisions: Decisions::default(),
            cache: ArcSwap::from_pointee(cache),
            in_flight: AtomicUsize::new(0),
            refused: watch::Sender::new(None),
        }));
        gateway.spawn_reloader(section, seen, tasks);
        gateway.spawn_reporter(tasks);
        gateway.spawn_prober(tasks);
        Ok(gateway)
    }

    pub(crate) fn inner(&self) -> &Arc<Inner> {
        &self.0
    }

    /// How the gateway does: whether its options hold, and whether anything answers.
    pub fn health(&self) -> Finding {
        if let Some(error) = &*self.0.refused.borrow() {
            return Finding::degraded(
                format!("{error}; the configuration before is kept"),
                "correct `[llm]` in the configuration",
            );
        }
        let plan = self.0.plan.load();
        let lanes = self.0.lanes.all();
        let open = lanes.iter().filter(|lane| !lane.is_open_to_calls()).count();
        let detail = format!(
            "{} providers, {} models, {open} of {} credentials and models rest",
            plan.providers.len(),
            plan.models().len(),
            lanes.len()
        );
        if !lanes.is_empty() && open == lanes.len() {
            return Finding::degraded(detail, "`paddock llm breakers` says which and why");
        }
        Finding::ok(detail)
    }

    /// Puts options in force when they have changed. Wrong ones are reported, and those before kept.
    fn spawn_reloader(&self, section: Section<LlmOptions>, mut seen: LlmOptions, tasks: &Tasks) {
        let (gateway, stopping) = (self.clone(), tasks.stop_token());
        tasks.spawn("llm-reload", async move {
            while stopping.run_until_cancelled(tokio::time::sleep(RELOAD_INTERVAL)).await.is_some() {
                let options = section.current();
                if options == seen {
                    continue;
                }
                seen = options.clone();
                gateway.reload(options);
            }
        });
    }

    fn reload(&self, options: LlmOptions) {
        let inner = &self.0;
        let before = inner.plan.load_full();
        match Plan::new(options, &inner.http, &inner.lanes, Some(&before)) {
            Ok(plan) => {
                if plan.options.cache != before.options.cache {
                    inner.cache.store(Arc::new(AnswerCache::new(&plan.options.cache)));
                }
                inner.plan.store(Arc::new(plan));
                inner.refused.send_replace(None);
                tracing::info!("the model gateway's configuration was reloaded");
            }
            Err(error) => {
                tracing::error!(
                    error,
                    "the model gateway's configuration is not in force; the one before is kept"
                );
                inner.refused.send_replace(Some(error));
            }
        }
    }

    fn spawn_reporter(&self, tasks: &Tasks) {
        let (gateway, stopping) = (self.clone(), tasks.stop_token());
        tasks.spawn("llm-report", async move {
            while stopping.run_until_cancelled(tokio::time::sleep(REPORT_INTERVAL)).await.is_some() {
                let inner = &gateway.0;
                let now = crate::clock::now_ms();
                let lanes = inner.lanes.all();
                for lane in &lanes {
                    lane.report(now);
                }
                let open = lanes.iter().filter(|lane| lane.state().name(now) == "open").count();
                gauge!(LLM_BREAKERS_OPEN).set(open as f64);
                gauge!(LLM_CALLS_IN_FLIGHT).set(inner.in_flight.load(Ordering::Relaxed) as f64);
                inner.plan.load().limits.report();
            }
        });
    }

    /// Asks providers whether they answer. One that does is not waited for longer than it must be: its open breakers
    /// become half open.
    fn spawn_prober(&self, tasks: &Tasks) {
        let (gateway, stopping) = (self.clone(), tasks.stop_token());
        tasks.spawn("llm-probe", async move {
            loop {
                let interval = gateway.0.plan.load().options.resilience.probe_interval.get();
                let wait = interval.max(Duration::from_secs(1));
                if stopping.run_until_cancelled(tokio::time::sleep(wait)).await.is_none() {
                    return;
                }
                gateway.probe_all().await;
            }
        });
    }

    async fn probe_all(&self) {
        let plan = self.0.plan.load_full();
        for provider in plan.providers.values() {
            let Some(path) = &provider.options.probe else { continue };
            let answer = tokio::time::timeout(PROBE_TIMEOUT, provider.probe(path)).await;
            let is_up = matches!(answer, Ok(Ok(status)) if status < 500);
            gauge!(LLM_PROVIDER_UP, "provider" => provider.name.to_string()).set(f64::from(u8::from(is_up)));
            let lanes = self.0.lanes.all();
            for lane in lanes.iter().filter(|lane| lane.provider == provider.name) {
                lane.probed(is_up);
            }
        }
    }
}
