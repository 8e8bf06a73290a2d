//! Acting on a page.

use axum::extract::State;
use paddock_platform::{
    http::{Json, Query},
    problem::Problem,
};
use utoipa_axum::routes;

use super::Routes;
use crate::service::{
    ActionDone, ActionRequest, ActionsDone, ActionsRequest, BrowserService, MacroDone, MacroRequest, Target,
};

type Service = State<BrowserService>;

/// Those that act on a tab.
pub(super) fn in_tab() -> Routes {
    Routes::new().routes(routes!(act, act_by_query)).routes(routes!(act_in_turn))
}

/// Those that name their tab themselves.
pub(super) fn routes() -> Routes {
    Routes::new().routes(routes!(run_macro))
}

/// Clicks, types, scrolls, …: one action, as a user would do it.
#[utoipa::path(post, path = "/action", tag = "browser", request_body = ActionRequest,
    responses((status = OK, body = ActionDone)))]
async fn act(
    State(service): Service,
    target: Target,
    Json(request): Json<ActionRequest>,
) -> Result<Json<ActionDone>, Problem> {
    Ok(Json(service.act(target, request).await?))
}

/// As `POST /action`, for clients that only send queries.
#[utoipa::path(get, path = "/action", tag = "browser", params(ActionRequest),
    responses((status = OK, body = ActionDone)))]
async fn act_by_query(
    State(service): Service,
    target: Target,
    Query(request): Query<ActionRequest>,
) -> Result<Json<ActionDone>, Problem> {
    Ok(Json(service.act(target, request).await?))
}

/// Does several actions one after another.
#[utoipa::path(post, path = "/actions", tag = "browser", request_body = ActionsRequest,
    responses((status = OK, body = ActionsDone)))]
async fn act_in_turn(
    State(service): Service,
    target: Target,
    Json(request): Json<ActionsRequest>,
) -> Result<Json<ActionsDone>, Problem> {
    Ok(Json(service.act_in_turn(target, request).await?))
}

/// Does steps one after another: actions, waits and navigations.
#[utoipa::path(post, path = "/macro", tag = "browser", request_body = MacroRequest,
    responses((status = OK, body = MacroDone)))]
async fn run_macro(
    State(service): Service,
    target: Target,
    Json(request): Json<MacroRequest>,
) -> Result<Json<MacroDone>, Problem> {
    Ok(Json(service.run_macro(target, request).await?))
}
