//! The routes under `/browser`: Pinchtab's paths and shapes.
//!
//! One file per family. A route that acts on a tab is written once, as `/x`, and is there as `/tabs/{tab}/x` too.

mod activity;
mod coordination;
mod instances;
mod metrics;
mod navigate;
mod observe;
mod sessions;
mod system;
mod tabs;

use axum::{middleware, response::Response};
use paddock_platform::problem::Problem;
use utoipa::openapi::{
    RefOr, Required,
    path::{Operation, ParameterBuilder, ParameterIn},
    schema::{Object, Type},
};
use utoipa_axum::router::OpenApiRouter;

use crate::{activity::record, service::BrowserService};

type Routes = OpenApiRouter<BrowserService>;

/// Patterns of routes that have deadlines of their own, or none because they stream, as they are under `/browser`.
pub const UNTIMED_ROUTES: &[&str] = &[
    "/browser/navigate",
    "/browser/tabs/{tab}/navigate",
    "/browser/api/events",
    "/browser/api/agents/{id}/events",
];

/// All routes of the area, to be nested under `/browser`.
pub fn router(service: BrowserService) -> OpenApiRouter {
    let in_tab = OpenApiRouter::new()
        .merge(coordination::in_tab())
        .merge(navigate::in_tab())
        .merge(observe::in_tab())
        .merge(system::in_tab())
        .merge(tabs::in_tab());
    let routes = OpenApiRouter::new()
        .merge(activity::routes())
        .merge(instances::routes())
        .merge(metrics::routes())
        .merge(system::routes())
        .merge(tabs::routes())
        .merge(with_tab_paths(in_tab));
    let routes = match service.sessions() {
        Some(sessions) => routes.merge(sessions::session_routes(sessions.clone())),
        None => routes,
    };
    system::described(routes)
        .layer(middleware::map_response(add_error_members))
        .layer(middleware::from_fn_with_state(service.clone(), record))
        .with_state(service)
}

/// The routes as they are, and all of them once more under `/tabs/{tab}`.
fn with_tab_paths(routes: Routes) -> Routes {
    let mut twin = routes.clone();
    for item in twin.get_openapi_mut().paths.paths.values_mut() {
        let operations = [&mut item.get, &mut item.post, &mut item.put, &mut item.patch, &mut item.delete];
        operations.into_iter().flatten().for_each(name_tab_in_path);
    }
    routes.nest("/tabs/{tab}", twin)
}

fn name_tab_in_path(operation: &mut Operation) {
    let tab = ParameterBuilder::new()
        .name("tab")
        .parameter_in(ParameterIn::Path)
        .required(Required::True)
        .schema(Some(Object::with_type(Type::String)))
        .build();
    let parameters = operation.parameters.get_or_insert_default();
    parameters.retain(|parameter| !matches!(parameter, RefOr::T(parameter) if parameter.name == "tabId"));
    parameters.push(RefOr::T(tab));
    if let Some(id) = &mut operation.operation_id {
        id.push_str("_in_tab");
    }
}

/// Pinchtab's clients read `error`, `code` and `retryable`; the problem document has them beside its own members.
async fn add_error_members(mut response: Response) -> Response {
    let Some(problem) = response.extensions_mut().remove::<Problem>() else { return response };
    let (code, detail) = (problem.kind.slug.replace('-', "_"), problem.detail.clone());
    let retryable = problem.retry_after.is_some();
    let problem = problem.with("error", detail).with("code", code).with("retryable", retryable);
    axum::response::IntoResponse::into_response(problem)
}
