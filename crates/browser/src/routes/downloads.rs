//! Files that pages of an instance wrote.

use axum::{
    extract::State,
    response::{IntoResponse, Response},
};
use http::header;
use paddock_platform::{
    http::{Json, Path},
    identity::Caller,
    problem::Problem,
};
use utoipa_axum::routes;

use super::Routes;
use crate::{
    ids::InstanceId,
    service::{BrowserService, DownloadForgotten, PageDownloads},
};

type Service = State<BrowserService>;

pub(super) fn routes() -> Routes {
    Routes::new()
        .routes(routes!(list_page_downloads))
        .routes(routes!(get_page_download, delete_page_download))
}

/// Lists what pages of an instance downloaded, oldest first.
#[utoipa::path(get, path = "/instances/{id}/downloads", tag = "browser", params(("id" = String, Path)),
    responses((status = OK, body = PageDownloads)))]
async fn list_page_downloads(
    State(service): Service,
    caller: Caller,
    Path(id): Path<InstanceId>,
) -> Result<Json<PageDownloads>, Problem> {
    Ok(Json(service.page_downloads(&caller, &id)?))
}

/// A file that a page downloaded.
#[utoipa::path(get, path = "/instances/{id}/downloads/{download}", tag = "browser",
    params(("id" = String, Path), ("download" = String, Path)),
    responses((status = OK, content_type = "application/octet-stream", body = Vec<u8>)))]
async fn get_page_download(
    State(service): Service,
    caller: Caller,
    Path((id, download)): Path<(InstanceId, String)>,
) -> Result<Response, Problem> {
    let (entry, bytes) = service.page_download(&caller, &id, &download).await?;
    let encoded = percent_encoded(&entry.filename);
    let headers = [
        // Not the type that its host gave it: here it would be shown as ours.
        (header::CONTENT_TYPE, "application/octet-stream".to_owned()),
        (header::CONTENT_DISPOSITION, format!("attachment; filename*=UTF-8''{encoded}")),
    ];
    Ok((headers, bytes).into_response())
}

/// Forgets a download with its file.
#[utoipa::path(delete, path = "/instances/{id}/downloads/{download}", tag = "browser",
    params(("id" = String, Path), ("download" = String, Path)),
    responses((status = OK, body = DownloadForgotten)))]
async fn delete_page_download(
    State(service): Service,
    caller: Caller,
    Path((id, download)): Path<(InstanceId, String)>,
) -> Result<Json<DownloadForgotten>, Problem> {
    Ok(Json(service.forget_page_download(&caller, &id, &download)?))
}

/// A name as RFC 8187 has it in a header.
fn percent_encoded(name: &str) -> String {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._".contains(byte);
    let encode =
        |byte: u8| if is_plain(&byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    name.bytes().map(encode).collect()
}
