//! The loop: ask the model, call the tools that it wants, until it answers or may go on no longer.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{PromptDefinition, memory, model::Model, recall};
use crate::{handler::Failure, live::Teller, message::Label, turn::Turn};

/// What of a tool's answer the model reads.
const RESULT_MAX: usize = 64 << 10;
/// Tools that the model may want at once.
const CALLS_MAX: usize = 32;

/// A tool call that the model wants.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Call {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) input: Value,
}

/// How a run stands. All of it can be kept, and taken up again.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Run {
    pub(crate) messages: Vec<Value>,
    pub(crate) steps: u32,
    pub(crate) tokens: u64,
    /// Calls that are still to be made before the model is asked again.
    queue: VecDeque<Call>,
    /// How often each call was made.
    calls: BTreeMap<String, u32>,
    spent_ms: u64,
    /// Whether the first call of the queue was approved.
    is_approved: bool,
}

/// What a run works with.
#[derive(Clone, Copy)]
pub(crate) struct Means<'a> {
    pub(crate) prompt: &'a PromptDefinition,
    pub(crate) model: &'a dyn Model,
    pub(crate) conversation: Option<&'a Label>,
    /// For somebody who wants to hear what happens in it.
    pub(crate) teller: Option<&'a Arc<Teller>>,
}

/// How a run ended, or why it pauses.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum End {
    /// With this text.
    Text(String),
    /// With this value, which fits the schema.
    Value(Value),
    /// Somebody has to approve this call.
    Waits(Call),
    /// At one of its bounds, or because the model cannot be had.
    Failed(String),
}

impl Run {
    pub(crate) fn new(messages: Vec<Value>) -> Self {
        Self { messages, ..Self::default() }
    }

    /// Somebody decided about the call that the run waits for.
    pub(crate) fn decide(&mut self, is_approved: bool, reason: &str) {
        if is_approved {
            self.is_approved = true;
        } else if let Some(call) = self.queue.pop_front() {
            let told = if reason.is_empty() { "no reason was given" } else { reason };
            self.answer(&call.id, &json!({ "error": format!("the call was not approved: {told}") }));
        }
    }

    fn answer(&mut self, id: &str, result: &Value) {
        let mut content = result.as_str().map_or_else(|| result.to_string(), str::to_owned);
        if content.len() > RESULT_MAX {
            let end = (0..=RESULT_MAX).rev().find(|end| content.is_char_boundary(*end)).unwrap_or(0);
            content.truncate(end);
            content.push_str("… (cut)");
        }
        self.messages.push(json!({ "role": "tool", "tool_call_id": id, "content": content }));
    }

    /// Goes on until it ends or pauses.
    pub(crate) async fn go(&mut self, turn: &mut Turn, means: Means<'_>) -> Result<End, Failure> {
        let prompt = means.prompt;
        let began = Instant::now();
        let before = self.spent_ms;
        let time_max = prompt.limits.time_max.get();
        loop {
            let spent = began.elapsed() + Duration::from_millis(before);
            self.spent_ms = u64::try_from(spent.as_millis()).unwrap_or(u64::MAX);
            let Some(left) = time_max.checked_sub(spent).filter(|left| !left.is_zero()) else {
                return Ok(End::Failed(format!(
                    "it took longer than `limits.time_max`, {}",
                    prompt.limits.time_max
                )));
            };
            if let Some(call) = self.queue.pop_front() {
                if prompt.approve.contains(&call.name) && !std::mem::take(&mut self.is_approved) {
                    self.queue.push_front(call.clone());
                    return Ok(End::Waits(call));
                }
                if let Some(end) = self.call(turn, means, call, left).await? {
                    return Ok(end);
                }
                continue;
            }
            if let Some(end) = self.ask(turn, means, left).await {
                return Ok(end);
            }
        }
    }

    /// Makes one call.
    async fn call(
        &mut self,
        turn: &mut Turn,
        means: Means<'_>,
        call: Call,
        left: Duration,
    ) -> Result<Option<End>, Failure> {
        let Means { prompt, model, conversation, teller } = means;
        let signature =
            blake3::hash(format!("{} {}", call.name, call.input).as_bytes()).to_hex()[..16].to_owned();
        let count = self.calls.entry(signature).or_default();
        *count += 1;
        if *count > prompt.limits.repeats_max {
            let detail = format!(
                "it goes round in circles: `{}` was called {count} times with the same input",
                call.name
            );
            return Ok(Some(End::Failed(detail)));
        }
        if let Some(teller) = teller {
            teller.tool(&call.name, &call.input);
        }
        let began = Instant::now();
        let text = |field: &str| call.input[field].as_str().unwrap_or_default().to_owned();
        let result = match call.name.as_str() {
            memory::REMEMBER if prompt.memory.facts => memory::remember(turn, &text("fact"))?,
            memory::RECALL if prompt.memory.can_recall() => {
                recall::recall(turn, &prompt.memory, conversation, model, &text("question"), left).await
            }
            name => match tokio::time::timeout(left, turn.call_tool(name, call.input.clone())).await {
                Ok(Ok(result)) => result,
                // The model may do something about it.
                Ok(Err(problem)) => json!({ "error": problem.detail, "type": problem.kind.slug }),
                Err(_) => json!({ "error": "the time of the run is over" }),
            },
        };
        let took = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let entry = json!({
            "tool": call.name, "input": call.input, "duration_ms": took, "error": result.get("error"),
        });
        turn.home.host.note(conversation, "tool", entry);
        if let Some(teller) = teller {
            teller.tool_result(&call.name, result.get("error"), took);
        }
        self.answer(&call.id, &result);
        Ok(None)
    }

