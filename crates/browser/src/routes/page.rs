//! A page on paper and in figures, and what an instance keeps beside its pages.

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

use super::{Routes, with_warning};
use crate::service::{
    BrowserService, CacheStatus, Cleared, ClipboardText, ClipboardView, ClipboardWritten, Pdf, PdfDocument,
    PdfQuery, Target, TimingView,
};

type Service = State<BrowserService>;

pub(super) fn routes() -> Routes {
    Routes::new()
        .routes(routes!(clear_cache))
        .routes(routes!(cache_status))
        .routes(routes!(read_clipboard))
        .routes(routes!(paste_clipboard))
        .routes(routes!(write_clipboard))
        .routes(routes!(copy_clipboard))
}

/// Those that act on a tab.
pub(super) fn in_tab() -> Routes {
    Routes::new().routes(routes!(get_pdf, post_pdf)).routes(routes!(timing))
}

async fn pdf(service: &BrowserService, target: &Target, query: PdfQuery) -> Result<Response, Problem> {
    let warning = service.page_warning(target).await?;
    let answer = match service.pdf(target, query).await? {
        Pdf::Raw(document) => ([(header::CONTENT_TYPE, "application/pdf")], document).into_response(),
        Pdf::Document(document) => Json(document).into_response(),
        Pdf::File(file) => Json(file).into_response(),
    };
    Ok(with_warning(answer, warning.as_deref()))
}

/// Prints the page as a PDF.
#[utoipa::path(get, path = "/pdf", tag = "browser", params(PdfQuery),
    responses((status = OK, description = "The document, or where its file is", body = PdfDocument)))]
async fn get_pdf(
    State(service): Service,
    target: Target,
    Query(query): Query<PdfQuery>,
) -> Result<Response, Problem> {
    pdf(&service, &target, query).await
}

/// Prints the page as a PDF, with the options in the body.
#[utoipa::path(post, path = "/pdf", tag = "browser", request_body = Option<PdfQuery>,
    responses((status = OK, description = "The document, or where its file is", body = PdfDocument)))]
async fn post_pdf(
    State(service): Service,
    target: Target,
    request: Option<Json<PdfQuery>>,
) -> Result<Response, Problem> {
    let request = request.map(|Json(request)| request).unwrap_or_default();
    pdf(&service, &target.or(request.tab_id.clone()), request).await
}

/// Shows how quickly the page came: navigation timing and web vitals.
#[utoipa::path(get, path = "/timing", tag = "browser", responses((status = OK, body = TimingView)))]
async fn timing(State(service): Service, target: Target) -> Result<Json<TimingView>, Problem> {
    Ok(Json(service.timing(&target).await?))
}

/// Empties the HTTP cache of the current instance.
#[utoipa::path(post, path = "/cache/clear", tag = "browser", responses((status = OK, body = Cleared)))]
async fn clear_cache(State(service): Service, target: Target) -> Result<Json<Cleared>, Problem> {
    Ok(Json(service.clear_cache(&target).await?))
}

/// Tells whether the HTTP cache of the current instance can be emptied.
#[utoipa::path(get, path = "/cache/status", tag = "browser", responses((status = OK, body = CacheStatus)))]
async fn cache_status(State(service): Service, target: Target) -> Result<Json<CacheStatus>, Problem> {
    Ok(Json(service.cache_status(&target).await?))
}

/// Reads the clipboard of the current instance.
#[utoipa::path(get, path = "/clipboard/read", tag = "browser", responses((status = OK, body = ClipboardView)))]
async fn read_clipboard(State(service): Service, target: Target) -> Result<Json<ClipboardView>, Problem> {
    Ok(Json(service.clipboard(&target).await?))
}

/// Reads the clipboard of the current instance; another name of `/clipboard/read`.
#[utoipa::path(get, path = "/clipboard/paste", tag = "browser", responses((status = OK, body = ClipboardView)))]
async fn paste_clipboard(service: Service, target: Target) -> Result<Json<ClipboardView>, Problem> {
    read_clipboard(service, target).await
}

/// Puts a text into the clipboard of the current instance.
#[utoipa::path(post, path = "/clipboard/write", tag = "browser", request_body = ClipboardText,
    responses((status = OK, body = ClipboardWritten)))]
async fn write_clipboard(
    State(service): Service,
    target: Target,
    Json(request): Json<ClipboardText>,
) -> Result<Json<ClipboardWritten>, Problem> {
    Ok(Json(service.set_clipboard(&target, request).await?))
}

/// Puts a text into the clipboard of the current instance; another name of `/clipboard/write`.
#[utoipa::path(post, path = "/clipboard/copy", tag = "browser", request_body = ClipboardText,
    responses((status = OK, body = ClipboardWritten)))]
async fn copy_clipboard(
    service: Service,
    target: Target,
    request: Json<ClipboardText>,
) -> Result<Json<ClipboardWritten>, Problem> {
    write_clipboard(service, target, request).await
}
