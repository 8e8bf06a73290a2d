//! The server as Pinchtab's clients ask for it, and what is left out of Pinchtab's interface on purpose.

use std::sync::Arc;

use axum::{Extension, extract::State, response::Redirect};
use paddock_platform::{
    http::{Json, openapi},
    identity::Caller,
    problem::Problem,
};
use serde_json::Value;
use utoipa_axum::routes;

use super::Routes;
use crate::service::{BrowserService, ConfigView, Figures, FleetStatus, Target, TenantMetrics, left_out};

type Service = State<BrowserService>;

/// The description of the routes, made once when they are put together.
#[derive(Clone)]
struct Description(Result<Arc<Value>, Problem>);

pub(super) fn routes() -> Routes {
    Routes::new()
        .routes(routes!(tenant_metrics))
        .routes(routes!(config, set_config))
        .routes(routes!(always_on_status))
        .routes(routes!(autorestart_status))
        .routes(routes!(background_health))
        .routes(routes!(shut_down))
        .routes(routes!(login_page))
        .routes(routes!(dashboard))
        .routes(routes!(dashboard_page))
        .routes(routes!(log_in))
        .routes(routes!(elevate))
        .routes(routes!(log_out))
        .routes(routes!(stealth_status))
        .routes(routes!(rotate_fingerprint))
        .routes(routes!(solvers))
        .routes(routes!(autosolver_config))
}

/// Those that act on a tab.
pub(super) fn in_tab() -> Routes {
    Routes::new().routes(routes!(metrics)).routes(routes!(solve)).routes(routes!(solve_with))
}

/// The routes and a description of all of them, in which its own two paths appear as well.
pub(super) fn described(routes: Routes) -> Routes {
    let routes = routes.routes(routes!(describe)).routes(routes!(help));
    let description = openapi::document(routes.get_openapi()).map(|mut document| {
        document["servers"] = serde_json::json!([{ "url": "/browser" }]);
        Arc::new(document)
    });
    routes.layer(Extension(Description(description)))
}

/// Describes the routes under `/browser` (OpenAPI).
#[utoipa::path(get, path = "/openapi.json", tag = "browser", responses((status = OK, body = Value)))]
async fn describe(
    Extension(Description(description)): Extension<Description>,
) -> Result<Json<Arc<Value>>, Problem> {
    description.map(Json)
}

/// As `/openapi.json`.
#[utoipa::path(get, path = "/help", tag = "browser", responses((status = OK, body = Value)))]
async fn help(
    Extension(Description(description)): Extension<Description>,
) -> Result<Json<Arc<Value>>, Problem> {
    description.map(Json)
}

/// What a tab costs, or without one what the caller's tenant has and did.
#[utoipa::path(get, path = "/metrics", tag = "browser", params(("tabId" = Option<String>, Query)),
    responses((status = OK, body = Figures)))]
async fn metrics(State(service): Service, target: Target) -> Result<Json<Figures>, Problem> {
    Ok(Json(service.figures(&target).await?))
}

/// What the caller's tenant has and did.
#[utoipa::path(get, path = "/api/metrics", tag = "browser", responses((status = OK, body = TenantMetrics)))]
async fn tenant_metrics(State(service): Service, caller: Caller) -> Result<Json<TenantMetrics>, Problem> {
    Ok(Json(service.tenant_metrics(&caller)?))
}

/// The effective configuration of the browsers.
#[utoipa::path(get, path = "/api/config", tag = "browser", responses((status = OK, body = ConfigView)))]
async fn config(State(service): Service, caller: Caller) -> Result<Json<ConfigView>, Problem> {
    Ok(Json(service.config(&caller)?))
}

/// Not done: the configuration is a file.
#[utoipa::path(put, path = "/api/config", tag = "browser", responses((status = NOT_IMPLEMENTED)))]
async fn set_config() -> Problem {
    left_out(
        "changing the configuration over HTTP",
        "edit the section [browser] of paddock.toml: the server takes changes in as they are saved",
    )
}

/// How the fleet does.
#[utoipa::path(get, path = "/always-on/status", tag = "browser", responses((status = OK, body = FleetStatus)))]
async fn always_on_status(State(service): Service, caller: Caller) -> Result<Json<FleetStatus>, Problem> {
    Ok(Json(service.fleet_status(&caller)?))
}

