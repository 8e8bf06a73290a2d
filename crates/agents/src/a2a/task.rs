//! Tasks: jobs that run an agent, as A2A has them.

use futures_util::{StreamExt, stream};
use jiff::Timestamp;
use paddock_jobs::{Job, JobError, JobFilter, JobId, JobState};
use serde_json::{Value, json};

use super::{
    ANSWER_TIMEOUT, CONTENT_TYPE_NOT_SUPPORTED, Call, Dialect, INTERNAL_ERROR, INVALID_PARAMS, RpcError,
    Sent, TASK_NOT_CANCELABLE, TASK_NOT_FOUND, UNSUPPORTED_OPERATION, error,
    message::{part_of, role},
};
use crate::{
    message::{Content, Label, Performative},
    service::ExecuteInput,
    tools::EXECUTE,
};

/// Jobs that `ListTasks` looks at, the newest first, and how many at once.
const LOOK_MAX: usize = 2_000;
const LOOK_PAGE: u32 = 200;
/// How many of them are looked up at once.
const LOOKS_MAX: usize = 16;
/// Tasks of one page.
const PAGE: usize = 50;
const PAGE_MAX: usize = 100;

/// What a task says of a job.
pub(super) struct State {
    v03: &'static str,
    v10: &'static str,
}

impl State {
    pub(super) const fn name(&self, dialect: Dialect) -> &'static str {
        match dialect {
            Dialect::V03 => self.v03,
            Dialect::V10 => self.v10,
        }
    }
}

/// Where the task of a job stands.
pub(super) fn state_of(job: &Job) -> State {
    let refused = |job: &Job| {
        let problem = job.error.as_ref().and_then(|fault| fault.problem.as_ref());
        problem.is_some_and(|problem| problem["performative"] == Performative::Refuse.name())
    };
    let (v03, v10) = match job.state {
        JobState::Queued | JobState::Scheduled => ("submitted", "TASK_STATE_SUBMITTED"),
        JobState::Running | JobState::Waiting => ("working", "TASK_STATE_WORKING"),
        JobState::Succeeded => ("completed", "TASK_STATE_COMPLETED"),
        JobState::Cancelled => ("canceled", "TASK_STATE_CANCELED"),
        JobState::Failed | JobState::Dead if refused(job) => ("rejected", "TASK_STATE_REJECTED"),
        JobState::Failed | JobState::Dead => ("failed", "TASK_STATE_FAILED"),
    };
    State { v03, v10 }
}

fn input_of(job: &Job) -> Value {
    job.input.value()
}

/// The context of a job's task.
pub(super) fn context_of(job: &Job) -> String {
    input_of(job)["conversation"].as_str().unwrap_or_default().to_owned()
}

/// Where a job's task stands, as A2A has it.
pub(super) fn status_of(job: &Job, dialect: Dialect) -> Value {
    let at: Timestamp = job.finished_at.or(job.started_at).unwrap_or_else(|| job.id.created_at());
    let mut status = json!({ "state": state_of(job).name(dialect), "timestamp": format!("{at:.3}") });
    if let Some(fault) = job.error.as_ref().filter(|_| job.state.is_final()) {
        let text = Content::text(fault.message.clone());
        let mut message = json!({
            "messageId": format!("{}-status", job.id),
            "taskId": job.id.to_string(),
            "contextId": context_of(job),
            "role": role(dialect, false),
            "parts": [part_of(&text, dialect)],
        });
        if dialect == Dialect::V03 {
            message["kind"] = json!("message");
        }
        status["message"] = message;
    }
    status
}

fn content_of(value: &Value) -> Content {
    value.as_str().map_or_else(|| Content::json(value), Content::text)
}

/// What an agent came to, or a piece of it, as the artifact of a job's task.
pub(super) fn artifact_of(job: &Job, content: &Content, dialect: Dialect) -> Value {
    let parts = [part_of(content, dialect)];
    json!({ "artifactId": format!("{}-output", job.id), "name": "output", "parts": parts })
}

