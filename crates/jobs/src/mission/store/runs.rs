//! Runs of steps: one per item, and one more for undoing it.

use std::fmt;

use jiff::Timestamp;
use paddock_platform::{
    params,
    store::{Params, Row, Statement, Store, StoreError, Transaction},
};
use serde_json::Value;

use crate::{Fault, JobId};

macro_rules! columns {
    () => {
        "step, item, undo, state, value, job, output, output_size, fault, started_ms, ended_ms"
    };
}

static ITEMS: Statement = Statement::new(
    "missions",
    "insert_items",
    "INSERT INTO mission_runs (mission, step, item, undo, state, value) VALUES (?1, ?2, ?3, FALSE, 'pending', ?4)
     ON CONFLICT (mission, step, item, undo) DO UPDATE SET state = 'pending', value = excluded.value, job = NULL,
         output = NULL, output_size = 0, fault = NULL, started_ms = NULL, ended_ms = NULL",
)
.with_postgres(
    "INSERT INTO mission_runs (mission, step, item, undo, state, value)
     SELECT new.mission, new.step, new.item, FALSE, 'pending', new.value
     FROM UNNEST(?1::text[], ?2::bigint[], ?3::bigint[], ?4::text[]) AS new (mission, step, item, value)
     ON CONFLICT (mission, step, item, undo) DO UPDATE SET state = 'pending', value = excluded.value, job = NULL,
         output = NULL, output_size = 0, fault = NULL, started_ms = NULL, ended_ms = NULL",
);
static BEGIN: Statement = Statement::new(
    "missions",
    "begin_run",
    "INSERT INTO mission_runs (mission, step, item, undo, state, job, started_ms) VALUES (?1, ?2, ?3, ?4, 'running', ?5, ?6)
     ON CONFLICT (mission, step, item, undo) DO UPDATE SET state = 'running', job = excluded.job, output = NULL,
         output_size = 0, fault = NULL, started_ms = excluded.started_ms, ended_ms = NULL",
);
static END: Statement = Statement::new(
    "missions",
    "end_run",
    "INSERT INTO mission_runs (mission, step, item, undo, state, output, output_size, fault, ended_ms)
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
     ON CONFLICT (mission, step, item, undo) DO UPDATE SET state = excluded.state, output = excluded.output,
         output_size = excluded.output_size, fault = excluded.fault, ended_ms = excluded.ended_ms",
);
static FIND: Statement = Statement::new(
    "missions",
    "find_run",
    concat!(
        "SELECT ",
        columns!(),
        " FROM mission_runs WHERE mission = ?1 AND step = ?2 AND item = ?3 AND undo = ?4"
    ),
);
static OF_STEP: Statement = Statement::new(
    "missions",
    "runs_of_step",
    concat!(
        "SELECT ",
        columns!(),
        " FROM mission_runs WHERE mission = ?1 AND step = ?2 AND item >= ?3 AND undo = ?4 ORDER BY item LIMIT ?5"
    ),
);
static SIZES: Statement = Statement::new(
    "missions",
    "sizes_of_step",
    "SELECT CAST(COALESCE(SUM(output_size), 0) AS BIGINT),
            CAST(COALESCE(SUM(CASE WHEN output IS NULL AND output_size > 0 THEN 1 ELSE 0 END), 0) AS BIGINT)
     FROM mission_runs WHERE mission = ?1 AND step = ?2 AND undo = FALSE",
);
static RUNNING: Statement = Statement::new(
    "missions",
    "running_runs",
    concat!(
        "SELECT ",
        columns!(),
        " FROM mission_runs WHERE mission = ?1 AND state = 'running' AND undo = FALSE"
    ),
);
/// The first run of each step and of its undoing: what a picture of the mission shows.
static HEADS: Statement = Statement::new(
    "missions",
    "first_runs",
    concat!("SELECT ", columns!(), " FROM mission_runs WHERE mission = ?1 AND item = 0 ORDER BY step, undo"),
);
static SPANS: Statement = Statement::new(
    "missions",
    "spans_of_steps",
    "SELECT step, CAST(min(started_ms) AS BIGINT), CAST(max(ended_ms) AS BIGINT)
     FROM mission_runs WHERE mission = ?1 AND undo = FALSE GROUP BY step",
);

/// How a run went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RunState {
    Pending,
    Running,
    Succeeded,
    Failed,
    Cancelled,
}

impl RunState {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    fn parse(text: &str) -> Self {
        let known = [Self::Running, Self::Succeeded, Self::Failed, Self::Cancelled];
        known.into_iter().find(|state| state.name() == text).unwrap_or(Self::Pending)
    }
}

impl fmt::Display for RunState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One run of a step, or of what undoes it.
#[derive(Clone, Debug)]
pub(crate) struct RunRow {
    pub(crate) step: usize,
    pub(crate) item: u32,
    pub(crate) undo: bool,
    pub(crate) state: RunState,
    /// The item that it runs for, as JSON.
    pub(crate) value: Option<String>,
    pub(crate) job: Option<String>,
    /// What it came to, unless that is so large that only its job has it.
    pub(crate) output: Option<String>,
    pub(crate) output_size: u64,
    pub(crate) fault: Option<Fault>,
    pub(crate) started_at: Option<Timestamp>,
    pub(crate) ended_at: Option<Timestamp>,
}

/// How much the outputs of a step are together.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sizes {
    pub(crate) bytes: u64,
    /// How many of them only their jobs have.
    pub(crate) elsewhere: u64,
}

