//! A2A: agents as others see them, over JSON-RPC. What a client sends is a request to the agent, and what the agent
//! answers is the answer: no tasks are kept, so there are none to look at.
//!
//! Version 1.0 is spoken, and 0.3 to those who do not say which they speak.

use std::time::Duration;

use axum::{
    extract::State,
    response::{IntoResponse, Response},
};
use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use http::HeaderMap;
use paddock_platform::{
    http::{Json, Path},
    identity::Caller,
    problem::Problem,
};
use serde_json::{Value, json};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    error::AgentError,
    message::{Address, AgentName, Content, Draft, Label, MediaType, Message, Performative},
    service::{AgentView, Agents},
};

const TAG: &str = "a2a";
/// The version that is spoken.
pub(crate) const VERSION: &str = "1.0";
/// The header that names the version of a request.
pub(crate) const VERSION_HEADER: &str = "a2a-version";
/// How long a client waits for an agent.
const ANSWER_TIMEOUT: Duration = Duration::from_mins(5);
/// Agents that one card lists.
const SKILLS_MAX: usize = 200;

const PARSE_ERROR: i32 = -32700;
const INVALID_REQUEST: i32 = -32600;
const METHOD_NOT_FOUND: i32 = -32601;
const INVALID_PARAMS: i32 = -32602;
const INTERNAL_ERROR: i32 = -32603;
const TASK_NOT_FOUND: i32 = -32001;
const UNSUPPORTED_OPERATION: i32 = -32004;
const VERSION_NOT_SUPPORTED: i32 = -32009;

/// Routes that wait for agents.
pub const UNTIMED_ROUTES: &[&str] = &["/a2a/{agent}"];

/// The routes of A2A, which are at the root.
pub fn routes(agents: Agents) -> OpenApiRouter {
    OpenApiRouter::new()
        .routes(routes!(call))
        .routes(routes!(agent_card))
        .routes(routes!(server_card))
        .with_state(agents)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Dialect {
    V03,
    V10,
}

struct RpcError {
    code: i32,
    message: String,
}

fn error(code: i32, message: impl Into<String>) -> RpcError {
    RpcError { code, message: message.into() }
}

/// Call an agent over A2A
///
/// JSON-RPC: `SendMessage` (1.0) and `message/send` (0.3).
#[utoipa::path(post, path = "/a2a/{agent}", tag = TAG, request_body = serde_json::Value,
    params(("agent" = String, Path, description = "The agent's name")),
    responses((status = 200, description = "The answer of JSON-RPC", body = serde_json::Value)))]
async fn call(
    State(agents): State<Agents>,
    caller: Caller,
    headers: HeaderMap,
    Path(agent): Path<String>,
    body: Bytes,
) -> Result<Response, Problem> {
    caller.require(paddock_platform::identity::Scope::write("agents"))?;
    let request: Value = match serde_json::from_slice(&body) {
        Ok(request) => request,
        Err(_) => return Ok(answer(&Value::Null, Err(error(PARSE_ERROR, "the body is not JSON")))),
    };
    let id = request["id"].clone();
    let result = handle(&agents, &caller, &headers, &agent, &request).await;
    Ok(answer(&id, result))
}

fn answer(id: &Value, result: Result<Value, RpcError>) -> Response {
    let body = match result {
        Ok(result) => json!({ "jsonrpc": "2.0", "id": id, "result": result }),
        Err(RpcError { code, message }) => {
            json!({ "jsonrpc": "2.0", "id": id, "error": { "code": code, "message": message } })
        }
    };
    Json(body).into_response()
}

