//! Missions as their callers see them.

mod definition;
mod step;

use std::collections::BTreeMap;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

pub use self::{
    definition::{DefinitionView, StoredDefinition},
    step::{ApprovalView, CompensationView, ItemCounts, RunView, StepView},
};
use super::{
    Phase,
    machine::{Item, Status},
    plan::Plan,
    store::{ApprovalRow, MissionRow, RunRow, StoredFault},
};
use crate::JobId;

/// Why a mission failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema, ToSchema)]
pub struct MissionFault {
    /// What kind of failure: a problem's slug, `timeout`, `rejected`, `deadline`, `cancelled`, `expression`.
    pub class: String,
    /// A sentence for the person who looks.
    pub message: String,
    /// The step that failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
    /// The item that it failed for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub item: Option<u32>,
}

impl MissionFault {
    fn of(fault: &StoredFault) -> Self {
        Self {
            class: fault.class.clone(),
            message: fault.message.clone(),
            step: fault.step.clone(),
            item: fault.item,
        }
    }
}

/// How a mission stands, without its graph: what a list has of it.
#[derive(Clone, Debug, Serialize, JsonSchema, ToSchema)]
pub struct MissionBrief {
    /// Its id, which is also that of its job.
    pub id: JobId,
    /// The name of its definition.
    pub name: String,
    /// The version of its definition.
    pub version: u32,
    /// Where it stands.
    pub state: Phase,
    /// The mission that it is a step of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
    /// When it was accepted.
    #[schemars(with = "String")]
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When it began.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub started_at: Option<Timestamp>,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub finished_at: Option<Timestamp>,
    /// When it has to be done.
    #[schemars(with = "String")]
    #[schema(value_type = String, format = DateTime)]
    pub deadline_at: Timestamp,
    /// Steps that have ended.
    pub steps_done: usize,
    /// Steps that there are.
    pub steps_total: usize,
    /// Steps that wait for a person.
    pub approvals_open: usize,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<MissionFault>,
    /// Grows with every change.
    pub changes: u64,
}

impl MissionBrief {
    pub(crate) fn of(row: &MissionRow) -> Self {
        let steps = &row.state.steps;
        Self {
            id: row.id,
            name: row.definition.clone(),
            version: row.version,
            state: row.state.phase,
            parent: row.parent.clone(),
            created_at: row.created_at,
            started_at: row.started_at,
            finished_at: row.finished_at,
            deadline_at: row.deadline_at,
            steps_done: steps.iter().filter(|step| step.status.has_ended()).count(),
            steps_total: steps.len(),
            approvals_open: steps.iter().filter(|step| step.status == Status::Waiting).count(),
            error: row.fault.as_ref().map(MissionFault::of),
            changes: row.changes,
        }
    }
}

/// A mission with its graph.
#[derive(Clone, Debug, Serialize, JsonSchema, ToSchema)]
pub struct MissionView {
    /// How it stands.
    #[serde(flatten)]
    pub brief: MissionBrief,
    /// What the definition says it is for.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// What it was started with.
    #[schema(value_type = Object)]
    pub inputs: Value,
    /// What it came to, once it succeeded.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub output: Option<Value>,
    /// Whether something that was done could not be undone.
    pub compensation_incomplete: bool,
    /// The steps in the order of the definition; `needs` are the edges of the graph.
    pub steps: Vec<StepView>,
    /// Until when it is kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub expires_at: Option<Timestamp>,
    /// How often it was retried.
    pub retries: u32,
    /// Where to go from here.
    pub links: BTreeMap<&'static str, String>,
}

fn parsed(text: Option<&String>) -> Option<Value> {
    text.and_then(|text| serde_json::from_str(text).ok())
}

/// The rows that a whole mission is shown from.
pub(crate) struct Rows<'a> {
    pub(crate) mission: &'a MissionRow,
    pub(crate) plan: &'a Plan,
    /// The first run of each step, and of its undoing.
    pub(crate) runs: &'a [RunRow],
    pub(crate) approvals: &'a [ApprovalRow],
    pub(crate) spans: &'a [(usize, Option<Timestamp>, Option<Timestamp>)],
}

impl MissionView {
    pub(crate) fn of(rows: &Rows<'_>) -> Self {
        let Rows { mission, plan, .. } = rows;
        let base = format!("/missions/{}", mission.id);
        let link = |end: &str| format!("{base}{end}");
        let links = BTreeMap::from([
            ("self", base.clone()),
            ("graph", link("/graph.svg")),
            ("events", link("/events")),
            ("cancel", link("/cancel")),
            ("retry", link("/retry")),
            ("job", format!("/jobs/{}", mission.id)),
        ]);
        let undo_failed = |item| matches!(item, Item::UndoFailed | Item::UndoFailedTried);
        Self {
            brief: MissionBrief::of(mission),
            description: plan.definition.description.clone(),
            inputs: serde_json::from_str(&mission.inputs).unwrap_or_default(),
            output: parsed(mission.output.as_ref()).filter(|_| mission.state.phase == Phase::Succeeded),
            compensation_incomplete: mission.state.any_item(undo_failed),
            steps: (0..plan.steps.len()).map(|step| step::step_view(rows, step)).collect(),
            expires_at: mission.expires_at,
            retries: mission.state.generation,
            links,
        }
    }
}
