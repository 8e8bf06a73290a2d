//! Tabs: list, open, close.

use std::sync::Arc;

use axum::extract::State;
use http::StatusCode;
use paddock_platform::{
    http::{Json, Path, Query},
    identity::Caller,
    problem::Problem,
};
use utoipa_axum::routes;

use super::Routes;
use crate::{
    ids::InstanceId,
    service::{
        BrowserService, CloseRequest, Closed, FreshQuery, Navigated, OpenRequest, PageState, TabActionDone,
        TabActionRequest, TabList, TabView, Target,
    },
};

type Service = State<BrowserService>;

pub(super) fn routes() -> Routes {
    Routes::new()
        .routes(routes!(list_all_tabs))
        .routes(routes!(open_tab))
        .routes(routes!(list_instance_tabs))
        .routes(routes!(list_tabs))
        .routes(routes!(act_on_tab))
        .routes(routes!(page_state))
}

/// Those that act on a tab.
pub(super) fn in_tab() -> Routes {
    Routes::new().routes(routes!(close))
}

/// Opens a tab in an instance, and goes to an address with it if one is given.
#[utoipa::path(post, path = "/instances/{id}/tabs/open", tag = "browser", params(("id" = String, Path)),
    request_body = Option<OpenRequest>, responses((status = CREATED, body = Navigated)))]
async fn open_tab(
    State(service): Service,
    caller: Caller,
    Path(id): Path<InstanceId>,
    request: Option<Json<OpenRequest>>,
) -> Result<(StatusCode, Json<Navigated>), Problem> {
    let request = request.map(|Json(request)| request).unwrap_or_default();
    Ok((StatusCode::CREATED, Json(service.open(&caller, &id, request).await?)))
}

/// Lists the tabs of an instance.
#[utoipa::path(get, path = "/instances/{id}/tabs", tag = "browser", params(("id" = String, Path)),
    responses((status = OK, body = Vec<TabView>)))]
async fn list_instance_tabs(
    State(service): Service,
    caller: Caller,
    Path(id): Path<InstanceId>,
) -> Result<Json<Vec<TabView>>, Problem> {
    Ok(Json(service.tabs(&caller, Some(&id)).await?))
}

/// Lists the tabs of all instances of the caller's tenant.
#[utoipa::path(get, path = "/instances/tabs", tag = "browser",
    params(FreshQuery), responses((status = OK, body = Vec<TabView>)))]
async fn list_all_tabs(
    State(service): Service,
    caller: Caller,
    Query(query): Query<FreshQuery>,
) -> Result<Json<Arc<Vec<TabView>>>, Problem> {
    Ok(Json(service.all_tabs(&caller, query.is_fresh()).await?))
}

/// Lists the tabs of all instances of the caller's tenant, the last used first.
#[utoipa::path(get, path = "/tabs", tag = "browser", params(FreshQuery),
    responses((status = OK, body = TabList)))]
async fn list_tabs(
    State(service): Service,
    caller: Caller,
    Query(query): Query<FreshQuery>,
) -> Result<Json<TabList>, Problem> {
    let tabs = service.all_tabs(&caller, query.is_fresh()).await?;
    Ok(Json(TabList { tabs: tabs.to_vec() }))
}

/// Opens a tab (`new`), makes one the current one (`focus`), or closes one (`close`).
#[utoipa::path(post, path = "/tab", tag = "browser", request_body = TabActionRequest,
    responses((status = OK, body = TabActionDone)))]
async fn act_on_tab(
    State(service): Service,
    target: Target,
    Json(request): Json<TabActionRequest>,
) -> Result<Json<TabActionDone>, Problem> {
    Ok(Json(service.act_on_tab(target, request).await?))
}

/// Tells how a tab is: whether its page loads, whether it can be acted on, whether a dialog is in the way.
#[utoipa::path(get, path = "/tabs/{tab}/state", tag = "browser", params(("tab" = String, Path)),
    responses((status = OK, body = PageState)))]
async fn page_state(State(service): Service, target: Target) -> Result<Json<PageState>, Problem> {
    Ok(Json(service.page_state(&target).await?))
}

/// Closes a tab.
#[utoipa::path(post, path = "/close", tag = "browser", request_body = Option<CloseRequest>,
    responses((status = OK, body = Closed)))]
async fn close(
    State(service): Service,
    target: Target,
    request: Option<Json<CloseRequest>>,
) -> Result<Json<Closed>, Problem> {
    let request = request.map(|Json(request)| request).unwrap_or_default();
    Ok(Json(service.close(target.or(request.tab_id)).await?))
}
