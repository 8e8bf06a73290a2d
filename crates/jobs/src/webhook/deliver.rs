//! The kind of job that carries a delivery out: one run, one try.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use futures_util::future::BoxFuture;
use jiff::Timestamp;
use metrics::counter;
use paddock_platform::{identity::Tenant, params};
use serde::Deserialize;
use serde_json::json;

use super::{
    Delivery, DeliveryId, DeliveryState, DisabledReason, WebhookError, WebhookId, WebhookOptions, Webhooks,
    breaker::{Breaker, Gate},
    metrics::{JOBS_WEBHOOK_DELIVERIES_TOTAL, JOBS_WEBHOOK_PAUSES_TOTAL},
    sender::{Sent, Verdict},
    store::{ADD_DELIVERY, DISABLE, Endpoint, FAILED, NOTE, NewDelivery, Outgoing, PROBE, SUCCEEDED},
};
use crate::{Applied, Apply, JobContext, JobFailure, JobKind, Outcome, verdict::later};

/// The kind's name.
pub const DELIVER: &str = "webhook:deliver";
/// The class of a delivery that was tried as often as it may.
pub(super) const UNDELIVERABLE: &str = "undeliverable";
/// The class of one whose webhook is left alone for now.
const PAUSED: &str = "webhook-paused";
/// The class of one whose webhook is disabled or deleted.
const DISABLED: &str = "webhook-disabled";
/// The class of a try that failed.
const FAILED_CLASS: &str = "webhook-failed";
/// The share of a wait that chance adds: deliveries that failed together do not come back together.
const JITTER: f64 = 0.1;
/// How exactly it is known when a webhook was last told.
const SUCCESS_PRECISION: Duration = Duration::from_mins(1);
/// The longest wait between two tries.
const WAIT_MAX: Duration = Duration::from_hours(30 * 24);
/// The event of a ping.
const PING: &str = "webhook.ping";

/// Carries deliveries out.
pub(super) struct Deliver(Webhooks);

#[derive(Deserialize)]
struct Input {
    delivery: DeliveryId,
    webhook: WebhookId,
}

impl Deliver {
    pub(super) fn new(webhooks: &Webhooks) -> Self {
        Self(webhooks.clone())
    }
}

impl JobKind for Deliver {
    fn run(&self, context: JobContext) -> BoxFuture<'static, Result<Outcome, JobFailure>> {
        let webhooks = self.0.clone();
        Box::pin(async move {
            let input: Input = serde_json::from_str(context.job.input.as_str())
                .map_err(|error| JobFailure::new(DISABLED, error.to_string()).permanent())?;
            webhooks.deliver(&context.job.tenant, &input).await
        })
    }
}

impl From<WebhookError> for JobFailure {
    fn from(error: WebhookError) -> Self {
        paddock_platform::problem::Problem::from(error).into()
    }
}

impl Webhooks {
    async fn deliver(&self, tenant: &Tenant, input: &Input) -> Result<Outcome, JobFailure> {
        let mut outgoing = match self.find_delivery(tenant, &input.delivery).await {
            Ok(outgoing) => outgoing,
            Err(WebhookError::NotFound { .. }) => return Ok(Outcome::Done(json!({ "forgotten": true }))),
            Err(error) => return Err(error.into()),
        };
        match outgoing.state {
            DeliveryState::Delivered => return Ok(Outcome::Done(json!({ "delivered": true }))),
            // Somebody ran the job once more.
            DeliveryState::Dead | DeliveryState::Dropped => {
                (outgoing.state, outgoing.sends, outgoing.ended_at) = (DeliveryState::Pending, 0, None);
            }
            DeliveryState::Pending => {}
        }
        let endpoint = match self.find(tenant, &input.webhook).await {
            Ok(endpoint) if endpoint.disabled.is_none() => endpoint,
            Ok(_) => return Err(self.drop_it(outgoing, "the webhook is disabled").await),
            Err(WebhookError::NotFound { .. }) => {
                return Err(self.drop_it(outgoing, "the webhook was deleted").await);
            }
            Err(error) => return Err(error.into()),
        };
        if let Some(until) = self.paused(&endpoint).await? {
            return Err(self.put_off(outgoing, until).await);
        }
        let secrets = endpoint.secrets(&self.0.seal, Timestamp::now())?;
        let sent = self.0.sender.send(&endpoint.url, &secrets, &outgoing.id, &outgoing.body).await;
        outgoing.sends += 1;
        outgoing.add(sent.attempt.clone());
        self.note_endpoint(&endpoint, &sent).await?;
        if sent.verdict == Verdict::Delivered {
            return Ok(Self::delivered(outgoing));
        }
        Err(self.failed(outgoing, &endpoint, &sent).await)
    }

