//! What becomes of every answer on its way out: failures are problems with a trace id, and ids are attached.

use axum::{
    body::{Body, to_bytes},
    response::Response,
};
use http::{HeaderValue, StatusCode, header};
use http_body::Body as _;

use super::{authenticate::CHALLENGE, endpoint::FailureFormat};
use crate::problem::{
    BODY_TOO_LARGE, FORBIDDEN, INTERNAL, INVALID_REQUEST, METHOD_NOT_ALLOWED, NOT_FOUND, NOT_IMPLEMENTED,
    Problem, ProblemKind, UNAUTHENTICATED,
};

/// The media type of a body is not one that the route reads.
pub const UNSUPPORTED_MEDIA_TYPE: ProblemKind =
    ProblemKind::new("unsupported-media-type", StatusCode::UNSUPPORTED_MEDIA_TYPE, "Unsupported media type");

/// The longest explanation of a library's own rejection that is taken over.
const EXPLANATION_LENGTH_MAX: usize = 4096;

/// Makes a failure a problem with the request's trace id, or what the route's format makes of it; leaves every other
/// answer, and failures in an area's own format, alone.
pub(super) async fn render_problem(
    response: Response,
    (method, path): (&str, &str),
    trace_id: &str,
    format: Option<FailureFormat>,
) -> Response {
    if !(response.status().is_client_error() || response.status().is_server_error()) {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let problem = match parts.extensions.remove::<Problem>() {
        Some(problem) => problem,
        None if is_foreign(&parts.headers, &body) => {
            let text = to_bytes(body, EXPLANATION_LENGTH_MAX).await.unwrap_or_default();
            explain(parts.status, &String::from_utf8_lossy(&text), method, path)
        }
        None => return Response::from_parts(parts, body),
    };
    let rendered = match format {
        Some(format) => format(&problem),
        None => problem.to_response(Some(trace_id)),
    };
    // The format may have another status for it.
    parts.status = rendered.status();
    // The body is another one now: nothing that described the old one holds.
    for name in [header::CONTENT_LENGTH, header::CONTENT_ENCODING, header::ETAG] {
        parts.headers.remove(name);
    }
    for (name, value) in rendered.headers() {
        parts.headers.insert(name, value.clone());
    }
    if parts.status == StatusCode::UNAUTHORIZED {
        parts.headers.entry(header::WWW_AUTHENTICATE).or_insert(CHALLENGE);
    }
    Response::from_parts(parts, rendered.into_body())
}

/// Whether it is the bare text or nothing that a library rejects with.
fn is_foreign(headers: &http::HeaderMap, body: &Body) -> bool {
    match headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes) {
        Some(media_type) => media_type.starts_with(b"text/plain"),
        None => body.is_end_stream(),
    }
}

fn explain(status: StatusCode, text: &str, method: &str, path: &str) -> Problem {
    let kind = match status {
        StatusCode::NOT_FOUND => NOT_FOUND,
        StatusCode::METHOD_NOT_ALLOWED => METHOD_NOT_ALLOWED,
        StatusCode::UNAUTHORIZED => UNAUTHENTICATED,
        StatusCode::FORBIDDEN => FORBIDDEN,
        StatusCode::PAYLOAD_TOO_LARGE => BODY_TOO_LARGE,
        StatusCode::UNSUPPORTED_MEDIA_TYPE => UNSUPPORTED_MEDIA_TYPE,
        StatusCode::NOT_IMPLEMENTED => NOT_IMPLEMENTED,
        StatusCode::INTERNAL_SERVER_ERROR => INTERNAL,
        StatusCode::BAD_REQUEST => INVALID_REQUEST,
        other => ProblemKind::new("refused", other, other.canonical_reason().unwrap_or("Refused")),
    };
    let text = text.trim();
    let detail = match status {
        _ if !text.is_empty() => text.to_owned(),
        StatusCode::NOT_FOUND => format!("nothing is at `{path}`; `/docs` lists what is"),
        StatusCode::METHOD_NOT_ALLOWED => {
            format!("`{path}` has no method {method}; the header `Allow` lists those it has")
        }
        other => other.canonical_reason().unwrap_or("refused").to_lowercase(),
    };
    Problem::new(kind, detail)
}

#[cfg(test)]
mod tests {
    use axum::response::IntoResponse;
    use serde_json::{Value, json};

    use super::*;

    async fn rendered(response: impl IntoResponse) -> (http::HeaderMap, Value) {
        let response = render_problem(response.into_response(), ("GET", "/a"), "4bf9", None).await;
        let (parts, body) = response.into_parts();
        let body = to_bytes(body, 1 << 16).await.unwrap();
        (parts.headers, serde_json::from_slice(&body).unwrap_or(Value::Null))
    }

    #[tokio::test]
    async fn a_problem_gets_the_trace_id_and_keeps_other_headers() {
        let (headers, body) = rendered(([("x-kept", "1")], Problem::not_found("job", 7))).await;
        assert_eq!(body["trace_id"], "4bf9");
        assert_eq!(headers["x-kept"], "1");
        assert_eq!(headers[header::CONTENT_TYPE], "application/problem+json");
    }

    #[tokio::test]
    async fn a_library_rejection_becomes_a_problem_with_its_text() {
        let (_, body) = rendered((StatusCode::BAD_REQUEST, "no such thing")).await;
        assert_eq!(body["type"], "urn:paddock:problem:invalid-request");
        assert_eq!(body["detail"], "no such thing");
        let (_, body) = rendered(StatusCode::EXPECTATION_FAILED).await;
        assert_eq!(body["status"], 417);
    }

    #[tokio::test]
    async fn what_described_the_old_body_does_not_describe_the_new_one() {
        let encoded =
            ([(header::CONTENT_ENCODING, "gzip"), (header::ETAG, "\"1\"")], Problem::not_found("job", 7));
        let (headers, body) = rendered(encoded).await;
        assert_eq!(body["trace_id"], "4bf9");
        assert!(!headers.contains_key(header::CONTENT_ENCODING) && !headers.contains_key(header::ETAG));
    }

    #[tokio::test]
    async fn an_areas_own_error_format_is_left_alone() {
        let own = json!({"error": "bad_ref"});
        let (_, body) = rendered((StatusCode::NOT_FOUND, axum::Json(own.clone()))).await;
        assert_eq!(body, own);
    }

    #[tokio::test]
    async fn a_401_says_how_to_authenticate() {
        let (headers, _) = rendered(Problem::new(UNAUTHENTICATED, "no key")).await;
        assert_eq!(headers[header::WWW_AUTHENTICATE], "Bearer realm=\"paddock\"");
    }
}
