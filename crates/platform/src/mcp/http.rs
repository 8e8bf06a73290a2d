//! `/mcp`: the protocol over streamable HTTP.

use std::sync::Arc;

use axum::{
    body::{Body, Bytes},
    extract::{Request, State, rejection::BytesRejection},
    response::{IntoResponse, Response},
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, request::Parts};
use rmcp::{
    model::RequestId,
    transport::streamable_http_server::{
        StreamableHttpServerConfig, StreamableHttpService, session::never::NeverSessionManager,
    },
};
use serde::Deserialize;
use tokio_util::sync::CancellationToken;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    calls::Client,
    ended::Ended,
    handler::{Asking, Handler, Mcp},
};
use crate::{
    http::body_problem,
    identity::Caller,
    problem::{NOT_FOUND, Problem},
};

/// The route, whose calls have deadlines of their own; exempt it from the edge's with
/// [`RouteRules::UNTIMED`](crate::http::RouteRules::UNTIMED).
pub const MCP_ROUTE: &str = "/mcp";
/// The header by which a client up to protocol 2025-11-25 is recognised.
const SESSION_ID: HeaderName = HeaderName::from_static("mcp-session-id");
/// Longest session id that is looked at, in bytes; ours have 32.
const SESSION_SIZE_MAX: usize = 128;

type Service = StreamableHttpService<Handler, NeverSessionManager>;

#[derive(Clone)]
struct Endpoint {
    mcp: Mcp,
    service: Service,
    ended: Ended,
}

/// The route. `stopping` ends the answers that are still being streamed.
pub fn router(mcp: Mcp, stopping: CancellationToken) -> OpenApiRouter {
    // The edge has checked `Host` and `Origin`, and has put a bound on the body.
    let config = StreamableHttpServerConfig::default()
        .disable_allowed_hosts()
        .with_legacy_session_mode(false)
        .with_json_response(true)
        .with_max_request_body_bytes(usize::MAX)
        .with_cancellation_token(stopping);
    let handler = Handler { mcp: mcp.clone(), asking: Asking::PerRequest };
    let service = Service::new(move || Ok(handler.clone()), Arc::default(), config);
    OpenApiRouter::new().routes(routes!(post, end)).with_state(Endpoint {
        mcp,
        service,
        ended: Ended::default(),
    })
}

/// What has to be known of a message before it is taken apart.
#[derive(Deserialize)]
struct Message {
    #[serde(default)]
    method: String,
    #[serde(default)]
    params: Option<Cancelled>,
}

/// The parameters of `notifications/cancelled`; others have none of these.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Cancelled {
    #[serde(default)]
    request_id: Option<RequestId>,
}

/// Speaks MCP (streamable HTTP, protocols 2024-11-05 to 2026-07-28).
///
/// Every message is one POST; the answer is JSON, or an event stream when the call reports its progress first. The
/// tools are those of `GET /tools`.
#[utoipa::path(
    post,
    path = "/mcp",
    tag = "tools",
    request_body(content = Object, description = "A JSON-RPC message"),
    responses((status = 200, body = Object, description = "A JSON-RPC message, or a stream of them"), (status = 202),
        (status = 404, description = "The session was ended"))
)]
async fn post(State(endpoint): State<Endpoint>, request: Request) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    let body = read(&parts, body).await?;
    let message = serde_json::from_slice::<Message>(&body).ok();
    let method = message.as_ref().map_or("", |message| message.method.as_str());
    let client = client_of(&parts);
    let begins = method == "initialize";
    if !begins && client.as_ref().is_some_and(|client| endpoint.ended.contains(client)) {
        return Err(Problem::new(NOT_FOUND, "this session was ended; initialize anew"));
    }
    if method == "notifications/cancelled"
        && let Some(client) = &client
        && let Some(id) = message.as_ref().and_then(|message| message.params.as_ref()?.request_id.clone())
    {
        endpoint.mcp.calls().cancel(client, &id);
    }
    let request = Request::from_parts(parts, Body::from(body));
    let mut response = tower::ServiceExt::oneshot(endpoint.service, request)
        .await
        .unwrap_or_else(|never| match never {})
        .map(Body::new)
        .into_response();
    if begins && response.status().is_success() {
        response.headers_mut().insert(SESSION_ID, new_session()?);
    }
    Ok(response)
}

/// Ends a client's session: what it still has running is cancelled, and its id is refused from then on.
#[utoipa::path(delete, path = "/mcp", tag = "tools", responses((status = 204)))]
async fn end(State(endpoint): State<Endpoint>, request: Request) -> StatusCode {
    let (parts, _) = request.into_parts();
    if let Some(client) = client_of(&parts) {
        endpoint.mcp.calls().cancel_all(&client);
        endpoint.ended.add(client);
    }
    StatusCode::NO_CONTENT
}

async fn read(parts: &Parts, body: Body) -> Result<Bytes, Problem> {
    let mut request = Request::new(body);
    *request.headers_mut() = parts.headers.clone();
    <Bytes as axum::extract::FromRequest<()>>::from_request(request, &())
        .await
        .map_err(|rejection: BytesRejection| body_problem(&rejection))
}

fn new_session() -> Result<HeaderValue, Problem> {
    HeaderValue::try_from(uuid::Uuid::new_v4().simple().to_string())
        .map_err(|error| Problem::internal("making a session id", &error))
}

fn client_of(parts: &Parts) -> Option<Client> {
    let key = parts.extensions.get::<Caller>()?.key_id().map(str::to_owned);
    Some(Client { key, session: session_of(&parts.headers)? })
}

/// The session id that a request carries.
pub(super) fn session_of(headers: &HeaderMap) -> Option<String> {
    let session = headers.get(SESSION_ID)?.to_str().ok()?;
    (1..=SESSION_SIZE_MAX).contains(&session.len()).then(|| session.to_owned())
}
