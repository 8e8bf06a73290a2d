//! Looking at a page.

use axum::{
    extract::State,
    response::{IntoResponse, Response},
};
use http::header;
use paddock_platform::{
    http::{Json, Query},
    problem::Problem,
};
use serde_json::Value;
use utoipa_axum::routes;

use super::{Routes, with_warning};
use crate::{
    service::{
        AnnotateQuery, BrowserService, CaptureQuery, Captured, EvaluateRequest, Evaluated, Picture,
        ScreenshotQuery, SnapshotQuery, Target, picture,
    },
    snapshot::Format,
};

type Service = State<BrowserService>;

/// Those that act on a tab.
pub(super) fn in_tab() -> Routes {
    Routes::new()
        .routes(routes!(snapshot))
        .routes(routes!(screenshot))
        .routes(routes!(annotate))
        .routes(routes!(capture))
        .routes(routes!(evaluate))
}

/// Takes an accessibility snapshot: roles, names, values and references of what is on the page.
#[utoipa::path(get, path = "/snapshot", tag = "browser", params(SnapshotQuery),
    responses((status = OK, description = "The snapshot in the format that was asked for", body = String)))]
async fn snapshot(
    State(service): Service,
    target: Target,
    Query(query): Query<SnapshotQuery>,
) -> Result<Response, Problem> {
    let path = query.path.clone();
    let to_file = query.output.as_deref() == Some("file");
    let (rendered, view) = service.snapshot(&target, query, Format::Json).await?;
    if to_file {
        return Ok(Json(service.write_snapshot(rendered, path.as_deref()).await?).into_response());
    }
    let answer = ([(header::CONTENT_TYPE, rendered.content_type)], rendered.body).into_response();
    Ok(with_warning(answer, view.idpi_warning.as_deref()))
}

/// Takes a picture.
#[utoipa::path(get, path = "/screenshot", tag = "browser", params(ScreenshotQuery),
    responses((status = OK, description = "The picture; with `raw=true` the image itself", body = Picture)))]
async fn screenshot(
    State(service): Service,
    target: Target,
    Query(query): Query<ScreenshotQuery>,
) -> Result<Response, Problem> {
    let (raw, to_file) = (query.raw, query.output.as_deref() == Some("file"));
    let taken = service.take_picture(&target, query).await?;
    Ok(if raw {
        ([(header::CONTENT_TYPE, taken.format.mime())], taken.image).into_response()
    } else if to_file {
        Json(service.write_picture(&taken).await?).into_response()
    } else {
        Json(picture(taken.format, &taken.image, taken.labels)).into_response()
    })
}

/// Puts labels on the page for people to click: each copies what names its element.
#[utoipa::path(get, path = "/annotate", tag = "browser", params(AnnotateQuery),
    responses((status = OK, description = "`{annotated, annotations}`, or `{cleared}`", body = Object)))]
async fn annotate(
    State(service): Service,
    target: Target,
    Query(query): Query<AnnotateQuery>,
) -> Result<Json<Value>, Problem> {
    Ok(Json(service.annotate(&target, query).await?))
}

/// Takes a picture and a snapshot of the same moment.
#[utoipa::path(get, path = "/capture", tag = "browser", params(CaptureQuery),
    responses((status = OK, description = "The picture's place, and the snapshot", body = Object)))]
async fn capture(
    State(service): Service,
    target: Target,
    Query(query): Query<CaptureQuery>,
) -> Result<Response, Problem> {
    match service.capture(&target, query).await? {
        Captured::Document(document) => Ok(Json(document).into_response()),
        Captured::Image(format, image) => {
            Ok(([(header::CONTENT_TYPE, format.mime())], image).into_response())
        }
    }
}

/// Evaluates JavaScript in the page.
#[utoipa::path(post, path = "/evaluate", tag = "browser", request_body = EvaluateRequest,
    responses((status = OK, body = Evaluated)))]
async fn evaluate(
    State(service): Service,
    target: Target,
    Json(request): Json<EvaluateRequest>,
) -> Result<Json<Evaluated>, Problem> {
    Ok(Json(service.evaluate(&target.or(request.tab_id.clone()), request).await?))
}
