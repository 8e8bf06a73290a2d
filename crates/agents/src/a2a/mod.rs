//! A2A: agents as others see them, over JSON-RPC.
//!
//! What a client sends and waits for is a request to the agent, and what the agent answers is the answer. What it does not
//! wait for, or follows, is a *task*: a job that runs the agent, so that it survives a restart and can be looked at, followed
//! and cancelled under its id.
//!
//! Version 1.0 is spoken, and 0.3 to those who do not say which they speak.

mod card;
mod message;
mod stream;
mod task;

use std::time::Duration;

use axum::{
    extract::State,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use http::HeaderMap;
use paddock_platform::{
    http::{Json, Path},
    identity::{Caller, Scope},
    problem::Problem,
};
use serde_json::{Value, json};
use utoipa_axum::{router::OpenApiRouter, routes};

use self::message::incoming_answer;
pub(crate) use self::message::{content_of, outcome_of, outgoing};
use crate::{
    error::AgentError,
    message::{Address, AgentName, Content, Draft, Label, Performative},
    service::Agents,
};

const TAG: &str = "a2a";
/// The version that is spoken.
pub(crate) const VERSION: &str = "1.0";
/// The header that names the version of a request.
pub(crate) const VERSION_HEADER: &str = "a2a-version";
/// How long a client waits for an agent.
const ANSWER_TIMEOUT: Duration = Duration::from_mins(5);

const PARSE_ERROR: i32 = -32700;
pub(crate) const INVALID_REQUEST: i32 = -32600;
pub(crate) const METHOD_NOT_FOUND: i32 = -32601;
pub(crate) const INVALID_PARAMS: i32 = -32602;
const INTERNAL_ERROR: i32 = -32603;
const TASK_NOT_FOUND: i32 = -32001;
const TASK_NOT_CANCELABLE: i32 = -32002;
const UNSUPPORTED_OPERATION: i32 = -32004;
const CONTENT_TYPE_NOT_SUPPORTED: i32 = -32005;
pub(crate) const VERSION_NOT_SUPPORTED: i32 = -32009;

/// Routes that wait for agents.
pub const UNTIMED_ROUTES: &[&str] = &["/a2a/{agent}"];

/// The routes of A2A, which are at the root.
pub fn routes(agents: Agents) -> OpenApiRouter {
    OpenApiRouter::new().routes(routes!(call)).merge(card::routes()).with_state(agents)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    V03,
    V10,
}

#[derive(Debug)]
struct RpcError {
    code: i32,
    message: String,
}

fn error(code: i32, message: impl Into<String>) -> RpcError {
    RpcError { code, message: message.into() }
}

/// Who calls which agent, and how it speaks.
struct Call<'a> {
    agents: &'a Agents,
    caller: &'a Caller,
    name: AgentName,
    dialect: Dialect,
    /// The id of the request.
    id: &'a Value,
    params: &'a Value,
}

/// Call an agent over A2A
///
/// JSON-RPC: `SendMessage`, `SendStreamingMessage`, `GetTask`, `ListTasks`, `CancelTask` and `SubscribeToTask` of 1.0, and
/// `message/send`, `message/stream`, `tasks/get`, `tasks/cancel` and `tasks/resubscribe` of 0.3. Those that stream answer with
/// server-sent events.
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
    caller.require(Scope::write("agents"))?;
    let request: Value = match serde_json::from_slice(&body) {
        Ok(request) => request,
        Err(_) => return Ok(refused(&Value::Null, error(PARSE_ERROR, "the body is not JSON"))),
    };
    Ok(match handle(&agents, &caller, &headers, &agent, &request).await {
        Ok(response) => response,
        Err(cause) => refused(&request["id"], cause),
    })
}

fn refused(id: &Value, RpcError { code, message }: RpcError) -> Response {
    Json(json!({ "jsonrpc": "2.0", "id": id, "error": { "code": code, "message": message } })).into_response()
}

fn envelope(id: &Value, result: &Value) -> Value {
    json!({ "jsonrpc": "2.0", "id": id, "result": result })
}

