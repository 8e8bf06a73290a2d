//! What a job is, as everybody but the store sees it.

use std::{fmt, sync::Arc};

use jiff::Timestamp;
use paddock_platform::identity::Tenant;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, value::RawValue};
use utoipa::ToSchema;

use crate::{JobId, new_job::Terms};

/// Where a job stands. See the crate's picture for how it gets from one to the other.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema, ToSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum JobState {
    /// Ready; waits for its turn.
    Queued,
    /// Becomes ready at its time.
    Scheduled,
    /// An attempt is under way.
    Running,
    /// Runs no more, and has not ended: it waits for other jobs or for an approval.
    Waiting,
    /// Done; its result is kept.
    Succeeded,
    /// Its error says that trying again is useless.
    Failed,
    /// Somebody cancelled it.
    Cancelled,
    /// Tried as often as it may.
    Dead,
}

impl JobState {
    /// All of them, in the order of a job's life.
    pub const ALL: [Self; 8] = [
        Self::Queued,
        Self::Scheduled,
        Self::Running,
        Self::Waiting,
        Self::Succeeded,
        Self::Failed,
        Self::Cancelled,
        Self::Dead,
    ];

    /// Its name as it is written everywhere.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Scheduled => "scheduled",
            Self::Running => "running",
            Self::Waiting => "waiting",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Dead => "dead",
        }
    }

    /// Whether the job has ended.
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Cancelled | Self::Dead)
    }
}

impl fmt::Display for JobState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A JSON text that is passed through as it is. Cheap to clone.
#[derive(Clone, PartialEq, Eq)]
pub struct Payload(Arc<str>);

impl Payload {
    /// Takes a text that is JSON already, as the store gives it back.
    pub(crate) fn from_stored(text: String) -> Self {
        Self(text.into())
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its size in bytes.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is nothing, not even `null`.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The value; null for what is no JSON, which only a damaged store can hold.
    pub fn value(&self) -> Value {
        serde_json::from_str(&self.0).unwrap_or(Value::Null)
    }

    /// For putting it into another document without reading it.
    pub(crate) fn raw(&self) -> Option<Box<RawValue>> {
        RawValue::from_string(self.0.as_ref().to_owned()).ok()
    }
}

impl From<&Value> for Payload {
    fn from(value: &Value) -> Self {
        Self(value.to_string().into())
    }
}

impl fmt::Debug for Payload {
    /// Only its size: payloads are their owners' business.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Payload({} bytes)", self.len())
    }
}

/// How far a job is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct JobProgress {
    /// From 0 to 100.
    pub percent: f64,
    /// What is being done, for the person who watches; cut after 500 characters.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// Whatever else the worker tells, 16 KiB at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub data: Option<Value>,
}

/// Why an attempt failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
pub struct Fault {
    /// What kind of failure: a problem's slug, `timeout`, `panic`, `lost`, or what an external worker calls it. Retry
    /// policies go by it.
    pub class: String,
    /// A sentence for the person who looks.
    pub message: String,
    /// The whole problem, where a tool failed with one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub problem: Option<Value>,
}

impl Fault {
    /// A failure of a class.
    pub fn new(class: impl Into<String>, message: impl Into<String>) -> Self {
        Self { class: class.into(), message: message.into(), problem: None }
    }
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum AttemptOutcome {
    /// The job succeeded with it.
    Succeeded,
    /// It failed; the error says why.
    Failed,
    /// Nobody heard of it until its lease ended.
    Lost,
    /// The job was cancelled.
    Cancelled,
    /// The job was put to wait.
    Waiting,
    /// The server that ran it shut down in good order and gave it back.
    Released,
}

/// One try.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
pub struct Attempt {
    /// Its number from 1: the fencing token.
    pub number: u32,
    /// Who ran it: a server, or an external worker's name for itself.
    pub worker: String,
    /// When it began.
    #[schemars(with = "String")]
    #[schema(value_type = String, format = DateTime)]
    pub started_at: Timestamp,
    /// When it ended; absent while it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub ended_at: Option<Timestamp>,
    /// How it ended; absent while it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<AttemptOutcome>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Fault>,
}

/// A job as the store has it.
#[derive(Clone, Debug)]
pub struct Job {
    /// Identity.
    pub id: JobId,
    /// Whose it is.
    pub tenant: Tenant,
    /// Where it waits.
    pub queue: Arc<str>,
    /// The tool's name or the kind.
    pub kind: Arc<str>,
    /// Whether an external worker runs it.
    pub external: bool,
    /// Where it stands.
    pub state: JobState,
    /// -100 to 100; within a queue and tenant the higher goes first.
    pub priority: i8,
    /// When it becomes or became ready.
    pub run_at: Timestamp,
    /// When its last attempt began.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// Until when what ended is kept.
    pub expires_at: Option<Timestamp>,
    /// The number of the current or last attempt; 0 before the first.
    pub attempt: u32,
    /// How many attempts are not counted against the maximum: those before a redrive, and those that only waited.
    pub spared: u32,
    /// Who runs it, or ran it last.
    pub worker: Option<String>,
    /// Until when the current attempt is believed in without a heartbeat.
    pub lease_until: Option<Timestamp>,
    /// Whether somebody asked for its end while it runs.
    pub cancelling: bool,
    /// Grows with every event of this job: the id of its events.
    pub changes: u64,
    /// Names it for whoever might send it twice.
    pub unique_key: Option<String>,
    /// Jobs of one key run so many at a time as the queue says.
    pub concurrency_key: Option<String>,
    /// What it belongs to, as an area that made it calls it (a mission and step); hooks go by it.
    pub parent: Option<String>,
    /// The key that enqueued it (never its secret).
    pub key_id: Option<String>,
    /// What it is called with.
    pub input: Payload,
    /// Timeout, retries, retention, webhook, trace.
    pub terms: Terms,
    /// How far it is.
    pub progress: Option<JobProgress>,
    /// What it came to. Empty with `result_size` set: it is in the blobs, ask for it by itself.
    pub result: Option<Payload>,
    /// Size of a result that is too large for the store.
    pub result_size: Option<u64>,
    /// Why it failed, the last time that it did.
    pub error: Option<Fault>,
    /// The attempts that ended, the oldest first; of very many only the first and the last.
    pub past_attempts: Vec<Attempt>,
}
