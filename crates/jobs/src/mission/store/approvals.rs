//! What people are asked, and what they said.

use jiff::Timestamp;
use paddock_platform::{
    identity::Tenant,
    params,
    store::{Row, Statement, Store, StoreError, Transaction},
};

use crate::JobId;

macro_rules! columns {
    () => {
        "mission, step, step_name, message, asked_ms, deadline_ms, decided_ms, approved, decided_by, comment"
    };
}

static ASK: Statement = Statement::new(
    "missions",
    "ask",
    "INSERT INTO mission_approvals (mission, step, tenant, step_name, message, asked_ms, deadline_ms)
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
     ON CONFLICT (mission, step) DO UPDATE SET message = excluded.message, asked_ms = excluded.asked_ms,
         deadline_ms = excluded.deadline_ms, decided_ms = NULL, approved = NULL, decided_by = NULL, comment = NULL",
);
static DECIDE: Statement = Statement::new(
    "missions",
    "decide",
    "UPDATE mission_approvals SET decided_ms = ?3, approved = ?4, decided_by = ?5, comment = ?6
     WHERE mission = ?1 AND step = ?2 AND decided_ms IS NULL",
);
static OF_MISSION: Statement = Statement::new(
    "missions",
    "approvals_of_mission",
    concat!("SELECT ", columns!(), " FROM mission_approvals WHERE mission = ?1 ORDER BY step"),
);
static OPEN: Statement = Statement::new(
    "missions",
    "open_approvals",
    concat!(
        "SELECT ",
        columns!(),
        " FROM mission_approvals WHERE tenant = ?1 AND decided_ms IS NULL ORDER BY asked_ms LIMIT ?2"
    ),
);

/// A question to a person.
#[derive(Clone, Debug)]
pub(crate) struct AskedRow {
    pub(crate) step: usize,
    pub(crate) step_name: String,
    pub(crate) message: String,
    pub(crate) asked_at: Timestamp,
    pub(crate) deadline_at: Option<Timestamp>,
}

/// A question with its answer.
#[derive(Clone, Debug)]
pub(crate) struct ApprovalRow {
    pub(crate) mission: String,
    pub(crate) asked: AskedRow,
    pub(crate) decided_at: Option<Timestamp>,
    /// Absent with a time: it was withdrawn.
    pub(crate) approved: Option<bool>,
    pub(crate) decided_by: Option<String>,
    pub(crate) comment: Option<String>,
}

fn read(row: &Row) -> Result<ApprovalRow, StoreError> {
    Ok(ApprovalRow {
        mission: row.get(0_usize)?,
        asked: AskedRow {
            step: row.get::<u32>(1_usize)? as usize,
            step_name: row.get(2_usize)?,
            message: row.get(3_usize)?,
            asked_at: row.get(4_usize)?,
            deadline_at: row.get(5_usize)?,
        },
        decided_at: row.get(6_usize)?,
        approved: row.get(7_usize)?,
        decided_by: row.get(8_usize)?,
        comment: row.get(9_usize)?,
    })
}

pub(crate) async fn ask(
    tx: &mut Transaction,
    mission: JobId,
    tenant: &Tenant,
    asked: &AskedRow,
) -> Result<(), StoreError> {
    let params = params![
        mission.to_string(),
        i64::try_from(asked.step).unwrap_or(i64::MAX),
        tenant,
        &asked.step_name,
        &asked.message,
        asked.asked_at,
        asked.deadline_at,
    ];
    tx.execute(&ASK, params).await.map(|_| ())
}

/// Notes a decision, or with no `approved` that none is wanted any more.
pub(crate) async fn decide(
    tx: &mut Transaction,
    mission: JobId,
    step: usize,
    approved: Option<bool>,
    by: Option<String>,
    comment: Option<String>,
    now: Timestamp,
) -> Result<(), StoreError> {
    let step = i64::try_from(step).unwrap_or(i64::MAX);
    tx.execute(&DECIDE, params![mission.to_string(), step, now, approved, by, comment]).await.map(|_| ())
}

pub(crate) async fn approvals_of_mission(
    store: &Store,
    mission: JobId,
) -> Result<Vec<ApprovalRow>, StoreError> {
    store.query(&OF_MISSION, params![mission.to_string()]).await?.iter().map(read).collect()
}

/// What a tenant's people are asked, the oldest first.
pub(crate) async fn open_approvals(
    store: &Store,
    tenant: &Tenant,
    limit: u32,
) -> Result<Vec<ApprovalRow>, StoreError> {
    store.query(&OPEN, params![tenant, limit]).await?.iter().map(read).collect()
}
