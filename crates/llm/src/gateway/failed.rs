//! Attempts that failed: what that means for the lane, for the call, and for the caller.

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use serde_json::value::RawValue;

use super::call::Call;
use crate::{
    dialect::failure,
    error::{ErrorKind, LlmError},
    resilience::Outcome,
    routing::Target,
    upstream::{learned_rest, retry_after},
};

/// What to do after a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Try again, elsewhere if there is an elsewhere.
    Retry,
    /// This target cannot take the request; others may.
    Elsewhere,
    /// It would fail everywhere.
    Stop,
}

/// An attempt that failed.
pub(super) struct Failed {
    pub(super) outcome: Option<Outcome>,
    pub(super) next: Next,
    pub(super) error: LlmError,
    /// The provider's own words, for a caller who speaks the same.
    pub(super) own_words: Option<Box<(StatusCode, Bytes)>>,
}

impl Failed {
    pub(super) fn provider(detail: impl Into<String>) -> Self {
        Self {
            outcome: Some(Outcome::Failure),
            next: Next::Retry,
            error: LlmError::new(ErrorKind::ProviderFailed, detail),
            own_words: None,
        }
    }

    pub(super) fn timed_out(detail: String) -> Self {
        let error = LlmError::new(ErrorKind::TimedOut, detail);
        Self { error, ..Self::provider("") }
    }

    pub(super) fn unfit(error: LlmError) -> Self {
        Self { outcome: None, next: Next::Elsewhere, error, own_words: None }
    }

    /// A failure that is no provider's.
    pub(super) fn of(error: LlmError) -> Self {
        Self { outcome: None, next: Next::Stop, error, own_words: None }
    }
}

/// What a refusal means for the lane, for the call, and for the caller.
pub(super) fn classify(
    call: &Call,
    target: &Target,
    status: StatusCode,
    headers: &HeaderMap,
    explanation: &Bytes,
) -> Failed {
    let name = &target.provider.name;
    let said = failure::message_of(explanation);
    let words = said.as_deref().map(|said| format!(": {said}")).unwrap_or_default();
    let failed = |kind, outcome, next, message: String| Failed {
        outcome: Some(outcome),
        next,
        error: LlmError::new(kind, message),
        own_words: None,
    };
    let speaks_the_same = target.provider.takes(call.api);
    let is_json = serde_json::from_slice::<&RawValue>(explanation).is_ok();
    let own_words = (speaks_the_same && is_json).then(|| Box::new((status, explanation.clone())));
    // What the vendor says of the key may quote it: it is not passed on.
    let key_refused = || {
        failed(
            ErrorKind::ProviderFailed,
            Outcome::KeyRefused,
            Next::Retry,
            format!("the provider `{name}` does not accept the gateway's key ({status})"),
        )
    };
    match status.as_u16() {
        401 | 402 => key_refused(),
        400 | 403 if speaks_of_key(explanation) => key_refused(),
        403 => Failed {
            own_words,
            ..failed(
                ErrorKind::Refused(status),
                Outcome::CallerFault,
                Next::Elsewhere,
                said.unwrap_or_else(|| format!("the provider `{name}` does not allow the request")),
            )
        },
        429 => {
            let wait = retry_after(headers).or_else(|| learned_rest(headers));
            let mut failed = failed(
                ErrorKind::RateLimited,
                Outcome::Limited(wait),
                Next::Retry,
                format!("the provider `{name}` is at its limits{words}"),
            );
            failed.error.retry_after = wait;
            failed
        }
        400..500 if failure::is_context_exceeded(explanation) => Failed {
            own_words,
            ..failed(
                ErrorKind::ContextExceeded,
                Outcome::CallerFault,
                Next::Elsewhere,
                format!("the request is too long for the model{words}"),
            )
        },
        408 | 500.. => failed(
            ErrorKind::ProviderFailed,
            Outcome::Failure,
            Next::Retry,
            format!("the provider `{name}` failed ({status}){words}"),
        ),
        404 => Failed {
            own_words,
            ..failed(
                ErrorKind::Refused(status),
                Outcome::CallerFault,
                Next::Elsewhere,
                format!("the provider `{name}` has no such model{words}"),
            )
        },
        _ => Failed {
            own_words,
            ..failed(
                ErrorKind::Refused(if status.is_client_error() { status } else { StatusCode::BAD_GATEWAY }),
                Outcome::CallerFault,
                Next::Stop,
                said.unwrap_or_else(|| format!("the provider `{name}` refused the request ({status})")),
            )
        },
    }
}

/// Whether a refusal is about the key: Gemini says so with 400, others with 403.
fn speaks_of_key(explanation: &[u8]) -> bool {
    let text = String::from_utf8_lossy(&explanation[..explanation.len().min(4096)]).to_lowercase();
    text.contains("api key") || text.contains("api_key")
}
