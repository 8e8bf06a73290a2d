//! Going to an address.

use axum::extract::State;
use paddock_platform::{
    http::{Json, Query},
    problem::Problem,
};
use utoipa_axum::routes;

use super::Routes;
use crate::{
    history::Turn,
    service::{BrowserService, HistoryQuery, NavigateRequest, Navigated, Target, Turned, WaitFor},
};

/// Those that act on a tab.
pub(super) fn in_tab() -> Routes {
    Routes::new()
        .routes(routes!(navigate, navigate_by_query))
        .routes(routes!(back))
        .routes(routes!(forward))
        .routes(routes!(reload))
}

/// Goes to an address, in the tab of `tabId` or in a new one.
#[utoipa::path(post, path = "/navigate", tag = "browser", request_body = NavigateRequest,
    responses((status = OK, body = Navigated)))]
async fn navigate(
    State(service): State<BrowserService>,
    target: Target,
    Json(request): Json<NavigateRequest>,
) -> Result<Json<Navigated>, Problem> {
    Ok(Json(service.navigate(target, request, WaitFor::Load).await?))
}

/// As `POST /navigate`, for clients that only send queries.
#[utoipa::path(get, path = "/navigate", tag = "browser", params(NavigateRequest),
    responses((status = OK, body = Navigated)))]
async fn navigate_by_query(
    State(service): State<BrowserService>,
    target: Target,
    Query(request): Query<NavigateRequest>,
) -> Result<Json<Navigated>, Problem> {
    Ok(Json(service.navigate(target, request, WaitFor::Load).await?))
}

/// Goes back to the document before, if there is one.
#[utoipa::path(post, path = "/back", tag = "browser", params(HistoryQuery), responses((status = OK, body = Turned)))]
async fn back(
    State(service): State<BrowserService>,
    target: Target,
    Query(query): Query<HistoryQuery>,
) -> Result<Json<Turned>, Problem> {
    Ok(Json(service.turn(&target, Turn::Back, query).await?))
}

/// Goes forward to the document after, if there is one.
#[utoipa::path(post, path = "/forward", tag = "browser", params(HistoryQuery), responses((status = OK, body = Turned)))]
async fn forward(
    State(service): State<BrowserService>,
    target: Target,
    Query(query): Query<HistoryQuery>,
) -> Result<Json<Turned>, Problem> {
    Ok(Json(service.turn(&target, Turn::Forward, query).await?))
}

/// Loads the page again.
#[utoipa::path(post, path = "/reload", tag = "browser", params(HistoryQuery), responses((status = OK, body = Turned)))]
async fn reload(
    State(service): State<BrowserService>,
    target: Target,
    Query(query): Query<HistoryQuery>,
) -> Result<Json<Turned>, Problem> {
    Ok(Json(service.turn(&target, Turn::Reload, query).await?))
}
