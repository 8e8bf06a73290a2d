//! Steps, their runs, and what people are asked, as their callers see them.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::{Rows, parsed};
use crate::{
    Fault,
    mission::{
        engine::state_name,
        machine::{Item, Status, StepState},
        plan::PlanStep,
        store::{ApprovalRow, RunRow},
    },
};

/// A step of a mission.
#[derive(Clone, Debug, Serialize, JsonSchema, ToSchema)]
pub struct StepView {
    /// Its name.
    pub name: String,
    /// What the definition says it is for.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// `tool`, `kind`, `mission` or `approval`.
    pub kind: &'static str,
    /// What it calls; absent for an approval.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// The steps before it.
    pub needs: Vec<String>,
    /// `pending`, `evaluating`, `running`, `waiting` (for a person), `succeeded`, `failed`, `skipped`, `cancelled` (it was
    /// stopped or never ran, because the mission ended) or `compensated`.
    pub state: &'static str,
    /// The job that runs it, unless it runs for each of a list: then its runs have jobs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub job: Option<String>,
    /// What it came to, unless that is large (its job has it) or a list (its runs have it).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub output: Option<Value>,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<Fault>,
    /// How its runs stand, if it runs for each of a list.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub items: Option<ItemCounts>,
    /// What a person is or was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub approval: Option<ApprovalView>,
    /// What undid it, if something did or tried to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compensation: Option<CompensationView>,
    /// When it began.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub started_at: Option<Timestamp>,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub ended_at: Option<Timestamp>,
}

/// How the runs of a step stand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema, ToSchema)]
pub struct ItemCounts {
    /// All of them.
    pub total: usize,
    /// Those that wait.
    pub pending: usize,
    /// Those that run.
    pub running: usize,
    /// Those that succeeded and stand.
    pub succeeded: usize,
    /// Those that failed.
    pub failed: usize,
    /// Those that were cancelled.
    pub cancelled: usize,
    /// Those that were undone.
    pub compensated: usize,
}

impl ItemCounts {
    fn of(state: &StepState) -> Self {
        let mut counts = Self { total: state.items.len(), ..Self::default() };
        for item in &state.items {
            *match item {
                Item::Pending => &mut counts.pending,
                Item::Running | Item::Undoing | Item::UndoingTried => &mut counts.running,
                Item::Succeeded | Item::UndoFailed => &mut counts.succeeded,
                Item::Failed | Item::UndoFailedTried => &mut counts.failed,
                Item::Cancelled => &mut counts.cancelled,
                Item::Undone => &mut counts.compensated,
            } += 1;
        }
        counts
    }
}

/// How undoing a step stands.
#[derive(Clone, Debug, Serialize, JsonSchema, ToSchema)]
pub struct CompensationView {
    /// `running`, `succeeded` or `failed`.
    pub state: &'static str,
    /// The job that undoes or undid it; of a step that runs for each of a list, the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub job: Option<String>,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<Fault>,
}

/// What a person is asked, and what they said.
#[derive(Clone, Debug, Serialize, JsonSchema, ToSchema)]
pub struct ApprovalView {
    /// The mission that asks.
    pub mission: String,
    /// The step that asks.
    pub step: String,
    /// What is asked.
    pub message: String,
    /// Since when.
    #[schemars(with = "String")]
    #[schema(value_type = String, format = DateTime)]
    pub asked_at: Timestamp,
    /// Until when.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub deadline_at: Option<Timestamp>,
    /// When it was decided, or withdrawn because the mission ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub decided_at: Option<Timestamp>,
    /// What was decided; absent while nothing is, and if it was withdrawn.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub approved: Option<bool>,
    /// Who decided; absent if the time was up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// What they said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
}

impl ApprovalView {
    pub(crate) fn of(row: &ApprovalRow) -> Self {
        Self {
            mission: row.mission.clone(),
            step: row.asked.step_name.clone(),
            message: row.asked.message.clone(),
            asked_at: row.asked.asked_at,
            deadline_at: row.asked.deadline_at,
            decided_at: row.decided_at,
            approved: row.approved,
            by: row.decided_by.clone(),
            comment: row.comment.clone(),
        }
    }
}