    /// Until when the webhook is left alone, if it is. A webhook that failed several times is tried by one delivery.
    async fn paused(&self, endpoint: &Endpoint) -> Result<Option<Timestamp>, WebhookError> {
        let (now, options) = (Timestamp::now(), self.0.options.current());
        match endpoint.breaker.gate(now, &options) {
            Gate::Open => Ok(None),
            Gate::Paused(until) => Ok(Some(until)),
            Gate::Probe => {
                let until = later(now, options.timeout.get().saturating_add(JITTER_FLOOR));
                let seen = endpoint.breaker.paused_until.map_or(0, Timestamp::as_millisecond);
                let taken = self.0.store.execute(&PROBE, params![endpoint.id.as_str(), seen, until]).await?;
                Ok((taken == 0).then_some(until))
            }
        }
    }

    /// Notes at the webhook what came of a try.
    async fn note_endpoint(&self, endpoint: &Endpoint, sent: &Sent) -> Result<(), WebhookError> {
        let (now, options, id) = (Timestamp::now(), self.0.options.current(), endpoint.id.as_str());
        let (breaker, counted) = match sent.verdict {
            Verdict::Delivered => {
                let recent = |at: Timestamp| now.duration_since(at).unsigned_abs() < SUCCESS_PRECISION;
                if endpoint.breaker != Breaker::default() || !endpoint.succeeded_at.is_some_and(recent) {
                    self.0.store.execute(&SUCCEEDED, params![id, now]).await?;
                }
                return Ok(());
            }
            Verdict::Throttled(pause) => (endpoint.breaker.throttled(now, pause), 0_i64),
            Verdict::Failed | Verdict::Gone => {
                let (breaker, paused) = endpoint.breaker.failed(now, &options);
                if paused {
                    counter!(JOBS_WEBHOOK_PAUSES_TOTAL).increment(1);
                    tracing::warn!(
                        webhook = id,
                        failures = breaker.failures,
                        "a webhook fails and is paused"
                    );
                    self.publish(
                        endpoint,
                        "paused",
                        json!({ "until": breaker.paused_until.map(|at| at.to_string()) }),
                    );
                }
                (breaker, 1)
            }
        };
        let error = sent.attempt.error.as_deref().unwrap_or_default().replace('\0', " ");
        self.0.store.execute(&FAILED, params![id, counted, breaker.paused_until, now, error]).await?;
        let failing_for =
            endpoint.failing_since.map_or(Duration::ZERO, |since| now.duration_since(since).unsigned_abs());
        let reason = match sent.verdict {
            Verdict::Gone => DisabledReason::Gone,
            _ if failing_for >= options.disable_after.get() && counted > 0 => DisabledReason::Failing,
            _ => return Ok(()),
        };
        self.0.store.execute(&DISABLE, params![id, reason.name()]).await?;
        tracing::warn!(webhook = id, reason = reason.name(), "a webhook is disabled");
        self.publish(endpoint, "disabled", json!({ "reason": reason }));
        self.refresh().await
    }

    fn delivered(mut outgoing: Outgoing) -> Outcome {
        (outgoing.state, outgoing.next_at) = (DeliveryState::Delivered, None);
        outgoing.ended_at = Some(Timestamp::now());
        counter!(JOBS_WEBHOOK_DELIVERIES_TOTAL, "state" => DeliveryState::Delivered.name()).increment(1);
        let result = json!({ "delivered": true, "sends": outgoing.sends });
        let note = outgoing.note();
        let apply: Apply = Arc::new(move |tx| {
            let (note, result) = (note.clone(), result.clone());
            Box::pin(async move {
                tx.execute(&NOTE, note).await?;
                Ok(Applied { result, ..Applied::default() })
            })
        });
        Outcome::Apply(apply)
    }

    async fn failed(&self, mut outgoing: Outgoing, endpoint: &Endpoint, sent: &Sent) -> JobFailure {
        let options = self.0.options.current();
        let reason = sent.attempt.error.clone().unwrap_or_default();
        if sent.verdict == Verdict::Gone {
            return self.drop_it(outgoing, "the receiver answered 410: it wants to be told no more").await;
        }
        let Some(wait) = wait_after(outgoing.sends, &options, chance()) else {
            (outgoing.state, outgoing.next_at) = (DeliveryState::Dead, None);
            outgoing.ended_at = Some(Timestamp::now());
            counter!(JOBS_WEBHOOK_DELIVERIES_TOTAL, "state" => DeliveryState::Dead.name()).increment(1);
            tracing::warn!(webhook = %endpoint.id, delivery = %outgoing.id, "a delivery is dead: {reason}");
            self.publish(endpoint, "dead", json!({ "delivery": outgoing.id }));
            return self.note(&outgoing, JobFailure::new(UNDELIVERABLE, reason)).await;
        };
        let wait = wait.max(sent.retry_after.unwrap_or_default());
        outgoing.next_at = Some(later(Timestamp::now(), wait));
        let failure = JobFailure { retry_after: Some(wait), ..JobFailure::new(FAILED_CLASS, reason) };
        self.note(&outgoing, failure).await
    }

