//! The area's tables.

use paddock_platform::store::{Migration, Migrations, Statement};

use crate::{durable, govern::UsageGroup};

/// The area's schema.
pub(crate) const MIGRATIONS: Migrations = Migrations::new(
    "llm",
    &[Migration::new(
        1,
        "usage and requests",
        "CREATE TABLE llm_usage (
             hour BIGINT NOT NULL, tenant TEXT NOT NULL, key_id TEXT NOT NULL, api TEXT NOT NULL,
             model TEXT NOT NULL, provider TEXT NOT NULL, target TEXT NOT NULL, credential TEXT NOT NULL,
             requests BIGINT NOT NULL, failures BIGINT NOT NULL, estimated BIGINT NOT NULL, cached BIGINT NOT NULL,
             input BIGINT NOT NULL, output BIGINT NOT NULL, cache_read BIGINT NOT NULL, cache_write BIGINT NOT NULL,
             reasoning BIGINT NOT NULL, cost_pico BIGINT NOT NULL,
             PRIMARY KEY (hour, tenant, key_id, api, model, provider, target, credential)
         );
         CREATE TABLE llm_usage_batches (id TEXT PRIMARY KEY, at_ms BIGINT NOT NULL);
         CREATE TABLE llm_requests (
             id TEXT PRIMARY KEY, at_ms BIGINT NOT NULL, tenant TEXT NOT NULL, key_id TEXT NOT NULL,
             api TEXT NOT NULL, model TEXT NOT NULL, provider TEXT NOT NULL, target TEXT NOT NULL,
             credential TEXT NOT NULL, outcome TEXT NOT NULL, status BIGINT NOT NULL, attempts BIGINT NOT NULL,
             input BIGINT NOT NULL, output BIGINT NOT NULL, cost_pico BIGINT NOT NULL, first_token_ms BIGINT,
             duration_ms BIGINT NOT NULL, trace_id TEXT NOT NULL, tags TEXT NOT NULL, request TEXT, answer TEXT
         );
         CREATE INDEX llm_requests_by_tenant ON llm_requests (tenant, at_ms, id);
         CREATE INDEX llm_requests_by_age ON llm_requests (at_ms)",
    ), durable::store::MIGRATION],
);

/// Adds to the sums of an hour.
pub(crate) static ADD_USAGE: Statement = Statement::new(
    "llm",
    "add_usage",
    "INSERT INTO llm_usage (hour, tenant, key_id, api, model, provider, target, credential, requests, failures,
         estimated, cached, input, output, cache_read, cache_write, reasoning, cost_pico)
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18)
     ON CONFLICT (hour, tenant, key_id, api, model, provider, target, credential) DO UPDATE SET
         requests = llm_usage.requests + excluded.requests, failures = llm_usage.failures + excluded.failures,
         estimated = llm_usage.estimated + excluded.estimated, cached = llm_usage.cached + excluded.cached,
         input = llm_usage.input + excluded.input, output = llm_usage.output + excluded.output,
         cache_read = llm_usage.cache_read + excluded.cache_read,
         cache_write = llm_usage.cache_write + excluded.cache_write,
         reasoning = llm_usage.reasoning + excluded.reasoning, cost_pico = llm_usage.cost_pico + excluded.cost_pico",
);

/// Notes that a batch of sums is written; changes nothing if it was before.
pub(crate) static ADD_BATCH: Statement = Statement::new(
    "llm",
    "add_batch",
    "INSERT INTO llm_usage_batches (id, at_ms) VALUES (?1, ?2) ON CONFLICT (id) DO NOTHING",
);

/// Forgets batches that are older.
pub(crate) static EXPIRE_BATCHES: Statement =
    Statement::new("llm", "expire_batches", "DELETE FROM llm_usage_batches WHERE at_ms < ?1");

/// What each tenant and key has spent since the hours `?1` (the month's first) and `?2` (the day's).
pub(crate) static SPENT_SINCE: Statement = Statement::new(
    "llm",
    "spent_since",
    "SELECT tenant, key_id, CAST(SUM(cost_pico) AS BIGINT),
         CAST(SUM(CASE WHEN hour >= ?2 THEN cost_pico ELSE 0 END) AS BIGINT)
     FROM llm_usage WHERE hour >= ?1 GROUP BY tenant, key_id",
);

