//! One turn: a mission that is locked, what happened to it, and what follows.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use jiff::Timestamp;
use metrics::counter;
use paddock_platform::{
    store::{StoreError, Transaction},
    units::HumanDuration,
};
use serde_json::{Value, json};

use super::{
    Engine, KIND_CANCEL, KIND_EVALUATE, caller_of, context,
    evaluate::{Evaluated, GateValue, Question},
    fault,
    link::{Link, Task},
};
use crate::{
    Effects, Fault, Job, JobError, JobState, Jobs, NewJob, PreparedJob,
    mission::{
        machine::{self, Cause, CauseKind, Command, Event, Gate, Item, Phase, RunOutcome, Status},
        metrics::MISSION_STEPS_TOTAL,
        plan::Plan,
        store::{AskedRow, MissionRow, RunState, StoredFault, sql},
    },
};

/// The priority of what keeps a mission going, within its queue.
const PRIORITY_OF_UPKEEP: i8 = 100;
/// How long the job of a step is kept at least: its mission may still need its output.
const STEP_RETENTION_MIN: Duration = Duration::from_hours(1);

/// See the [module](self).
pub(crate) struct Turn<'t> {
    pub(super) engine: &'t Engine,
    pub(super) jobs: Jobs,
    pub(super) tx: &'t mut Transaction,
    pub(crate) mission: MissionRow,
    pub(crate) plan: Arc<Plan>,
    pub(super) now: Timestamp,
    pub(super) effects: Effects,
    /// Whether the mission has just ended.
    pub(super) ends: bool,
}

/// Something that follows at once, with the reason if it is a failure.
type Next = (Event, Option<Fault>);

impl<'t> Turn<'t> {
    pub(super) fn new(
        engine: &'t Engine,
        jobs: Jobs,
        tx: &'t mut Transaction,
        mission: MissionRow,
        plan: Arc<Plan>,
        now: Timestamp,
    ) -> Self {
        Self { engine, jobs, tx, mission, plan, now, effects: Effects::default(), ends: false }
    }

    /// Takes an event in, and everything that follows from it at once.
    pub(crate) async fn take(&mut self, event: Event, fault: Option<Fault>) -> Result<(), StoreError> {
        let mut events = VecDeque::from([(event, fault)]);
        while let Some((event, fault)) = events.pop_front() {
            let before = self.mission.state.cause;
            let commands = machine::advance(&self.plan.shapes, &mut self.mission.state, &event);
            if before.is_none()
                && let Some(cause) = self.mission.state.cause
            {
                self.mission.fault = Some(self.fault_of_cause(cause, fault));
            }
            for command in commands {
                events.extend(self.perform(command).await?);
            }
        }
        Ok(())
    }

    fn fault_of_cause(&self, cause: Cause, reason: Option<Fault>) -> StoredFault {
        let reason = reason.unwrap_or_else(|| match cause.kind {
            CauseKind::Cancelled => fault("cancelled", "the mission was cancelled"),
            CauseKind::Deadline => fault("deadline", "the mission did not end before its deadline"),
            CauseKind::Failed => fault("failed", "the mission failed"),
        });
        StoredFault {
            class: reason.class,
            message: reason.message,
            step: cause.step.map(|step| self.plan.steps[step].name.clone()),
            item: cause.item,
        }
    }

    async fn perform(&mut self, command: Command) -> Result<Option<Next>, StoreError> {
        match command {
            Command::Evaluate { step } => self.ask(Question::Gate { step }).await,
            Command::Run { step, item } => self.ask(Question::Input { step, item, undo: false }).await,
            Command::Undo { step, item } => self.ask(Question::Input { step, item, undo: true }).await,
            Command::Conclude => self.ask(Question::Output).await,
            // The question was written when it was evaluated.
            Command::Ask { .. } => Ok(None),
            Command::Withdraw { step } => {
                sql::decide(self.tx, self.mission.id, step, None, None, None, self.now).await?;
                Ok(None)
            }
            Command::CancelRunning => {
                let job = NewJob::kind(KIND_CANCEL, json!({"mission": self.mission.id.to_string()}));
                self.upkeep(job, None).await?;
                Ok(None)
            }
            Command::Finish => {
                self.ends = true;
                Ok(None)
            }
        }
    }

