//! The ways in which a call about webhooks fails.

use http::StatusCode;
use paddock_platform::{
    problem::{INVALID_REQUEST, NOT_FOUND, Problem, ProblemKind},
    seal::SealError,
    store::StoreError,
};

use super::{ParseSecretError, WebhookId, ids::ParseWebhookIdError, resolver::TargetError};
use crate::JobError;

/// The URL leads where webhooks may not go.
pub const WEBHOOK_REFUSED: ProblemKind =
    ProblemKind::new("webhook-refused", StatusCode::BAD_REQUEST, "Webhook refused");
/// There is a webhook with this URL.
pub const WEBHOOK_EXISTS: ProblemKind =
    ProblemKind::new("webhook-exists", StatusCode::CONFLICT, "Webhook exists");
/// The tenant has as many webhooks as it may.
pub const WEBHOOKS_FULL: ProblemKind =
    ProblemKind::new("webhooks-full", StatusCode::TOO_MANY_REQUESTS, "Too many webhooks");

/// A call about webhooks did not do what it was asked. Nothing of it was kept.
#[derive(Debug, thiserror::Error)]
pub enum WebhookError {
    /// A member of the request is not as it must be.
    #[error("`{field}`: {reason}")]
    Invalid {
        /// Which member.
        field: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// The URL leads where webhooks may not go.
    #[error("`url`: {0}")]
    Target(TargetError),
    /// No webhook or delivery has this id, or it is another tenant's.
    #[error("no {noun} `{id}`")]
    NotFound {
        /// What was looked for.
        noun: &'static str,
        /// The id.
        id: String,
    },
    /// There is a webhook with this URL.
    #[error("the webhook `{0}` has this URL; change that one")]
    Exists(WebhookId),
    /// The tenant has as many webhooks as it may.
    #[error("there are {max} webhooks, more may not be (`[jobs.webhooks] endpoints_max`); delete some")]
    Full {
        /// How many may be.
        max: u64,
    },
    /// A secret could not be sealed or opened.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The queue failed.
    #[error(transparent)]
    Jobs(#[from] JobError),
}

impl WebhookError {
    pub(super) fn invalid(field: &'static str, reason: impl Into<String>) -> Self {
        Self::Invalid { field, reason: reason.into() }
    }

    pub(super) fn no_webhook(id: &str) -> Self {
        Self::NotFound { noun: "webhook", id: id.chars().take(64).collect() }
    }
}

impl From<TargetError> for WebhookError {
    fn from(error: TargetError) -> Self {
        Self::Target(error)
    }
}

impl From<ParseSecretError> for WebhookError {
    fn from(error: ParseSecretError) -> Self {
        Self::invalid("secret", error.to_string())
    }
}

impl From<ParseWebhookIdError> for WebhookError {
    fn from(error: ParseWebhookIdError) -> Self {
        Self::invalid("id", error.to_string())
    }
}

impl From<WebhookError> for Problem {
    fn from(error: WebhookError) -> Self {
        let detail = error.to_string();
        match error {
            WebhookError::Invalid { field, .. } => Self::new(INVALID_REQUEST, detail).with("field", field),
            WebhookError::Target(_) => Self::new(WEBHOOK_REFUSED, detail).with("field", "url"),
            WebhookError::NotFound { .. } => Self::new(NOT_FOUND, detail),
            WebhookError::Exists(id) => Self::new(WEBHOOK_EXISTS, detail).with("webhook", id.to_string()),
            WebhookError::Full { .. } => Self::new(WEBHOOKS_FULL, detail),
            WebhookError::Seal(error) => Self::internal("a webhook's secret", &error),
            WebhookError::Store(error) => error.into(),
            WebhookError::Jobs(error) => error.into(),
        }
    }
}
