//! OpenAI's files and batches, and calls that became jobs.

use axum::{
    body::Bytes,
    extract::State,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use paddock_platform::{
    http::{Json, Path, Preference, Query, parse_json},
    identity::Caller,
    problem::Problem,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::IntoParams;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{TAG, calls::LOOK_AGAIN};
use crate::durable::{BatchInput, BatchView, Durable, FileView, Uploaded, line_endpoint, read_upload};

/// Entries of a list when nobody says how many, and at most.
const LIMIT_DEFAULT: usize = 20;
const LIMIT_MAX: usize = 1000;
/// The time of a batch whose caller names none.
const WINDOW_DEFAULT: &str = "24h";

/// The routes, with the state that they need.
pub(super) fn routes(durable: Durable) -> OpenApiRouter {
    OpenApiRouter::new()
        .routes(routes!(upload, files))
        .routes(routes!(file, delete_file))
        .routes(routes!(content))
        .routes(routes!(create, list))
        .routes(routes!(show))
        .routes(routes!(cancel))
        .routes(routes!(create_of_lines))
        .routes(routes!(outcome))
        .with_state(durable)
}

/// Which entries of a list.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct ListQuery {
    /// The last entry that was seen.
    after: Option<String>,
    /// How many, 1,000 at most; 20 where it is left out.
    limit: Option<usize>,
    /// Files with this purpose alone.
    purpose: Option<String>,
}

impl ListQuery {
    fn limit(&self) -> Result<usize, Problem> {
        match self.limit.unwrap_or(LIMIT_DEFAULT) {
            limit @ 1.. => Ok(limit.min(LIMIT_MAX)),
            0 => Err(Problem::invalid_field("limit", "must be one or more")),
        }
    }
}

/// A list, in OpenAI's form. One more than was asked for says that there are more.
fn listed<T: Serialize>(mut items: Vec<T>, limit: usize, id: impl Fn(&T) -> &str) -> axum::Json<Value> {
    let has_more = items.len() > limit;
    items.truncate(limit);
    let end = |item: Option<&T>| item.map(|item| id(item).to_owned());
    let (first_id, last_id) = (end(items.first()), end(items.last()));
    axum::Json(json!({
        "object": "list", "data": items, "has_more": has_more, "first_id": first_id, "last_id": last_id,
    }))
}

/// Upload a file (OpenAI)
///
/// `multipart/form-data` with the fields `purpose` (`batch`) and `file`: one request a line. Up to `llm.body_max`.
#[utoipa::path(post, path = "/v1/files", tag = TAG,
    request_body(content = String, content_type = "multipart/form-data"), responses((status = 200, description = "The file", body = FileView)))]
async fn upload(
    State(durable): State<Durable>,
    caller: Caller,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<FileView>, Problem> {
    Ok(Json(durable.upload(&caller, read_upload(&headers, &body)?).await?))
}

/// List files (OpenAI)
#[utoipa::path(get, path = "/v1/files", tag = TAG, params(ListQuery), responses(
    (status = 200, description = "Files, the newest first", body = Value),
))]
async fn files(
    State(durable): State<Durable>,
    caller: Caller,
    Query(query): Query<ListQuery>,
) -> Result<axum::Json<Value>, Problem> {
    let limit = query.limit()?;
    let files =
        durable.files(caller.tenant(), query.after.as_deref(), query.purpose.clone(), limit + 1).await?;
    Ok(listed(files, limit, |file| &file.id))
}

/// A file (OpenAI)
#[utoipa::path(get, path = "/v1/files/{id}", tag = TAG, params(("id" = String, Path, description = "The file")), responses(
    (status = 200, description = "The file", body = FileView),
))]
async fn file(
    State(durable): State<Durable>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<FileView>, Problem> {
    Ok(Json(durable.file(caller.tenant(), &id).await?))
}

/// Delete a file (OpenAI)
#[utoipa::path(delete, path = "/v1/files/{id}", tag = TAG, params(("id" = String, Path, description = "The file")), responses(
    (status = 200, description = "It is gone", body = Value),
))]
async fn delete_file(
    State(durable): State<Durable>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<axum::Json<Value>, Problem> {
    durable.delete_file(caller.tenant(), &id).await?;
    Ok(axum::Json(json!({"id": id, "object": "file", "deleted": true})))
}

/// A file's content (OpenAI)
#[utoipa::path(get, path = "/v1/files/{id}/content", tag = TAG, params(
    ("id" = String, Path, description = "The file"),
), responses((status = 200, description = "Its lines")))]
async fn content(
    State(durable): State<Durable>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let content = durable.file_content(caller.tenant(), &id).await?;
    let lines = HeaderValue::from_static("application/jsonl");
    let plain = HeaderValue::from_static("nosniff");
    Ok(([(header::CONTENT_TYPE, lines), (header::X_CONTENT_TYPE_OPTIONS, plain)], content).into_response())
}

