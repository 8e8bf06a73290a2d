//! Instances: start, list, show, stop.

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
    service::{BrowserService, FreshQuery, Health, InstanceView, StartRequest, Stopped},
};

type Service = State<BrowserService>;

pub(super) fn routes() -> Routes {
    Routes::new()
        .routes(routes!(list_instances))
        .routes(routes!(start_instance))
        .routes(routes!(launch_instance))
        .routes(routes!(get_instance))
        .routes(routes!(stop_instance))
        .routes(routes!(health))
}

/// Lists the instances of the caller's tenant, oldest first.
#[utoipa::path(get, path = "/instances", tag = "browser",
    params(FreshQuery), responses((status = OK, body = Vec<InstanceView>)))]
async fn list_instances(
    State(service): Service,
    caller: Caller,
    Query(query): Query<FreshQuery>,
) -> Result<Json<Arc<Vec<InstanceView>>>, Problem> {
    Ok(Json(service.all_instances(&caller, query.is_fresh()).await?))
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

/// Tells whether browsers can be used, and how many the caller's tenant has.
#[utoipa::path(get, path = "/health", tag = "browser",
    responses((status = OK, body = Health), (status = SERVICE_UNAVAILABLE, body = Health)))]
async fn health(State(service): Service, caller: Caller) -> Result<(StatusCode, Json<Health>), Problem> {
    let health = service.health(&caller)?;
    let status = if health.reason.is_none() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    Ok((status, Json(health)))
}
