//! What callers see of webhooks and deliveries.

use std::{fmt, str::FromStr};

use jiff::Timestamp;
use paddock_platform::units::HumanDuration;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{DeliveryId, WebhookId};

/// Characters of a description.
pub(super) const DESCRIPTION_LEN_MAX: usize = 200;
/// Patterns of event types of one webhook.
pub(super) const PATTERNS_MAX: usize = 32;
/// Characters of a pattern.
const PATTERN_LEN_MAX: usize = 64;

/// Which event types a webhook wants: one (`job.failed`), all of a group (`job.*`), or all (`*`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(try_from = "String", into = "String")]
#[schema(value_type = String)]
pub struct EventPattern(#[schemars(with = "String")] String);

/// A text that is not a pattern.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is not an event type such as `job.failed`, `job.*` or `*`")]
pub struct ParsePatternError(String);

impl EventPattern {
    /// Whether an event of this type is wanted.
    pub fn matches(&self, event: &str) -> bool {
        match self.0.strip_suffix('*') {
            Some(group) => event.starts_with(group),
            None => event == self.0,
        }
    }
}

impl FromStr for EventPattern {
    type Err = ParsePatternError;

    fn from_str(text: &str) -> Result<Self, ParsePatternError> {
        let words = text.strip_suffix(".*").unwrap_or(text);
        let is_word =
            |word: &str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
        let valid = text.len() <= PATTERN_LEN_MAX && (text == "*" || words.split('.').all(is_word));
        if valid {
            Ok(Self(text.to_owned()))
        } else {
            Err(ParsePatternError(text.chars().take(64).collect()))
        }
    }
}

impl TryFrom<String> for EventPattern {
    type Error = ParsePatternError;

    fn try_from(text: String) -> Result<Self, ParsePatternError> {
        text.parse()
    }
}

impl From<EventPattern> for String {
    fn from(pattern: EventPattern) -> Self {
        pattern.0
    }
}

impl fmt::Display for EventPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A webhook to be made.
#[derive(Clone, Default, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewWebhook {
    /// Where events are posted: `https`, and a host on the public internet unless the operator allows others.
    pub url: String,
    /// The event types that it wants of all jobs of the tenant. None, when left out: it is told of jobs that name it.
    #[serde(default)]
    pub events: Vec<EventPattern>,
    /// What it is for, for the people who manage it.
    #[serde(default)]
    pub description: String,
    /// A secret to sign with, `whsec_` and 24 to 64 bytes in Base64; one is made when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
}

/// What is to change about a webhook; what is left out stays.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct WebhookChange {
    /// Where events are posted.
    pub url: Option<String>,
    /// The event types that it wants.
    pub events: Option<Vec<EventPattern>>,
    /// What it is for.
    pub description: Option<String>,
    /// Whether it is told at all. Enabling it also ends a pause.
    pub enabled: Option<bool>,
}

/// How a secret is replaced.
#[derive(Clone, Default, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Rotation {
    /// How long deliveries carry signatures of both secrets; a day when left out, 30 days at most.
    #[schema(value_type = Option<String>)]
    pub overlap: Option<HumanDuration>,
    /// The new secret; one is made when left out.
    pub secret: Option<String>,
}

/// Without the secret, as the two below.
impl fmt::Debug for NewWebhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewWebhook")
            .field("url", &self.url)
            .field("events", &self.events)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Rotation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rotation").field("overlap", &self.overlap).finish_non_exhaustive()
    }
}

impl fmt::Debug for WithSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WithSecret").field("webhook", &self.webhook).finish_non_exhaustive()
    }
}

/// How a webhook does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum WebhookState {
    /// It is told.
    Enabled,
    /// It failed several times in a row, or asked for a pause: it is left alone until `paused_until`.
    Paused,
    /// It is not told any more.
    Disabled,
}

impl WebhookState {
    /// Its name as it is written everywhere.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Enabled => "enabled",
            Self::Paused => "paused",
            Self::Disabled => "disabled",
        }
    }
}