/// One run of a step.
#[derive(Clone, Debug, Serialize, JsonSchema, ToSchema)]
pub struct RunView {
    /// Its position in the list; 0 for a step that runs once.
    pub item: u32,
    /// `pending`, `running`, `succeeded`, `failed` or `cancelled`.
    pub state: &'static str,
    /// What it runs for.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub value: Option<Value>,
    /// The job that runs it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub job: Option<String>,
    /// What it came to, unless that is so large that only its job has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub output: Option<Value>,
    /// Bytes of what it came to.
    pub output_size: u64,
    /// When it began.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub started_at: Option<Timestamp>,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub ended_at: Option<Timestamp>,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<Fault>,
}

impl RunView {
    pub(crate) fn of(run: &RunRow) -> Self {
        Self {
            item: run.item,
            state: run.state.name(),
            value: parsed(run.value.as_ref()),
            job: run.job.clone(),
            output: parsed(run.output.as_ref()),
            output_size: run.output_size,
            started_at: run.started_at,
            ended_at: run.ended_at,
            error: run.fault.clone(),
        }
    }
}

/// The state of a step for people: what was undone says so.
fn shown_state(state: &StepState) -> &'static str {
    let done = state.items.contains(&Item::Undone);
    let left =
        state.items.iter().any(|item| matches!(item, Item::Succeeded | Item::UndoFailed | Item::Undoing));
    if done && !left && state.status == Status::Succeeded { "compensated" } else { state_name(state.status) }
}

pub(super) fn step_view(rows: &Rows<'_>, step: usize) -> StepView {
    let plan: &PlanStep = &rows.plan.steps[step];
    let state = &rows.mission.state.steps[step];
    let run = |undo| rows.runs.iter().find(|run| run.step == step && run.undo == undo);
    let has_run = state.status != Status::Pending;
    let first = run(false).filter(|_| has_run);
    let is_single = plan.for_each.is_none();
    let span = rows.spans.iter().find(|(of, _, _)| *of == step && has_run);
    let approval = rows.approvals.iter().find(|approval| approval.asked.step == step).map(ApprovalView::of);
    let target = plan.action.target();
    StepView {
        name: plan.name.clone(),
        description: rows.plan.definition.steps[step].description.clone(),
        kind: plan.action.noun(),
        target: (!target.is_empty()).then(|| target.to_owned()),
        needs: plan.needs.iter().map(|need| rows.plan.steps[*need].name.clone()).collect(),
        state: shown_state(state),
        job: first.filter(|_| is_single).and_then(|run| run.job.clone()),
        output: first.filter(|_| is_single).and_then(|run| parsed(run.output.as_ref())),
        error: first.and_then(|run| run.fault.clone()).filter(|_| state.status != Status::Succeeded),
        items: (!is_single && !state.items.is_empty()).then(|| ItemCounts::of(state)),
        started_at: span
            .and_then(|(_, from, _)| *from)
            .or(approval.as_ref().map(|approval| approval.asked_at)),
        ended_at: span.and_then(|(_, _, to)| *to).filter(|_| state.status.has_ended()),
        approval,
        compensation: compensation(state, run(true)),
    }
}

fn compensation(state: &StepState, run: Option<&RunRow>) -> Option<CompensationView> {
    let has = |is: fn(&Item) -> bool| state.items.iter().any(is);
    let name = if has(|item| item.is_undoing()) {
        "running"
    } else if has(|item| matches!(item, Item::UndoFailed | Item::UndoFailedTried)) {
        "failed"
    } else if has(|item| *item == Item::Undone) {
        "succeeded"
    } else {
        return None;
    };
    Some(CompensationView {
        state: name,
        job: run.and_then(|run| run.job.clone()),
        error: run.and_then(|run| run.fault.clone()),
    })
}
