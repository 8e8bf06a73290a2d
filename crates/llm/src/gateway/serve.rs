//! A call from its first byte to the first of its answer.

use std::{sync::Arc, time::Duration};

use axum::{body::Body, response::Response};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use jiff::Timestamp;
use metrics::{counter, histogram};
use paddock_platform::{identity::Caller, problem::Problem};
use serde_json::Value;
use tokio::time::{Instant, sleep};
use tracing::Instrument;

use super::{
    Gateway,
    answer::{json_response, refusal, write_route},
    attempt::{Delivered, Whole, attempt},
    cache::{Kept, Use},
    call::Call,
    decisions::{Decision, SkippedLane},
    failed::{Failed, Next},
    record::{Record, Served},
    relay::{Relay, Relayed},
    search::Search,
    semantic::Asked,
    texts::texts_of,
};
use crate::{
    dialect::{Api, failure, translate::parse},
    durable::Once,
    error::{ErrorKind, LlmError},
    govern::{Claim, Limits, Meter, Pico, Stage, can_look_into},
    metrics::{LLM_CACHE_TOTAL, LLM_HEDGES_TOTAL, LLM_OVERHEAD_SECONDS, LLM_REFUSED_TOTAL},
    routing::{Choice, Route, choose, name_of},
};

/// Retries of a call at most, whatever the configuration says.
const RETRIES_MAX: u32 = 3;

/// A call that may be made.
struct Admitted {
    call: Arc<Call>,
    routes: Vec<Arc<Route>>,
    meters: Arc<[Arc<Meter>]>,
    claim: Claim,
}

impl Gateway {
    /// Serves a call; failures are in the dialect of its api.
    pub(crate) async fn serve(&self, api: Api, caller: &Caller, headers: HeaderMap, body: Bytes) -> Response {
        self.serve_as(api, caller, headers, body, None).await
    }

    /// As [`Gateway::serve`], for a call that is made once.
    pub(crate) async fn serve_once(
        &self,
        api: Api,
        caller: &Caller,
        headers: HeaderMap,
        body: Bytes,
        once: Arc<Once>,
    ) -> Response {
        self.serve_as(api, caller, headers, body, Some(once)).await
    }

    async fn serve_as(
        &self,
        api: Api,
        caller: &Caller,
        headers: HeaderMap,
        body: Bytes,
        once: Option<Arc<Once>>,
    ) -> Response {
        match self.admit(api, caller, headers, body, once).await {
            Ok(admitted) => Box::pin(self.run(admitted)).await,
            Err(error) => {
                counter!(LLM_REFUSED_TOTAL, "reason" => error.label()).increment(1);
                failure::render(api.dialect(), &error)
            }
        }
    }

