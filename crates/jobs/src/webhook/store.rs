//! Webhooks and deliveries in the store.

use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use paddock_platform::{
    identity::Tenant,
    params,
    seal::Seal,
    store::{FromValue, Migration, Migrations, Params, Row, Statement, StoreError},
};

use super::{
    Delivery, DeliveryAttempt, DeliveryId, DeliveryState, DisabledReason, EventPattern, SigningSecret,
    Webhook, WebhookError, WebhookId, WebhookState, breaker::Breaker,
};

const CREATE: Migration = Migration::new(
    1,
    "create webhooks",
    "CREATE TABLE webhook_endpoints (
        id TEXT PRIMARY KEY,
        tenant TEXT NOT NULL,
        url TEXT NOT NULL,
        events TEXT NOT NULL,
        description TEXT NOT NULL,
        ad_hoc BOOLEAN NOT NULL,
        secret BLOB NOT NULL,
        previous BLOB,
        previous_until BIGINT,
        disabled TEXT,
        failures BIGINT NOT NULL DEFAULT 0,
        paused_until BIGINT,
        failing_since BIGINT,
        last_error TEXT,
        succeeded_at BIGINT,
        failed_at BIGINT,
        created_at BIGINT NOT NULL,
        UNIQUE (tenant, url)
    );
    CREATE TABLE webhook_deliveries (
        id TEXT PRIMARY KEY,
        webhook TEXT NOT NULL,
        tenant TEXT NOT NULL,
        event TEXT NOT NULL,
        job TEXT,
        body TEXT NOT NULL,
        state TEXT NOT NULL,
        sends BIGINT NOT NULL DEFAULT 0,
        attempts TEXT NOT NULL DEFAULT '[]',
        next_at BIGINT,
        created_at BIGINT NOT NULL,
        ended_at BIGINT
    );
    CREATE INDEX webhook_deliveries_of ON webhook_deliveries (webhook, id);
    CREATE INDEX webhook_deliveries_ended ON webhook_deliveries (ended_at) WHERE ended_at IS NOT NULL;
    CREATE INDEX webhook_deliveries_dead ON webhook_deliveries (webhook, id) WHERE state = 'dead';",
)
.with_postgres(
    "CREATE TABLE webhook_endpoints (
        id TEXT PRIMARY KEY,
        tenant TEXT NOT NULL,
        url TEXT NOT NULL,
        events TEXT NOT NULL,
        description TEXT NOT NULL,
        ad_hoc BOOLEAN NOT NULL,
        secret BYTEA NOT NULL,
        previous BYTEA,
        previous_until BIGINT,
        disabled TEXT,
        failures BIGINT NOT NULL DEFAULT 0,
        paused_until BIGINT,
        failing_since BIGINT,
        last_error TEXT,
        succeeded_at BIGINT,
        failed_at BIGINT,
        created_at BIGINT NOT NULL,
        UNIQUE (tenant, url)
    );
    CREATE TABLE webhook_deliveries (
        id TEXT COLLATE \"C\" PRIMARY KEY,
        webhook TEXT NOT NULL,
        tenant TEXT NOT NULL,
        event TEXT NOT NULL,
        job TEXT,
        body TEXT NOT NULL,
        state TEXT NOT NULL,
        sends BIGINT NOT NULL DEFAULT 0,
        attempts TEXT NOT NULL DEFAULT '[]',
        next_at BIGINT,
        created_at BIGINT NOT NULL,
        ended_at BIGINT
    );
    CREATE INDEX webhook_deliveries_of ON webhook_deliveries (webhook, id);
    CREATE INDEX webhook_deliveries_ended ON webhook_deliveries (ended_at) WHERE ended_at IS NOT NULL;
    CREATE INDEX webhook_deliveries_dead ON webhook_deliveries (webhook, id) WHERE state = 'dead';",
);

/// The schema of webhooks.
pub(super) const MIGRATIONS: Migrations = Migrations::new("webhooks", &[CREATE]);

