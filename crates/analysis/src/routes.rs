//! `/analysis`: pages in, reports out.
//!
//! An analysis takes seconds, so it is a job: it is kept before it is begun, and survives what happens meanwhile. A caller
//! who would rather wait says so with `Prefer: wait=N`.

use axum::{
    extract::{FromRef, State},
    response::{IntoResponse, Response},
};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use paddock_jobs::{Fault, Job, JobState, JobView, Jobs, NewJob, RetryPolicy};
use paddock_platform::{
    http::{Cursor, Etag, Json, Page, PageQuery, Path, Preference, Query, current_request, page_limit},
    identity::Caller,
    problem::{PROBLEM_JSON, Problem},
};
use serde::Deserialize;
use serde_json::Value;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    analyses::{Analyses, AnalysisInput},
    error::ANALYSIS_FAILED,
    report::Report,
    store::ReportSummary,
    tools,
};

const TAG: &str = "analysis";
/// Reports quote pages; nothing in them may run or load, wherever they are opened.
const REPORT_POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; img-src 'self' data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; \
     frame-ancestors 'none'; sandbox allow-popups allow-popups-to-escape-sandbox",
);

/// How often a page is tried whose caller does not wait: what the network did once it may not do twice.
const ATTEMPTS: u32 = 3;
/// When a caller should look for the end of an analysis that it did not wait for.
const LOOK_AGAIN: HeaderValue = HeaderValue::from_static("2");

/// What the routes work with.
#[derive(Clone, Debug)]
struct Area {
    analyses: Analyses,
    jobs: Jobs,
}

impl FromRef<Area> for Analyses {
    fn from_ref(area: &Area) -> Self {
        area.analyses.clone()
    }
}

/// The area's routes, to be nested under `/analysis`.
pub fn routes(analyses: Analyses, jobs: Jobs) -> OpenApiRouter {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(show, remove))
        .routes(routes!(file))
        .routes(routes!(shot))
        .with_state(Area { analyses, jobs })
}

/// Analyse a page
///
/// A recent report of the same page is answered at once, unless `fresh` is true. Otherwise the analysis becomes a job: 202,
/// and its progress and result are under the `Location`. With `Prefer: wait=N` the answer waits up to N seconds for the
/// report; an analysis that takes longer goes on as a job.
#[utoipa::path(post, path = "/", tag = TAG, request_body = AnalysisInput,
    params(("Prefer" = Option<String>, Header, description = "`wait=N`: seconds to wait for the report")),
    responses(
        (status = 202, description = "It will be analysed: the job", body = JobView),
        (status = 201, description = "The page was analysed", body = serde_json::Value),
        (status = 200, description = "A recent report of the same page", body = serde_json::Value),
    ))]
async fn create(
    State(area): State<Area>,
    caller: Caller,
    headers: HeaderMap,
    Json(input): Json<AnalysisInput>,
) -> Result<Response, Problem> {
    let preference = Preference::of(&headers)?;
    if let Some(report) = area.analyses.find_recent(&caller, &input).await? {
        let location = format!("/analysis/{}", report.id);
        return Ok(([(header::LOCATION, location)], Json::<Report>(report)).into_response());
    }
    let wait = preference.wait.filter(|_| !preference.respond_async);
    let input =
        serde_json::to_value(&input).map_err(|error| Problem::internal("serializing a request", &error))?;
    // Who waits hears of the first failure, and tries again as it likes.
    let attempts = if wait.is_some() { 1 } else { ATTEMPTS };
    let retry = RetryPolicy { attempts, ..RetryPolicy::default() };
    let job = NewJob { retry: Some(retry), ..NewJob::tool(tools::RUN, input) };
    let accepted = area.jobs.enqueue(&caller, job).await?;
    let job = area.jobs.wait(caller.tenant(), accepted.id, wait.unwrap_or_default()).await?;
    let mut response = match job.state {
        JobState::Succeeded => created(&area.jobs, &caller, &job).await?,
        state if state.is_final() => failed(&job),
        _ => accepted_response(&area.jobs, &job),
    };
    preference.applied(response.headers_mut());
    Ok(response)
}

/// The report that a job came to.
async fn created(jobs: &Jobs, caller: &Caller, job: &Job) -> Result<Response, Problem> {
    #[derive(Deserialize)]
    struct Identified {
        id: String,
    }
    let report = jobs.result(caller.tenant(), job.id).await?.unwrap_or_default();
    let Identified { id } = serde_json::from_slice(&report)
        .map_err(|error| Problem::internal("reading the report of a job", &error))?;
    let location = format!("/analysis/{id}");
    let json = HeaderValue::from_static("application/json");
    let headers = [(header::CONTENT_TYPE, json), (header::LOCATION, header_value(&location))];
    Ok((StatusCode::CREATED, headers, report).into_response())
}

