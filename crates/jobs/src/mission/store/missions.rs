//! Missions: where each of them stands.

use std::time::Duration;

use jiff::Timestamp;
use paddock_platform::{
    identity::Tenant,
    params,
    store::{Row, Statement, Store, StoreError, Transaction},
};
use serde::{Deserialize, Serialize};

use crate::{
    Fault, JobId,
    mission::machine::{Phase, State, Status},
};

macro_rules! columns {
    () => {
        "id, tenant, key_id, definition, version, parent, queue, priority, trace, doc, inputs, output, fault,
         created_ms, started_ms, finished_ms, deadline_ms, expires_ms, changes, retention_ms"
    };
}

static INSERT: Statement = Statement::new(
    "missions",
    "insert_mission",
    "INSERT INTO missions (id, tenant, key_id, definition, version, parent, queue, priority, trace, phase, doc, inputs,
                           created_ms, deadline_ms, retention_ms, changes)
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, 1)",
);
static FIND: Statement = Statement::new(
    "missions",
    "find_mission",
    concat!("SELECT ", columns!(), " FROM missions WHERE tenant = ?1 AND id = ?2"),
);
static LOCK: Statement = Statement::new(
    "missions",
    "lock_mission",
    concat!("SELECT ", columns!(), " FROM missions WHERE id = ?1"),
)
.with_postgres(concat!("SELECT ", columns!(), " FROM missions WHERE id = ?1 FOR UPDATE"));
static SAVE: Statement = Statement::new(
    "missions",
    "save_mission",
    "UPDATE missions SET phase = ?2, doc = ?3, output = ?4, fault = ?5, started_ms = ?6, finished_ms = ?7,
                         due_ms = ?8, expires_ms = ?9, deadline_ms = ?10, changes = changes + 1
     WHERE id = ?1",
);
static LIST: Statement = Statement::new(
    "missions",
    "list_missions",
    concat!(
        "SELECT ",
        columns!(),
        " FROM missions
          WHERE tenant = ?1 AND id < ?2 AND (?3 = '' OR phase = ?3) AND (?4 = '' OR definition = ?4)
          ORDER BY id DESC LIMIT ?5"
    ),
);
static COUNT_ACTIVE: Statement = Statement::new(
    "missions",
    "count_active_missions",
    "SELECT count(*) FROM missions WHERE tenant = ?1 AND finished_ms IS NULL",
);
static CHANGES: Statement = Statement::new(
    "missions",
    "mission_changes",
    "SELECT changes FROM missions WHERE tenant = ?1 AND id = ?2",
);
static DUE: Statement = Statement::new(
    "missions",
    "due_missions",
    "SELECT id FROM missions WHERE due_ms IS NOT NULL AND due_ms <= ?1 ORDER BY due_ms LIMIT 100",
);
static EXPIRED: Statement = Statement::new(
    "missions",
    "expired_missions",
    "SELECT id FROM missions WHERE expires_ms IS NOT NULL AND expires_ms <= ?1 ORDER BY expires_ms LIMIT 500",
);
static DELETE: Statement = Statement::new("missions", "delete_mission", "DELETE FROM missions WHERE id = ?1");
static DELETE_RUNS: Statement =
    Statement::new("missions", "delete_mission_runs", "DELETE FROM mission_runs WHERE mission = ?1");
static DELETE_APPROVALS: Statement = Statement::new(
    "missions",
    "delete_mission_approvals",
    "DELETE FROM mission_approvals WHERE mission = ?1",
);
static BY_PHASE: Statement = Statement::new(
    "missions",
    "count_missions_by_phase",
    "SELECT phase, count(*) FROM missions WHERE finished_ms IS NULL GROUP BY phase",
);

