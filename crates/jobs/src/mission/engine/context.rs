//! What the expressions of a mission can refer to, put together from its rows.

use std::collections::BTreeSet;

use paddock_platform::store::{StoreError, Transaction};
use serde_json::{Value, json};

use super::Engine;
use crate::{
    Fault,
    mission::{
        expression::{Environment, StepValue},
        machine::Status,
        plan::Plan,
        store::{MissionRow, RunRow, RunState, sql},
    },
};

/// Outputs up to this size together are read within a transaction.
const READ_IN_TRANSACTION_MAX: u64 = 256 << 10;
/// Outputs that one evaluation may read altogether.
const READ_MAX: u64 = 64 << 20;
/// Rows of one step that are read at once.
const ROWS_MAX: u32 = 50_000;

/// What an evaluation reads.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reads<'a> {
    /// Steps whose outputs are read.
    pub(super) outputs: &'a BTreeSet<usize>,
    /// Steps whose states may be read.
    pub(super) states: &'a [usize],
    /// The item that it is about, and whether its own output is read.
    pub(super) item: Option<(usize, u32, bool)>,
}

fn bare(mission: &MissionRow, plan: &Plan, states: &[usize]) -> Environment {
    let steps = states.iter().map(|step| {
        let value =
            StepValue { state: state_name(mission.state.steps[*step].status), ..StepValue::default() };
        (plan.steps[*step].name.clone(), value)
    });
    Environment {
        inputs: serde_json::from_str(&mission.inputs).unwrap_or_default(),
        mission: json!({
            "id": mission.id.to_string(), "name": mission.definition, "version": mission.version,
        }),
        steps: steps.collect(),
        item: None,
        output: None,
    }
}

pub(crate) const fn state_name(status: Status) -> &'static str {
    match status {
        Status::Pending => "pending",
        Status::Evaluating => "evaluating",
        Status::Running => "running",
        Status::Waiting => "waiting",
        Status::Succeeded => "succeeded",
        Status::Failed => "failed",
        Status::Skipped => "skipped",
        Status::Cancelled => "cancelled",
    }
}

fn parsed(text: Option<&String>) -> Value {
    text.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
}

/// A step as later ones see it. Of one that ran for each of a list the output is the list of outputs, with null for what
/// did not succeed.
fn step_value(mission: &MissionRow, plan: &Plan, step: usize, rows: &[RunRow]) -> StepValue {
    let state = &mission.state.steps[step];
    let output = |row: &RunRow| {
        if row.state == RunState::Succeeded { parsed(row.output.as_ref()) } else { Value::Null }
    };
    // Of an earlier generation there may be more.
    let count = if plan.steps[step].for_each.is_some() { state.items.len() } else { 1 };
    let rows = &rows[..rows.len().min(count)];
    let has_output = state.status == Status::Succeeded || state.status == Status::Failed;
    let value = if plan.steps[step].for_each.is_some() {
        if has_output { rows.iter().map(output).collect() } else { Value::Null }
    } else {
        rows.first().filter(|_| has_output).map(output).unwrap_or_default()
    };
    let error = rows.iter().find_map(|row| row.fault.as_ref());
    StepValue {
        output: value,
        state: state_name(state.status),
        error: error.map_or(Value::Null, |fault| json!({"class": fault.class, "message": fault.message})),
    }
}

/// Reads within a transaction; `None` if there is so much that it has to be done outside of one.
pub(super) async fn read_in(
    tx: &mut Transaction,
    mission: &MissionRow,
    plan: &Plan,
    reads: Reads<'_>,
) -> Result<Option<Environment>, StoreError> {
    let mut environment = bare(mission, plan, reads.states);
    let mut bytes = 0;
    for step in reads.outputs {
        let sizes = sql::sizes_of_step(tx, mission.id, *step).await?;
        bytes += sizes.bytes;
        if sizes.elsewhere > 0 || bytes > READ_IN_TRANSACTION_MAX {
            return Ok(None);
        }
    }
    for step in reads.outputs {
        let rows = sql::runs_of_step_in(tx, mission.id, *step, ROWS_MAX).await?;
        environment.steps.insert(plan.steps[*step].name.clone(), step_value(mission, plan, *step, &rows));
    }
    if let Some((step, item, own)) = reads.item {
        let run = sql::find_run_in(tx, mission.id, step, item, false).await?;
        if own && run.as_ref().is_some_and(|run| run.output.is_none() && run.output_size > 0) {
            return Ok(None);
        }
        add_item(&mut environment, plan, step, item, run);
    }
    Ok(Some(environment))
}

fn add_item(environment: &mut Environment, plan: &Plan, step: usize, item: u32, run: Option<RunRow>) {
    if let Some(run) = run {
        if plan.steps[step].for_each.is_some() {
            environment.item = Some((parsed(run.value.as_ref()), item));
        }
        environment.output = Some(parsed(run.output.as_ref()));
    }
}

impl Engine {
    /// Reads outside of a transaction, whatever the size.
    pub(super) async fn read(
        &self,
        mission: &MissionRow,
        plan: &Plan,
        reads: Reads<'_>,
    ) -> Result<Result<Environment, Fault>, StoreError> {
        let mut environment = bare(mission, plan, reads.states);
        let mut bytes = 0;
        for step in reads.outputs {
            let mut rows = sql::runs_of_step(&self.store, mission.id, *step, 0, false, ROWS_MAX).await?;
            for row in &mut rows {
                bytes += row.output_size;
                if bytes > READ_MAX {
                    let name = &plan.steps[*step].name;
                    let message = format!(
                        "the outputs of `{name}` and others have more than {READ_MAX} bytes together"
                    );
                    return Ok(Err(super::fault("input-too-large", message)));
                }
                self.fetch(mission, row).await?;
            }
            environment.steps.insert(plan.steps[*step].name.clone(), step_value(mission, plan, *step, &rows));
        }
        if let Some((step, item, own)) = reads.item {
            let mut run = sql::find_run(&self.store, mission.id, step, item, false).await?;
            if let Some(run) = run.as_mut().filter(|_| own) {
                self.fetch(mission, run).await?;
            }
            add_item(&mut environment, plan, step, item, run);
        }
        Ok(Ok(environment))
    }

    /// Gets an output that only its job has.
    async fn fetch(&self, mission: &MissionRow, run: &mut RunRow) -> Result<(), StoreError> {
        if run.output.is_some() || run.output_size == 0 {
            return Ok(());
        }
        let Some(job) = run.job.as_deref().and_then(|job| job.parse().ok()) else { return Ok(()) };
        let bytes = self.jobs()?.result(&mission.tenant, job).await;
        let bytes =
            bytes.map_err(|error| StoreError::Unavailable(format!("an output cannot be read: {error}")))?;
        run.output = bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        Ok(())
    }
}
