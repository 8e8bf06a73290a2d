//! Looking at missions.

use paddock_platform::identity::Tenant;
use serde::{Deserialize, Serialize};

use super::Missions;
use crate::{
    JobError, JobId,
    mission::{
        ApprovalView, MissionBrief, MissionError, MissionView, RunView, graph,
        store::{MissionFilter, MissionRow, sql},
        view::Rows,
    },
};

/// Which missions a list has.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct ListQuery {
    pub(crate) state: Option<crate::mission::Phase>,
    pub(crate) name: Option<String>,
}

async fn find(missions: &Missions, tenant: &Tenant, id: JobId) -> Result<MissionRow, MissionError> {
    if let Some(row) = sql::find_mission(missions.store(), tenant, id).await? {
        return Ok(row);
    }
    // The id of a mission that was kept long enough says so itself.
    match missions.0.jobs.get(tenant, id).await {
        Err(error @ JobError::Expired(_)) => Err(error.into()),
        Err(JobError::Store(error)) => Err(error.into()),
        _ => Err(MissionError::NotFound(id.to_string())),
    }
}

pub(super) async fn get(
    missions: &Missions,
    tenant: &Tenant,
    id: JobId,
) -> Result<MissionView, MissionError> {
    let mission = find(missions, tenant, id).await?;
    let store = missions.store();
    let engine = &missions.0.engine;
    let plan = engine.plans.get(store, tenant, &mission.definition, Some(mission.version)).await?;
    let plan = plan.ok_or_else(|| MissionError::UnknownDefinition(mission.definition.clone()))?;
    let runs = sql::first_runs(store, id).await?;
    let approvals = sql::approvals_of_mission(store, id).await?;
    let spans = sql::spans_of_steps(store, id).await?;
    Ok(MissionView::of(&Rows {
        mission: &mission,
        plan: &plan,
        runs: &runs,
        approvals: &approvals,
        spans: &spans,
    }))
}

pub(super) async fn runs(
    missions: &Missions,
    tenant: &Tenant,
    id: JobId,
    step: &str,
    from: u32,
    limit: u32,
) -> Result<Vec<RunView>, MissionError> {
    let mission = find(missions, tenant, id).await?;
    let plan = missions
        .0
        .engine
        .plans
        .get(missions.store(), tenant, &mission.definition, Some(mission.version))
        .await?;
    let position = plan.as_ref().and_then(|plan| plan.position(step));
    let position = position.ok_or_else(|| MissionError::UnknownStep(step.chars().take(64).collect()))?;
    let rows = sql::runs_of_step(missions.store(), id, position, from, false, limit).await?;
    let count = mission.state.steps[position].items.len().max(1);
    Ok(rows.iter().filter(|row| (row.item as usize) < count).map(RunView::of).collect())
}

pub(super) async fn list(
    missions: &Missions,
    tenant: &Tenant,
    query: &ListQuery,
    before: Option<&str>,
    limit: u32,
) -> Result<Vec<MissionBrief>, MissionError> {
    let filter = MissionFilter {
        phase: query.state.map_or(String::new(), |phase| phase.name().to_owned()),
        definition: query.name.clone().unwrap_or_default(),
    };
    let rows = sql::list_missions(missions.store(), tenant, &filter, before, limit).await?;
    Ok(rows.iter().map(MissionBrief::of).collect())
}

pub(super) async fn open_approvals(
    missions: &Missions,
    tenant: &Tenant,
    limit: u32,
) -> Result<Vec<ApprovalView>, MissionError> {
    let rows = sql::open_approvals(missions.store(), tenant, limit).await?;
    Ok(rows.iter().map(ApprovalView::of).collect())
}

pub(super) async fn graph_svg(
    missions: &Missions,
    tenant: &Tenant,
    id: JobId,
) -> Result<String, MissionError> {
    let view = get(missions, tenant, id).await?;
    Ok(graph::draw(&view))
}
