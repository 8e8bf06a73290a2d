//! Spans to an OpenTelemetry collector: the one file that knows OpenTelemetry, whose API changes often.
//!
//! Without a collector none of this runs, and a request has ids but no span. With one, spans go into a bounded queue
//! that a thread of the SDK drains; when the collector is slow or gone, spans are dropped and requests notice nothing.

use std::{
    future::poll_fn,
    pin::pin,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::Duration,
};

use http::{Method, StatusCode};
use opentelemetry::{
    Context,
    trace::{SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState, TracerProvider},
};
use opentelemetry_otlp::{Protocol, WithExportConfig};
use opentelemetry_sdk::{
    Resource,
    error::OTelSdkResult,
    trace::{BatchSpanProcessor, Sampler, SdkTracerProvider, SpanData, SpanExporter},
};
use tokio::runtime::Handle;
use tracing::{Level, Span, Subscriber, field};
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::{
    Layer,
    filter::{LevelFilter, filter_fn},
    registry::LookupSpan,
};

use super::TelemetryOptions;
use crate::{
    http::{TraceContext, parse_traceparent},
    task::TASK_SPAN,
};

const EXPORT_TIMEOUT: Duration = Duration::from_secs(5);
const STOP_TIMEOUT: Duration = Duration::from_secs(3);
/// Where collectors take traces below their base URL.
const TRACES_PATH: &str = "/v1/traces";

static ACTIVE: AtomicBool = AtomicBool::new(false);
/// Of the traces that begin here, how many are sent: below this share of all hashes.
static SAMPLED_BELOW: AtomicU64 = AtomicU64::new(u64::MAX);

/// The exporter could not be built.
#[derive(Debug, thiserror::Error)]
pub enum OtlpError {
    /// Neither `http://` nor `https://`.
    #[error("`{url}` is not a URL of a collector; write for example `http://127.0.0.1:4318`")]
    Url {
        /// What was configured.
        url: String,
    },
    /// The exporter refuses its settings.
    #[error("the exporter of traces cannot be built")]
    Build(#[source] opentelemetry_otlp::ExporterBuildError),
}

/// Spans are being sent.
#[derive(Debug)]
pub(super) struct Exporting(SdkTracerProvider);

impl Exporting {
    /// Starts sending if a collector is configured.
    pub(super) fn start(options: &TelemetryOptions) -> Result<Option<Self>, OtlpError> {
        let url = options.otlp.trim().trim_end_matches('/');
        if url.is_empty() {
            return Ok(None);
        }
        let parsed = url::Url::parse(url).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
        if parsed.is_none() {
            return Err(OtlpError::Url { url: url.to_owned() });
        }
        let endpoint =
            if url.ends_with(TRACES_PATH) { url.to_owned() } else { format!("{url}{TRACES_PATH}") };
        let exporter = opentelemetry_otlp::SpanExporter::builder()
            .with_http()
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(endpoint)
            .with_timeout(EXPORT_TIMEOUT)
            .build()
            .map_err(OtlpError::Build)?;
        let exporter = OnRuntime { exporter, runtime: Handle::current() };
        let ratio = options.otlp_ratio.clamp(0.0, 1.0);
        SAMPLED_BELOW.store((ratio * u64::MAX as f64) as u64, Ordering::Relaxed);
        let sampler = Sampler::TraceIdRatioBased(ratio);
        let provider = SdkTracerProvider::builder()
            .with_span_processor(BatchSpanProcessor::builder(exporter).build())
            .with_sampler(Sampler::ParentBased(Box::new(sampler)))
            .with_resource(Resource::builder().with_service_name("paddock").build())
            .build();
        ACTIVE.store(true, Ordering::Relaxed);
        Ok(Some(Self(provider)))
    }

    /// The layer that makes OpenTelemetry spans of ours. Those of tasks stay here: a connection's lasts as long as the
    /// client likes and says nothing about any one request.
    pub(super) fn layer<S>(&self) -> Box<dyn Layer<S> + Send + Sync>
    where
        S: Subscriber + for<'span> LookupSpan<'span> + Send + Sync,
    {
        let tracer = self.0.tracer("paddock");
        let filter = filter_fn(|metadata| {
            *metadata.level() <= Level::INFO && !(metadata.is_span() && metadata.name() == TASK_SPAN)
        });
        tracing_opentelemetry::layer()
            .with_tracer(tracer)
            .with_filter(filter.with_max_level_hint(LevelFilter::INFO))
            .boxed()
    }

