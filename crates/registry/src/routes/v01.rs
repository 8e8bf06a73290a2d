//! The official API, version 0.1: at `/registry/v0.1` for the default view, at `/registry/NAME/v0.1` for a named one, and
//! at `/v0.1` where the configuration says so. What the official publisher still asks of version 0 is there too; lists of
//! that version are not, as clients take one for the sign of an older registry.

use axum::{
    Router,
    body::Bytes,
    extract::{Request, State},
    response::{IntoResponse, Response},
    routing::{get, options, patch, post, put},
};
use http::{StatusCode, header};
use paddock_platform::{
    http::{Json, Path},
    identity::Caller,
    problem::Problem,
};
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    TAG,
    answer::{self, caller_of, failed, preflight},
};
use crate::{
    claims::Claims,
    entry::{Entry, Status},
    list,
    publish::StatusChange,
    registry::Registry,
};

/// What clients of this API look for before they use it.
const CONTRACT: &str = include_str!("openapi.yaml");

/// The routes that read.
pub(super) fn reads() -> OpenApiRouter<Registry> {
    let mut router = OpenApiRouter::new()
        .routes(routes!(list_default))
        .routes(routes!(list_named))
        .routes(routes!(versions_default))
        .routes(routes!(versions_named))
        .routes(routes!(version_default))
        .routes(routes!(version_named))
        .route("/openapi.yaml", get(contract))
        .route("/{registry}/openapi.yaml", get(contract))
        .route("/v0/servers/{server_name}/versions", get(versions_default))
        .route("/v0/servers/{server_name}/versions/{version}", get(version_default));
    for path in ["", "/{server_name}/versions", "/{server_name}/versions/{version}"] {
        for prefix in ["", "/{registry}"] {
            router = router.route(&format!("{prefix}/v0.1/servers{path}"), options(preflight));
        }
    }
    router
}

/// The routes that change what is published here.
pub(super) fn changes() -> OpenApiRouter<Registry> {
    OpenApiRouter::new()
        .routes(routes!(publish))
        .routes(routes!(edit, withdraw))
        .routes(routes!(set_status))
        .routes(routes!(set_status_of_all))
        .route("/{registry}/v0.1/publish", post(publish))
        .route("/v0/publish", post(publish))
        .route("/v0/servers/{server_name}/versions/{version}/status", patch(set_status))
        .route("/v0/servers/{server_name}/status", patch(set_status_of_all))
}

/// The routes that read, at the root.
pub(super) fn root_reads() -> Router<Registry> {
    Router::new()
        .route("/openapi.yaml", get(contract))
        .route("/v0.1/servers", get(list_default).options(preflight))
        .route("/v0.1/servers/{server_name}/versions", get(versions_default).options(preflight))
        .route("/v0.1/servers/{server_name}/versions/{version}", get(version_default).options(preflight))
        .route("/v0/servers/{server_name}/versions", get(versions_default))
        .route("/v0/servers/{server_name}/versions/{version}", get(version_default))
}

/// The routes that change what is published here, at the root.
pub(super) fn root_changes() -> Router<Registry> {
    Router::new()
        .route("/v0.1/servers/{server_name}/versions/{version}", put(edit).delete(withdraw))
        .route("/v0.1/servers/{server_name}/versions/{version}/status", patch(set_status))
        .route("/v0.1/servers/{server_name}/status", patch(set_status_of_all))
        .route("/v0.1/publish", post(publish))
        .route("/v0/servers/{server_name}/versions/{version}/status", patch(set_status))
        .route("/v0/servers/{server_name}/status", patch(set_status_of_all))
        .route("/v0/publish", post(publish))
}

fn query_of(request: &Request) -> &str {
    request.uri().query().unwrap_or_default()
}

/// The list of a view, for all routes that give it.
pub(super) fn list(registry: &Registry, name: Option<&str>, request: &Request) -> Response {
    match registry.see(name, caller_of(request)) {
        Ok(seen) => {
            let page = list::page(&seen.selection, query_of(request), registry.page_limit_max());
            answer::page(&seen, page.map(Some), request)
        }
        Err(problem) => failed(problem),
    }
}

fn versions(registry: &Registry, name: Option<&str>, server: &str, request: &Request) -> Response {
    match registry.see(name, caller_of(request)) {
        Ok(seen) => {
            let page = list::versions_page(&seen.selection, server, query_of(request));
            answer::page(&seen, page, request)
        }
        Err(problem) => failed(problem),
    }
}