/// How the fleet does.
#[utoipa::path(get, path = "/autorestart/status", tag = "browser", responses((status = OK, body = FleetStatus)))]
async fn autorestart_status(State(service): Service, caller: Caller) -> Result<Json<FleetStatus>, Problem> {
    Ok(Json(service.fleet_status(&caller)?))
}

/// How the fleet does.
#[utoipa::path(get, path = "/health/background", tag = "browser", responses((status = OK, body = FleetStatus)))]
async fn background_health(State(service): Service, caller: Caller) -> Result<Json<FleetStatus>, Problem> {
    Ok(Json(service.fleet_status(&caller)?))
}

/// Not done: the server is its operator's.
#[utoipa::path(post, path = "/shutdown", tag = "browser", responses((status = NOT_IMPLEMENTED)))]
async fn shut_down() -> Problem {
    left_out(
        "stopping the server over HTTP",
        "its operator stops it (SIGTERM); POST /instances/{id}/stop stops a browser",
    )
}

/// Leads to the status page.
#[utoipa::path(get, path = "/login", tag = "browser", responses((status = SEE_OTHER)))]
async fn login_page() -> Redirect {
    Redirect::to("/")
}

/// Leads to the status page.
#[utoipa::path(get, path = "/dashboard", tag = "browser", responses((status = SEE_OTHER)))]
async fn dashboard() -> Redirect {
    Redirect::to("/")
}

/// Leads to the status page.
#[utoipa::path(get, path = "/dashboard/{*page}", tag = "browser", params(("page" = String, Path)),
    responses((status = SEE_OTHER)))]
async fn dashboard_page() -> Redirect {
    Redirect::to("/")
}

fn no_cookies() -> Problem {
    left_out(
        "logging in with a cookie",
        "send a key with every request: `Authorization: Bearer KEY`, or `Authorization: Session TOKEN`",
    )
}

/// Not done: there are no login cookies.
#[utoipa::path(post, path = "/api/auth/login", tag = "browser", responses((status = NOT_IMPLEMENTED)))]
async fn log_in() -> Problem {
    no_cookies()
}

/// Not done: there are no login cookies.
#[utoipa::path(post, path = "/api/auth/elevate", tag = "browser", responses((status = NOT_IMPLEMENTED)))]
async fn elevate() -> Problem {
    no_cookies()
}

/// Not done: there are no login cookies.
#[utoipa::path(post, path = "/api/auth/logout", tag = "browser", responses((status = NOT_IMPLEMENTED)))]
async fn log_out() -> Problem {
    no_cookies()
}

fn no_stealth() -> Problem {
    left_out("hiding that a browser is automated", "pages see an ordinary headless Chrome")
}

fn no_solvers() -> Problem {
    left_out("solving captchas and challenges", "hand the tab to a person: POST /tabs/{id}/handoff")
}

/// Not done: browsers do not hide.
#[utoipa::path(get, path = "/stealth/status", tag = "browser", responses((status = NOT_IMPLEMENTED)))]
async fn stealth_status() -> Problem {
    no_stealth()
}

/// Not done: browsers do not hide.
#[utoipa::path(post, path = "/fingerprint/rotate", tag = "browser", responses((status = NOT_IMPLEMENTED)))]
async fn rotate_fingerprint() -> Problem {
    no_stealth()
}

/// Not done: challenges are for people.
#[utoipa::path(get, path = "/solvers", tag = "browser", responses((status = NOT_IMPLEMENTED)))]
async fn solvers() -> Problem {
    no_solvers()
}

/// Not done: challenges are for people.
#[utoipa::path(get, path = "/config/autosolver", tag = "browser", responses((status = NOT_IMPLEMENTED)))]
async fn autosolver_config() -> Problem {
    no_solvers()
}

/// Not done: challenges are for people.
#[utoipa::path(post, path = "/solve", tag = "browser", responses((status = NOT_IMPLEMENTED)))]
async fn solve() -> Problem {
    no_solvers()
}

/// Not done: challenges are for people.
#[utoipa::path(post, path = "/solve/{name}", tag = "browser", params(("name" = String, Path)),
    responses((status = NOT_IMPLEMENTED)))]
async fn solve_with() -> Problem {
    no_solvers()
}
