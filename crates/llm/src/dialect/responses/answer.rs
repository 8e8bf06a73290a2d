//! Answers of responses.

use serde_json::{Value, json};

use crate::dialect::canonical::{Answer, Part, Stop};

/// Writes an answer, made at `created` (seconds since 1970).
pub(crate) fn write_answer(answer: &Answer, created: i64) -> Value {
    let mut output = Vec::new();
    let mut content = Vec::new();
    for (index, part) in answer.parts.iter().enumerate() {
        match part {
            Part::Text { text, .. } => content.push(text_part(text)),
            Part::Refusal(text) => content.push(json!({"type": "refusal", "refusal": text})),
            Part::Thinking { text, .. } => {
                output.push(reasoning_item(&item_id("rs", &answer.id, index), text));
            }
            Part::ToolCall { id, name, arguments, .. } => {
                output.push(call_item(&item_id("fc", &answer.id, index), id, name, arguments, "completed"));
            }
            _ => {}
        }
    }
    if !content.is_empty() {
        let at = output.iter().take_while(|item| item["type"] == "reasoning").count();
        let message = message_item(&item_id("msg", &answer.id, 0), &Value::Array(content), "completed");
        output.insert(at, message);
    }
    let mut response = skeleton(&response_id(&answer.id), &answer.model, created, status(&answer.stop));
    response["output"] = Value::Array(output);
    response["usage"] = answer.usage.to_responses();
    if answer.stop == Stop::Length {
        response["incomplete_details"] = json!({"reason": "max_output_tokens"});
    }
    response
}

/// What a response says of itself beside its output.
pub(super) fn skeleton(id: &str, model: &str, created: i64, status: &str) -> Value {
    json!({
        "id": id,
        "object": "response",
        "created_at": created,
        "status": status,
        "error": null,
        "incomplete_details": null,
        "instructions": null,
        "metadata": {},
        "model": model,
        "output": [],
        "parallel_tool_calls": true,
        "temperature": null,
        "tool_choice": "auto",
        "tools": [],
        "top_p": null,
        "usage": null,
    })
}

pub(super) const fn status(stop: &Stop) -> &'static str {
    match stop {
        Stop::Length | Stop::Refused => "incomplete",
        _ => "completed",
    }
}

/// Another vendor's id, with OpenAI's prefix.
pub(super) fn response_id(id: &str) -> String {
    if id.starts_with("resp_") { id.to_owned() } else { format!("resp_{id}") }
}

pub(super) fn item_id(kind: &str, id: &str, index: usize) -> String {
    format!("{kind}_{id}_{index}")
}

pub(super) fn text_part(text: &str) -> Value {
    json!({"type": "output_text", "text": text, "annotations": []})
}

pub(super) fn message_item(id: &str, content: &Value, status: &str) -> Value {
    json!({"id": id, "type": "message", "role": "assistant", "status": status, "content": content})
}

pub(super) fn reasoning_item(id: &str, text: &str) -> Value {
    json!({"id": id, "type": "reasoning", "summary": [{"type": "summary_text", "text": text}]})
}

pub(super) fn call_item(id: &str, call: &str, name: &str, arguments: &str, status: &str) -> Value {
    json!({
        "id": id, "type": "function_call", "call_id": call, "name": name, "arguments": arguments, "status": status,
    })
}
