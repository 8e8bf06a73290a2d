//! A completion for the rest of Paddock: tools, and areas that stand on this one.

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use http_body_util::BodyExt;
use paddock_platform::{
    identity::Caller,
    problem::{Problem, ProblemKind},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Gateway, answer::X_ROUTE};
use crate::{
    dialect::{Api, canonical::text_of, chat, failure, usage::of_openai},
    error::{LlmError, PROVIDER_FAILED},
};

/// What is asked of a model.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
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
    /// A JSON Schema that the answer must follow.
    #[serde(default)]
    pub schema: Option<Value>,
    /// The most tokens that may be answered.
    #[serde(default)]
    pub max_tokens: Option<u32>,
    /// From 0, always the same, to 2, never.
    #[serde(default)]
    pub temperature: Option<f64>,
}

/// One turn of a conversation.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PromptMessage {
    /// `user` or `assistant`.
    pub role: String,
    /// What was said.
    pub content: String,
}

/// What a model answered.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Completion {
    /// The text.
    pub text: String,
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
}

impl Gateway {
    /// One call of OpenAI's chat completions, tools included, as it would be over HTTP: with the same routes, limits and
    /// records. Gives the body of the answer. Not for streams.
    pub async fn chat(&self, caller: &Caller, request: &Value) -> Result<Value, Problem> {
        self.called(caller, request).await.map(|(_, value)| value)
    }

    async fn called(&self, caller: &Caller, request: &Value) -> Result<(HeaderMap, Value), Problem> {
        let body = Bytes::from(request.to_string());
        let response = self.serve(Api::Chat, caller, HeaderMap::new(), body).await;
        let (parts, body) = response.into_parts();
        let bytes =
            body.collect().await.map_err(|error| Problem::internal("reading an answer", &error))?.to_bytes();
        if !parts.status.is_success() {
            return Err(problem(parts.status, &bytes));
        }
        Ok((parts.headers, serde_json::from_slice(&bytes).unwrap_or_default()))
    }

    /// Completes a prompt, as a call over HTTP would: with the same routes, limits and records.
    pub async fn complete(&self, caller: &Caller, input: CompleteInput) -> Result<Completion, Problem> {
        let (headers, value) = self.called(caller, &body_of(input)?).await?;
        let header = |name: &str| {
            headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
        };
        let usage = of_openai(&value["usage"].to_string()).unwrap_or_default();
        let answer = chat::read_answer(value).map_err(Problem::from)?;
        Ok(Completion {
            text: text_of(&answer.parts),
            model: answer.model,
            route: header(X_ROUTE),
            simulated: header("x-paddock-simulated") == "true",
            input_tokens: usage.input,
            output_tokens: usage.output,
        })
    }
}

fn body_of(input: CompleteInput) -> Result<Value, Problem> {
    let mut messages = Vec::new();
    if let Some(system) = input.system {
        messages.push(json!({"role": "system", "content": system}));
    }
    messages.extend(input.messages.into_iter().map(|message| json!(message)));
    if let Some(prompt) = input.prompt {
        messages.push(json!({"role": "user", "content": prompt}));
    }
    if messages.is_empty() {
        return Err(LlmError::invalid("prompt", "is missing").into());
    }
    let mut body = json!({"model": input.model, "messages": messages});
    if let Some(schema) = input.schema {
        let inner = json!({"name": "answer", "schema": schema});
        body["response_format"] = json!({"type": "json_schema", "json_schema": inner});
    }
    if let Some(max_tokens) = input.max_tokens {
        body["max_completion_tokens"] = json!(max_tokens);
    }
    if let Some(temperature) = input.temperature {
        body["temperature"] = json!(temperature);
    }
    Ok(body)
}

/// The failure of a call as a problem with the status that it had.
fn problem(status: StatusCode, body: &[u8]) -> Problem {
    let detail = failure::message_of(body).unwrap_or_else(|| "the model did not answer".to_owned());
    let kind = ProblemKind::new(PROVIDER_FAILED.slug, status, PROVIDER_FAILED.title);
    Problem::new(kind, detail)
}
