//! `/missions`: starting, looking, deciding, steering. Definitions have [`definitions`].

mod definitions;

use std::time::Duration;

use axum::{
    extract::State,
    response::{
        IntoResponse, Response,
        sse::{KeepAlive, Sse},
    },
};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use paddock_platform::{
    http::{Cursor, Etag, Json, Page, Path, Preference, Query, page_limit},
    identity::{Caller, Scope},
    problem::Problem,
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    ApprovalView, Decision, MissionBrief, MissionView, Missions, Phase, RunView, StartMission,
    service::ListQuery,
    watch::{self, Watch},
};
use crate::{JobId, routes::parse_id};

const TAG: &str = "missions";
/// When a caller should look for the end of a mission that it did not wait for.
const LOOK_AGAIN: HeaderValue = HeaderValue::from_static("1");
/// How often a silent stream shows that it lives.
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(15);
/// The longest wait of a look.
const WAIT_MAX_S: u64 = 60;
/// Open questions that are listed.
const APPROVALS_MAX: u32 = 500;
/// A picture runs and loads nothing, wherever it is opened.
const PICTURE_POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'self'",
);

/// Routes that wait as long as their caller asks.
pub const UNTIMED_ROUTES: &[&str] = &["/missions", "/missions/{id}"];
/// Routes that stream.
pub const STREAM_ROUTES: &[&str] = &["/missions/{id}/events"];

/// The routes, to be nested under `/missions`.
pub fn routes(missions: Missions) -> OpenApiRouter {
    OpenApiRouter::new()
        .routes(routes!(list, start))
        .routes(routes!(approvals))
        .merge(definitions::routes())
        .routes(routes!(show))
        .routes(routes!(graph))
        .routes(routes!(events))
        .routes(routes!(runs))
        .routes(routes!(approve))
        .routes(routes!(reject))
        .routes(routes!(cancel))
        .routes(routes!(retry))
        .with_state(missions)
}

fn id_of(text: &str) -> Result<JobId, Problem> {
    parse_id(text).map_err(|_| Problem::not_found("mission", text.chars().take(64).collect::<String>()))
}

/// Start a mission
///
/// It is kept before this answers, and will be run. With `Prefer: wait=N` the answer waits up to N seconds for its end: 200
/// if it ended by then. 200 also answers a mission whose `unique_key` is that of one that is kept.
#[utoipa::path(post, path = "/", tag = TAG, request_body = StartMission,
    params(("Prefer" = Option<String>, Header, description = "`wait=N`: seconds to wait for the end")),
    responses(
        (status = 202, description = "It is kept", body = MissionView),
        (status = 200, description = "It has ended, or was there already", body = MissionView),
    ))]
async fn start(
    State(missions): State<Missions>,
    caller: Caller,
    headers: HeaderMap,
    Json(start): Json<StartMission>,
) -> Result<Response, Problem> {
    let preference = Preference::of(&headers)?;
    let (id, existed) = missions.start(&caller, start).await?;
    let view = match preference.wait {
        Some(wait) if !preference.respond_async => missions.wait(caller.tenant(), id, wait).await?,
        _ => missions.get(caller.tenant(), id).await?,
    };
    let status = if existed || view.brief.state.is_final() { StatusCode::OK } else { StatusCode::ACCEPTED };
    let mut response = (status, Json(view)).into_response();
    let location = HeaderValue::try_from(format!("/missions/{id}"));
    response.headers_mut().extend(location.ok().map(|location| (header::LOCATION, location)));
    if status == StatusCode::ACCEPTED {
        response.headers_mut().insert(header::RETRY_AFTER, LOOK_AGAIN);
    }
    preference.applied(response.headers_mut());
    Ok(response)
}

/// Which missions a list shows.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct ListParams {
    /// In this state.
    state: Option<Phase>,
    /// Of this definition.
    name: Option<String>,
    /// Items per page, 1 to 500.
    limit: Option<u32>,
    /// `next` of the page before.
    cursor: Option<String>,
}