async fn handle(
    agents: &Agents,
    caller: &Caller,
    headers: &HeaderMap,
    agent: &str,
    request: &Value,
) -> Result<Value, RpcError> {
    if request["jsonrpc"] != "2.0" {
        return Err(error(INVALID_REQUEST, "`jsonrpc` must be \"2.0\""));
    }
    let dialect = match headers.get(VERSION_HEADER).map(|version| version.to_str().unwrap_or_default()) {
        None | Some("" | "0.3") => Dialect::V03,
        Some(version) if version == VERSION || version.starts_with("1.0.") => Dialect::V10,
        Some(other) => {
            return Err(error(
                VERSION_NOT_SUPPORTED,
                format!("version `{other}` is not spoken, only {VERSION} and 0.3"),
            ));
        }
    };
    let name: AgentName = agent.parse().map_err(|cause| error(INVALID_PARAMS, format!("{cause}")))?;
    agents.get(caller.tenant(), &name).map_err(|cause| error(INVALID_PARAMS, cause.to_string()))?;
    let params = &request["params"];
    match request["method"].as_str().unwrap_or_default() {
        "SendMessage" => send(agents, caller, name, params, Dialect::V10).await,
        "message/send" => send(agents, caller, name, params, Dialect::V03).await,
        "GetTask" | "CancelTask" | "tasks/get" | "tasks/cancel" => {
            Err(error(TASK_NOT_FOUND, "agents here answer with messages and keep no tasks"))
        }
        "ListTasks" if dialect == Dialect::V10 => {
            Ok(json!({ "tasks": [], "nextPageToken": "", "pageSize": 0, "totalSize": 0 }))
        }
        "SendStreamingMessage" | "message/stream" | "SubscribeToTask" | "tasks/resubscribe" => {
            Err(error(UNSUPPORTED_OPERATION, "agents here do not stream; the card says so"))
        }
        other => Err(error(METHOD_NOT_FOUND, format!("there is no method `{other}`"))),
    }
}

async fn send(
    agents: &Agents,
    caller: &Caller,
    name: AgentName,
    params: &Value,
    dialect: Dialect,
) -> Result<Value, RpcError> {
    let message = &params["message"];
    if message["parts"].as_array().is_none_or(Vec::is_empty) {
        return Err(error(INVALID_PARAMS, "`message.parts` must have at least one part"));
    }
    let performative = match message["metadata"]["performative"].as_str() {
        None => Performative::Request,
        Some(text) => text
            .parse()
            .map_err(|cause| error(INVALID_PARAMS, format!("`metadata.performative`: {cause}")))?,
    };
    let mut draft = Draft::new(performative, Address::Agent(name)).content(content_of(&message["parts"]));
    if let Some(context) = message["contextId"].as_str().filter(|context| !context.is_empty()) {
        let label: Label =
            context.parse().map_err(|cause| error(INVALID_PARAMS, format!("`contextId`: {cause}")))?;
        draft = draft.conversation(label);
    }
    let (conversation, answer) =
        agents.ask(caller, draft, Some(ANSWER_TIMEOUT)).await.map_err(|cause| match cause {
            AgentError::Invalid(_) => error(INVALID_PARAMS, cause.to_string()),
            _ => error(INTERNAL_ERROR, cause.to_string()),
        })?;
    let mut reply = json!({
        "messageId": answer.id.to_string(),
        "contextId": conversation.as_str(),
        "parts": [part_of(&answer.content, dialect)],
        "metadata": { "performative": answer.performative.name() },
    });
    match dialect {
        Dialect::V10 => {
            reply["role"] = json!("ROLE_AGENT");
            Ok(json!({ "message": reply }))
        }
        Dialect::V03 => {
            reply["role"] = json!("agent");
            reply["kind"] = json!("message");
            Ok(reply)
        }
    }
}

/// A message of ours as A2A has it.
pub(crate) fn outgoing(message: &Message) -> Value {
    let mut outgoing = json!({
        "messageId": message.id.to_string(),
        "role": "ROLE_USER",
        "parts": [part_of(&message.content, Dialect::V10)],
        "metadata": { "performative": message.performative.name(), "sender": message.sender.to_string() },
    });
    if let Some(conversation) = &message.conversation {
        outgoing["contextId"] = json!(conversation.as_str());
    }
    outgoing
}

