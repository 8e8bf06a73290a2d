//! Locks and handoffs.

use axum::extract::State;
use paddock_platform::{http::Json, problem::Problem};
use utoipa_axum::routes;

use super::Routes;
use crate::service::{
    BrowserService, HandoffRequest, HandoffView, LockRequest, Locked, ResumeRequest, Resumed, Target,
    UnlockRequest, Unlocked,
};

type Service = State<BrowserService>;

/// Those that act on a tab.
pub(super) fn in_tab() -> Routes {
    Routes::new()
        .routes(routes!(lock))
        .routes(routes!(unlock))
        .routes(routes!(hand_off, handoff))
        .routes(routes!(resume))
}

/// Locks a tab: until it is unlocked or the lock expires, only requests that name the owner may change it.
#[utoipa::path(post, path = "/lock", tag = "browser", request_body = LockRequest,
    responses((status = OK, body = Locked)))]
async fn lock(
    State(service): Service,
    target: Target,
    request: Option<Json<LockRequest>>,
) -> Result<Json<Locked>, Problem> {
    let request = request.map(|Json(request)| request).unwrap_or_default();
    Ok(Json(service.lock(target, request).await?))
}

/// Gives a tab's lock back.
#[utoipa::path(post, path = "/unlock", tag = "browser", request_body = UnlockRequest,
    responses((status = OK, body = Unlocked)))]
async fn unlock(
    State(service): Service,
    target: Target,
    request: Option<Json<UnlockRequest>>,
) -> Result<Json<Unlocked>, Problem> {
    let request = request.map(|Json(request)| request).unwrap_or_default();
    Ok(Json(service.unlock(target, request).await?))
}

/// Pauses a tab for a person: requests that would change it are refused until it is resumed.
#[utoipa::path(post, path = "/handoff", tag = "browser", request_body = Option<HandoffRequest>,
    responses((status = OK, body = HandoffView)))]
async fn hand_off(
    State(service): Service,
    target: Target,
    request: Option<Json<HandoffRequest>>,
) -> Result<Json<HandoffView>, Problem> {
    let request = request.map(|Json(request)| request).unwrap_or_default();
    Ok(Json(service.hand_off(target, request).await?))
}

/// Tells whether a tab is paused for a person.
#[utoipa::path(get, path = "/handoff", tag = "browser", params(("tabId" = Option<String>, Query)),
    responses((status = OK, body = HandoffView)))]
async fn handoff(State(service): Service, target: Target) -> Result<Json<HandoffView>, Problem> {
    Ok(Json(service.handoff(&target).await?))
}

/// Gives a tab that was paused for a person back to its agent.
#[utoipa::path(post, path = "/resume", tag = "browser", request_body = Option<ResumeRequest>,
    responses((status = OK, body = Resumed)))]
async fn resume(
    State(service): Service,
    target: Target,
    request: Option<Json<ResumeRequest>>,
) -> Result<Json<Resumed>, Problem> {
    let request = request.map(|Json(request)| request).unwrap_or_default();
    Ok(Json(service.resume(target, request).await?))
}
