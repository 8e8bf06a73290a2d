//! The frame that selectors are about.

use axum::extract::State;
use paddock_platform::{http::Json, problem::Problem};
use utoipa_axum::routes;

use super::Routes;
use crate::service::{BrowserService, FrameRequest, FrameView, Target};

/// Those that act on a tab.
pub(super) fn in_tab() -> Routes {
    Routes::new().routes(routes!(frame, choose_frame))
}

/// Shows the frame that selectors are about.
#[utoipa::path(get, path = "/frame", tag = "browser", params(("tabId" = Option<String>, Query)),
    responses((status = OK, body = FrameView)))]
async fn frame(State(service): State<BrowserService>, target: Target) -> Result<Json<FrameView>, Problem> {
    Ok(Json(service.frame(&target).await?))
}

/// Chooses the frame that selectors are about: `main`, or a frame by its element, name or address.
#[utoipa::path(post, path = "/frame", tag = "browser", request_body = FrameRequest,
    responses((status = OK, body = FrameView)))]
async fn choose_frame(
    State(service): State<BrowserService>,
    target: Target,
    Json(request): Json<FrameRequest>,
) -> Result<Json<FrameView>, Problem> {
    Ok(Json(service.choose_frame(target, request).await?))
}