/// Create a batch (OpenAI)
///
/// Carries the requests of a file out, as a job that survives a crash.
#[utoipa::path(post, path = "/v1/batches", tag = TAG, request_body = BatchInput, responses(
    (status = 200, description = "The batch", body = BatchView),
))]
async fn create(
    State(durable): State<Durable>,
    caller: Caller,
    Json(input): Json<BatchInput>,
) -> Result<Json<BatchView>, Problem> {
    Ok(Json(durable.create_batch(&caller, input).await?))
}

/// List batches (OpenAI)
#[utoipa::path(get, path = "/v1/batches", tag = TAG, params(ListQuery), responses(
    (status = 200, description = "Batches, the newest first", body = Value),
))]
async fn list(
    State(durable): State<Durable>,
    caller: Caller,
    Query(query): Query<ListQuery>,
) -> Result<axum::Json<Value>, Problem> {
    let limit = query.limit()?;
    let batches = durable.batches(caller.tenant(), query.after.as_deref(), limit + 1).await?;
    Ok(listed(batches, limit, |batch| &batch.id))
}

/// A batch (OpenAI)
#[utoipa::path(get, path = "/v1/batches/{id}", tag = TAG, params(("id" = String, Path, description = "The batch")), responses(
    (status = 200, description = "The batch", body = BatchView),
))]
async fn show(
    State(durable): State<Durable>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<BatchView>, Problem> {
    Ok(Json(durable.batch(&caller, &id).await?))
}

/// Cancel a batch (OpenAI)
///
/// No further request is begun; what is answered is kept.
#[utoipa::path(post, path = "/v1/batches/{id}/cancel", tag = TAG, params(
    ("id" = String, Path, description = "The batch"),
), responses((status = 200, description = "The batch", body = BatchView)))]
async fn cancel(
    State(durable): State<Durable>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<BatchView>, Problem> {
    Ok(Json(durable.cancel_batch(&caller, &id).await?))
}

/// Create a batch of lines
///
/// The same without an upload: the body is the file itself (`application/jsonl`), or what `/v1/batches` takes (JSON).
#[utoipa::path(post, path = "/batches", tag = TAG, request_body = BatchInput, responses(
    (status = 202, description = "The batch", body = BatchView),
))]
async fn create_of_lines(
    State(durable): State<Durable>,
    caller: Caller,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let media_type =
        headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let is_lines =
        media_type.starts_with("application/jsonl") || media_type.starts_with("application/x-ndjson");
    let input = if is_lines {
        let endpoint = line_endpoint(&body)
            .ok_or_else(|| Problem::invalid_field("body", "must begin with a line that names its `url`"))?;
        let file = Uploaded { name: "lines.jsonl".to_owned(), purpose: "batch".to_owned(), bytes: body };
        let input_file_id = durable.upload(&caller, file).await?.id;
        BatchInput { input_file_id, endpoint, completion_window: WINDOW_DEFAULT.to_owned(), metadata: None }
    } else {
        parse_json(&body)?
    };
    let batch = durable.create_batch(&caller, input).await?;
    let location = format!("/llm/v1/batches/{}", batch.id);
    let headers = [
        (header::LOCATION, HeaderValue::try_from(location).unwrap_or(HeaderValue::from_static("/"))),
        (header::RETRY_AFTER, LOOK_AGAIN),
    ];
    Ok((StatusCode::ACCEPTED, headers, Json(batch)).into_response())
}

/// The outcome of a call that became a job
///
/// What `Location` names after `Prefer: respond-async`: 202 while the call has not ended, then the answer as the API has it.
/// With `Prefer: wait=N` it waits up to N seconds.
#[utoipa::path(get, path = "/calls/{id}", tag = TAG, params(
    ("id" = String, Path, description = "The call"),
    ("Prefer" = Option<String>, Header, description = "`wait=N`: seconds to wait for the answer"),
), responses(
    (status = 200, description = "The answer, as the API has it", body = Value),
    (status = 202, description = "It has not ended"),
))]
async fn outcome(
    State(durable): State<Durable>,
    caller: Caller,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let preference = Preference::of(&headers)?;
    let outcome = durable.outcome(&caller, &id, preference.wait.unwrap_or_default()).await?;
    let mut response = match outcome {
        Some(output) => super::calls::answered(&output),
        None => super::calls::pending(&id, &format!("/jobs/{id}")),
    };
    preference.applied(response.headers_mut());
    Ok(response)
}
