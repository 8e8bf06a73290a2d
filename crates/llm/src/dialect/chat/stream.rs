//! Streams of chat completions.

use serde::Deserialize;
use serde_json::{Value, json, value::RawValue};

use super::{finish_reason, stop_of};
use crate::dialect::{
    canonical::{Step, Stop},
    sse::write_event,
    usage::{self, Usage},
};

#[derive(Deserialize)]
struct Chunk<'a> {
    #[serde(default)]
    id: String,
    #[serde(default)]
    model: String,
    #[serde(default)]
    choices: Vec<Choice>,
    #[serde(borrow, default)]
    usage: Option<&'a RawValue>,
    #[serde(default)]
    error: Option<Value>,
}

#[derive(Deserialize)]
struct Choice {
    #[serde(default)]
    index: u32,
    #[serde(default)]
    delta: Delta,
    #[serde(default)]
    finish_reason: Option<String>,
}

#[derive(Default, Deserialize)]
struct Delta {
    #[serde(default)]
    content: Option<String>,
    #[serde(default, alias = "reasoning")]
    reasoning_content: Option<String>,
    #[serde(default)]
    refusal: Option<String>,
    #[serde(default)]
    tool_calls: Option<Vec<CallDelta>>,
}

#[derive(Deserialize)]
struct CallDelta {
    #[serde(default)]
    index: Option<usize>,
    #[serde(default)]
    id: Option<String>,
    #[serde(default)]
    function: FunctionDelta,
}

#[derive(Default, Deserialize)]
struct FunctionDelta {
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    arguments: Option<String>,
}

/// Reads chunks.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    started: bool,
    /// The provider's number of each call that has begun, in order.
    calls: Vec<usize>,
}

impl Reader {
    /// What a chunk says. `None`: it is not one.
    pub(crate) fn read(&mut self, data: &[u8]) -> Option<Vec<Step>> {
        let chunk: Chunk<'_> = serde_json::from_slice(data).ok()?;
        let mut steps = Vec::new();
        if let Some(error) = chunk.error.filter(|error| !error.is_null()) {
            let text = |name: &str| error.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
            steps.push(Step::Failed { kind: text("type"), message: text("message") });
            return Some(steps);
        }
        if !self.started {
            self.started = true;
            steps.push(Step::Start { id: chunk.id, model: chunk.model });
        }
        for choice in chunk.choices.into_iter().filter(|choice| choice.index == 0) {
            self.read_choice(choice, &mut steps);
        }
        let usage = chunk.usage.filter(|usage| usage.get() != "null");
        steps.extend(usage.and_then(|usage| usage::of_openai(usage.get())).map(Step::Usage));
        Some(steps)
    }

    fn read_choice(&mut self, choice: Choice, steps: &mut Vec<Step>) {
        let given = |text: Option<String>| text.filter(|text| !text.is_empty());
        steps.extend(given(choice.delta.reasoning_content).map(Step::Thinking));
        steps.extend(given(choice.delta.content).map(Step::Text));
        steps.extend(given(choice.delta.refusal).map(Step::Refusal));
        for call in choice.delta.tool_calls.into_iter().flatten() {
            // Some servers number nothing: then an id begins another call.
            let number = call
                .index
                .unwrap_or_else(|| self.calls.len() - usize::from(call.id.is_none()).min(self.calls.len()));
            let known = self.calls.iter().position(|known| *known == number);
            let position = known.unwrap_or_else(|| {
                self.calls.push(number);
                steps.push(Step::ToolCall {
                    id: call.id.unwrap_or_default(),
                    name: call.function.name.unwrap_or_default(),
                    signature: None,
                });
                self.calls.len() - 1
            });
            let json = given(call.function.arguments);
            steps.extend(json.map(|json| Step::ToolArguments { call: position, json }));
        }
        steps.extend(choice.finish_reason.map(|reason| Step::Stop(stop_of(&reason))));
    }
}

/// Writes chunks.
#[derive(Debug)]
pub(crate) struct Writer {
    id: String,
    model: String,
    created: i64,
    include_usage: bool,
    calls: usize,
    begun: bool,
    stop: Option<Stop>,
    usage: Usage,
}

impl Writer {
    pub(crate) fn new(created: i64, include_usage: bool) -> Self {
        Self {
            id: String::new(),
            model: String::new(),
            created,
            include_usage,
            calls: 0,
            begun: false,
            stop: None,
            usage: Usage::default(),
        }
    }

    pub(crate) fn write(&mut self, step: Step, out: &mut Vec<u8>) {
        match step {
            Step::Start { id, model } => {
                (self.id, self.model) = (id, model);
                self.begin(out);
            }
            Step::Text(text) => self.delta(&json!({"content": text}), out),
            Step::Thinking(text) => self.delta(&json!({"reasoning_content": text}), out),
            Step::ThinkingSignature(text) => self.delta(&json!({"reasoning_signature": text}), out),
            Step::Refusal(text) => self.delta(&json!({"refusal": text}), out),
            Step::ToolCall { id, name, signature } => {
                let function = json!({"name": name, "arguments": ""});
                let mut call =
                    json!({"index": self.calls, "id": id, "type": "function", "function": function});
                if let Some(signature) = signature {
                    call["signature"] = json!(signature);
                }
                self.calls += 1;
                self.delta(&json!({"tool_calls": [call]}), out);
            }
            Step::ToolArguments { call, json } => {
                let delta = json!({"index": call, "function": {"arguments": json}});
                self.delta(&json!({"tool_calls": [delta]}), out);
            }
            Step::Usage(usage) => self.usage.merge(usage),
            Step::Stop(stop) => self.stop = Some(stop),
            Step::Failed { .. } => {}
        }
    }

    /// Ends the stream.
    pub(crate) fn finish(&mut self, out: &mut Vec<u8>) {
        let reason = match &self.stop {
            Some(Stop::End) if self.calls > 0 => "tool_calls",
            Some(stop) => finish_reason(stop),
            None => "stop",
        };
        self.chunk(&json!([{"index": 0, "delta": {}, "logprobs": null, "finish_reason": reason}]), None, out);
        if self.include_usage {
            self.chunk(&json!([]), Some(self.usage.to_chat()), out);
        }
        out.extend_from_slice(b"data: [DONE]\n\n");
    }

    fn begin(&mut self, out: &mut Vec<u8>) {
        if !self.begun {
            self.begun = true;
            let delta = json!({"role": "assistant", "content": ""});
            self.chunk(&json!([{"index": 0, "delta": delta, "finish_reason": null}]), None, out);
        }
    }

    fn delta(&mut self, delta: &Value, out: &mut Vec<u8>) {
        self.begin(out);
        self.chunk(&json!([{"index": 0, "delta": delta, "finish_reason": null}]), None, out);
    }

    fn chunk(&self, choices: &Value, usage: Option<Value>, out: &mut Vec<u8>) {
        let mut chunk = json!({
            "id": self.id, "object": "chat.completion.chunk", "created": self.created, "model": self.model,
            "choices": choices,
        });
        if self.include_usage {
            chunk["usage"] = usage.unwrap_or_default();
        }
        write_event(out, None, chunk.to_string().as_bytes());
    }
}