    /// Asks the model once.
    async fn ask(&mut self, turn: &Turn, means: Means<'_>, left: Duration) -> Option<End> {
        let Means { prompt, model, conversation, teller } = means;
        let limits = &prompt.limits;
        if self.steps >= limits.steps_max {
            return Some(End::Failed(format!(
                "it took more than {} steps (`limits.steps_max`)",
                limits.steps_max
            )));
        }
        if self.tokens >= limits.tokens_max {
            return Some(End::Failed(format!(
                "it used more than {} tokens (`limits.tokens_max`)",
                limits.tokens_max
            )));
        }
        self.steps += 1;
        if let Some(teller) = teller {
            teller.begin_step(self.steps);
        }
        let began = Instant::now();
        let asked = model.ask(self.request(turn, prompt), teller.cloned());
        let answer = match tokio::time::timeout(left, asked).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(problem)) => {
                return Some(End::Failed(format!("the model cannot be had: {}", problem.detail)));
            }
            Err(_) => {
                return Some(End::Failed(format!(
                    "it took longer than `limits.time_max`, {}",
                    limits.time_max
                )));
            }
        };
        let used = answer["usage"]["total_tokens"].as_u64().unwrap_or(0);
        self.tokens += used;
        let took = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let entry =
            json!({ "model": answer["model"], "step": self.steps, "tokens": used, "duration_ms": took });
        turn.home.host.note(conversation, "model", entry);
        let mut message = answer["choices"][0]["message"].clone();
        if !message.is_object() {
            return Some(End::Failed("the model answered with nothing".to_owned()));
        }
        message["role"] = json!("assistant");
        let calls: Vec<Call> =
            message["tool_calls"].as_array().into_iter().flatten().filter_map(read_call).collect();
        if calls.len() > CALLS_MAX {
            return Some(End::Failed(format!("the model wants {} calls at once", calls.len())));
        }
        let text = message["content"].as_str().unwrap_or_default().to_owned();
        self.messages.push(message);
        if !calls.is_empty() {
            self.queue = calls.into();
            return None;
        }
        self.judge(prompt, text)
    }

    fn request(&self, turn: &Turn, prompt: &PromptDefinition) -> Value {
        let mut tools = turn.home.host.tool_specs();
        tools.extend(memory::tool_specs(&prompt.memory));
        let mut messages = vec![json!({ "role": "system", "content": prompt.system })];
        messages.extend(self.messages.iter().cloned());
        let mut request = json!({ "model": prompt.model, "messages": messages });
        if !tools.is_empty() {
            request["tools"] = json!(tools);
        }
        if let Some(schema) = &prompt.output {
            let inner = json!({ "name": "answer", "schema": schema });
            request["response_format"] = json!({ "type": "json_schema", "json_schema": inner });
        }
        if let Some(temperature) = prompt.temperature {
            request["temperature"] = json!(temperature);
        }
        if let Some(tokens) = prompt.limits.answer_tokens_max {
            request["max_completion_tokens"] = json!(tokens);
        }
        request
    }

    /// Whether an answer is one; `None`: the model is told what is wrong with it, and asked again.
    fn judge(&mut self, prompt: &PromptDefinition, text: String) -> Option<End> {
        let Some(schema) = &prompt.output else { return Some(End::Text(text)) };
        let complaint = match serde_json::from_str::<Value>(&text) {
            Err(error) => format!("it is not JSON: {error}"),
            Ok(value) => match jsonschema::validator_for(schema).ok().map(|validator| {
                validator
                    .iter_errors(&value)
                    .next()
                    .map(|error| format!("{}: {error}", error.instance_path()))
            }) {
                Some(Some(complaint)) => complaint,
                _ => return Some(End::Value(value)),
            },
        };
        let content = format!(
            "Your answer does not follow the schema ({complaint}). Answer again, with JSON that does."
        );
        self.messages.push(json!({ "role": "user", "content": content }));
        None
    }
}

fn read_call(call: &Value) -> Option<Call> {
    let function = &call["function"];
    let arguments = function["arguments"].as_str().unwrap_or("{}");
    let arguments = if arguments.trim().is_empty() { "{}" } else { arguments };
    Some(Call {
        id: call["id"].as_str()?.to_owned(),
        name: function["name"].as_str()?.to_owned(),
        // The toolbox says what is wrong with what is no object.
        input: serde_json::from_str(arguments).unwrap_or_else(|_| json!(arguments)),
    })
}
