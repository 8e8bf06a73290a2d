//! What is said to agents elsewhere, in the version of A2A that they speak.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use reqwest::StatusCode;
use serde_json::{Value, json};

use super::RemoteClient;
use crate::{
    a2a::{
        self, Dialect, INVALID_PARAMS, INVALID_REQUEST, METHOD_NOT_FOUND, VERSION, VERSION_HEADER,
        VERSION_NOT_SUPPORTED,
    },
    definition::RemoteDefinition,
    handler::{Failure, Handled, Handler},
    message::{Content, Draft, Label, Message, Performative},
    turn::Turn,
};

/// Where cards are, below an agent's address or its server's.
const CARD_PATH: &str = "/.well-known/agent-card.json";
const CARD_TIMEOUT: Duration = Duration::from_secs(10);
/// The first and the longest wait before a task is looked at again.
const POLL_WAIT: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));

/// Why a call came to nothing.
enum CallError {
    /// The agent refused it, with this code.
    Refused { code: i64, failure: Failure },
    /// There was no answer, or none that can be read.
    Failed(Failure),
}

impl From<Failure> for CallError {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl From<CallError> for Failure {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Refused { failure, .. } | CallError::Failed(failure) => failure,
        }
    }
}

impl RemoteClient {
    /// One call; its result.
    async fn call(
        &self,
        to: &RemoteDefinition,
        dialect: Dialect,
        method: &str,
        params: Value,
    ) -> Result<Value, CallError> {
        let body =
            json!({ "jsonrpc": "2.0", "id": Label::fresh().as_str(), "method": method, "params": params });
        let (status, answer) = self
            .fetch(to, |http| {
                let request = http.post(to.url.clone()).timeout(to.timeout.get()).json(&body);
                match dialect {
                    Dialect::V10 => request.header(VERSION_HEADER, VERSION),
                    Dialect::V03 => request,
                }
            })
            .await?;
        if let Some(message) = answer["error"]["message"].as_str() {
            let code = answer["error"]["code"].as_i64().unwrap_or(0);
            let failure = Failure::invalid(format!("{} answers: {message}", to.url));
            return Err(CallError::Refused { code, failure });
        }
        if answer.get("result").is_none() {
            let detail = format!("{} answers {status} and nothing that is A2A", to.url);
            return Err(if status.is_server_error() {
                Failure::retryable(detail).into()
            } else {
                Failure::invalid(detail).into()
            });
        }
        Ok(answer["result"].clone())
    }

    /// What an agent's card says, where there is one.
    async fn card(&self, to: &RemoteDefinition) -> Option<Value> {
        let path = format!("{}{CARD_PATH}", to.url.path().trim_end_matches('/'));
        for path in [path.as_str(), CARD_PATH] {
            let mut url = to.url.clone();
            url.set_path(path);
            url.set_query(None);
            let timeout = to.timeout.get().min(CARD_TIMEOUT);
            let card = self.fetch(to, |http| http.get(url).timeout(timeout)).await;
            if let Ok((StatusCode::OK, card @ Value::Object(_))) = card {
                return Some(card);
            }
        }
        None
    }

    /// Whether an agent that refused a call of 1.0 is to be spoken to in 0.3: its card says so, or it has none, and does
    /// not know the call.
    async fn wants_v03(&self, to: &RemoteDefinition, code: i64) -> bool {
        let is_unknown = [METHOD_NOT_FOUND, VERSION_NOT_SUPPORTED].map(i64::from).contains(&code);
        let is_odd = [INVALID_REQUEST, INVALID_PARAMS].map(i64::from).contains(&code);
        if !(is_unknown || is_odd) {
            return false;
        }
        self.card(to).await.map_or(is_unknown, |card| speaks_only_v03(&card))
    }

