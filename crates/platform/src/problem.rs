//! The one shape of a failure that a user meets: an RFC 9457 problem.
//!
//! Every area's error type converts into a [`Problem`]; HTTP renders it as `application/problem+json`, a tool call
//! returns it, and the CLI prints its `detail` as one line. The `type` of a problem is stable: clients branch on it.

use std::time::Duration;

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;
use serde_json::{Map, Value};

/// Media type of a rendered problem (RFC 9457, section 3).
pub const PROBLEM_JSON: &str = "application/problem+json";
/// Prefix of every problem type. A URN: an identifier to branch on, not a page to fetch.
pub const TYPE_PREFIX: &str = "urn:paddock:problem:";

/// Identifies one way to fail: its stable name, HTTP status and title.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProblemKind {
    /// Stable slug, for example `rate-limited`; the problem's `type` is [`TYPE_PREFIX`] and this.
    pub slug: &'static str,
    /// HTTP status it is answered with.
    pub status: StatusCode,
    /// Short summary, the same for every occurrence.
    pub title: &'static str,
}

impl ProblemKind {
    /// Declares a kind; kinds are constants beside the error type that they belong to.
    pub const fn new(slug: &'static str, status: StatusCode, title: &'static str) -> Self {
        Self { slug, status, title }
    }
}

/// The request is not understood: a body, parameter or header is malformed.
pub const INVALID_REQUEST: ProblemKind =
    ProblemKind::new("invalid-request", StatusCode::BAD_REQUEST, "Invalid request");
/// Nothing is there under that name or id.
pub const NOT_FOUND: ProblemKind = ProblemKind::new("not-found", StatusCode::NOT_FOUND, "Not found");
/// The method is not one the path has.
pub const METHOD_NOT_ALLOWED: ProblemKind =
    ProblemKind::new("method-not-allowed", StatusCode::METHOD_NOT_ALLOWED, "Method not allowed");
/// No key, or one that is unknown, expired or revoked.
pub const UNAUTHENTICATED: ProblemKind =
    ProblemKind::new("unauthenticated", StatusCode::UNAUTHORIZED, "Authentication required");
/// The caller lacks a scope, or the request came from a place that may not ask.
pub const FORBIDDEN: ProblemKind = ProblemKind::new("forbidden", StatusCode::FORBIDDEN, "Forbidden");
/// The request contradicts the state it would change.
pub const CONFLICT: ProblemKind = ProblemKind::new("conflict", StatusCode::CONFLICT, "Conflict");
/// The body is larger than the configured maximum.
pub const BODY_TOO_LARGE: ProblemKind =
    ProblemKind::new("body-too-large", StatusCode::PAYLOAD_TOO_LARGE, "Body too large");
/// The caller exceeded a limit of its own; `Retry-After` says when to come back.
pub const RATE_LIMITED: ProblemKind =
    ProblemKind::new("rate-limited", StatusCode::TOO_MANY_REQUESTS, "Rate limit exceeded");
/// The server is at a limit of its own; `Retry-After` says when to come back.
pub const OVERLOADED: ProblemKind =
    ProblemKind::new("overloaded", StatusCode::SERVICE_UNAVAILABLE, "Server at capacity");
/// The server did not finish within its own deadline.
pub const DEADLINE_EXCEEDED: ProblemKind =
    ProblemKind::new("deadline-exceeded", StatusCode::GATEWAY_TIMEOUT, "Deadline exceeded");
/// A defect or a broken dependency of ours; the log has the cause under the trace id.
pub const INTERNAL: ProblemKind =
    ProblemKind::new("internal", StatusCode::INTERNAL_SERVER_ERROR, "Internal error");
/// Left out on purpose, and said so.
pub const NOT_IMPLEMENTED: ProblemKind =
    ProblemKind::new("not-implemented", StatusCode::NOT_IMPLEMENTED, "Not implemented");

/// One failure as its user sees it: what happened, what was kept, what to do.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{detail}")]
pub struct Problem {
    /// Which way it failed.
    pub kind: ProblemKind,
    /// A sentence fragment in lower case for the person who reads it.
    pub detail: String,
    /// When trying again makes sense; rendered as `Retry-After` in whole seconds, rounded up.
    pub retry_after: Option<Duration>,
    /// Further members of the problem document, for example `field`. Boxed: most have none.
    pub extensions: Option<Box<Map<String, Value>>>,
}

