//! Recording a tab as a film.

use axum::{
    extract::State,
    response::{IntoResponse, Response},
};
use http::header;
use paddock_platform::{http::Json, identity::Caller, problem::Problem};
use utoipa_axum::routes;

use super::Routes;
use crate::service::{
    BrowserService, RecordRequest, RecordStarted, RecordStop, RecordStopped, RecordView, Target,
};

type Service = State<BrowserService>;

pub(super) fn routes() -> Routes {
    Routes::new()
        .routes(routes!(record_start))
        .routes(routes!(record_stop))
        .routes(routes!(record_status))
        .routes(routes!(record_file))
}

/// Begins a recording of a tab.
#[utoipa::path(post, path = "/record/start", tag = "browser", request_body = Option<RecordRequest>,
    responses((status = OK, body = RecordStarted)))]
async fn record_start(
    State(service): Service,
    target: Target,
    request: Option<Json<RecordRequest>>,
) -> Result<Json<RecordStarted>, Problem> {
    let request = request.map(|Json(request)| request).unwrap_or_default();
    Ok(Json(service.record_start(target, request).await?))
}

/// Ends the recording and makes its film, or forgets it.
#[utoipa::path(post, path = "/record/stop", tag = "browser", request_body = Option<RecordStop>,
    responses((status = OK, body = RecordStopped)))]
async fn record_stop(
    State(service): Service,
    caller: Caller,
    request: Option<Json<RecordStop>>,
) -> Result<Json<RecordStopped>, Problem> {
    let request = request.map(|Json(request)| request).unwrap_or_default();
    Ok(Json(service.record_stop(&caller, &request).await?))
}

/// Tells how the recording is.
#[utoipa::path(get, path = "/record/status", tag = "browser", responses((status = OK, body = RecordView)))]
async fn record_status(State(service): Service, caller: Caller) -> Result<Json<RecordView>, Problem> {
    Ok(Json(service.record_status(&caller)?))
}

/// The film of the last recording, until the next one begins.
#[utoipa::path(get, path = "/record/file", tag = "browser",
    responses((status = OK, description = "`image/gif`, `video/webm` or `video/mp4`", body = Vec<u8>)))]
async fn record_file(State(service): Service, caller: Caller) -> Result<Response, Problem> {
    let (format, film) = service.record_file(&caller)?;
    Ok(([(header::CONTENT_TYPE, format.mime())], film).into_response())
}
