//! What the gateway reports about itself. Names of `OpenTelemetry`'s `GenAI` conventions where there is one, written as
//! Prometheus wants them.

use std::{sync::Arc, time::Duration};

use metrics::{
    Counter, Gauge, Histogram, Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge,
    histogram,
};
use paddock_platform::telemetry::Buckets;

use crate::dialect::usage::Usage;

/// Calls that ended, by api and outcome: `ok`, or why not.
pub const LLM_CALLS_TOTAL: &str = "llm_calls_total";
/// Attempts at providers, by provider, credential, model and outcome.
pub const LLM_ATTEMPTS_TOTAL: &str = "llm_attempts_total";
/// How many attempts calls took.
pub const LLM_CALL_ATTEMPTS: &str = "llm_call_attempts";
/// Attempts that a call took beyond its first.
pub const LLM_RETRIES_TOTAL: &str = "llm_retries_total";
/// Second attempts that were started because the first did not begin to answer.
pub const LLM_HEDGES_TOTAL: &str = "llm_hedges_total";
/// How long a call took from its first byte to its last.
pub const GEN_AI_OPERATION_DURATION_SECONDS: &str = "gen_ai_client_operation_duration_seconds";
/// How long answers took to begin.
pub const GEN_AI_TIME_TO_FIRST_TOKEN_SECONDS: &str = "gen_ai_server_time_to_first_token_seconds";
/// Tokens of calls, by type: `input`, `output`.
pub const GEN_AI_TOKEN_USAGE: &str = "gen_ai_client_token_usage";
/// Tokens found in, and written to, the providers' prompt caches.
pub const LLM_PROMPT_CACHE_TOKENS_TOTAL: &str = "llm_prompt_cache_tokens_total";
/// What calls cost, in billionths of a US dollar.
pub const LLM_COST_NANODOLLARS_TOTAL: &str = "llm_cost_nanodollars_total";
/// What the gateway itself took of a call before it went out.
pub const LLM_OVERHEAD_SECONDS: &str = "llm_overhead_seconds";
/// State of breakers: 0 closed, 1 half open, 2 open.
pub const LLM_BREAKER_STATE: &str = "llm_breaker_state";
/// How often breakers opened.
pub const LLM_BREAKER_OPENED_TOTAL: &str = "llm_breaker_opened_total";
/// Breakers that are open now.
pub const LLM_BREAKERS_OPEN: &str = "llm_breakers_open";
/// Attempts that a provider refused for its limits.
pub const LLM_LIMITED_TOTAL: &str = "llm_limited_total";
/// How often a credential was left out for its share of failures.
pub const LLM_EJECTED_TOTAL: &str = "llm_ejected_total";
/// Calls that are in flight.
pub const LLM_CALLS_IN_FLIGHT: &str = "llm_calls_in_flight";
/// Streams that broke after their first token.
pub const LLM_STREAMS_BROKEN_TOTAL: &str = "llm_streams_broken_total";
/// Calls refused by governance, by reason.
pub const LLM_REFUSED_TOTAL: &str = "llm_refused_total";
/// Used part of budgets, by budget: 0 to 1.
pub const LLM_BUDGET_USED_RATIO: &str = "llm_budget_used_ratio";
/// Entries of the request log that were not kept.
pub const LLM_LOG_DROPPED_TOTAL: &str = "llm_log_dropped_total";
/// Answers that came from the cache, by outcome: `hit`, `miss`.
pub const LLM_CACHE_TOTAL: &str = "llm_cache_total";
/// Whether a provider answered its last probe.
pub const LLM_PROVIDER_UP: &str = "llm_provider_up";

/// Buckets as the `GenAI` conventions advise, for durations and tokens.
pub const BUCKETS: [Buckets; 5] = [
    Buckets { metric: GEN_AI_OPERATION_DURATION_SECONDS, bounds: &DURATIONS },
    Buckets { metric: GEN_AI_TIME_TO_FIRST_TOKEN_SECONDS, bounds: &FIRST_TOKENS },
    Buckets { metric: GEN_AI_TOKEN_USAGE, bounds: &TOKENS },
    Buckets { metric: LLM_OVERHEAD_SECONDS, bounds: &OVERHEADS },
    Buckets { metric: LLM_CALL_ATTEMPTS, bounds: &ATTEMPTS },
];
/// Four are the most without hedging.
const ATTEMPTS: [f64; 5] = [1.0, 2.0, 3.0, 4.0, 5.0];
const DURATIONS: [f64; 14] =
    [0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92];
