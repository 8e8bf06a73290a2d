//! `/mcp/{server}`, and `/registry/gateway`, which tells of the servers and their tools.

use std::sync::Arc;

use axum::{
    body::Bytes,
    extract::{State, rejection::BytesRejection},
    response::{IntoResponse, Response},
};
use http::{HeaderMap, StatusCode, header};
use memchr::memmem;
use paddock_platform::{
    http::{Json, Path, Query, body_problem, require_scope},
    identity::Caller,
    problem::{METHOD_NOT_ALLOWED, Problem},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, value::RawValue};
use tokio_util::sync::CancellationToken;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    Gateway, GatewayServerStatus, ToolHit, bridge,
    calls::{Place, Record},
    guest::{CALL, LIMIT_MAX},
    message::{Envelope, INVALID_PARAMS, error_answer},
    policy::Held,
    proxy,
    remote::SESSION_ID,
    server::Server,
    sessions::{Behind, InUse},
};

const TAG: &str = "registry";
/// The route of one server. Its answers have deadlines of their own, and may be streams.
pub const MCP_SERVER_ROUTE: &str = "/mcp/{server}";
/// JSON-RPC 2.0, section 5.1.
const PARSE_ERROR: i64 = -32_700;

/// The gateway's routes, to be merged at the root.
pub fn routes(gateway: Gateway) -> OpenApiRouter {
    OpenApiRouter::new()
        .routes(routes!(post, listen, end))
        .routes(routes!(servers))
        .routes(routes!(tools))
        .route_layer(require_scope(CALL))
        .with_state(gateway)
}

/// A message of a client, and what goes with it.
pub(super) struct Asked<'a> {
    pub(super) server: Arc<Server>,
    pub(super) caller: &'a Caller,
    pub(super) headers: &'a HeaderMap,
    pub(super) body: Bytes,
    pub(super) envelope: Envelope<'a>,
    pub(super) held: Held,
    pub(super) guards: Guards,
    pub(super) stopping: CancellationToken,
}

/// What is kept as long as an answer is on its way.
#[derive(Debug, Default)]
pub(super) struct Guards {
    place: Option<Place>,
    record: Option<Record>,
    pub(super) in_use: Option<InUse>,
}

impl Guards {
    /// Of a stream, which is no call.
    pub(super) fn of_stream(in_use: Option<InUse>) -> Self {
        Self { in_use, ..Self::default() }
    }

    /// The answer is there, or never will be.
    pub(super) fn finish(&mut self, outcome: &'static str) {
        self.place = None;
        if let Some(record) = self.record.take() {
            record.finish(outcome);
        }
    }

    pub(super) const fn has_record(&self) -> bool {
        self.record.is_some()
    }
}

/// How an answer is remembered.
pub(super) fn outcome_of(answer: &[u8]) -> &'static str {
    match Envelope::read(answer) {
        Some(envelope) if envelope.error.is_some() => "refused",
        Some(envelope) if envelope.is_tool_error() => "tool_error",
        _ => "ok",
    }
}

/// A message without the tools that its reader may not call.
pub(super) fn shown(held: &Held, message: Bytes) -> Bytes {
    if held.is_open() || memmem::find(&message, b"\"tools\"").is_none() {
        return message;
    }
    let Ok(mut value) = serde_json::from_slice::<Value>(&message) else { return message };
    let Some(tools) = value.pointer_mut("/result/tools").and_then(Value::as_array_mut) else {
        return message;
    };
    tools.retain(|tool| tool["name"].as_str().is_some_and(|name| held.allows(name)));
    value.to_string().into()
}

/// Speaks MCP with one server
///
/// Streamable HTTP, whatever the server itself speaks. Messages pass as they are; tools that the caller may not call are
/// not there.
#[utoipa::path(post, path = "/mcp/{server}", tag = TAG,
    params(("server" = String, Path, description = "The server's name in `[[registry.gateway.servers]]`")),
    request_body(content = Object, description = "A JSON-RPC message"),
    responses((status = 200, body = Object, description = "A JSON-RPC message, or a stream of them"), (status = 202)))]
async fn post(
    State(gateway): State<Gateway>,
    caller: Caller,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let server = gateway.server(&name)?;
    let body = body.map_err(|rejection| body_problem(&rejection))?;
    let message = body.clone();
    let Some(envelope) =
        Envelope::read(&message).filter(|_| body.len() <= server.options.message_size_max.as_usize())
    else {
        let error = "one JSON-RPC message is expected, within `message_size_max`";
        return Ok(json_rpc(StatusCode::BAD_REQUEST, error_answer(None, PARSE_ERROR, error)));
    };
    let held = gateway.held(&server, &caller);
    let mut guards = Guards::default();
    if envelope.method() == "tools/call" {
        let id = envelope.id.map(RawValue::get);
        let tool = envelope.head().and_then(|head| head.name);
        let Some(tool) = tool.filter(|tool| held.allows(tool)) else {
            return Ok(json_rpc(StatusCode::OK, error_answer(id, INVALID_PARAMS, "there is no such tool")));
        };
        guards.record =
            Some(gateway.0.audit.begin(&server.name, &tool, server.has_tool(&tool), &caller, "mcp").await);
    }
    if envelope.is_request() {
        match server.places.enter(&server.name, &caller) {
            Ok(place) => guards.place = Some(place),
            Err(error) => {
                guards.finish(error.label());
                return Err(error.into());
            }
        }
    }
    let stopping = gateway.0.shared.tasks.stop_token();
    let target = server.target()?;
    let remote = server.remote(&target);
    let asked = Asked { server, caller: &caller, headers: &headers, body, envelope, held, guards, stopping };
    match remote {
        Some(remote) => proxy::post(asked, remote).await,
        None => bridge::post(asked).await,
    }
}