    /// Evaluates here and now, or has it done by a job if it takes too much reading.
    async fn ask(&mut self, question: Question) -> Result<Option<Next>, StoreError> {
        let plan = Arc::clone(&self.plan);
        let all: Vec<usize> = (0..plan.steps.len()).collect();
        let environment =
            context::read_in(self.tx, &self.mission, &plan, question.reads(&plan, &all)).await?;
        if let Some(environment) = environment {
            let options = self.engine.options.current();
            let evaluated = question.answer(&plan, &environment, &options, self.now);
            return self.evaluated(question, evaluated).await;
        }
        let task = match question {
            Question::Gate { step } => Task::Gate { step },
            Question::Input { step, item, undo } => Task::Input { step, item, undo },
            Question::Output => Task::Output,
        };
        let job = self.upkeep(NewJob::kind(KIND_EVALUATE, json!({})), Some(task)).await?;
        // A cancellation looks here for what runs.
        if let Question::Input { step, item, undo } = question {
            sql::begin_run(self.tx, self.mission.id, step, item, undo, job.id(), self.now).await?;
        }
        Ok(None)
    }

    /// Enqueues a job that keeps the mission going. That these are refused is a defect; the log has it.
    pub(super) async fn upkeep(
        &mut self,
        job: NewJob,
        task: Option<Task>,
    ) -> Result<PreparedJob, StoreError> {
        let job = NewJob { queue: Some(self.mission.queue.clone()), priority: PRIORITY_OF_UPKEEP, ..job };
        match self.enqueue(job.clone(), task).await? {
            Ok(job) => Ok(job),
            // The configuration has its queue no more.
            Err(JobError::UnknownQueue { .. }) => {
                let job = self.enqueue(NewJob { queue: None, ..job }, task).await?;
                job.map_err(|error| self.stuck(&error))
            }
            Err(error) => Err(self.stuck(&error)),
        }
    }

    fn stuck(&self, error: &JobError) -> StoreError {
        tracing::error!(mission.id = %self.mission.id, %error, "a mission cannot be kept going");
        StoreError::Unavailable(format!("a mission cannot be kept going: {error}"))
    }

    pub(super) async fn enqueue(
        &mut self,
        job: NewJob,
        task: Option<Task>,
    ) -> Result<Result<PreparedJob, JobError>, StoreError> {
        let link = task.map(|task| Link {
            mission: self.mission.id,
            generation: self.mission.state.generation,
            task,
        });
        let left = Duration::try_from(self.mission.deadline_at.duration_since(self.now)).unwrap_or_default();
        let retention_s = (left + self.mission.retention).max(STEP_RETENTION_MIN).as_secs();
        let job = NewJob {
            parent: link.map(|link| link.to_string()),
            retention: Some(HumanDuration::from_secs(retention_s)),
            trace: self.mission.trace.clone(),
            ..job
        };
        let prepared = match self.jobs.prepare(&caller_of(&self.mission), job) {
            Ok(prepared) => prepared,
            Err(error) => return Ok(Err(error)),
        };
        Jobs::enqueue_in(self.tx, &prepared).await?;
        self.effects.enqueued.push(prepared.clone());
        Ok(Ok(prepared))
    }

