//! Jobs as clients see them.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use crate::{Attempt, Fault, Job, JobId, JobProgress, JobState, Payload, config::QueueOptions};

/// A job.
#[derive(Debug, Serialize, JsonSchema, ToSchema)]
pub struct JobView {
    /// Its id.
    pub id: JobId,
    /// Where it stands.
    pub state: JobState,
    /// Where it waits.
    pub queue: String,
    /// The tool that it calls.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tool: Option<String>,
    /// Its kind, if it is no call of a tool.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// -100 to 100.
    pub priority: i8,
    /// What it is called with; not in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<serde_json::Value>")]
    #[schema(value_type = Option<Object>)]
    pub input: Option<Box<RawValue>>,
    /// When it was accepted.
    #[schemars(with = "String")]
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When it became or becomes ready.
    #[schemars(with = "String")]
    #[schema(value_type = String, format = DateTime)]
    pub run_at: Timestamp,
    /// When its current or last attempt began.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub started_at: Option<Timestamp>,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub finished_at: Option<Timestamp>,
    /// Until when it is kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub expires_at: Option<Timestamp>,
    /// The number of its current or last attempt.
    pub attempt: u32,
    /// The number of its last attempt, should all fail.
    pub attempts_max: u32,
    /// Who runs it, or ran it last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub worker: Option<String>,
    /// Until when the current attempt is believed in.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub lease_until: Option<Timestamp>,
    /// Whether somebody asked for its end while it runs.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub cancelling: bool,
    /// How far it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub progress: Option<JobProgress>,
    /// What it came to; not in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<serde_json::Value>")]
    #[schema(value_type = Option<Object>)]
    pub result: Option<Box<RawValue>>,
    /// The size of a result that has to be asked for by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub result_size: Option<u64>,
    /// Why it failed, the last time that it did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<Fault>,
    /// All attempts, the oldest first; not in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempts: Option<Vec<Attempt>>,
    /// Names it for whoever might send it twice.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unique_key: Option<String>,
    /// Jobs of one key run so many at a time as the queue says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub concurrency_key: Option<String>,
    /// Who is told how it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub webhook: Option<String>,
    /// The trace that it continues.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trace: Option<String>,
    /// What it belongs to: a mission and step, a schedule.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
    /// How often it changed: the id of its last event.
    pub changes: u64,
    /// Where to go from here.
    pub links: Links,
}

/// Where to go from a job.
#[derive(Debug, Serialize, JsonSchema, ToSchema)]
pub struct Links {
    #[serde(rename = "self")]
    itself: String,
    events: String,
    result: String,
    cancel: String,
    retry: String,
}

impl Links {
    fn of(id: JobId) -> Self {
        let itself = format!("/jobs/{id}");
        let to = |what: &str| format!("{itself}/{what}");
        Self { events: to("events"), result: to("result"), cancel: to("cancel"), retry: to("retry"), itself }
    }
}

impl JobView {
    /// The whole job.
    pub(crate) fn whole(job: &Job, queue: &QueueOptions) -> Self {
        let raw = |payload: &Payload| payload.raw();
        let attempts = Some(job.attempts());
        let (input, result) = (raw(&job.input), job.result.as_ref().and_then(raw));
        Self { input, result, attempts, ..Self::brief(job, queue) }
    }

    /// The job without what may be large.
    pub(crate) fn brief(job: &Job, queue: &QueueOptions) -> Self {
        let kind = Some(job.kind.to_string());
        let is_tool = !job.external && !job.kind.contains(':');
        let (tool, kind) = if is_tool { (kind, None) } else { (None, kind) };
        Self {
            id: job.id,
            state: job.state,
            queue: job.queue.to_string(),
            tool,
            kind,
            priority: job.priority,
            input: None,
            created_at: job.id.created_at(),
            run_at: job.run_at,
            started_at: job.started_at,
            finished_at: job.finished_at,
            expires_at: job.expires_at,
            attempt: job.attempt,
            attempts_max: job.attempts_max(queue),
            worker: job.worker.clone(),
            lease_until: job.lease_until,
            cancelling: job.cancelling,
            progress: job.progress.clone(),
            result: None,
            result_size: job.result_size,
            error: job.error.clone(),
            attempts: None,
            unique_key: job.unique_key.clone(),
            concurrency_key: job.concurrency_key.clone(),
            webhook: job.terms.webhook.clone(),
            trace: job.terms.trace.clone(),
            parent: job.parent.clone(),
            changes: job.changes,
            links: Links::of(job.id),
        }
    }
}
