//! Failures in the words of each vendor, and what a provider's failure says.

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde_json::{Value, json};

use super::Dialect;
use crate::error::{ErrorKind, LlmError};

/// Anthropic's status for "too much for us".
const OVERLOADED_STATUS: u16 = 529;
/// The longest message of a provider that is passed on.
const MESSAGE_LENGTH_MAX: usize = 2000;

/// The status that the vendor would answer with.
pub(crate) fn status(dialect: Dialect, error: &LlmError) -> StatusCode {
    match error.kind {
        ErrorKind::InvalidRequest
        | ErrorKind::Untranslatable
        | ErrorKind::ContextExceeded
        | ErrorKind::GuardRefused => StatusCode::BAD_REQUEST,
        ErrorKind::UnknownModel => StatusCode::NOT_FOUND,
        ErrorKind::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        ErrorKind::Unauthenticated => StatusCode::UNAUTHORIZED,
        ErrorKind::Forbidden => StatusCode::FORBIDDEN,
        ErrorKind::RateLimited | ErrorKind::BudgetExhausted => StatusCode::TOO_MANY_REQUESTS,
        ErrorKind::Overloaded if dialect == Dialect::Anthropic => {
            StatusCode::from_u16(OVERLOADED_STATUS).unwrap_or(StatusCode::SERVICE_UNAVAILABLE)
        }
        ErrorKind::Overloaded => StatusCode::SERVICE_UNAVAILABLE,
        ErrorKind::TimedOut => StatusCode::GATEWAY_TIMEOUT,
        ErrorKind::Refused(status) => status,
        ErrorKind::ProviderFailed => StatusCode::BAD_GATEWAY,
        ErrorKind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// The failure as the vendor would write it.
pub(crate) fn body(dialect: Dialect, error: &LlmError) -> Value {
    match dialect {
        Dialect::OpenAi => json!({"error": {
            "message": error.message,
            "type": openai_type(error),
            "param": error.param,
            "code": openai_code(error),
        }}),
        Dialect::Anthropic => {
            json!({"type": "error", "error": {"type": anthropic_type(error), "message": error.message}})
        }
        Dialect::Gemini => json!({"error": {
            "code": status(dialect, error).as_u16(), "message": error.message, "status": gemini_status(error),
        }}),
    }
}

fn openai_type(error: &LlmError) -> &'static str {
    match error.kind {
        ErrorKind::RateLimited | ErrorKind::Refused(StatusCode::TOO_MANY_REQUESTS) => "rate_limit_error",
        ErrorKind::BudgetExhausted => "insufficient_quota",
        ErrorKind::Unauthenticated => "authentication_error",
        ErrorKind::Forbidden => "permission_error",
        ErrorKind::Overloaded | ErrorKind::TimedOut | ErrorKind::ProviderFailed | ErrorKind::Internal => {
            "server_error"
        }
        _ => "invalid_request_error",
    }
}

fn openai_code(error: &LlmError) -> Option<&'static str> {
    match error.kind {
        ErrorKind::UnknownModel => Some("model_not_found"),
        ErrorKind::ContextExceeded => Some("context_length_exceeded"),
        ErrorKind::RateLimited => Some("rate_limit_exceeded"),
        ErrorKind::BudgetExhausted => Some("insufficient_quota"),
        ErrorKind::Unauthenticated => Some("invalid_api_key"),
        ErrorKind::GuardRefused => Some("content_filter"),
        ErrorKind::Untranslatable => Some("unsupported_value"),
        ErrorKind::Overloaded => Some("overloaded"),
        ErrorKind::TimedOut => Some("timeout"),
        _ => None,
    }
}

fn anthropic_type(error: &LlmError) -> &'static str {
    match status(Dialect::Anthropic, error).as_u16() {
        401 => "authentication_error",
        403 => "permission_error",
        404 => "not_found_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        400..500 => "invalid_request_error",
        504 => "timeout_error",
        503 | OVERLOADED_STATUS => "overloaded_error",
        _ => "api_error",
    }
}

