//! Starts runs of steps, and missions.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use paddock_platform::{
    identity::Tenant,
    store::{StoreError, Transaction},
    units::HumanDuration,
};
use serde_json::{Value, json};

use super::{KIND_RUN, caller_of, fault, fault_of, link::Task, turn::Turn};
use crate::{
    Fault, Job, Jobs, NewJob, PreparedJob,
    mission::{
        MissionError, MissionOptions,
        machine::State,
        plan::{Action, Plan},
        store::{MissionRow, sql},
    },
};

/// A mission that is about to be accepted.
#[derive(Clone, Debug)]
pub(crate) struct NewMission {
    pub(crate) plan: Arc<Plan>,
    pub(crate) inputs: Value,
    /// Its job; its id is the mission's.
    pub(crate) job: PreparedJob,
    pub(crate) parent: Option<String>,
    pub(crate) deadline_at: Timestamp,
    pub(crate) retention: Duration,
}

impl NewMission {
    /// Keeps it, with its job.
    pub(crate) async fn insert(&self, tx: &mut Transaction) -> Result<crate::Accepted, StoreError> {
        let accepted = Jobs::enqueue_in(tx, &self.job).await?;
        if !accepted.existed {
            sql::insert_mission(tx, &self.row(&self.job.job())).await?;
        }
        Ok(accepted)
    }

    fn row(&self, job: &Job) -> MissionRow {
        MissionRow {
            id: job.id,
            tenant: job.tenant.clone(),
            key_id: job.key_id.clone(),
            definition: self.plan.definition.name.clone(),
            version: self.plan.version,
            parent: self.parent.clone(),
            queue: job.queue.to_string(),
            priority: job.priority,
            trace: job.terms.trace.clone(),
            state: State::new(self.plan.steps.len()),
            inputs: self.inputs.to_string(),
            output: None,
            fault: None,
            created_at: job.id.created_at(),
            started_at: None,
            finished_at: None,
            deadline_at: self.deadline_at,
            expires_at: None,
            changes: 1,
            retention: self.retention,
        }
    }
}

/// The job that a mission is.
pub(crate) fn job_of(plan: &Plan, inputs: &Value, retention: Duration, job: NewJob) -> NewJob {
    let name = format!("{}@{}", plan.definition.name, plan.version);
    NewJob {
        tool: None,
        kind: Some(KIND_RUN.to_owned()),
        input: json!({"mission": name, "inputs": inputs}),
        retention: Some(HumanDuration::from(retention)),
        ..job
    }
}

/// When a mission has to be done that begins now.
pub(crate) fn deadline_of(plan: &Plan, options: &MissionOptions, now: Timestamp) -> Timestamp {
    let time = plan.definition.deadline.unwrap_or(options.deadline).get();
    now.checked_add(time).unwrap_or(Timestamp::MAX)
}

/// Checks the inputs of a mission against what its definition asks for.
pub(crate) fn check_inputs(plan: &Plan, inputs: &Value) -> Result<(), MissionError> {
    let refused = |field: String, reason: String| Err(MissionError::Inputs { field, reason });
    if !inputs.is_object() {
        return refused(String::new(), "must be an object".to_owned());
    }
    let Some(schema) = &plan.definition.inputs else { return Ok(()) };
    let Ok(validator) = jsonschema::validator_for(schema) else { return Ok(()) };
    match validator.iter_errors(inputs).next() {
        None => Ok(()),
        Some(error) => {
            let path = error.instance_path().to_string();
            let path = path.trim_start_matches('/').replace('/', ".");
            refused(path, error.masked_with("it").to_string())
        }
    }
}

impl Turn<'_> {
    /// Starts the job of a run, or of undoing it; what is wrong if it cannot be.
    pub(super) async fn start(
        &mut self,
        step: usize,
        item: u32,
        undo: bool,
        input: Value,
    ) -> Result<Result<(), Fault>, StoreError> {
        let plan = Arc::clone(&self.plan);
        let of = &plan.steps[step];
        let (action, timeout, retry) = match &of.undo {
            Some(compensation) if undo => {
                (&compensation.action, compensation.timeout, compensation.retry.clone())
            }
            _ => (&of.action, of.timeout, of.retry.clone()),
        };
        let queue = of.queue.clone().or_else(|| Some(self.mission.queue.clone()));
        let priority = of.priority.unwrap_or(self.mission.priority);
        let task = if undo { Task::Undo { step, item } } else { Task::Run { step, item } };
        let job = match action {
            Action::Tool(name) => NewJob::tool(name, input),
            Action::Kind(kind) => NewJob::kind(kind, input),
            Action::Mission { name, version } => {
                let job = NewJob { queue, priority, ..NewJob::default() };
                let started = self.start_mission(name, *version, input, job, task).await?;
                return self.begun(step, item, undo, started).await;
            }
            Action::Approval { .. } => return Ok(Err(fault("internal", "an approval has no job"))),
        };
        let job = NewJob { queue, priority, timeout, retry, ..job };
        let started = self.enqueue(job, Some(task)).await?.map_err(fault_of);
        self.begun(step, item, undo, started).await
    }

    async fn begun(
        &mut self,
        step: usize,
        item: u32,
        undo: bool,
        started: Result<PreparedJob, Fault>,
    ) -> Result<Result<(), Fault>, StoreError> {
        match started {
            Ok(job) => {
                sql::begin_run(self.tx, self.mission.id, step, item, undo, job.id(), self.now).await?;
                Ok(Ok(()))
            }
            Err(fault) => Ok(Err(fault)),
        }
    }

    /// Starts another mission as a step of this one.
    async fn start_mission(
        &mut self,
        name: &str,
        version: Option<u32>,
        inputs: Value,
        job: NewJob,
        task: Task,
    ) -> Result<Result<PreparedJob, Fault>, StoreError> {
        let tenant: Tenant = self.mission.tenant.clone();
        // It was pinned when this one was stored.
        let plan = self.engine.plans.get_in(self.tx, &tenant, name, version.unwrap_or(1)).await?;
        if let Err(error) = check_inputs(&plan, &inputs) {
            return Ok(Err(fault("mission-inputs", error.to_string())));
        }
        let options = self.engine.options.current();
        let link =
            super::link::Link { mission: self.mission.id, generation: self.mission.state.generation, task };
        let retention = self.mission.retention;
        let job = NewJob { parent: Some(link.to_string()), trace: self.mission.trace.clone(), ..job };
        let job = job_of(&plan, &inputs, retention, job);
        let prepared = match self.jobs.prepare(&caller_of(&self.mission), job) {
            Ok(prepared) => prepared,
            Err(error) => return Ok(Err(fault_of(error))),
        };
        let deadline_at = deadline_of(&plan, &options, self.now).min(self.mission.deadline_at);
        let parent = Some(self.mission.id.to_string());
        let mission = NewMission { plan, inputs, job: prepared.clone(), parent, deadline_at, retention };
        mission.insert(self.tx).await?;
        self.effects.enqueued.push(prepared.clone());
        Ok(Ok(prepared))
    }
}
