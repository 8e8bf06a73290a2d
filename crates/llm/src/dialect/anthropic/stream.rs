//! Streams of messages.

use serde_json::{Value, json};

use super::{stop_of, stop_reason};
use crate::dialect::{
    canonical::{Step, Stop},
    sse::write_event,
    usage::{self, Usage},
};

/// Reads events.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    /// The block of each call that has begun, in order.
    calls: Vec<u64>,
}

impl Reader {
    /// What an event says. `None`: it is not one.
    pub(crate) fn read(&mut self, data: &[u8]) -> Option<Vec<Step>> {
        let event: Value = serde_json::from_slice(data).ok()?;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let usage = |value: &Value| usage::of_anthropic(&value.to_string()).map(Step::Usage);
        let mut steps = Vec::new();
        match event["type"].as_str()? {
            "message_start" => {
                let message = &event["message"];
                steps.push(Step::Start { id: text(&message["id"]), model: text(&message["model"]) });
                steps.extend(usage(&message["usage"]));
            }
            "content_block_start" => {
                let block = &event["content_block"];
                match block["type"].as_str() {
                    Some("tool_use") => {
                        self.calls.push(event["index"].as_u64()?);
                        let (id, name) = (text(&block["id"]), text(&block["name"]));
                        steps.push(Step::ToolCall { id, name, signature: None });
                    }
                    Some("text") if block["text"].as_str().is_some_and(|text| !text.is_empty()) => {
                        steps.push(Step::Text(text(&block["text"])));
                    }
                    _ => {}
                }
            }
            "content_block_delta" => steps.extend(self.delta(&event)),
            "message_delta" => {
                if let Some(reason) = event["delta"]["stop_reason"].as_str() {
                    steps.push(Step::Stop(stop_of(reason, event["delta"]["stop_sequence"].as_str())));
                }
                steps.extend(usage(&event["usage"]));
            }
            "error" => {
                let error = &event["error"];
                steps.push(Step::Failed { kind: text(&error["type"]), message: text(&error["message"]) });
            }
            _ => {}
        }
        Some(steps)
    }

    fn delta(&self, event: &Value) -> Option<Step> {
        let delta = &event["delta"];
        let given = |name: &str| delta[name].as_str().filter(|text| !text.is_empty()).map(str::to_owned);
        match delta["type"].as_str()? {
            "text_delta" => given("text").map(Step::Text),
            "thinking_delta" => given("thinking").map(Step::Thinking),
            "signature_delta" => given("signature").map(Step::ThinkingSignature),
            "input_json_delta" => {
                let block = event["index"].as_u64()?;
                let call = self.calls.iter().position(|known| *known == block)?;
                Some(Step::ToolArguments { call, json: given("partial_json")? })
            }
            _ => None,
        }
    }
}

/// The block that is being written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Open {
    Text,
    Thinking,
    Call(usize),
}

/// Writes events.
#[derive(Debug, Default)]
pub(crate) struct Writer {
    id: String,
    model: String,
    begun: bool,
    open: Option<Open>,
    blocks: u64,
    calls: usize,
    stop: Option<Stop>,
    usage: Usage,
}

impl Writer {
    pub(crate) fn write(&mut self, step: Step, out: &mut Vec<u8>) {
        match step {
            Step::Start { id, model } => {
                (self.id, self.model) = (id, model);
                self.begin(out);
            }
            Step::Text(text) | Step::Refusal(text) => {
                self.switch(Open::Text, || json!({"type": "text", "text": ""}), out);
                self.delta(&json!({"type": "text_delta", "text": text}), out);
            }
            Step::Thinking(text) => {
                let block = || json!({"type": "thinking", "thinking": "", "signature": ""});
                self.switch(Open::Thinking, block, out);
                self.delta(&json!({"type": "thinking_delta", "thinking": text}), out);
            }
            Step::ThinkingSignature(signature) => {
                if self.open == Some(Open::Thinking) {
                    self.delta(&json!({"type": "signature_delta", "signature": signature}), out);
                }
            }
            Step::ToolCall { id, name, .. } => {
                let call = self.calls;
                self.calls += 1;
                let block = || json!({"type": "tool_use", "id": id, "name": name, "input": {}});
                self.switch(Open::Call(call), block, out);
            }
            Step::ToolArguments { call, json } => {
                // Calls come one after the other here; what arrives late for one that is closed has no place.
                if self.open == Some(Open::Call(call)) {
                    self.delta(&json!({"type": "input_json_delta", "partial_json": json}), out);
                }
            }
            Step::Usage(usage) => self.usage.merge(usage),
            Step::Stop(stop) => self.stop = Some(stop),
            Step::Failed { .. } => {}
        }
    }

    /// Ends the stream.
    pub(crate) fn finish(&mut self, out: &mut Vec<u8>) {
        self.begin(out);
        self.close(out);
        let stop = match self.stop.take() {
            Some(Stop::End) | None if self.calls > 0 => Stop::Tools,
            Some(stop) => stop,
            None => Stop::End,
        };
        let sequence = match &stop {
            Stop::Sequence(text) => json!(text),
            _ => Value::Null,
        };
        let delta = json!({"stop_reason": stop_reason(&stop), "stop_sequence": sequence});
        event(out, &json!({"type": "message_delta", "delta": delta, "usage": self.usage.to_anthropic()}));
        event(out, &json!({"type": "message_stop"}));
    }

    fn begin(&mut self, out: &mut Vec<u8>) {
        if self.begun {
            return;
        }
        self.begun = true;
        let message = json!({
            "id": self.id, "type": "message", "role": "assistant", "model": self.model, "content": [],
            "stop_reason": null, "stop_sequence": null, "usage": self.usage.to_anthropic(),
        });
        event(out, &json!({"type": "message_start", "message": message}));
    }

    fn switch(&mut self, to: Open, block: impl FnOnce() -> Value, out: &mut Vec<u8>) {
        self.begin(out);
        if self.open == Some(to) {
            return;
        }
        self.close(out);
        self.open = Some(to);
        event(out, &json!({"type": "content_block_start", "index": self.blocks, "content_block": block()}));
    }

    fn close(&mut self, out: &mut Vec<u8>) {
        if self.open.take().is_some() {
            event(out, &json!({"type": "content_block_stop", "index": self.blocks}));
            self.blocks += 1;
        }
    }

    fn delta(&self, delta: &Value, out: &mut Vec<u8>) {
        event(out, &json!({"type": "content_block_delta", "index": self.blocks, "delta": delta}));
    }
}

fn event(out: &mut Vec<u8>, data: &Value) {
    write_event(out, data["type"].as_str(), data.to_string().as_bytes());
}
