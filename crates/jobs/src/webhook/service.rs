//! [`Webhooks`]: what routes, jobs and other areas call.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use arc_swap::ArcSwap;
use jiff::Timestamp;
use moka::future::Cache;
use paddock_platform::{
    config::Section,
    events::Events,
    identity::{Caller, Tenant},
    params,
    seal::{Seal, SealError},
    store::Store,
    task::Tasks,
    units::HumanDuration,
};
use tokio::sync::Mutex;
use url::Url;

use super::{
    Delivery, DeliveryId, DeliveryState, DisabledReason, NewWebhook, Rotation, SigningSecret, Webhook,
    WebhookChange, WebhookError, WebhookId, WebhookOptions, WithSecret,
    deliver::Deliver,
    model::{DESCRIPTION_LEN_MAX, PATTERNS_MAX},
    outbox::{Outbox, Subscriptions},
    resolver::{Resolver, parse_url},
    sender::Sender,
    store::{
        ADOPT, CHANGE, COUNT, DELETE, DROP_PENDING, Endpoint, FIND, FIND_DELIVERY, FIND_URL, INSERT, LIST,
        LIST_DELIVERIES, MIGRATIONS, Outgoing, REVIVE, ROTATE, events_text, purpose,
    },
    upkeep::{self, Census},
};
use crate::{JobError, Jobs, core::Core};

/// How long deliveries carry two signatures unless a rotation says otherwise.
const OVERLAP_DEFAULT: Duration = Duration::from_hours(24);
const OVERLAP_MAX: Duration = Duration::from_hours(30 * 24);
/// How long it is remembered which webhook a job's `webhook` names, and how many of them.
const NAMES_TTL: Duration = Duration::from_secs(10);
const NAMES_MAX: u64 = 10_000;
/// Sorts after every id of a delivery.
const AFTER_ALL: &str = "msg_~";

/// The webhooks of a server. Cheap to clone; see the [module](super) for the model.
#[derive(Clone)]
pub struct Webhooks(pub(super) Arc<Inner>);

pub(super) struct Inner {
    pub(super) store: Store,
    pub(super) seal: Seal,
    pub(super) options: Section<WebhookOptions>,
    pub(super) sender: Sender,
    pub(super) events: Events,
    /// What webhooks want of all jobs, as of a moment ago.
    pub(super) subscriptions: ArcSwap<Subscriptions>,
    pub(super) census: ArcSwap<Census>,
    /// Held while the subscriptions are read: an older reading must not replace a newer one.
    pub(super) refreshing: Mutex<()>,
    resolver: Resolver,
    names: Cache<(Tenant, String), WebhookId>,
    /// Weak: the queue knows the webhooks.
    jobs: Weak<Core>,
}

impl std::fmt::Debug for Webhooks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Webhooks")
    }
}

/// Which deliveries to list.
#[derive(Clone, Debug, Default)]
pub struct DeliveryFilter {
    /// In this state alone.
    pub state: Option<DeliveryState>,
    /// Older than this one.
    pub after: Option<DeliveryId>,
}

impl Webhooks {
    /// Opens the webhooks in a store, bringing their schema up to date, and lets the queue know of them. Called before
    /// the queue runs.
    pub async fn open(
        store: Store,
        jobs: &Jobs,
        seal: Seal,
        options: Section<WebhookOptions>,
        events: Events,
        tasks: &Tasks,
    ) -> Result<Self, WebhookError> {
        let resolver = Resolver::new(options.clone());
        Self::open_with(store, jobs, seal, options, events, tasks, resolver).await
    }

