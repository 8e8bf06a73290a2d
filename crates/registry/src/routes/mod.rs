//! `/registry`: the official API, what there is beside it, and the routes of administrators.

mod admin;
mod answer;
mod auth;
mod events;
mod own;
mod v01;

use axum::{
    Router,
    extract::Request,
    middleware::{self, Next},
    response::{IntoResponse, Response},
};
use paddock_platform::{
    http::{Idempotency, idempotent, require},
    identity::{Caller, Scope},
    problem::{Problem, UNAUTHENTICATED},
};
use utoipa_axum::router::OpenApiRouter;

pub use self::auth::ENTRANCE_ROUTES;
use crate::{proof::AREA, registry::Registry};

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
    "/registry/v0/servers/{server_name}/versions",
    "/registry/v0/servers/{server_name}/versions/{version}",
    "/registry/{registry}/openapi.yaml",
    "/registry/{registry}/v0.1/servers",
    "/registry/{registry}/v0.1/servers/{server_name}/versions",
    "/registry/{registry}/v0.1/servers/{server_name}/versions/{version}",
    "/openapi.yaml",
    "/v0.1/servers",
    "/v0.1/servers/{server_name}/versions",
    "/v0.1/servers/{server_name}/versions/{version}",
    "/v0/servers/{server_name}/versions",
    "/v0/servers/{server_name}/versions/{version}",
];
/// Routes that wait for more than a moment: a stream of events.
pub const STREAM_ROUTES: &[&str] = &["/registry/events"];

/// The area's routes, to be nested under `/registry`.
pub fn routes(registry: Registry, idempotency: &Idempotency) -> OpenApiRouter {
    let published = v01::changes()
        .route_layer(middleware::from_fn_with_state(idempotency.clone(), idempotent))
        .route_layer(middleware::from_fn(for_publishers));
    let changes = OpenApiRouter::new()
        .merge(own::changes())
        .merge(admin::routes())
        .route_layer(middleware::from_fn_with_state(idempotency.clone(), idempotent))
        .route_layer(require(AREA));
    OpenApiRouter::new()
        .merge(v01::reads())
        .merge(own::reads())
        .merge(events::routes())
        .merge(auth::routes())
        .merge(published)
        .merge(changes)
        .with_state(registry)
}

/// The official API at the root, for clients whose base URL is the bare address.
pub fn root_routes(registry: Registry, idempotency: &Idempotency) -> Router {
    let published = v01::root_changes()
        .route_layer(middleware::from_fn_with_state(idempotency.clone(), idempotent))
        .route_layer(middleware::from_fn(for_publishers));
    v01::root_reads()
        .merge(own::root_reads())
        .merge(auth::root_routes())
        .merge(published)
        .with_state(registry)
}

/// Lets those in who may write, and those who have proven that a namespace is theirs: which one is looked at where it is
/// known what they change.
async fn for_publishers(request: Request, next: Next) -> Response {
    let caller: Option<&Caller> = request.extensions().get();
    let may = match caller {
        // Without the edge there is no caller: closed rather than open.
        None => Err(Problem::new(UNAUTHENTICATED, "this route needs a key")),
        Some(caller) if caller.proof(AREA).is_some() => Ok(()),
        Some(caller) => caller.require(Scope::write(AREA)),
    };
    match may {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }
}
