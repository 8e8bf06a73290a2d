//! Schedules in the store.

use jiff::Timestamp;
use paddock_platform::{
    identity::Tenant,
    params,
    store::{Migration, Migrations, Row, Statement, Store, StoreError, Transaction},
};

use super::NewSchedule;

pub(super) const MIGRATIONS: Migrations = Migrations::new("schedules", &[CREATE, REASON]);

const CREATE: Migration = Migration::new(
    1,
    "schedules",
    "CREATE TABLE job_schedules (
             tenant TEXT NOT NULL,
             name TEXT NOT NULL,
             body TEXT NOT NULL,
             key_id TEXT,
             paused BOOLEAN NOT NULL,
             next_ms BIGINT,
             last_ms BIGINT,
             last_job TEXT,
             last_error TEXT,
             fired BIGINT NOT NULL,
             skipped BIGINT NOT NULL,
             created_ms BIGINT NOT NULL,
             updated_ms BIGINT NOT NULL,
             PRIMARY KEY (tenant, name)
         );
         CREATE INDEX job_schedules_due ON job_schedules (next_ms) WHERE next_ms IS NOT NULL",
);
const REASON: Migration =
    Migration::new(2, "why schedules are paused", "ALTER TABLE job_schedules ADD COLUMN paused_reason TEXT");

macro_rules! columns {
    () => {
        "tenant, name, body, key_id, paused, next_ms, last_ms, last_job, last_error, fired, skipped, created_ms, \
         updated_ms, paused_reason"
    };
}

static PUT: Statement = Statement::new(
    "schedules",
    "put_schedule",
    "INSERT INTO job_schedules (tenant, name, body, key_id, paused, next_ms, fired, skipped, created_ms, updated_ms)
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, 0, 0, ?7, ?8)
     ON CONFLICT (tenant, name) DO UPDATE SET body = excluded.body, key_id = excluded.key_id, paused = excluded.paused,
         next_ms = excluded.next_ms, last_error = NULL, updated_ms = excluded.updated_ms, paused_reason = NULL",
);
static FIND: Statement = Statement::new(
    "schedules",
    "find_schedule",
    concat!("SELECT ", columns!(), " FROM job_schedules WHERE tenant = ?1 AND name = ?2"),
);
static LOCK: Statement = Statement::new(
    "schedules",
    "lock_schedule",
    concat!("SELECT ", columns!(), " FROM job_schedules WHERE tenant = ?1 AND name = ?2"),
)
.with_postgres(concat!(
    "SELECT ",
    columns!(),
    " FROM job_schedules WHERE tenant = ?1 AND name = ?2 FOR UPDATE"
));
static LIST: Statement = Statement::new(
    "schedules",
    "list_schedules",
    concat!(
        "SELECT ",
        columns!(),
        " FROM job_schedules WHERE tenant = ?1 AND name > ?2 ORDER BY name LIMIT ?3"
    ),
);
static COUNT: Statement =
    Statement::new("schedules", "count_schedules", "SELECT count(*) FROM job_schedules WHERE tenant = ?1");
static DELETE: Statement = Statement::new(
    "schedules",
    "delete_schedule",
    "DELETE FROM job_schedules WHERE tenant = ?1 AND name = ?2",
);
static PAUSE: Statement = Statement::new(
    "schedules",
    "pause_schedule",
    "UPDATE job_schedules SET paused = ?3, next_ms = ?4, updated_ms = ?5, paused_reason = NULL
     WHERE tenant = ?1 AND name = ?2",
);
static STOP: Statement = Statement::new(
    "schedules",
    "stop_schedule",
    "UPDATE job_schedules SET paused = TRUE, next_ms = NULL, updated_ms = ?4, paused_reason = ?5, skipped = skipped + 1
     WHERE tenant = ?1 AND name = ?2 AND updated_ms = ?3",
);
static DUE: Statement = Statement::new(
    "schedules",
    "due_schedules",
    concat!(
        "SELECT ",
        columns!(),
        " FROM job_schedules WHERE next_ms IS NOT NULL AND next_ms <= ?1 ORDER BY next_ms LIMIT 100"
    ),
);
static NEXT: Statement = Statement::new(
    "schedules",
    "next_schedule",
    "SELECT min(next_ms) FROM job_schedules WHERE next_ms IS NOT NULL",
);
static FIRED: Statement = Statement::new(
    "schedules",
    "schedule_fired",
    "UPDATE job_schedules SET next_ms = ?3, last_ms = COALESCE(?4, last_ms), last_job = COALESCE(?5, last_job),
         last_error = ?6, fired = fired + ?7, skipped = skipped + ?8
     WHERE tenant = ?1 AND name = ?2",
);

/// A schedule as the store has it.
#[derive(Clone, Debug)]
pub(super) struct ScheduleRow {
    pub(super) tenant: Tenant,
    pub(super) name: String,
    pub(super) schedule: NewSchedule,
    pub(super) key_id: Option<String>,
    pub(super) paused: bool,
    pub(super) next_at: Option<Timestamp>,
    pub(super) last_at: Option<Timestamp>,
    pub(super) last_job: Option<String>,
    pub(super) last_error: Option<String>,
    pub(super) fired: u64,
    pub(super) skipped: u64,
    pub(super) created_at: Timestamp,
    pub(super) updated_at: Timestamp,
    pub(super) paused_reason: Option<String>,
}

