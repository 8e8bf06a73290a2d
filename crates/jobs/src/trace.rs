//! The traces that jobs are part of.

use paddock_platform::{
    http::current_request,
    telemetry::{continue_trace, spans_are_sent},
};
use tracing::{Span, field};

use crate::{Job, JobFailure};

/// The trace of a job or mission whose caller names none: the one that the current request continues, or that its span
/// began.
pub(crate) fn request_trace() -> Option<String> {
    let trace = current_request()?.trace;
    if trace.parent_id.is_none() && !spans_are_sent() {
        return None;
    }
    trace.to_traceparent().to_str().ok().map(str::to_owned)
}

/// The span of an attempt: of the trace that the job continues where spans are sent, otherwise for log lines alone.
pub(crate) fn attempt(job: &Job) -> Span {
    let trace = job.terms.trace.as_deref();
    if !spans_are_sent() {
        return tracing::debug_span!(
            "job", job.id = %job.id, job.kind = &*job.kind, job.attempt = job.attempt, trace
        );
    }
    let span = tracing::info_span!(
        parent: None,
        "job",
        otel.name = format!("job {}", job.kind),
        otel.kind = "consumer",
        job.id = %job.id,
        job.kind = &*job.kind,
        job.queue = &*job.queue,
        job.attempt = job.attempt,
        otel.status_code = field::Empty,
        error.type = field::Empty,
    );
    if let Some(trace) = trace {
        continue_trace(&span, trace);
    }
    span
}

/// Notes in the span of an attempt why it failed.
pub(crate) fn failed(span: &Span, failure: &JobFailure) {
    span.record("otel.status_code", "ERROR");
    span.record("error.type", failure.fault.class.as_str());
}
