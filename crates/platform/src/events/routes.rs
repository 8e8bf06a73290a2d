//! `/events`: what happens in the whole server.

use axum::{
    extract::{
        State,
        ws::{WebSocketUpgrade, rejection::WebSocketUpgradeRejection},
    },
    response::Response,
};
use http::HeaderMap;
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{EventFilter, Events, Naming, socket::MESSAGE_SIZE_MAX};
use crate::{http::Query, identity::Caller, problem::Problem};

/// The pattern of the route, for the rules of the edge.
pub const EVENTS_ROUTE: &str = "/events";

/// Which events to show.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct EventsQuery {
    /// Of these topics alone, separated by commas; `jobs` stands for all within it. All that the key may read when left
    /// out.
    topics: Option<String>,
    /// Of these types alone, separated by commas.
    types: Option<String>,
    /// As the header `Last-Event-ID`, for clients that cannot set it.
    last_event_id: Option<String>,
    /// The key, for browsers, which cannot send it in a header here.
    token: Option<String>,
}

/// The routes of the feed.
pub fn router(events: Events) -> OpenApiRouter {
    OpenApiRouter::new().routes(routes!(watch)).with_state(events)
}

/// Watch what happens
///
/// Server-sent events, named by their topic; with a WebSocket's upgrade, one JSON object per message instead. Reconnecting
/// with `Last-Event-ID` yields what was missed; `lagged` says that some of it is gone.
#[utoipa::path(get, path = "/events", tag = "events", params(EventsQuery), responses(
    (status = OK, content_type = "text/event-stream", body = String, description = "The events, as they come"),
    (status = SWITCHING_PROTOCOLS, description = "The events, over a WebSocket"),
))]
async fn watch(
    State(events): State<Events>,
    caller: Caller,
    Query(query): Query<EventsQuery>,
    headers: HeaderMap,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, Problem> {
    let filter =
        EventFilter::new(&events, &caller, query.topics.as_deref())?.of_types(query.types.as_deref());
    let last_id = headers.get("last-event-id").and_then(|id| id.to_str().ok());
    let watch = events.watch(filter, last_id.or(query.last_event_id.as_deref()))?;
    match upgrade {
        Ok(upgrade) => {
            let upgrade = upgrade.max_message_size(MESSAGE_SIZE_MAX).max_frame_size(MESSAGE_SIZE_MAX);
            Ok(upgrade.on_upgrade(|socket| events.serve(watch, socket)))
        }
        Err(_) => Ok(events.stream(watch, Naming::Topic)),
    }
}