fn gemini_status(error: &LlmError) -> &'static str {
    match status(Dialect::Gemini, error).as_u16() {
        400 => "INVALID_ARGUMENT",
        401 => "UNAUTHENTICATED",
        403 => "PERMISSION_DENIED",
        404 => "NOT_FOUND",
        429 => "RESOURCE_EXHAUSTED",
        503 => "UNAVAILABLE",
        504 => "DEADLINE_EXCEEDED",
        _ => "INTERNAL",
    }
}

/// The failure as an answer.
pub(crate) fn render(dialect: Dialect, error: &LlmError) -> Response {
    let content_type = [(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))];
    let body = body(dialect, error).to_string();
    let mut response = (status(dialect, error), content_type, body).into_response();
    let headers = response.headers_mut();
    if let Some(wait) = error.retry_after {
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds.max(1)));
        // The SDKs of both vendors read this one first; it has no need to round a short wait up.
        headers.insert("retry-after-ms", HeaderValue::from(wait.as_millis().min(u64::MAX.into()) as u64));
    }
    // Retries were done here already, and what was refused stays refused: the SDKs need not try on their own, unless
    // waiting may help.
    let may_help = matches!(error.kind, ErrorKind::RateLimited | ErrorKind::Overloaded);
    if !may_help {
        headers.insert("x-should-retry", HeaderValue::from_static("false"));
    }
    response
}

/// The event that ends a stream which failed after it had begun.
pub(crate) fn stream_event(format: super::translate::Format, error: &LlmError) -> Vec<u8> {
    use super::translate::Format;
    let mut out = Vec::new();
    match format {
        Format::Chat | Format::Completions => {
            super::sse::write_event(&mut out, None, body(Dialect::OpenAi, error).to_string().as_bytes());
        }
        Format::Responses => {
            let event = json!({
                "type": "error", "code": openai_code(error).unwrap_or("server_error"), "message": error.message,
                "param": null, "sequence_number": 0,
            });
            super::sse::write_event(&mut out, Some("error"), event.to_string().as_bytes());
        }
        Format::Messages => {
            let event = body(Dialect::Anthropic, error).to_string();
            super::sse::write_event(&mut out, Some("error"), event.as_bytes());
        }
        Format::Gemini => {
            super::sse::write_event(&mut out, None, body(Dialect::Gemini, error).to_string().as_bytes());
        }
    }
    out
}

/// What a provider's failure says: OpenAI's, Anthropic's, Gemini's and Ollama's forms, or text.
pub(crate) fn message_of(body: &[u8]) -> Option<String> {
    let value: Value = serde_json::from_slice(body).ok()?;
    let value = match &value {
        // Gemini's streams fail with an array of one.
        Value::Array(items) => items.first()?,
        other => other,
    };
    let error = value.get("error")?;
    let text = error.get("message").and_then(Value::as_str).or_else(|| error.as_str())?;
    Some(text.chars().take(MESSAGE_LENGTH_MAX).collect())
}

/// Whether a provider says that the request is too long for the model.
pub(crate) fn is_context_exceeded(body: &[u8]) -> bool {
    let text = String::from_utf8_lossy(&body[..body.len().min(8192)]).to_lowercase();
    ["context_length_exceeded", "maximum context length", "prompt is too long", "input token count exceeds"]
        .iter()
        .any(|sign| text.contains(sign))
}

/// The status of a failure that came with 200, as some gateways send it.
pub(crate) fn status_within(body: &[u8]) -> Option<StatusCode> {
    let value: Value = serde_json::from_slice(body).ok()?;
    let error = value.get("error").filter(|error| !error.is_null())?;
    let code = error.get("code").or_else(|| error.get("status")).and_then(Value::as_u64);
    let status = code.and_then(|code| StatusCode::from_u16(u16::try_from(code).ok()?).ok());
    Some(status.filter(|status| status.as_u16() >= 400).unwrap_or(StatusCode::BAD_GATEWAY))
}
