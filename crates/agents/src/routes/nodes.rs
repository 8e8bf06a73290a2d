//! The servers that run the agents.

use axum::extract::State;
use paddock_platform::{
    http::Json,
    identity::{Caller, Scope},
    problem::Problem,
};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{Area, TAG};
use crate::{nodes::NodesView, service::Agents};

pub(super) fn routes() -> OpenApiRouter<Area> {
    OpenApiRouter::new().routes(routes!(nodes))
}

/// Show the servers that run agents
///
/// Each with its lease and how many agents it runs. They are everybody's, so it needs `agents:admin`.
#[utoipa::path(get, path = "/nodes", tag = TAG, responses(
    (status = 200, description = "The servers", body = NodesView),
))]
async fn nodes(State(agents): State<Agents>, caller: Caller) -> Result<Json<NodesView>, Problem> {
    caller.require(Scope::admin("agents"))?;
    Ok(Json(agents.nodes().await?))
}
