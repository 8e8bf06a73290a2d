//! Deliveries are made in the transaction that ends the job.

use std::{
    collections::{HashMap, hash_map::DefaultHasher},
    hash::{Hash, Hasher},
    sync::Arc,
};

use futures_util::future::BoxFuture;
use jiff::Timestamp;
use paddock_platform::{
    identity::{Caller, Tenant},
    params,
    problem::Problem,
    store::{Statement, StoreError, Transaction},
    units::HumanDuration,
};
use serde_json::{Map, Value, json};

use super::{
    DELIVER, DeliveryAttempt, DeliveryId, DeliveryState, EventPattern, WEBHOOK_REFUSED, WebhookError,
    WebhookId, WebhookOptions, Webhooks,
    deliver::UNDELIVERABLE,
    payload,
    store::{ADD_DELIVERY, DEAD, NewDelivery, REDRIVE},
};
use crate::{
    Effects, EndHook, Job, JobError, JobState, Jobs, NewJob, PreparedJob, RetryPolicy, WebhookCheck,
};

/// Tries of the job that carries a delivery out, pauses of the webhook included; the delivery itself counts what it
/// sends.
const RUNS_MAX: u32 = 100;
/// How much longer that job may take than the receiver.
const MARGIN: std::time::Duration = std::time::Duration::from_secs(30);
/// Deliveries that one call redrives.
pub(super) const REDRIVE_MAX: u32 = 1_000;

/// A job of a delivery that ended in another way than by what the delivery says: cancelled, or never heard of again.
static ABANDON: Statement = Statement::new(
    "webhooks",
    "abandon",
    "UPDATE webhook_deliveries SET state = ?2, ended_at = ?3, next_at = NULL WHERE id = ?1 AND state = 'pending'",
);

/// What webhooks want of all jobs, by tenant.
#[derive(Debug, Default)]
pub(super) struct Subscriptions(HashMap<Tenant, Vec<(WebhookId, Vec<EventPattern>)>>);

impl Subscriptions {
    pub(super) fn add(&mut self, tenant: Tenant, id: WebhookId, events: Vec<EventPattern>) {
        self.0.entry(tenant).or_default().push((id, events));
    }

    fn of<'a>(&'a self, tenant: &Tenant, event: &'a str) -> impl Iterator<Item = &'a WebhookId> {
        let all = self.0.get(tenant).map(Vec::as_slice).unwrap_or_default();
        all.iter()
            .filter(move |(_, events)| events.iter().any(|wanted| wanted.matches(event)))
            .map(|(id, _)| id)
    }
}

/// Is asked when a job ends.
pub(super) struct Outbox(Webhooks);

impl Outbox {
    pub(super) fn new(webhooks: &Webhooks) -> Self {
        Self(webhooks.clone())
    }
}

impl EndHook for Outbox {
    fn wants(&self, job: &Job, end: JobState) -> bool {
        if &*job.kind == DELIVER {
            return end != JobState::Succeeded;
        }
        if job.terms.webhook.is_some() {
            return true;
        }
        // Steps of the server's own are nobody else's business.
        if job.kind.contains(':') {
            return false;
        }
        let subscriptions = self.0.0.subscriptions.load();
        payload::event_of(end).is_some_and(|event| subscriptions.of(&job.tenant, event).next().is_some())
    }

    fn ended<'t>(
        &'t self,
        tx: &'t mut Transaction,
        job: &'t Job,
    ) -> BoxFuture<'t, Result<Effects, StoreError>> {
        Box::pin(async move {
            let Some(event) = payload::event_of(job.state) else { return Ok(Effects::default()) };
            if &*job.kind == DELIVER {
                if job.state != JobState::Succeeded {
                    abandon(tx, job).await?;
                }
                return Ok(Effects::default());
            }
            let named = job.terms.webhook.as_deref().and_then(|id| id.parse().ok());
            let size_max = self.0.0.options.current().payload_max.get();
            let event = Told {
                tenant: &job.tenant,
                event,
                job: Some(job.id.to_string()),
                named,
                body: payload::of_job(event, job, size_max).into(),
            };
            Ok(Effects { enqueued: self.0.write(tx, event).await?, ..Effects::default() })
        })
    }
}

async fn abandon(tx: &mut Transaction, job: &Job) -> Result<(), StoreError> {
    let input = job.input.value();
    let Some(delivery) = input["delivery"].as_str() else { return Ok(()) };
    let state = if job.state == JobState::Cancelled { DeliveryState::Dropped } else { DeliveryState::Dead };
    tx.execute(&ABANDON, params![delivery, state.name(), Timestamp::now()]).await?;
    Ok(())
}

/// An event, and who is told of it.
struct Told<'a> {
    tenant: &'a Tenant,
    event: &'a str,
    job: Option<String>,
    named: Option<WebhookId>,
    body: Arc<str>,
}

impl Webhooks {
    /// Tells of an event of another area, in its transaction, those webhooks of the tenant that want its type, and the
    /// one that is named. Gives the jobs to announce after the commit.
    pub async fn tell_in(
        &self,
        tx: &mut Transaction,
        tenant: &Tenant,
        event: &str,
        named: Option<WebhookId>,
        data: &Map<String, Value>,
    ) -> Result<Vec<PreparedJob>, StoreError> {
        let body = payload::body(event, Timestamp::now(), data).into();
        self.write(tx, Told { tenant, event, job: None, named, body }).await
    }

