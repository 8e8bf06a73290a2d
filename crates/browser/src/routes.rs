//! The routes under `/browser`: Pinchtab's paths and shapes.

use axum::{
    extract::State,
    response::{IntoResponse, Response},
};
use http::{StatusCode, header};
use paddock_platform::{
    http::{Json, Path, Query},
    identity::Caller,
    problem::Problem,
};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    api::{
        CloseRequest, Closed, EvaluateRequest, Evaluated, Health, InstanceView, NavigateRequest, Navigated,
        OpenRequest, Picture, ScreenshotQuery, SnapshotQuery, StartRequest, Stopped, TabList, TabView,
        WaitFor,
    },
    ids::{InstanceId, TabId},
    service::{BrowserService, picture},
    snapshot::Format,
};

/// All routes of the area, to be nested under `/browser`.
pub fn router(service: BrowserService) -> OpenApiRouter {
    OpenApiRouter::new()
        .routes(routes!(list_instances))
        .routes(routes!(start_instance))
        .routes(routes!(launch_instance))
        .routes(routes!(list_all_tabs))
        .routes(routes!(get_instance))
        .routes(routes!(stop_instance))
        .routes(routes!(open_tab))
        .routes(routes!(list_instance_tabs))
        .routes(routes!(list_tabs))
        .routes(routes!(navigate))
        .routes(routes!(navigate_tab))
        .routes(routes!(snapshot))
        .routes(routes!(snapshot_tab))
        .routes(routes!(screenshot))
        .routes(routes!(screenshot_tab))
        .routes(routes!(evaluate))
        .routes(routes!(evaluate_tab))
        .routes(routes!(close))
        .routes(routes!(close_tab))
        .routes(routes!(health))
        .with_state(service)
}

type Service = State<BrowserService>;

/// Lists the instances of the caller's tenant, oldest first.
#[utoipa::path(get, path = "/instances", tag = "browser",
    responses((status = OK, body = Vec<InstanceView>)))]
async fn list_instances(State(service): Service, caller: Caller) -> Result<Json<Vec<InstanceView>>, Problem> {
    Ok(Json(service.instances(&caller)?))
}

/// Starts an instance: an isolated browser with its own cookies and storage.
#[utoipa::path(post, path = "/instances/start", tag = "browser", request_body = Option<StartRequest>,
    responses((status = CREATED, body = InstanceView)))]
async fn start_instance(
    State(service): Service,
    caller: Caller,
    request: Option<Json<StartRequest>>,
) -> Result<(StatusCode, Json<InstanceView>), Problem> {
    let request = request.map(|Json(request)| request).unwrap_or_default();
    Ok((StatusCode::CREATED, Json(service.start(&caller, request).await?)))
}

/// Starts an instance; another name of `/instances/start`.
#[utoipa::path(post, path = "/instances/launch", tag = "browser", request_body = Option<StartRequest>,
    responses((status = CREATED, body = InstanceView)))]
async fn launch_instance(
    service: Service,
    caller: Caller,
    request: Option<Json<StartRequest>>,
) -> Result<(StatusCode, Json<InstanceView>), Problem> {
    start_instance(service, caller, request).await
}

/// Shows one instance.
#[utoipa::path(get, path = "/instances/{id}", tag = "browser", params(("id" = String, Path)),
    responses((status = OK, body = InstanceView)))]
async fn get_instance(
    State(service): Service,
    caller: Caller,
    Path(id): Path<InstanceId>,
) -> Result<Json<InstanceView>, Problem> {
    Ok(Json(service.instance(&caller, &id)?))
}

/// Stops an instance and forgets its cookies and storage.
#[utoipa::path(post, path = "/instances/{id}/stop", tag = "browser", params(("id" = String, Path)),
    responses((status = OK, body = Stopped)))]
async fn stop_instance(
    State(service): Service,
    caller: Caller,
    Path(id): Path<InstanceId>,
) -> Result<Json<Stopped>, Problem> {
    Ok(Json(service.stop(&caller, &id).await?))
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
    responses((status = OK, body = Vec<TabView>)))]
async fn list_all_tabs(State(service): Service, caller: Caller) -> Result<Json<Vec<TabView>>, Problem> {
    Ok(Json(service.tabs(&caller, None).await?))
}

/// Lists the tabs of all instances of the caller's tenant, the last used first.
#[utoipa::path(get, path = "/tabs", tag = "browser", responses((status = OK, body = TabList)))]
async fn list_tabs(State(service): Service, caller: Caller) -> Result<Json<TabList>, Problem> {
    Ok(Json(TabList { tabs: service.tabs(&caller, None).await? }))
}

/// Goes to an address, in the tab of `tabId` or in a new one.
#[utoipa::path(post, path = "/navigate", tag = "browser", request_body = NavigateRequest,
    responses((status = OK, body = Navigated)))]
async fn navigate(
    State(service): Service,
    caller: Caller,
    Json(request): Json<NavigateRequest>,
) -> Result<Json<Navigated>, Problem> {
    Ok(Json(service.navigate(&caller, request, WaitFor::Load).await?))
}

/// Goes to an address in this tab.
#[utoipa::path(post, path = "/tabs/{id}/navigate", tag = "browser", params(("id" = String, Path)),
    request_body = NavigateRequest, responses((status = OK, body = Navigated)))]
