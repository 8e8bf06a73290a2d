//! Watching tabs live.

use axum::{
    extract::{
        State,
        ws::{WebSocketUpgrade, rejection::WebSocketUpgradeRejection},
    },
    response::{IntoResponse, Response},
};
use http::header;
use paddock_platform::{
    http::{Json, Path, Query},
    identity::Caller,
    problem::Problem,
};
use utoipa_axum::routes;

use super::{Routes, passthrough::not_a_websocket};
use crate::{
    ids::InstanceId,
    service::{BrowserService, ScreencastQuery, Target, WatchableTab},
};

type Service = State<BrowserService>;
type Upgrade = Result<WebSocketUpgrade, WebSocketUpgradeRejection>;

/// Largest message of a viewer: text that is pasted.
const MESSAGE_SIZE_MAX: usize = 256 << 10;
/// The page is one file: it loads nothing but what it shows.
const LIVE_PAGE: &str = include_str!("live.html");
const LIVE_POLICY: &str = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; \
    img-src blob: data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

pub(super) fn routes() -> Routes {
    Routes::new()
        .routes(routes!(screencast))
        .routes(routes!(screencast_tabs))
        .routes(routes!(instance_screencast))
        .routes(routes!(instance_screencast_proxy))
        .routes(routes!(live))
}

/// Streams a tab as JPEG images over a WebSocket, one per binary message, whenever it changes. Text messages of the viewer
/// are input: `{"type":"mouse"|"key"|"text",…}`.
#[utoipa::path(get, path = "/screencast", tag = "browser",
    params(("tabId" = Option<String>, Query), ScreencastQuery),
    responses((status = SWITCHING_PROTOCOLS, description = "JPEG images")))]
async fn screencast(
    State(service): Service,
    target: Target,
    Query(query): Query<ScreencastQuery>,
    upgrade: Upgrade,
) -> Result<Response, Problem> {
    view(&service, target, None, query, upgrade).await
}

/// Lists the tabs that can be watched.
#[utoipa::path(get, path = "/screencast/tabs", tag = "browser",
    responses((status = OK, body = Vec<WatchableTab>)))]
async fn screencast_tabs(
    State(service): Service,
    caller: Caller,
) -> Result<Json<Vec<WatchableTab>>, Problem> {
    Ok(Json(service.watchable_tabs(&caller).await?))
}

/// Streams a tab of an instance; without `tabId`, the one that was used last.
#[utoipa::path(get, path = "/instances/{id}/screencast", tag = "browser",
    params(("id" = String, Path), ("tabId" = Option<String>, Query), ScreencastQuery),
    responses((status = SWITCHING_PROTOCOLS, description = "JPEG images")))]
async fn instance_screencast(
    State(service): Service,
    Path(id): Path<InstanceId>,
    target: Target,
    Query(query): Query<ScreencastQuery>,
    upgrade: Upgrade,
) -> Result<Response, Problem> {
    view(&service, target, Some(id), query, upgrade).await
}

/// Another name of `/instances/{id}/screencast`.
#[utoipa::path(get, path = "/instances/{id}/proxy/screencast", tag = "browser",
    params(("id" = String, Path), ("tabId" = Option<String>, Query), ScreencastQuery),
    responses((status = SWITCHING_PROTOCOLS, description = "JPEG images")))]
async fn instance_screencast_proxy(
    service: Service,
    id: Path<InstanceId>,
    target: Target,
    query: Query<ScreencastQuery>,
    upgrade: Upgrade,
) -> Result<Response, Problem> {
    instance_screencast(service, id, target, query, upgrade).await
}

async fn view(
    service: &BrowserService,
    target: Target,
    instance: Option<InstanceId>,
    query: ScreencastQuery,
    upgrade: Upgrade,
) -> Result<Response, Problem> {
    let upgrade = upgrade.map_err(|_| not_a_websocket())?;
    let viewing = service.view(target, instance, query).await?;
    let upgrade = upgrade.max_message_size(MESSAGE_SIZE_MAX).max_frame_size(MESSAGE_SIZE_MAX);
    Ok(upgrade.on_upgrade(|socket| viewing.serve(socket)))
}

/// The live view: a page that lists instances and tabs, shows one as it changes, and takes clicks and keys.
#[utoipa::path(get, path = "/live", tag = "browser",
    responses((status = OK, content_type = "text/html", body = String)))]
async fn live() -> Response {
    let headers =
        [(header::CONTENT_TYPE, "text/html; charset=utf-8"), (header::CONTENT_SECURITY_POLICY, LIVE_POLICY)];
    (headers, LIVE_PAGE).into_response()
}
