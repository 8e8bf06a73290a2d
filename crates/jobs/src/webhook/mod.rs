//! Webhooks: telling other servers how jobs ended, signed as the [Standard Webhooks] specification says.
//!
//! ```text
//! a job ends ──┬─ its end ─────────────────────────────┐ one transaction
//!              └─ delivery (outbox) + `webhook:deliver` ┘
//!                                     │
//!                                     ▼ as any job: claimed, retried, dead, redriven
//!                 endpoint's breaker ─▶ sign ─▶ resolve, check, connect ─▶ receiver
//! ```
//!
//! # The model
//! A **webhook** is an endpoint of a tenant: a URL, a secret, and the event types that it wants of all jobs. A job may
//! also name one (`webhook`), which is then told of that job's end whatever types it wants. A URL that nobody registered
//! becomes a webhook of its own at first use.
//!
//! A **delivery** is one event for one webhook. It is written in the transaction that ends the job, together with the job
//! of the kind [`DELIVER`] that carries it out; so neither is there without the other, and `kill -9` loses none. Its id
//! is the `webhook-id` that the receiver sees, the same for every try: receivers use it to act once.
//!
//! A webhook that fails several times in a row is **paused**: its deliveries wait without being tried until one of them
//! succeeds again. That costs no tries. One that answers 410, or that has failed for days, is **disabled**.
//!
//! # Invariants
//! 1. A delivery is in one state, and was made in the transaction that made what it tells of.
//! 2. No connection is made to an address that the rules of `[jobs.webhooks] allow` did not permit; redirects are not
//!    followed.
//! 3. A secret is in the store only sealed, and in an answer only when it was just made.
//!
//! [Standard Webhooks]: https://www.standardwebhooks.com/

pub mod metrics;

mod breaker;
mod config;
mod deliver;
mod error;
mod ids;
mod model;
mod outbox;
mod payload;
mod resolver;
mod routes;
mod secret;
mod sender;
mod service;
mod store;
mod upkeep;

pub use config::WebhookOptions;
pub use deliver::DELIVER;
pub use error::{WEBHOOK_EXISTS, WEBHOOK_REFUSED, WEBHOOKS_FULL, WebhookError};
pub use ids::{DeliveryId, ParseWebhookIdError, WebhookId};
pub use model::{
    Delivery, DeliveryAttempt, DeliveryState, DisabledReason, EventPattern, NewWebhook, ParsePatternError,
    Rotation, Webhook, WebhookChange, WebhookState, WithSecret,
};
pub use resolver::TargetError;
pub use routes::routes;
pub use secret::{ParseSecretError, SigningSecret};
pub use service::{DeliveryFilter, Webhooks};

#[cfg(test)]
mod tests;