/// The problem that the analysis ended with, as if it had been met in the request itself.
fn failed(job: &Job) -> Response {
    let fault = job.error.clone().unwrap_or_else(|| Fault::new("cancelled", "the analysis was cancelled"));
    let Some(Value::Object(mut problem)) = fault.problem else {
        return Problem::new(ANALYSIS_FAILED, fault.message).with("class", fault.class).into_response();
    };
    let status = problem.get("status").and_then(Value::as_u64).and_then(|status| u16::try_from(status).ok());
    let status = status.and_then(|status| StatusCode::from_u16(status).ok());
    if let Some(current) = current_request() {
        problem.insert("trace_id".to_owned(), current.trace.trace_id_hex().to_string().into());
    }
    let media_type = [(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON))];
    let status = status.unwrap_or(ANALYSIS_FAILED.status);
    (status, media_type, Value::Object(problem).to_string()).into_response()
}

fn accepted_response(jobs: &Jobs, job: &Job) -> Response {
    let headers =
        [(header::LOCATION, header_value(&format!("/jobs/{}", job.id))), (header::RETRY_AFTER, LOOK_AGAIN)];
    (StatusCode::ACCEPTED, headers, Json(jobs.view(job))).into_response()
}

fn header_value(text: &str) -> HeaderValue {
    HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static("/"))
}

/// List reports
///
/// The newest first.
#[utoipa::path(get, path = "/", tag = TAG, params(PageQuery), responses(
    (status = 200, description = "A page of reports", body = Page<ReportSummary>),
))]
async fn list(
    State(analyses): State<Analyses>,
    caller: Caller,
    Query(query): Query<PageQuery>,
) -> Result<Json<Page<ReportSummary>>, Problem> {
    let (limit, after) = match &query.cursor {
        Some(cursor) => {
            let cursor: Cursor<(), (i64, String)> = Cursor::decode(cursor)?;
            (cursor.limit, Some(cursor.after))
        }
        None => (page_limit(query.limit)?, None),
    };
    let reports = analyses.archive().list(caller.tenant(), after, limit + 1).await?;
    let key = |report: &ReportSummary| (report.generated_at.as_millisecond(), report.id.clone());
    Page::from_overfetched(reports, limit, &(), key).map(Json)
}

/// A report as JSON
#[utoipa::path(get, path = "/{id}", tag = TAG, params(("id" = String, Path, description = "The report")), responses(
    (status = 200, description = "The report", body = serde_json::Value),
))]
async fn show(
    State(analyses): State<Analyses>,
    caller: Caller,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    answer_file(&analyses, &caller, &headers, &id, "report.json").await
}

/// Forget a report
#[utoipa::path(delete, path = "/{id}", tag = TAG, params(("id" = String, Path, description = "The report")), responses(
    (status = 204, description = "It is gone"),
))]
async fn remove(
    State(analyses): State<Analyses>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    if analyses.archive().delete(caller.tenant(), &id).await? {
        return Ok(StatusCode::NO_CONTENT);
    }
    Err(Problem::not_found("report", id))
}

/// A report as a file
///
/// `report.html` (one self-contained page), `report.md` or `report.json`.
#[utoipa::path(get, path = "/{id}/{file}", tag = TAG, params(
    ("id" = String, Path, description = "The report"),
    ("file" = String, Path, description = "`report.html`, `report.md` or `report.json`"),
), responses((status = 200, description = "The file")))]
async fn file(
    State(analyses): State<Analyses>,
    caller: Caller,
    headers: HeaderMap,
    Path((id, file)): Path<(String, String)>,
) -> Result<Response, Problem> {
    answer_file(&analyses, &caller, &headers, &id, &file).await
}

/// A picture of a report
#[utoipa::path(get, path = "/{id}/shots/{file}", tag = TAG, params(
    ("id" = String, Path, description = "The report"),
    ("file" = String, Path, description = "The picture's name as the report gives it"),
), responses((status = 200, description = "The picture")))]
async fn shot(
    State(analyses): State<Analyses>,
    caller: Caller,
    headers: HeaderMap,
    Path((id, file)): Path<(String, String)>,
) -> Result<Response, Problem> {
    answer_file(&analyses, &caller, &headers, &id, &format!("shots/{file}")).await
}

async fn answer_file(
    analyses: &Analyses,
    caller: &Caller,
    headers: &HeaderMap,
    id: &str,
    name: &str,
) -> Result<Response, Problem> {
    let file = analyses
        .archive()
        .file(caller.tenant(), id, name)
        .await?
        .ok_or_else(|| Problem::not_found("report file", format!("{id}/{name}")))?;
    let mut response = Etag::of(&file.bytes).answer(headers, file.content_type, file.bytes);
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, REPORT_POLICY);
    response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    Ok(response)
}