async fn navigate_tab(
    State(service): Service,
    caller: Caller,
    Path(id): Path<TabId>,
    Json(request): Json<NavigateRequest>,
) -> Result<Json<Navigated>, Problem> {
    let request = NavigateRequest { tab_id: Some(id), new_tab: false, ..request };
    Ok(Json(service.navigate(&caller, request, WaitFor::Load).await?))
}

/// Takes an accessibility snapshot: roles, names, values and references of what is on the page.
#[utoipa::path(get, path = "/snapshot", tag = "browser", params(SnapshotQuery),
    responses((status = OK, description = "The snapshot in the format that was asked for", body = String)))]
async fn snapshot(
    State(service): Service,
    caller: Caller,
    Query(query): Query<SnapshotQuery>,
) -> Result<Response, Problem> {
    let (rendered, _) = service.snapshot(&caller, query, Format::Json).await?;
    Ok(([(header::CONTENT_TYPE, rendered.content_type)], rendered.body).into_response())
}

/// Takes an accessibility snapshot of this tab.
#[utoipa::path(get, path = "/tabs/{id}/snapshot", tag = "browser", params(("id" = String, Path), SnapshotQuery),
    responses((status = OK, description = "The snapshot in the format that was asked for", body = String)))]
async fn snapshot_tab(
    service: Service,
    caller: Caller,
    Path(id): Path<TabId>,
    Query(query): Query<SnapshotQuery>,
) -> Result<Response, Problem> {
    snapshot(service, caller, Query(SnapshotQuery { tab_id: Some(id), ..query })).await
}

/// Takes a picture.
#[utoipa::path(get, path = "/screenshot", tag = "browser", params(ScreenshotQuery),
    responses((status = OK, description = "The picture; with `raw=true` the image itself", body = Picture)))]
async fn screenshot(
    State(service): Service,
    caller: Caller,
    Query(query): Query<ScreenshotQuery>,
) -> Result<Response, Problem> {
    let raw = query.raw;
    let (format, image) = service.screenshot(&caller, query).await?;
    Ok(if raw {
        ([(header::CONTENT_TYPE, format.mime())], image).into_response()
    } else {
        Json(picture(format, &image)).into_response()
    })
}

/// Takes a picture of this tab.
#[utoipa::path(get, path = "/tabs/{id}/screenshot", tag = "browser",
    params(("id" = String, Path), ScreenshotQuery),
    responses((status = OK, description = "The picture; with `raw=true` the image itself", body = Picture)))]
async fn screenshot_tab(
    service: Service,
    caller: Caller,
    Path(id): Path<TabId>,
    Query(query): Query<ScreenshotQuery>,
) -> Result<Response, Problem> {
    screenshot(service, caller, Query(ScreenshotQuery { tab_id: Some(id), ..query })).await
}

/// Evaluates JavaScript in the page.
#[utoipa::path(post, path = "/evaluate", tag = "browser", request_body = EvaluateRequest,
    responses((status = OK, body = Evaluated)))]
async fn evaluate(
    State(service): Service,
    caller: Caller,
    Json(request): Json<EvaluateRequest>,
) -> Result<Json<Evaluated>, Problem> {
    Ok(Json(service.evaluate(&caller, request).await?))
}

/// Evaluates JavaScript in the page of this tab.
#[utoipa::path(post, path = "/tabs/{id}/evaluate", tag = "browser", params(("id" = String, Path)),
    request_body = EvaluateRequest, responses((status = OK, body = Evaluated)))]
async fn evaluate_tab(
    service: Service,
    caller: Caller,
    Path(id): Path<TabId>,
    Json(request): Json<EvaluateRequest>,
) -> Result<Json<Evaluated>, Problem> {
    evaluate(service, caller, Json(EvaluateRequest { tab_id: Some(id), ..request })).await
}

/// Closes a tab.
#[utoipa::path(post, path = "/close", tag = "browser", request_body = Option<CloseRequest>,
    responses((status = OK, body = Closed)))]
async fn close(
    State(service): Service,
    caller: Caller,
    request: Option<Json<CloseRequest>>,
) -> Result<Json<Closed>, Problem> {
    let request = request.map(|Json(request)| request).unwrap_or_default();
    Ok(Json(service.close(&caller, request).await?))
}

/// Closes this tab.
#[utoipa::path(post, path = "/tabs/{id}/close", tag = "browser", params(("id" = String, Path)),
    responses((status = OK, body = Closed)))]
async fn close_tab(service: Service, caller: Caller, Path(id): Path<TabId>) -> Result<Json<Closed>, Problem> {
    close(service, caller, Some(Json(CloseRequest { tab_id: Some(id) }))).await
}

/// Tells whether browsers can be used, and how many the caller's tenant has.
#[utoipa::path(get, path = "/health", tag = "browser",
    responses((status = OK, body = Health), (status = SERVICE_UNAVAILABLE, body = Health)))]
async fn health(State(service): Service, caller: Caller) -> Result<(StatusCode, Json<Health>), Problem> {
    let health = service.health(&caller)?;
    let status = if health.reason.is_none() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    Ok((status, Json(health)))
}