/// What was asked, as the message that began the task.
fn request_of(job: &Job, dialect: Dialect) -> Value {
    let mut message = json!({
        "messageId": format!("{}-request", job.id),
        "taskId": job.id.to_string(),
        "contextId": context_of(job),
        "role": role(dialect, true),
        "parts": [part_of(&content_of(&input_of(job)["input"]), dialect)],
    });
    if dialect == Dialect::V03 {
        message["kind"] = json!("message");
    }
    message
}

impl Call<'_> {
    /// What a task asks of the agent.
    pub(super) fn task_input(&self, sent: Sent) -> Result<ExecuteInput, RpcError> {
        if sent.performative != Performative::Request {
            return Err(error(UNSUPPORTED_OPERATION, "tasks are requests; wait for the answers to others"));
        }
        let input = if sent.content.media_type.is_json() {
            sent.content.read().unwrap_or_default()
        } else if let Ok(text) = std::str::from_utf8(&sent.content.body) {
            Value::String(text.to_owned())
        } else {
            return Err(error(
                CONTENT_TYPE_NOT_SUPPORTED,
                "tasks take text and data; wait for the answer to bytes",
            ));
        };
        Ok(ExecuteInput {
            agent: self.name.as_str().to_owned(),
            input,
            conversation: Some(sent.conversation.unwrap_or_else(Label::fresh).as_str().to_owned()),
            timeout: Some(ANSWER_TIMEOUT.as_secs_f64()),
            hearer: None,
        })
    }

    /// Begins a task.
    pub(super) async fn begin_task(&self, sent: Sent) -> Result<Job, RpcError> {
        let accepted = self.agents.begin(self.caller, &self.task_input(sent)?).await;
        let accepted = accepted.map_err(|problem| error(INTERNAL_ERROR, problem.detail))?;
        accepted.job().ok_or_else(|| error(INTERNAL_ERROR, "the task cannot be read"))
    }

    /// The job of a task of this agent.
    pub(super) async fn task(&self, id: &str) -> Result<Job, RpcError> {
        let unknown = || error(TASK_NOT_FOUND, format!("there is no task `{id}`"));
        let parsed: JobId = id.parse().map_err(|_| unknown())?;
        self.own_job(parsed).await?.ok_or_else(unknown)
    }

    fn is_own(&self, job: &Job) -> bool {
        *job.kind == *EXECUTE && input_of(job)["agent"] == self.name.as_str()
    }

    fn id_param(&self) -> Result<&str, RpcError> {
        self.params["id"].as_str().ok_or_else(|| error(INVALID_PARAMS, "`id` names the task"))
    }

    /// The named task.
    pub(super) async fn named_task(&self) -> Result<Job, RpcError> {
        self.task(self.id_param()?).await
    }

    pub(super) async fn get_task(&self) -> Result<Value, RpcError> {
        let job = self.named_task().await?;
        Ok(self.view(&job, self.params["historyLength"] != 0).await)
    }

    /// Cancels a task. What the agent has begun it may still end; its answer is of no use then.
    pub(super) async fn cancel_task(&self) -> Result<Value, RpcError> {
        let job = self.named_task().await?;
        let (jobs, tenant) = (&self.agents.0.jobs, self.caller.tenant());
        match jobs.cancel(tenant, job.id).await {
            Ok(_) => {}
            Err(JobError::State { state, .. }) => {
                return Err(error(TASK_NOT_CANCELABLE, format!("the task is {state} already")));
            }
            Err(cause) => return Err(error(INTERNAL_ERROR, cause.to_string())),
        }
        let ended = jobs.wait(tenant, job.id, ANSWER_TIMEOUT).await;
        let ended = ended.map_err(|cause| error(INTERNAL_ERROR, cause.to_string()))?;
        if ended.state != JobState::Cancelled {
            return Err(error(TASK_NOT_CANCELABLE, format!("the task is {} already", ended.state)));
        }
        Ok(self.view(&ended, false).await)
    }

    /// The tasks of the agent, the newest first.
    pub(super) async fn list_tasks(&self) -> Result<Value, RpcError> {
        let size = match &self.params["pageSize"] {
            Value::Null => PAGE,
            size => size.as_u64().and_then(|size| usize::try_from(size).ok()).unwrap_or(0),
        };
        if !(1..=PAGE_MAX).contains(&size) {
            return Err(error(INVALID_PARAMS, format!("`pageSize` must be 1 to {PAGE_MAX}")));
        }
        let text = |member: &str| self.params[member].as_str().filter(|text| !text.is_empty());
        let (context, state, token) = (text("contextId"), text("status"), text("pageToken"));
        let mut jobs = self.own_jobs().await?;
        jobs.retain(|job| {
            context.is_none_or(|context| context_of(job) == context)
                && state.is_none_or(|state| state_of(job).name(Dialect::V10) == state)
        });
        let total = jobs.len();
        if let Some(token) = token {
            let last: JobId =
                token.parse().map_err(|_| error(INVALID_PARAMS, "`pageToken` is none of ours"))?;
            let known = jobs.iter().position(|job| job.id == last).map_or(total, |at| at + 1);
            jobs.drain(..known);
        }
        let more = jobs.len() > size;
        jobs.truncate(size);
        let next = jobs.last().filter(|_| more).map(|job| job.id.to_string()).unwrap_or_default();
        let mut tasks = Vec::with_capacity(jobs.len());
        for job in &jobs {
            let mut task = self.view(job, false).await;
            if self.params["includeArtifacts"] != true
                && let Some(task) = task.as_object_mut()
            {
                task.remove("artifacts");
            }
            tasks.push(task);
        }
        Ok(json!({ "tasks": tasks, "nextPageToken": next, "pageSize": size, "totalSize": total }))
    }

    /// The jobs of this agent among the newest. Lists of jobs are without what tells whose they are, their inputs: each
    /// is looked up.
    async fn own_jobs(&self) -> Result<Vec<Job>, RpcError> {
        let filter = JobFilter { kind: Some(EXECUTE.to_owned()), ..JobFilter::default() };
        let (mut own, mut last, mut seen) = (Vec::new(), None, 0);
        while seen < LOOK_MAX {
            let page = self.agents.0.jobs.list(self.caller.tenant(), &filter, last, LOOK_PAGE).await;
            let page = page.map_err(|cause| error(INTERNAL_ERROR, cause.to_string()))?;
            seen += page.len();
            last = page.last().map(|job| job.id);
            let is_last = page.len() < LOOK_PAGE as usize;
            let mut whole =
                stream::iter(page.into_iter().map(|job| self.own_job(job.id))).buffered(LOOKS_MAX);
            while let Some(job) = whole.next().await {
                own.extend(job?);
            }
            if is_last {
                break;
            }
        }
        Ok(own)
    }

    /// The job of this id, if it is this agent's.
    async fn own_job(&self, id: JobId) -> Result<Option<Job>, RpcError> {
        match self.agents.0.jobs.get(self.caller.tenant(), id).await {
            Ok(job) => Ok(Some(job).filter(|job| self.is_own(job))),
            Err(JobError::NotFound(_) | JobError::Expired(_)) => Ok(None),
            Err(cause) => Err(error(INTERNAL_ERROR, cause.to_string())),
        }
    }

    /// What the agent came to, as an artifact.
    pub(super) async fn artifact(&self, job: &Job) -> Option<Value> {
        if job.state != JobState::Succeeded {
            return None;
        }
        let result = self.agents.0.jobs.result(self.caller.tenant(), job.id).await.ok().flatten()?;
        let result: Value = serde_json::from_slice(&result).ok()?;
        Some(artifact_of(job, &content_of(&result["output"]), self.dialect))
    }

    /// A job as a task.
    pub(super) async fn view(&self, job: &Job, with_history: bool) -> Value {
        let mut task = json!({
            "id": job.id.to_string(),
            "contextId": context_of(job),
            "status": status_of(job, self.dialect),
        });
        if self.dialect == Dialect::V03 {
            task["kind"] = json!("task");
        }
        if let Some(artifact) = self.artifact(job).await {
            task["artifacts"] = json!([artifact]);
        }
        if with_history {
            task["history"] = json!([request_of(job, self.dialect)]);
        }
        task
    }
}
