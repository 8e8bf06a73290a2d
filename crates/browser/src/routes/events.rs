//! Events over SSE.

use axum::{extract::State, response::Response};
use http::HeaderMap;
use paddock_platform::{http::Query, identity::Caller, problem::Problem};
use utoipa_axum::routes;

use super::Routes;
use crate::service::{BrowserService, EventsQuery};

pub(super) fn routes() -> Routes {
    Routes::new().routes(routes!(events))
}

/// Streams what happens to the caller's instances and tabs: states, navigations, dialogs, downloads, errors on the
/// console, crashes. Reconnecting with `Last-Event-ID` yields what was missed; `lagged` says that some of it is gone.
#[utoipa::path(get, path = "/events", tag = "browser", params(EventsQuery),
    responses((status = OK, content_type = "text/event-stream", body = String)))]
async fn events(
    State(service): State<BrowserService>,
    caller: Caller,
    Query(query): Query<EventsQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let last_id = headers.get("last-event-id").and_then(|id| id.to_str().ok());
    service.events(&caller, &query, last_id)
}