fn read(row: &Row) -> Result<RunRow, StoreError> {
    let fault: Option<String> = row.get(8_usize)?;
    Ok(RunRow {
        step: row.get::<u32>(0_usize)? as usize,
        item: row.get(1_usize)?,
        undo: row.get(2_usize)?,
        state: RunState::parse(&row.get::<String>(3_usize)?),
        value: row.get(4_usize)?,
        job: row.get(5_usize)?,
        output: row.get(6_usize)?,
        output_size: row.get(7_usize)?,
        fault: fault.and_then(|text| serde_json::from_str(&text).ok()),
        started_at: row.get(9_usize)?,
        ended_at: row.get(10_usize)?,
    })
}

fn position(step: usize) -> i64 {
    i64::try_from(step).unwrap_or(i64::MAX)
}

/// Keeps the items that a step will run for.
pub(crate) async fn insert_items(
    tx: &mut Transaction,
    mission: JobId,
    step: usize,
    items: &[Value],
) -> Result<(), StoreError> {
    let mission = mission.to_string();
    let row = |(index, item): (i64, &Value)| params![&mission, position(step), index, item.to_string()];
    let rows: Vec<Params> = (0..).zip(items).map(row).collect();
    tx.execute_each(&ITEMS, &rows).await.map(|_| ())
}

/// A job runs a step, or undoes it.
pub(crate) async fn begin_run(
    tx: &mut Transaction,
    mission: JobId,
    step: usize,
    item: u32,
    undo: bool,
    job: JobId,
    now: Timestamp,
) -> Result<(), StoreError> {
    let params = params![mission.to_string(), position(step), item, undo, job.to_string(), now];
    tx.execute(&BEGIN, params).await.map(|_| ())
}

/// How a run ended.
#[derive(Clone, Debug)]
pub(crate) struct RunEnd {
    pub(crate) state: RunState,
    pub(crate) output: Option<String>,
    pub(crate) output_size: u64,
    pub(crate) fault: Option<Fault>,
}

impl RunEnd {
    pub(crate) fn failed(fault: &Fault) -> Self {
        Self { state: RunState::Failed, output: None, output_size: 0, fault: Some(fault.clone()) }
    }

    pub(crate) fn succeeded(output: &Value) -> Self {
        let output = output.to_string();
        Self {
            state: RunState::Succeeded,
            output_size: output.len() as u64,
            output: Some(output),
            fault: None,
        }
    }
}

pub(crate) async fn end_run(
    tx: &mut Transaction,
    mission: JobId,
    step: usize,
    item: u32,
    undo: bool,
    end: RunEnd,
    now: Timestamp,
) -> Result<(), StoreError> {
    let params = params![
        mission.to_string(),
        position(step),
        item,
        undo,
        end.state.name(),
        end.output,
        i64::try_from(end.output_size).unwrap_or(i64::MAX),
        end.fault.map(|fault| serde_json::to_string(&fault).unwrap_or_default()),
        now,
    ];
    tx.execute(&END, params).await.map(|_| ())
}

pub(crate) async fn find_run_in(
    tx: &mut Transaction,
    mission: JobId,
    step: usize,
    item: u32,
    undo: bool,
) -> Result<Option<RunRow>, StoreError> {
    let params = params![mission.to_string(), position(step), item, undo];
    tx.query_first(&FIND, params).await?.as_ref().map(read).transpose()
}

pub(crate) async fn find_run(
    store: &Store,
    mission: JobId,
    step: usize,
    item: u32,
    undo: bool,
) -> Result<Option<RunRow>, StoreError> {
    let params = params![mission.to_string(), position(step), item, undo];
    store.query_first(&FIND, params).await?.as_ref().map(read).transpose()
}

/// The runs of a step from an item on.
pub(crate) async fn runs_of_step(
    store: &Store,
    mission: JobId,
    step: usize,
    from: u32,
    undo: bool,
    limit: u32,
) -> Result<Vec<RunRow>, StoreError> {
    let params = params![mission.to_string(), position(step), from, undo, limit];
    store.query(&OF_STEP, params).await?.iter().map(read).collect()
}

pub(crate) async fn runs_of_step_in(
    tx: &mut Transaction,
    mission: JobId,
    step: usize,
    limit: u32,
) -> Result<Vec<RunRow>, StoreError> {
    let params = params![mission.to_string(), position(step), 0, false, limit];
    tx.query(&OF_STEP, params).await?.iter().map(read).collect()
}

pub(crate) async fn sizes_of_step(
    tx: &mut Transaction,
    mission: JobId,
    step: usize,
) -> Result<Sizes, StoreError> {
    let row = tx.query_first(&SIZES, params![mission.to_string(), position(step)]).await?;
    row.map_or(Ok(Sizes { bytes: 0, elsewhere: 0 }), |row| {
        Ok(Sizes { bytes: row.get(0_usize)?, elsewhere: row.get(1_usize)? })
    })
}

pub(crate) async fn running_runs(store: &Store, mission: JobId) -> Result<Vec<RunRow>, StoreError> {
    store.query(&RUNNING, params![mission.to_string()]).await?.iter().map(read).collect()
}

pub(crate) async fn first_runs(store: &Store, mission: JobId) -> Result<Vec<RunRow>, StoreError> {
    store.query(&HEADS, params![mission.to_string()]).await?.iter().map(read).collect()
}

/// When each step began and last ended something.
pub(crate) async fn spans_of_steps(
    store: &Store,
    mission: JobId,
) -> Result<Vec<(usize, Option<Timestamp>, Option<Timestamp>)>, StoreError> {
    let rows = store.query(&SPANS, params![mission.to_string()]).await?;
    rows.iter()
        .map(|row| Ok((row.get::<u32>(0_usize)? as usize, row.get(1_usize)?, row.get(2_usize)?)))
        .collect()
}
