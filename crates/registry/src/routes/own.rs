//! What there is beside the official API.

use axum::{
    Router,
    extract::{Request, State},
    response::Response,
    routing::post,
};
use http::{StatusCode, header};
use paddock_platform::{
    http::{Cursor, Json, Page, PageQuery, Path, Query, page_limit, require_scope},
    identity::{Caller, Scope},
    problem::Problem,
};
use serde::Deserialize;
use serde_json::Value;
use utoipa::IntoParams;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{TAG, v01};
use crate::{
    registry::Registry,
    search::{SearchInput, SearchOutput},
    status::{History, QUARANTINE_LIMIT_MAX, Quarantine, RegistryStatus, SyncAccepted},
    store::AuditRecord,
    validate::{Verdict, validate},
};

/// The routes that read.
pub(super) fn reads() -> OpenApiRouter<Registry> {
    let guarded = OpenApiRouter::new()
        .routes(routes!(status))
        .routes(routes!(quarantine))
        .routes(routes!(history))
        .routes(routes!(search))
        .routes(routes!(check))
        .route("/v0.1/validate", post(check))
        .route("/v0/validate", post(check))
        .route_layer(require_scope(Scope::read("registry")));
    let of_administrators =
        OpenApiRouter::new().routes(routes!(audit)).route_layer(require_scope(Scope::admin("registry")));
    OpenApiRouter::new()
        .routes(routes!(servers))
        .routes(routes!(server))
        .merge(guarded)
        .merge(of_administrators)
}

/// The routes that read, at the root.
pub(super) fn root_reads() -> Router<Registry> {
    Router::new()
        .route("/v0.1/validate", post(check))
        .route("/v0/validate", post(check))
        .route_layer(require_scope(Scope::read("registry")))
}

/// The routes that change something.
pub(super) fn changes() -> OpenApiRouter<Registry> {
    OpenApiRouter::new().routes(routes!(sync))
}

/// List MCP servers
///
/// The same as `/registry/v0.1/servers`.
#[utoipa::path(get, path = "/", tag = TAG, responses((status = 200, description = "A page of servers", body = Value)))]
async fn servers(State(registry): State<Registry>, request: Request) -> Response {
    v01::list(&registry, None, &request)
}

/// The latest version of an MCP server
#[utoipa::path(get, path = "/{id}", tag = TAG,
    params(("id" = String, Path, description = "The server's name, its `/` written `%2F`")),
    responses((status = 200, description = "The version, as the official API has it", body = Value)))]
async fn server(State(registry): State<Registry>, Path(id): Path<String>, request: Request) -> Response {
    v01::version(&registry, None, (&id, "latest"), &request)
}

/// How the registry stands
///
/// Its sources with their last syncs, and its views.
#[utoipa::path(get, path = "/status", tag = TAG, responses((status = 200, description = "Sources and views", body = RegistryStatus)))]
async fn status(State(registry): State<Registry>) -> Json<RegistryStatus> {
    Json(registry.status())
}

/// Which sources to look at.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct OfSource {
    /// One source; all of them if it is left out.
    source: Option<String>,
    /// How many entries, 1 to 1,000.
    limit: Option<usize>,
}

/// Look at the sources now
///
/// Answers at once. Those who ask before a sync begins share it; `/registry/status` tells when it is done.
#[utoipa::path(post, path = "/sync", tag = TAG, params(("source" = Option<String>, Query, description = "One source; all of them if it is left out")),
    responses((status = 202, description = "The syncs that were asked for", body = SyncAccepted)))]
async fn sync(
    State(registry): State<Registry>,
    caller: Caller,
    Query(of): Query<OfSource>,
) -> Result<(StatusCode, [(header::HeaderName, &'static str); 1], Json<SyncAccepted>), Problem> {
    let accepted = registry.request_sync(of.source.as_deref())?;
    tracing::debug!(key.id = caller.key_id(), "a sync was asked for");
    Ok((StatusCode::ACCEPTED, [(header::LOCATION, "/registry/status")], Json(accepted)))
}

/// What is wrong with the entries
///
/// Entries that are kept out, and entries that are served and marked, each with its reasons.
#[utoipa::path(get, path = "/quarantine", tag = TAG, params(OfSource), responses((status = 200, description = "The entries", body = Quarantine)))]
async fn quarantine(
    State(registry): State<Registry>,
    Query(of): Query<OfSource>,
) -> Result<Json<Quarantine>, Problem> {
    let limit = of.limit.unwrap_or(100);
    if !(1..=QUARANTINE_LIMIT_MAX).contains(&limit) {
        return Err(Problem::invalid_field("limit", format!("{limit} is not 1 to {QUARANTINE_LIMIT_MAX}")));
    }
    registry.quarantine(of.source.as_deref(), limit).map(Json)
}

/// How the syncs of a source went
///
/// Those that changed something or failed, with what was added, changed and removed.
#[utoipa::path(get, path = "/history/{source}", tag = TAG, params(("source" = String, Path, description = "The source")),
    responses((status = 200, description = "The syncs, the newest first", body = History)))]
async fn history(
    State(registry): State<Registry>,
    Path(source): Path<String>,
) -> Result<Json<History>, Problem> {
    registry.history(&source).await.map(Json)
}

/// Search for MCP servers
///
/// The best first, also for misspelled words: by name, title, description, tags and tools.
#[utoipa::path(post, path = "/search", tag = TAG, request_body = SearchInput,
    responses((status = 200, description = "What was found", body = SearchOutput)))]
async fn search(
    State(registry): State<Registry>,
    caller: Caller,
    Json(input): Json<SearchInput>,
) -> Result<Json<SearchOutput>, Problem> {
    registry.search(&caller, input).await.map(Json)
}

/// Check a `server.json`
///
/// With the codes of the official registry's validators.
#[utoipa::path(post, path = "/validate", tag = TAG, request_body = Value,
    responses((status = 200, description = "Whether it may be published, and what is wrong with it", body = Verdict)))]
async fn check(Json(server): Json<Value>) -> Json<Verdict> {
    Json(validate(&server))
}

/// Who changed what
///
/// What was published, withdrawn and administered, the newest first.
#[utoipa::path(get, path = "/audit", tag = TAG, params(PageQuery), responses((status = 200, description = "A page of changes", body = Page<AuditRecord>)))]
async fn audit(
    State(registry): State<Registry>,
    Query(query): Query<PageQuery>,
) -> Result<Json<Page<AuditRecord>>, Problem> {
    let (limit, after) = match &query.cursor {
        Some(cursor) => {
            let cursor: Cursor<(), (i64, String)> = Cursor::decode(cursor)?;
            (cursor.limit, Some(cursor.after))
        }
        None => (page_limit(query.limit)?, None),
    };
    let records = registry.audit_log(after, limit + 1).await?;
    let key = |record: &AuditRecord| (record.at.as_millisecond(), record.id.clone());
    Page::from_overfetched(records, limit, &(), key).map(Json)
}
