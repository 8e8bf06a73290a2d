//! Files out of pages and into them, and saved states of browsers.

use axum::{
    extract::State,
    response::{IntoResponse, Response},
};
use http::header;
use paddock_platform::{
    http::{Json, Query},
    problem::Problem,
};
use utoipa_axum::routes;

use super::Routes;
use crate::service::{
    BrowserService, BrowserState, CleanStatesRequest, Download, DownloadQuery, DownloadedFile,
    LoadStateRequest, SaveStateRequest, StateDeleted, StateList, StateLoaded, StateQuery, StateSaved,
    StatesCleaned, Target, UploadRequest, Uploaded,
};

type Service = State<BrowserService>;

pub(super) fn routes() -> Routes {
    Routes::new()
        .routes(routes!(state, delete_state))
        .routes(routes!(list_states))
        .routes(routes!(show_state))
        .routes(routes!(save_state))
        .routes(routes!(load_state))
        .routes(routes!(clean_states))
}

/// Those that act on a tab.
pub(super) fn in_tab() -> Routes {
    Routes::new().routes(routes!(download)).routes(routes!(upload))
}

/// Fetches a file with the cookies of a tab.
#[utoipa::path(get, path = "/download", tag = "browser", params(DownloadQuery),
    responses((status = OK, description = "The file, or where it is", body = DownloadedFile)))]
async fn download(
    State(service): Service,
    target: Target,
    Query(query): Query<DownloadQuery>,
) -> Result<Response, Problem> {
    Ok(match service.download(&target, query).await? {
        // Not the type that the host gave it: here it would be shown as ours.
        Download::Raw(mime, bytes) => {
            let kind = if mime.starts_with("image/") && !mime.contains("svg") || mime == "application/pdf" {
                mime
            } else {
                "application/octet-stream".to_owned()
            };
            let disposition = (header::CONTENT_DISPOSITION, "attachment".to_owned());
            ([(header::CONTENT_TYPE, kind), disposition], bytes).into_response()
        }
        Download::Document(file) => Json(file).into_response(),
        Download::Saved(file) => Json(file).into_response(),
    })
}

/// Puts files into a page's file input.
#[utoipa::path(post, path = "/upload", tag = "browser", request_body = UploadRequest,
    responses((status = OK, body = Uploaded)))]
async fn upload(
    State(service): Service,
    target: Target,
    Json(request): Json<UploadRequest>,
) -> Result<Json<Uploaded>, Problem> {
    Ok(Json(service.upload(&target.or(request.tab_id.clone()), request).await?))
}

/// Shows what the browser of a tab remembers: cookies, and the storages of the site that the tab shows.
#[utoipa::path(get, path = "/state", tag = "browser", responses((status = OK, body = BrowserState)))]
async fn state(State(service): Service, target: Target) -> Result<Json<BrowserState>, Problem> {
    Ok(Json(service.state(&target).await?))
}

/// Lists saved states, newest first.
#[utoipa::path(get, path = "/state/list", tag = "browser", responses((status = OK, body = StateList)))]
async fn list_states(State(service): Service, target: Target) -> Result<Json<StateList>, Problem> {
    Ok(Json(service.states(&target).await?))
}

/// Shows a saved state.
#[utoipa::path(get, path = "/state/show", tag = "browser", params(StateQuery),
    responses((status = OK, body = BrowserState)))]
async fn show_state(
    State(service): Service,
    target: Target,
    Query(query): Query<StateQuery>,
) -> Result<Json<BrowserState>, Problem> {
    Ok(Json(service.show_state(&target, query).await?))
}

/// Saves what the browser of a tab remembers.
#[utoipa::path(post, path = "/state/save", tag = "browser", request_body = Option<SaveStateRequest>,
    responses((status = OK, body = StateSaved)))]
async fn save_state(
    State(service): Service,
    target: Target,
    request: Option<Json<SaveStateRequest>>,
) -> Result<Json<StateSaved>, Problem> {
    let request = request.map(|Json(request)| request).unwrap_or_default();
    Ok(Json(service.save_state(&target.or(request.tab_id.clone()), request).await?))
}

/// Sets what a saved state remembers.
#[utoipa::path(post, path = "/state/load", tag = "browser", request_body = LoadStateRequest,
    responses((status = OK, body = StateLoaded)))]
async fn load_state(
    State(service): Service,
    target: Target,
    Json(request): Json<LoadStateRequest>,
) -> Result<Json<StateLoaded>, Problem> {
    Ok(Json(service.load_state(&target.or(request.tab_id.clone()), request).await?))
}

/// Deletes a saved state.
#[utoipa::path(delete, path = "/state", tag = "browser", params(StateQuery),
    responses((status = OK, body = StateDeleted)))]
async fn delete_state(
    State(service): Service,
    target: Target,
    Query(query): Query<StateQuery>,
) -> Result<Json<StateDeleted>, Problem> {
    Ok(Json(service.delete_state(&target, query.name).await?))
}

/// Deletes old saved states.
#[utoipa::path(post, path = "/state/clean", tag = "browser", request_body = Option<CleanStatesRequest>,
    responses((status = OK, body = StatesCleaned)))]
async fn clean_states(
    State(service): Service,
    target: Target,
    request: Option<Json<CleanStatesRequest>>,
) -> Result<Json<StatesCleaned>, Problem> {
    let request = request.map(|Json(request)| request).unwrap_or_default();
    Ok(Json(service.clean_states(&target, request).await?))
}
