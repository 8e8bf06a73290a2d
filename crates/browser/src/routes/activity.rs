//! Activity: what agents did, and as it happens.

use std::convert::Infallible;

use axum::{
    extract::State,
    response::sse::{KeepAlive, Sse},
};
use futures_util::{Stream, StreamExt};
use paddock_platform::{
    http::{Json, Path, Query},
    identity::Caller,
    problem::Problem,
};
use utoipa_axum::routes;

use super::Routes;
use crate::{
    activity::{AgentEvent, AgentView, Event, Filter},
    service::{AgentDetail, BrowserService, EventList, Reported, Target},
};

type Service = State<BrowserService>;

pub(super) fn routes() -> Routes {
    Routes::new()
        .routes(routes!(list_activity))
        .routes(routes!(list_agents))
        .routes(routes!(get_agent))
        .routes(routes!(watch_agent, report_event))
        .routes(routes!(watch_events))
}

/// Lists the last requests of the caller's tenant.
#[utoipa::path(get, path = "/api/activity", tag = "browser", params(Filter),
    responses((status = OK, body = EventList)))]
async fn list_activity(
    State(service): Service,
    caller: Caller,
    Query(filter): Query<Filter>,
) -> Result<Json<EventList>, Problem> {
    Ok(Json(service.activity(&caller, filter)?))
}

/// Lists the agents of the caller's tenant that were seen, by name.
#[utoipa::path(get, path = "/api/agents", tag = "browser", responses((status = OK, body = Vec<AgentView>)))]
async fn list_agents(State(service): Service, caller: Caller) -> Result<Json<Vec<AgentView>>, Problem> {
    Ok(Json(service.agents(&caller)?))
}

/// An agent and what it did last.
#[utoipa::path(get, path = "/api/agents/{id}", tag = "browser", params(("id" = String, Path)),
    responses((status = OK, body = AgentDetail)))]
async fn get_agent(
    State(service): Service,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<AgentDetail>, Problem> {
    Ok(Json(service.agent(&caller, &id)?))
}

/// What an agent does, as it does it.
#[utoipa::path(get, path = "/api/agents/{id}/events", tag = "browser", params(("id" = String, Path)),
    responses((status = OK, description = "Server-sent events", content_type = "text/event-stream")))]
async fn watch_agent(
    State(service): Service,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Sse<impl Stream<Item = Result<axum::response::sse::Event, Infallible>>>, Problem> {
    Ok(sse(service.watch(&caller, Some(id))?))
}

/// Takes in what an agent reports of itself.
#[utoipa::path(post, path = "/api/agents/{id}/events", tag = "browser", params(("id" = String, Path)),
    request_body = AgentEvent, responses((status = OK, body = Reported)))]
async fn report_event(
    State(service): Service,
    target: Target,
    Path(id): Path<String>,
    Json(report): Json<AgentEvent>,
) -> Result<Json<Reported>, Problem> {
    Ok(Json(service.report(&target, &id, report)?))
}

/// What the agents of the caller's tenant do, as they do it.
#[utoipa::path(get, path = "/api/events", tag = "browser",
    responses((status = OK, description = "Server-sent events", content_type = "text/event-stream")))]
async fn watch_events(
    State(service): Service,
    caller: Caller,
) -> Result<Sse<impl Stream<Item = Result<axum::response::sse::Event, Infallible>>>, Problem> {
    Ok(sse(service.watch(&caller, None)?))
}

fn sse(
    events: impl Stream<Item = Event> + Send + 'static,
) -> Sse<impl Stream<Item = Result<axum::response::sse::Event, Infallible>>> {
    let events = events.map(|event| {
        let kind = if event.report.is_some() { "agent" } else { "action" };
        let sent = axum::response::sse::Event::default().id(event.id.to_string()).event(kind);
        Ok(sent.json_data(&event).unwrap_or_default())
    });
    Sse::new(events).keep_alive(KeepAlive::default())
}
