//! The jobs that missions are made of, beside those of their steps.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use paddock_platform::{
    identity::Tenant,
    store::{StoreError, Transaction},
};
use serde_json::Value;

use super::{
    Engine, MissionHook,
    finish::finish_of,
    link::{Link, Task},
};
use crate::{
    Applied, Effects, JobContext, JobError, JobFailure, JobId, JobKind, Jobs, Outcome,
    mission::{
        machine::{Event, Phase},
        store::sql,
    },
};

/// A mission: it begins, or goes on after a failure, when this job has its turn; then the job waits for its end.
pub(crate) const KIND_RUN: &str = "mission:run";
/// Evaluates expressions over outputs that are too large for a transaction.
pub(crate) const KIND_EVALUATE: &str = "mission:evaluate";
/// Cancels what a mission runs.
pub(crate) const KIND_CANCEL: &str = "mission:cancel";
/// Ends the job of a mission that ended in the moment in which it began.
pub(crate) const KIND_FINISH: &str = "mission:finish";

/// Adds them, and the hook, to what can run.
pub(crate) fn register(engine: &Arc<Engine>, jobs: &Jobs) {
    let registry = jobs.registry();
    registry.add_kind(KIND_RUN, Arc::new(Run(Arc::clone(engine))));
    registry.add_kind(KIND_EVALUATE, Arc::new(Evaluate(Arc::clone(engine))));
    registry.add_kind(KIND_CANCEL, Arc::new(Cancel(Arc::clone(engine))));
    registry.add_kind(KIND_FINISH, Arc::new(End(Arc::clone(engine))));
    registry.add_hook(Arc::new(MissionHook(Arc::clone(engine))));
}

fn broken(error: &StoreError) -> JobFailure {
    JobFailure::new("store", error.to_string())
}

struct Run(Arc<Engine>);

impl JobKind for Run {
    fn run(&self, context: JobContext) -> BoxFuture<'static, Result<Outcome, JobFailure>> {
        let (engine, id) = (Arc::clone(&self.0), context.job.id);
        let outcome = Outcome::wait(move |tx| {
            let engine = Arc::clone(&engine);
            Box::pin(async move { begin(&engine, tx, id).await })
        });
        Box::pin(std::future::ready(Ok(outcome)))
    }
}

async fn begin(engine: &Engine, tx: &mut Transaction, id: JobId) -> Result<Applied, StoreError> {
    let Some(mut turn) = engine.turn(tx, id).await? else { return Ok(Applied::default()) };
    let event = match turn.mission.state.phase {
        Phase::Failed | Phase::Cancelled => {
            turn.reopen();
            Event::Retry
        }
        _ => Event::Start,
    };
    turn.take(event, None).await?;
    let effects = turn.close(true).await?;
    Ok(Applied { result: Value::Null, effects })
}

struct Evaluate(Arc<Engine>);

impl JobKind for Evaluate {
    fn run(&self, context: JobContext) -> BoxFuture<'static, Result<Outcome, JobFailure>> {
        let engine = Arc::clone(&self.0);
        Box::pin(async move {
            let link = context.job.parent.as_deref().and_then(Link::parse);
            let link =
                link.ok_or_else(|| JobFailure::new("internal", "the job has no mission").permanent())?;
            evaluate(&engine, &context.job.tenant, link).await.map_err(|error| broken(&error))
        })
    }
}

async fn evaluate(engine: &Arc<Engine>, tenant: &Tenant, link: Link) -> Result<Outcome, StoreError> {
    let Some(mission) = sql::find_mission(&engine.store, tenant, link.mission).await? else {
        return Ok(Outcome::Done(Value::Null));
    };
    let plan = engine.plans.get(&engine.store, tenant, &mission.definition, Some(mission.version)).await?;
    let question = match link.task {
        Task::Gate { step } => super::evaluate::Question::Gate { step },
        Task::Input { step, item, undo } => super::evaluate::Question::Input { step, item, undo },
        _ => super::evaluate::Question::Output,
    };
    let Some(plan) = plan.filter(|_| mission.state.generation == link.generation) else {
        return Ok(Outcome::Done(Value::Null));
    };
    let all: Vec<usize> = (0..plan.steps.len()).collect();
    let options = engine.options.current();
    let now = jiff::Timestamp::now();
    let evaluated = match engine.read(&mission, &plan, question.reads(&plan, &all)).await? {
        Ok(environment) => question.answer(&plan, &environment, &options, now),
        Err(fault) => question.failed(fault),
    };
    let engine = Arc::clone(engine);
    Ok(Outcome::apply(move |tx| {
        let (engine, evaluated) = (Arc::clone(&engine), evaluated.clone());
        Box::pin(async move {
            let Some(mut turn) = engine.turn(tx, link.mission).await? else { return Ok(Applied::default()) };
            let is_wanted =
                turn.mission.state.generation == link.generation && turn.wanted(link.task).is_some();
            if is_wanted && let Some((event, fault)) = turn.evaluated(question, evaluated).await? {
                turn.take(event, fault).await?;
            }
            let effects = turn.close(false).await?;
            Ok(Applied { result: Value::Null, effects })
        })
    }))
}

fn mission_of(context: &JobContext) -> Result<JobId, JobFailure> {
    let id = context.job.input.value()["mission"].as_str().and_then(|id| id.parse().ok());
    id.ok_or_else(|| JobFailure::new("internal", "the job has no mission").permanent())
}

struct Cancel(Arc<Engine>);

impl JobKind for Cancel {
    fn run(&self, context: JobContext) -> BoxFuture<'static, Result<Outcome, JobFailure>> {
        let engine = Arc::clone(&self.0);
        Box::pin(async move {
            let mission = mission_of(&context)?;
            let jobs = engine.jobs().map_err(|error| broken(&error))?;
            let tenant = &context.job.tenant;
            let running = sql::running_runs(&engine.store, mission).await.map_err(|error| broken(&error))?;
            for job in running.into_iter().filter_map(|run| run.job?.parse::<JobId>().ok()) {
                match super::super::cancel(&engine, &jobs, tenant, job).await {
                    Ok(()) | Err(JobError::State { .. } | JobError::NotFound(_) | JobError::Expired(_)) => {}
                    Err(error) => return Err(JobFailure::new("cancel", error.to_string())),
                }
            }
            Ok(Outcome::Done(Value::Null))
        })
    }
}

struct End(Arc<Engine>);

impl JobKind for End {
    fn run(&self, context: JobContext) -> BoxFuture<'static, Result<Outcome, JobFailure>> {
        let engine = Arc::clone(&self.0);
        let mission = mission_of(&context);
        let tenant = context.job.tenant.clone();
        Box::pin(async move {
            let mission = mission?;
            Ok(Outcome::apply(move |tx| {
                let (engine, tenant) = (Arc::clone(&engine), tenant.clone());
                Box::pin(async move {
                    let row = sql::lock_mission(tx, mission).await?;
                    let Some(row) = row.filter(|row| row.state.phase.is_final()) else {
                        return Ok(Applied::default());
                    };
                    let ended = engine.jobs()?.finish_in(tx, &tenant, mission, finish_of(&row)).await?;
                    let effects = Effects { ended: ended.into_iter().collect(), ..Effects::default() };
                    Ok(Applied { result: Value::Null, effects })
                })
            }))
        })
    }
}
