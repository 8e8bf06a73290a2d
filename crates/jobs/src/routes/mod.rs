//! `/jobs`: handing over, looking, steering. External workers have [`work`], queues have [`queues`].

mod queues;
mod view;
mod work;

use std::time::Duration;

use axum::{
    extract::State,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use paddock_platform::{
    http::{Cursor, Etag, Json, Page, Path, Preference, Query, page_limit},
    identity::Caller,
    problem::Problem,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

pub use view::JobView;

use crate::{Accepted, Job, JobError, JobFilter, JobId, JobState, Jobs, NewJob, Redriven, Selection};

const TAG: &str = "jobs";
/// When a caller should look for the end of a job that it did not wait for.
const LOOK_AGAIN: HeaderValue = HeaderValue::from_static("1");
/// The longest wait of a look.
const WAIT_MAX_S: u64 = 60;

/// Routes that wait as long as their caller asks.
pub const UNTIMED_ROUTES: &[&str] = &["/jobs", "/jobs/{id}", "/jobs/work/claim"];
/// Routes that stream.
pub const STREAM_ROUTES: &[&str] = &["/jobs/{id}/events", "/jobs/queues/{queue}/events"];

/// The area's routes, to be nested under `/jobs`.
pub fn routes(jobs: Jobs) -> OpenApiRouter {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(create_batch))
        .routes(routes!(redrive))
        .routes(routes!(show))
        .routes(routes!(result))
        .routes(routes!(cancel))
        .routes(routes!(retry))
        .merge(queues::routes())
        .merge(work::routes())
        .with_state(jobs)
}

impl Jobs {
    /// The job as clients see it.
    pub fn view(&self, job: &Job) -> JobView {
        JobView::whole(job, &self.0.policy().of(&job.queue).options)
    }

    /// The job as lists show it.
    pub(crate) fn brief(&self, job: &Job) -> JobView {
        JobView::brief(job, &self.0.policy().of(&job.queue).options)
    }

    /// The job behind what was accepted.
    pub(crate) async fn accepted(&self, caller: &Caller, accepted: Accepted) -> Result<Job, JobError> {
        match accepted.job() {
            Some(job) => Ok(job),
            None => self.get(caller.tenant(), accepted.id).await,
        }
    }
}

/// Kinds that are compiled in belong to the areas that made them.
pub(crate) fn refuse_internal(job: &NewJob) -> Result<(), Problem> {
    if job.kind.as_deref().is_some_and(|kind| kind.contains(':')) {
        return Err(Problem::invalid_field("kind", "must be 1 to 64 of a-z, 0-9, `_`, `-` and `.`"));
    }
    Ok(())
}

pub(crate) fn parse_id(text: &str) -> Result<JobId, JobError> {
    // What is no id cannot be one that exists.
    text.parse().map_err(|_| JobError::NotFound(text.chars().take(64).collect()))
}

/// Hand over a job
///
/// It is kept before this answers, and will be done. With `Prefer: wait=N` the answer waits up to N seconds for the end
/// of the job: 200 if it ended by then. 200 also answers a job whose `unique_key` is that of one that is kept.
#[utoipa::path(post, path = "/", tag = TAG, request_body = NewJob,
    params(("Prefer" = Option<String>, Header, description = "`wait=N`: seconds to wait for the end")),
    responses(
        (status = 202, description = "It is kept", body = JobView),
        (status = 200, description = "It has ended, or was there already", body = JobView),
    ))]
