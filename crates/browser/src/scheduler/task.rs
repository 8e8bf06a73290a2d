//! One task and the states that it passes.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

/// How far a task is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum TaskState {
    /// It waits for its turn.
    Queued,
    /// It is under way.
    Running,
    /// It ended well.
    Done,
    /// It ended badly, or its time was over before it began.
    Failed,
    /// Somebody cancelled it.
    Cancelled,
    /// It was not taken in.
    Rejected,
}

impl TaskState {
    /// Whether it stays as it is.
    pub fn is_terminal(self) -> bool {
        !matches!(self, Self::Queued | Self::Running)
    }

    pub(crate) fn parse(name: &str) -> Option<Self> {
        let all = [Self::Queued, Self::Running, Self::Done, Self::Failed, Self::Cancelled, Self::Rejected];
        all.into_iter().find(|state| state.name() == name)
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Rejected => "rejected",
        }
    }
}

impl fmt::Display for TaskState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A task that is asked for.
#[derive(Clone, Debug)]
pub(crate) struct NewTask {
    pub(crate) agent_id: String,
    pub(crate) action: String,
    pub(crate) tab_id: Option<String>,
    pub(crate) selector: Option<String>,
    pub(crate) r#ref: Option<String>,
    pub(crate) params: Option<Map<String, Value>>,
    pub(crate) priority: i64,
    pub(crate) deadline: Timestamp,
    pub(crate) callback_url: Option<String>,
}

/// An action that an agent left to the server.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Task {
    /// Names it.
    pub task_id: String,
    /// The agent that it is done for.
    pub agent_id: String,
    /// Kind of the action.
    pub action: String,
    /// The tab.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tab_id: Option<String>,
    /// The element, by a selector.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selector: Option<String>,
    /// The element, by a reference.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub r#ref: Option<String>,
    /// Further members of the action.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub params: Option<Map<String, Value>>,
    /// Of an agent's tasks, those with lower numbers come first.
    pub priority: i64,
    /// How far it is.
    pub state: TaskState,
    /// When it must have ended.
    #[schema(value_type = String)]
    pub deadline: Timestamp,
    /// When it was submitted.
    #[schema(value_type = String)]
    pub created_at: Timestamp,
    /// When it began.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub started_at: Option<Timestamp>,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub completed_at: Option<Timestamp>,
    /// Milliseconds from its beginning to its end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latency_ms: Option<u64>,
    /// What the action answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub result: Option<Value>,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The address that is told of its end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub callback_url: Option<String>,
    /// Its place in the queue when it was submitted, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub position: Option<usize>,
}

impl Task {
    pub(crate) fn new(new: NewTask, now: Timestamp) -> Self {
        let random = uuid::Uuid::new_v4().simple().to_string();
        Self {
            task_id: format!("tsk_{}", &random[..16]),
            agent_id: new.agent_id,
            action: new.action,
            tab_id: new.tab_id,
            selector: new.selector,
            r#ref: new.r#ref,
            params: new.params,
            priority: new.priority,
            state: TaskState::Queued,
            deadline: new.deadline,
            created_at: now,
            started_at: None,
            completed_at: None,
            latency_ms: None,
            result: None,
            error: None,
            callback_url: new.callback_url,
            position: None,
        }
    }

    pub(super) fn start(&mut self, now: Timestamp) {
        debug_assert_eq!(self.state, TaskState::Queued);
        self.state = TaskState::Running;
        self.started_at = Some(now);
    }

    pub(super) fn end(&mut self, state: TaskState, now: Timestamp) {
        debug_assert!(state.is_terminal() && !self.state.is_terminal());
        self.state = state;
        self.completed_at = Some(now);
        self.latency_ms = self.started_at.map(|start| millis(now, start));
    }

    /// Milliseconds that it waited for its turn.
    pub(super) fn waited_ms(&self, now: Timestamp) -> u64 {
        millis(now, self.created_at)
    }
}

fn millis(later: Timestamp, earlier: Timestamp) -> u64 {
    u64::try_from(later.duration_since(earlier).as_millis()).unwrap_or_default()
}
