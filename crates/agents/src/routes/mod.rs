//! `/agents`: deploying, looking, steering. Messages have [`messages`], timelines [`conversations`].

mod conversations;
mod execute;
mod messages;
mod nodes;
mod versions;

use axum::extract::{DefaultBodyLimit, State};
use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};
use paddock_jobs::Jobs;
use paddock_platform::{
    http::{Cursor, Json, Page, Path, Query, page_limit, parse_json},
    identity::Caller,
    problem::{INVALID_REQUEST, Problem},
    units::ByteSize,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    cell::LogLine,
    definition::AgentDefinition,
    message::{AgentName, Capability},
    prompt::{PendingApproval, from_markdown},
    service::{AgentView, Agents, DefinitionView, ModuleView, Trial, TrialInput, Validation},
};

const TAG: &str = "agents";

/// Routes that wait as long as their caller asks.
pub const UNTIMED_ROUTES: &[&str] = &[
    "/agents/{name}/execute",
    "/agents/{name}/ask",
    "/agents/{name}/test",
    "/agents/messages",
    "/agents/contract-net",
    "/agents/auction",
    "/agents/propose",
];
/// Where components are uploaded.
pub const UPLOAD_ROUTE: &str = "/agents/modules";

/// What the routes work with.
#[derive(Clone, Debug)]
pub(crate) struct Area {
    agents: Agents,
}

impl axum::extract::FromRef<Area> for Agents {
    fn from_ref(area: &Area) -> Self {
        area.agents.clone()
    }
}

impl axum::extract::FromRef<Area> for Jobs {
    fn from_ref(area: &Area) -> Self {
        area.agents.0.jobs.clone()
    }
}

/// The area's routes, to be nested under `/agents`.
pub fn routes(agents: Agents) -> OpenApiRouter {
    OpenApiRouter::new()
        .routes(routes!(list, deploy))
        .routes(routes!(show, replace, remove))
        .routes(routes!(validate))
        .routes(routes!(upload))
        .routes(routes!(copy))
        .routes(routes!(test))
        .routes(routes!(suspend))
        .routes(routes!(resume))
        .routes(routes!(roll_back))
        .merge(versions::routes())
        .routes(routes!(log))
        .routes(routes!(approvals))
        .routes(routes!(decide))
        .merge(messages::routes())
        .merge(execute::routes())
        .merge(conversations::routes())
        .merge(nodes::routes())
        .layer(DefaultBodyLimit::disable())
        .with_state(Area { agents })
}

/// The largest component, for the edge.
pub fn upload_max(agents: &Agents) -> ByteSize {
    agents.0.options.current().wasm.component_max
}

pub(crate) fn parse_name(text: &str) -> Result<AgentName, Problem> {
    // What is no name cannot be an agent that exists.
    text.parse().map_err(|_| Problem::not_found("agent", text.chars().take(64).collect::<String>()))
}

/// A definition as JSON, or as Markdown if the request says so.
fn read_definition(headers: &HeaderMap, body: &Bytes) -> Result<AgentDefinition, Problem> {
    let media_type =
        headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if media_type.starts_with("text/markdown") {
        let text =
            std::str::from_utf8(body).map_err(|_| Problem::new(INVALID_REQUEST, "the body is not UTF-8"))?;
        return from_markdown(text).map_err(|error| Problem::new(INVALID_REQUEST, error.to_string()));
    }
    parse_json(body)
}

#[derive(Clone, Debug, Default, Deserialize, Serialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct ListQuery {
    /// That can do this.
    capability: Option<String>,
    /// Items per page, 1 to 500.
    limit: Option<u32>,
    /// `next` of the page before.
    cursor: Option<String>,
}

/// List agents
///
/// By name.
#[utoipa::path(get, path = "/", tag = TAG, params(ListQuery), responses(
    (status = 200, description = "A page of agents", body = Page<AgentView>),
))]
async fn list(
    State(agents): State<Agents>,
    caller: Caller,
    Query(query): Query<ListQuery>,
) -> Result<Json<Page<AgentView>>, Problem> {
    let (filter, limit, after) = if let Some(cursor) = &query.cursor {
        let cursor: Cursor<Option<Capability>, AgentName> = Cursor::decode(cursor)?;
        (cursor.query, cursor.limit, Some(cursor.after))
    } else {
        let parse = |text: String| text.parse().map_err(|error| Problem::invalid_field("capability", error));
        (query.capability.map(parse).transpose()?, page_limit(query.limit)?, None)
    };
    let found = agents.list(caller.tenant(), filter.as_ref(), after.as_ref(), limit as usize + 1);
    Page::from_overfetched(found, limit, &filter, |agent: &AgentView| agent.name.clone()).map(Json)
}