/// Why a webhook is disabled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum DisabledReason {
    /// Its owner disabled it.
    Owner,
    /// It answered 410.
    Gone,
    /// It has done nothing but fail for days.
    Failing,
}

impl DisabledReason {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Owner => "owner",
            Self::Gone => "gone",
            Self::Failing => "failing",
        }
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        [Self::Owner, Self::Gone, Self::Failing].into_iter().find(|reason| reason.name() == text)
    }
}

/// A webhook. Its secret is shown only when it is made.
#[derive(Clone, Debug, Serialize, JsonSchema, ToSchema)]
pub struct Webhook {
    /// Identity: what jobs name it by.
    pub id: WebhookId,
    /// Where events are posted.
    pub url: String,
    /// The event types that it wants of all jobs.
    pub events: Vec<EventPattern>,
    /// What it is for.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// Whether nobody registered it: a job named its URL.
    pub ad_hoc: bool,
    /// How it does.
    pub state: WebhookState,
    /// Why it is disabled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<DisabledReason>,
    /// Failures since the last success.
    pub failures: u32,
    /// Until when it is left alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub paused_until: Option<Timestamp>,
    /// What went wrong the last time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
    /// When it was last told, to the minute.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub succeeded_at: Option<Timestamp>,
    /// When telling it last failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub failed_at: Option<Timestamp>,
    /// Until when deliveries also carry a signature of the secret before.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub previous_secret_until: Option<Timestamp>,
    /// When it was made.
    #[schemars(with = "String")]
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
}

/// A webhook with the secret that was just made for it: shown this once.
#[derive(Clone, Serialize, JsonSchema, ToSchema)]
pub struct WithSecret {
    /// The webhook.
    pub webhook: Webhook,
    /// What its deliveries are signed with.
    pub secret: String,
}

/// Where a delivery stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum DeliveryState {
    /// It is tried until it is delivered or dead.
    Pending,
    /// The receiver answered with 2xx.
    Delivered,
    /// Tried as often as it may; redriving begins anew.
    Dead,
    /// Not tried any more: the webhook is disabled or deleted, or it was a ping.
    Dropped,
}

impl DeliveryState {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Pending, Self::Delivered, Self::Dead, Self::Dropped];

    /// Its name as it is written everywhere.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Delivered => "delivered",
            Self::Dead => "dead",
            Self::Dropped => "dropped",
        }
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == text)
    }
}

/// One try of a delivery.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
pub struct DeliveryAttempt {
    /// When.
    #[schemars(with = "String")]
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// How long the receiver took, in milliseconds.
    pub took_ms: u64,
    /// What it answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// What went wrong, in a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The beginning of the answer, when it was not a good one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<String>,
}

/// One event for one webhook.
#[derive(Clone, Debug, Serialize, JsonSchema, ToSchema)]
pub struct Delivery {
    /// Identity: what the receiver sees as `webhook-id`.
    pub id: DeliveryId,
    /// Which webhook.
    pub webhook: WebhookId,
    /// The event's type.
    pub event: String,
    /// The job that it tells of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub job: Option<String>,
    /// Where it stands.
    pub state: DeliveryState,
    /// The tries so far, the oldest first.
    pub attempts: Vec<DeliveryAttempt>,
    /// When it is tried again.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub next_at: Option<Timestamp>,
    /// When it was made.
    #[schemars(with = "String")]
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub ended_at: Option<Timestamp>,
    /// The body as it is sent; in lists left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_matches_its_type_or_its_group() {
        for (pattern, event, expected) in [
            ("job.failed", "job.failed", true),
            ("job.failed", "job.dead", false),
            ("job.*", "job.dead", true),
            ("job.*", "jobs.dead", false),
            ("*", "mission.succeeded", true),
        ] {
            assert_eq!(
                pattern.parse::<EventPattern>().unwrap().matches(event),
                expected,
                "{pattern} {event}"
            );
        }
        for text in ["", "job.", ".*", "job*", "Job.failed", "job.**", "*.failed", "a b"] {
            assert!(text.parse::<EventPattern>().is_err(), "{text}");
        }
    }
}