impl Problem {
    /// A problem of this kind with its detail.
    pub fn new(kind: ProblemKind, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into(), retry_after: None, extensions: None }
    }

    /// [`INVALID_REQUEST`] about one named field, parameter or header.
    pub fn invalid_field(field: &str, detail: impl std::fmt::Display) -> Self {
        Self::new(INVALID_REQUEST, format!("`{field}`: {detail}")).with("field", field)
    }

    /// [`NOT_FOUND`] for something of a kind, by its name or id.
    pub fn not_found(what: &str, id: impl std::fmt::Display) -> Self {
        Self::new(NOT_FOUND, format!("no {what} `{id}`"))
    }

    /// Hides `error` behind [`INTERNAL`] and logs it: its text may name paths, queries or secrets.
    pub fn internal(context: &str, error: &(dyn std::error::Error + 'static)) -> Self {
        tracing::error!(error = error_chain(error), "{context} failed");
        Self::new(INTERNAL, format!("{context} failed; the server's log has the cause under the trace id"))
    }

    /// Adds when to try again.
    #[must_use]
    pub fn retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }

    /// Adds a member to the problem document.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.extensions.get_or_insert_default().insert(name.to_owned(), value.into());
        self
    }

    /// The full `type` of the document.
    pub fn type_uri(&self) -> String {
        format!("{TYPE_PREFIX}{}", self.kind.slug)
    }

    /// The problem as a JSON document, `trace_id` included when the request had one.
    pub fn to_document(&self, trace_id: Option<&str>) -> Value {
        #[derive(Serialize)]
        struct Document<'a> {
            r#type: String,
            title: &'a str,
            status: u16,
            detail: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            trace_id: Option<&'a str>,
        }
        let document = Document {
            r#type: self.type_uri(),
            title: self.kind.title,
            status: self.kind.status.as_u16(),
            detail: &self.detail,
            trace_id,
        };
        let mut value = serde_json::to_value(document).unwrap_or_default();
        if let (Value::Object(members), Some(extensions)) = (&mut value, &self.extensions) {
            for (name, extension) in extensions.iter() {
                members.entry(name).or_insert_with(|| extension.clone());
            }
        }
        value
    }

    /// The problem as a response, `trace_id` included when the request had one.
    pub fn to_response(&self, trace_id: Option<&str>) -> Response {
        let body = self.to_document(trace_id).to_string();
        let mut response =
            (self.kind.status, [(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON))], body)
                .into_response();
        if let Some(wait) = self.retry_after {
            let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds.max(1)));
        }
        response
    }
}

impl IntoResponse for Problem {
    /// Renders without a trace id; the HTTP edge finds the problem in the response's extensions and renders it again
    /// with the request's.
    fn into_response(self) -> Response {
        let mut response = self.to_response(None);
        response.extensions_mut().insert(self);
        response
    }
}

/// An error and its sources in one line, as the log shows them: `outer: inner: innermost`.
pub fn error_chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut line = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        line.push_str(": ");
        line.push_str(&inner.to_string());
        source = inner.source();
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_renders_as_rfc_9457_says() {
        let problem = Problem::invalid_field("viewport", "must be `desktop` or `mobile`")
            .retry_after(Duration::from_millis(1500));
        let document = problem.to_document(Some("4bf92f"));
        assert_eq!(
            document,
            serde_json::json!({
                "type": "urn:paddock:problem:invalid-request",
                "title": "Invalid request",
                "status": 400,
                "detail": "`viewport`: must be `desktop` or `mobile`",
                "trace_id": "4bf92f",
                "field": "viewport",
            })
        );
        let response = problem.into_response();
        assert_eq!(response.headers()[header::CONTENT_TYPE], PROBLEM_JSON);
        assert_eq!(response.headers()[header::RETRY_AFTER], "2");
    }

    #[test]
    fn an_extension_cannot_replace_a_standard_member() {
        let problem = Problem::new(NOT_FOUND, "no job `7`").with("status", 200);
        assert_eq!(problem.to_document(None)["status"], 404);
    }
}