/// List missions
///
/// The newest first.
#[utoipa::path(get, path = "/", tag = TAG, params(ListParams), responses((status = 200, body = Page<MissionBrief>)))]
async fn list(
    State(missions): State<Missions>,
    caller: Caller,
    Query(params): Query<ListParams>,
) -> Result<Json<Page<MissionBrief>>, Problem> {
    let (limit, query, before) = match &params.cursor {
        Some(cursor) => {
            let cursor: Cursor<ListQuery, String> = Cursor::decode(cursor)?;
            (cursor.limit, cursor.query, Some(cursor.after))
        }
        None => (page_limit(params.limit)?, ListQuery { state: params.state, name: params.name }, None),
    };
    let found = missions.list(caller.tenant(), &query, before.as_deref(), limit + 1).await?;
    Page::from_overfetched(found, limit, &query, |mission| mission.id.to_string()).map(Json)
}

/// How long a look waits.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct LookParams {
    /// Seconds to wait for its end, 60 at most.
    wait: Option<u64>,
}

/// A mission
///
/// With its graph and the state of every step.
#[utoipa::path(get, path = "/{id}", tag = TAG, params(("id" = String, Path, description = "The mission"), LookParams),
    responses((status = 200, body = MissionView), (status = 304, description = "It has not changed")))]
async fn show(
    State(missions): State<Missions>,
    caller: Caller,
    headers: HeaderMap,
    Path(id): Path<String>,
    Query(params): Query<LookParams>,
) -> Result<Response, Problem> {
    let id = id_of(&id)?;
    let view = match params.wait {
        Some(wait) => missions.wait(caller.tenant(), id, Duration::from_secs(wait.min(WAIT_MAX_S))).await?,
        None => missions.get(caller.tenant(), id).await?,
    };
    let body = serde_json::to_vec(&view).map_err(|error| Problem::internal("showing a mission", &error))?;
    Ok(Etag::of(&body).answer(&headers, "application/json", body.into()))
}

/// A mission, drawn
///
/// Its graph as an SVG picture, with the state of every step in colour, sign and words.
#[utoipa::path(get, path = "/{id}/graph.svg", tag = TAG, params(("id" = String, Path, description = "The mission")),
    responses((status = 200, content_type = "image/svg+xml", body = String)))]
async fn graph(
    State(missions): State<Missions>,
    caller: Caller,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let picture = missions.graph_svg(caller.tenant(), id_of(&id)?).await?;
    let mut response = Etag::of(picture.as_bytes()).answer(&headers, "image/svg+xml", picture.into());
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, PICTURE_POLICY);
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    Ok(response)
}

/// Watch a mission
///
/// Server-sent events: `mission` with the whole mission whenever it changed, its `changes` as the event's id. The stream
/// ends with the mission. Reconnecting with `Last-Event-ID` tells only what is newer.
#[utoipa::path(get, path = "/{id}/events", tag = TAG, params(("id" = String, Path, description = "The mission")),
    responses((status = 200, content_type = "text/event-stream", body = String)))]
async fn events(
    State(missions): State<Missions>,
    caller: Caller,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let id = id_of(&id)?;
    missions.get(caller.tenant(), id).await?;
    let last = headers.get("last-event-id").and_then(|value| value.to_str().ok()?.parse().ok()).unwrap_or(0);
    let watch = Watch::begin(&missions, caller.tenant(), id, last)?;
    let alive = KeepAlive::new().interval(HEARTBEAT_INTERVAL);
    Ok(Sse::new(watch::events(watch)).keep_alive(alive).into_response())
}

/// Which runs of a step.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct RunsParams {
    /// Items from this one on.
    from: Option<u32>,
    /// Runs per page, 1 to 500.
    limit: Option<u32>,
}

/// The runs of a step.
#[derive(Debug, Serialize, ToSchema)]
struct Runs {
    /// By item.
    runs: Vec<RunView>,
    /// Ask with `from=` this for the next ones; absent on the last page.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<u32>,
}

