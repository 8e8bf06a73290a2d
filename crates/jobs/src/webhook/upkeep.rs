//! What goes on without anybody asking: learning what other servers changed, forgetting what is old, counting.

use std::{sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};
use metrics::gauge;
use paddock_platform::{
    events::{News, Topic},
    health::Finding,
    params,
    store::Row,
    task::Tasks,
};
use serde_json::{Map, Value};

use super::{
    WebhookError, WebhookState, Webhooks,
    metrics::{JOBS_WEBHOOK_DEAD, JOBS_WEBHOOK_ENDPOINTS},
    outbox::Subscriptions,
    store::{CENSUS, CENSUS_DEAD, Endpoint, FORGET, SUBSCRIBED, parsed},
};

/// How soon a server learns of webhooks that another one made.
const REFRESH_INTERVAL: Duration = Duration::from_secs(3);
/// Refreshes between two counts.
const CENSUS_EVERY: u32 = 10;
/// Deliveries that are forgotten in one statement.
const FORGET_MAX: i64 = 1_000;

/// What happens to webhooks that somebody should know.
pub(super) const TOPIC: Topic = Topic {
    name: "jobs.webhooks",
    about: "webhooks that are paused or disabled, and deliveries that are dead",
};

/// How the webhooks of all tenants do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Census {
    enabled: u64,
    paused: u64,
    disabled: u64,
    failing: u64,
    dead: u64,
}

/// Starts it.
pub(super) fn spawn(webhooks: &Webhooks, tasks: &Tasks) {
    let (weak, stopping) = (Arc::downgrade(&webhooks.0), tasks.stop_token());
    tasks.spawn("jobs_webhooks", async move {
        let mut interval = tokio::time::interval(REFRESH_INTERVAL);
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut round = 0_u32;
        loop {
            tokio::select! {
                _ = interval.tick() => {}
                () = stopping.cancelled() => return,
            }
            let Some(inner) = weak.upgrade() else { return };
            let webhooks = Webhooks(inner);
            if let Err(error) = webhooks.tend(round).await {
                tracing::warn!(%error, "the webhooks could not be tended");
            }
            round = round.wrapping_add(1);
        }
    });
}

impl Webhooks {
    async fn tend(&self, round: u32) -> Result<(), WebhookError> {
        self.refresh().await?;
        if round.is_multiple_of(CENSUS_EVERY) {
            self.forget().await?;
            self.count().await?;
        }
        Ok(())
    }

    /// Learns what the webhooks want of all jobs.
    pub(super) async fn refresh(&self) -> Result<(), WebhookError> {
        let _alone = self.0.refreshing.lock().await;
        let mut subscriptions = Subscriptions::default();
        for row in self.0.store.query(&SUBSCRIBED, params![]).await? {
            // What a newer version wrote is no reason to tell nobody.
            let Ok(events) = serde_json::from_str(&row.get::<String>("events")?) else { continue };
            subscriptions.add(parsed(&row, "tenant")?, parsed(&row, "id")?, events);
        }
        self.0.subscriptions.store(Arc::new(subscriptions));
        Ok(())
    }

    pub(super) async fn forget(&self) -> Result<(), WebhookError> {
        let retention =
            SignedDuration::try_from(self.0.options.current().retention.get()).unwrap_or(SignedDuration::MAX);
        let before = Timestamp::now().saturating_sub(retention).unwrap_or(Timestamp::MIN);
        while self.0.store.execute(&FORGET, params![before, FORGET_MAX]).await? == FORGET_MAX.unsigned_abs() {
        }
        Ok(())
    }

    pub(super) async fn count(&self) -> Result<(), WebhookError> {
        let mut census = Census::default();
        for row in self.0.store.query(&CENSUS, params![Timestamp::now()]).await? {
            let count: u64 = row.get("webhooks")?;
            match row.get::<String>("state")?.as_str() {
                "enabled" => census.enabled = count,
                "paused" => census.paused = count,
                _ => census.disabled = count,
            }
            census.failing += row.get::<u64>("failing")?;
        }
        let dead = self.0.store.query_first(&CENSUS_DEAD, params![]).await?;
        census.dead = dead.map_or(Ok(0), |row: Row| row.get(0_usize))?;
        let states = [
            (WebhookState::Enabled, census.enabled),
            (WebhookState::Paused, census.paused),
            (WebhookState::Disabled, census.disabled),
        ];
        for (state, count) in states {
            gauge!(JOBS_WEBHOOK_ENDPOINTS, "state" => state.name()).set(count as f64);
        }
        gauge!(JOBS_WEBHOOK_DEAD).set(census.dead as f64);
        self.0.census.store(Arc::new(census));
        Ok(())
    }

    /// How the webhooks do, for `/readyz`.
    pub fn health(&self) -> Finding {
        let Census { enabled, paused, disabled, failing, dead } = **self.0.census.load();
        let detail =
            format!("{enabled} enabled, {paused} paused, {disabled} disabled, {dead} dead deliveries");
        if dead == 0 && failing == 0 && paused == 0 {
            return Finding::ok(detail);
        }
        Finding::degraded(
            detail,
            "`paddock jobs webhooks list` says which receivers fail; `redrive` sends what is dead again",
        )
    }

    /// Tells those who watch what happened to a webhook.
    pub(super) fn publish(&self, endpoint: &Endpoint, kind: &'static str, data: Value) {
        let data = if let Value::Object(data) = data { data } else { Map::new() };
        let about = vec![("webhook", Arc::from(endpoint.id.as_str()))];
        self.0.events.publish(News {
            tenant: Some(endpoint.tenant.clone()),
            topic: TOPIC.name,
            kind,
            about,
            data,
        });
    }
}
