//! What instances cost.

use axum::extract::State;
use paddock_platform::{
    http::{Json, Path},
    identity::Caller,
    problem::Problem,
};
use utoipa_axum::routes;

use super::Routes;
use crate::{
    ids::InstanceId,
    service::{BrowserService, InstanceMetrics},
};

type Service = State<BrowserService>;

pub(super) fn routes() -> Routes {
    Routes::new().routes(routes!(list_instance_metrics)).routes(routes!(get_instance_metrics))
}

/// Tells what each instance of the caller's tenant costs: memory (PSS), processor time, tabs.
#[utoipa::path(get, path = "/instances/metrics", tag = "browser",
    responses((status = OK, body = Vec<InstanceMetrics>)))]
async fn list_instance_metrics(
    State(service): Service,
    caller: Caller,
) -> Result<Json<Vec<InstanceMetrics>>, Problem> {
    Ok(Json(service.instances_metrics(&caller).await?))
}

/// Tells what one instance costs.
#[utoipa::path(get, path = "/instances/{id}/metrics", tag = "browser", params(("id" = String, Path)),
    responses((status = OK, body = InstanceMetrics)))]
async fn get_instance_metrics(
    State(service): Service,
    caller: Caller,
    Path(id): Path<InstanceId>,
) -> Result<Json<InstanceMetrics>, Problem> {
    Ok(Json(service.instance_metrics(&caller, &id).await?))
}