/// The runs of a step
///
/// One for each item, with what it runs for and what it came to.
#[utoipa::path(get, path = "/{id}/steps/{step}", tag = TAG, params(
    ("id" = String, Path, description = "The mission"),
    ("step" = String, Path, description = "The step"),
    RunsParams,
), responses((status = 200, body = Runs)))]
async fn runs(
    State(missions): State<Missions>,
    caller: Caller,
    Path((id, step)): Path<(String, String)>,
    Query(params): Query<RunsParams>,
) -> Result<Json<Runs>, Problem> {
    let limit = page_limit(params.limit)?;
    let from = params.from.unwrap_or(0);
    let mut runs = missions.runs(caller.tenant(), id_of(&id)?, &step, from, limit + 1).await?;
    let next = runs.get(limit as usize).map(|run| run.item);
    runs.truncate(limit as usize);
    Ok(Json(Runs { runs, next }))
}

/// What people are asked.
#[derive(Debug, Serialize, ToSchema)]
struct OpenApprovals {
    /// The oldest first, 500 at most.
    approvals: Vec<ApprovalView>,
}

/// List open approvals
///
/// What your missions ask people now.
#[utoipa::path(get, path = "/approvals", tag = TAG, responses((status = 200, body = OpenApprovals)))]
async fn approvals(State(missions): State<Missions>, caller: Caller) -> Result<Json<OpenApprovals>, Problem> {
    let approvals = missions.open_approvals(caller.tenant(), APPROVALS_MAX).await?;
    Ok(Json(OpenApprovals { approvals }))
}

/// Why.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Comment {
    /// For those who look later; 2,000 characters at most.
    #[serde(default)]
    comment: Option<String>,
}

async fn decide(
    missions: &Missions,
    caller: &Caller,
    (id, step): &(String, String),
    approve: bool,
    comment: Option<Json<Comment>>,
) -> Result<Json<MissionView>, Problem> {
    // More than running missions takes: who runs one must not approve it by that alone.
    caller.require(Scope::admin("jobs"))?;
    let comment = comment.and_then(|Json(comment)| comment.comment);
    let decision = Decision { approve, comment };
    Ok(Json(missions.decide(caller, id_of(id)?, step, decision).await?))
}

/// Approve
///
/// Answers what a step asks with yes. Needs `jobs:admin`.
#[utoipa::path(post, path = "/{id}/steps/{step}/approve", tag = TAG, request_body = Option<Comment>, params(
    ("id" = String, Path, description = "The mission"),
    ("step" = String, Path, description = "The step"),
), responses((status = 200, body = MissionView)))]
async fn approve(
    State(missions): State<Missions>,
    caller: Caller,
    Path(place): Path<(String, String)>,
    comment: Option<Json<Comment>>,
) -> Result<Json<MissionView>, Problem> {
    decide(&missions, &caller, &place, true, comment).await
}

/// Reject
///
/// Answers what a step asks with no. Needs `jobs:admin`.
#[utoipa::path(post, path = "/{id}/steps/{step}/reject", tag = TAG, request_body = Option<Comment>, params(
    ("id" = String, Path, description = "The mission"),
    ("step" = String, Path, description = "The step"),
), responses((status = 200, body = MissionView)))]
async fn reject(
    State(missions): State<Missions>,
    caller: Caller,
    Path(place): Path<(String, String)>,
    comment: Option<Json<Comment>>,
) -> Result<Json<MissionView>, Problem> {
    decide(&missions, &caller, &place, false, comment).await
}

/// Cancel a mission
///
/// What runs is cancelled, what is done is compensated, then it ends as cancelled.
#[utoipa::path(post, path = "/{id}/cancel", tag = TAG, params(("id" = String, Path, description = "The mission")),
    responses((status = 200, body = MissionView)))]
async fn cancel(
    State(missions): State<Missions>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<MissionView>, Problem> {
    Ok(Json(missions.cancel(caller.tenant(), id_of(&id)?).await?))
}

/// Retry a mission
///
/// Goes on with a mission that failed or was cancelled, from what failed; what stands is kept.
#[utoipa::path(post, path = "/{id}/retry", tag = TAG, params(("id" = String, Path, description = "The mission")),
    responses((status = 200, body = MissionView)))]
async fn retry(
    State(missions): State<Missions>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<MissionView>, Problem> {
    Ok(Json(missions.retry(caller.tenant(), id_of(&id)?).await?))
}