async fn create(
    State(jobs): State<Jobs>,
    caller: Caller,
    headers: HeaderMap,
    Json(job): Json<NewJob>,
) -> Result<Response, Problem> {
    refuse_internal(&job)?;
    let preference = Preference::of(&headers)?;
    let accepted = jobs.enqueue(&caller, job).await?;
    let existed = accepted.existed;
    let job = match preference.wait {
        Some(wait) if !preference.respond_async => jobs.wait(caller.tenant(), accepted.id, wait).await?,
        _ => jobs.accepted(&caller, accepted).await?,
    };
    let status = if existed || job.state.is_final() { StatusCode::OK } else { StatusCode::ACCEPTED };
    let mut response = (status, Json(jobs.view(&job))).into_response();
    let location = HeaderValue::try_from(format!("/jobs/{}", job.id));
    response.headers_mut().extend(location.ok().map(|location| (header::LOCATION, location)));
    if status == StatusCode::ACCEPTED {
        response.headers_mut().insert(header::RETRY_AFTER, LOOK_AGAIN);
    }
    preference.applied(response.headers_mut());
    Ok(response)
}

/// Several jobs.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewJobs {
    /// 1 to 1,000.
    jobs: Vec<NewJob>,
}

/// Several jobs that were accepted.
#[derive(Debug, Serialize, ToSchema)]
struct AcceptedJobs {
    /// In the order in which they were handed over.
    jobs: Vec<AcceptedJob>,
}

/// One of several jobs that were accepted.
#[derive(Debug, Serialize, ToSchema)]
struct AcceptedJob {
    /// Its id.
    id: JobId,
    /// Where it stands, or stood when it was accepted.
    state: JobState,
    /// Whether it was there already, under the same unique key.
    existed: bool,
}

/// Hand over several jobs
///
/// All of them are kept, or none.
#[utoipa::path(post, path = "/batch", tag = TAG, request_body = NewJobs, responses(
    (status = 202, description = "They are kept", body = AcceptedJobs),
))]
async fn create_batch(
    State(jobs): State<Jobs>,
    caller: Caller,
    Json(batch): Json<NewJobs>,
) -> Result<Response, Problem> {
    batch.jobs.iter().try_for_each(refuse_internal)?;
    let accepted = jobs.enqueue_many(&caller, batch.jobs).await?;
    let brief = |accepted: &Accepted| AcceptedJob {
        id: accepted.id,
        state: accepted.job().map_or(JobState::Queued, |job| job.state),
        existed: accepted.existed,
    };
    let answer = AcceptedJobs { jobs: accepted.iter().map(brief).collect() };
    Ok((StatusCode::ACCEPTED, Json(answer)).into_response())
}

#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct ListQuery {
    /// In this state.
    state: Option<JobState>,
    /// In this queue.
    queue: Option<String>,
    /// Of this tool or kind.
    kind: Option<String>,
    /// Items per page, 1 to 500.
    limit: Option<u32>,
    /// `next` of the page before.
    cursor: Option<String>,
}

/// List jobs
///
/// The newest first, without inputs, results and attempts.
#[utoipa::path(get, path = "/", tag = TAG, params(ListQuery), responses(
    (status = 200, description = "A page of jobs", body = Page<JobView>),
))]
async fn list(
    State(jobs): State<Jobs>,
    caller: Caller,
    Query(query): Query<ListQuery>,
) -> Result<Json<Page<JobView>>, Problem> {
    let (filter, limit, after) = if let Some(cursor) = &query.cursor {
        let cursor: Cursor<JobFilter, JobId> = Cursor::decode(cursor)?;
        (cursor.query, cursor.limit, Some(cursor.after))
    } else {
        let filter = JobFilter { state: query.state, queue: query.queue, kind: query.kind };
        (filter, page_limit(query.limit)?, None)
    };
    let found = jobs.list(caller.tenant(), &filter, after, limit + 1).await?;
    let views = found.iter().map(|job| jobs.brief(job)).collect();
    Page::from_overfetched(views, limit, &filter, |job: &JobView| job.id).map(Json)
}

#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct ShowQuery {
    /// Wait so many seconds for its end, 60 at most.
    wait: Option<u64>,
}

/// A job
///
/// With `?wait=N` the answer waits up to N seconds for its end.
#[utoipa::path(get, path = "/{id}", tag = TAG,
    params(("id" = String, Path, description = "The job"), ShowQuery),
    responses(
        (status = 200, description = "The job", body = JobView),
        (status = 304, description = "It is as the client knows it"),
        (status = 410, description = "It ended, and is kept no longer"),
    ))]