/// An agent that was deployed.
#[derive(Debug, Serialize, ToSchema)]
struct Deployed {
    /// Its name.
    name: AgentName,
    /// The version in force.
    version: u32,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct WeightQuery {
    /// The new version's share of the conversations that begin, more than 0 and less than 1, beside the one in force; all of
    /// them when left out.
    weight: Option<f64>,
}

async fn put(
    agents: &Agents,
    caller: &Caller,
    definition: AgentDefinition,
    weight: Option<f64>,
) -> Result<u32, Problem> {
    Ok(match weight {
        None => agents.deploy(caller, definition).await?,
        Some(weight) => agents.deploy_beside(caller, definition, weight).await?,
    })
}

/// Deploy an agent
///
/// A definition as JSON, or a Markdown file with front matter as `text/markdown`. A new version of one that is there takes
/// over its messages and its state; the same definition again is no new version.
#[utoipa::path(post, path = "/", tag = TAG, request_body = AgentDefinition, params(WeightQuery), responses(
    (status = 201, description = "It handles messages from now on", body = Deployed),
))]
async fn deploy(
    State(agents): State<Agents>,
    caller: Caller,
    Query(query): Query<WeightQuery>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<(StatusCode, Json<Deployed>), Problem> {
    let definition = read_definition(&headers, &body)?;
    let name = definition.name.clone();
    let version = put(&agents, &caller, definition, query.weight).await?;
    Ok((StatusCode::CREATED, Json(Deployed { name, version })))
}

/// Deploy an agent under a name
///
/// As `POST /agents`; the name in the definition must be the same.
#[utoipa::path(put, path = "/{name}", tag = TAG, request_body = AgentDefinition,
    params(("name" = String, Path, description = "The agent"), WeightQuery),
    responses((status = 200, description = "It handles messages from now on", body = Deployed)))]
async fn replace(
    State(agents): State<Agents>,
    caller: Caller,
    Path(name): Path<String>,
    Query(query): Query<WeightQuery>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<Deployed>, Problem> {
    let definition = read_definition(&headers, &body)?;
    if definition.name.as_str() != name {
        return Err(Problem::invalid_field(
            "name",
            format_args!("is `{}`, and the path says `{name}`", definition.name),
        ));
    }
    let name = definition.name.clone();
    let version = put(&agents, &caller, definition, query.weight).await?;
    Ok(Json(Deployed { name, version }))
}

/// Check a definition
///
/// Everything that deploying it would refuse, without deploying it.
#[utoipa::path(post, path = "/validate", tag = TAG, request_body = AgentDefinition, responses(
    (status = 200, description = "Whether it can be deployed", body = Validation),
))]
async fn validate(
    State(agents): State<Agents>,
    caller: Caller,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<Validation>, Problem> {
    Ok(Json(match read_definition(&headers, &body) {
        Ok(definition) => agents.validate(&caller, &definition).await,
        Err(problem) => Validation { valid: false, errors: vec![problem.detail] },
    }))
}

/// Upload a component
///
/// A WebAssembly component that implements the world `paddock:agent`. It is checked and compiled; definitions name it by its
/// digest.
#[utoipa::path(put, path = "/modules", tag = TAG,
    request_body(content = Vec<u8>, content_type = "application/wasm"),
    responses((status = 200, description = "What it says it is", body = ModuleView)))]
async fn upload(State(agents): State<Agents>, body: Bytes) -> Result<Json<ModuleView>, Problem> {
    Ok(Json(agents.upload(body).await?))
}

/// An agent
///
/// How it is, its definition, and its versions.
#[utoipa::path(get, path = "/{name}", tag = TAG, params(("name" = String, Path, description = "The agent")),
    responses((status = 200, description = "The agent", body = DefinitionView)))]
async fn show(
    State(agents): State<Agents>,
    caller: Caller,
    Path(name): Path<String>,
) -> Result<Json<DefinitionView>, Problem> {
    Ok(Json(agents.definition(caller.tenant(), &parse_name(&name)?).await?))
}

/// Remove an agent
///
/// With its state, its versions, and the messages that wait for it.
#[utoipa::path(delete, path = "/{name}", tag = TAG, params(("name" = String, Path, description = "The agent")),
    responses((status = 204, description = "It is gone")))]
async fn remove(
    State(agents): State<Agents>,
    caller: Caller,
    Path(name): Path<String>,
) -> Result<StatusCode, Problem> {
    agents.remove(caller.tenant(), &parse_name(&name)?).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct CloneInput {
    /// The name of the new agent.
    name: AgentName,
}

/// Clone an agent
///
/// The same definition under another name, without its state.
#[utoipa::path(post, path = "/{name}/clone", tag = TAG, request_body = CloneInput,
    params(("name" = String, Path, description = "The agent")),
    responses((status = 201, description = "It handles messages from now on", body = Deployed)))]
async fn copy(
    State(agents): State<Agents>,
    caller: Caller,
    Path(name): Path<String>,
    Json(input): Json<CloneInput>,
) -> Result<(StatusCode, Json<Deployed>), Problem> {
    let version = agents.copy(&caller, &parse_name(&name)?, input.name.clone()).await?;
    Ok((StatusCode::CREATED, Json(Deployed { name: input.name, version })))
}

