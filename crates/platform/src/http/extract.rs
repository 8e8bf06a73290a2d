//! Extractors whose refusals are problems that name the field: use these in handlers instead of axum's.

use axum::{
    body::Bytes,
    extract::OptionalFromRequest,
    extract::{
        FromRequest, FromRequestParts, RawPathParams, Request,
        path::ErrorKind,
        rejection::{BytesRejection, PathRejection},
    },
    response::{IntoResponse, Response},
};
use http::{HeaderMap, StatusCode, header, request::Parts};
use serde::{Serialize, de::DeserializeOwned};

use super::{answer::UNSUPPORTED_MEDIA_TYPE, body::BodyTimeoutError};
use crate::{
    field::refused_by_type,
    problem::{BODY_TOO_LARGE, INTERNAL, INVALID_REQUEST, Problem},
};

/// A JSON body, in or out.
#[derive(Clone, Copy, Debug, Default)]
pub struct Json<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        require_json(request.headers())?;
        let body = Bytes::from_request(request, state).await.map_err(|rejection| body_problem(&rejection))?;
        parse_json(&body).map(Self)
    }
}

/// A body that may be left out: none, or an empty one without a media type.
impl<T: DeserializeOwned, S: Send + Sync> OptionalFromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Option<Self>, Problem> {
        let typed =
            request.headers().contains_key(header::CONTENT_TYPE).then(|| require_json(request.headers()));
        let body = Bytes::from_request(request, state).await.map_err(|rejection| body_problem(&rejection))?;
        if body.is_empty() {
            return Ok(None);
        }
        typed.unwrap_or_else(|| require_json(&HeaderMap::new()))?;
        parse_json(&body).map(|value| Some(Self(value)))
    }
}

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        axum::Json(self.0).into_response()
    }
}

/// Anything but JSON is refused rather than guessed at; it also keeps HTML forms of other sites out. A program that is no
/// browser may leave the type of its command-line client (`curl -d`) in place.
fn require_json(headers: &HeaderMap) -> Result<(), Problem> {
    let essence = media_type_essence(headers);
    let is_json =
        essence.eq_ignore_ascii_case("application/json") || essence.to_ascii_lowercase().ends_with("+json");
    let is_form = essence.eq_ignore_ascii_case("application/x-www-form-urlencoded");
    let from_a_page = headers.contains_key(header::ORIGIN) || headers.contains_key("sec-fetch-site");
    if is_json || is_form && !from_a_page {
        return Ok(());
    }
    let detail = format!(
        "this route reads JSON, the request says `{}`; send `Content-Type: application/json`",
        essence.escape_default()
    );
    Err(Problem::new(UNSUPPORTED_MEDIA_TYPE, detail).with("header", "Content-Type"))
}

/// The media type of a body without its parameters; empty if there is none.
pub(super) fn media_type_essence(headers: &HeaderMap) -> &str {
    let media_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    media_type.split(';').next().unwrap_or("").trim()
}

/// Parses a JSON body into `T`; failing, names the field by its path.
pub fn parse_json<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    let value = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let path = error.path().to_string();
        let error = error.into_inner();
        if error.is_data() {
            refused_by_type(&path, &error.to_string(), "body")
        } else if body.is_empty() {
            Problem::invalid_field("body", "is empty; JSON is needed")
        } else {
            Problem::invalid_field("body", format_args!("is not JSON: {error}"))
        }
    })?;
    deserializer.end().map_err(|error| {
        Problem::invalid_field("body", format_args!("has more than one JSON value: {error}"))
    })?;
    Ok(value)
}

/// What reading a body failed with, for routes that read theirs as bytes.
pub fn body_problem(rejection: &BytesRejection) -> Problem {
    if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
        return Problem::new(BODY_TOO_LARGE, "the body is larger than the server's `server.body_max`");
    }
    let mut causes = std::iter::successors(std::error::Error::source(rejection), |error| error.source());
    if let Some(late) = causes.find_map(|error| error.downcast_ref::<BodyTimeoutError>()) {
        return late.into();
    }
    Problem::invalid_field(
        "body",
        "could not be read to its end; the connection broke or its framing is wrong",
    )
}

/// The query string.
#[derive(Clone, Copy, Debug, Default)]
pub struct Query<T>(pub T);

impl<T: DeserializeOwned + Send, S: Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    fn from_request_parts(parts: &mut Parts, _: &S) -> impl Future<Output = Result<Self, Problem>> + Send {
        std::future::ready(parse_query(parts.uri.query().unwrap_or_default()).map(Self))
    }
}

/// Parses a query string into `T`; failing, names the parameter.
pub fn parse_query<T: DeserializeOwned>(query: &str) -> Result<T, Problem> {
    let deserializer = serde_urlencoded::Deserializer::new(url::form_urlencoded::parse(query.as_bytes()));
    serde_path_to_error::deserialize(deserializer).map_err(|error| {
        let path = error.path().to_string();
        refused_by_type(&path, &error.into_inner().to_string(), "query")
    })
}

