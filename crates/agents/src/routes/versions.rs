//! Shares of versions.

use axum::extract::State;
use http::StatusCode;
use paddock_platform::{
    http::{Json, Path},
    identity::Caller,
    problem::Problem,
};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{Area, Deployed, TAG, parse_name};
use crate::service::{Agents, SplitInput, SplitView};

pub(super) fn routes() -> OpenApiRouter<Area> {
    OpenApiRouter::new().routes(routes!(split, end_split)).routes(routes!(promote))
}

/// Give a version a share
///
/// Of the conversations that begin from now on, beside the version in force. A conversation stays with the version that it
/// began with. Both work on the agent's one state.
#[utoipa::path(put, path = "/{name}/split", tag = TAG, request_body = SplitInput,
    params(("name" = String, Path, description = "The agent")),
    responses((status = 200, description = "Its share", body = SplitView)))]
async fn split(
    State(agents): State<Agents>,
    caller: Caller,
    Path(name): Path<String>,
    Json(input): Json<SplitInput>,
) -> Result<Json<SplitView>, Problem> {
    Ok(Json(agents.split(&caller, &parse_name(&name)?, input).await?))
}

/// Take back a share
///
/// The version in force handles everything again.
#[utoipa::path(delete, path = "/{name}/split", tag = TAG,
    params(("name" = String, Path, description = "The agent")),
    responses((status = 204, description = "There is one version at work")))]
async fn end_split(
    State(agents): State<Agents>,
    caller: Caller,
    Path(name): Path<String>,
) -> Result<StatusCode, Problem> {
    agents.end_split(caller.tenant(), &parse_name(&name)?).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Promote a version
///
/// The one that has a share is put in force, for everything.
#[utoipa::path(post, path = "/{name}/promote", tag = TAG,
    params(("name" = String, Path, description = "The agent")),
    responses((status = 200, description = "The version in force", body = Deployed)))]
async fn promote(
    State(agents): State<Agents>,
    caller: Caller,
    Path(name): Path<String>,
) -> Result<Json<Deployed>, Problem> {
    let name = parse_name(&name)?;
    let version = agents.promote(&caller, &name).await?;
    Ok(Json(Deployed { name, version }))
}