    pub(super) async fn open_with(
        store: Store,
        jobs: &Jobs,
        seal: Seal,
        options: Section<WebhookOptions>,
        events: Events,
        tasks: &Tasks,
        resolver: Resolver,
    ) -> Result<Self, WebhookError> {
        super::metrics::describe();
        store.migrate(&MIGRATIONS).await?;
        events.declare(&[upkeep::TOPIC]);
        let sender = Sender::new(options.clone(), resolver.clone())
            .map_err(|_| WebhookError::invalid("jobs.webhooks", "no HTTP client can be made"))?;
        let names = Cache::builder().max_capacity(NAMES_MAX).time_to_live(NAMES_TTL).build();
        let webhooks = Self(Arc::new(Inner {
            store,
            seal,
            options,
            sender,
            events,
            subscriptions: ArcSwap::default(),
            census: ArcSwap::default(),
            refreshing: Mutex::default(),
            resolver,
            names,
            jobs: Arc::downgrade(&jobs.0),
        }));
        webhooks.refresh().await?;
        let registry = jobs.registry();
        registry.add_kind(super::DELIVER, Arc::new(Deliver::new(&webhooks)));
        registry.add_hook(Arc::new(Outbox::new(&webhooks)));
        registry.set_webhook_check(Arc::new(webhooks.clone()));
        upkeep::spawn(&webhooks, tasks);
        Ok(webhooks)
    }

    /// The queue; gone only while the server is taken apart.
    pub(super) fn jobs(&self) -> Result<Jobs, JobError> {
        self.0.jobs.upgrade().map(Jobs).ok_or(JobError::Overloaded("the server is stopping"))
    }

    /// Makes a webhook; its secret is in the answer and never again.
    pub async fn create(&self, caller: &Caller, new: NewWebhook) -> Result<WithSecret, WebhookError> {
        let tenant = caller.tenant();
        let url = parse_url(&new.url)?;
        self.0.resolver.check(&url).await?;
        check_description(&new.description)?;
        check_events(new.events.len())?;
        let secret = secret(new.secret.as_deref())?;
        let existing = self.find_url(tenant, &url).await?;
        if let Some(known) = existing {
            if !known.ad_hoc {
                return Err(WebhookError::Exists(known.id));
            }
            let sealed = self.seal(tenant, &known.id, &secret)?;
            let events = events_text(&new.events);
            let params = params![known.id.as_str(), tenant, events, new.description, sealed];
            self.0.store.execute(&ADOPT, params).await?;
            return self.with_secret(tenant, &known.id, &secret).await;
        }
        let id = self.insert(tenant, &url, &new, false, &secret).await?;
        self.with_secret(tenant, &id, &secret).await
    }

    async fn insert(
        &self,
        tenant: &Tenant,
        url: &Url,
        new: &NewWebhook,
        ad_hoc: bool,
        secret: &SigningSecret,
    ) -> Result<WebhookId, WebhookError> {
        let max = self.0.options.current().endpoints_max;
        let count = self.0.store.query_first(&COUNT, params![tenant]).await?;
        if count.map_or(Ok(0), |row| row.get::<u64>(0_usize))? >= max {
            return Err(WebhookError::Full { max });
        }
        let id = WebhookId::new();
        let sealed = self.seal(tenant, &id, secret)?;
        let params = params![
            id.as_str(),
            tenant,
            url.as_str(),
            events_text(&new.events),
            new.description.as_str(),
            ad_hoc,
            sealed,
            Timestamp::now(),
        ];
        if self.0.store.execute(&INSERT, params).await? == 1 {
            return Ok(id);
        }
        // Somebody else was quicker.
        match self.find_url(tenant, url).await? {
            Some(known) if ad_hoc => Ok(known.id),
            Some(known) => Err(WebhookError::Exists(known.id)),
            None => Err(WebhookError::no_webhook(id.as_str())),
        }
    }

    async fn with_secret(
        &self,
        tenant: &Tenant,
        id: &WebhookId,
        secret: &SigningSecret,
    ) -> Result<WithSecret, WebhookError> {
        self.refresh().await?;
        Ok(WithSecret { webhook: self.get(tenant, id).await?, secret: secret.reveal() })
    }

