//! OpenAI's completions of old, for providers that only have chats: the prompt is what a user says.

use serde_json::{Value, json};

use super::{
    canonical::{Answer, Message, Part, Request, Role, Step, Stop, text_of},
    chat::finish_reason,
    json::{object, take, take_bool, take_count, take_number, take_text, take_texts},
    sse::write_event,
    usage::Usage,
};
use crate::error::LlmError;

/// Reads a request.
pub(crate) fn read_request(body: Value) -> Result<Request, LlmError> {
    let mut members = object(body, "body")?;
    members.remove("model");
    for field in ["n", "best_of"] {
        if members.get(field).and_then(Value::as_u64).is_some_and(|n| n > 1) {
            return Err(LlmError::untranslatable(field, "must be 1 for this provider"));
        }
    }
    for field in ["suffix", "echo", "logprobs"] {
        if take(&mut members, field).is_some_and(|value| value != json!(false)) {
            return Err(LlmError::untranslatable(field, "is not possible at this provider"));
        }
    }
    let prompt = match take(&mut members, "prompt") {
        Some(Value::String(text)) => text,
        Some(Value::Array(mut texts)) if texts.len() == 1 && texts[0].is_string() => {
            texts.remove(0).as_str().unwrap_or_default().to_owned()
        }
        _ => return Err(LlmError::untranslatable("prompt", "must be one text for this provider")),
    };
    Ok(Request {
        messages: vec![Message { role: Role::User, parts: vec![Part::text(prompt)] }],
        stream: take_bool(&mut members, "stream")?.unwrap_or(false),
        max_tokens: take_count(&mut members, "max_tokens")?,
        temperature: take_number(&mut members, "temperature")?,
        top_p: take_number(&mut members, "top_p")?,
        presence_penalty: take_number(&mut members, "presence_penalty")?,
        frequency_penalty: take_number(&mut members, "frequency_penalty")?,
        seed: take_number(&mut members, "seed")?,
        stop: take_texts(&mut members, "stop")?,
        user: take_text(&mut members, "user")?,
        ..Request::default()
    })
}

/// Writes an answer, made at `created` (seconds since 1970).
pub(crate) fn write_answer(answer: &Answer, created: i64) -> Value {
    let choice = json!({
        "index": 0, "text": text_of(&answer.parts), "logprobs": null, "finish_reason": finish_reason(&answer.stop),
    });
    json!({
        "id": answer.id, "object": "text_completion", "created": created, "model": answer.model,
        "choices": [choice], "usage": answer.usage.to_chat(),
    })
}

/// Writes chunks.
#[derive(Debug)]
pub(crate) struct Writer {
    id: String,
    model: String,
    created: i64,
    include_usage: bool,
    stop: Option<Stop>,
    usage: Usage,
}

impl Writer {
    pub(crate) fn new(created: i64, include_usage: bool) -> Self {
        let (id, model) = (String::new(), String::new());
        Self { id, model, created, include_usage, stop: None, usage: Usage::default() }
    }

    pub(crate) fn write(&mut self, step: Step, out: &mut Vec<u8>) {
        match step {
            Step::Start { id, model } => (self.id, self.model) = (id, model),
            Step::Text(text) | Step::Refusal(text) => self.chunk(Some((&text, None)), None, out),
            Step::Usage(usage) => self.usage.merge(usage),
            Step::Stop(stop) => self.stop = Some(stop),
            _ => {}
        }
    }

    /// Ends the stream.
    pub(crate) fn finish(&self, out: &mut Vec<u8>) {
        let reason = finish_reason(self.stop.as_ref().unwrap_or(&Stop::End));
        self.chunk(Some(("", Some(reason))), None, out);
        if self.include_usage {
            self.chunk(None, Some(self.usage.to_chat()), out);
        }
        out.extend_from_slice(b"data: [DONE]\n\n");
    }

    fn chunk(&self, choice: Option<(&str, Option<&str>)>, usage: Option<Value>, out: &mut Vec<u8>) {
        let choices: Vec<Value> = choice
            .map(
                |(text, reason)| json!({"index": 0, "text": text, "logprobs": null, "finish_reason": reason}),
            )
            .into_iter()
            .collect();
        let mut chunk = json!({
            "id": self.id, "object": "text_completion", "created": self.created, "model": self.model,
            "choices": choices,
        });
        if let Some(usage) = usage {
            chunk["usage"] = usage;
        }
        write_event(out, None, chunk.to_string().as_bytes());
    }
}
