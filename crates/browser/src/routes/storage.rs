//! Local and session storage.

use axum::extract::State;
use paddock_platform::{
    http::{Json, Query},
    problem::Problem,
};
use utoipa_axum::routes;

use super::Routes;
use crate::{
    service::{BrowserService, ClearStorageRequest, SetStorageRequest, StorageCleared, StorageQuery, Target},
    storage::{StorageChanged, Stored},
};

type Service = State<BrowserService>;

/// Those that act on a tab.
pub(super) fn in_tab() -> Routes {
    Routes::new().routes(routes!(get_storage, set_storage, clear_storage))
}

/// Shows what the storages of the page's site hold.
#[utoipa::path(get, path = "/storage", tag = "browser", params(StorageQuery),
    responses((status = OK, body = Stored)))]
async fn get_storage(
    State(service): Service,
    target: Target,
    Query(query): Query<StorageQuery>,
) -> Result<Json<Stored>, Problem> {
    Ok(Json(service.storage(&target, query).await?))
}

/// Sets one key of a storage.
#[utoipa::path(post, path = "/storage", tag = "browser", request_body = SetStorageRequest,
    responses((status = OK, body = StorageChanged)))]
async fn set_storage(
    State(service): Service,
    target: Target,
    Json(request): Json<SetStorageRequest>,
) -> Result<Json<StorageChanged>, Problem> {
    Ok(Json(service.set_storage(&target.same(request.tab_id.clone())?, request).await?))
}

/// Removes one key of a storage, or all.
#[utoipa::path(delete, path = "/storage", tag = "browser", request_body = Option<ClearStorageRequest>,
    responses((status = OK, body = StorageCleared)))]
async fn clear_storage(
    State(service): Service,
    target: Target,
    request: Option<Json<ClearStorageRequest>>,
) -> Result<Json<StorageCleared>, Problem> {
    let request = request.map(|Json(request)| request).unwrap_or_default();
    Ok(Json(service.clear_storage(&target.same(request.tab_id.clone())?, request).await?))
}
