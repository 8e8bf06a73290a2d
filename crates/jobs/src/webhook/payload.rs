//! The body of an event: type, timestamp and data, as Standard Webhooks has it.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::{Job, JobState};

/// Characters of an error's message.
const MESSAGE_LEN_MAX: usize = 2_000;

/// The type of the event that a job's end is; `None` while it goes on.
pub(super) const fn event_of(state: JobState) -> Option<&'static str> {
    match state {
        JobState::Succeeded => Some("job.succeeded"),
        JobState::Failed => Some("job.failed"),
        JobState::Cancelled => Some("job.cancelled"),
        JobState::Dead => Some("job.dead"),
        JobState::Queued | JobState::Scheduled | JobState::Running | JobState::Waiting => None,
    }
}

/// The body of an event.
pub(super) fn body(event: &str, at: Timestamp, data: &Map<String, Value>) -> String {
    json!({ "type": event, "timestamp": at.to_string(), "data": data }).to_string()
}

/// The body of the event that a job ended, with its result if that fits.
pub(super) fn of_job(event: &str, job: &Job, size_max: u64) -> String {
    let at = job.finished_at.unwrap_or_else(Timestamp::now);
    let mut data = described(job);
    let fits = |text: &String| text.len() as u64 <= size_max;
    let Some(result) = job.result.as_ref().filter(|result| !result.is_empty()) else {
        return body(event, at, &data);
    };
    // The result alone is over the limit: reading it would be for nothing.
    if (result.len() as u64) < size_max {
        data.insert("result".to_owned(), result.value());
        let full = body(event, at, &data);
        if fits(&full) {
            return full;
        }
        data.remove("result");
    }
    data.insert("result_size".to_owned(), result.len().into());
    body(event, at, &data)
}

fn described(job: &Job) -> Map<String, Value> {
    let id = job.id.to_string();
    let mut data = Map::new();
    let mut put = |name: &str, value: Value| {
        if !value.is_null() {
            data.insert(name.to_owned(), value);
        }
    };
    put("id", id.as_str().into());
    put("state", job.state.name().into());
    put("queue", job.queue.as_ref().into());
    put(if job.external { "kind" } else { "tool" }, job.kind.as_ref().into());
    put("attempt", job.attempt.into());
    put("created_at", job.id.created_at().to_string().into());
    put("started_at", job.started_at.map(|at| at.to_string()).into());
    put("finished_at", job.finished_at.map(|at| at.to_string()).into());
    put("unique_key", job.unique_key.clone().into());
    put("parent", job.parent.clone().into());
    put("result_size", job.result_size.into());
    if let Some(error) = &job.error {
        let message: String = error.message.chars().take(MESSAGE_LEN_MAX).collect();
        put("error", json!({ "class": error.class, "message": message }));
    }
    put("links", json!({ "self": format!("/jobs/{id}"), "result": format!("/jobs/{id}/result") }));
    data
}
