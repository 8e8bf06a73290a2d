//! Streams of responses.

use serde_json::{Value, json};

use super::answer::{
    call_item, item_id, message_item, reasoning_item, response_id, skeleton, status, text_part,
};
use crate::dialect::{
    canonical::{Step, Stop},
    sse::write_event,
    usage::Usage,
};

/// An item of the output, as far as it is written.
#[derive(Debug)]
enum Item {
    Message { id: String, text: String },
    Reasoning { id: String, text: String },
    Call { id: String, call: String, name: String, arguments: String },
}

/// Writes events.
#[derive(Debug)]
pub(crate) struct Writer {
    id: String,
    model: String,
    created: i64,
    begun: bool,
    sequence: u64,
    items: Vec<Item>,
    /// Whether the last item is open.
    open: bool,
    /// The item of each call.
    calls: Vec<usize>,
    stop: Option<Stop>,
    usage: Usage,
}

impl Writer {
    pub(crate) const fn new(created: i64) -> Self {
        Self {
            id: String::new(),
            model: String::new(),
            created,
            begun: false,
            sequence: 0,
            items: Vec::new(),
            open: false,
            calls: Vec::new(),
            stop: None,
            usage: Usage {
                input: 0,
                output: 0,
                cache_read: 0,
                cache_write: 0,
                reasoning: 0,
                estimated: false,
            },
        }
    }

    pub(crate) fn write(&mut self, step: Step, out: &mut Vec<u8>) {
        match step {
            Step::Start { id, model } => {
                (self.id, self.model) = (id, model);
                self.begin(out);
            }
            Step::Text(delta) | Step::Refusal(delta) => self.text(&delta, out),
            Step::Thinking(delta) => self.thinking(&delta, out),
            Step::ToolCall { id, name, .. } => {
                self.begin(out);
                self.close(out);
                let index = self.items.len();
                let item = item_id("fc", &self.id, index);
                let added = call_item(&item, &id, &name, "", "in_progress");
                self.items.push(Item::Call { id: item, call: id, name, arguments: String::new() });
                self.calls.push(index);
                self.open = true;
                self.event("response.output_item.added", json!({"output_index": index, "item": added}), out);
            }
            Step::ToolArguments { call, json: delta } => self.arguments(call, &delta, out),
            Step::Usage(usage) => self.usage.merge(usage),
            Step::Stop(stop) => self.stop = Some(stop),
            Step::ThinkingSignature(_) | Step::Failed { .. } => {}
        }
    }

    /// Ends the stream.
    pub(crate) fn finish(&mut self, out: &mut Vec<u8>) {
        self.begin(out);
        self.close(out);
        let stop = self.stop.take().unwrap_or(Stop::End);
        let mut response = skeleton(&response_id(&self.id), &self.model, self.created, status(&stop));
        response["output"] = self.items.iter().map(|item| item.written("completed")).collect();
        response["usage"] = self.usage.to_responses();
        let kind = if stop == Stop::Length {
            response["incomplete_details"] = json!({"reason": "max_output_tokens"});
            "response.incomplete"
        } else {
            "response.completed"
        };
        self.event(kind, json!({"response": response}), out);
    }

    fn begin(&mut self, out: &mut Vec<u8>) {
        if self.begun {
            return;
        }
        self.begun = true;
        let response = skeleton(&response_id(&self.id), &self.model, self.created, "in_progress");
        self.event("response.created", json!({"response": response}), out);
        self.event("response.in_progress", json!({"response": response}), out);
    }

    fn text(&mut self, delta: &str, out: &mut Vec<u8>) {
        self.begin(out);
        if !self.open || !matches!(self.items.last(), Some(Item::Message { .. })) {
            self.close(out);
            let index = self.items.len();
            let id = item_id("msg", &self.id, index);
            let added = message_item(&id, &json!([]), "in_progress");
            self.event("response.output_item.added", json!({"output_index": index, "item": added}), out);
            let part =
                json!({"item_id": id, "output_index": index, "content_index": 0, "part": text_part("")});
            self.event("response.content_part.added", part, out);
            self.items.push(Item::Message { id, text: String::new() });
            self.open = true;
        }
        let index = self.items.len() - 1;
        let Some(Item::Message { id, text }) = self.items.last_mut() else { return };
        text.push_str(delta);
        let data = json!({
            "item_id": id, "output_index": index, "content_index": 0, "delta": delta, "logprobs": [],
        });
        self.event("response.output_text.delta", data, out);
    }

    fn thinking(&mut self, delta: &str, out: &mut Vec<u8>) {
        self.begin(out);
        if !self.open || !matches!(self.items.last(), Some(Item::Reasoning { .. })) {
            self.close(out);
            let index = self.items.len();
            let id = item_id("rs", &self.id, index);
            let added = json!({"id": id, "type": "reasoning", "summary": []});
            self.event("response.output_item.added", json!({"output_index": index, "item": added}), out);
            self.items.push(Item::Reasoning { id, text: String::new() });
            self.open = true;
        }
        let index = self.items.len() - 1;
        let Some(Item::Reasoning { id, text }) = self.items.last_mut() else { return };
        text.push_str(delta);
        let data = json!({"item_id": id, "output_index": index, "summary_index": 0, "delta": delta});
        self.event("response.reasoning_summary_text.delta", data, out);
    }

    fn arguments(&mut self, call: usize, delta: &str, out: &mut Vec<u8>) {
        let Some(&index) = self.calls.get(call) else { return };
        // What comes for a call that is done already has no place.
        if !self.open || index + 1 != self.items.len() {
            return;
        }
        let Some(Item::Call { id, arguments, .. }) = self.items.get_mut(index) else { return };
        arguments.push_str(delta);
        let data = json!({"item_id": id, "output_index": index, "delta": delta});
        self.event("response.function_call_arguments.delta", data, out);
    }

    fn close(&mut self, out: &mut Vec<u8>) {
        if !std::mem::take(&mut self.open) {
            return;
        }
        let index = self.items.len() - 1;
        let Some(item) = self.items.last() else { return };
        let written = item.written("completed");
        let ending = match item {
            Item::Message { id, text } => vec![
                (
                    "response.output_text.done",
                    json!({
                        "item_id": id, "output_index": index, "content_index": 0, "text": text, "logprobs": [],
                    }),
                ),
                (
                    "response.content_part.done",
                    json!({
                        "item_id": id, "output_index": index, "content_index": 0, "part": text_part(text),
                    }),
                ),
            ],
            Item::Reasoning { .. } => Vec::new(),
            Item::Call { id, arguments, .. } => vec![(
                "response.function_call_arguments.done",
                json!({"item_id": id, "output_index": index, "arguments": arguments}),
            )],
        };
        for (kind, data) in ending {
            self.event(kind, data, out);
        }
        self.event("response.output_item.done", json!({"output_index": index, "item": written}), out);
    }

    fn event(&mut self, kind: &str, mut data: Value, out: &mut Vec<u8>) {
        data["type"] = json!(kind);
        data["sequence_number"] = json!(self.sequence);
        self.sequence += 1;
        write_event(out, Some(kind), data.to_string().as_bytes());
    }
}

impl Item {
    fn written(&self, status: &str) -> Value {
        match self {
            Self::Message { id, text } => message_item(id, &json!([text_part(text)]), status),
            Self::Reasoning { id, text } => reasoning_item(id, text),
            Self::Call { id, call, name, arguments } => call_item(id, call, name, arguments, status),
        }
    }
}
