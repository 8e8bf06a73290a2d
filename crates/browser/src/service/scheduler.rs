//! The queue of tasks: submitting, showing and cancelling them.

use std::time::Duration;

use http::StatusCode;
use jiff::Timestamp;
use paddock_platform::{
    identity::Caller,
    problem::{CONFLICT, NOT_FOUND, Problem, ProblemKind},
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use url::Url;
use utoipa::{IntoParams, ToSchema};

use super::{BrowserService, READ, WRITE, target::NAME_SIZE_MAX};
use crate::scheduler::{NewTask, QueueStats, SchedulerError, SchedulerTally, Task, TaskState};

/// As many tasks wait as may.
pub const QUEUE_FULL: ProblemKind =
    ProblemKind::new("queue-full", StatusCode::TOO_MANY_REQUESTS, "Queue of tasks is full");
/// A batch has more tasks than it may have.
pub const BATCH_TOO_LARGE: ProblemKind =
    ProblemKind::new("batch-too-large", StatusCode::BAD_REQUEST, "Too many tasks in a batch");

/// How long a task may take that names no deadline.
const DEADLINE_DEFAULT: Duration = Duration::from_mins(1);
/// The latest deadline that a task can name.
const DEADLINE_MAX: Duration = Duration::from_hours(24);
/// When a full queue is worth asking again.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// Bytes of a task's parameters.
const PARAMS_SIZE_MAX: usize = 64 << 10;

/// A task for the queue.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct TaskRequest {
    /// The agent that it is done for.
    pub agent_id: String,
    /// Kind of the action, as of `POST /action`.
    pub action: String,
    /// The tab.
    pub tab_id: Option<String>,
    /// The element, by a selector.
    pub selector: Option<String>,
    /// The element, by a reference.
    pub r#ref: Option<String>,
    /// Further members of the action.
    #[schema(value_type = Option<Object>)]
    pub params: Option<Map<String, Value>>,
    /// Of an agent's tasks, those with lower numbers come first.
    pub priority: i64,
    /// When it must have ended; a minute from now if absent.
    pub deadline: Option<String>,
    /// An address that is told of its end with a POST of the task.
    pub callback_url: Option<String>,
}

/// Several tasks of one agent.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct TaskBatchRequest {
    /// The agent that they are done for.
    pub agent_id: String,
    /// An address that is told of the end of each.
    pub callback_url: Option<String>,
    /// The tasks, at most `[browser] task_batch_max`; what they say of agent and callback does not count.
    pub tasks: Vec<TaskRequest>,
}

/// A task was taken in.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TaskSubmitted {
    /// Names it.
    pub task_id: String,
    /// `queued`.
    pub state: TaskState,
    /// Its place in the queue, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub position: Option<usize>,
    /// When.
    #[schema(value_type = String)]
    pub created_at: Timestamp,
}

/// What became of one task of a batch.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TaskBatchItem {
    /// Names it; empty for one that is not a task.
    pub task_id: String,
    /// `queued` or `rejected`.
    pub state: TaskState,
    /// Its place in the queue, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub position: Option<usize>,
    /// Why it was not taken in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// What became of a batch.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct TaskBatch {
    /// One per task, in the request's order.
    pub tasks: Vec<TaskBatchItem>,
    /// How many there are.
    pub submitted: usize,
}

/// Which tasks.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", default)]
#[into_params(parameter_in = Query)]
pub struct TaskQuery {
    /// Those of one agent.
    pub agent_id: Option<String>,
    /// Those in these states, separated by commas.
    pub state: Option<String>,
}

/// Tasks.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct TaskList {
    /// The tasks, the oldest first.
    pub tasks: Vec<Task>,
    /// How many.
    pub count: usize,
}

/// A task was cancelled.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TaskCancelled {
    /// `cancelled`.
    pub status: String,
    /// Which.
    pub task_id: String,
}

/// How the queue does.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct SchedulerView {
    /// What waits and what runs.
    pub queue: QueueStats,
    /// What became of the tasks since the server started.
    pub metrics: SchedulerTally,
    /// The bounds.
    pub config: SchedulerConfig,
}

/// The bounds of the queue.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SchedulerConfig {
    /// `fair-fifo`.
    pub strategy: String,
    /// Tasks that wait.
    pub max_queue_size: usize,
    /// Tasks of one agent that wait.
    pub max_per_agent: usize,
    /// Tasks under way.
    pub max_inflight: usize,
    /// Tasks of one agent under way.
    pub max_per_agent_flight: usize,
    /// As `maxInflight`: every task under way has a worker.
    pub worker_count: usize,
    /// How long results are kept.
    #[serde(rename = "resultTTL")]
    pub result_ttl: String,
}