/// A version of a server, for all routes that give one.
pub(super) fn version(
    registry: &Registry,
    name: Option<&str>,
    (server, version): (&str, &str),
    request: &Request,
) -> Response {
    let found = registry.see(name, caller_of(request)).and_then(|seen| {
        let with_deleted = match request.uri().query() {
            Some(query) => list::include_deleted(query)?,
            None => false,
        };
        let entry = seen.selection.find(server, version).filter(|entry| with_deleted || !entry.is_deleted());
        Ok(answer::entry(&seen, entry, request.headers()))
    });
    found.unwrap_or_else(failed)
}

/// List MCP servers
///
/// Every version of every server, by name and version. Parameters: `limit` (30), `cursor`, `search` (a text in the name,
/// title or description), `version` (`latest`, or one), `updated_since` (then with the deleted), `include_deleted`.
#[utoipa::path(get, path = "/v0.1/servers", tag = TAG, responses(
    (status = 200, description = "A page of servers, as the official API has it", body = serde_json::Value),
))]
async fn list_default(State(registry): State<Registry>, request: Request) -> Response {
    list(&registry, None, &request)
}

/// List MCP servers of a view
#[utoipa::path(get, path = "/{registry}/v0.1/servers", tag = TAG,
    params(("registry" = String, Path, description = "The view")),
    responses((status = 200, description = "A page of servers, as the official API has it", body = serde_json::Value)))]
async fn list_named(
    State(registry): State<Registry>,
    Path(name): Path<String>,
    request: Request,
) -> Response {
    list(&registry, Some(&name), &request)
}

/// List the versions of an MCP server
///
/// The newest first.
#[utoipa::path(get, path = "/v0.1/servers/{server_name}/versions", tag = TAG,
    params(("server_name" = String, Path, description = "The server, its `/` written `%2F`")),
    responses((status = 200, description = "All versions, as the official API has it", body = serde_json::Value)))]
async fn versions_default(
    State(registry): State<Registry>,
    Path(server): Path<String>,
    request: Request,
) -> Response {
    versions(&registry, None, &server, &request)
}

/// List the versions of an MCP server of a view
#[utoipa::path(get, path = "/{registry}/v0.1/servers/{server_name}/versions", tag = TAG,
    params(("registry" = String, Path, description = "The view"),
        ("server_name" = String, Path, description = "The server, its `/` written `%2F`")),
    responses((status = 200, description = "All versions, as the official API has it", body = serde_json::Value)))]
async fn versions_named(
    State(registry): State<Registry>,
    Path((name, server)): Path<(String, String)>,
    request: Request,
) -> Response {
    versions(&registry, Some(&name), &server, &request)
}

/// A version of an MCP server
///
/// `latest` is the latest one.
#[utoipa::path(get, path = "/v0.1/servers/{server_name}/versions/{version}", tag = TAG,
    params(("server_name" = String, Path, description = "The server, its `/` written `%2F`"),
        ("version" = String, Path, description = "The version, or `latest`")),
    responses((status = 200, description = "The version, as the official API has it", body = serde_json::Value)))]
async fn version_default(
    State(registry): State<Registry>,
    Path((server, wanted)): Path<(String, String)>,
    request: Request,
) -> Response {
    version(&registry, None, (&server, &wanted), &request)
}

/// A version of an MCP server of a view
#[utoipa::path(get, path = "/{registry}/v0.1/servers/{server_name}/versions/{version}", tag = TAG,
    params(("registry" = String, Path, description = "The view"),
        ("server_name" = String, Path, description = "The server, its `/` written `%2F`"),
        ("version" = String, Path, description = "The version, or `latest`")),
    responses((status = 200, description = "The version, as the official API has it", body = serde_json::Value)))]
async fn version_named(
    State(registry): State<Registry>,
    Path((name, server, wanted)): Path<(String, String, String)>,
    request: Request,
) -> Response {
    version(&registry, Some(&name), (&server, &wanted), &request)
}

async fn contract() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/yaml"), (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*")], CONTRACT)
}

