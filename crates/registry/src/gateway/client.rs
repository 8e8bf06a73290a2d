//! What Paddock itself asks servers: to begin, for their tools, and to call one.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use paddock_platform::{
    identity::Scope,
    task::Tasks,
    tool::{GuestTool, Progress},
};
use serde::Deserialize;
use serde_json::{Value, json, value::RawValue};

use super::{
    conversation::{Conversation, Exchange},
    error::GatewayError,
    message::{Envelope, META_CAPABILITIES, META_VERSION},
    remote::STATELESS_SINCE,
};

/// The version that is offered; a server may choose an older one.
const VERSION: &str = "2025-11-25";
/// Longest description that is shown of a tool.
const DESCRIPTION_LENGTH_MAX: usize = 4096;

/// A tool of a server.
#[derive(Debug)]
pub(super) struct KnownTool {
    /// Its own name.
    pub(super) name: String,
    /// The same under its name here.
    pub(super) guest: Arc<GuestTool>,
}

/// A conversation that has begun.
#[derive(Clone, Debug)]
pub(super) struct Client {
    pub(super) server: Arc<str>,
    pub(super) conversation: Conversation,
    /// The server knows no sessions: every request says who asks.
    is_stateless: bool,
    pub(super) tasks: Tasks,
}

/// What a server answered to `tools/call`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Called {
    #[serde(default)]
    pub(super) content: Vec<Value>,
    #[serde(default)]
    pub(super) structured_content: Option<Value>,
    #[serde(default)]
    pub(super) is_error: bool,
    /// `input_required` and the like: the tool wants more than a call can give.
    #[serde(default)]
    pub(super) result_type: Option<String>,
}

fn client_info() -> Value {
    json!({"name": "paddock", "version": env!("CARGO_PKG_VERSION")})
}

impl Client {
    /// Begins a conversation, in whichever of the protocol's ways the server knows.
    pub(super) async fn begin(
        server: &Arc<str>,
        conversation: Conversation,
        timeout: Duration,
        tasks: &Tasks,
    ) -> Result<Self, GatewayError> {
        let mut client =
            Self { server: Arc::clone(server), conversation, is_stateless: false, tasks: tasks.clone() };
        let params = json!({"protocolVersion": VERSION, "capabilities": {}, "clientInfo": client_info()});
        match client.ask("initialize", params, timeout, None).await {
            Ok(_) => {
                let ready =
                    Envelope { method: Some("notifications/initialized".into()), ..Envelope::default() };
                let told = client.conversation.tell(&ready).await;
                told.map_err(|ended| client.failed(ended.to_string()))?;
            }
            Err(GatewayError::Refused { .. }) => {
                client.is_stateless = true;
                client.ask("server/discover", json!({}), timeout, None).await?;
            }
            Err(error) => return Err(error),
        }
        Ok(client)
    }

    fn failed(&self, reason: String) -> GatewayError {
        GatewayError::Failed { server: self.server.to_string(), reason }
    }

    async fn ask(
        &self,
        method: &str,
        mut params: Value,
        timeout: Duration,
        progress: Option<&Progress>,
    ) -> Result<Box<RawValue>, GatewayError> {
        if self.is_stateless {
            params["_meta"][META_VERSION] = STATELESS_SINCE.into();
            params["_meta"]["io.modelcontextprotocol/clientInfo"] = client_info();
            params["_meta"][META_CAPABILITIES] = json!({});
        }
        if progress.is_some() {
            params["_meta"]["progressToken"] = 0.into();
        }
        let (id, params) = (raw("0".to_owned()), raw(params.to_string()));
        let envelope = Envelope {
            id: id.as_deref(),
            method: Some(method.into()),
            params: params.as_deref(),
            ..Envelope::default()
        };
        let asked = async {
            let mut exchange = self
                .conversation
                .ask(&envelope)
                .await
                .map_err(|ended| (self.failed(ended.to_string()), None))?;
            let sent = exchange.sent();
            let answer = match tokio::time::timeout(timeout, answer_of(&mut exchange, progress)).await {
                Ok(Some(answer)) => answer,
                Ok(None) => return Err((self.failed(exchange.ended().to_string()), None)),
                Err(_) => {
                    let server = self.server.to_string();
                    return Err((GatewayError::TimedOut { server, timeout }, Some(sent)));
                }
            };
            read_answer(&answer)
                .map_err(|error| (error.unwrap_or_else(|| self.failed(NOT_AN_ANSWER.to_owned())), None))
        };
        asked.await.map_err(|(error, late)| {
            if let Some((conversation, sent)) = late {
                // The caller need not wait for that as well.
                self.tasks.spawn("registry_gateway_probe", async move { conversation.probe(sent).await });
            }
            error
        })
    }

