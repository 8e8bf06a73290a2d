//! Why a call was refused or failed. Rendered in the caller's dialect by [`dialect::failure`](crate::dialect), and as a
//! problem elsewhere.

use std::time::Duration;

use http::StatusCode;
use paddock_platform::problem::{
    BODY_TOO_LARGE, DEADLINE_EXCEEDED, FORBIDDEN, INTERNAL, INVALID_REQUEST, NOT_FOUND, OVERLOADED, Problem,
    ProblemKind, RATE_LIMITED, UNAUTHENTICATED,
};

/// A budget is spent.
pub const BUDGET_EXHAUSTED: ProblemKind =
    ProblemKind::new("budget-exhausted", StatusCode::TOO_MANY_REQUESTS, "Budget exhausted");
/// A guard refused the request or its answer.
pub const GUARD_REFUSED: ProblemKind =
    ProblemKind::new("guard-refused", StatusCode::BAD_REQUEST, "Refused by a guard");
/// The provider failed or refused.
pub const PROVIDER_FAILED: ProblemKind =
    ProblemKind::new("provider-failed", StatusCode::BAD_GATEWAY, "Provider failed");
/// The request is longer than any model behind the name takes.
pub const CONTEXT_EXCEEDED: ProblemKind =
    ProblemKind::new("context-exceeded", StatusCode::BAD_REQUEST, "Context window exceeded");

/// Which way a call failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ErrorKind {
    /// The request is malformed.
    InvalidRequest,
    /// The request is right, and cannot be said in what the provider speaks.
    Untranslatable,
    /// No such model.
    UnknownModel,
    /// The body is too large.
    TooLarge,
    /// Too long for every model behind the name.
    ContextExceeded,
    /// No key, or a wrong one.
    Unauthenticated,
    /// The caller may not use the model.
    Forbidden,
    /// The caller's own limit.
    RateLimited,
    /// The caller's money is spent.
    BudgetExhausted,
    /// A guard says no.
    GuardRefused,
    /// Every provider is at its limits, resting or failing.
    Overloaded,
    /// No answer in time.
    TimedOut,
    /// The provider refused the request, with this status.
    Refused(StatusCode),
    /// The provider failed.
    ProviderFailed,
    /// A defect of ours.
    Internal,
}

/// A call that was refused or failed.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub(crate) struct LlmError {
    pub(crate) kind: ErrorKind,
    /// For the caller: names no credential, no address and no text of the request.
    pub(crate) message: String,
    /// The member of the request that is wrong.
    pub(crate) param: Option<String>,
    /// When trying again makes sense.
    pub(crate) retry_after: Option<Duration>,
}

impl LlmError {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), param: None, retry_after: None }
    }

    /// A member of the request is wrong.
    pub(crate) fn invalid(field: &str, detail: impl std::fmt::Display) -> Self {
        let error = Self::new(ErrorKind::InvalidRequest, format!("`{field}` {detail}"));
        Self { param: Some(field.to_owned()), ..error }
    }

    /// What the request asks for cannot be said in the provider's dialect.
    pub(crate) fn untranslatable(field: &str, detail: impl std::fmt::Display) -> Self {
        Self { kind: ErrorKind::Untranslatable, ..Self::invalid(field, detail) }
    }

    #[must_use]
    pub(crate) fn retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }

    /// A label for metrics and logs.
    pub(crate) const fn label(&self) -> &'static str {
        match self.kind {
            ErrorKind::InvalidRequest => "invalid_request",
            ErrorKind::Untranslatable => "untranslatable",
            ErrorKind::UnknownModel => "unknown_model",
            ErrorKind::TooLarge => "too_large",
            ErrorKind::ContextExceeded => "context_exceeded",
            ErrorKind::Unauthenticated => "unauthenticated",
            ErrorKind::Forbidden => "forbidden",
            ErrorKind::RateLimited => "rate_limited",
            ErrorKind::BudgetExhausted => "budget_exhausted",
            ErrorKind::GuardRefused => "guard_refused",
            ErrorKind::Overloaded => "overloaded",
            ErrorKind::TimedOut => "timed_out",
            ErrorKind::Refused(_) => "refused",
            ErrorKind::ProviderFailed => "provider_failed",
            ErrorKind::Internal => "internal",
        }
    }
}

impl From<LlmError> for Problem {
    fn from(error: LlmError) -> Self {
        let kind = match error.kind {
            ErrorKind::InvalidRequest | ErrorKind::Untranslatable => INVALID_REQUEST,
            ErrorKind::UnknownModel => NOT_FOUND,
            ErrorKind::TooLarge => BODY_TOO_LARGE,
            ErrorKind::ContextExceeded => CONTEXT_EXCEEDED,
            ErrorKind::Unauthenticated => UNAUTHENTICATED,
            ErrorKind::Forbidden => FORBIDDEN,
            ErrorKind::RateLimited => RATE_LIMITED,
            ErrorKind::BudgetExhausted => BUDGET_EXHAUSTED,
            ErrorKind::GuardRefused => GUARD_REFUSED,
            ErrorKind::Overloaded => OVERLOADED,
            ErrorKind::TimedOut => DEADLINE_EXCEEDED,
            ErrorKind::Refused(_) | ErrorKind::ProviderFailed => PROVIDER_FAILED,
            ErrorKind::Internal => INTERNAL,
        };
        let mut problem = Self::new(kind, error.message);
        problem.retry_after = error.retry_after;
        match error.param {
            Some(field) => problem.with("field", field),
            None => problem,
        }
    }
}

impl From<&Problem> for LlmError {
    /// What the edge refused, for callers who expect a vendor's words.
    fn from(problem: &Problem) -> Self {
        let kind = match problem.kind.status {
            StatusCode::BAD_REQUEST => ErrorKind::InvalidRequest,
            StatusCode::UNAUTHORIZED => ErrorKind::Unauthenticated,
            StatusCode::FORBIDDEN => ErrorKind::Forbidden,
            StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => ErrorKind::Refused(problem.kind.status),
            StatusCode::PAYLOAD_TOO_LARGE => ErrorKind::TooLarge,
            StatusCode::TOO_MANY_REQUESTS => ErrorKind::RateLimited,
            StatusCode::SERVICE_UNAVAILABLE => ErrorKind::Overloaded,
            StatusCode::GATEWAY_TIMEOUT => ErrorKind::TimedOut,
            status if status.is_client_error() => ErrorKind::Refused(status),
            _ => ErrorKind::Internal,
        };
        let error = Self::new(kind, problem.detail.clone());
        Self { retry_after: problem.retry_after, ..error }
    }
}