/// Try an agent out
///
/// Asks it something in a conversation of its own, and shows everything that happened.
#[utoipa::path(post, path = "/{name}/test", tag = TAG, request_body = TrialInput,
    params(("name" = String, Path, description = "The agent")),
    responses((status = 200, description = "How it went", body = Trial)))]
async fn test(
    State(agents): State<Agents>,
    caller: Caller,
    Path(name): Path<String>,
    Json(input): Json<TrialInput>,
) -> Result<Json<Trial>, Problem> {
    Ok(Json(agents.test(&caller, &parse_name(&name)?, input).await?))
}

/// Suspend an agent
///
/// It handles no messages; they wait.
#[utoipa::path(post, path = "/{name}/suspend", tag = TAG, params(("name" = String, Path, description = "The agent")),
    responses((status = 200, description = "The agent", body = AgentView)))]
async fn suspend(
    State(agents): State<Agents>,
    caller: Caller,
    Path(name): Path<String>,
) -> Result<Json<AgentView>, Problem> {
    let name = parse_name(&name)?;
    agents.suspend(caller.tenant(), &name).await?;
    Ok(Json(agents.get(caller.tenant(), &name)?))
}

/// Resume an agent
///
/// One that was suspended, or that failed too often.
#[utoipa::path(post, path = "/{name}/resume", tag = TAG, params(("name" = String, Path, description = "The agent")),
    responses((status = 200, description = "The agent", body = AgentView)))]
async fn resume(
    State(agents): State<Agents>,
    caller: Caller,
    Path(name): Path<String>,
) -> Result<Json<AgentView>, Problem> {
    let name = parse_name(&name)?;
    agents.resume(caller.tenant(), &name).await?;
    Ok(Json(agents.get(caller.tenant(), &name)?))
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct RollBackInput {
    /// The version whose definition is put in force again.
    version: u32,
}

/// Go back to an earlier version
///
/// Its definition becomes the next version. The state stays as it is.
#[utoipa::path(post, path = "/{name}/rollback", tag = TAG, request_body = RollBackInput,
    params(("name" = String, Path, description = "The agent")),
    responses((status = 200, description = "The version in force", body = Deployed)))]
async fn roll_back(
    State(agents): State<Agents>,
    caller: Caller,
    Path(name): Path<String>,
    Json(input): Json<RollBackInput>,
) -> Result<Json<Deployed>, Problem> {
    let name = parse_name(&name)?;
    let version = agents.roll_back(&caller, &name, input.version).await?;
    Ok(Json(Deployed { name, version }))
}

/// The log of an agent.
#[derive(Debug, Serialize, ToSchema)]
struct Log {
    /// The last lines, the oldest first.
    lines: Vec<LogLine>,
}

/// The log of an agent
///
/// Its last lines since the server began; `/events?topics=agents.logs` has those that come, of all agents.
#[utoipa::path(get, path = "/{name}/log", tag = TAG, params(("name" = String, Path, description = "The agent")),
    responses((status = 200, description = "Its last lines", body = Log)))]
async fn log(
    State(agents): State<Agents>,
    caller: Caller,
    Path(name): Path<String>,
) -> Result<Json<Log>, Problem> {
    Ok(Json(Log { lines: agents.log(caller.tenant(), &parse_name(&name)?)? }))
}

/// Calls that wait for somebody.
#[derive(Debug, Serialize, ToSchema)]
struct Approvals {
    /// The oldest first.
    approvals: Vec<PendingApproval>,
}

/// What an agent waits for
///
/// Tool calls that somebody has to approve.
#[utoipa::path(get, path = "/{name}/approvals", tag = TAG, params(("name" = String, Path, description = "The agent")),
    responses((status = 200, description = "Calls that wait", body = Approvals)))]
async fn approvals(
    State(agents): State<Agents>,
    caller: Caller,
    Path(name): Path<String>,
) -> Result<Json<Approvals>, Problem> {
    let approvals = agents.approvals(caller.tenant(), &parse_name(&name)?).await?;
    Ok(Json(Approvals { approvals }))
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct DecisionInput {
    /// Whether the call may be made.
    approve: bool,
    /// Why, for the model.
    #[serde(default)]
    reason: String,
}

/// Decide about a tool call
///
/// The agent goes on with its run.
#[utoipa::path(post, path = "/{name}/approvals/{id}", tag = TAG, request_body = DecisionInput,
    params(("name" = String, Path, description = "The agent"), ("id" = String, Path, description = "What waits")),
    responses((status = 202, description = "The agent was told")))]
async fn decide(
    State(agents): State<Agents>,
    caller: Caller,
    Path((name, id)): Path<(String, String)>,
    Json(input): Json<DecisionInput>,
) -> Result<StatusCode, Problem> {
    agents.decide(&caller, &parse_name(&name)?, &id, input.approve, &input.reason).await?;
    Ok(StatusCode::ACCEPTED)
}
