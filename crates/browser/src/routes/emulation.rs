//! What a tab pretends.

use axum::extract::State;
use paddock_platform::{http::Json, problem::Problem};
use utoipa_axum::routes;

use super::Routes;
use crate::service::{
    BrowserService, CredentialsApplied, CredentialsRequest, GeolocationApplied, GeolocationRequest,
    HeadersApplied, HeadersRequest, MediaApplied, MediaRequest, OfflineApplied, OfflineRequest, Target,
    ViewportApplied, ViewportRequest,
};

type Service = State<BrowserService>;

/// Those that act on a tab.
pub(super) fn in_tab() -> Routes {
    Routes::new()
        .routes(routes!(viewport))
        .routes(routes!(geolocation))
        .routes(routes!(offline))
        .routes(routes!(headers))
        .routes(routes!(credentials))
        .routes(routes!(media))
}

/// Sets the screen of a tab.
#[utoipa::path(post, path = "/emulation/viewport", tag = "browser", request_body = ViewportRequest,
    responses((status = OK, body = ViewportApplied)))]
async fn viewport(
    State(service): Service,
    target: Target,
    Json(request): Json<ViewportRequest>,
) -> Result<Json<ViewportApplied>, Problem> {
    Ok(Json(service.set_viewport(&target.or(request.tab_id.clone()), request).await?))
}

/// Sets where a tab believes to be.
#[utoipa::path(post, path = "/emulation/geolocation", tag = "browser", request_body = GeolocationRequest,
    responses((status = OK, body = GeolocationApplied)))]
async fn geolocation(
    State(service): Service,
    target: Target,
    Json(request): Json<GeolocationRequest>,
) -> Result<Json<GeolocationApplied>, Problem> {
    Ok(Json(service.set_geolocation(&target.or(request.tab_id.clone()), request).await?))
}

/// Takes the network of a tab away, makes it slow, or gives it back.
#[utoipa::path(post, path = "/emulation/offline", tag = "browser", request_body = OfflineRequest,
    responses((status = OK, body = OfflineApplied)))]
async fn offline(
    State(service): Service,
    target: Target,
    Json(request): Json<OfflineRequest>,
) -> Result<Json<OfflineApplied>, Problem> {
    Ok(Json(service.set_offline(&target.or(request.tab_id.clone()), request).await?))
}

/// Sets headers that every request of a tab carries.
#[utoipa::path(post, path = "/emulation/headers", tag = "browser", request_body = HeadersRequest,
    responses((status = OK, body = HeadersApplied)))]
async fn headers(
    State(service): Service,
    target: Target,
    Json(request): Json<HeadersRequest>,
) -> Result<Json<HeadersApplied>, Problem> {
    Ok(Json(service.set_headers(&target.or(request.tab_id.clone()), request).await?))
}

/// Sets the credentials of a tab for hosts that demand them.
#[utoipa::path(post, path = "/emulation/credentials", tag = "browser", request_body = CredentialsRequest,
    responses((status = OK, body = CredentialsApplied)))]
async fn credentials(
    State(service): Service,
    target: Target,
    Json(request): Json<CredentialsRequest>,
) -> Result<Json<CredentialsApplied>, Problem> {
    Ok(Json(service.set_credentials(&target.or(request.tab_id.clone()), request).await?))
}

/// Sets a media feature of a tab.
#[utoipa::path(post, path = "/emulation/media", tag = "browser", request_body = MediaRequest,
    responses((status = OK, body = MediaApplied)))]
async fn media(
    State(service): Service,
    target: Target,
    Json(request): Json<MediaRequest>,
) -> Result<Json<MediaApplied>, Problem> {
    Ok(Json(service.set_media(&target.or(request.tab_id.clone()), request).await?))
}
