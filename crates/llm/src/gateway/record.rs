//! What is written down of a call, once, however it ends.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use bytes::Bytes;
use metrics::{counter, histogram};
use tracing::Span;

use super::{Inner, call::Call};
use crate::{
    config::LogMode,
    dialect::usage::Usage,
    govern::{Claim, Dims, Entry, LogEntry, Pico},
    metrics::{LLM_CALL_ATTEMPTS, LLM_CALLS_TOTAL, LLM_RETRIES_TOTAL},
    resilience::Lane,
    routing::Target,
};

/// Who answered.
#[derive(Clone, Debug)]
pub(crate) struct Served {
    pub(crate) target: Arc<Target>,
    pub(crate) lane: Arc<Lane>,
}

/// The record of a call. Dropped before it is finished, it says that the caller went away.
pub(crate) struct Record {
    inner: Arc<Inner>,
    pub(crate) call: Arc<Call>,
    claim: Option<Claim>,
    pub(crate) attempts: u32,
    pub(crate) served: Option<Served>,
    pub(crate) first_token: Option<Duration>,
    /// What is known, or estimated, of a call that is not finished yet.
    pub(crate) usage: Usage,
    pub(crate) answer: Option<Vec<u8>>,
    span: Span,
    finished: bool,
}

impl Record {
    pub(crate) fn new(inner: &Arc<Inner>, call: &Arc<Call>, claim: Claim) -> Self {
        inner.in_flight.fetch_add(1, Ordering::Relaxed);
        let keeps_bodies = call.plan.options.log.mode == LogMode::Full;
        Self {
            inner: Arc::clone(inner),
            call: Arc::clone(call),
            claim: Some(claim),
            attempts: 0,
            served: None,
            first_token: None,
            usage: Usage::default(),
            answer: keeps_bodies.then(Vec::new),
            span: span_of(call),
            finished: false,
        }
    }

    pub(crate) const fn span(&self) -> &Span {
        &self.span
    }

    /// Keeps a piece of an answer, as far as answers are kept.
    pub(crate) fn keep(&mut self, piece: &[u8]) {
        let body_max = self.call.plan.options.log.body_max.as_usize();
        if let Some(answer) = &mut self.answer {
            let room = body_max.saturating_sub(answer.len()).min(piece.len());
            answer.extend_from_slice(&piece[..room]);
        }
    }

    /// The call ended so. Returns what it cost.
    pub(crate) fn finish(mut self, outcome: &'static str, status: u16, cached: bool) -> Pico {
        self.write(outcome, status, cached)
    }

    fn write(&mut self, outcome: &'static str, status: u16, cached: bool) -> Pico {
        self.finished = true;
        let usage = self.usage;
        let price = self.served.as_ref().and_then(|served| served.target.price);
        let cost = if cached { 0 } else { price.map_or(0, |price| price.cost(&usage)) };
        if let Some(claim) = self.claim.take() {
            claim.settle(if cached { 0 } else { usage.total() }, cost);
        }
        let took = self.call.started.elapsed();
        let is_ok = outcome == "ok";
        if is_ok && let Some(served) = &self.served {
            served.lane.metrics.answered(&usage, cost, took);
        }
        counter!(LLM_CALLS_TOTAL, "api" => self.call.api.operation(), "outcome" => outcome).increment(1);
        if self.attempts > 0 {
            histogram!(LLM_CALL_ATTEMPTS).record(f64::from(self.attempts));
        }
        if self.attempts > 1 {
            counter!(LLM_RETRIES_TOTAL).increment(u64::from(self.attempts - 1));
        }
        self.record_span(outcome, &usage);
        let entry =
            Entry { usage: if cached { Usage::default() } else { usage }, cost, failed: !is_ok, cached };
        let dims = self.dims();
        if self.call.plan.options.log.mode != LogMode::Off {
            self.log(&dims, outcome, status, cost, took);
        }
        match &self.call.once {
            // It is counted when its answer is kept, both or neither.
            Some(once) if is_ok => once.used(dims, entry),
            _ => self.inner.ledger.add(dims, &entry),
        }
        cost
    }

