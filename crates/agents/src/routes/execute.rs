//! Having an agent do something, at once or as a job.

use std::convert::Infallible;

use axum::{
    extract::State,
    response::{
        IntoResponse, Response,
        sse::{Event, KeepAlive, Sse},
    },
};
use futures_util::{StreamExt, stream};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use paddock_jobs::{Fault, Job, JobId, JobState, JobView, Jobs};
use paddock_platform::{
    events::HEARTBEAT_INTERVAL,
    http::{Json, Path, Preference, current_request},
    identity::Caller,
    problem::{PROBLEM_JSON, Problem},
};
use serde_json::{Value, json};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{Area, TAG, parse_name};
use crate::{
    error::AGENT_FAILED,
    service::{Agents, ExecuteInput, ExecuteOutput, Followed, News},
};

/// When a caller should look for the end of a run that it did not wait for.
const LOOK_AGAIN: HeaderValue = HeaderValue::from_static("1");

pub(super) fn routes() -> OpenApiRouter<Area> {
    OpenApiRouter::new().routes(routes!(execute))
}

/// Run an agent
///
/// It is asked, and what it answers is the result. The run is a job: 202, and its result under the `Location`. With
/// `Prefer: wait=N` the answer waits up to N seconds for the result; a run that takes longer goes on as a job.
///
/// With `Accept: text/event-stream` the run is followed: `begun` with the job and the conversation, then what a prompt agent
/// does as it does it: `text` (more of what its model says in a `step`), `tool`, `tool_result` and `approval`, and at last `end`
/// with the result, or `failed` with the problem. Who is too slow hears less of what comes before the end; the end is whole.
#[utoipa::path(post, path = "/{name}/execute", tag = TAG, request_body = ExecuteInput,
    params(
        ("name" = String, Path, description = "The agent"),
        ("Prefer" = Option<String>, Header, description = "`wait=N`: seconds to wait for the result"),
        ("Accept" = Option<String>, Header, description = "`text/event-stream`: the run as it goes"),
    ),
    responses(
        (status = 200, description = "What it came to", body = ExecuteOutput),
        (status = 202, description = "It runs: the job", body = JobView),
        (status = 422, description = "The agent failed or refused"),
    ))]
async fn execute(
    State(agents): State<Agents>,
    State(jobs): State<Jobs>,
    caller: Caller,
    Path(name): Path<String>,
    headers: HeaderMap,
    Json(input): Json<ExecuteInput>,
) -> Result<Response, Problem> {
    let preference = Preference::of(&headers)?;
    let name = parse_name(&name)?;
    agents.get(caller.tenant(), &name)?;
    let input = ExecuteInput { agent: name.as_str().to_owned(), hearer: None, ..input };
    if wants_events(&headers) {
        return Ok(follow(&agents, agents.begin_followed(&caller, input).await?));
    }
    let accepted = agents.begin(&caller, &input).await?;
    let wait = preference.wait.filter(|_| !preference.respond_async).unwrap_or_default();
    let job = jobs.wait(caller.tenant(), accepted.id, wait).await?;
    let mut response = match job.state {
        JobState::Succeeded => {
            let result = jobs.result(caller.tenant(), job.id).await?.unwrap_or_default();
            ([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], result).into_response()
        }
        state if state.is_final() => failed(&job),
        _ => {
            (StatusCode::ACCEPTED, [(header::RETRY_AFTER, LOOK_AGAIN)], Json(jobs.view(&job))).into_response()
        }
    };
    set_location(&mut response, job.id);
    preference.applied(response.headers_mut());
    Ok(response)
}

fn wants_events(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let mut types = accepted.flat_map(|value| value.split(','));
    types.any(|accepted| accepted.split(';').next().unwrap_or_default().trim() == "text/event-stream")
}

/// The run as it goes.
fn follow(agents: &Agents, followed: Followed) -> Response {
    let id = followed.job.id;
    let begun = json!({ "job": id.to_string(), "conversation": followed.job.input.value()["conversation"] });
    let begun = Event::default().event("begun").data(begun.to_string());
    let stopping = agents.0.core.events.stopping();
    let jobs = agents.0.jobs.clone();
    let news = stream::unfold((followed, jobs), |(mut followed, jobs)| async move {
        loop {
            let event = match followed.next().await? {
                News::Told(event) => told(event),
                News::Job(job) if job.state.is_final() => ended(&jobs, &job).await,
                News::Job(_) => continue,
            };
            return Some((event, (followed, jobs)));
        }
    });
    let events = stream::iter([begun]).chain(news).map(Ok::<_, Infallible>);
    let events = events.take_until(async move { stopping.cancelled().await });
    let mut response =
        Sse::new(events).keep_alive(KeepAlive::new().interval(HEARTBEAT_INTERVAL)).into_response();
    set_location(&mut response, id);
    response
}

fn told(mut event: Value) -> Event {
    let kind = event.as_object_mut().and_then(|event| event.remove("event"));
    // What an agent tells is not to be trusted.
    let known = ["text", "tool", "tool_result", "approval"]
        .into_iter()
        .find(|known| kind.as_ref().is_some_and(|kind| kind == known));
    Event::default().event(known.unwrap_or("told")).data(event.to_string())
}

async fn ended(jobs: &Jobs, job: &Job) -> Event {
    if job.state == JobState::Succeeded
        && let Ok(Some(result)) = jobs.result(&job.tenant, job.id).await
        && let Ok(result) = std::str::from_utf8(&result)
    {
        return Event::default().event("end").data(result);
    }
    let (_, problem) = problem_of(job);
    Event::default().event("failed").data(problem.to_string())
}

fn set_location(response: &mut Response, id: JobId) {
    if let Ok(location) = HeaderValue::try_from(format!("/jobs/{id}")) {
        response.headers_mut().insert(header::LOCATION, location);
    }
}

/// The problem that the run ended with, as if it had been met in the request itself.
fn problem_of(job: &Job) -> (StatusCode, Value) {
    let trace = current_request().map(|current| current.trace.trace_id_hex().to_string());
    let fault = job.error.clone().unwrap_or_else(|| Fault::new("cancelled", "the run was cancelled"));
    let Some(Value::Object(mut problem)) = fault.problem else {
        let problem = Problem::new(AGENT_FAILED, fault.message).with("class", fault.class);
        return (AGENT_FAILED.status, problem.to_document(trace.as_deref()));
    };
    let status = problem.get("status").and_then(Value::as_u64).and_then(|status| u16::try_from(status).ok());
    let status = status.and_then(|status| StatusCode::from_u16(status).ok()).unwrap_or(AGENT_FAILED.status);
    if let Some(trace) = trace {
        problem.insert("trace_id".to_owned(), trace.into());
    }
    (status, Value::Object(problem))
}

fn failed(job: &Job) -> Response {
    let (status, problem) = problem_of(job);
    let media_type = [(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON))];
    (status, media_type, problem.to_string()).into_response()
}