async fn handle(
    agents: &Agents,
    caller: &Caller,
    headers: &HeaderMap,
    agent: &str,
    request: &Value,
) -> Result<Response, RpcError> {
    if request["jsonrpc"] != "2.0" {
        return Err(error(INVALID_REQUEST, "`jsonrpc` must be \"2.0\""));
    }
    match headers.get(VERSION_HEADER).map(|version| version.to_str().unwrap_or_default()) {
        None | Some("" | "0.3") => {}
        Some(version) if version == VERSION || version.starts_with("1.0.") => {}
        Some(other) => {
            return Err(error(
                VERSION_NOT_SUPPORTED,
                format!("version `{other}` is not spoken, only {VERSION} and 0.3"),
            ));
        }
    }
    let name: AgentName = agent.parse().map_err(|cause| error(INVALID_PARAMS, format!("{cause}")))?;
    agents.get(caller.tenant(), &name).map_err(|cause| error(INVALID_PARAMS, cause.to_string()))?;
    let method = request["method"].as_str().unwrap_or_default();
    // The names of the methods say which version is spoken.
    let dialect = if method.contains('/') { Dialect::V03 } else { Dialect::V10 };
    let call = Call { agents, caller, name, dialect, id: &request["id"], params: &request["params"] };
    let result = match method {
        "SendMessage" | "message/send" => call.send().await?,
        "GetTask" | "tasks/get" => call.get_task().await?,
        "CancelTask" | "tasks/cancel" => call.cancel_task().await?,
        "ListTasks" => call.list_tasks().await?,
        "SendStreamingMessage" | "message/stream" => return call.stream_message().await,
        "SubscribeToTask" | "tasks/resubscribe" => return call.stream_task().await,
        other => return Err(error(METHOD_NOT_FOUND, format!("there is no method `{other}`"))),
    };
    Ok(Json(envelope(call.id, &result)).into_response())
}

/// What a client sends.
struct Sent {
    performative: Performative,
    content: Content,
    conversation: Option<Label>,
}

impl Call<'_> {
    fn sent(&self) -> Result<Sent, RpcError> {
        let message = &self.params["message"];
        if message["parts"].as_array().is_none_or(Vec::is_empty) {
            return Err(error(INVALID_PARAMS, "`message.parts` must have at least one part"));
        }
        let performative = match message["metadata"]["performative"].as_str() {
            None => Performative::Request,
            Some(text) => text
                .parse()
                .map_err(|cause| error(INVALID_PARAMS, format!("`metadata.performative`: {cause}")))?,
        };
        let conversation = match message["contextId"].as_str().filter(|context| !context.is_empty()) {
            None => None,
            Some(context) => Some(
                context.parse().map_err(|cause| error(INVALID_PARAMS, format!("`contextId`: {cause}")))?,
            ),
        };
        Ok(Sent { performative, content: content_of(&message["parts"]), conversation })
    }

    /// A message that names a task adds to it; ours take no more than they began with.
    async fn refuse_followup(&self) -> Result<(), RpcError> {
        let Some(id) = self.params["message"]["taskId"].as_str().filter(|id| !id.is_empty()) else {
            return Ok(());
        };
        self.task(id).await?;
        Err(error(
            UNSUPPORTED_OPERATION,
            "tasks here take no further messages; begin another one in its context",
        ))
    }

    /// Whether the client wants a task to come back to instead of an answer.
    fn returns_at_once(&self) -> bool {
        let configuration = &self.params["configuration"];
        configuration["returnImmediately"] == true || configuration["blocking"] == false
    }

    async fn send(&self) -> Result<Value, RpcError> {
        let sent = self.sent()?;
        self.refuse_followup().await?;
        if self.returns_at_once() {
            let job = self.begin_task(sent).await?;
            let task = self.view(&job, true).await;
            return Ok(if self.dialect == Dialect::V10 { json!({ "task": task }) } else { task });
        }
        let message = self.ask(sent).await?;
        Ok(if self.dialect == Dialect::V10 { json!({ "message": message }) } else { message })
    }

    /// Asks the agent, and gives its answer as a message.
    async fn ask(&self, sent: Sent) -> Result<Value, RpcError> {
        let mut draft =
            Draft::new(sent.performative, Address::Agent(self.name.clone())).content(sent.content);
        if let Some(conversation) = sent.conversation {
            draft = draft.conversation(conversation);
        }
        let answered = self.agents.ask(self.caller, draft, Some(ANSWER_TIMEOUT)).await;
        let (conversation, answer) = answered.map_err(|cause| match cause {
            AgentError::Invalid(_) => error(INVALID_PARAMS, cause.to_string()),
            _ => error(INTERNAL_ERROR, cause.to_string()),
        })?;
        Ok(incoming_answer(&answer, &conversation, self.dialect))
    }
}
