//! Answers on their way to the caller.

use std::sync::Arc;

use axum::{body::Body, response::Response};
use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use metrics::counter;

use super::{
    attempt::Whole,
    cache::{Keeping, Kept},
    call::Call,
    failed::Failed,
    record::{Record, Served},
    relay::{Relay, Relayed},
};
use crate::{
    dialect::{embeddings, translate::parse, usage::Usage},
    error::LlmError,
    govern::{Meter, write_headers},
    metrics::LLM_CACHE_TOTAL,
    routing::Route,
};

/// Says where a call went: `provider/model; credential=a; strategy=weighted; attempts=1`.
pub(crate) const X_ROUTE: &str = "x-paddock-route";
/// Says that an answer is not a model's.
const X_SIMULATED: &str = "x-paddock-simulated";

/// OpenAI's form of Gemini's embeddings.
pub(super) fn translate_embeddings(call: &Call, body: &[u8]) -> Result<(Bytes, Usage), LlmError> {
    let request = embeddings::read_request(parse(&call.body)?)?;
    let vectors = embeddings::read_gemini_answer(&parse(body)?)?;
    // Gemini does not say how many tokens they were.
    let usage = Usage { input: call.facts.tokens_in, estimated: true, ..Usage::default() };
    let answer = embeddings::write_answer(&vectors, request.base64, &call.facts.model, usage);
    Ok((Bytes::from(answer.to_string()), usage))
}

/// An answer of JSON.
pub(super) fn json_response(status: StatusCode, body: Bytes) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// The provider's refusal, in its own words or in the caller's dialect's.
pub(super) fn refusal(call: &Call, failed: &Failed) -> Response {
    match &failed.own_words {
        Some(words) => json_response(words.0, words.1.clone()),
        None => crate::dialect::failure::render(call.api.dialect(), &failed.error),
    }
}

/// Says in the headers where the call went.
pub(super) fn write_route(
    response: &mut Response,
    served: &Served,
    route: Option<&Route>,
    attempts: u32,
    meters: &[Arc<Meter>],
    call: &Call,
) {
    let strategy = route.map_or("none", |route| route.strategy.name());
    let text = format!(
        "{}/{}; credential={}; strategy={strategy}; attempts={attempts}",
        served.lane.provider, served.target.model, served.lane.credential.name
    );
    let headers = response.headers_mut();
    if let Ok(value) = HeaderValue::try_from(text) {
        headers.insert(X_ROUTE, value);
    }
    if served.target.provider.is_simulated() {
        headers.insert(X_SIMULATED, HeaderValue::from_static("true"));
    }
    write_headers(call.api.dialect(), meters, headers);
    // For those who ask from within, and want to know what it cost.
    response.extensions_mut().insert(served.clone());
}

pub(super) fn keep(whole: &Whole) -> Kept {
    Kept {
        status: whole.status,
        content_type: HeaderValue::from_static("application/json"),
        body: whole.body.clone(),
        usage: whole.usage,
        served: whole.served.clone(),
    }
}

pub(super) fn finish_whole(whole: &Whole, mut record: Record) -> Response {
    record.usage = whole.usage;
    record.first_token = Some(record.call.started.elapsed());
    record.finish("ok", whole.status.as_u16(), false);
    let mut response = json_response(whole.status, whole.body.clone());
    if let Some(id) = &whole.request_id {
        response.headers_mut().insert("x-upstream-request-id", id.clone());
    }
    response
}

pub(super) fn from_cache(
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

pub(super) fn stream_response(relayed: Relayed, record: Record, kept: Option<Keeping>) -> Response {
    let mut response = Response::new(Body::new(Relay::new(relayed, record, kept)));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    // For proxies that would hold it back.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}

pub(super) fn failed(call: &Call, failure: &Failed, record: Record) -> Response {
    let response = refusal(call, failure);
    record.finish(failure.error.label(), response.status().as_u16(), false);
    response
}

/// No provider behind the name counts tokens: an estimate, and said so.
pub(super) fn estimated_tokens(call: &Call, record: Record) -> Response {
    record.finish("ok", 200, false);
    let body = format!("{{\"input_tokens\":{}}}", call.facts.tokens_in);
    let mut response = json_response(StatusCode::OK, Bytes::from(body));
    response.headers_mut().insert("x-paddock-estimated", HeaderValue::from_static("true"));
    response
}