fn json_rpc(status: StatusCode, body: Bytes) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json")], body).into_response()
}

fn session(server: &Server, caller: &Caller, headers: &HeaderMap) -> Result<Option<InUse>, Problem> {
    let Some(id) = headers.get(SESSION_ID) else { return Ok(None) };
    let found = id.to_str().ok().and_then(|id| server.sessions.find(id, caller));
    found.map(Some).ok_or_else(bridge::no_session)
}

/// Streams what the server says beside its answers.
#[utoipa::path(get, path = "/mcp/{server}", tag = TAG,
    params(("server" = String, Path, description = "The server's name")),
    responses((status = 200, description = "A stream of JSON-RPC messages", body = String, content_type = "text/event-stream")))]
async fn listen(
    State(gateway): State<Gateway>,
    caller: Caller,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let server = gateway.server(&name)?;
    let in_use = session(&server, &caller, &headers)?;
    let stopping = gateway.0.shared.tasks.stop_token();
    let target = server.target()?;
    if let Some(remote) = server.remote(&target) {
        let held = gateway.held(&server, &caller);
        return proxy::listen(&server, remote, &headers, in_use, held, stopping).await;
    }
    let no_stream = || Problem::new(METHOD_NOT_ALLOWED, "only a session has a stream; its id is missing");
    bridge::listen(in_use.ok_or_else(no_stream)?, stopping)
}

/// Ends a session with the server.
#[utoipa::path(delete, path = "/mcp/{server}", tag = TAG,
    params(("server" = String, Path, description = "The server's name")),
    responses((status = 204, description = "It is ended")))]
async fn end(
    State(gateway): State<Gateway>,
    caller: Caller,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let server = gateway.server(&name)?;
    let id = headers.get(SESSION_ID).and_then(|id| id.to_str().ok());
    let session = id.and_then(|id| server.sessions.end(id, &caller)).ok_or_else(bridge::no_session)?;
    let Behind::Upstream(upstream) = &session.behind else {
        return Ok(StatusCode::NO_CONTENT.into_response());
    };
    let target = server.target()?;
    let remote = server.remote(&target).ok_or_else(bridge::no_session)?;
    proxy::end(&server, &remote, &headers, upstream.clone()).await
}

/// The servers of the gateway.
#[derive(Debug, Serialize, JsonSchema, ToSchema)]
struct GatewayServers {
    /// By name.
    servers: Vec<GatewayServerStatus>,
}

/// The gateway's servers
///
/// How the MCP servers that Paddock runs or reaches do.
#[utoipa::path(get, path = "/registry/gateway/servers", tag = TAG, responses((status = 200, description = "The servers", body = GatewayServers)))]
async fn servers(State(gateway): State<Gateway>, caller: Caller) -> Json<GatewayServers> {
    Json(GatewayServers { servers: gateway.status(&caller) })
}

/// Which tools.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct ToolQuery {
    /// Words for what they do; without any, all of them by name.
    #[serde(default)]
    query: String,
    /// Tools of one server only.
    server: Option<String>,
    /// How many, 1 to 100; 50 by default.
    limit: Option<usize>,
}

/// Some tools.
#[derive(Debug, Serialize, JsonSchema, ToSchema)]
struct GatewayTools {
    /// The best first.
    tools: Vec<ToolHit>,
    /// How many there are.
    total: usize,
}

/// The gateway's tools
///
/// Those that the caller may call, by what they do.
#[utoipa::path(get, path = "/registry/gateway/tools", tag = TAG, params(ToolQuery), responses((status = 200, description = "The tools", body = GatewayTools)))]
async fn tools(
    State(gateway): State<Gateway>,
    caller: Caller,
    Query(ToolQuery { query, server, limit }): Query<ToolQuery>,
) -> Result<Json<GatewayTools>, Problem> {
    let limit = limit.unwrap_or(50);
    if !(1..=LIMIT_MAX).contains(&limit) {
        return Err(Problem::invalid_field("limit", format!("{limit} is not 1 to {LIMIT_MAX}")));
    }
    let (tools, total) = gateway.search_tools(&caller, query, server, limit).await?;
    Ok(Json(GatewayTools { tools, total }))
}