    /// Whether a call could be made later, and how long it may take then.
    pub(crate) fn check(
        &self,
        api: Api,
        caller: &Caller,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<Duration, LlmError> {
        let inner = self.inner();
        let plan = inner.plan.load_full();
        let call = Call::read(api, Arc::clone(&plan), caller, headers, body)?;
        call.refuse_stream()?;
        Limits::check_model(&plan.limits.of(caller, &inner.ledger), &call.facts.model)?;
        plan.resolve(&call.ask())?;
        Ok(plan.options.resilience.request_timeout.get())
    }

    /// Whether the call may be made, and where it may go.
    async fn admit(
        &self,
        api: Api,
        caller: &Caller,
        headers: HeaderMap,
        body: Bytes,
        once: Option<Arc<Once>>,
    ) -> Result<Admitted, LlmError> {
        let inner = self.inner();
        let plan = inner.plan.load_full();
        let mut call = Call::read(api, Arc::clone(&plan), caller, headers, body)?;
        if once.is_some() {
            call.refuse_stream()?;
            call.once = once;
        }
        let meters = plan.limits.of(caller, &inner.ledger);
        Limits::check_model(&meters, &call.facts.model)?;
        if can_look_into(api) && plan.guards.any(Stage::Request, &call.tenant, &call.facts.model) {
            let mut body = parse(&call.body)?;
            if self.pass_guards(Stage::Request, &call, &mut body).await? {
                call.replace_body(Bytes::from(body.to_string()))?;
            }
        }
        let ask = call.ask();
        let routes = plan.resolve(&ask)?;
        let (tokens, cost) = if api == Api::CountTokens {
            (0, 0)
        } else {
            let targets = routes.iter().take(1).flat_map(|route| &route.targets);
            let dearest: Pico = targets.map(|target| target.estimate(&ask)).max().unwrap_or(0);
            (ask.tokens_in + ask.tokens_out, dearest)
        };
        let claim = Limits::claim(&meters, tokens, cost)?;
        Ok(Admitted { call: Arc::new(call), routes, meters, claim })
    }

    async fn pass_guards(&self, stage: Stage, call: &Call, body: &mut Value) -> Result<bool, LlmError> {
        let mut texts = texts_of(body);
        let who = (&*call.tenant, call.facts.model.as_str());
        call.plan.guards.pass(&self.inner().http, stage, who, &mut texts).await
    }

    async fn run(&self, admitted: Admitted) -> Response {
        let Admitted { call, routes, meters, claim } = admitted;
        let record = Record::new(self.inner(), &call, claim);
        let span = record.span().clone();
        let served = async {
            if call.api == Api::CountTokens
                && !routes[0].targets.iter().any(|target| target.provider.takes(call.api))
            {
                return estimated_tokens(&call, record);
            }
            self.answer(&call, &routes, &meters, record).await
        };
        served.instrument(span).await
    }

    async fn answer(
        &self,
        call: &Arc<Call>,
        routes: &[Arc<Route>],
        meters: &[Arc<Meter>],
        mut record: Record,
    ) -> Response {
        let cache = self.inner().cache.load_full();
        let usage = cache.use_of(call);
        if let Use::Full(key) = usage
            && let Some(kept) = cache.entries.get(&key).await
        {
            return from_cache("hit", &kept, call, routes, meters, record);
        }
        let asked = if usage == Use::Skip { None } else { self.asked(cache.semantic.as_ref(), call).await };
        if let Use::Full(key) = usage {
            if let Some(near) = asked.as_ref().and_then(Asked::nearest) {
                let mut response = from_cache("semantic", near.kept(), call, routes, meters, record);
                near.write_header(&mut response);
                return response;
            }
            if !call.facts.stream {
                return self.answer_once(call, routes, meters, record, (key, asked)).await;
            }
        }
        let delivered = self.deliver(call, routes, &mut record).await;
        let attempts = record.attempts;
        let route = routes.first().map(Arc::as_ref);
        let key = match usage {
            Use::Full(key) | Use::Refresh(key) => Some(key),
            Use::Skip => None,
        };
        match delivered {
            Ok(Delivered::Whole(whole)) => {
                let whole = match self.guard_answer(call, whole, &mut record).await {
                    Ok(whole) => whole,
                    Err(error) => return failed(call, &Failed::of(error), record),
                };
                if let Some(key) = key {
                    let kept = Arc::new(keep(&whole));
                    if let Some(asked) = asked {
                        asked.keep(&kept);
                    }
                    cache.entries.insert(key, kept).await;
                }
                let mut response = finish_whole(&whole, record);
                write_route(&mut response, &whole.served, route, attempts, meters, call);
                response
            }
            Ok(Delivered::Stream(relayed)) => {
                let served = relayed.served.clone();
                let kept = key.map(|key| cache.keeping(key, &served, asked));
                let mut response = stream_response(*relayed, record, kept);
                write_route(&mut response, &served, route, attempts, meters, call);
                response
            }
            Err(failure) => failed(call, &failure, record),
        }
    }

    /// An answer from the cache, or one that everybody who asks the same meanwhile shares.
    async fn answer_once(
        &self,
        call: &Arc<Call>,
        routes: &[Arc<Route>],
        meters: &[Arc<Meter>],
        record: Record,
        (key, asked): (super::cache::Key, Option<Asked>),
    ) -> Response {
        let cache = self.inner().cache.load_full();
        let mut waiting = Some(record);
        let mut led = None;
        let entry = {
            let (waiting, led) = (&mut waiting, &mut led);
            let compute = async move {
                let Some(mut record) = waiting.take() else {
                    return Err(Failed::of(LlmError::new(ErrorKind::Internal, "a call was led twice")));
                };
                match self.deliver(call, routes, &mut record).await {
                    Ok(Delivered::Whole(whole)) => {
                        let guarded = self.guard_answer(call, whole, &mut record).await;
                        *led = Some(record);
                        guarded.map(|whole| Arc::new(keep(&whole))).map_err(Failed::of)
                    }
                    Ok(Delivered::Stream(_)) => {
                        let error =
                            LlmError::new(ErrorKind::Internal, "a stream came where none was asked for");
                        *led = Some(record);
                        Err(Failed::of(error))
                    }
                    Err(failure) => {
                        *led = Some(record);
                        Err(failure)
                    }
                }
            };
            cache.entries.entry(key).or_try_insert_with(compute).await
        };
        match entry {
            Ok(entry) => {
                let how = if led.is_some() { "miss" } else { "hit" };
                let kept = entry.into_value();
                if let (Some(asked), true) = (asked, led.is_some()) {
                    asked.keep(&kept);
                }
                match led.or(waiting) {
                    Some(record) => from_cache(how, &kept, call, routes, meters, record),
                    None => json_response(kept.status, kept.body.clone()),
                }
            }
            Err(failure) => match led.or(waiting) {
                Some(record) => failed(call, &failure, record),
                None => refusal(call, &failure),
            },
        }
    }

    /// Passes a whole answer through the guards; what it cost is known and stays.
    async fn guard_answer(
        &self,
        call: &Call,
        mut whole: Whole,
        record: &mut Record,
    ) -> Result<Whole, LlmError> {
        record.usage = whole.usage;
        let guards = &call.plan.guards;
        if can_look_into(call.api) && guards.any(Stage::Answer, &call.tenant, &call.facts.model) {
            let mut body = parse(&whole.body)?;
            if self.pass_guards(Stage::Answer, call, &mut body).await? {
                whole.body = Bytes::from(body.to_string());
            }
        }
        record.keep(&whole.body);
        Ok(whole)
    }

    /// Makes attempts until one is answered, or none is left.
    async fn deliver(
        &self,
        call: &Arc<Call>,
        routes: &[Arc<Route>],
        record: &mut Record,
    ) -> Result<Delivered, Failed> {
        let inner = self.inner();
        let options = &call.plan.options;
        let retries_max = options.resilience.retries_max.min(RETRIES_MAX);
        let ask = call.ask();
        let mut search = Search::new(call.started + options.wait_max.get());
        inner.retries.deposit(options.resilience.retry_ratio);
        inner.hedges.deposit(options.resilience.hedge_ratio);
        loop {
            let choice = match choose(&call.plan, routes, &ask, &search.excluded()) {
                Ok(choice) => choice,
                Err(none) => {
                    search.wait_for_place(call, none).await?;
                    continue;
                }
            };
            self.note(call, routes, &choice, record.attempts + 1, search.last.as_ref());
            let lane = Arc::clone(choice.permit.lane());
            if let Some(once) = &call.once {
                let noted = self.note_lane(once, name_of(&lane)).await;
                noted.map_err(|error| Failed::of(LlmError::from(&Problem::from(error))))?;
            }
            let target = Arc::clone(&choice.target);
            record.served = Some(Served { target: Arc::clone(&target), lane: Arc::clone(&lane) });
            if record.attempts == 0 {
                histogram!(LLM_OVERHEAD_SECONDS).record(call.started.elapsed());
            }
            let failure = match self.attempt_hedged(call, routes, choice, record).await {
                Ok(delivered) => {
                    record.attempts += 1;
                    let served = match &delivered {
                        Delivered::Whole(whole) => &whole.served,
                        Delivered::Stream(relayed) => &relayed.served,
                    };
                    record.served = Some(served.clone());
                    return Ok(delivered);
                }
                Err(failure) => failure,
            };
            // What could not even be said to a target was no attempt.
            record.attempts += u32::from(failure.outcome.is_some());
            match failure.next {
                Next::Stop => return Err(failure),
                Next::Elsewhere => search.unfit.extend(target.lanes.iter().cloned()),
                Next::Retry => search.tried.push(lane),
            }
            let may_retry = record.attempts <= retries_max
                && Instant::now() < call.deadline
                && (failure.next != Next::Retry || inner.retries.take());
            if !may_retry {
                return Err(failure);
            }
            search.last = Some(failure);
        }
    }

    /// An attempt, and a second one elsewhere if the first does not begin to answer in time.
    async fn attempt_hedged(
        &self,
        call: &Arc<Call>,
        routes: &[Arc<Route>],
        choice: Choice,
        record: &mut Record,
    ) -> Result<Delivered, Failed> {
        // What shall be made once is not made twice.
        let route = routes.get(choice.stage).filter(|_| call.once.is_none());
        let hedge_after = route.map_or(Duration::ZERO, |route| route.hedge_after);
        let first_lane = Arc::clone(choice.permit.lane());
        let mut first = Box::pin(attempt(call, choice));
        if hedge_after.is_zero() {
            return first.await;
        }
        tokio::select! {
            delivered = &mut first => return delivered,
            () = sleep(hedge_after) => {}
        }
        let second = choose(&call.plan, routes, &call.ask(), std::slice::from_ref(&first_lane));
        let Ok(second) = second else { return first.await };
        if !self.inner().hedges.take() {
            drop(second);
            return first.await;
        }
        counter!(LLM_HEDGES_TOTAL).increment(1);
        record.attempts += 1;
        let mut second = Box::pin(attempt(call, second));
        let (done, other) = tokio::select! {
            delivered = &mut first => (delivered, second),
            delivered = &mut second => (delivered, first),
        };
        match done {
            Ok(delivered) => Ok(delivered),
            Err(_) => other.await,
        }
    }

    fn note(&self, call: &Call, routes: &[Arc<Route>], choice: &Choice, attempt: u32, last: Option<&Failed>) {
        self.inner().decisions.add(|| {
            let lane = choice.permit.lane();
            let route = routes.get(choice.stage);
            let skipped = choice.skipped.iter();
            Decision {
                at: Timestamp::now(),
                tenant: Arc::clone(&call.tenant),
                model: call.facts.model.clone(),
                strategy: route.map_or("none", |route| route.strategy.name()),
                provider: lane.provider.to_string(),
                target: choice.target.model.to_string(),
                credential: lane.credential.name.to_string(),
                attempt,
                fallback: choice.stage > 0,
                after: last.map(|failed| failed.error.message.clone()),
                skipped: skipped
                    .map(|(place, reason)| SkippedLane { place: place.clone(), reason })
                    .collect(),
            }
        });
    }
}

fn keep(whole: &Whole) -> Kept {
    Kept {
        status: whole.status,
        content_type: HeaderValue::from_static("application/json"),
        body: whole.body.clone(),
        usage: whole.usage,
        served: whole.served.clone(),
    }
}

fn finish_whole(whole: &Whole, mut record: Record) -> Response {
    record.usage = whole.usage;
    record.first_token = Some(record.call.started.elapsed());
    record.finish("ok", whole.status.as_u16(), false);
    let mut response = json_response(whole.status, whole.body.clone());
    if let Some(id) = &whole.request_id {
        response.headers_mut().insert("x-upstream-request-id", id.clone());
    }
    response
}

fn from_cache(
    how: &'static str,
    kept: &Kept,
    call: &Arc<Call>,
    routes: &[Arc<Route>],
    meters: &[Arc<Meter>],
    mut record: Record,
) -> Response {
    counter!(LLM_CACHE_TOTAL, "outcome" => how).increment(1);
    let is_own = how == "miss";
    record.usage = kept.usage;
    record.served = Some(kept.served.clone());
    let attempts = record.attempts;
    record.finish("ok", kept.status.as_u16(), !is_own);
    let mut response = Response::new(Body::from(kept.body.clone()));
    *response.status_mut() = kept.status;
    response.headers_mut().insert(header::CONTENT_TYPE, kept.content_type.clone());
    response.headers_mut().insert("x-paddock-cache", HeaderValue::from_static(how));
    write_route(&mut response, &kept.served, routes.first().map(Arc::as_ref), attempts, meters, call);
    response
}

fn stream_response(relayed: Relayed, record: Record, kept: Option<super::cache::Keeping>) -> Response {
    let mut response = Response::new(Body::new(Relay::new(relayed, record, kept)));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    // For proxies that would hold it back.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}

fn failed(call: &Call, failure: &Failed, record: Record) -> Response {
    let response = refusal(call, failure);
    record.finish(failure.error.label(), response.status().as_u16(), false);
    response
}

/// No provider behind the name counts tokens: an estimate, and said so.
fn estimated_tokens(call: &Call, record: Record) -> Response {
    record.finish("ok", 200, false);
    let body = format!("{{\"input_tokens\":{}}}", call.facts.tokens_in);
    let mut response = json_response(StatusCode::OK, Bytes::from(body));
    response.headers_mut().insert("x-paddock-estimated", HeaderValue::from_static("true"));
    response
}