    /// Goes on with what was evaluated, if it is still wanted.
    pub(super) async fn evaluated(
        &mut self,
        question: Question,
        evaluated: Evaluated,
    ) -> Result<Option<Next>, StoreError> {
        match (question, evaluated) {
            (Question::Gate { step }, Evaluated::Gate(gate)) => self.gated(step, gate).await,
            (Question::Input { step, item, undo: false }, Evaluated::Value(_))
                if self.mission.state.phase != Phase::Running =>
            {
                let fault = fault("cancelled", "the mission ended before the step began");
                Ok(Some(self.run_cancelled(step, item, false, fault).await?))
            }
            (Question::Input { step, item, undo }, Evaluated::Value(input)) => {
                let refused = match input {
                    Ok(input) => self.start(step, item, undo, input).await?.err(),
                    Err(fault) => Some(fault),
                };
                let Some(fault) = refused else { return Ok(None) };
                let end = sql::RunEnd::failed(&fault);
                sql::end_run(self.tx, self.mission.id, step, item, undo, end, self.now).await?;
                let generation = self.mission.state.generation;
                Ok(Some((
                    Event::Ended { generation, step, item, undo, outcome: RunOutcome::Failed },
                    Some(fault),
                )))
            }
            (Question::Output, Evaluated::Value(Ok(output))) => {
                self.mission.output = Some(output.to_string());
                Ok(Some((Event::Concluded { succeeded: true }, None)))
            }
            (Question::Output, Evaluated::Value(Err(fault))) => {
                Ok(Some((Event::Concluded { succeeded: false }, Some(fault))))
            }
            _ => Ok(None),
        }
    }

    async fn gated(
        &mut self,
        step: usize,
        gate: Result<GateValue, Fault>,
    ) -> Result<Option<Next>, StoreError> {
        let id = self.mission.id;
        let (gate, fault) = match gate {
            Ok(GateValue::Skip) => (Gate::Skip, None),
            Ok(GateValue::Once) => (Gate::Run(1), None),
            Ok(GateValue::Items(items)) => {
                sql::insert_items(self.tx, id, step, &items).await?;
                (Gate::Run(u32::try_from(items.len()).unwrap_or(u32::MAX)), None)
            }
            Ok(GateValue::Ask(message, deadline_at)) => {
                let step_name = self.plan.steps[step].name.clone();
                let asked = AskedRow { step, step_name, message, asked_at: self.now, deadline_at };
                sql::ask(self.tx, id, &self.mission.tenant, &asked).await?;
                self.mission.state.steps[step].due = deadline_at.map(Timestamp::as_millisecond);
                (Gate::Run(1), None)
            }
            Err(fault) => {
                sql::end_run(self.tx, id, step, 0, false, sql::RunEnd::failed(&fault), self.now).await?;
                (Gate::Failed, Some(fault))
            }
        };
        Ok(Some((Event::Evaluated { step, gate }, fault)))
    }

    /// The job of a step, or one that evaluated for it, has ended.
    pub(super) async fn job_ended(&mut self, link: Link, job: &Job) -> Result<(), StoreError> {
        if link.generation != self.mission.state.generation {
            return Ok(());
        }
        let (step, item, undo) = match link.task {
            Task::Run { step, item } => (step, item, false),
            Task::Undo { step, item } => (step, item, true),
            // What it evaluated was written with its end.
            _ if job.state == JobState::Succeeded => return Ok(()),
            task => return self.not_evaluated(task, job).await,
        };
        if !self.is_running(step, item, undo) {
            return Ok(());
        }
        let (state, outcome) = match job.state {
            JobState::Succeeded => (RunState::Succeeded, RunOutcome::Succeeded),
            JobState::Cancelled => (RunState::Cancelled, RunOutcome::Cancelled),
            _ => (RunState::Failed, RunOutcome::Failed),
        };
        counter!(MISSION_STEPS_TOTAL, "outcome" => state.name(), "undo" => if undo { "true" } else { "false" }).increment(1);
        let fault = (state != RunState::Succeeded).then(|| {
            job.error.clone().unwrap_or_else(|| fault("cancelled", "the job of the step was cancelled"))
        });
        let inline =
            job.result.as_ref().filter(|result| !result.is_empty()).map(|result| result.as_str().to_owned());
        let size = job.result_size.or(inline.as_ref().map(|text| text.len() as u64)).unwrap_or(0);
        let end = sql::RunEnd { state, output: inline, output_size: size, fault: fault.clone() };
        sql::end_run(self.tx, self.mission.id, step, item, undo, end, self.now).await?;
        self.take(Event::Ended { generation: link.generation, step, item, undo, outcome }, fault).await
    }

