//! Many navigations in one request.

use axum::{
    body::Body,
    extract::State,
    response::{IntoResponse, Response},
};
use futures_util::StreamExt;
use http::{HeaderMap, StatusCode, header};
use paddock_platform::{
    http::{Json, Path, Query},
    identity::Caller,
    problem::Problem,
};
use serde::Deserialize;
use utoipa_axum::routes;

use super::Routes;
use crate::{
    ids::InstanceId,
    service::{BatchOutcome, BatchRequest, BrowserService},
};

const NDJSON: &str = "application/x-ndjson";

pub(super) fn routes() -> Routes {
    Routes::new().routes(routes!(batch_navigate)).routes(routes!(batch_navigate_in))
}

#[derive(Debug, Default, Deserialize)]
struct StreamQuery {
    #[serde(default)]
    stream: bool,
}

/// Opens many addresses, each in a tab of its own, in the caller's instances: those that have room, and new ones.
/// With `Accept: application/x-ndjson` or `stream` the results come as they are there, one JSON text per line.
#[utoipa::path(post, path = "/batch-navigate", tag = "browser", request_body = BatchRequest,
    params(("stream" = Option<bool>, Query)),
    responses((status = OK, body = BatchOutcome), (status = MULTI_STATUS, description = "Some failed", body = BatchOutcome)))]
async fn batch_navigate(
    State(service): State<BrowserService>,
    caller: Caller,
    Query(query): Query<StreamQuery>,
    headers: HeaderMap,
    Json(request): Json<BatchRequest>,
) -> Result<Response, Problem> {
    run(&service, caller, None, query.stream || wants_lines(&headers), request).await
}

/// Opens many addresses, each in a tab of its own, in one instance.
#[utoipa::path(post, path = "/instances/{id}/batch-navigate", tag = "browser", request_body = BatchRequest,
    params(("id" = String, Path), ("stream" = Option<bool>, Query)),
    responses((status = OK, body = BatchOutcome), (status = MULTI_STATUS, description = "Some failed", body = BatchOutcome)))]
async fn batch_navigate_in(
    State(service): State<BrowserService>,
    caller: Caller,
    Path(id): Path<InstanceId>,
    Query(query): Query<StreamQuery>,
    headers: HeaderMap,
    Json(request): Json<BatchRequest>,
) -> Result<Response, Problem> {
    run(&service, caller, Some(id), query.stream || wants_lines(&headers), request).await
}

fn wants_lines(headers: &HeaderMap) -> bool {
    headers
        .get(header::ACCEPT)
        .and_then(|accept| accept.to_str().ok())
        .is_some_and(|accept| accept.contains(NDJSON))
}

async fn run(
    service: &BrowserService,
    caller: Caller,
    instance: Option<InstanceId>,
    stream: bool,
    request: BatchRequest,
) -> Result<Response, Problem> {
    let batch = service.check_batch(caller, instance, request)?;
    if stream || batch.stream {
        let lines = service.run_batch(batch).map(|result| {
            let mut line = serde_json::to_vec(&result)?;
            line.push(b'\n');
            Ok::<_, serde_json::Error>(line)
        });
        return Ok(([(header::CONTENT_TYPE, NDJSON)], Body::from_stream(lines)).into_response());
    }
    let outcome = service.batch(batch).await;
    let status = if outcome.failed == 0 { StatusCode::OK } else { StatusCode::MULTI_STATUS };
    Ok((status, Json(outcome)).into_response())
}
