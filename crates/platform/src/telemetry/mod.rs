//! Logs, traces and metrics: what the server says about itself.
//!
//! [`Telemetry::start`] sets up all three for a process: log lines on standard error (for people on a terminal, JSON
//! otherwise) that carry the ids of the request they belong to; spans to an OTLP collector if one is configured; and a
//! Prometheus recorder, whose text [`Metrics::router`] serves at `/metrics`. [`profile`] serves CPU and heap profiles.
//!
//! Metric names are constants beside the code that records them, and each module has a `describe` function with units
//! and help; [`describe`] collects those of this crate.

mod log;
mod metrics;
pub mod profile;
pub(crate) mod spans;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use log::LogFormat;
pub use metrics::{Buckets, Metrics, describe};
pub use spans::{OtlpError, continue_trace, join_trace, spans_are_sent};

/// Background tasks that run, by name.
pub const TASKS_RUNNING: &str = "tasks_running";
/// How long tool calls took, by tool.
pub const TOOL_CALL_DURATION_SECONDS: &str = "tool_call_duration_seconds";
/// Tool calls, by tool and outcome (`ok` or the problem's slug).
pub const TOOL_CALLS_TOTAL: &str = "tool_calls_total";
/// Live asynchronous tasks, under the name that dashboards written for Go servers look for.
pub const GO_GOROUTINES: &str = "go_goroutines";

/// What the server says about itself, and to whom. Takes effect at start.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TelemetryOptions {
    /// Which log lines are written: a level (`error`, `warn`, `info`, `debug`, `trace`), or levels per target such as
    /// `info,paddock_browser=debug`. The environment variable `PADDOCK_LOG` takes precedence.
    pub log: String,
    /// Form of log lines.
    pub format: LogFormat,
    /// URL of an OpenTelemetry collector (OTLP over HTTP, for example `http://127.0.0.1:4318`) that spans are sent
    /// to; empty: none. The server works the same when the collector does not.
    pub otlp: String,
    /// Which part of the traces that begin here is sent, 0.0 to 1.0.
    pub otlp_ratio: f64,
}

impl Default for TelemetryOptions {
    fn default() -> Self {
        Self { log: "info".to_owned(), format: LogFormat::Auto, otlp: String::new(), otlp_ratio: 1.0 }
    }
}

/// Logs, traces or metrics could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The log filter is malformed.
    #[error("`{filter}` is not a log filter; write for example `info` or `info,paddock_browser=debug`")]
    Filter {
        /// What was configured.
        filter: String,
        /// What the parser says.
        source: tracing_subscriber::filter::ParseError,
    },
    /// The exporter of spans cannot be built.
    #[error("cannot export traces to `telemetry.otlp`")]
    Otlp(#[from] OtlpError),
    /// Another part of the process has set up logs before.
    #[error("logs are set up already")]
    LogsTaken,
    /// Another part of the process has set up metrics before.
    #[error("metrics are set up already, by another recorder")]
    MetricsTaken,
}

/// The running telemetry of a process.
#[derive(Debug)]
pub struct Telemetry {
    metrics: Metrics,
    spans: Option<spans::Exporting>,
}

impl Telemetry {
    /// Sets up logs, traces and metrics. Once per process, within a tokio runtime. `buckets` are the areas' own, beside
    /// those of this crate.
    pub fn start(options: &TelemetryOptions, buckets: &[Buckets]) -> Result<Self, TelemetryError> {
        let spans = spans::Exporting::start(options)?;
        log::start(options, spans.as_ref())?;
        let metrics = Metrics::install(buckets)?;
        Ok(Self { metrics, spans })
    }

    /// The process's metrics.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Sends what spans are left, for at most a few seconds. Blocks: call it at the very end.
    pub fn stop(self) {
        if let Some(spans) = self.spans {
            spans.stop();
        }
    }
}