    fn dims(&self) -> Dims {
        let none = || Arc::from("");
        let served = self.served.as_ref();
        Dims {
            tenant: Arc::clone(&self.call.tenant),
            key: Arc::clone(&self.call.key),
            api: self.call.api.operation(),
            // A name that led nowhere is the caller's invention.
            model: served.map_or_else(none, |_| Arc::from(self.call.facts.model.as_str())),
            provider: served.map_or_else(none, |served| Arc::clone(&served.lane.provider)),
            target: served.map_or_else(none, |served| Arc::clone(&served.target.model)),
            credential: served.map_or_else(none, |served| Arc::clone(&served.lane.credential.name)),
        }
    }

    fn log(&mut self, dims: &Dims, outcome: &'static str, status: u16, cost: Pico, took: Duration) {
        let keeps_bodies = self.call.plan.options.log.mode == LogMode::Full;
        let entry = LogEntry {
            dims: Dims { model: Arc::from(self.call.facts.model.as_str()), ..dims.clone() },
            outcome,
            status,
            attempts: self.attempts,
            input: self.usage.input,
            output: self.usage.output,
            cost,
            first_token: self.first_token,
            took,
            trace_id: self.call.trace_id.clone(),
            tags: self.call.tags.clone(),
            request: keeps_bodies.then(|| self.call.body.clone()),
            answer: self.answer.take().map(Bytes::from),
        };
        self.inner.log.add(&self.call.plan.options.log, entry);
    }

    fn record_span(&self, outcome: &'static str, usage: &Usage) {
        if self.span.is_none() {
            return;
        }
        if let Some(served) = &self.served {
            self.span.record("gen_ai.provider.name", served.target.provider.dialect.name());
            self.span.record("gen_ai.response.model", &*served.target.model);
            self.span.record("paddock.llm.provider", &*served.lane.provider);
            self.span.record("paddock.llm.credential", &*served.lane.credential.name);
        }
        self.span.record("gen_ai.usage.input_tokens", int(usage.input));
        self.span.record("gen_ai.usage.output_tokens", int(usage.output));
        self.span.record("paddock.llm.attempts", i64::from(self.attempts));
        if outcome != "ok" {
            self.span.record("error.type", outcome);
            self.span.record("otel.status_code", "ERROR");
        }
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        self.inner.in_flight.fetch_sub(1, Ordering::Relaxed);
        if !self.finished {
            // 499: what proxies write down for a caller that went away.
            self.write("cancelled", 499, false);
        }
    }
}

/// `OpenTelemetry` knows numbers with a sign only; others arrive at a collector as text.
fn int(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A span in the words of `OpenTelemetry`'s `GenAI` conventions, where spans are sent.
fn span_of(call: &Call) -> Span {
    if !paddock_platform::telemetry::spans_are_sent() {
        return Span::none();
    }
    let operation = call.api.operation();
    tracing::info_span!(
        "gen_ai",
        otel.name = format!("{operation} {}", call.facts.model),
        otel.kind = "client",
        gen_ai.operation.name = operation,
        gen_ai.request.model = call.facts.model.as_str(),
        gen_ai.request.max_tokens = call.facts.tokens_out_max.map(int),
        gen_ai.provider.name = tracing::field::Empty,
        gen_ai.response.model = tracing::field::Empty,
        gen_ai.usage.input_tokens = tracing::field::Empty,
        gen_ai.usage.output_tokens = tracing::field::Empty,
        paddock.llm.provider = tracing::field::Empty,
        paddock.llm.credential = tracing::field::Empty,
        paddock.llm.attempts = tracing::field::Empty,
        error.type = tracing::field::Empty,
        otel.status_code = tracing::field::Empty,
    )
}
