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
use utoipa_axum::routes;

use super::Routes;
use crate::{
    service::{
        BrowserService, EvaluateRequest, Evaluated, Picture, ScreenshotQuery, SnapshotQuery, Target, picture,
    },
    snapshot::Format,
};

type Service = State<BrowserService>;

/// Those that act on a tab.
pub(super) fn in_tab() -> Routes {
    Routes::new().routes(routes!(snapshot)).routes(routes!(screenshot)).routes(routes!(evaluate))
}

/// Takes an accessibility snapshot: roles, names, values and references of what is on the page.
#[utoipa::path(get, path = "/snapshot", tag = "browser", params(SnapshotQuery),
    responses((status = OK, description = "The snapshot in the format that was asked for", body = String)))]
async fn snapshot(
    State(service): Service,
    target: Target,
    Query(query): Query<SnapshotQuery>,
) -> Result<Response, Problem> {
    let (rendered, _) = service.snapshot(&target, query, Format::Json).await?;
    Ok(([(header::CONTENT_TYPE, rendered.content_type)], rendered.body).into_response())
}

/// Takes a picture.
#[utoipa::path(get, path = "/screenshot", tag = "browser", params(ScreenshotQuery),
    responses((status = OK, description = "The picture; with `raw=true` the image itself", body = Picture)))]
async fn screenshot(
    State(service): Service,
    target: Target,
    Query(query): Query<ScreenshotQuery>,
) -> Result<Response, Problem> {
    let raw = query.raw;
    let (format, image) = service.screenshot(&target, query).await?;
    Ok(if raw {
        ([(header::CONTENT_TYPE, format.mime())], image).into_response()
    } else {
        Json(picture(format, &image)).into_response()
    })
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