fn corrupt(what: &str) -> StoreError {
    StoreError::Corrupt(format!("the {what} of a schedule cannot be read"))
}

fn read(row: &Row) -> Result<ScheduleRow, StoreError> {
    Ok(ScheduleRow {
        tenant: row.get::<String>(0_usize)?.parse().map_err(|_| corrupt("tenant"))?,
        name: row.get(1_usize)?,
        schedule: serde_json::from_str(&row.get::<String>(2_usize)?).map_err(|_| corrupt("text"))?,
        key_id: row.get(3_usize)?,
        paused: row.get(4_usize)?,
        next_at: row.get(5_usize)?,
        last_at: row.get(6_usize)?,
        last_job: row.get(7_usize)?,
        last_error: row.get(8_usize)?,
        fired: row.get(9_usize)?,
        skipped: row.get(10_usize)?,
        created_at: row.get(11_usize)?,
        updated_at: row.get(12_usize)?,
        paused_reason: row.get(13_usize)?,
    })
}

/// Keeps a schedule, in place of one of the same name; `Err` within: as many as may are there.
pub(super) async fn put(
    store: &Store,
    row: ScheduleRow,
    schedules_max: u64,
) -> Result<Result<(), u64>, StoreError> {
    let body = serde_json::to_string(&row.schedule).unwrap_or_default();
    store
        .write(move |tx| {
            Box::pin(async move {
                let is_new = tx.query_first(&LOCK, params![&row.tenant, &row.name]).await?.is_none();
                let count = tx.query_first(&COUNT, params![&row.tenant]).await?;
                let count: u64 = count.map_or(Ok(0), |row| row.get(0_usize))?;
                if is_new && count >= schedules_max {
                    return Ok(Err(count));
                }
                let params = params![
                    &row.tenant,
                    row.name,
                    body,
                    row.key_id,
                    row.paused,
                    row.next_at,
                    row.created_at,
                    row.updated_at,
                ];
                tx.execute(&PUT, params).await?;
                Ok(Ok(()))
            })
        })
        .await
}

pub(super) async fn find(
    store: &Store,
    tenant: &Tenant,
    name: &str,
) -> Result<Option<ScheduleRow>, StoreError> {
    store.query_first(&FIND, params![tenant, name]).await?.as_ref().map(read).transpose()
}

/// Reads a schedule and keeps everybody else from changing it until the transaction ends.
pub(super) async fn lock(
    tx: &mut Transaction,
    tenant: &Tenant,
    name: &str,
) -> Result<Option<ScheduleRow>, StoreError> {
    tx.query_first(&LOCK, params![tenant, name]).await?.as_ref().map(read).transpose()
}

pub(super) async fn list(
    store: &Store,
    tenant: &Tenant,
    after: &str,
    limit: u32,
) -> Result<Vec<ScheduleRow>, StoreError> {
    store.query(&LIST, params![tenant, after, limit]).await?.iter().map(read).collect()
}

pub(super) async fn delete(store: &Store, tenant: &Tenant, name: &str) -> Result<bool, StoreError> {
    Ok(store.execute(&DELETE, params![tenant, name]).await? > 0)
}

pub(super) async fn set_paused(
    store: &Store,
    tenant: &Tenant,
    name: &str,
    paused: bool,
    next_at: Option<Timestamp>,
    now: Timestamp,
) -> Result<(), StoreError> {
    store.execute(&PAUSE, params![tenant, name, paused, next_at, now]).await.map(|_| ())
}

/// Pauses a schedule that must not fire, unless it was changed since it was read; whether it was paused now.
pub(super) async fn stop(
    store: &Store,
    row: &ScheduleRow,
    reason: &str,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let params = params![&row.tenant, &*row.name, row.updated_at, now, reason];
    Ok(store.execute(&STOP, params).await? > 0)
}

pub(super) async fn due(store: &Store, now: Timestamp) -> Result<Vec<ScheduleRow>, StoreError> {
    store.query(&DUE, params![now]).await?.iter().map(read).collect()
}

pub(super) async fn next(store: &Store) -> Result<Option<Timestamp>, StoreError> {
    store.query_first(&NEXT, params![]).await?.map_or(Ok(None), |row| row.get(0_usize))
}

/// What a look at a schedule came to.
#[derive(Clone, Debug, Default)]
pub(super) struct Fired {
    pub(super) next_at: Option<Timestamp>,
    pub(super) last_at: Option<Timestamp>,
    pub(super) last_job: Option<String>,
    pub(super) error: Option<String>,
    pub(super) count: u32,
    pub(super) skipped: u32,
}

pub(super) async fn fired(
    tx: &mut Transaction,
    tenant: &Tenant,
    name: &str,
    fired: Fired,
) -> Result<(), StoreError> {
    let Fired { next_at, last_at, last_job, error, count, skipped } = fired;
    tx.execute(&FIRED, params![tenant, name, next_at, last_at, last_job, error, count, skipped])
        .await
        .map(|_| ())
}