/// A mission as the store has it.
#[derive(Clone, Debug)]
pub(crate) struct MissionRow {
    pub(crate) id: JobId,
    pub(crate) tenant: Tenant,
    pub(crate) key_id: Option<String>,
    pub(crate) definition: String,
    pub(crate) version: u32,
    /// The mission that it is a step of.
    pub(crate) parent: Option<String>,
    pub(crate) queue: String,
    pub(crate) priority: i8,
    pub(crate) trace: Option<String>,
    pub(crate) state: State,
    pub(crate) inputs: String,
    pub(crate) output: Option<String>,
    pub(crate) fault: Option<StoredFault>,
    pub(crate) created_at: Timestamp,
    pub(crate) started_at: Option<Timestamp>,
    pub(crate) finished_at: Option<Timestamp>,
    pub(crate) deadline_at: Timestamp,
    pub(crate) expires_at: Option<Timestamp>,
    pub(crate) changes: u64,
    /// How long it is kept after its end.
    pub(crate) retention: Duration,
}

/// Why a mission failed, and where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StoredFault {
    pub(crate) class: String,
    pub(crate) message: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) step: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) item: Option<u32>,
}

impl StoredFault {
    pub(crate) fn to_fault(&self) -> Fault {
        let place = match (&self.step, self.item) {
            (Some(step), Some(item)) if item > 0 => format!("step `{step}` (item {item}): "),
            (Some(step), _) => format!("step `{step}`: "),
            _ => String::new(),
        };
        Fault::new(self.class.clone(), format!("{place}{}", self.message))
    }
}

fn corrupt(what: &str) -> StoreError {
    StoreError::Corrupt(format!("{what} of a mission cannot be read"))
}

fn read(row: &Row) -> Result<MissionRow, StoreError> {
    let id: String = row.get(0_usize)?;
    let doc: String = row.get(9_usize)?;
    let fault: Option<String> = row.get(12_usize)?;
    Ok(MissionRow {
        id: id.parse().map_err(|_| corrupt("the id"))?,
        tenant: row.get::<String>(1_usize)?.parse().map_err(|_| corrupt("the tenant"))?,
        key_id: row.get(2_usize)?,
        definition: row.get(3_usize)?,
        version: row.get(4_usize)?,
        parent: row.get(5_usize)?,
        queue: row.get(6_usize)?,
        priority: row.get::<i64>(7_usize)?.clamp(-100, 100) as i8,
        trace: row.get(8_usize)?,
        state: serde_json::from_str(&doc).map_err(|_| corrupt("the state"))?,
        inputs: row.get(10_usize)?,
        output: row.get(11_usize)?,
        fault: fault.and_then(|text| serde_json::from_str(&text).ok()),
        created_at: row.get(13_usize)?,
        started_at: row.get(14_usize)?,
        finished_at: row.get(15_usize)?,
        deadline_at: row.get(16_usize)?,
        expires_at: row.get(17_usize)?,
        changes: row.get(18_usize)?,
        retention: Duration::from_millis(row.get(19_usize)?),
    })
}

impl MissionRow {
    /// When the clock has to look at it next: the mission's deadline, or a decision's.
    fn due_at_ms(&self) -> Option<i64> {
        let waiting = self.state.steps.iter().filter(|step| step.status == Status::Waiting);
        let decisions = waiting.filter_map(|step| step.due);
        let deadline = matches!(self.state.phase, Phase::Running | Phase::Concluding);
        decisions.chain(deadline.then(|| self.deadline_at.as_millisecond())).min()
    }
}

pub(crate) async fn insert_mission(tx: &mut Transaction, mission: &MissionRow) -> Result<(), StoreError> {
    let params = params![
        mission.id.to_string(),
        &mission.tenant,
        mission.key_id.clone(),
        &mission.definition,
        mission.version,
        mission.parent.clone(),
        &mission.queue,
        i64::from(mission.priority),
        mission.trace.clone(),
        mission.state.phase.name(),
        serde_json::to_string(&mission.state).unwrap_or_default(),
        &mission.inputs,
        mission.created_at,
        mission.deadline_at,
        i64::try_from(mission.retention.as_millis()).unwrap_or(i64::MAX),
    ];
    tx.execute(&INSERT, params).await.map(|_| ())
}

