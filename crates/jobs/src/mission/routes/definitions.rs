//! `/missions/definitions`.

use axum::{
    body::Bytes,
    extract::{FromRequest, Request, State},
    response::{IntoResponse, Response},
};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use paddock_platform::{
    http::{Json, Path, Query, page_limit},
    identity::Caller,
    problem::{BODY_TOO_LARGE, INVALID_REQUEST, Problem},
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::TAG;
use crate::mission::{Definition, DefinitionView, Format, Missions, StoredDefinition, read, store::sql};

const YAML_TYPES: [&str; 4] = ["application/yaml", "application/x-yaml", "text/yaml", "text/x-yaml"];

pub(super) fn routes() -> OpenApiRouter<Missions> {
    OpenApiRouter::new().routes(routes!(list, save)).routes(routes!(show)).routes(routes!(versions))
}

/// A definition in YAML or JSON, as the media type says.
struct Written(Definition);

fn is_yaml(headers: &HeaderMap) -> bool {
    let media_type =
        headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    YAML_TYPES.contains(&essence.as_str())
}

impl<S: Send + Sync> FromRequest<S> for Written {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        if !is_yaml(request.headers()) {
            return Json::<Definition>::from_request(request, state)
                .await
                .map(|Json(definition)| Self(definition));
        }
        let body = Bytes::from_request(request, state).await.map_err(|rejection| {
            let too_large = rejection.status() == StatusCode::PAYLOAD_TOO_LARGE;
            Problem::new(if too_large { BODY_TOO_LARGE } else { INVALID_REQUEST }, rejection.body_text())
        })?;
        let text = std::str::from_utf8(&body).map_err(|_| Problem::invalid_field("body", "is not UTF-8"))?;
        Ok(Self(read(text, Format::Yaml)?))
    }
}

/// Whether it is only checked.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct SaveParams {
    /// Only checks it: everything that storing would refuse is told, and nothing is stored.
    #[serde(default)]
    dry_run: bool,
}

/// Store a definition
///
/// In YAML (`Content-Type: application/yaml`) or JSON. It is checked as a whole, and all its mistakes are told in `errors`.
/// Stored under the next version of its name (201); the same as the latest version is that version (200).
#[utoipa::path(post, path = "/definitions", tag = TAG, params(SaveParams),
    request_body(content((Definition = "application/json"), (String = "application/yaml"))),
    responses(
        (status = 201, description = "It is a version of its own", body = StoredDefinition),
        (status = 200, description = "It is there already, or was only checked", body = StoredDefinition),
    ))]
async fn save(
    State(missions): State<Missions>,
    caller: Caller,
    Query(params): Query<SaveParams>,
    Written(definition): Written,
) -> Result<Response, Problem> {
    if params.dry_run {
        let definition = missions.check(&caller, definition).await?;
        return Ok(Json(Checked { valid: true, definition }).into_response());
    }
    let stored = missions.save(&caller, definition).await?;
    let status = if stored.created { StatusCode::CREATED } else { StatusCode::OK };
    let location = format!("/missions/definitions/{}?version={}", stored.name, stored.version);
    let mut response = (status, Json(stored)).into_response();
    response
        .headers_mut()
        .extend(HeaderValue::try_from(location).ok().map(|location| (header::LOCATION, location)));
    Ok(response)
}

/// A definition that was only checked.
#[derive(Debug, Serialize)]
struct Checked {
    valid: bool,
    definition: Definition,
}

/// Which definitions a list shows.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct ListParams {
    /// Names after this one.
    after: Option<String>,
    /// Items per page, 1 to 500.
    limit: Option<u32>,
}

/// Definitions, each in its latest version.
#[derive(Debug, Serialize, ToSchema)]
struct Definitions {
    /// By name.
    definitions: Vec<DefinitionView>,
    /// Ask with `after=` this for the next ones; absent on the last page.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// List definitions
///
/// Each in its latest version.
#[utoipa::path(get, path = "/definitions", tag = TAG, params(ListParams), responses((status = 200, body = Definitions)))]
async fn list(
    State(missions): State<Missions>,
    caller: Caller,
    Query(params): Query<ListParams>,
) -> Result<Json<Definitions>, Problem> {
    let limit = page_limit(params.limit)?;
    let after = params.after.unwrap_or_default();
    let mut rows = sql::list_definitions(missions.store(), caller.tenant(), &after, limit + 1).await?;
    let more = rows.len() > limit as usize;
    rows.truncate(limit as usize);
    let next = rows.last().filter(|_| more).map(|row| row.name.clone());
    Ok(Json(Definitions { definitions: rows.iter().map(DefinitionView::of).collect(), next }))
}

/// Which version.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct ShowParams {
    /// The latest when left out.
    version: Option<u32>,
}

/// A definition
#[utoipa::path(get, path = "/definitions/{name}", tag = TAG,
    params(("name" = String, Path, description = "Its name"), ShowParams), responses((status = 200, body = DefinitionView)))]
async fn show(
    State(missions): State<Missions>,
    caller: Caller,
    Path(name): Path<String>,
    Query(params): Query<ShowParams>,
) -> Result<Json<DefinitionView>, Problem> {
    Ok(Json(missions.definition(caller.tenant(), &name, params.version).await?))
}

/// Which versions a list shows.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct VersionsParams {
    /// Versions before this one.
    before: Option<u32>,
    /// Items per page, 1 to 500.
    limit: Option<u32>,
}

/// Versions of a definition.
#[derive(Debug, Serialize, ToSchema)]
struct Versions {
    /// The newest first.
    versions: Vec<DefinitionView>,
}

/// List the versions of a definition
///
/// The newest first.
#[utoipa::path(get, path = "/definitions/{name}/versions", tag = TAG,
    params(("name" = String, Path, description = "Its name"), VersionsParams), responses((status = 200, body = Versions)))]
async fn versions(
    State(missions): State<Missions>,
    caller: Caller,
    Path(name): Path<String>,
    Query(params): Query<VersionsParams>,
) -> Result<Json<Versions>, Problem> {
    let limit = page_limit(params.limit)?;
    // The name is checked, and that there is one.
    missions.definition(caller.tenant(), &name, None).await?;
    let before = params.before.unwrap_or(u32::MAX);
    let rows = sql::list_versions(missions.store(), caller.tenant(), &name, before, limit).await?;
    Ok(Json(Versions { versions: rows.iter().map(DefinitionView::of).collect() }))
}
