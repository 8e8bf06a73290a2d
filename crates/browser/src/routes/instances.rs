//! Instances: start, list, show, stop.

use std::{convert::Infallible, sync::Arc};

use axum::{
    extract::State,
    response::{
        IntoResponse, Response, Sse,
        sse::{Event, KeepAlive},
    },
};
use futures_util::{StreamExt, stream};
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
    service::{AttachRequest, BrowserService, FreshQuery, Health, InstanceView, StartRequest, Stopped},
};

type Service = State<BrowserService>;

pub(super) fn routes() -> Routes {
    Routes::new()
        .routes(routes!(list_instances))
        .routes(routes!(start_instance))
        .routes(routes!(launch_instance))
        .routes(routes!(get_instance))
        .routes(routes!(stop_instance))
        .routes(routes!(close_instance))
        .routes(routes!(wake_instance))
        .routes(routes!(wake_instance_too))
        .routes(routes!(hibernate_instance))
        .routes(routes!(restart_instance))
        .routes(routes!(get_log))
        .routes(routes!(stream_log))
        .routes(routes!(attach_chrome))
        .routes(routes!(attach_bridge))
        .routes(routes!(ensure_browser))
        .routes(routes!(ensure_chrome))
        .routes(routes!(restart_browser))
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
    let health = service.health(&caller).await?;
    let status = if health.reason.is_none() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    Ok((status, Json(health)))
}

/// Stops an instance; another name of `/instances/{id}/stop`.
#[utoipa::path(post, path = "/instances/{id}/close", tag = "browser", params(("id" = String, Path)),
    responses((status = OK, body = Stopped)))]
async fn close_instance(
    service: Service,
    caller: Caller,
    id: Path<InstanceId>,
) -> Result<Json<Stopped>, Problem> {
    stop_instance(service, caller, id).await
}

/// Wakes an instance that hibernates. Any request does so too.
#[utoipa::path(post, path = "/instances/{id}/wake", tag = "browser", params(("id" = String, Path)),
    responses((status = OK, body = InstanceView)))]
async fn wake_instance(
    State(service): Service,
    caller: Caller,
    Path(id): Path<InstanceId>,
) -> Result<Json<InstanceView>, Problem> {
    Ok(Json(service.wake(&caller, &id).await?))
}

/// Wakes an instance; another name of `/instances/{id}/wake`.
#[utoipa::path(post, path = "/instances/{id}/start", tag = "browser", params(("id" = String, Path)),
    responses((status = OK, body = InstanceView)))]
async fn wake_instance_too(
    service: Service,
    caller: Caller,
    id: Path<InstanceId>,
) -> Result<Json<InstanceView>, Problem> {
    wake_instance(service, caller, id).await
}

/// Saves an instance's state and gives its memory back; the next request wakes it. 409 while something uses it.
#[utoipa::path(post, path = "/instances/{id}/hibernate", tag = "browser", params(("id" = String, Path)),
    responses((status = OK, body = InstanceView)))]
async fn hibernate_instance(
    State(service): Service,
    caller: Caller,
    Path(id): Path<InstanceId>,
) -> Result<Json<InstanceView>, Problem> {
    Ok(Json(service.hibernate(&caller, &id).await?))
}

/// Gives an instance a new context with its cookies, its storage and its tabs.
#[utoipa::path(post, path = "/instances/{id}/restart", tag = "browser", params(("id" = String, Path)),
    responses((status = OK, body = InstanceView)))]
async fn restart_instance(
    State(service): Service,
    caller: Caller,
    Path(id): Path<InstanceId>,
) -> Result<Json<InstanceView>, Problem> {
    Ok(Json(service.restart(&caller, &id).await?))
}

/// Tells what happened to an instance, one line each, the latest last.
#[utoipa::path(get, path = "/instances/{id}/logs", tag = "browser", params(("id" = String, Path)),
    responses((status = OK, body = String)))]
async fn get_log(
    State(service): Service,
    caller: Caller,
    Path(id): Path<InstanceId>,
) -> Result<String, Problem> {
    Ok(service.log(&caller, &id)?.into_iter().map(|line| line + "\n").collect())
}

/// Tells what happens to an instance as server-sent events: what happened so far, then what happens, until it is gone.
#[utoipa::path(get, path = "/instances/{id}/logs/stream", tag = "browser", params(("id" = String, Path)),
    responses((status = OK, description = "A stream of `log` events.", content_type = "text/event-stream")))]
async fn stream_log(
    State(service): Service,
    caller: Caller,
    Path(id): Path<InstanceId>,
) -> Result<Response, Problem> {
    let events = service.fleet().events();
    let so_far = stream::iter(service.log(&caller, &id)?);
    let later = stream::unfold(events, move |mut events| {
        let id = id.clone();
        async move {
            loop {
                match events.recv().await {
                    Ok(event) if event.instance_id == id => {
                        return Some((format!("{} {}", event.at, event.change), events));
                    }
                    Ok(_) | Err(tokio::sync::broadcast::error::RecvError::Lagged(_)) => {}
                    Err(tokio::sync::broadcast::error::RecvError::Closed) => return None,
                }
            }
        }
    });
    let lines = so_far.chain(later).map(|line| Ok::<_, Infallible>(Event::default().event("log").data(line)));
    Ok(Sse::new(lines).keep_alive(KeepAlive::default()).into_response())
}

/// Makes sure that the caller has an instance that is awake, and tells which.
#[utoipa::path(post, path = "/ensure-browser", tag = "browser", responses((status = OK, body = InstanceView)))]
async fn ensure_browser(State(service): Service, caller: Caller) -> Result<Json<InstanceView>, Problem> {
    Ok(Json(service.ensure_browser(&caller).await?))
}

/// As `/ensure-browser`, by its older name.
#[utoipa::path(post, path = "/ensure-chrome", tag = "browser", responses((status = OK, body = InstanceView)))]
async fn ensure_chrome(service: Service, caller: Caller) -> Result<Json<InstanceView>, Problem> {
    ensure_browser(service, caller).await
}

/// Gives the caller's first instance a new context with its cookies, its storage and its tabs.
#[utoipa::path(post, path = "/browser/restart", tag = "browser", responses((status = OK, body = InstanceView)))]
async fn restart_browser(State(service): Service, caller: Caller) -> Result<Json<InstanceView>, Problem> {
    Ok(Json(service.restart_browser(&caller).await?))
}

/// Attaches to a Chrome that somebody else started: its pages become tabs of an instance, and stopping that lets go of
/// them. Needs `browser:admin`.
#[utoipa::path(post, path = "/instances/attach", tag = "browser", request_body = AttachRequest,
    responses((status = CREATED, body = InstanceView)))]
async fn attach_chrome(
    State(service): Service,
    caller: Caller,
    Json(request): Json<AttachRequest>,
) -> Result<(StatusCode, Json<InstanceView>), Problem> {
    Ok((StatusCode::CREATED, Json(service.attach_chrome(&caller, request).await?)))
}

/// Not done: bridges of other servers are not driven.
#[utoipa::path(post, path = "/instances/attach-bridge", tag = "browser",
    responses((status = NOT_IMPLEMENTED, description = "Always.")))]
async fn attach_bridge(State(service): Service, caller: Caller) -> Result<(), Problem> {
    service.refuse_bridge(&caller)
}