    async fn not_evaluated(&mut self, task: Task, job: &Job) -> Result<(), StoreError> {
        let fault = job
            .error
            .clone()
            .unwrap_or_else(|| fault("cancelled", "the evaluation of the step was cancelled"));
        let Some(question) = self.wanted(task) else { return Ok(()) };
        if job.state == JobState::Cancelled
            && let Question::Input { step, item, undo } = question
        {
            let (event, fault) = self.run_cancelled(step, item, undo, fault).await?;
            return self.take(event, fault).await;
        }
        let next = self.evaluated(question, question.failed(fault)).await?;
        match next {
            Some((event, fault)) => self.take(event, fault).await,
            None => Ok(()),
        }
    }

    /// A run ends before anything of it ran.
    async fn run_cancelled(
        &mut self,
        step: usize,
        item: u32,
        undo: bool,
        fault: Fault,
    ) -> Result<Next, StoreError> {
        let end = sql::RunEnd { state: RunState::Cancelled, ..sql::RunEnd::failed(&fault) };
        sql::end_run(self.tx, self.mission.id, step, item, undo, end, self.now).await?;
        let generation = self.mission.state.generation;
        Ok((Event::Ended { generation, step, item, undo, outcome: RunOutcome::Cancelled }, Some(fault)))
    }

    /// The question that a job of this mission answers, if its answer is still wanted.
    pub(super) fn wanted(&self, task: Task) -> Option<Question> {
        let state = &self.mission.state;
        match task {
            Task::Gate { step } => {
                let is_open =
                    state.phase == Phase::Running && state.steps.get(step)?.status == Status::Evaluating;
                is_open.then_some(Question::Gate { step })
            }
            Task::Input { step, item, undo } => {
                self.is_running(step, item, undo).then_some(Question::Input { step, item, undo })
            }
            Task::Output => (state.phase == Phase::Concluding).then_some(Question::Output),
            Task::Run { .. } | Task::Undo { .. } => None,
        }
    }

    fn is_running(&self, step: usize, item: u32, undo: bool) -> bool {
        let place = self.mission.state.steps.get(step).and_then(|step| step.items.get(item as usize));
        place.is_some_and(|place| if undo { place.is_undoing() } else { *place == Item::Running })
    }

    /// What a person decided, or what counts as decided when the time was up.
    pub(crate) async fn decide(
        &mut self,
        step: usize,
        approved: bool,
        by: Option<&str>,
        comment: Option<&str>,
    ) -> Result<(), StoreError> {
        let id = self.mission.id;
        let decided_by = by.map(str::to_owned);
        sql::decide(self.tx, id, step, Some(approved), decided_by, comment.map(str::to_owned), self.now)
            .await?;
        let mut output = json!({"approved": approved, "at": self.now.to_string()});
        for (name, value) in [("by", by), ("comment", comment)] {
            if let Some(value) = value {
                output[name] = Value::String(value.to_owned());
            }
        }
        let mut end = sql::RunEnd::succeeded(&output);
        let mut reason = None;
        if !approved {
            let who = by.unwrap_or("nobody decided in time, which counts as no");
            let said = comment.map_or(String::new(), |comment| format!(": {comment}"));
            let message = if by.is_some() { format!("rejected by {who}{said}") } else { who.to_owned() };
            let fault = fault("rejected", message);
            end = sql::RunEnd { state: RunState::Failed, fault: Some(fault.clone()), ..end };
            reason = Some(fault);
        }
        sql::end_run(self.tx, id, step, 0, false, end, self.now).await?;
        self.take(Event::Decided { step, approved }, reason).await
    }
}