    /// A webhook of a tenant.
    pub async fn get(&self, tenant: &Tenant, id: &WebhookId) -> Result<Webhook, WebhookError> {
        Ok(self.find(tenant, id).await?.view(Timestamp::now()))
    }

    pub(super) async fn find(&self, tenant: &Tenant, id: &WebhookId) -> Result<Endpoint, WebhookError> {
        let row = self.0.store.query_first(&FIND, params![id.as_str(), tenant]).await?;
        let row = row.ok_or_else(|| WebhookError::no_webhook(id.as_str()))?;
        Ok(Endpoint::from_row(&row)?)
    }

    async fn find_url(&self, tenant: &Tenant, url: &Url) -> Result<Option<Endpoint>, WebhookError> {
        let row = self.0.store.query_first(&FIND_URL, params![url.as_str(), tenant]).await?;
        Ok(row.map(|row| Endpoint::from_row(&row)).transpose()?)
    }

    /// The webhooks of a tenant, the oldest first; there are no more than `endpoints_max`.
    pub async fn list(&self, tenant: &Tenant) -> Result<Vec<Webhook>, WebhookError> {
        let now = Timestamp::now();
        let rows = self.0.store.query(&LIST, params![tenant]).await?;
        rows.iter().map(|row| Ok(Endpoint::from_row(row)?.view(now))).collect()
    }

    /// Changes a webhook.
    pub async fn change(
        &self,
        tenant: &Tenant,
        id: &WebhookId,
        change: WebhookChange,
    ) -> Result<Webhook, WebhookError> {
        let known = self.find(tenant, id).await?;
        let url = match &change.url {
            Some(text) => {
                let url = parse_url(text)?;
                self.0.resolver.check(&url).await?;
                if let Some(other) = self.find_url(tenant, &url).await?.filter(|other| other.id != *id) {
                    return Err(WebhookError::Exists(other.id));
                }
                url.into()
            }
            None => known.url,
        };
        let events = change.events.unwrap_or(known.events);
        let description = change.description.unwrap_or(known.description);
        check_description(&description)?;
        check_events(events.len())?;
        let disabled = match change.enabled {
            Some(true) => None,
            Some(false) => known.disabled.or(Some(DisabledReason::Owner)),
            None => known.disabled,
        };
        let params = params![
            id.as_str(),
            tenant,
            url,
            events_text(&events),
            description,
            disabled.map(DisabledReason::name),
        ];
        self.0.store.execute(&CHANGE, params).await?;
        if change.enabled == Some(true) {
            self.0.store.execute(&REVIVE, params![id.as_str(), tenant]).await?;
        }
        self.refresh().await?;
        self.get(tenant, id).await
    }

    /// Deletes a webhook; what was on its way to it is dropped.
    pub async fn delete(&self, tenant: &Tenant, id: &WebhookId) -> Result<(), WebhookError> {
        let (key, owner) = (id.as_str().to_owned(), tenant.clone());
        let deleted = self.0.store.write(move |tx| {
            Box::pin(async move {
                let deleted = tx.execute(&DELETE, params![key.as_str(), &owner]).await?;
                if deleted > 0 {
                    tx.execute(&DROP_PENDING, params![key, &owner, Timestamp::now()]).await?;
                }
                Ok(deleted)
            })
        });
        if deleted.await? == 0 {
            return Err(WebhookError::no_webhook(id.as_str()));
        }
        self.0.names.invalidate_all();
        self.refresh().await
    }