impl TaskRequest {
    pub(super) fn check(self, now: Timestamp) -> Result<NewTask, Problem> {
        let agent_id = named("agentId", &self.agent_id)?;
        let action = named("action", &self.action)?;
        let given = |text: Option<String>| text.filter(|text| !text.trim().is_empty());
        let callback_url = given(self.callback_url);
        if let Some(url) = &callback_url {
            check_callback(url)?;
        }
        if self.params.as_ref().is_some_and(|params| json!(params).to_string().len() > PARAMS_SIZE_MAX) {
            return Err(Problem::invalid_field("params", format!("are over {PARAMS_SIZE_MAX} bytes")));
        }
        Ok(NewTask {
            agent_id,
            action,
            tab_id: given(self.tab_id),
            selector: given(self.selector),
            r#ref: given(self.r#ref),
            params: self.params,
            priority: self.priority,
            deadline: deadline_of(given(self.deadline).as_deref(), now)?,
            callback_url,
        })
    }
}

fn named(field: &str, text: &str) -> Result<String, Problem> {
    let text = text.trim();
    if text.is_empty() {
        return Err(Problem::invalid_field(field, format!("missing required field '{field}'")));
    }
    if text.len() > NAME_SIZE_MAX {
        return Err(Problem::invalid_field(field, format!("is over {NAME_SIZE_MAX} bytes")));
    }
    Ok(text.to_owned())
}

fn check_callback(text: &str) -> Result<(), Problem> {
    let url: Result<Url, _> = text.parse();
    let web = url.is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    if web { Ok(()) } else { Err(Problem::invalid_field("callbackUrl", "must be an http or https address")) }
}

fn deadline_of(text: Option<&str>, now: Timestamp) -> Result<Timestamp, Problem> {
    let after = |duration| now.checked_add(duration).unwrap_or(Timestamp::MAX);
    let Some(text) = text else { return Ok(after(DEADLINE_DEFAULT)) };
    let deadline: Timestamp =
        text.parse().map_err(|_| Problem::invalid_field("deadline", "must be a time as of RFC 3339"))?;
    if deadline < now {
        return Err(Problem::invalid_field("deadline", "deadline is in the past"));
    }
    Ok(deadline.min(after(DEADLINE_MAX)))
}

impl From<SchedulerError> for Problem {
    fn from(error: SchedulerError) -> Self {
        let text = error.to_string();
        match error {
            SchedulerError::Full { id, .. } => {
                Self::new(QUEUE_FULL, text).retry_after(RETRY_AFTER).with("taskId", id)
            }
            SchedulerError::NotFound(_) => Self::new(NOT_FOUND, text),
            SchedulerError::Ended { .. } => Self::new(CONFLICT, text),
        }
    }
}

impl BrowserService {
    /// Takes a task in.
    pub fn submit_task(&self, caller: &Caller, request: TaskRequest) -> Result<TaskSubmitted, Problem> {
        caller.require(WRITE)?;
        let agent = request.agent_id.clone();
        let new = request.check(Timestamp::now())?;
        let task = self.submit(caller, new).map_err(|error| {
            let (queue, _) = self.shared().scheduler.stats(caller.tenant());
            let options = self.options();
            let details = json!({
                "agentId": agent, "queued": queue.total_queued,
                "maxQueue": options.tasks_queued_max, "maxPerAgent": options.tasks_queued_per_agent_max,
            });
            Problem::from(error).with("details", details)
        })?;
        let Task { task_id, state, position, created_at, .. } = task;
        Ok(TaskSubmitted { task_id, state, position, created_at })
    }

    /// Takes several tasks in; those for which there is no room are rejected one by one.
    pub fn submit_tasks(&self, caller: &Caller, request: TaskBatchRequest) -> Result<TaskBatch, Problem> {
        caller.require(WRITE)?;
        let agent_id = named("agentId", &request.agent_id)?;
        let (count, max) = (request.tasks.len(), self.options().task_batch_max);
        if count == 0 {
            return Err(Problem::invalid_field("tasks", "batch must contain at least one task"));
        }
        if count > max {
            let detail = format!("batch exceeds maximum size: {count} of {max} (`[browser] task_batch_max`)");
            let details = json!({ "submitted": count, "max": max });
            return Err(Problem::new(BATCH_TOO_LARGE, detail).with("details", details));
        }
        let tasks: Vec<TaskBatchItem> = request
            .tasks
            .into_iter()
            .map(|task| {
                let (agent_id, callback_url) = (agent_id.clone(), request.callback_url.clone());
                self.batch_task(caller, TaskRequest { agent_id, callback_url, ..task })
            })
            .collect();
        Ok(TaskBatch { submitted: tasks.len(), tasks })
    }