/// Publish a version of an MCP server
///
/// The body is its `server.json`. A version is published once and never changes.
#[utoipa::path(post, path = "/v0.1/publish", tag = TAG, request_body = serde_json::Value, responses(
    (status = 200, description = "The published version, as the official API has it", body = serde_json::Value),
))]
async fn publish(
    State(registry): State<Registry>,
    caller: Caller,
    Json(server): Json<Box<RawValue>>,
) -> Result<Response, Problem> {
    let (rendered, name, version) = registry.publish(&caller, server.get(), Claims::default()).await?;
    let location = format!("/registry/v0.1/servers/{}/versions/{version}", name.replace('/', "%2F"));
    Ok(([(header::LOCATION, location)], json_bytes(rendered)).into_response())
}

/// Replace what a version says
///
/// For administrators, to repair what was published wrong: others publish another version.
#[utoipa::path(put, path = "/v0.1/servers/{server_name}/versions/{version}", tag = TAG, request_body = serde_json::Value,
    params(("server_name" = String, Path, description = "The server, its `/` written `%2F`"),
        ("version" = String, Path, description = "The version")),
    responses((status = 200, description = "The version as it is now", body = serde_json::Value)))]
async fn edit(
    State(registry): State<Registry>,
    caller: Caller,
    Path((name, version)): Path<(String, String)>,
    Json(server): Json<Box<RawValue>>,
) -> Result<Response, Problem> {
    let entry = registry.edit(&caller, &name, &version, server.get()).await?;
    Ok(json_bytes(entry.rendered.clone()).into_response())
}

/// Withdraw a version
///
/// It becomes `deleted`: it is not listed any more but to those who ask for the deleted, and its number stays taken.
#[utoipa::path(delete, path = "/v0.1/servers/{server_name}/versions/{version}", tag = TAG,
    params(("server_name" = String, Path, description = "The server, its `/` written `%2F`"),
        ("version" = String, Path, description = "The version")),
    responses((status = 200, description = "The version as it is now", body = serde_json::Value)))]
async fn withdraw(
    State(registry): State<Registry>,
    caller: Caller,
    Path((name, version)): Path<(String, String)>,
) -> Result<Response, Problem> {
    let change = StatusChange { status: Status::Deleted, status_message: None };
    changed(&registry, &caller, &name, &version, change).await
}

/// Set the status of a version
#[utoipa::path(patch, path = "/v0.1/servers/{server_name}/versions/{version}/status", tag = TAG,
    request_body = StatusChange,
    params(("server_name" = String, Path, description = "The server, its `/` written `%2F`"),
        ("version" = String, Path, description = "The version")),
    responses((status = 200, description = "The version as it is now", body = serde_json::Value)))]
async fn set_status(
    State(registry): State<Registry>,
    caller: Caller,
    Path((name, version)): Path<(String, String)>,
    Json(change): Json<StatusChange>,
) -> Result<Response, Problem> {
    changed(&registry, &caller, &name, &version, change).await
}

async fn changed(
    registry: &Registry,
    caller: &Caller,
    name: &str,
    version: &str,
    change: StatusChange,
) -> Result<Response, Problem> {
    let entries = registry.set_status(caller, name, Some(version), change).await?;
    let entry = entries.first().ok_or_else(|| Problem::not_found("server version", version))?;
    Ok(json_bytes(entry.rendered.clone()).into_response())
}

/// Versions that were changed together.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Updated {
    updated_count: usize,
    servers: Vec<Box<RawValue>>,
}

/// Set the status of all versions of a server
///
/// All at once, or none.
#[utoipa::path(patch, path = "/v0.1/servers/{server_name}/status", tag = TAG, request_body = StatusChange,
    params(("server_name" = String, Path, description = "The server, its `/` written `%2F`")),
    responses((status = 200, description = "How many versions there are, and how they are now", body = serde_json::Value)))]
async fn set_status_of_all(
    State(registry): State<Registry>,
    caller: Caller,
    Path(name): Path<String>,
    Json(change): Json<StatusChange>,
) -> Result<Response, Problem> {
    let entries = registry.set_status(&caller, &name, None, change).await?;
    let raw = |entry: &std::sync::Arc<Entry>| {
        let text = String::from_utf8_lossy(&entry.rendered).into_owned();
        RawValue::from_string(text).ok()
    };
    let servers: Vec<_> = entries.iter().filter_map(raw).collect();
    Ok(Json(Updated { updated_count: servers.len(), servers }).into_response())
}

fn json_bytes(bytes: Bytes) -> impl IntoResponse {
    (StatusCode::OK, [(header::CONTENT_TYPE, "application/json")], bytes)
}
