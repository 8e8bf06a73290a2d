//! A completion for the rest of Paddock: tools, and areas that stand on this one.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use http_body_util::BodyExt;
use paddock_platform::{
    identity::Caller,
    problem::{Problem, ProblemKind},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    Gateway, X_ROUTE,
    call::{X_COST_MAX, X_TAGS},
    record::Served,
};
use crate::{
    dialect::{
        Api,
        canonical::{Answer, Part, Stop, text_of},
        chat, failure,
        usage::Usage,
    },
    error::{LlmError, PROVIDER_FAILED},
    govern::dollars,
};

/// What is asked of a model.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CompleteInput {
    /// The model: a route's name, a model that a provider lists, or `provider/model`.
    pub model: String,
    /// What the model is told before anything else.
    #[serde(default)]
    pub system: Option<String>,
    /// What is asked.
    #[serde(default)]
    pub prompt: Option<String>,
    /// A conversation, instead of or before the prompt.
    #[serde(default)]
    pub messages: Vec<PromptMessage>,
    /// Tools that the model may call; who asks makes the calls, and asks again with their results.
    #[serde(default)]
    pub tools: Vec<PromptTool>,
    /// `auto` where it is left out, `none`, `required`, or the name of the tool that must be called.
    #[serde(default)]
    pub tool_choice: Option<String>,
    /// A JSON Schema that the answer must follow.
    #[serde(default)]
    pub schema: Option<Value>,
    /// The most tokens that may be answered.
    #[serde(default)]
    pub max_tokens: Option<u32>,
    /// From 0, always the same, to 2, never.
    #[serde(default)]
    pub temperature: Option<f64>,
    /// Leaves out what may cost more, in US dollars.
    #[serde(default)]
    pub cost_max_usd: Option<f64>,
    /// For rules, and in the log.
    #[serde(default)]
    pub tags: Vec<String>,
}

/// One turn of a conversation.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PromptMessage {
    /// `user`, `assistant`, or `tool` for what a tool answered.
    pub role: String,
    /// What was said.
    #[serde(default)]
    pub content: String,
    /// The tools that the assistant called.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tool_calls: Vec<PromptToolCall>,
    /// Of a tool's answer: the call that it answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool_call_id: Option<String>,
}

/// A tool that a model may call.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PromptTool {
    /// Its name.
    pub name: String,
    /// When to use it.
    #[serde(default)]
    pub description: String,
    /// JSON Schema of its input: an object.
    pub schema: Value,
}

/// A call of a tool, as a model wants it.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PromptToolCall {
    /// What its answer names.
    pub id: String,
    /// The tool.
    pub name: String,
    /// Its input; a text where the model wrote something that is not JSON.
    pub arguments: Value,
}

/// Why an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CompletionStop {
    /// It was finished.
    End,
    /// At the most tokens that it may have.
    Length,
    /// To call tools.
    Tools,
    /// The model, or its vendor's filter, refused.
    Refused,
}

/// What a model answered.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Completion {
    /// The text.
    pub text: String,
    /// The tools that it wants to be called.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tool_calls: Vec<PromptToolCall>,
    /// Why it ended.
    pub stop: CompletionStop,
    /// The model, as its provider names it.
    pub model: String,
    /// Where the call went: `provider/model; credential=…; strategy=…; attempts=…`.
    pub route: String,
    /// Whether it was simulated.
    pub simulated: bool,
    /// Tokens that were sent.
    pub input_tokens: u64,
    /// Tokens that were answered.
    pub output_tokens: u64,
    /// What it cost, in US dollars; nothing where the price is not known, or a cache answered.
    pub cost_usd: f64,
}

impl Completion {
    /// The answer as a turn of the conversation, to be asked on with.
    pub fn message(&self) -> PromptMessage {
        PromptMessage {
            role: "assistant".to_owned(),
            content: self.text.clone(),
            tool_calls: self.tool_calls.clone(),
            tool_call_id: None,
        }
    }

    pub(super) fn new(answer: Answer, head: &Head) -> Self {
        let calls = answer.parts.iter().filter_map(|part| match part {
            Part::ToolCall { id, name, arguments, .. } => Some(PromptToolCall {
                id: id.clone(),
                name: name.clone(),
                arguments: serde_json::from_str(arguments).unwrap_or_else(|_| json!(arguments)),
            }),
            _ => None,
        });
        let tool_calls: Vec<PromptToolCall> = calls.collect();
        let stop = match answer.stop {
            Stop::Length => CompletionStop::Length,
            Stop::Refused => CompletionStop::Refused,
            Stop::Tools => CompletionStop::Tools,
            Stop::End | Stop::Sequence(_) if !tool_calls.is_empty() => CompletionStop::Tools,
            Stop::End | Stop::Sequence(_) => CompletionStop::End,
        };
        Self {
            text: text_of(&answer.parts),
            tool_calls,
            stop,
            model: answer.model,
            route: head.route.clone(),
            simulated: head.simulated,
            input_tokens: answer.usage.input,
            output_tokens: answer.usage.output,
            cost_usd: head.cost_usd(&answer.usage),
        }
    }
}

/// What an answer's headers say of it.
pub(super) struct Head {
    route: String,
    simulated: bool,
    cached: bool,
    served: Option<Served>,
}

impl Head {
    pub(super) fn of(parts: &http::response::Parts) -> Self {
        let text =
            |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        Self {
            route: text(X_ROUTE).to_owned(),
            simulated: text("x-paddock-simulated") == "true",
            cached: matches!(text("x-paddock-cache"), "hit" | "semantic"),
            served: parts.extensions.get::<Served>().cloned(),
        }
    }