    fn batch_task(&self, caller: &Caller, request: TaskRequest) -> TaskBatchItem {
        let rejected = |task_id: String, error: String| TaskBatchItem {
            task_id,
            state: TaskState::Rejected,
            position: None,
            error: Some(error),
        };
        match request.check(Timestamp::now()).map(|new| self.submit(caller, new)) {
            Ok(Ok(Task { task_id, state, position, .. })) => {
                TaskBatchItem { task_id, state, position, error: None }
            }
            Ok(Err(error)) => {
                let text = error.to_string();
                let id = if let SchedulerError::Full { id, .. } = error { id } else { String::new() };
                rejected(id, text)
            }
            Err(problem) => rejected(String::new(), problem.detail),
        }
    }

    /// One task.
    pub fn task(&self, caller: &Caller, id: &str) -> Result<Task, Problem> {
        caller.require(READ)?;
        let task = self.shared().scheduler.task(caller.tenant(), id);
        task.ok_or_else(|| SchedulerError::NotFound(id.to_owned()).into())
    }

    /// Tasks, the oldest first.
    pub fn tasks(&self, caller: &Caller, query: &TaskQuery) -> Result<TaskList, Problem> {
        caller.require(READ)?;
        let agent = query.agent_id.as_deref().filter(|agent| !agent.is_empty());
        let names = query.state.as_deref().unwrap_or_default();
        let names: Vec<&str> = names.split(',').map(str::trim).filter(|name| !name.is_empty()).collect();
        // A state that there is none of has no tasks.
        let states: Vec<TaskState> = names.iter().filter_map(|name| TaskState::parse(name)).collect();
        let none = !names.is_empty() && states.is_empty();
        let scheduler = &self.shared().scheduler;
        let tasks = if none { Vec::new() } else { scheduler.list(caller.tenant(), agent, &states) };
        Ok(TaskList { count: tasks.len(), tasks })
    }

    /// Cancels a task that waits or runs.
    pub fn cancel_task(&self, caller: &Caller, id: &str) -> Result<TaskCancelled, Problem> {
        caller.require(WRITE)?;
        let task = self.shared().scheduler.cancel(caller.tenant(), id)?;
        let status = task.state.to_string();
        self.call_back(task);
        Ok(TaskCancelled { status, task_id: id.to_owned() })
    }

    /// How the queue of the caller's tenant does.
    pub fn scheduler_stats(&self, caller: &Caller) -> Result<SchedulerView, Problem> {
        caller.require(READ)?;
        let (queue, metrics) = self.shared().scheduler.stats(caller.tenant());
        let options = self.options();
        let config = SchedulerConfig {
            strategy: "fair-fifo".to_owned(),
            max_queue_size: options.tasks_queued_max,
            max_per_agent: options.tasks_queued_per_agent_max,
            max_inflight: options.tasks_running_max,
            max_per_agent_flight: options.tasks_running_per_agent_max,
            worker_count: options.tasks_running_max,
            result_ttl: options.task_kept_for.to_string(),
        };
        Ok(SchedulerView { queue, metrics, config })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(value: Value) -> Result<NewTask, Problem> {
        serde_json::from_value::<TaskRequest>(value).unwrap().check(Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn what_a_task_must_have_is_named() {
        for (value, field) in [
            (json!({ "action": "click" }), "agentId"),
            (json!({ "agentId": "a" }), "action"),
            (json!({ "agentId": "a", "action": "click", "deadline": "soon" }), "deadline"),
            (json!({ "agentId": "a", "action": "click", "deadline": "1969-01-01T00:00:00Z" }), "deadline"),
            (
                json!({ "agentId": "a", "action": "click", "callbackUrl": "file:///etc/passwd" }),
                "callbackUrl",
            ),
        ] {
            let problem = request(value).unwrap_err();
            assert_eq!(problem.to_document(None)["field"], field, "{problem:?}");
        }
        let task = request(json!({ "agentId": "a", "action": "click" })).unwrap();
        assert_eq!(task.deadline, Timestamp::from_second(60).unwrap());
    }
}
