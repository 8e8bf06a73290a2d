//! The console and the errors of a page.

use axum::extract::State;
use paddock_platform::{
    http::{Json, Query},
    problem::Problem,
};
use utoipa_axum::routes;

use super::Routes;
use crate::service::{BrowserService, ConsoleQuery, ConsoleView, ErrorsView, LogCleared, Target};

type Service = State<BrowserService>;

/// Those that act on a tab.
pub(super) fn in_tab() -> Routes {
    Routes::new()
        .routes(routes!(get_console))
        .routes(routes!(clear_console))
        .routes(routes!(get_errors))
        .routes(routes!(clear_errors))
}

/// Shows what the present document wrote to its console.
#[utoipa::path(get, path = "/console", tag = "browser", params(ConsoleQuery),
    responses((status = OK, body = ConsoleView)))]
async fn get_console(
    State(service): Service,
    target: Target,
    Query(query): Query<ConsoleQuery>,
) -> Result<Json<ConsoleView>, Problem> {
    Ok(Json(service.console(&target, query).await?))
}

/// Forgets what the page wrote to its console.
#[utoipa::path(post, path = "/console/clear", tag = "browser", responses((status = OK, body = LogCleared)))]
async fn clear_console(State(service): Service, target: Target) -> Result<Json<LogCleared>, Problem> {
    Ok(Json(service.clear_console(&target).await?))
}

/// Shows what the present document threw and nothing caught.
#[utoipa::path(get, path = "/errors", tag = "browser", params(ConsoleQuery),
    responses((status = OK, body = ErrorsView)))]
async fn get_errors(
    State(service): Service,
    target: Target,
    Query(query): Query<ConsoleQuery>,
) -> Result<Json<ErrorsView>, Problem> {
    Ok(Json(service.errors(&target, query).await?))
}

/// Forgets what the page threw.
#[utoipa::path(post, path = "/errors/clear", tag = "browser", responses((status = OK, body = LogCleared)))]
async fn clear_errors(State(service): Service, target: Target) -> Result<Json<LogCleared>, Problem> {
    Ok(Json(service.clear_errors(&target).await?))
}
