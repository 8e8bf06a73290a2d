//! Whole answers on their way to the caller.

use axum::{body::Body, response::Response};
use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};

use super::{call::Call, failed::Failed, record::Served};
use crate::{
    dialect::{embeddings, translate::parse, usage::Usage},
    error::LlmError,
    govern::{Meter, write_headers},
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
    meters: &[std::sync::Arc<Meter>],
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
