//! The network log, its export, and the rules about requests.

use std::time::Duration;

use axum::{
    extract::State,
    response::{
        IntoResponse, Response, Sse,
        sse::{self, KeepAlive},
    },
};
use futures_util::Stream;
use http::header;
use paddock_platform::{
    http::{Json, Path, Query},
    problem::Problem,
};
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::routes;

use super::Routes;
use crate::{
    ids::TabId,
    network::{Filter, Route},
    service::{
        BodyQuery, BrowserService, ExportQuery, Exported, NetworkCleared, NetworkDetail, NetworkList,
        NetworkQuery, RouteList, RouteQuery, RoutesChanged, Target,
    },
};

type Service = State<BrowserService>;

/// How often a stream without news says that it is alive.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Those that act on a tab.
pub(super) fn in_tab() -> Routes {
    Routes::new()
        .routes(routes!(list))
        .routes(routes!(follow))
        .routes(routes!(export))
        .routes(routes!(export_stream))
        .routes(routes!(clear))
        .routes(routes!(list_routes, add_route, remove_routes))
        .routes(routes!(detail))
}

#[derive(Deserialize)]
struct RequestPath {
    #[serde(rename = "requestId")]
    request_id: String,
}

/// Names a tab.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
struct TabBody {
    /// The tab.
    tab_id: Option<TabId>,
}

fn events<S>(stream: S) -> Response
where
    S: Stream<Item = Result<sse::Event, axum::Error>> + Send + 'static,
{
    Sse::new(stream).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response()
}

/// Lists the last requests of a tab.
#[utoipa::path(get, path = "/network", tag = "browser", params(Filter, NetworkQuery),
    responses((status = OK, body = NetworkList)))]
async fn list(
    State(service): Service,
    target: Target,
    Query(filter): Query<Filter>,
    Query(query): Query<NetworkQuery>,
) -> Result<Response, Problem> {
    Ok(if query.broken {
        Json(service.broken_assets(&target, &filter).await?).into_response()
    } else {
        Json(service.network(&target, &filter).await?).into_response()
    })
}

/// Shows one request, with its body if asked.
#[utoipa::path(get, path = "/network/{requestId}", tag = "browser", params(("requestId" = String, Path), BodyQuery),
    responses((status = OK, body = NetworkDetail)))]
async fn detail(
    State(service): Service,
    target: Target,
    Path(path): Path<RequestPath>,
    Query(query): Query<BodyQuery>,
) -> Result<Json<NetworkDetail>, Problem> {
    Ok(Json(service.network_detail(&target, &path.request_id, query).await?))
}

/// Empties the log of a tab; without a tab, of all tabs.
#[utoipa::path(post, path = "/network/clear", tag = "browser", request_body = Option<TabBody>,
    responses((status = OK, body = NetworkCleared)))]
async fn clear(
    State(service): Service,
    target: Target,
    request: Option<Json<TabBody>>,
) -> Result<Json<NetworkCleared>, Problem> {
    let request = request.map(|Json(request)| request).unwrap_or_default();
    Ok(Json(service.clear_network(&target.or(request.tab_id)).await?))
}

/// Sends requests as server-sent events, each when it has ended.
#[utoipa::path(get, path = "/network/stream", tag = "browser", params(Filter),
    responses((status = OK, description = "Events `network`", content_type = "text/event-stream", body = String)))]
async fn follow(
    State(service): Service,
    target: Target,
    Query(filter): Query<Filter>,
) -> Result<Response, Problem> {
    Ok(events(service.network_stream(&target, filter).await?))
}

/// Exports requests as HAR 1.2 or as lines of JSON, into the answer or a file.
#[utoipa::path(get, path = "/network/export", tag = "browser", params(Filter, ExportQuery),
    responses((status = OK, description = "The requests, or where their file is", body = String)))]
async fn export(
    State(service): Service,
    target: Target,
    Query(filter): Query<Filter>,
    Query(query): Query<ExportQuery>,
) -> Result<Response, Problem> {
    Ok(match service.export_network(&target, &filter, query).await? {
        Exported::Text(format, text) => {
            ([(header::CONTENT_TYPE, format.content_type())], text).into_response()
        }
        Exported::File(file) => Json(file).into_response(),
    })
}

/// Writes requests into a file as they end, for as long as somebody listens.
#[utoipa::path(get, path = "/network/export/stream", tag = "browser", params(Filter, ExportQuery),
    responses((status = OK, description = "Events `entry` and `done`", content_type = "text/event-stream", body = String)))]
async fn export_stream(
    State(service): Service,
    target: Target,
    Query(filter): Query<Filter>,
    Query(query): Query<ExportQuery>,
) -> Result<Response, Problem> {
    Ok(events(service.stream_export(&target, filter, query).await?))
}

/// Lists the rules about requests of a tab.
#[utoipa::path(get, path = "/network/route", tag = "browser", responses((status = OK, body = RouteList)))]
async fn list_routes(State(service): Service, target: Target) -> Result<Json<RouteList>, Problem> {
    Ok(Json(service.routes(&target).await?))
}

/// Adds a rule: matching requests go on, fail, or are answered here.
#[utoipa::path(post, path = "/network/route", tag = "browser", request_body = Route,
    responses((status = OK, body = RoutesChanged)))]
async fn add_route(
    State(service): Service,
    target: Target,
    Json(route): Json<Route>,
) -> Result<Json<RoutesChanged>, Problem> {
    Ok(Json(service.add_route(&target, route).await?))
}

/// Removes the rules of a pattern, or all.
#[utoipa::path(delete, path = "/network/route", tag = "browser", params(RouteQuery),
    request_body = Option<RouteQuery>, responses((status = OK, body = RoutesChanged)))]
async fn remove_routes(
    State(service): Service,
    target: Target,
    Query(query): Query<RouteQuery>,
    request: Option<Json<RouteQuery>>,
) -> Result<Json<RoutesChanged>, Problem> {
    let pattern = query.pattern.or(request.and_then(|Json(request)| request.pattern));
    Ok(Json(service.remove_routes(&target, RouteQuery { pattern }).await?))
}
