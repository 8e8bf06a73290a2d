//! `/jobs/schedules`.

use axum::extract::State;
use http::StatusCode;
use jiff::Timestamp;
use paddock_platform::{
    http::{Json, Path, Query, page_limit},
    identity::Caller,
    problem::Problem,
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{NewSchedule, ScheduleView, Schedules};

const TAG: &str = "jobs";
/// Firings that are told ahead when nobody says how many.
const FIRINGS_DEFAULT: usize = 5;

/// The routes, to be nested under `/jobs/schedules`.
pub fn routes(schedules: Schedules) -> OpenApiRouter {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(preview))
        .routes(routes!(show, put, remove))
        .routes(routes!(pause))
        .routes(routes!(resume))
        .routes(routes!(fire))
        .with_state(schedules)
}

/// Which schedules a list shows.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct ListParams {
    /// Names after this one.
    after: Option<String>,
    /// Items per page, 1 to 500.
    limit: Option<u32>,
}

/// Schedules.
#[derive(Debug, Serialize, ToSchema)]
struct ScheduleList {
    /// By name.
    schedules: Vec<ScheduleView>,
    /// Ask with `after=` this for the next ones; absent on the last page.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// List schedules
#[utoipa::path(get, path = "/", tag = TAG, params(ListParams), responses((status = 200, body = ScheduleList)))]
async fn list(
    State(schedules): State<Schedules>,
    caller: Caller,
    Query(params): Query<ListParams>,
) -> Result<Json<ScheduleList>, Problem> {
    let limit = page_limit(params.limit)?;
    let after = params.after.unwrap_or_default();
    let mut found = schedules.list(caller.tenant(), &after, limit + 1).await?;
    let more = found.len() > limit as usize;
    found.truncate(limit as usize);
    let next = found.last().filter(|_| more).map(|schedule| schedule.name.clone());
    Ok(Json(ScheduleList { schedules: found, next }))
}

/// How many firings are told ahead.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct FiringsParams {
    /// 0 to 100; 5 when left out.
    firings: Option<usize>,
}

/// A schedule with its next firings.
#[derive(Debug, Serialize, ToSchema)]
struct ScheduleWithFirings {
    /// The schedule.
    schedule: ScheduleView,
    /// When it fires next, without its jitter, also if it is paused.
    #[schema(value_type = Vec<String>)]
    firings: Vec<Timestamp>,
}

/// A schedule
///
/// With its next firings.
#[utoipa::path(get, path = "/{name}", tag = TAG,
    params(("name" = String, Path, description = "Its name"), FiringsParams),
    responses((status = 200, body = ScheduleWithFirings)))]
async fn show(
    State(schedules): State<Schedules>,
    caller: Caller,
    Path(name): Path<String>,
    Query(params): Query<FiringsParams>,
) -> Result<Json<ScheduleWithFirings>, Problem> {
    let schedule = schedules.get(caller.tenant(), &name).await?;
    let count = params.firings.unwrap_or(FIRINGS_DEFAULT);
    let firings = schedules.next_firings(caller.tenant(), &name, count).await?;
    Ok(Json(ScheduleWithFirings { schedule, firings }))
}

/// Make a schedule, or change one
///
/// It is checked as a whole: also what it enqueues, with what your key may do.
#[utoipa::path(put, path = "/{name}", tag = TAG, request_body = NewSchedule,
    params(("name" = String, Path, description = "Its name")), responses((status = 200, body = ScheduleView)))]
async fn put(
    State(schedules): State<Schedules>,
    caller: Caller,
    Path(name): Path<String>,
    Json(schedule): Json<NewSchedule>,
) -> Result<Json<ScheduleView>, Problem> {
    Ok(Json(schedules.put(&caller, &name, schedule).await?))
}

/// Forget a schedule
///
/// What it enqueued stays.
#[utoipa::path(delete, path = "/{name}", tag = TAG, params(("name" = String, Path, description = "Its name")),
    responses((status = 204, description = "It is gone")))]
async fn remove(
    State(schedules): State<Schedules>,
    caller: Caller,
    Path(name): Path<String>,
) -> Result<StatusCode, Problem> {
    schedules.delete(caller.tenant(), &name).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The firings of a schedule that was not made.
#[derive(Debug, Serialize, ToSchema)]
struct Firings {
    /// In order.
    #[schema(value_type = Vec<String>)]
    firings: Vec<Timestamp>,
}

/// Preview a schedule
///
/// The firings that it would have if it was made now. Nothing is kept; `job` and `mission` may be left out.
#[utoipa::path(post, path = "/preview", tag = TAG, request_body = NewSchedule, params(FiringsParams),
    responses((status = 200, body = Firings)))]
async fn preview(
    State(schedules): State<Schedules>,
    Query(params): Query<FiringsParams>,
    Json(schedule): Json<NewSchedule>,
) -> Result<Json<Firings>, Problem> {
    let firings = schedules.preview(&schedule, params.firings.unwrap_or(FIRINGS_DEFAULT))?;
    Ok(Json(Firings { firings }))
}

/// Pause a schedule
///
/// It fires no more until it is resumed.
#[utoipa::path(post, path = "/{name}/pause", tag = TAG, params(("name" = String, Path, description = "Its name")),
    responses((status = 200, body = ScheduleView)))]
async fn pause(
    State(schedules): State<Schedules>,
    caller: Caller,
    Path(name): Path<String>,
) -> Result<Json<ScheduleView>, Problem> {
    Ok(Json(schedules.pause(caller.tenant(), &name).await?))
}

/// Resume a schedule
///
/// It fires again from its next time on; what would have come meanwhile is not made up for.
#[utoipa::path(post, path = "/{name}/resume", tag = TAG, params(("name" = String, Path, description = "Its name")),
    responses((status = 200, body = ScheduleView)))]
async fn resume(
    State(schedules): State<Schedules>,
    caller: Caller,
    Path(name): Path<String>,
) -> Result<Json<ScheduleView>, Problem> {
    Ok(Json(schedules.resume(caller.tenant(), &name).await?))
}

/// Fire a schedule now
///
/// Once, beside its times; `last_job` of the answer is what it enqueued.
#[utoipa::path(post, path = "/{name}/fire", tag = TAG, params(("name" = String, Path, description = "Its name")),
    responses((status = 200, body = ScheduleView)))]
async fn fire(
    State(schedules): State<Schedules>,
    caller: Caller,
    Path(name): Path<String>,
) -> Result<Json<ScheduleView>, Problem> {
    Ok(Json(schedules.fire_now(caller.tenant(), &name).await?))
}