macro_rules! statements {
    ($($(#[$about:meta])* $name:ident = $text:literal, $sql:literal;)*) => {
        $($(#[$about])* pub(super) static $name: Statement = Statement::new("webhooks", $text, $sql);)*
    };
}

statements! {
    COUNT = "count", "SELECT count(*) FROM webhook_endpoints WHERE tenant = ?1";
    INSERT = "insert", "INSERT INTO webhook_endpoints \
        (id, tenant, url, events, description, ad_hoc, secret, created_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) \
        ON CONFLICT (tenant, url) DO NOTHING";
    /// A URL that jobs named becomes one that somebody registered.
    ADOPT = "adopt", "UPDATE webhook_endpoints SET events = ?3, description = ?4, secret = ?5, ad_hoc = FALSE, \
        previous = NULL, previous_until = NULL WHERE id = ?1 AND tenant = ?2 AND ad_hoc";
    FIND = "find", "SELECT * FROM webhook_endpoints WHERE id = ?1 AND tenant = ?2";
    FIND_URL = "find_url", "SELECT * FROM webhook_endpoints WHERE url = ?1 AND tenant = ?2";
    LIST = "list", "SELECT * FROM webhook_endpoints WHERE tenant = ?1 ORDER BY id";
    CHANGE = "change", "UPDATE webhook_endpoints SET url = ?3, events = ?4, description = ?5, disabled = ?6 \
        WHERE id = ?1 AND tenant = ?2";
    REVIVE = "revive", "UPDATE webhook_endpoints SET failures = 0, paused_until = NULL, failing_since = NULL \
        WHERE id = ?1 AND tenant = ?2";
    DELETE = "delete", "DELETE FROM webhook_endpoints WHERE id = ?1 AND tenant = ?2";
    ROTATE = "rotate", "UPDATE webhook_endpoints SET previous = secret, previous_until = ?4, secret = ?3 \
        WHERE id = ?1 AND tenant = ?2";
    SUCCEEDED = "succeeded", "UPDATE webhook_endpoints SET failures = 0, paused_until = NULL, failing_since = NULL, \
        succeeded_at = ?2 WHERE id = ?1";
    /// Counts in the statement: several servers fail at the same time.
    FAILED = "failed", "UPDATE webhook_endpoints SET failures = failures + ?2, paused_until = ?3, failed_at = ?4, \
        failing_since = COALESCE(failing_since, ?4), last_error = ?5 WHERE id = ?1";
    DISABLE = "disable", "UPDATE webhook_endpoints SET disabled = ?2 WHERE id = ?1 AND disabled IS NULL";
    /// Takes the place of the one that may try whether a webhook works again.
    PROBE = "probe", "UPDATE webhook_endpoints SET paused_until = ?3 \
        WHERE id = ?1 AND COALESCE(paused_until, 0) = ?2";
    SUBSCRIBED = "subscribed", "SELECT id, tenant, events FROM webhook_endpoints \
        WHERE disabled IS NULL AND events <> '[]'";
    CENSUS = "census", "SELECT CASE WHEN disabled IS NOT NULL THEN 'disabled' WHEN paused_until > ?1 THEN 'paused' \
        ELSE 'enabled' END AS state, count(*) AS webhooks, \
        sum(CASE WHEN disabled = 'failing' THEN 1 ELSE 0 END) AS failing FROM webhook_endpoints GROUP BY 1";
    CENSUS_DEAD = "census_dead", "SELECT count(*) FROM webhook_deliveries WHERE state = 'dead'";
    ADD_DELIVERY = "add_delivery", "INSERT INTO webhook_deliveries \
        (id, webhook, tenant, event, job, body, state, attempts, created_at, ended_at) \
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";
    FIND_DELIVERY = "find_delivery", "SELECT * FROM webhook_deliveries WHERE id = ?1 AND tenant = ?2";
    LIST_DELIVERIES = "list_deliveries", "SELECT id, webhook, event, job, state, sends, attempts, next_at, created_at, \
        ended_at, '' AS body FROM webhook_deliveries WHERE webhook = ?1 AND tenant = ?2 AND id < ?3 \
        AND (?4 = '' OR state = ?4) ORDER BY id DESC LIMIT ?5";
    NOTE = "note", "UPDATE webhook_deliveries SET state = ?2, sends = ?3, attempts = ?4, next_at = ?5, ended_at = ?6 \
        WHERE id = ?1";
    REDRIVE = "redrive", "UPDATE webhook_deliveries SET state = 'pending', sends = 0, next_at = NULL, ended_at = NULL \
        WHERE id = ?1 AND state IN ('dead', 'dropped')";
    DEAD = "dead", "SELECT id FROM webhook_deliveries WHERE webhook = ?1 AND tenant = ?2 AND state = 'dead' \
        ORDER BY id LIMIT ?3";
    DROP_PENDING = "drop_pending", "UPDATE webhook_deliveries SET state = 'dropped', ended_at = ?3, next_at = NULL \
        WHERE webhook = ?1 AND tenant = ?2 AND state IN ('pending', 'dead')";
    FORGET = "forget", "DELETE FROM webhook_deliveries WHERE id IN \
        (SELECT id FROM webhook_deliveries WHERE ended_at < ?1 ORDER BY ended_at LIMIT ?2)";
}

/// A webhook as it is stored.
#[derive(Clone, Debug)]
pub(super) struct Endpoint {
    pub(super) id: WebhookId,
    pub(super) tenant: Tenant,
    pub(super) url: String,
    pub(super) events: Vec<EventPattern>,
    pub(super) description: String,
    pub(super) ad_hoc: bool,
    secret: Bytes,
    previous: Option<Bytes>,
    pub(super) previous_until: Option<Timestamp>,
    pub(super) disabled: Option<DisabledReason>,
    pub(super) breaker: Breaker,
    pub(super) failing_since: Option<Timestamp>,
    last_error: Option<String>,
    pub(super) succeeded_at: Option<Timestamp>,
    failed_at: Option<Timestamp>,
    created_at: Timestamp,
}

/// What a webhook's secret is sealed for.
pub(super) fn purpose(tenant: &Tenant, id: &WebhookId) -> String {
    format!("webhook {tenant} {id}")
}

pub(super) fn events_text(events: &[EventPattern]) -> String {
    serde_json::to_string(events).unwrap_or_else(|_| "[]".to_owned())
}

impl Endpoint {
    pub(super) fn from_row(row: &Row) -> Result<Self, StoreError> {
        let disabled: Option<String> = row.get("disabled")?;
        let failures: i64 = row.get("failures")?;
        Ok(Self {
            id: parsed(row, "id")?,
            tenant: parsed(row, "tenant")?,
            url: row.get("url")?,
            events: json(row, "events")?,
            description: row.get("description")?,
            ad_hoc: row.get("ad_hoc")?,
            secret: row.get("secret")?,
            previous: row.get("previous")?,
            previous_until: row.get("previous_until")?,
            disabled: disabled.and_then(|text| DisabledReason::parse(&text)),
            breaker: Breaker {
                failures: u32::try_from(failures).unwrap_or(u32::MAX),
                paused_until: row.get("paused_until")?,
            },
            failing_since: row.get("failing_since")?,
            last_error: row.get("last_error")?,
            succeeded_at: row.get("succeeded_at")?,
            failed_at: row.get("failed_at")?,
            created_at: row.get("created_at")?,
        })
    }

    /// What its deliveries are signed with: its secret, and the one before it while that is being replaced.
    pub(super) fn secrets(&self, seal: &Seal, now: Timestamp) -> Result<Vec<SigningSecret>, WebhookError> {
        let purpose = purpose(&self.tenant, &self.id);
        let previous =
            self.previous.as_ref().filter(|_| self.previous_until.is_some_and(|until| until > now));
        let mut secrets = Vec::new();
        for sealed in std::iter::once(&self.secret).chain(previous) {
            let bytes = seal.open_sealed(&purpose, sealed)?;
            secrets.extend(SigningSecret::from_bytes(bytes));
        }
        Ok(secrets)
    }

    /// As callers see it.
    pub(super) fn view(self, now: Timestamp) -> Webhook {
        let paused_until = self.breaker.paused_until.filter(|until| *until > now);
        let state = match (self.disabled, paused_until) {
            (Some(_), _) => WebhookState::Disabled,
            (None, Some(_)) => WebhookState::Paused,
            (None, None) => WebhookState::Enabled,
        };
        Webhook {
            id: self.id,
            url: self.url,
            events: self.events,
            description: self.description,
            ad_hoc: self.ad_hoc,
            state,
            reason: self.disabled,
            failures: self.breaker.failures,
            paused_until,
            last_error: self.last_error,
            succeeded_at: self.succeeded_at,
            failed_at: self.failed_at,
            previous_secret_until: self.previous_until.filter(|until| *until > now),
            created_at: self.created_at,
        }
    }
}

/// A delivery as it is stored.
#[derive(Clone, Debug)]
pub(super) struct Outgoing {
    pub(super) id: DeliveryId,
    pub(super) webhook: WebhookId,
    event: String,
    job: Option<String>,
    pub(super) body: String,
    pub(super) state: DeliveryState,
    /// How often it was sent since it was made or redriven.
    pub(super) sends: u32,
    pub(super) attempts: Vec<DeliveryAttempt>,
    pub(super) next_at: Option<Timestamp>,
    created_at: Timestamp,
    pub(super) ended_at: Option<Timestamp>,
}

/// Tries that are noted of one delivery; of more the first and the last are kept.
const ATTEMPTS_KEPT_MAX: usize = 16;

impl Outgoing {
    pub(super) fn from_row(row: &Row) -> Result<Self, StoreError> {
        let state: String = row.get("state")?;
        let sends: i64 = row.get("sends")?;
        Ok(Self {
            id: parsed(row, "id")?,
            webhook: parsed(row, "webhook")?,
            event: row.get("event")?,
            job: row.get("job")?,
            body: row.get("body")?,
            state: DeliveryState::parse(&state).ok_or_else(|| damaged("state"))?,
            sends: u32::try_from(sends).unwrap_or(u32::MAX),
            attempts: json(row, "attempts")?,
            next_at: row.get("next_at")?,
            created_at: row.get("created_at")?,
            ended_at: row.get("ended_at")?,
        })
    }

    /// Notes a try.
    pub(super) fn add(&mut self, attempt: DeliveryAttempt) {
        if self.attempts.len() >= ATTEMPTS_KEPT_MAX {
            self.attempts.remove(ATTEMPTS_KEPT_MAX / 2);
        }
        self.attempts.push(attempt);
    }

    /// The parameters of [`NOTE`].
    pub(super) fn note(&self) -> Params {
        params![
            self.id.as_str(),
            self.state.name(),
            self.sends,
            serde_json::to_string(&self.attempts).unwrap_or_else(|_| "[]".to_owned()),
            self.next_at,
            self.ended_at,
        ]
    }

    /// As callers see it.
    pub(super) fn view(self) -> Delivery {
        Delivery {
            id: self.id,
            webhook: self.webhook,
            event: self.event,
            job: self.job,
            state: self.state,
            attempts: self.attempts,
            next_at: self.next_at,
            created_at: self.created_at,
            ended_at: self.ended_at,
            body: Some(self.body).filter(|body| !body.is_empty()),
        }
    }
}

/// A delivery that is made: the parameters of [`ADD_DELIVERY`].
#[derive(Clone, Debug)]
pub(super) struct NewDelivery {
    pub(super) id: DeliveryId,
    pub(super) webhook: WebhookId,
    pub(super) tenant: Tenant,
    pub(super) event: String,
    pub(super) job: Option<String>,
    pub(super) body: Arc<str>,
    pub(super) at: Timestamp,
}

impl NewDelivery {
    /// One that is to be carried out.
    pub(super) fn pending(&self) -> Params {
        self.params(DeliveryState::Pending, &[], None)
    }

    /// One that was tried once and for all.
    pub(super) fn ended(&self, state: DeliveryState, attempt: &DeliveryAttempt) -> Params {
        self.params(state, std::slice::from_ref(attempt), Some(Timestamp::now()))
    }

    fn params(
        &self,
        state: DeliveryState,
        attempts: &[DeliveryAttempt],
        ended_at: Option<Timestamp>,
    ) -> Params {
        params![
            self.id.as_str(),
            self.webhook.as_str(),
            &self.tenant,
            self.event.as_str(),
            self.job.clone(),
            self.body.as_ref(),
            state.name(),
            serde_json::to_string(attempts).unwrap_or_else(|_| "[]".to_owned()),
            self.at,
            ended_at,
        ]
    }
}

pub(super) fn parsed<T: std::str::FromStr>(row: &Row, column: &str) -> Result<T, StoreError> {
    row.get::<String>(column)?.parse().map_err(|_| damaged(column))
}

fn json<T: serde::de::DeserializeOwned>(row: &Row, column: &str) -> Result<T, StoreError> {
    serde_json::from_str(&row.get::<String>(column)?).map_err(|_| damaged(column))
}

fn damaged(column: &str) -> StoreError {
    StoreError::Column { column: column.to_owned(), expected: String::EXPECTED, found: "something else" }
}
