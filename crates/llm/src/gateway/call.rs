//! A call as it came in.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use http::HeaderMap;
use paddock_platform::{http::current_request, identity::Caller};
use tokio::time::Instant;

use crate::{
    dialect::{
        Api,
        canonical::Request,
        scan::{Facts, scan},
        translate::{Format, read_request},
    },
    durable::Once,
    error::LlmError,
    govern::{PICO_PER_DOLLAR, Pico},
    routing::{Ask, Class, Plan},
};

/// Tags of a call, separated by commas: for rules, and in the log.
pub(super) const X_TAGS: &str = "x-paddock-tags";
/// How soon the answer is wanted: `interactive` or `batch`.
const X_CLASS: &str = "x-paddock-class";
/// The most that the call may be expected to cost, in US dollars.
pub(super) const X_COST_MAX: &str = "x-paddock-cost-max";
/// The longest tags that are kept.
const TAGS_LENGTH_MAX: usize = 256;
/// What an answer is taken to have when its caller names no limit.
const TOKENS_OUT_DEFAULT: u64 = 1024;

/// A call.
pub(crate) struct Call {
    pub(crate) api: Api,
    pub(crate) caller: Caller,
    /// What makes it happen once, where that is wanted.
    pub(crate) once: Option<Arc<Once>>,
    /// What the caller reads and writes.
    pub(crate) format: Format,
    pub(crate) tenant: Arc<str>,
    /// The id of the key; empty for none.
    pub(crate) key: Arc<str>,
    pub(crate) team: String,
    pub(crate) body: Bytes,
    pub(crate) facts: Facts,
    pub(crate) headers: HeaderMap,
    pub(crate) tags: String,
    pub(crate) class: Option<Class>,
    pub(crate) cost_max: Option<Pico>,
    pub(crate) trace_id: String,
    pub(crate) started: Instant,
    pub(crate) deadline: Instant,
    /// The configuration that was in force when it came: it stays in force for the call.
    pub(crate) plan: Arc<Plan>,
    canonical: OnceLock<Result<Request, LlmError>>,
}

impl Call {
    /// Reads what routing needs of it.
    pub(crate) fn read(
        api: Api,
        plan: Arc<Plan>,
        caller: &Caller,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<Self, LlmError> {
        let facts = scan(api, &body)?;
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
        let class = match text(X_CLASS) {
            None => None,
            Some("interactive") => Some(Class::Interactive),
            Some("batch") => Some(Class::Batch),
            Some(_) => return Err(LlmError::invalid(X_CLASS, "must be `interactive` or `batch`")),
        };
        let cost_max = match text(X_COST_MAX).map(str::parse::<f64>) {
            None => None,
            Some(Ok(dollars)) if dollars >= 0.0 => Some((dollars * PICO_PER_DOLLAR) as Pico),
            Some(_) => return Err(LlmError::invalid(X_COST_MAX, "must be an amount in US dollars")),
        };
        let tags = text(X_TAGS).unwrap_or_default();
        let key = caller.key_id().unwrap_or_default();
        let started = Instant::now();
        let timeout = plan.options.resilience.request_timeout.get();
        Ok(Self {
            api,
            caller: caller.clone(),
            once: None,
            format: Format::of_api(api),
            tenant: Arc::from(caller.tenant().as_str()),
            team: plan.limits.team_of(key).to_owned(),
            key: Arc::from(key),
            tags: tags.chars().take(TAGS_LENGTH_MAX).collect(),
            trace_id: current_request()
                .map(|current| current.trace.trace_id_hex().as_ref().to_owned())
                .unwrap_or_default(),
            deadline: started + timeout,
            canonical: OnceLock::new(),
            facts,
            class,
            cost_max,
            headers,
            body,
            started,
            plan,
        })
    }

    /// What is made later has nobody who reads its stream.
    pub(crate) fn refuse_stream(&self) -> Result<(), LlmError> {
        if self.facts.stream {
            return Err(LlmError::invalid("stream", "is not possible for a call that nobody waits for"));
        }
        Ok(())
    }

    /// What a decision is made from.
    pub(crate) fn ask(&self) -> Ask<'_> {
        Ask {
            model: &self.facts.model,
            tenant: &self.tenant,
            team: &self.team,
            tags: self.tags.split(',').map(str::trim).filter(|tag| !tag.is_empty()).collect(),
            headers: Some(&self.headers),
            needs: self.facts.needs,
            tokens_in: self.facts.tokens_in,
            tokens_out: self.tokens_out(),
            class: self.class,
            cost_max: self.cost_max,
            conversation: self.facts.conversation,
            again: self.once.as_ref().and_then(|once| once.lane.as_deref()),
        }
    }

    /// What the answer may have.
    pub(crate) fn tokens_out(&self) -> u64 {
        match self.api {
            Api::Embeddings | Api::CountTokens => 0,
            _ => self.facts.tokens_out_max.unwrap_or(TOKENS_OUT_DEFAULT),
        }
    }

    /// The request between dialects; read when the first target needs it.
    pub(crate) fn canonical(&self) -> Result<&Request, LlmError> {
        let read = self.canonical.get_or_init(|| read_request(self.format, &self.body));
        read.as_ref().map_err(Clone::clone)
    }

    /// Another body of the same request, as guards leave it.
    pub(crate) fn replace_body(&mut self, body: Bytes) -> Result<(), LlmError> {
        self.facts = scan(self.api, &body)?;
        self.body = body;
        self.canonical = OnceLock::new();
        Ok(())
    }

    /// What a header of the caller's says.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok().map(str::trim)
    }
}
