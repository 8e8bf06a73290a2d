//! Having an agent do something, at once or as a job.

use axum::{
    extract::State,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use paddock_jobs::{Fault, Job, JobState, JobView, Jobs, NewJob, RetryPolicy};
use paddock_platform::{
    http::{Json, Path, Preference, current_request},
    identity::Caller,
    problem::{PROBLEM_JSON, Problem},
};
use serde_json::Value;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{Area, TAG, parse_name};
use crate::{
    error::AGENT_FAILED,
    service::{Agents, ExecuteInput, ExecuteOutput},
    tools,
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
#[utoipa::path(post, path = "/{name}/execute", tag = TAG, request_body = ExecuteInput,
    params(
        ("name" = String, Path, description = "The agent"),
        ("Prefer" = Option<String>, Header, description = "`wait=N`: seconds to wait for the result"),
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
    let input = ExecuteInput { agent: name.as_str().to_owned(), ..input };
    let input =
        serde_json::to_value(&input).map_err(|error| Problem::internal("serializing a request", &error))?;
    // What an agent did, it may not do twice.
    let retry = RetryPolicy { attempts: 1, ..RetryPolicy::default() };
    let job = NewJob { retry: Some(retry), ..NewJob::tool(tools::EXECUTE, input) };
    let accepted = jobs.enqueue(&caller, job).await?;
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
    if let Ok(location) = HeaderValue::try_from(format!("/jobs/{}", job.id)) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    preference.applied(response.headers_mut());
    Ok(response)
}

/// The problem that the run ended with, as if it had been met in the request itself.
fn failed(job: &Job) -> Response {
    let fault = job.error.clone().unwrap_or_else(|| Fault::new("cancelled", "the run was cancelled"));
    let Some(Value::Object(mut problem)) = fault.problem else {
        return Problem::new(AGENT_FAILED, fault.message).with("class", fault.class).into_response();
    };
    let status = problem.get("status").and_then(Value::as_u64).and_then(|status| u16::try_from(status).ok());
    let status = status.and_then(|status| StatusCode::from_u16(status).ok()).unwrap_or(AGENT_FAILED.status);
    if let Some(current) = current_request() {
        problem.insert("trace_id".to_owned(), current.trace.trace_id_hex().to_string().into());
    }
    let media_type = [(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON))];
    (status, media_type, Value::Object(problem).to_string()).into_response()
}