    /// Replaces the secret of a webhook; for a while its deliveries carry signatures of both.
    pub async fn rotate(
        &self,
        tenant: &Tenant,
        id: &WebhookId,
        rotation: &Rotation,
    ) -> Result<WithSecret, WebhookError> {
        let overlap = rotation.overlap.map_or(OVERLAP_DEFAULT, HumanDuration::get);
        if overlap > OVERLAP_MAX {
            return Err(WebhookError::invalid("overlap", "is over 30 days"));
        }
        let secret = secret(rotation.secret.as_deref())?;
        let sealed = self.seal(tenant, id, &secret)?;
        let until = Timestamp::now() + overlap;
        let rotated = self.0.store.execute(&ROTATE, params![id.as_str(), tenant, sealed, until]).await?;
        if rotated == 0 {
            return Err(WebhookError::no_webhook(id.as_str()));
        }
        self.with_secret(tenant, id, &secret).await
    }

    /// A webhook's deliveries, the newest first, without their bodies.
    pub async fn deliveries(
        &self,
        tenant: &Tenant,
        id: &WebhookId,
        filter: &DeliveryFilter,
        limit: u32,
    ) -> Result<Vec<Delivery>, WebhookError> {
        self.find(tenant, id).await?;
        let after = filter.after.as_ref().map_or(AFTER_ALL, DeliveryId::as_str);
        let state = filter.state.map_or("", DeliveryState::name);
        let params = params![id.as_str(), tenant, after, state, limit];
        let rows = self.0.store.query(&LIST_DELIVERIES, params).await?;
        rows.iter().map(|row| Ok(Outgoing::from_row(row)?.view())).collect()
    }

    /// One delivery, with its body.
    pub async fn delivery(&self, tenant: &Tenant, id: &DeliveryId) -> Result<Delivery, WebhookError> {
        Ok(self.find_delivery(tenant, id).await?.view())
    }

    pub(super) async fn find_delivery(
        &self,
        tenant: &Tenant,
        id: &DeliveryId,
    ) -> Result<Outgoing, WebhookError> {
        let row = self.0.store.query_first(&FIND_DELIVERY, params![id.as_str(), tenant]).await?;
        let not_found = || WebhookError::NotFound { noun: "delivery", id: id.to_string() };
        Ok(Outgoing::from_row(&row.ok_or_else(not_found)?)?)
    }

    /// The webhook that a job's `webhook` names: by its id, or by its URL, which becomes one if it is none.
    pub(super) async fn resolve(&self, caller: &Caller, named: &str) -> Result<WebhookId, WebhookError> {
        let tenant = caller.tenant();
        let key = (tenant.clone(), named.to_owned());
        if let Some(id) = self.0.names.get(&key).await {
            return Ok(id);
        }
        let id = if let Ok(id) = named.parse::<WebhookId>() {
            self.find(tenant, &id).await?.id
        } else {
            let url = parse_url(named)?;
            if let Some(known) = self.find_url(tenant, &url).await? {
                known.id
            } else {
                self.0.resolver.check(&url).await?;
                let secret = secret(None)?;
                self.insert(tenant, &url, &NewWebhook::default(), true, &secret).await?
            }
        };
        self.0.names.insert(key, id.clone()).await;
        Ok(id)
    }

    fn seal(&self, tenant: &Tenant, id: &WebhookId, secret: &SigningSecret) -> Result<Vec<u8>, WebhookError> {
        Ok(self.0.seal.seal(&purpose(tenant, id), secret.as_bytes())?)
    }
}

/// The secret that was given, or a new one.
fn secret(given: Option<&str>) -> Result<SigningSecret, WebhookError> {
    match given {
        Some(text) => Ok(text.parse()?),
        None => SigningSecret::generate().ok_or(WebhookError::Seal(SealError::Random)),
    }
}

fn check_description(text: &str) -> Result<(), WebhookError> {
    if text.chars().count() > DESCRIPTION_LEN_MAX || text.contains('\0') {
        return Err(WebhookError::invalid(
            "description",
            "is longer than 200 characters, or has a NUL in it",
        ));
    }
    Ok(())
}

fn check_events(count: usize) -> Result<(), WebhookError> {
    if count > PATTERNS_MAX {
        return Err(WebhookError::invalid("events", "has more than 32 event types"));
    }
    Ok(())
}