pub(crate) async fn find_mission(
    store: &Store,
    tenant: &Tenant,
    id: JobId,
) -> Result<Option<MissionRow>, StoreError> {
    store.query_first(&FIND, params![tenant, id.to_string()]).await?.as_ref().map(read).transpose()
}

/// Reads a mission and keeps everybody else from changing it until the transaction ends.
pub(crate) async fn lock_mission(tx: &mut Transaction, id: JobId) -> Result<Option<MissionRow>, StoreError> {
    tx.query_first(&LOCK, params![id.to_string()]).await?.as_ref().map(read).transpose()
}

pub(crate) async fn save_mission(tx: &mut Transaction, mission: &MissionRow) -> Result<(), StoreError> {
    let params = params![
        mission.id.to_string(),
        mission.state.phase.name(),
        serde_json::to_string(&mission.state).unwrap_or_default(),
        mission.output.clone(),
        mission.fault.as_ref().map(|fault| serde_json::to_string(fault).unwrap_or_default()),
        mission.started_at,
        mission.finished_at,
        mission.due_at_ms(),
        mission.expires_at,
        mission.deadline_at,
    ];
    tx.execute(&SAVE, params).await.map(|_| ())
}

/// Which missions a list has; what is empty does not count.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct MissionFilter {
    pub(crate) phase: String,
    pub(crate) definition: String,
}

/// A tenant's missions, the newest first.
pub(crate) async fn list_missions(
    store: &Store,
    tenant: &Tenant,
    filter: &MissionFilter,
    before: Option<&str>,
    limit: u32,
) -> Result<Vec<MissionRow>, StoreError> {
    // Larger than any id.
    let before = before.unwrap_or("g");
    let params = params![tenant, before, &filter.phase, &filter.definition, limit];
    store.query(&LIST, params).await?.iter().map(read).collect()
}

pub(crate) async fn count_active(tx: &mut Transaction, tenant: &Tenant) -> Result<u64, StoreError> {
    tx.query_first(&COUNT_ACTIVE, params![tenant]).await?.map_or(Ok(0), |row| row.get(0_usize))
}

/// Grows with every change; `None` if it is not there.
pub(crate) async fn mission_changes(
    store: &Store,
    tenant: &Tenant,
    id: JobId,
) -> Result<Option<u64>, StoreError> {
    store
        .query_first(&CHANGES, params![tenant, id.to_string()])
        .await?
        .map(|row| row.get(0_usize))
        .transpose()
}

fn ids(rows: &[Row]) -> Result<Vec<JobId>, StoreError> {
    rows.iter().map(|row| row.get::<String>(0_usize)?.parse().map_err(|_| corrupt("the id"))).collect()
}

pub(crate) async fn due_missions(store: &Store, now: Timestamp) -> Result<Vec<JobId>, StoreError> {
    ids(&store.query(&DUE, params![now]).await?)
}

pub(crate) async fn expired_missions(store: &Store, now: Timestamp) -> Result<Vec<JobId>, StoreError> {
    ids(&store.query(&EXPIRED, params![now]).await?)
}

pub(crate) async fn delete_mission(tx: &mut Transaction, id: JobId) -> Result<(), StoreError> {
    for statement in [&DELETE_APPROVALS, &DELETE_RUNS, &DELETE] {
        tx.execute(statement, params![id.to_string()]).await?;
    }
    Ok(())
}

pub(crate) async fn count_by_phase(store: &Store) -> Result<Vec<(String, u64)>, StoreError> {
    let rows = store.query(&BY_PHASE, params![]).await?;
    rows.iter().map(|row| Ok((row.get(0_usize)?, row.get(1_usize)?))).collect()
}
