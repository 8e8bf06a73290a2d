//! Answers of chat completions.

use serde_json::{Value, json};

use super::{finish_reason, stop_of};
use crate::{
    dialect::{
        canonical::{Answer, Part, Stop, text_of},
        json::{Members, object, put, take_array, take_text},
        usage,
    },
    error::{ErrorKind, LlmError},
};

/// An answer that is none.
pub(in crate::dialect) fn garbage() -> LlmError {
    LlmError::new(ErrorKind::ProviderFailed, "the provider answered with something that is not an answer")
}

/// Reads an answer.
pub(crate) fn read_answer(body: Value) -> Result<Answer, LlmError> {
    let mut members = object(body, "body").map_err(|_| garbage())?;
    let usage = members.get("usage").filter(|usage| !usage.is_null()).map(ToString::to_string);
    let usage = usage.and_then(|usage| usage::of_openai(&usage)).unwrap_or_default();
    let mut choices = take_array(&mut members, "choices").map_err(|_| garbage())?;
    if choices.is_empty() {
        return Err(garbage());
    }
    let mut choice = object(choices.swap_remove(0), "choices").map_err(|_| garbage())?;
    let mut message =
        object(choice.remove("message").unwrap_or_default(), "message").map_err(|_| garbage())?;
    let parts = read_message(&mut message).map_err(|_| garbage())?;
    let reason = choice.get("finish_reason").and_then(Value::as_str).unwrap_or("stop");
    let has_calls = parts.iter().any(|part| matches!(part, Part::ToolCall { .. }));
    let stop = if has_calls && reason == "stop" { Stop::Tools } else { stop_of(reason) };
    Ok(Answer {
        id: take_text(&mut members, "id").ok().flatten().unwrap_or_default(),
        model: take_text(&mut members, "model").ok().flatten().unwrap_or_default(),
        parts,
        stop,
        usage,
    })
}

fn read_message(message: &mut Members) -> Result<Vec<Part>, LlmError> {
    let mut parts = Vec::new();
    for name in ["reasoning_content", "reasoning"] {
        if let Some(text) = take_text(message, name)?
            && !text.is_empty()
            && parts.is_empty()
        {
            parts.push(Part::Thinking { text, signature: None });
        }
    }
    if let Some(text) = take_text(message, "content")?
        && !text.is_empty()
    {
        parts.push(Part::text(text));
    }
    if let Some(refusal) = take_text(message, "refusal")? {
        parts.push(Part::Refusal(refusal));
    }
    for call in take_array(message, "tool_calls")? {
        let mut call = object(call, "tool_calls")?;
        let mut function = object(call.remove("function").unwrap_or_default(), "tool_calls")?;
        parts.push(Part::ToolCall {
            id: take_text(&mut call, "id")?.unwrap_or_default(),
            name: take_text(&mut function, "name")?.unwrap_or_default(),
            arguments: take_text(&mut function, "arguments")?.unwrap_or_default(),
            signature: None,
        });
    }
    Ok(parts)
}

/// Writes an answer, made at `created` (seconds since 1970).
pub(crate) fn write_answer(answer: &Answer, created: i64) -> Value {
    let mut message = Members::new();
    put(&mut message, "role", "assistant");
    let text = text_of(&answer.parts);
    let has_text = answer.parts.iter().any(|part| matches!(part, Part::Text { .. }));
    message.insert("content".to_owned(), if has_text { Value::String(text) } else { Value::Null });
    message.insert("refusal".to_owned(), Value::Null);
    let mut calls = Vec::new();
    for part in &answer.parts {
        match part {
            Part::Thinking { text, signature } => {
                put(&mut message, "reasoning_content", text.clone());
                put(&mut message, "reasoning_signature", signature.clone());
            }
            Part::Refusal(text) => put(&mut message, "refusal", text.clone()),
            Part::ToolCall { id, name, arguments, signature } => {
                let function = json!({"name": name, "arguments": arguments});
                let mut call = json!({"id": id, "type": "function", "function": function});
                if let Some(signature) = signature {
                    call["signature"] = json!(signature);
                }
                calls.push(call);
            }
            _ => {}
        }
    }
    if !calls.is_empty() {
        put(&mut message, "tool_calls", calls);
    }
    json!({
        "id": answer.id,
        "object": "chat.completion",
        "created": created,
        "model": answer.model,
        "choices": [{
            "index": 0, "message": message, "logprobs": null, "finish_reason": finish_reason(&answer.stop),
        }],
        "usage": answer.usage.to_chat(),
    })
}
