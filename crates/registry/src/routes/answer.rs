//! Answers of the official API.

use std::sync::Arc;

use axum::{
    body::Body,
    extract::Request,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use paddock_platform::{http::Prepared, identity::Caller, problem::Problem};

use crate::{entry::Entry, registry::Seen};

const ANYBODY: HeaderValue = HeaderValue::from_static("*");
/// Everybody gets the same: caches may keep it, and ask whether it is still so.
const SHARED: HeaderValue = HeaderValue::from_static("public, no-cache");
/// It depends on who asks.
const OWN: HeaderValue = HeaderValue::from_static("private, no-cache");
const BY_CALLER: HeaderValue = HeaderValue::from_static("authorization, x-api-key");
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// Who asks.
pub(super) fn caller_of(request: &Request) -> Option<&Caller> {
    request.extensions().get()
}

/// A page, or what there is instead; failures have the shape of the official API beside ours.
pub(super) fn page(seen: &Seen, page: Result<Option<Arc<Prepared>>, Problem>, request: &Request) -> Response {
    match page {
        Ok(Some(page)) => finished(page.answer(request.headers()), seen),
        Ok(None) => failed(not_found()),
        Err(problem) => failed(problem),
    }
}

/// One entry, or what there is instead.
pub(super) fn entry(seen: &Seen, entry: Option<&Arc<Entry>>, headers: &HeaderMap) -> Response {
    let Some(entry) = entry else { return failed(not_found()) };
    let mut response = Response::new(Body::empty());
    response.headers_mut().insert(header::ETAG, entry.etag.value());
    if headers.contains_key(header::IF_NONE_MATCH) && entry.etag.is_known_by(headers) {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        return finished(response, seen);
    }
    response.headers_mut().insert(header::CONTENT_TYPE, JSON);
    *response.body_mut() = Body::from(entry.rendered.clone());
    finished(response, seen)
}

fn not_found() -> Problem {
    Problem::new(paddock_platform::problem::NOT_FOUND, "there is no such server or version")
}

fn finished(mut response: Response, seen: &Seen) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, ANYBODY);
    headers.insert(header::CACHE_CONTROL, if seen.is_shared { SHARED } else { OWN });
    if !seen.is_shared {
        headers.insert(header::VARY, BY_CALLER);
    }
    response
}

/// A failure, which pages of other sites may read as well.
pub(super) fn failed(problem: Problem) -> Response {
    let detail = problem.detail.clone();
    let mut response = problem.with("error", detail).into_response();
    response.headers_mut().insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, ANYBODY);
    response
}

/// The answer to a browser that asks whether a page may ask.
pub(super) async fn preflight() -> impl IntoResponse {
    const HEADERS: [(HeaderName, HeaderValue); 4] = [
        (header::ACCESS_CONTROL_ALLOW_ORIGIN, ANYBODY),
        (header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, OPTIONS")),
        (
            header::ACCESS_CONTROL_ALLOW_HEADERS,
            HeaderValue::from_static("Authorization, Content-Type, If-None-Match"),
        ),
        (header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("86400")),
    ];
    (StatusCode::NO_CONTENT, HEADERS)
}
