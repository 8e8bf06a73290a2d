//! What clients do in one instance, whichever of its tabs is the current one.

use axum::extract::State;
use paddock_platform::{
    http::{Json, Path},
    problem::Problem,
};
use utoipa_axum::routes;

use super::Routes;
use crate::{
    ids::InstanceId,
    service::{
        BrowserService, CacheStatus, Cleared, CookiesSet, SetCookiesRequest, TabActionDone, TabActionRequest,
        Target,
    },
};

type Service = State<BrowserService>;

pub(super) fn routes() -> Routes {
    Routes::new()
        .routes(routes!(clear_cache))
        .routes(routes!(cache_status))
        .routes(routes!(set_cookies))
        .routes(routes!(act_on_tab))
}

/// Empties the HTTP cache of an instance.
#[utoipa::path(post, path = "/instances/{id}/cache/clear", tag = "browser", params(("id" = String, Path)),
    responses((status = OK, body = Cleared)))]
async fn clear_cache(
    State(service): Service,
    target: Target,
    Path(id): Path<InstanceId>,
) -> Result<Json<Cleared>, Problem> {
    Ok(Json(service.clear_cache_of(&target.caller, &id).await?))
}

/// Tells whether the HTTP cache of an instance can be emptied.
#[utoipa::path(get, path = "/instances/{id}/cache/status", tag = "browser", params(("id" = String, Path)),
    responses((status = OK, body = CacheStatus)))]
async fn cache_status(
    State(service): Service,
    target: Target,
    Path(id): Path<InstanceId>,
) -> Result<Json<CacheStatus>, Problem> {
    Ok(Json(service.cache_status_of(&target.caller, &id)?))
}

/// Sets cookies of an instance, which needs no tab.
#[utoipa::path(post, path = "/instances/{id}/cookies", tag = "browser", params(("id" = String, Path)),
    request_body = SetCookiesRequest, responses((status = OK, body = CookiesSet)))]
async fn set_cookies(
    State(service): Service,
    target: Target,
    Path(id): Path<InstanceId>,
    Json(request): Json<SetCookiesRequest>,
) -> Result<Json<CookiesSet>, Problem> {
    Ok(Json(service.set_cookies_of(&target.caller, &id, request).await?))
}

/// As `/tab`, in one instance: opens a tab of it, makes one the current one, or closes one.
#[utoipa::path(post, path = "/instances/{id}/tab", tag = "browser", params(("id" = String, Path)),
    request_body = TabActionRequest, responses((status = OK, body = TabActionDone)))]
async fn act_on_tab(
    State(service): Service,
    target: Target,
    Path(id): Path<InstanceId>,
    Json(request): Json<TabActionRequest>,
) -> Result<Json<TabActionDone>, Problem> {
    Ok(Json(service.act_on_tab_of(target, &id, request).await?))
}
