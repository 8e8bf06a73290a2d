//! Reading a page, finding something in it, and waiting for it.

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
use crate::service::{BrowserService, FindRequest, Found, PageText, Target, TextQuery, WaitRequest, Waited};

type Service = State<BrowserService>;

/// Those that act on a tab.
pub(super) fn in_tab() -> Routes {
    Routes::new().routes(routes!(text)).routes(routes!(find)).routes(routes!(wait))
}

/// Reads the text of a page: what a reader would read of it.
#[utoipa::path(get, path = "/text", tag = "browser", params(TextQuery),
    responses((status = OK, description = "The text; with `format=text` as it is", body = PageText)))]
async fn text(
    State(service): Service,
    target: Target,
    Query(query): Query<TextQuery>,
) -> Result<Response, Problem> {
    let plain = matches!(query.format.as_deref(), Some("text" | "plain"));
    let text = service.text(&target, query).await?;
    let warning = text.idpi_warning.clone();
    let answer = if plain {
        ([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], text.text).into_response()
    } else {
        Json(text).into_response()
    };
    Ok(with_warning(answer, warning.as_deref()))
}

/// Finds elements by a description.
#[utoipa::path(post, path = "/find", tag = "browser", request_body = FindRequest,
    responses((status = OK, body = Found)))]
async fn find(
    State(service): Service,
    target: Target,
    Json(request): Json<FindRequest>,
) -> Result<Response, Problem> {
    let target = target.or(request.tab_id.clone());
    let idpi_warning = service.page_warning(&target).await?;
    let found = service.find(target, request).await?;
    let answer = Json(Found { idpi_warning: idpi_warning.clone(), ..found }).into_response();
    Ok(with_warning(answer, idpi_warning.as_deref()))
}

/// Waits until something is so in a page. That it did not become so in time is an answer, not an error.
#[utoipa::path(post, path = "/wait", tag = "browser", request_body = WaitRequest,
    responses((status = OK, body = Waited)))]
async fn wait(
    State(service): Service,
    target: Target,
    Json(request): Json<WaitRequest>,
) -> Result<Json<Waited>, Problem> {
    Ok(Json(service.wait(target, request).await?))
}
