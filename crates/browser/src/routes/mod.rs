//! The routes under `/browser`: Pinchtab's paths and shapes.
//!
//! One file per family. A route that acts on a tab is written once, as `/x`, and is there as `/tabs/{tab}/x` too.

mod actions;
mod activity;
mod audit;
mod batch;
mod console;
mod cookies;
mod coordination;
mod dialog;
mod downloads;
mod emulation;
mod events;
mod files;
mod frames;
mod in_instance;
mod inspect;
mod instances;
mod metrics;
mod navigate;
mod network;
mod observe;
mod page;
mod passthrough;
mod profiles;
mod read;
mod record;
mod scheduler;
mod screencast;
mod sessions;
mod storage;
mod system;
mod tabs;

use axum::{middleware, response::Response};
use http::HeaderValue;
use paddock_platform::problem::Problem;
use utoipa::openapi::{
    RefOr, Required,
    path::{Operation, ParameterBuilder, ParameterIn},
    schema::{Object, Type},
};
use utoipa_axum::router::OpenApiRouter;

use crate::{activity::record, service::BrowserService};

/// Characters of a warning in a header.
const WARNING_SIZE_MAX: usize = 500;

type Routes = OpenApiRouter<BrowserService>;

/// Routes (under `/browser`) whose requests name a time of their own, which may be longer than the server's, or that
/// stream.
pub const UNTIMED_ROUTES: &[&str] = &[
    "/browser/navigate",
    "/browser/tabs/{tab}/navigate",
    "/browser/network/stream",
    "/browser/tabs/{tab}/network/stream",
    "/browser/network/export/stream",
    "/browser/tabs/{tab}/network/export/stream",
    "/browser/evaluate",
    "/browser/tabs/{tab}/evaluate",
    "/browser/screenshot",
    "/browser/tabs/{tab}/screenshot",
    "/browser/instances/{id}/tabs/open",
    "/browser/instances/{id}/logs/stream",
    "/browser/audit",
    "/browser/audit/page",
    "/browser/instances/{id}/audit",
    "/browser/scrape",
    "/browser/instances/{id}/scrape",
    "/browser/batch-navigate",
    "/browser/instances/{id}/batch-navigate",
    "/browser/api/events",
    "/browser/api/agents/{id}/events",
];

/// Routes that browsers open as WebSocket or event stream, and what leads to them: untimed, and with the key in the query
/// where headers cannot be set.
pub const STREAM_ROUTES: &[&str] = &[
    "/browser/instances/{id}/cdp",
    "/browser/instances/{id}/json",
    "/browser/instances/{id}/json/",
    "/browser/instances/{id}/json/list",
    "/browser/instances/{id}/json/version",
    "/browser/instances/{id}/json/version/",
    "/browser/events",
    "/browser/screencast",
    "/browser/instances/{id}/screencast",
    "/browser/instances/{id}/proxy/screencast",
    "/browser/live",
];

/// All routes of the area, to be nested under `/browser`.
pub fn router(service: BrowserService) -> OpenApiRouter {
    let in_tab = OpenApiRouter::new()
        .merge(actions::in_tab())
        .merge(audit::in_tab())
        .merge(console::in_tab())
        .merge(cookies::in_tab())
        .merge(coordination::in_tab())
        .merge(dialog::in_tab())
        .merge(emulation::in_tab())
        .merge(files::in_tab())
        .merge(frames::in_tab())
        .merge(inspect::in_tab())
        .merge(navigate::in_tab())
        .merge(network::in_tab())
        .merge(observe::in_tab())
        .merge(page::in_tab())
        .merge(read::in_tab())
        .merge(storage::in_tab())
        .merge(system::in_tab())
        .merge(tabs::in_tab());
    let routes = OpenApiRouter::new()
        .merge(actions::routes())
        .merge(activity::routes())
        .merge(audit::routes())
        .merge(files::routes())
        .merge(instances::routes())
        .merge(in_instance::routes())
        .merge(batch::routes())
        .merge(downloads::routes())
        .merge(events::routes())
        .merge(metrics::routes())
        .merge(page::routes())
        .merge(passthrough::routes())
        .merge(profiles::routes())
        .merge(record::routes())
        .merge(scheduler::routes())
        .merge(screencast::routes())
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

/// An answer with what is to be known of its page, where Pinchtab's clients look for it.
fn with_warning(mut response: Response, warning: Option<&str>) -> Response {
    let text: Option<String> = warning.map(|warning| {
        let plain = |character: char| if matches!(character, ' '..='~') { character } else { '?' };
        warning.chars().take(WARNING_SIZE_MAX).map(plain).collect()
    });
    if let Some(value) = text.and_then(|text| HeaderValue::try_from(text).ok()) {
        response.headers_mut().insert("x-idpi-warning", value);
    }
    response
}

/// Pinchtab's clients read `error`, `code` and `retryable`; the problem document has them beside its own members.
async fn add_error_members(mut response: Response) -> Response {
    let Some(problem) = response.extensions_mut().remove::<Problem>() else { return response };
    let (code, detail) = (problem.kind.slug.replace('-', "_"), problem.detail.clone());
    let retryable = problem.retry_after.is_some();
    let problem = problem.with("error", detail).with("code", code).with("retryable", retryable);
    axum::response::IntoResponse::into_response(problem)
}