    /// The server's tools under their names here. Those that are no tools are left out.
    pub(super) async fn tools(
        &self,
        max: usize,
        timeout: Duration,
        admits: impl Fn(&str) -> bool,
    ) -> Result<Vec<KnownTool>, GatewayError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct ToolPage {
            tools: Vec<Value>,
            #[serde(default)]
            next_cursor: Option<String>,
        }
        let mut found: Vec<KnownTool> = Vec::new();
        let mut cursor: Option<String> = None;
        loop {
            let params = cursor.as_ref().map_or_else(|| json!({}), |cursor| json!({"cursor": cursor}));
            let result = match self.ask("tools/list", params, timeout, None).await {
                Ok(result) => result,
                // A server need not have tools.
                Err(GatewayError::Refused { code, .. }) if code == super::message::METHOD_NOT_FOUND => break,
                Err(error) => return Err(error),
            };
            let page: ToolPage = serde_json::from_str(result.get())
                .map_err(|error| self.failed(format!("its list of tools is none: {error}")))?;
            let is_empty = page.tools.is_empty();
            for tool in page.tools {
                let Some(tool) = known(&self.server, tool) else { continue };
                if found.len() < max
                    && admits(&tool.name)
                    && found.iter().all(|known| known.name != tool.name)
                {
                    found.push(tool);
                }
            }
            // A cursor that leads in a circle or nowhere leads no further.
            match page.next_cursor {
                Some(next) if !is_empty && cursor.as_ref() != Some(&next) && found.len() < max => {
                    cursor = Some(next);
                }
                _ => break,
            }
        }
        Ok(found)
    }

    /// Calls a tool by its own name.
    pub(super) async fn call(
        &self,
        tool: &str,
        input: &Value,
        timeout: Duration,
        progress: &Progress,
    ) -> Result<Called, GatewayError> {
        let params = json!({"name": tool, "arguments": input});
        let result = self.ask("tools/call", params, timeout, Some(progress)).await?;
        let called: Called = serde_json::from_str(result.get())
            .map_err(|error| self.failed(format!("its answer is none: {error}")))?;
        if called.result_type.as_deref().is_some_and(|kind| kind != "complete") {
            return Err(GatewayError::Tool(
                "the tool asks for input that only its own clients can give".to_owned(),
            ));
        }
        if called.is_error {
            let texts: Vec<&str> = called.content.iter().filter_map(|part| part["text"].as_str()).collect();
            return Err(GatewayError::Tool(if texts.is_empty() {
                "the tool says that it failed, and not why".to_owned()
            } else {
                texts.join("\n")
            }));
        }
        Ok(called)
    }
}

const NOT_AN_ANSWER: &str = "its answer has neither a result nor an error";

fn raw(text: String) -> Option<Box<RawValue>> {
    RawValue::from_string(text).ok()
}

/// Passes progress on until the answer comes; none if the conversation ended.
async fn answer_of(exchange: &mut Exchange, progress: Option<&Progress>) -> Option<Bytes> {
    let mut listens = true;
    loop {
        tokio::select! {
            biased;
            notice = exchange.notices.recv(), if listens => match (notice, progress) {
                (Some(notice), Some(progress)) => report(&notice, progress),
                (Some(_), None) => {}
                (None, _) => listens = false,
            },
            answer = &mut exchange.answer => return answer.ok(),
        }
    }
}

fn report(notice: &[u8], progress: &Progress) {
    #[derive(Deserialize)]
    struct Said {
        progress: f64,
        #[serde(default)]
        total: Option<f64>,
        #[serde(default)]
        message: String,
    }
    let Some(envelope) = Envelope::read(notice) else { return };
    if envelope.method() == "notifications/progress"
        && let Some(said) = envelope.params.and_then(|params| serde_json::from_str::<Said>(params.get()).ok())
    {
        progress.report(said.progress, said.total, said.message);
    }
}

fn read_answer(answer: &[u8]) -> Result<Box<RawValue>, Option<GatewayError>> {
    #[derive(Deserialize)]
    struct Said {
        code: i64,
        #[serde(default)]
        message: String,
    }
    let envelope = Envelope::read(answer).ok_or(None)?;
    if let Some(error) = envelope.error {
        let Said { code, message } = serde_json::from_str(error.get()).map_err(|_| None)?;
        return Err(Some(GatewayError::Refused { code, message }));
    }
    envelope.result.map(ToOwned::to_owned).ok_or(None)
}

/// A tool of a list; none if it has no name or its input is no object.
fn known(server: &str, mut definition: Value) -> Option<KnownTool> {
    let own = definition["name"].as_str().filter(|name| !name.is_empty() && name.len() <= 128)?.to_owned();
    let input_schema = definition.get("inputSchema").filter(|schema| schema.is_object())?.clone();
    let output_schema = definition.get("outputSchema").filter(|schema| schema.is_object()).cloned();
    let mut description = definition["description"].as_str().unwrap_or_default().to_owned();
    if let Some((end, _)) = description.char_indices().nth(DESCRIPTION_LENGTH_MAX) {
        description.truncate(end);
        definition["description"] = description.clone().into();
    }
    let name = format!("{server}__{own}");
    definition["name"] = name.clone().into();
    let guest = GuestTool {
        name,
        description,
        input_schema,
        output_schema,
        scope: Scope::call("registry"),
        definition,
    };
    Some(KnownTool { name: own, guest: Arc::new(guest) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tool_is_known_under_the_name_of_its_server() {
        let tool =
            known("files", json!({"name": "read", "inputSchema": {"type": "object"}, "title": "Read"}))
                .unwrap();
        assert_eq!((tool.name.as_str(), tool.guest.name.as_str()), ("read", "files__read"));
        assert_eq!(tool.guest.definition["title"], "Read");
        assert!(known("files", json!({"name": "read"})).is_none());
        assert!(known("files", json!({"name": "", "inputSchema": {}})).is_none());
    }

    #[test]
    fn an_error_of_the_protocol_is_told_from_an_answer() {
        let error = read_answer(br#"{"id":1,"error":{"code":-32601,"message":"no"}}"#).unwrap_err().unwrap();
        assert!(matches!(error, GatewayError::Refused { code: -32601, .. }));
        assert_eq!(read_answer(br#"{"id":1,"result":{"a":1}}"#).unwrap().get(), r#"{"a":1}"#);
        assert!(read_answer(b"nonsense").unwrap_err().is_none());
    }
}