    async fn write(&self, tx: &mut Transaction, told: Told<'_>) -> Result<Vec<PreparedJob>, StoreError> {
        let mut webhooks: Vec<WebhookId> = told.named.into_iter().collect();
        webhooks.extend(self.0.subscriptions.load().of(told.tenant, told.event).cloned());
        webhooks.sort_unstable();
        webhooks.dedup();
        let mut enqueued = Vec::new();
        for webhook in webhooks {
            let delivery = NewDelivery {
                id: DeliveryId::new(),
                webhook,
                tenant: told.tenant.clone(),
                event: told.event.to_owned(),
                job: told.job.clone(),
                body: Arc::clone(&told.body),
                at: Timestamp::now(),
            };
            match self.prepare(told.tenant, &delivery.webhook, &delivery.id) {
                Ok(job) => {
                    tx.execute(&ADD_DELIVERY, delivery.pending()).await?;
                    Jobs::enqueue_in(tx, &job).await?;
                    enqueued.push(job);
                }
                Err(error) => {
                    // The job's end must not fail for it; it can be redriven.
                    tracing::error!(webhook = %delivery.webhook, %error, "a delivery could not be enqueued");
                    let attempt = DeliveryAttempt {
                        at: delivery.at,
                        took_ms: 0,
                        status: None,
                        error: Some(format!("it could not be enqueued: {error}")),
                        answer: None,
                    };
                    tx.execute(&ADD_DELIVERY, delivery.ended(DeliveryState::Dead, &attempt)).await?;
                }
            }
        }
        Ok(enqueued)
    }

    /// The job that carries a delivery out.
    fn prepare(
        &self,
        tenant: &Tenant,
        webhook: &WebhookId,
        delivery: &DeliveryId,
    ) -> Result<PreparedJob, JobError> {
        let options = self.0.options.current();
        let caller = Caller::with_key("webhooks", tenant.clone(), Vec::new());
        self.jobs()?.prepare(&caller, new_job(&options, webhook, delivery))
    }

    /// Begins deliveries that were given up anew: those that are named, or all dead ones of a webhook. How many it were.
    pub async fn redrive(
        &self,
        tenant: &Tenant,
        webhook: &WebhookId,
        ids: Option<Vec<DeliveryId>>,
    ) -> Result<u64, WebhookError> {
        self.find(tenant, webhook).await?;
        let ids = match ids {
            Some(ids) if ids.len() > REDRIVE_MAX as usize => {
                return Err(WebhookError::invalid("ids", "has more than 1,000 deliveries"));
            }
            Some(ids) => {
                for id in &ids {
                    if self.find_delivery(tenant, id).await?.webhook != *webhook {
                        return Err(WebhookError::NotFound { noun: "delivery", id: id.to_string() });
                    }
                }
                ids
            }
            None => {
                let rows = self.0.store.query(&DEAD, params![webhook.as_str(), tenant, REDRIVE_MAX]).await?;
                rows.iter().map(|row| super::store::parsed(row, "id")).collect::<Result<_, _>>()?
            }
        };
        let prepared: Vec<(DeliveryId, PreparedJob)> = ids
            .into_iter()
            .map(|id| Ok((id.clone(), self.prepare(tenant, webhook, &id)?)))
            .collect::<Result<_, JobError>>()?;
        let enqueued = self.0.store.write(move |tx| {
            Box::pin(async move {
                let mut enqueued = Vec::new();
                for (id, job) in prepared {
                    if tx.execute(&REDRIVE, params![id.as_str()]).await? == 1 {
                        Jobs::enqueue_in(tx, &job).await?;
                        enqueued.push(job);
                    }
                }
                Ok(enqueued)
            })
        });
        let enqueued = enqueued.await?;
        self.jobs()?.announce(&enqueued);
        Ok(enqueued.len() as u64)
    }
}

fn new_job(options: &WebhookOptions, webhook: &WebhookId, delivery: &DeliveryId) -> NewJob {
    let retry = RetryPolicy {
        attempts: RUNS_MAX,
        initial: HumanDuration::from_secs(1),
        factor: 1.0,
        max: HumanDuration::from_secs(1),
        jitter: 0.0,
        classes: [(UNDELIVERABLE.to_owned(), 1)].into(),
        ..RetryPolicy::default()
    };
    // Deliveries to a webhook are spread over so many keys as may run at a time.
    let mut hasher = DefaultHasher::new();
    delivery.hash(&mut hasher);
    let lane = hasher.finish() % u64::from(options.parallel_max.max(1));
    NewJob {
        queue: options.queue.clone(),
        timeout: Some(HumanDuration::from(options.timeout.get() + MARGIN)),
        retry: Some(retry),
        concurrency_key: Some(format!("{webhook}:{lane}")),
        retention: Some(options.retention),
        ..NewJob::kind(DELIVER, json!({ "delivery": delivery, "webhook": webhook }))
    }
}

impl WebhookCheck for Webhooks {
    fn check<'a>(&'a self, caller: &'a Caller, webhook: &'a str) -> BoxFuture<'a, Result<String, JobError>> {
        Box::pin(async move {
            self.resolve(caller, webhook).await.map(String::from).map_err(|error| match error {
                WebhookError::Store(error) => JobError::Store(error),
                WebhookError::Jobs(error) => error,
                WebhookError::Target(refused) => {
                    let problem = Problem::new(WEBHOOK_REFUSED, format!("`webhook`: {refused}"));
                    JobError::Refused(problem.with("field", "webhook"))
                }
                error @ WebhookError::Full { .. } => JobError::Refused(error.into()),
                error => JobError::invalid("webhook", error.to_string()),
            })
        })
    }
}