fn part_of(content: &Content, dialect: Dialect) -> Value {
    let media_type = content.media_type.as_str();
    let json = content.media_type.is_json().then(|| content.read::<Value>()).flatten();
    match (json, std::str::from_utf8(&content.body), dialect) {
        // A protobuf value is any JSON; in 0.3 it is an object.
        (Some(value), _, Dialect::V10) => json!({ "data": value, "mediaType": media_type }),
        (Some(value @ Value::Object(_)), _, Dialect::V03) => json!({ "kind": "data", "data": value }),
        (_, Ok(text), Dialect::V10) => json!({ "text": text, "mediaType": media_type }),
        (_, Ok(text), Dialect::V03) => json!({ "kind": "text", "text": text }),
        (_, Err(_), Dialect::V10) => {
            json!({ "raw": BASE64_STANDARD.encode(&content.body), "mediaType": media_type })
        }
        (_, Err(_), Dialect::V03) => {
            let file = json!({ "bytes": BASE64_STANDARD.encode(&content.body), "mimeType": media_type });
            json!({ "kind": "file", "file": file })
        }
    }
}

/// What the parts of a message say, as one content: a single part as it is, several texts as one text, the rest as JSON.
pub(crate) fn content_of(parts: &Value) -> Content {
    let parts: &[Value] = parts.as_array().map_or(&[], Vec::as_slice);
    if let [part] = parts {
        if let Some(data) = part.get("data") {
            return Content::json(data);
        }
        let raw = part["raw"].as_str().or(part["file"]["bytes"].as_str());
        if let Some(body) = raw.and_then(|raw| BASE64_STANDARD.decode(raw).ok()) {
            let media_type = part["mediaType"].as_str().or(part["file"]["mimeType"].as_str());
            let media_type = media_type.and_then(|text| text.parse().ok()).unwrap_or(MediaType::OCTETS);
            return Content { media_type, body: body.into() };
        }
    }
    let texts: Vec<&str> = parts.iter().filter_map(|part| part["text"].as_str()).collect();
    if texts.len() == parts.len() { Content::text(texts.join("\n")) } else { Content::json(&parts) }
}

/// What a task came to; `None` while it goes on.
pub(crate) fn outcome_of(task: &Value) -> Option<(Performative, Content)> {
    let state = task["status"]["state"].as_str().unwrap_or_default();
    let state = state.trim_start_matches("TASK_STATE_").to_ascii_lowercase().replace('_', "-");
    let said = &task["status"]["message"]["parts"];
    match state.as_str() {
        "completed" => {
            let artifacts = task["artifacts"].as_array().into_iter().flatten();
            let parts: Vec<Value> = artifacts
                .flat_map(|artifact| artifact["parts"].as_array().cloned().unwrap_or_default())
                .collect();
            let parts = if parts.is_empty() { said.clone() } else { json!(parts) };
            Some((Performative::Inform, content_of(&parts)))
        }
        "failed" | "canceled" => Some((Performative::Failure, content_of(said))),
        "rejected" | "input-required" | "auth-required" => Some((Performative::Refuse, content_of(said))),
        _ => None,
    }
}

/// The card of an agent
///
/// What it is and can do, as A2A has it.
#[utoipa::path(get, path = "/a2a/{agent}/.well-known/agent-card.json", tag = TAG,
    params(("agent" = String, Path, description = "The agent's name")),
    responses((status = 200, description = "The card", body = serde_json::Value)))]
async fn agent_card(
    State(agents): State<Agents>,
    caller: Caller,
    Path(agent): Path<String>,
) -> Result<Json<Value>, Problem> {
    caller.require(paddock_platform::identity::Scope::read("agents"))?;
    let name = agent.parse().map_err(|_| Problem::not_found("agent", &agent))?;
    let view = agents.get(caller.tenant(), &name)?;
    let skills = skills_of(&view);
    let description = if view.description.is_empty() { "an agent" } else { &view.description };
    Ok(Json(card(
        &agents,
        name.as_str(),
        description,
        &view.version.to_string(),
        Some(name.as_str()),
        &skills,
    )))
}

/// The card of the server
///
/// Its agents are its skills; each has a card of its own.
#[utoipa::path(get, path = "/.well-known/agent-card.json", tag = TAG,
    responses((status = 200, description = "The card", body = serde_json::Value)))]
async fn server_card(State(agents): State<Agents>, caller: Caller) -> Result<Json<Value>, Problem> {
    caller.require(paddock_platform::identity::Scope::read("agents"))?;
    let views = agents.list(caller.tenant(), None, None, SKILLS_MAX);
    let skills: Vec<Value> = views.iter().flat_map(skills_of).collect();
    let first = views.first().map(|view| view.name.as_str());
    let about = "The agents of a Paddock server. Each has a card of its own at /a2a/{agent}/.well-known/agent-card.json.";
    Ok(Json(card(&agents, "Paddock", about, env!("CARGO_PKG_VERSION"), first, &skills)))
}

