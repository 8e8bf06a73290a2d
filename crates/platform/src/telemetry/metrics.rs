//! The Prometheus recorder and `/metrics`.

use std::{
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::{Duration, Instant},
};

use axum::{body::Bytes, extract::State, response::IntoResponse};
use http::header;
use metrics::{Unit, describe_counter, describe_gauge, describe_histogram, gauge};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{GO_GOROUTINES, TASKS_RUNNING, TOOL_CALL_DURATION_SECONDS, TOOL_CALLS_TOTAL, TelemetryError};
use crate::{
    health,
    http::{
        metrics::{HTTP_REQUEST_BUCKETS, HTTP_REQUEST_DURATION_SECONDS},
        require_scope,
    },
    identity::Scope,
    store::metrics::STORE_COMMIT_TRANSACTIONS,
    task::Tasks,
};

/// Media type of the text format that Prometheus reads.
const TEXT_FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";
/// How often recorded samples are folded into histograms. Between two scrapes they wait in memory otherwise.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(1);
/// How old the answer to a scrape may be: rendering takes long enough that many scrapers would be felt.
const RENDERED_FOR: Duration = Duration::from_secs(1);
/// For counts of transactions in one commit: up to the default of `store.group_max`.
const GROUP_BUCKETS: [f64; 9] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0];
/// For durations of anything without buckets of its own: 1 ms to 2 min.
const DURATION_BUCKETS: [f64; 14] =
    [0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0, 120.0];
/// For sizes: 1 KiB to 256 MiB.
const SIZE_BUCKETS: [f64; 10] = [
    1024.0,
    4096.0,
    16_384.0,
    65_536.0,
    262_144.0,
    1_048_576.0,
    4_194_304.0,
    16_777_216.0,
    67_108_864.0,
    268_435_456.0,
];

/// Upper bounds of one histogram's buckets, in ascending order.
#[derive(Clone, Copy, Debug)]
pub struct Buckets {
    /// The histogram's name.
    pub metric: &'static str,
    /// Upper bounds; at least one.
    pub bounds: &'static [f64],
}

/// The process's metrics. Cheap to clone.
#[derive(Clone)]
pub struct Metrics {
    recorded: PrometheusHandle,
    /// What `/metrics` answered last, and when it was made.
    rendered: Arc<Mutex<Option<(Instant, Bytes)>>>,
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Metrics")
    }
}

impl Metrics {
    /// Installs the recorder of the process, or finds the one installed before. Metrics that were recorded earlier are
    /// lost: call it first.
    pub fn install(buckets: &[Buckets]) -> Result<Self, TelemetryError> {
        static INSTALLED: OnceLock<Option<Metrics>> = OnceLock::new();
        let installed = INSTALLED.get_or_init(|| {
            let metrics = builder(buckets)?.install_recorder().ok().map(Self::new)?;
            describe();
            Some(metrics)
        });
        installed.clone().ok_or(TelemetryError::MetricsTaken)
    }

    fn new(recorded: PrometheusHandle) -> Self {
        Self { recorded, rendered: Arc::default() }
    }

    /// Folds samples in the background, until shutdown.
    pub fn spawn_upkeep(&self, tasks: &Tasks) {
        let (metrics, stopping) = (self.clone(), tasks.stop_token());
        tasks.spawn("metrics_upkeep", async move {
            let upkeep = async {
                loop {
                    tokio::time::sleep(UPKEEP_INTERVAL).await;
                    metrics.recorded.run_upkeep();
                }
            };
            let _: Option<()> = stopping.run_until_cancelled(upkeep).await;
        });
    }

    /// All metrics in Prometheus' text format, those of the process as they are now.
    pub fn render(&self) -> String {
        process().collect();
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            gauge!(GO_GOROUTINES).set(runtime.metrics().num_alive_tasks() as f64);
        }
        // The suffix is reserved for histograms, and some gauges have their names from dashboards that there are.
        self.recorded.render().replace("_count gauge\n", "_count untyped\n")
    }

    /// As [`Metrics::render`], at most [`RENDERED_FOR`] old.
    fn rendered(&self) -> Bytes {
        // Those who ask meanwhile wait: rendering once more would take them as long.
        let mut rendered = self.rendered.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, text)) = &*rendered
            && at.elapsed() < RENDERED_FOR
        {
            return text.clone();
        }
        let text = Bytes::from(self.render());
        *rendered = Some((Instant::now(), text.clone()));
        text
    }

    /// Serves the metrics, at most a second old, at `/metrics`, to those with the scope `server:read`.
    pub fn router(&self) -> OpenApiRouter {
        let routes = OpenApiRouter::new().routes(routes!(scrape)).with_state(self.clone());
        routes.route_layer(require_scope(Scope::read("server")))
    }
}

/// The server's metrics, in Prometheus' text format, at most a second old.
#[utoipa::path(
    get,
    path = "/metrics",
    tag = "server",
    responses((status = 200, body = String, content_type = "text/plain"))
)]
async fn scrape(State(metrics): State<Metrics>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, TEXT_FORMAT)], metrics.rendered())
}

fn builder(buckets: &[Buckets]) -> Option<PrometheusBuilder> {
    let mut builder = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &DURATION_BUCKETS)
        .and_then(|builder| {
            builder.set_buckets_for_metric(Matcher::Suffix("_bytes".to_owned()), &SIZE_BUCKETS)
        })
        .and_then(|builder| {
            let metric = Matcher::Full(HTTP_REQUEST_DURATION_SECONDS.to_owned());
            builder.set_buckets_for_metric(metric, &HTTP_REQUEST_BUCKETS)
        })
        .and_then(|builder| {
            let metric = Matcher::Full(STORE_COMMIT_TRANSACTIONS.to_owned());
            builder.set_buckets_for_metric(metric, &GROUP_BUCKETS)
        })
        .ok()?;
    for Buckets { metric, bounds } in buckets {
        builder = builder.set_buckets_for_metric(Matcher::Full((*metric).to_owned()), bounds).ok()?;
    }
    Some(builder)
}

fn process() -> &'static metrics_process::Collector {
    static PROCESS: OnceLock<metrics_process::Collector> = OnceLock::new();
    PROCESS.get_or_init(metrics_process::Collector::default)
}

/// Gives the metrics of this crate their units and help.
pub fn describe() {
    process().describe();
    crate::blobs::describe();
    crate::cache::describe();
    crate::config::metrics::describe();
    crate::keys::describe();
    crate::store::metrics::describe();
    describe_gauge!(
        GO_GOROUTINES,
        Unit::Count,
        "Live asynchronous tasks of the runtime (Paddock has no goroutines; the name is what dashboards look for)"
    );
    describe_gauge!(TASKS_RUNNING, Unit::Count, "Named background tasks that run, by task");
    describe_histogram!(TOOL_CALL_DURATION_SECONDS, Unit::Seconds, "Time that tool calls took, by tool");
    describe_counter!(
        TOOL_CALLS_TOTAL,
        Unit::Count,
        "Tool calls, by tool and outcome (ok, or the problem's name)"
    );
    crate::http::metrics::describe();
    health::describe();
}