async fn show(
    State(jobs): State<Jobs>,
    caller: Caller,
    headers: HeaderMap,
    Path(id): Path<String>,
    Query(query): Query<ShowQuery>,
) -> Result<Response, Problem> {
    let id = parse_id(&id)?;
    let job = match query.wait {
        Some(seconds @ 0..=WAIT_MAX_S) => {
            jobs.wait(caller.tenant(), id, Duration::from_secs(seconds)).await?
        }
        Some(_) => {
            return Err(Problem::invalid_field("wait", format_args!("must be 0 to {WAIT_MAX_S} seconds")));
        }
        None => jobs.get(caller.tenant(), id).await?,
    };
    let body = serde_json::to_vec(&jobs.view(&job))
        .map_err(|error| Problem::internal("serializing a job", &error))?;
    Ok(Etag::of(&body).answer(&headers, "application/json", body.into()))
}

/// The result of a job
///
/// As it is, however large.
#[utoipa::path(get, path = "/{id}/result", tag = TAG, params(("id" = String, Path, description = "The job")),
    responses(
        (status = 200, description = "The result", body = serde_json::Value),
        (status = 404, description = "There is none yet"),
    ))]
async fn result(
    State(jobs): State<Jobs>,
    caller: Caller,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let id = parse_id(&id)?;
    let result = jobs.result(caller.tenant(), id).await?;
    let result = result.ok_or_else(|| Problem::not_found("result of the job", id))?;
    Ok(Etag::of(&result).answer(&headers, "application/json", result))
}

/// Cancel a job
///
/// One that runs is told and ends shortly after.
#[utoipa::path(post, path = "/{id}/cancel", tag = TAG, params(("id" = String, Path, description = "The job")),
    responses(
        (status = 200, description = "The job", body = JobView),
        (status = 409, description = "It has ended"),
    ))]
async fn cancel(
    State(jobs): State<Jobs>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<JobView>, Problem> {
    let job = jobs.cancel(caller.tenant(), parse_id(&id)?).await?;
    Ok(Json(jobs.view(&job)))
}

/// Run a job once more
///
/// With a new count of attempts.
#[utoipa::path(post, path = "/{id}/retry", tag = TAG, params(("id" = String, Path, description = "The job")),
    responses(
        (status = 200, description = "The job", body = JobView),
        (status = 409, description = "It has not ended, or well"),
    ))]
async fn retry(
    State(jobs): State<Jobs>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<JobView>, Problem> {
    let job = jobs.retry(caller.tenant(), parse_id(&id)?).await?;
    Ok(Json(jobs.view(&job)))
}

#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
struct Redrive {
    /// These; all that fit the rest when left out.
    ids: Option<Vec<String>>,
    /// Of this queue.
    queue: Option<String>,
    /// Of this tool or kind.
    kind: Option<String>,
    /// With an error of this class.
    class: Option<String>,
    /// In these states; `dead` when left out.
    states: Option<Vec<JobState>>,
    /// Only count.
    dry_run: bool,
}

/// Run dead jobs once more
///
/// All that the selection fits, with a new count of attempts.
#[utoipa::path(post, path = "/redrive", tag = TAG, request_body = Redrive, responses(
    (status = 200, description = "How many", body = Redriven),
))]
async fn redrive(
    State(jobs): State<Jobs>,
    caller: Caller,
    Json(asked): Json<Redrive>,
) -> Result<Json<Redriven>, Problem> {
    let Redrive { ids, queue, kind, class, states, dry_run } = asked;
    let ids = ids.map(|ids| ids.iter().map(|id| parse_id(id)).collect::<Result<_, _>>()).transpose()?;
    let selection = Selection { ids, queue, kind, class, states };
    Ok(Json(jobs.redrive(caller.tenant(), &selection, dry_run).await?))
}
