//! Deciding, cancelling, trying again.

use std::sync::Arc;

use jiff::Timestamp;
use metrics::counter;
use paddock_platform::{
    identity::{Caller, Tenant},
    store::StoreError,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Missions, start::insisting};
use crate::{
    Effects, JobError, JobId, Jobs,
    mission::{
        MissionError, MissionView, OnDeadline,
        engine::{Engine, state_name},
        machine::{Event, Phase, Status},
        metrics::MISSION_APPROVALS_TOTAL,
        plan::Action,
    },
};

const COMMENT_MAX: usize = 2_000;

/// A person's answer.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Decision {
    /// Yes or no.
    pub approve: bool,
    /// Why, for those who look later; 2,000 characters at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
}

/// Says to jobs and watchers what was committed.
pub(crate) fn announce(missions: &Missions, id: JobId, effects: &Effects) {
    announce_jobs(&missions.0.jobs, effects);
    let _ = missions.0.changed.send(id);
}

fn announce_jobs(jobs: &Jobs, effects: &Effects) {
    if !effects.enqueued.is_empty() {
        jobs.announce(&effects.enqueued);
    }
    for ended in &effects.ended {
        jobs.announce_end(ended);
    }
}

/// Who decided, as it is kept: the key, or the agent of a session, or this machine.
fn who(caller: &Caller) -> String {
    match (caller.session(), caller.key_id()) {
        (Some(session), _) => format!("agent {}", session.agent),
        (None, Some(key)) => format!("key {key}"),
        (None, None) => "local".to_owned(),
    }
}

pub(super) async fn decide(
    missions: &Missions,
    caller: &Caller,
    id: JobId,
    step: &str,
    decision: Decision,
) -> Result<MissionView, MissionError> {
    let comment =
        decision.comment.map(|comment| comment.trim().to_owned()).filter(|comment| !comment.is_empty());
    if comment.as_ref().is_some_and(|comment| comment.chars().count() > COMMENT_MAX || comment.contains('\0'))
    {
        return Err(
            JobError::invalid("comment", format!("must have {COMMENT_MAX} characters at most")).into()
        );
    }
    let (tenant, by, approve) = (caller.tenant().clone(), who(caller), decision.approve);
    let asked = (Arc::clone(&missions.0.engine), tenant, step.to_owned(), by, comment);
    let answer = insisting(missions.store(), move |tx| {
        let (engine, tenant, step, by, comment) = asked.clone();
        Box::pin(async move {
            let Some(mut turn) = engine.turn(tx, id).await?.filter(|turn| turn.mission.tenant == tenant)
            else {
                return Ok(Err(MissionError::NotFound(id.to_string())));
            };
            let Some(position) = turn.plan.position(&step) else {
                return Ok(Err(MissionError::UnknownStep(step.chars().take(64).collect())));
            };
            let status = turn.mission.state.steps[position].status;
            if status != Status::Waiting {
                let (what, state) = (format!("the step `{step}`"), state_name(status).to_owned());
                let verb = if approve { "approved" } else { "rejected" };
                return Ok(Err(MissionError::State { what, state, verb }));
            }
            turn.decide(position, approve, Some(&by), comment.as_deref()).await?;
            turn.close(false).await.map(Ok::<Effects, MissionError>)
        })
    })
    .await?;
    let effects = answer?;
    counter!(MISSION_APPROVALS_TOTAL, "decision" => if approve { "approved" } else { "rejected" })
        .increment(1);
    announce(missions, id, &effects);
    missions.get(caller.tenant(), id).await
}

/// What a cancellation found.
enum Found {
    Nothing,
    /// The mission has not begun, or it is no mission: its job is cancelled as any job is.
    Plain,
    Begun(Effects),
}

/// Cancels a job of a mission: if it is a mission itself, so that it compensates before its job ends.
pub(crate) async fn cancel(
    engine: &Arc<Engine>,
    jobs: &Jobs,
    tenant: &Tenant,
    id: JobId,
) -> Result<(), JobError> {
    let asked = (Arc::clone(engine), tenant.clone());
    let found = insisting(&engine.store, move |tx| {
        let (engine, tenant) = asked.clone();
        Box::pin(async move {
            let Some(mut turn) = engine.turn(tx, id).await?.filter(|turn| turn.mission.tenant == tenant)
            else {
                return Ok(Found::Plain);
            };
            match turn.mission.state.phase {
                Phase::Queued => Ok(Found::Plain),
                phase if phase.is_final() => Ok(Found::Nothing),
                _ => {
                    turn.take(Event::Cancel, None).await?;
                    turn.close(false).await.map(Found::Begun)
                }
            }
        })
    })
    .await?;
    match found {
        Found::Nothing => Ok(()),
        Found::Plain => jobs.cancel(tenant, id).await.map(|_| ()),
        Found::Begun(effects) => {
            announce_jobs(jobs, &effects);
            Ok(())
        }
    }
}

pub(super) async fn cancel_and_look(
    missions: &Missions,
    tenant: &Tenant,
    id: JobId,
) -> Result<MissionView, MissionError> {
    let view = missions.get(tenant, id).await?;
    if view.brief.state.is_final() {
        return Err(ended(id, view.brief.state, "cancelled"));
    }
    cancel(&missions.0.engine, &missions.0.jobs, tenant, id).await?;
    let _ = missions.0.changed.send(id);
    missions.get(tenant, id).await
}

fn ended(id: JobId, phase: Phase, verb: &'static str) -> MissionError {
    MissionError::State { what: format!("the mission `{id}`"), state: phase.name().to_owned(), verb }
}

pub(super) async fn retry(
    missions: &Missions,
    tenant: &Tenant,
    id: JobId,
) -> Result<MissionView, MissionError> {
    let view = missions.get(tenant, id).await?;
    if !matches!(view.brief.state, Phase::Failed | Phase::Cancelled) {
        return Err(ended(id, view.brief.state, "retried"));
    }
    missions.0.jobs.retry(tenant, id).await?;
    let _ = missions.0.changed.send(id);
    missions.get(tenant, id).await
}

/// Looks at a mission whose time, or a decision's, may be up.
pub(crate) async fn tick(missions: &Missions, id: JobId, now: Timestamp) -> Result<(), StoreError> {
    let engine = Arc::clone(&missions.0.engine);
    let effects = insisting(missions.store(), move |tx| {
        let engine = Arc::clone(&engine);
        Box::pin(async move {
            let Some(mut turn) = engine.turn(tx, id).await? else { return Ok(None) };
            let runs = matches!(turn.mission.state.phase, Phase::Running | Phase::Concluding);
            if runs && turn.mission.deadline_at <= now {
                turn.take(Event::Deadline, None).await?;
            }
            for step in 0..turn.plan.steps.len() {
                let state = &turn.mission.state.steps[step];
                let is_due = state.due.is_some_and(|due| due <= now.as_millisecond());
                if !is_due || state.status != Status::Waiting {
                    continue;
                }
                let plan = Arc::clone(&turn.plan);
                if let Action::Approval { on_deadline, .. } = &plan.steps[step].action {
                    counter!(MISSION_APPROVALS_TOTAL, "decision" => "expired").increment(1);
                    let comment = Some("nobody decided in time");
                    turn.decide(step, *on_deadline == OnDeadline::Approve, None, comment).await?;
                }
            }
            turn.close(false).await.map(Some)
        })
    })
    .await?;
    if let Some(effects) = effects {
        announce(missions, id, &effects);
    }
    Ok(())
}
