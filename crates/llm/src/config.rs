//! The `[llm]` section.

use std::collections::BTreeMap;

use paddock_platform::{
    config::SecretRef,
    units::{ByteSize, HumanDuration},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    dialect::Dialect,
    durable::BatchOptions,
    gateway::SemanticOptions,
    govern::{GuardOptions, LimitOptions},
    routing::{RouteOptions, Strategy},
};

/// The model gateway: providers, routes, and what protects them. Everything follows a reload but `body_max`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LlmOptions {
    /// Serve the model `sim` from the simulated provider, with nothing else configured. Its answers cost nothing and say
    /// that they are simulated.
    pub sim: bool,
    /// The largest request body: pictures travel in it.
    pub body_max: ByteSize,
    /// The largest answer that is not a stream.
    pub answer_max: ByteSize,
    /// The largest event of a stream.
    pub event_max: ByteSize,
    /// How providers are chosen where a route does not say.
    pub strategy: Strategy,
    /// How long a call may wait for a place at a provider that is at its limits, before it is refused.
    pub wait_max: HumanDuration,
    /// Vendors of models, each with its credentials: `[[llm.providers]]`.
    pub providers: Vec<ProviderOptions>,
    /// Names that callers use for models, and where they lead: `[[llm.routes]]`. The first whose name and conditions
    /// match is taken.
    pub routes: Vec<RouteOptions>,
    /// What callers may use and spend: `[[llm.limits]]`. Every entry that matches a caller holds.
    pub limits: Vec<LimitOptions>,
    /// Teams: the ids of the keys that belong to each.
    pub teams: BTreeMap<String, Vec<String>>,
    /// Prices per million tokens, by model or `provider/model`, over the built-in table.
    pub prices: BTreeMap<String, PriceOptions>,
    /// What requests and answers pass, in this order: `[[llm.guards]]`.
    pub guards: Vec<GuardOptions>,
    /// What keeps a provider's bad day from becoming yours.
    pub resilience: ResilienceOptions,
    /// Answers that are kept.
    pub cache: CacheOptions,
    /// Batches, and calls that become jobs.
    pub batch: BatchOptions,
    /// What is kept of requests.
    pub log: LogOptions,
}

impl Default for LlmOptions {
    fn default() -> Self {
        Self {
            sim: false,
            body_max: ByteSize::mib(32),
            answer_max: ByteSize::mib(64),
            event_max: ByteSize::mib(4),
            strategy: Strategy::Weighted,
            wait_max: HumanDuration::from_secs(5),
            providers: Vec::new(),
            routes: Vec::new(),
            limits: Vec::new(),
            teams: BTreeMap::new(),
            prices: BTreeMap::new(),
            guards: Vec::new(),
            resilience: ResilienceOptions::default(),
            cache: CacheOptions::default(),
            batch: BatchOptions::default(),
            log: LogOptions::default(),
        }
    }
}

/// A vendor of models, or a server that speaks like one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ProviderOptions {
    /// Its name in routes, metrics and answers.
    pub name: String,
    /// What it speaks: `openai` (also Ollama, vLLM, Groq, Mistral, DeepSeek, OpenRouter, Azure), `anthropic`, `gemini`.
    pub dialect: Dialect,
    /// Where its API begins, for example `https://api.openai.com/v1`; `{model}` in it is replaced, for Azure's
    /// deployments, and a query is kept. `sim:` is the simulated provider, inside this process. Empty: the vendor's own.
    pub url: String,
    /// Its keys; calls are split among them. None: calls carry no key.
    pub credentials: Vec<CredentialOptions>,
    /// The header that carries the key, where it is not the dialect's own; Azure wants `api-key`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_header: Option<String>,
    /// Headers that every call carries.
    pub headers: BTreeMap<String, String>,
    /// Models that it serves without a route: names, or prefixes that end in `*`. Empty: any as `name/model`.
    pub models: Vec<String>,
    /// Whether it has OpenAI's `/responses`; where not, those requests are translated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub responses: Option<bool>,
    /// Whether it takes `stream_options.include_usage`; where not, the tokens of streams are estimated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stream_usage: Option<bool>,
    /// A path below `url` that is asked every `probe_interval` to learn whether it answers, for example `/models`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub probe: Option<String>,
}

/// One key at a provider.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CredentialOptions {
    /// Its name in metrics and answers. Never the key.
    pub name: String,
    /// Where the key is: `env:NAME` or `file:/path`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<SecretRef>,
    /// Its part of the calls, beside the other credentials' weights.
    #[serde(default = "one")]
    pub weight: f64,
    /// Requests a minute at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rpm: Option<u32>,
    /// Tokens a minute at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tpm: Option<u64>,
    /// Calls at once at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concurrency_max: Option<u32>,
}

pub(crate) const fn one() -> f64 {
    1.0
}