const FIRST_TOKENS: [f64; 16] =
    [0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];
const TOKENS: [f64; 14] = [
    1.0,
    4.0,
    16.0,
    64.0,
    256.0,
    1024.0,
    4096.0,
    16_384.0,
    65_536.0,
    262_144.0,
    1_048_576.0,
    4_194_304.0,
    16_777_216.0,
    67_108_864.0,
];
const OVERHEADS: [f64; 10] =
    [0.000_01, 0.000_025, 0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.005, 0.025, 0.1];

/// Handles of one lane's metrics, so that a call asks no registry.
pub(crate) struct LaneMetrics {
    labels: [(&'static str, String); 3],
    ok: Counter,
    failed: Counter,
    limited: Counter,
    operation: Histogram,
    first_token: Histogram,
    input: Histogram,
    output: Histogram,
    cache_read: Counter,
    cache_write: Counter,
    cost: Counter,
    state: Gauge,
}

impl std::fmt::Debug for LaneMetrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LaneMetrics")
    }
}

impl LaneMetrics {
    pub(crate) fn new(provider: &Arc<str>, credential: &Arc<str>, model: &Arc<str>) -> Self {
        let (provider, credential, model) = (provider.to_string(), credential.to_string(), model.to_string());
        let labels = [("provider", provider.clone()), ("credential", credential), ("model", model.clone())];
        let attempt = |outcome: &'static str| {
            let mut all: Vec<(&'static str, String)> = labels.to_vec();
            all.push(("outcome", outcome.to_owned()));
            counter!(LLM_ATTEMPTS_TOTAL, &all)
        };
        let gen_ai = [("gen_ai_provider_name", provider), ("gen_ai_request_model", model)];
        let tokens = |kind: &'static str| {
            let mut all: Vec<(&'static str, String)> = gen_ai.to_vec();
            all.push(("gen_ai_token_type", kind.to_owned()));
            histogram!(GEN_AI_TOKEN_USAGE, &all)
        };
        let cached = |kind: &'static str| {
            let mut all: Vec<(&'static str, String)> = labels.to_vec();
            all.push(("kind", kind.to_owned()));
            counter!(LLM_PROMPT_CACHE_TOKENS_TOTAL, &all)
        };
        let state = gauge!(LLM_BREAKER_STATE, &labels);
        state.set(0.0);
        Self {
            ok: attempt("ok"),
            failed: attempt("failed"),
            limited: attempt("limited"),
            operation: histogram!(GEN_AI_OPERATION_DURATION_SECONDS, &gen_ai),
            first_token: histogram!(GEN_AI_TIME_TO_FIRST_TOKEN_SECONDS, &gen_ai),
            input: tokens("input"),
            output: tokens("output"),
            cache_read: cached("read"),
            cache_write: cached("write"),
            cost: counter!(LLM_COST_NANODOLLARS_TOTAL, &gen_ai),
            state,
            labels,
        }
    }

    /// A call was answered.
    pub(crate) fn answered(&self, usage: &Usage, cost_pico: u64, took: Duration) {
        self.ok.increment(1);
        self.cost.increment(cost_pico / 1000);
        self.operation.record(took);
        self.input.record(usage.input as f64);
        self.output.record(usage.output as f64);
        if usage.cache_read > 0 {
            self.cache_read.increment(usage.cache_read);
        }
        if usage.cache_write > 0 {
            self.cache_write.increment(usage.cache_write);
        }
    }

    /// A stream, or an answer, began.
    pub(crate) fn began(&self, took: Duration) {
        self.first_token.record(took);
    }

    /// An attempt failed.
    pub(crate) fn failed(&self) {
        self.failed.increment(1);
    }

    pub(crate) fn limited(&self) {
        self.limited.increment(1);
        counter!(LLM_LIMITED_TOTAL, &self.labels).increment(1);
    }

