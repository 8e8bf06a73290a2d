//! `/registry`: the official API, what there is beside it, and the routes of administrators.

mod admin;
mod answer;
mod events;
mod own;
mod v01;

use axum::{Router, middleware};
use paddock_platform::http::{Idempotency, idempotent, require};
use utoipa_axum::router::OpenApiRouter;

use crate::registry::Registry;

const TAG: &str = "registry";

/// What views cannot be called, because the routes are.
pub(crate) const RESERVED: &[&str] =
    &["audit", "events", "gateway", "history", "quarantine", "search", "status", "sync", "v1", "validate"];

/// Routes that anybody may read where a view is public, by their patterns.
pub const PUBLIC_ROUTES: &[&str] = &[
    "/registry",
    "/registry/{id}",
    "/registry/openapi.yaml",
    "/registry/v0.1/servers",
    "/registry/v0.1/servers/{server_name}/versions",
    "/registry/v0.1/servers/{server_name}/versions/{version}",
    "/registry/{registry}/openapi.yaml",
    "/registry/{registry}/v0.1/servers",
    "/registry/{registry}/v0.1/servers/{server_name}/versions",
    "/registry/{registry}/v0.1/servers/{server_name}/versions/{version}",
    "/openapi.yaml",
    "/v0.1/servers",
    "/v0.1/servers/{server_name}/versions",
    "/v0.1/servers/{server_name}/versions/{version}",
];
/// Routes that wait for more than a moment: a stream of events.
pub const STREAM_ROUTES: &[&str] = &["/registry/events"];

/// The area's routes, to be nested under `/registry`.
pub fn routes(registry: Registry, idempotency: &Idempotency) -> OpenApiRouter {
    let changes = OpenApiRouter::new()
        .merge(v01::changes())
        .merge(own::changes())
        .merge(admin::routes())
        .route_layer(middleware::from_fn_with_state(idempotency.clone(), idempotent))
        .route_layer(require("registry"));
    OpenApiRouter::new()
        .merge(v01::reads())
        .merge(own::reads())
        .merge(events::routes())
        .merge(changes)
        .with_state(registry)
}

/// The official API at the root, for clients whose base URL is the bare address.
pub fn root_routes(registry: Registry, idempotency: &Idempotency) -> Router {
    let changes = v01::root_changes()
        .route_layer(middleware::from_fn_with_state(idempotency.clone(), idempotent))
        .route_layer(require("registry"));
    v01::root_reads().merge(changes).with_state(registry)
}