fn skills_of(view: &AgentView) -> Vec<Value> {
    let description = if view.description.is_empty() { view.name.as_str() } else { &view.description };
    let mut tags: Vec<&str> = view.capabilities.iter().map(crate::message::Capability::as_str).collect();
    if tags.is_empty() {
        tags.push(view.kind.name());
    }
    vec![json!({ "id": view.name, "name": view.name, "description": description, "tags": tags })]
}

fn card(
    agents: &Agents,
    name: &str,
    description: &str,
    version: &str,
    agent: Option<&str>,
    skills: &[Value],
) -> Value {
    let base = agents.0.base.get().map_or("", String::as_str);
    let url = agent.map_or_else(|| format!("{base}/a2a"), |agent| format!("{base}/a2a/{agent}"));
    json!({
        "name": name,
        "description": description,
        "version": version,
        "supportedInterfaces": [
            { "url": url, "protocolBinding": "JSONRPC", "protocolVersion": VERSION },
            { "url": url, "protocolBinding": "JSONRPC", "protocolVersion": "0.3" },
        ],
        // What clients of 0.3 read.
        "protocolVersion": "0.3.0",
        "url": url,
        "preferredTransport": "JSONRPC",
        "capabilities": { "streaming": false, "pushNotifications": false },
        "defaultInputModes": ["text/plain", "application/json"],
        "defaultOutputModes": ["text/plain", "application/json"],
        "skills": skills,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_become_content_and_content_parts() {
        for (parts, media_type, body) in [
            (json!([{ "text": "a" }, { "kind": "text", "text": "b" }]), MediaType::TEXT, "a\nb"),
            (json!([{ "data": { "x": 1 } }]), MediaType::JSON, "{\"x\":1}"),
            (json!([{ "raw": "AP8=" }]), MediaType::OCTETS, ""),
            (json!([{ "text": "a" }, { "data": 1 }]), MediaType::JSON, "[{\"text\":\"a\"},{\"data\":1}]"),
        ] {
            let content = content_of(&parts);
            assert_eq!(content.media_type, media_type, "{parts}");
            if !body.is_empty() {
                assert_eq!(content.to_text(), body);
            }
        }
        let view = |content: &Content, dialect| part_of(content, dialect);
        assert_eq!(view(&Content::text("a"), Dialect::V03), json!({ "kind": "text", "text": "a" }));
        assert_eq!(
            view(&Content::json(&json!([1])), Dialect::V10),
            json!({ "data": [1], "mediaType": "application/json" })
        );
    }

    #[test]
    fn a_task_is_waited_for_until_it_is_over() {
        let task = |state: &str| json!({ "id": "t", "status": { "state": state, "message": { "parts": [{ "text": "why" }] } } });
        assert!(outcome_of(&task("TASK_STATE_WORKING")).is_none());
        assert!(outcome_of(&task("submitted")).is_none());
        for (state, performative) in [
            ("TASK_STATE_COMPLETED", Performative::Inform),
            ("failed", Performative::Failure),
            ("TASK_STATE_INPUT_REQUIRED", Performative::Refuse),
        ] {
            let (found, content) = outcome_of(&task(state)).unwrap();
            assert_eq!((found, content.to_text().as_ref()), (performative, "why"));
        }
        let done =
            json!({ "status": { "state": "completed" }, "artifacts": [{ "parts": [{ "text": "x" }] }] });
        assert_eq!(outcome_of(&done).unwrap().1, Content::text("x"));
    }

    #[test]
    fn what_is_sent_names_its_conversation() {
        let draft = Draft::new(Performative::Cfp, "a".parse::<Address>().unwrap())
            .text("x")
            .conversation(Label::of("c"));
        let message = draft.from("me".parse().unwrap());
        let sent = outgoing(&message);
        assert_eq!((&sent["contextId"], &sent["metadata"]["performative"]), (&json!("c"), &json!("cfp")));
    }
}
