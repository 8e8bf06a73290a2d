//! Streams of content: each event is an answer with what is new in it.

use serde_json::{Value, json};

use super::{
    finish_reason,
    request::{ReadCall, read_parts},
    stop_of,
};
use crate::dialect::{
    canonical::{Part, Step, Stop},
    json::arguments_object,
    sse::write_event,
    usage::{self, Usage},
};

/// Reads events.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    started: bool,
    calls: Vec<ReadCall>,
}

impl Reader {
    /// What an event says. `None`: it is not one.
    pub(crate) fn read(&mut self, data: &[u8]) -> Option<Vec<Step>> {
        let mut event: Value = match serde_json::from_slice(data).ok()? {
            // A failure may come as an array of one.
            Value::Array(mut items) if items.len() == 1 => items.remove(0),
            event => event,
        };
        if !event.is_object() {
            return None;
        }
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        if let Some(error) = event.get("error") {
            let step = Step::Failed { kind: text(&error["status"]), message: text(&error["message"]) };
            return Some(vec![step]);
        }
        let mut steps = Vec::new();
        if !self.started {
            self.started = true;
            steps.push(Step::Start { id: text(&event["responseId"]), model: text(&event["modelVersion"]) });
        }
        let usage = event.get("usageMetadata").and_then(|usage| usage::of_gemini(&usage.to_string()));
        let blocked = event["promptFeedback"].get("blockReason").is_some();
        if let Some(candidate) = event.get_mut("candidates").and_then(|all| all.get_mut(0)) {
            let content = candidate.get_mut("content").map(Value::take).filter(Value::is_object);
            let parts = read_parts(content.unwrap_or_else(|| json!({})), &mut self.calls).ok()?;
            for part in parts {
                self.step(part, &mut steps);
            }
            if let Some(reason) = candidate["finishReason"].as_str() {
                steps.push(Step::Stop(stop_of(reason, !self.calls.is_empty())));
            }
        } else if blocked {
            steps.push(Step::Stop(Stop::Refused));
        }
        steps.extend(usage.map(Step::Usage));
        Some(steps)
    }

    fn step(&self, part: Part, steps: &mut Vec<Step>) {
        match part {
            Part::Text { text, .. } if !text.is_empty() => steps.push(Step::Text(text)),
            Part::Thinking { text, signature } => {
                steps.push(Step::Thinking(text));
                steps.extend(signature.map(Step::ThinkingSignature));
            }
            Part::ToolCall { id, name, arguments, signature } => {
                let call = self.calls.iter().position(|(_, known)| *known == id).unwrap_or_default();
                steps.push(Step::ToolCall { id, name, signature });
                steps.push(Step::ToolArguments { call, json: arguments });
            }
            _ => {}
        }
    }
}

/// Writes events.
#[derive(Debug, Default)]
pub(crate) struct Writer {
    id: String,
    model: String,
    /// Calls are sent whole, at the end.
    calls: Vec<(String, String, String)>,
    stop: Option<Stop>,
    usage: Usage,
}

impl Writer {
    pub(crate) fn write(&mut self, step: Step, out: &mut Vec<u8>) {
        match step {
            Step::Start { id, model } => (self.id, self.model) = (id, model),
            Step::Text(text) | Step::Refusal(text) => self.event(&json!([{"text": text}]), None, out),
            Step::Thinking(text) => self.event(&json!([{"text": text, "thought": true}]), None, out),
            Step::ThinkingSignature(_) | Step::Failed { .. } => {}
            Step::ToolCall { id, name, .. } => self.calls.push((id, name, String::new())),
            Step::ToolArguments { call, json } => {
                if let Some((_, _, arguments)) = self.calls.get_mut(call) {
                    arguments.push_str(&json);
                }
            }
            Step::Usage(usage) => self.usage.merge(usage),
            Step::Stop(stop) => self.stop = Some(stop),
        }
    }

    /// Ends the stream.
    pub(crate) fn finish(&mut self, out: &mut Vec<u8>) {
        let calls = std::mem::take(&mut self.calls);
        let parts: Vec<Value> = calls
            .iter()
            .map(|(id, name, arguments)| {
                json!({"functionCall": {"id": id, "name": name, "args": arguments_object(arguments)}})
            })
            .collect();
        let reason = finish_reason(self.stop.as_ref().unwrap_or(&Stop::End));
        self.event(&Value::Array(parts), Some(reason), out);
    }

    fn event(&self, parts: &Value, finish: Option<&str>, out: &mut Vec<u8>) {
        let mut candidate = json!({"index": 0, "content": {"role": "model", "parts": parts}});
        let mut event = json!({"responseId": self.id, "modelVersion": self.model});
        if let Some(reason) = finish {
            candidate["finishReason"] = json!(reason);
            event["usageMetadata"] = self.usage.to_gemini();
        }
        event["candidates"] = json!([candidate]);
        write_event(out, None, event.to_string().as_bytes());
    }
}
