//! The toolbox over REST: `GET /tools` and `POST /tools/{name}`.

use axum::{
    extract::State,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, HeaderName};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{Json, Path, Preference};
use crate::{
    identity::Caller,
    problem::Problem,
    tool::{DEADLINE_DEFAULT, GuestTool, Tool, ToolContext, Toolbox},
};

/// The route whose deadline the caller chooses; exempt it from the edge's with
/// [`RouteRules::UNTIMED`](super::RouteRules::UNTIMED).
pub const CALL_ROUTE: &str = "/tools/{name}";
/// The header by which an agent names itself.
const X_AGENT_ID: HeaderName = HeaderName::from_static("x-agent-id");
/// Longest name of an agent, in bytes.
const AGENT_SIZE_MAX: usize = 128;

/// A tool as a client sees it.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ToolDescription {
    /// `area_verb`, for example `browser_navigate`.
    pub name: String,
    /// When to use it.
    pub description: String,
    /// The scope that a key needs to call it.
    pub scope: String,
    /// JSON Schema (2020-12) of the input.
    #[schema(value_type = Object)]
    pub input_schema: Value,
    /// JSON Schema (2020-12) of the output; absent where the answer is text or a picture for a model to read.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub output_schema: Option<Value>,
}

impl From<&Tool> for ToolDescription {
    fn from(tool: &Tool) -> Self {
        Self {
            name: tool.name.to_owned(),
            description: tool.description.to_owned(),
            scope: tool.scope.to_string(),
            input_schema: tool.input_schema.clone(),
            output_schema: tool.output_schema.clone(),
        }
    }
}

impl From<&GuestTool> for ToolDescription {
    fn from(tool: &GuestTool) -> Self {
        Self {
            name: tool.name.clone(),
            description: tool.description.clone(),
            scope: tool.scope.to_string(),
            input_schema: tool.input_schema.clone(),
            output_schema: tool.output_schema.clone(),
        }
    }
}

/// The tools that the caller may use.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ToolList {
    /// By name.
    pub tools: Vec<ToolDescription>,
}

/// The routes of the toolbox. Each tool checks its own scope.
pub fn router(toolbox: Toolbox) -> OpenApiRouter {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(call)).with_state(toolbox)
}

/// Lists the tools that the caller's key may use, with their schemas.
#[utoipa::path(get, path = "/tools", tag = "tools", responses((status = 200, body = ToolList)))]
async fn list(State(toolbox): State<Toolbox>, caller: Caller) -> Json<ToolList> {
    let guests = toolbox.guests_of(&caller);
    let own = toolbox.visible_to(&caller).map(ToolDescription::from);
    let tools = own.chain(guests.iter().map(|guest| ToolDescription::from(&**guest))).collect();
    Json(ToolList { tools })
}

/// Calls a tool.
///
/// The body is the tool's input, the answer its output; both have the shapes that `GET /tools` shows. `Prefer: wait=N`
/// sets how many seconds the tool may take (at most 600; otherwise 120).
#[utoipa::path(
    post,
    path = "/tools/{name}",
    tag = "tools",
    params(
        ("name" = String, Path, description = "The tool's name"),
        ("Prefer" = Option<String>, Header, description = "`wait=N`: seconds that the tool may take")
    ),
    request_body(content = Object, description = "The tool's input"),
    responses((status = 200, body = Object, description = "The tool's output"))
)]
async fn call(
    State(toolbox): State<Toolbox>,
    caller: Caller,
    Path(name): Path<String>,
    headers: HeaderMap,
    Json(input): Json<Value>,
) -> Result<Response, Problem> {
    let preference = Preference::of(&headers)?;
    let mut context = ToolContext::new(caller, preference.wait.unwrap_or(DEADLINE_DEFAULT));
    context.agent = agent(&headers)?;
    let output = toolbox.run(context, &name, input).await?;
    let mut response = Json(output.value).into_response();
    preference.applied(response.headers_mut());
    Ok(response)
}

/// The name that the calling agent gives itself.
pub(crate) fn agent(headers: &HeaderMap) -> Result<String, Problem> {
    let agent = headers.get(X_AGENT_ID).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if agent.len() > AGENT_SIZE_MAX {
        return Err(Problem::invalid_field("X-Agent-Id", format_args!("is over {AGENT_SIZE_MAX} bytes")));
    }
    Ok(agent.to_owned())
}