    /// Sends a message, in the version that the agent speaks.
    async fn send(
        &self,
        to: &RemoteDefinition,
        dialect: &mut Dialect,
        message: &Message,
    ) -> Result<Value, Failure> {
        let sent = |dialect| {
            let configuration = json!({ "acceptedOutputModes": ["text/plain", "application/json"] });
            json!({ "message": a2a::outgoing(message, dialect), "configuration": configuration })
        };
        if *dialect == Dialect::V10 {
            match self.call(to, Dialect::V10, "SendMessage", sent(Dialect::V10)).await {
                Err(CallError::Refused { code, failure }) => {
                    if !self.wants_v03(to, code).await {
                        return Err(failure);
                    }
                    *dialect = Dialect::V03;
                }
                other => return Ok(other?),
            }
        }
        Ok(self.call(to, Dialect::V03, "message/send", sent(Dialect::V03)).await?)
    }

    /// Sends a message, and waits for what it comes to.
    async fn ask(
        &self,
        to: &RemoteDefinition,
        dialect: &mut Dialect,
        message: &Message,
    ) -> Result<(Performative, Content), Failure> {
        let began = Instant::now();
        let mut result = self.send(to, dialect, message).await?;
        let method = if *dialect == Dialect::V10 { "GetTask" } else { "tasks/get" };
        let mut wait = POLL_WAIT.0;
        loop {
            let answer = if result["message"].is_object() { &result["message"] } else { &result };
            if answer["parts"].is_array() {
                return Ok((Performative::Inform, a2a::content_of(&answer["parts"])));
            }
            let task = if result["task"].is_object() { result["task"].clone() } else { result };
            if let Some((performative, content)) = a2a::outcome_of(&task) {
                return Ok((performative, content));
            }
            let Some(id) = task["id"].as_str() else {
                return Err(Failure::invalid(format!(
                    "{} answers with neither a message nor a task",
                    to.url
                )));
            };
            if began.elapsed() + wait >= to.timeout.get() {
                return Err(Failure::retryable(format!("{} did not finish within {}", to.url, to.timeout)));
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(POLL_WAIT.1);
            result = json!({ "task": self.call(to, *dialect, method, json!({ "id": id })).await? });
        }
    }
}

/// Whether 0.3 is all that a card names.
fn speaks_only_v03(card: &Value) -> bool {
    let interfaces = ["supportedInterfaces", "additionalInterfaces"].into_iter();
    let interfaces = interfaces.filter_map(|member| card[member].as_array()).flatten();
    let named = interfaces.map(|interface| &interface["protocolVersion"]).chain([&card["protocolVersion"]]);
    let versions: Vec<&str> = named.filter_map(Value::as_str).collect();
    let speaks = |start: &str| versions.iter().any(|version| version.starts_with(start));
    speaks("0.3") && !speaks("1.")
}

/// An agent elsewhere.
pub(crate) struct RemoteHandler {
    client: RemoteClient,
    to: RemoteDefinition,
    /// The version that it speaks, as far as is known.
    dialect: Dialect,
}

impl RemoteHandler {
    pub(crate) const fn new(client: RemoteClient, to: RemoteDefinition) -> Self {
        Self { client, to, dialect: Dialect::V10 }
    }

    async fn pass(&mut self, message: &Message, turn: &mut Turn) -> Result<(), Failure> {
        if message.performative.is_answer() {
            // A2A has questions and answers; what is only told has no place there.
            return Err(Failure::invalid(format!("an agent elsewhere takes no `{}`", message.performative)));
        }
        let (performative, content) = self.client.ask(&self.to, &mut self.dialect, message).await?;
        turn.send(Draft::reply(message, performative).content(content)).map(|_| ())
    }
}

impl Handler for RemoteHandler {
    fn handle<'a>(&'a mut self, message: Arc<Message>, turn: &'a mut Turn) -> Handled<'a> {
        Handled::Later(Box::pin(async move { self.pass(&message, turn).await }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_card_says_which_versions_an_agent_speaks() {
        for (card, is_only_v03) in [
            (json!({ "protocolVersion": "0.3.0", "url": "https://a.example/" }), true),
            (json!({ "supportedInterfaces": [{ "protocolVersion": "0.3" }] }), true),
            (
                json!({ "protocolVersion": "0.3.0", "supportedInterfaces": [{ "protocolVersion": "1.0" }] }),
                false,
            ),
            (json!({ "supportedInterfaces": [{ "protocolVersion": "1.0" }] }), false),
            (json!({ "name": "old" }), false),
        ] {
            assert_eq!(speaks_only_v03(&card), is_only_v03, "{card}");
        }
    }
}