    pub(crate) fn ejected(&self) {
        counter!(LLM_EJECTED_TOTAL, &self.labels).increment(1);
    }

    pub(crate) fn breaker_opened(&self) {
        counter!(LLM_BREAKER_OPENED_TOTAL, &self.labels).increment(1);
        self.breaker_state(2.0);
    }

    pub(crate) fn breaker_state(&self, state: f64) {
        self.state.set(state);
    }
}

/// Gives every metric its unit and help.
pub fn describe() {
    describe_counter!(LLM_CALLS_TOTAL, Unit::Count, "Calls of models that ended, by api and outcome");
    describe_counter!(
        LLM_ATTEMPTS_TOTAL,
        Unit::Count,
        "Attempts at providers, by provider, credential, model and outcome"
    );
    describe_histogram!(LLM_CALL_ATTEMPTS, Unit::Count, "Attempts that calls of models took");
    describe_counter!(LLM_RETRIES_TOTAL, Unit::Count, "Attempts beyond the first of a call");
    describe_counter!(
        LLM_HEDGES_TOTAL,
        Unit::Count,
        "Second attempts, started because the first did not begin to answer"
    );
    describe_histogram!(
        GEN_AI_OPERATION_DURATION_SECONDS,
        Unit::Seconds,
        "Duration of calls of models, by provider and model"
    );
    describe_histogram!(
        GEN_AI_TIME_TO_FIRST_TOKEN_SECONDS,
        Unit::Seconds,
        "Time until answers began, by provider and model"
    );
    describe_histogram!(GEN_AI_TOKEN_USAGE, Unit::Count, "Tokens of calls, by provider, model and type");
    describe_counter!(
        LLM_PROMPT_CACHE_TOKENS_TOTAL,
        Unit::Count,
        "Tokens read from and written to prompt caches of providers"
    );
    describe_counter!(
        LLM_COST_NANODOLLARS_TOTAL,
        "What calls cost in billionths of a US dollar, by provider and model"
    );
    describe_histogram!(LLM_OVERHEAD_SECONDS, Unit::Seconds, "What the gateway took before a call went out");
    describe_gauge!(LLM_BREAKER_STATE, Unit::Count, "State of breakers: 0 closed, 1 half open, 2 open");
    describe_counter!(LLM_BREAKER_OPENED_TOTAL, Unit::Count, "How often breakers opened");
    describe_gauge!(LLM_BREAKERS_OPEN, Unit::Count, "Breakers that are open");
    describe_counter!(LLM_LIMITED_TOTAL, Unit::Count, "Attempts that providers refused for their limits");
    describe_counter!(LLM_EJECTED_TOTAL, Unit::Count, "Credentials left out for their share of failures");
    describe_gauge!(LLM_CALLS_IN_FLIGHT, Unit::Count, "Calls of models in flight");
    describe_counter!(LLM_STREAMS_BROKEN_TOTAL, Unit::Count, "Streams that broke after their first token");
    describe_counter!(
        LLM_REFUSED_TOTAL,
        Unit::Count,
        "Calls refused by limits, budgets and guards, by reason"
    );
    describe_gauge!(LLM_BUDGET_USED_RATIO, Unit::Count, "Used part of budgets, by budget");
    describe_counter!(LLM_LOG_DROPPED_TOTAL, Unit::Count, "Entries of the request log that were not kept");
    describe_counter!(LLM_CACHE_TOTAL, Unit::Count, "Cacheable calls, by what the cache had");
    describe_gauge!(LLM_PROVIDER_UP, Unit::Count, "Whether providers answered their last probe");
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_metric_is_in_the_documentation() {
        let documentation = include_str!("../../../docs/llm.md");
        let constants = include_str!("metrics.rs").lines().filter_map(|line| line.strip_prefix("pub const "));
        let names: Vec<&str> = constants
            .filter_map(|constant| constant.split_once(": &str = \""))
            .map(|(_, rest)| rest.trim_end_matches("\";"))
            .collect();
        assert!(names.len() > 20, "{names:?}");
        let missing: Vec<&&str> = names.iter().filter(|name| !documentation.contains(**name)).collect();
        assert!(missing.is_empty(), "docs/llm.md does not tell of {missing:?}");
    }
}