    fn cost_usd(&self, usage: &Usage) -> f64 {
        let price = self.served.as_ref().and_then(|served| served.target.price).filter(|_| !self.cached);
        price.map_or(0.0, |price| dollars(price.cost(usage)))
    }
}

impl Gateway {
    /// Completes a prompt, as a call over HTTP would: with the same routes, limits and records. The caller's identity
    /// is whose budget it is. [`Gateway::stream`] is the same piece by piece.
    pub async fn complete(&self, caller: &Caller, input: CompleteInput) -> Result<Completion, Problem> {
        let response = self.ask(caller, input, false).await?;
        let (parts, body) = response.into_parts();
        let bytes =
            body.collect().await.map_err(|error| Problem::internal("reading an answer", &error))?.to_bytes();
        if !parts.status.is_success() {
            return Err(refused(&parts, &bytes));
        }
        let value: Value = serde_json::from_slice(&bytes).unwrap_or_default();
        let answer = chat::read_answer(value).map_err(Problem::from)?;
        Ok(Completion::new(answer, &Head::of(&parts)))
    }

    /// Makes the call of an input.
    pub(super) async fn ask(
        &self,
        caller: &Caller,
        mut input: CompleteInput,
        stream: bool,
    ) -> Result<axum::response::Response, Problem> {
        let mut headers = HeaderMap::new();
        if let Some(dollars) = input.cost_max_usd {
            let value = HeaderValue::try_from(format!("{dollars:.12}"));
            headers.extend(value.map(|value| (HeaderName::from_static(X_COST_MAX), value)));
        }
        if !input.tags.is_empty() {
            let tags = HeaderValue::try_from(input.tags.join(","));
            let tags = tags.map_err(|_| LlmError::invalid("tags", "must be of visible ASCII"))?;
            headers.insert(X_TAGS, tags);
        }
        let tools = std::mem::take(&mut input.tools);
        let mut body = body_of(input, tools)?;
        if stream {
            body["stream"] = json!(true);
            body["stream_options"] = json!({"include_usage": true});
        }
        Ok(self.serve(Api::Chat, caller, headers, Bytes::from(body.to_string())).await)
    }
}

fn body_of(input: CompleteInput, tools: Vec<PromptTool>) -> Result<Value, Problem> {
    let mut messages = Vec::new();
    if let Some(system) = input.system {
        messages.push(json!({"role": "system", "content": system}));
    }
    for message in input.messages {
        messages.push(turn_of(message)?);
    }
    if let Some(prompt) = input.prompt {
        messages.push(json!({"role": "user", "content": prompt}));
    }
    if messages.is_empty() {
        return Err(LlmError::invalid("prompt", "is missing").into());
    }
    let mut body = json!({"model": input.model, "messages": messages});
    if !tools.is_empty() {
        let tool = |tool: PromptTool| {
            let function =
                json!({"name": tool.name, "description": tool.description, "parameters": tool.schema});
            json!({"type": "function", "function": function})
        };
        body["tools"] = tools.into_iter().map(tool).collect();
        if let Some(choice) = input.tool_choice {
            body["tool_choice"] = match choice.as_str() {
                "auto" | "none" | "required" => json!(choice),
                name => json!({"type": "function", "function": {"name": name}}),
            };
        }
    }
    if let Some(schema) = input.schema {
        let inner = json!({"name": "answer", "schema": schema});
        body["response_format"] = json!({"type": "json_schema", "json_schema": inner});
    }
    let optional: BTreeMap<&str, Option<Value>> = BTreeMap::from([
        ("max_completion_tokens", input.max_tokens.map(Value::from)),
        ("temperature", input.temperature.map(Value::from)),
    ]);
    for (name, value) in optional {
        if let Some(value) = value {
            body[name] = value;
        }
    }
    Ok(body)
}

fn turn_of(message: PromptMessage) -> Result<Value, Problem> {
    let mut turn = json!({"role": message.role, "content": message.content});
    match (message.role.as_str(), message.tool_call_id) {
        ("tool", Some(id)) => turn["tool_call_id"] = json!(id),
        ("tool", None) => {
            return Err(LlmError::invalid("messages", "has a tool's answer without `tool_call_id`").into());
        }
        _ => {}
    }
    if !message.tool_calls.is_empty() {
        let call = |call: PromptToolCall| {
            let arguments = match call.arguments {
                Value::String(text) => text,
                arguments => arguments.to_string(),
            };
            json!({"id": call.id, "type": "function", "function": {"name": call.name, "arguments": arguments}})
        };
        turn["tool_calls"] = message.tool_calls.into_iter().map(call).collect();
    }
    Ok(turn)
}

/// A refusal as a problem, with when to come back.
pub(super) fn refused(parts: &http::response::Parts, body: &[u8]) -> Problem {
    let wait = parts.headers.get("retry-after-ms").and_then(|value| value.to_str().ok()?.parse().ok());
    let mut problem = problem_of(parts.status, body);
    problem.retry_after = wait.map(std::time::Duration::from_millis);
    problem
}

/// The failure of a call as a problem with the status that it had.
pub(crate) fn problem_of(status: StatusCode, body: &[u8]) -> Problem {
    let detail = failure::message_of(body).unwrap_or_else(|| "the model did not answer".to_owned());
    let kind = ProblemKind::new(PROVIDER_FAILED.slug, status, PROVIDER_FAILED.title);
    Problem::new(kind, detail)
}