    /// The webhook is left alone: that costs the delivery no try.
    async fn put_off(&self, mut outgoing: Outgoing, until: Timestamp) -> JobFailure {
        let left = Duration::try_from(until.duration_since(Timestamp::now())).unwrap_or_default();
        let wait = left.mul_f64(1.0 + JITTER * chance()) + JITTER_FLOOR.mul_f64(chance());
        outgoing.next_at = Some(later(Timestamp::now(), wait));
        let failure = JobFailure::new(
            PAUSED,
            "the webhook is paused: it failed several times in a row, or asked for it",
        );
        self.note(&outgoing, JobFailure { retry_after: Some(wait), ..failure }).await
    }

    async fn drop_it(&self, mut outgoing: Outgoing, reason: &str) -> JobFailure {
        (outgoing.state, outgoing.next_at) = (DeliveryState::Dropped, None);
        outgoing.ended_at = Some(Timestamp::now());
        counter!(JOBS_WEBHOOK_DELIVERIES_TOTAL, "state" => DeliveryState::Dropped.name()).increment(1);
        self.note(&outgoing, JobFailure::new(DISABLED, reason).permanent()).await
    }

    /// Writes a delivery down before its job says the same; if that fails, the try is repeated.
    async fn note(&self, outgoing: &Outgoing, failure: JobFailure) -> JobFailure {
        match self.0.store.execute(&NOTE, outgoing.note()).await {
            Ok(_) => failure,
            Err(error) => WebhookError::from(error).into(),
        }
    }

    /// Sends a ping: one try, now, whatever state the webhook is in. One that arrives ends a pause.
    pub async fn ping(&self, tenant: &Tenant, id: &WebhookId) -> Result<Delivery, WebhookError> {
        let endpoint = self.find(tenant, id).await?;
        let secrets = endpoint.secrets(&self.0.seal, Timestamp::now())?;
        let data = json!({ "webhook": id });
        let data = data.as_object().cloned().unwrap_or_default();
        let ping = NewDelivery {
            id: DeliveryId::new(),
            webhook: id.clone(),
            tenant: tenant.clone(),
            event: PING.to_owned(),
            job: None,
            body: super::payload::body(PING, Timestamp::now(), &data).into(),
            at: Timestamp::now(),
        };
        let sent = self.0.sender.send(&endpoint.url, &secrets, &ping.id, &ping.body).await;
        let good = sent.verdict == Verdict::Delivered;
        let state = if good { DeliveryState::Delivered } else { DeliveryState::Dropped };
        self.0.store.execute(&ADD_DELIVERY, ping.ended(state, &sent.attempt)).await?;
        if good {
            self.0.store.execute(&SUCCEEDED, params![id.as_str(), Timestamp::now()]).await?;
        }
        self.delivery(tenant, &ping.id).await
    }
}

/// A moment, so that deliveries that waited for the same pause do not all come at its end.
const JITTER_FLOOR: Duration = Duration::from_secs(1);

/// The wait after so many tries; `None` when there are no more. Chance only adds to it.
fn wait_after(sends: u32, options: &WebhookOptions, chance: f64) -> Option<Duration> {
    let wait = options.retries.get(sends.saturating_sub(1) as usize)?;
    // Longer than anybody waits, so that no arithmetic overflows.
    Some(wait.get().min(WAIT_MAX).mul_f64(1.0 + JITTER * chance.clamp(0.0, 1.0)))
}

/// A number from 0 to 1 that differs from delivery to delivery; nobody gains by guessing it.
fn chance() -> f64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let mixed = now.subsec_nanos().wrapping_mul(0x9e37_79b1);
    f64::from(mixed) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delivery_is_tried_for_more_than_a_day_and_then_no_more() {
        let options = WebhookOptions::default();
        let waits: Vec<u64> =
            (1..).map_while(|sends| wait_after(sends, &options, 0.0)).map(|wait| wait.as_secs()).collect();
        assert_eq!(waits, [5, 300, 1_800, 7_200, 18_000, 36_000, 50_400]);
        assert!(wait_after(1, &options, 1.0).unwrap() > Duration::from_secs(5));
        assert_eq!(wait_after(8, &options, 1.0), None);
    }

    #[test]
    fn chance_stays_between_0_and_1() {
        assert!((0..1000).map(|_| chance()).all(|chance| (0.0..=1.0).contains(&chance)));
    }
}