/// The parameters in the path.
#[derive(Clone, Copy, Debug, Default)]
pub struct Path<T>(pub T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Path<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match axum::extract::Path::from_request_parts(parts, state).await {
            Ok(axum::extract::Path(value)) => Ok(Self(value)),
            Err(PathRejection::FailedToDeserializePathParams(error)) => {
                let parameters = RawPathParams::from_request_parts(parts, state).await.ok();
                Err(path_problem(error.into_kind(), parameters.as_ref()))
            }
            Err(error) => Err(Problem::internal("reading the path's parameters", &error)),
        }
    }
}

fn path_problem(error: ErrorKind, parameters: Option<&RawPathParams>) -> Problem {
    let mismatch = |key: &str, value: &str, expected_type| {
        let shown = value.escape_default();
        Problem::invalid_field(key, format_args!("`{shown}` is not {}", described(expected_type)))
    };
    match error {
        ErrorKind::ParseErrorAtKey { key, value, expected_type } => mismatch(&key, &value, expected_type),
        // A handler that takes a single parameter does not say which: it is the one with that value.
        ErrorKind::ParseError { value, expected_type } => {
            let named = parameters.and_then(|all| all.iter().find(|(_, given)| *given == value));
            mismatch(named.map_or("path", |(key, _)| key), &value, expected_type)
        }
        ErrorKind::DeserializeError { key, message, .. } => Problem::invalid_field(&key, message),
        ErrorKind::InvalidUtf8InPathParam { key } => Problem::invalid_field(&key, "is not UTF-8"),
        ErrorKind::Message(message) => Problem::new(INVALID_REQUEST, message),
        other => {
            tracing::error!(error = %other, "a route's path and its handler disagree");
            Problem::new(
                INTERNAL,
                "this route is defective; the server's log has the cause under the trace id",
            )
        }
    }
}

fn described(expected_type: &str) -> &str {
    match expected_type {
        "u8" | "u16" | "u32" | "u64" | "u128" | "usize" => "a whole number that fits",
        "i8" | "i16" | "i32" | "i64" | "i128" | "isize" => "an integer that fits",
        "f32" | "f64" => "a number",
        "bool" => "`true` or `false`",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Order {
        #[expect(dead_code, reason = "only parsed")]
        items: Vec<Item>,
        #[expect(dead_code, reason = "only parsed")]
        note: Option<String>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Item {
        #[expect(dead_code, reason = "only parsed")]
        count: u8,
    }

    fn field(problem: &Problem) -> String {
        problem.extensions.as_ref().unwrap()["field"].as_str().unwrap().to_owned()
    }

    #[test]
    fn bad_json_names_its_field() {
        for (body, expected) in [
            (r#"{"items": [{"count": "two"}]}"#, "items[0].count"),
            (r#"{"items": [{"count": 300}]}"#, "items[0].count"),
            (r#"{"items": [{}]}"#, "items[0].count"),
            (r#"{"items": [{"count": 1, "size": 2}]}"#, "items[0].size"),
            (r"{}", "items"),
            (r#"{"items": [], "extra": 1}"#, "extra"),
            (r#"{"items": [], "note": 7}"#, "note"),
            (r#"{"items": ["#, "body"),
            ("", "body"),
            ("[]", "body"),
            (r#"{"items": []} {}"#, "body"),
        ] {
            let problem = parse_json::<Order>(body.as_bytes()).unwrap_err();
            assert_eq!(field(&problem), expected, "{body}: {problem}");
        }
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Filter {
        #[expect(dead_code, reason = "only parsed")]
        limit: u8,
    }

    #[test]
    fn a_bad_query_names_its_parameter() {
        for (query, expected) in [
            ("limit=many", "limit"),
            ("", "limit"),
            ("limit=1&order=up", "order"),
            ("limit=1&limit=2", "query"),
        ] {
            let problem = parse_query::<Filter>(query).unwrap_err();
            assert_eq!(field(&problem), expected, "{query}: {problem}");
        }
    }

    #[test]
    fn bodies_that_are_not_json_are_refused() {
        let check = |media_type: &'static str, origin: Option<&'static str>| {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_TYPE, http::HeaderValue::from_static(media_type));
            if let Some(origin) = origin {
                headers.insert(header::ORIGIN, http::HeaderValue::from_static(origin));
            }
            require_json(&headers).is_ok()
        };
        assert!(check("application/json; charset=utf-8", Some("http://127.0.0.1")));
        assert!(check("application/merge-patch+json", None));
        assert!(!check("text/plain", None));
        assert!(check("application/x-www-form-urlencoded", None), "a command-line client");
        assert!(!check("application/x-www-form-urlencoded", Some("http://127.0.0.1")), "a form on a page");
    }

    proptest! {
        #[test]
        fn no_body_or_query_makes_the_parsers_panic(bytes: Vec<u8>, text in ".{0,64}") {
            let _ = parse_json::<Order>(&bytes);
            let _ = parse_query::<Filter>(&text);
        }
    }
}
