//! `/jobs/{id}/events` and `/jobs/queues/{queue}/events`.

use axum::{
    extract::State,
    response::{
        IntoResponse, Response,
        sse::{KeepAlive, Sse},
    },
};
use futures_util::StreamExt;
use http::{HeaderMap, StatusCode};
use paddock_platform::{
    events::{EventFilter, Events, HEARTBEAT_INTERVAL, Naming},
    http::{Path, Query},
    identity::{Caller, Scope},
    problem::Problem,
};
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::follow::Follow;
use crate::{Jobs, routes::parse_id};

#[derive(Clone, Debug)]
struct Live {
    jobs: Jobs,
    events: Events,
}

/// The routes that stream, to be nested under `/jobs`.
pub fn routes(jobs: Jobs, events: Events) -> OpenApiRouter {
    OpenApiRouter::new().routes(routes!(of_job)).routes(routes!(of_queue)).with_state(Live { jobs, events })
}

#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct StreamQuery {
    /// As the header `Last-Event-ID`, for clients that cannot set it.
    last_event_id: Option<String>,
    /// The key, for browsers, which cannot send it in a header here.
    token: Option<String>,
}

impl StreamQuery {
    fn last_id<'a>(&'a self, headers: &'a HeaderMap) -> Option<&'a str> {
        let header = headers.get("last-event-id").and_then(|id| id.to_str().ok());
        header.or(self.last_event_id.as_deref())
    }
}

/// Follow a job
///
/// Server-sent events: `state` with the job as lists show it, first as it is and then whenever it comes into another
/// state, and `progress`. The stream ends after the final state; who comes back with that `Last-Event-ID` gets 204, which
/// ends the reconnecting of an `EventSource`.
#[utoipa::path(get, path = "/{id}/events", tag = "jobs",
    params(("id" = String, Path, description = "The job"), StreamQuery),
    responses(
        (status = OK, content_type = "text/event-stream", body = String, description = "The events, as they come"),
        (status = NO_CONTENT, description = "The job has ended, and the watcher knows how"),
    ))]
async fn of_job(
    State(live): State<Live>,
    caller: Caller,
    Path(id): Path<String>,
    Query(query): Query<StreamQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    caller.require(Scope::read("jobs"))?;
    let id = parse_id(&id)?;
    let place = live.events.place()?;
    let seen = query.last_id(&headers).and_then(|id| id.parse().ok());
    let Some(follow) = Follow::begin(live.jobs, caller.tenant().clone(), id, seen, place).await? else {
        return Ok(StatusCode::NO_CONTENT.into_response());
    };
    let stopping = live.events.stopping();
    let events = follow.stream().take_until(async move { stopping.cancelled().await });
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(HEARTBEAT_INTERVAL)).into_response())
}

/// Watch a queue
///
/// Server-sent events of your jobs in it: `state` and `progress`. Reconnecting with `Last-Event-ID` yields what was
/// missed; `lagged` says that some of it is gone.
#[utoipa::path(get, path = "/queues/{queue}/events", tag = "jobs",
    params(("queue" = String, Path, description = "The queue"), StreamQuery),
    responses((status = OK, content_type = "text/event-stream", body = String, description = "The events, as they come")))]
async fn of_queue(
    State(live): State<Live>,
    caller: Caller,
    Path(queue): Path<String>,
    Query(query): Query<StreamQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let queues = live.jobs.queues(Some(caller.tenant())).await?;
    if !queues.iter().any(|known| known.name == queue) {
        return Err(Problem::not_found("queue", queue));
    }
    let filter = EventFilter::new(&live.events, &caller, Some("jobs.states,jobs.progress"))?;
    let watch = live.events.watch(filter.about("queue", Some(queue)), query.last_id(&headers))?;
    Ok(live.events.stream(watch, Naming::Kind))
}