/// What a model costs, in US dollars for a million tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PriceOptions {
    /// What is sent.
    pub input: f64,
    /// What is answered, reasoning included.
    pub output: f64,
    /// What was sent and found in the provider's prompt cache; as `input` where it is not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache_read: Option<f64>,
    /// What was sent and written to the provider's prompt cache; as `input` where it is not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache_write: Option<f64>,
    /// How many tokens a request may have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub window: Option<u32>,
}

/// Breakers, retries, timeouts, hedging.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ResilienceOptions {
    /// Failures in a row that open the breaker of a credential and model.
    pub failures_max: u32,
    /// How long an open breaker lets nothing pass.
    pub rest: HumanDuration,
    /// Calls that probe a half-open breaker, and must succeed to close it.
    pub probes: u32,
    /// How long a call may take, retries included.
    pub request_timeout: HumanDuration,
    /// How long opening a connection may take.
    pub connect_timeout: HumanDuration,
    /// How long an answer that is not streamed may take at one place before it is asked for at another.
    pub answer_timeout: HumanDuration,
    /// How long a stream may take to its first token.
    pub first_token_timeout: HumanDuration,
    /// How long a stream may be silent.
    pub idle_timeout: HumanDuration,
    /// Further attempts of a call at most, all providers together; never more than 3.
    pub retries_max: u32,
    /// Which part of calls may be retried, on average; a provider that is down must not be asked twice as often.
    pub retry_ratio: f64,
    /// The first wait before the same place is asked again; doubles, with jitter.
    pub backoff: HumanDuration,
    /// Start a second attempt elsewhere when the first has not begun to answer for so long; `0s`: never.
    pub hedge_after: HumanDuration,
    /// Which part of calls may be hedged.
    pub hedge_ratio: f64,
    /// Share of failures among its last 32 calls at which a credential is left out, while others work.
    pub eject_ratio: f64,
    /// For how long it is left out.
    pub eject_for: HumanDuration,
    /// How often providers with a `probe` are asked whether they answer.
    pub probe_interval: HumanDuration,
}

impl Default for ResilienceOptions {
    fn default() -> Self {
        Self {
            failures_max: 5,
            rest: HumanDuration::from_secs(120),
            probes: 1,
            request_timeout: HumanDuration::from_secs(600),
            connect_timeout: HumanDuration::from_secs(5),
            answer_timeout: HumanDuration::from_secs(300),
            first_token_timeout: HumanDuration::from_secs(120),
            idle_timeout: HumanDuration::from_secs(60),
            retries_max: 3,
            retry_ratio: 0.2,
            backoff: HumanDuration::from_millis(200),
            hedge_after: HumanDuration::from_secs(0),
            hedge_ratio: 0.05,
            eject_ratio: 0.5,
            eject_for: HumanDuration::from_secs(30),
            probe_interval: HumanDuration::from_secs(30),
        }
    }
}

/// Answers that are kept, per tenant.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct CacheOptions {
    /// How long the answer to the very same request is given again; `0s`: never.
    pub ttl: HumanDuration,
    /// How much the kept answers may weigh.
    pub weight_max: ByteSize,
    /// Answers to questions that are alike.
    pub semantic: SemanticOptions,
}

impl Default for CacheOptions {
    fn default() -> Self {
        let semantic = SemanticOptions::default();
        Self { ttl: HumanDuration::from_secs(0), weight_max: ByteSize::mib(64), semantic }
    }
}

/// How much of requests is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogMode {
    /// Nothing.
    Off,
    /// Who, where, when, how many tokens, how it ended.
    #[default]
    Metadata,
    /// The bodies too.
    Full,
}

/// The request log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LogOptions {
    /// How much of requests is kept: `off`, `metadata`, or `full` (the bodies too).
    pub mode: LogMode,
    /// For how long.
    pub retention: HumanDuration,
    /// The longest body that is kept in full; what is beyond is cut.
    pub body_max: ByteSize,
    /// Entries that wait to be written; more are not kept, and counted.
    pub queue_max: usize,
    /// Which part of successful calls is kept, 0.0 to 1.0; failures always are.
    pub sample_ratio: f64,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self {
            mode: LogMode::Metadata,
            retention: HumanDuration::from_secs(7 * 24 * 3600),
            body_max: ByteSize::bytes(64 << 10),
            queue_max: 8192,
            sample_ratio: 1.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_section_is_a_working_gateway() {
        assert_eq!(toml::from_str::<LlmOptions>("").unwrap(), LlmOptions::default());
    }

    #[test]
    fn a_literal_key_is_refused() {
        let text = "[[providers]]\nname = 'a'\ncredentials = [{ name = 'x', key = 'sk-live' }]";
        let error = toml::from_str::<LlmOptions>(text).unwrap_err().to_string();
        assert!(error.contains("env:NAME") && !error.contains("`sk-live`"), "{error}");
    }
}