    /// Sends what is left, within a deadline.
    pub(super) fn stop(&self) {
        ACTIVE.store(false, Ordering::Relaxed);
        if let Err(error) = self.0.shutdown_with_timeout(STOP_TIMEOUT) {
            tracing::debug!(%error, "the last traces were not sent");
        }
    }
}

/// The SDK exports on a thread of its own, the HTTP client wants our runtime: each poll enters it.
#[derive(Debug)]
struct OnRuntime<E> {
    exporter: E,
    runtime: Handle,
}

impl<E: SpanExporter> SpanExporter for OnRuntime<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let mut export = pin!(self.exporter.export(batch));
        poll_fn(|context| {
            let _entered = self.runtime.enter();
            export.as_mut().poll(context)
        })
        .await
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}

/// Whether spans go anywhere. Whoever makes one with many fields asks first: log lines would pay for each of them.
pub fn spans_are_sent() -> bool {
    ACTIVE.load(Ordering::Relaxed)
}

/// Makes a span that has no parent part of the trace of this id, which must not be zero: spans that are made apart, even
/// by several servers, are one trace.
pub fn join_trace(span: &Span, trace_id: u128) {
    // Ids may follow a pattern; a share of their hashes is a share of them.
    let hash = (trace_id as u64 ^ (trace_id >> 64) as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let is_sampled = hash <= SAMPLED_BELOW.load(Ordering::Relaxed);
    // All of them hang from one span that nobody sends.
    hang(span, trace_id, (trace_id as u64).max(1), is_sampled);
}

/// Makes a span that has no parent hang from the span that a W3C `traceparent` names, as part of its trace. What is no
/// `traceparent` leaves the span where it is.
pub fn continue_trace(span: &Span, traceparent: &str) {
    if let Some((trace_id, parent_id, is_sampled)) = parse_traceparent(traceparent.as_bytes()) {
        hang(span, trace_id, parent_id, is_sampled);
    }
}

/// Hangs a span from one of somebody else.
fn hang(span: &Span, trace_id: u128, parent_id: u64, is_sampled: bool) {
    let flags = if is_sampled { TraceFlags::SAMPLED } else { TraceFlags::default() };
    let (trace_id, parent_id) = (TraceId::from(trace_id), SpanId::from(parent_id));
    let parent = SpanContext::new(trace_id, parent_id, flags, true, TraceState::default());
    let _ = span.set_parent(Context::new().with_remote_span_context(parent));
}

/// The span of a request, if spans are sent; its ids become the request's. Otherwise none, at no cost.
pub(crate) fn begin(trace: &mut TraceContext, method: &Method, endpoint: &str) -> Span {
    if !spans_are_sent() {
        return Span::none();
    }
    // A root: the span that is current here is the connection's, which would put all its requests into one trace.
    let span = tracing::info_span!(
        parent: None,
        "request",
        otel.name = format!("{method} {endpoint}"),
        otel.kind = "server",
        http.request.method = %method,
        http.route = endpoint,
        http.response.status_code = field::Empty,
        otel.status_code = field::Empty,
    );
    if let Some(parent_id) = trace.parent_id {
        hang(&span, trace.trace_id, parent_id, trace.sampled);
    }
    let context = span.context();
    let context = context.span().span_context().clone();
    if context.is_valid() {
        trace.trace_id = u128::from_be_bytes(context.trace_id().to_bytes());
        trace.span_id = u64::from_be_bytes(context.span_id().to_bytes());
        trace.sampled = context.is_sampled();
    }
    span
}

/// Completes the span of a request.
pub(crate) fn end(span: &Span, status: StatusCode) {
    if span.is_none() {
        return;
    }
    // Numbers without a sign would arrive as text.
    span.record("http.response.status_code", i64::from(status.as_u16()));
    if status.is_server_error() {
        span.record("otel.status_code", "ERROR");
    }
}