macro_rules! usage {
    ($name:literal, $group:literal) => {
        Statement::new(
            "llm",
            $name,
            concat!(
                "SELECT ",
                $group,
                " AS what, CAST(SUM(requests) AS BIGINT), CAST(SUM(failures) AS BIGINT), CAST(SUM(cached) AS BIGINT),
                    CAST(SUM(estimated) AS BIGINT), CAST(SUM(input) AS BIGINT), CAST(SUM(output) AS BIGINT),
                    CAST(SUM(cache_read) AS BIGINT), CAST(SUM(cache_write) AS BIGINT),
                    CAST(SUM(reasoning) AS BIGINT), CAST(SUM(cost_pico) AS BIGINT)
                 FROM llm_usage
                 WHERE hour >= ?1 AND hour < ?2 AND tenant = COALESCE(?3, tenant) AND key_id = COALESCE(?4, key_id)
                 GROUP BY what ORDER BY what LIMIT 10000"
            ),
        )
        .with_postgres(concat!(
            "SELECT ",
            $group,
            " AS what, CAST(SUM(requests) AS BIGINT), CAST(SUM(failures) AS BIGINT), CAST(SUM(cached) AS BIGINT),
                CAST(SUM(estimated) AS BIGINT), CAST(SUM(input) AS BIGINT), CAST(SUM(output) AS BIGINT),
                CAST(SUM(cache_read) AS BIGINT), CAST(SUM(cache_write) AS BIGINT),
                CAST(SUM(reasoning) AS BIGINT), CAST(SUM(cost_pico) AS BIGINT)
             FROM llm_usage
             WHERE hour >= ?1 AND hour < ?2 AND tenant = COALESCE(?3::text, tenant)
                 AND key_id = COALESCE(?4::text, key_id)
             GROUP BY what ORDER BY what LIMIT 10000"
        ))
    };
}

static BY_MODEL: Statement = usage!("usage_by_model", "model");
static BY_PROVIDER: Statement = usage!("usage_by_provider", "provider");
static BY_CREDENTIAL: Statement =
    usage!("usage_by_credential", "provider || ' ' || credential || ' ' || target");
static BY_KEY: Statement = usage!("usage_by_key", "key_id");
static BY_TENANT: Statement = usage!("usage_by_tenant", "tenant");
static BY_DAY: Statement = usage!("usage_by_day", "CAST(hour / 24 AS TEXT)");
static BY_HOUR: Statement = usage!("usage_by_hour", "CAST(hour AS TEXT)");

/// Adds usage up by something.
pub(crate) fn usage_statement(group: UsageGroup) -> &'static Statement {
    match group {
        UsageGroup::Model => &BY_MODEL,
        UsageGroup::Provider => &BY_PROVIDER,
        UsageGroup::Credential => &BY_CREDENTIAL,
        UsageGroup::Key => &BY_KEY,
        UsageGroup::Tenant => &BY_TENANT,
        UsageGroup::Day => &BY_DAY,
        UsageGroup::Hour => &BY_HOUR,
    }
}

/// Keeps a request in the log.
pub(crate) static INSERT_REQUEST: Statement = Statement::new(
    "llm",
    "insert_request",
    "INSERT INTO llm_requests (id, at_ms, tenant, key_id, api, model, provider, target, credential, outcome, status,
         attempts, input, output, cost_pico, first_token_ms, duration_ms, trace_id, tags, request, answer)
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21)",
);

/// The requests of a tenant, the newest first.
pub(crate) static LIST_REQUESTS: Statement = Statement::new(
    "llm",
    "list_requests",
    "SELECT id, at_ms, tenant, key_id, api, model, provider, target, credential, outcome, status, attempts, input,
         output, cost_pico, first_token_ms, duration_ms, trace_id, tags, request, answer
     FROM llm_requests
     WHERE tenant = ?1 AND (at_ms < ?2 OR (at_ms = ?2 AND id < ?3))
     ORDER BY at_ms DESC, id DESC LIMIT ?4",
);

/// Forgets what is older.
pub(crate) static EXPIRE_REQUESTS: Statement = Statement::new(
    "llm",
    "expire_requests",
    "DELETE FROM llm_requests WHERE id IN (SELECT id FROM llm_requests WHERE at_ms < ?1 ORDER BY at_ms LIMIT 1000)",
);
