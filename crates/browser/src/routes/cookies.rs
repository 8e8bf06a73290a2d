//! Cookies.

use axum::extract::State;
use paddock_platform::{
    http::{Json, Query},
    problem::Problem,
};
use utoipa_axum::routes;

use super::Routes;
use crate::service::{
    BrowserService, Cleared, CookieList, CookieQuery, CookiesSet, SetCookiesRequest, Target,
};

type Service = State<BrowserService>;

/// Those that act on a tab.
pub(super) fn in_tab() -> Routes {
    Routes::new().routes(routes!(get_cookies, set_cookies, clear_cookies))
}

/// Lists the cookies that would be sent to an address.
#[utoipa::path(get, path = "/cookies", tag = "browser", params(CookieQuery),
    responses((status = OK, body = CookieList)))]
async fn get_cookies(
    State(service): Service,
    target: Target,
    Query(query): Query<CookieQuery>,
) -> Result<Json<CookieList>, Problem> {
    Ok(Json(service.cookies(&target, query).await?))
}

/// Sets cookies of the tab's instance.
#[utoipa::path(post, path = "/cookies", tag = "browser", request_body = SetCookiesRequest,
    responses((status = OK, body = CookiesSet)))]
async fn set_cookies(
    State(service): Service,
    target: Target,
    Json(request): Json<SetCookiesRequest>,
) -> Result<Json<CookiesSet>, Problem> {
    Ok(Json(service.set_cookies(&target.or(request.tab_id.clone()), request).await?))
}

/// Forgets all cookies of the tab's instance.
#[utoipa::path(delete, path = "/cookies", tag = "browser", responses((status = OK, body = Cleared)))]
async fn clear_cookies(State(service): Service, target: Target) -> Result<Json<Cleared>, Problem> {
    Ok(Json(service.clear_cookies(&target).await?))
}
