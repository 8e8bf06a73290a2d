//! Answers of messages.

use serde_json::{Value, json};

use super::{
    request::{read_block, write_blocks},
    stop_of, stop_reason,
};
use crate::{
    dialect::{
        canonical::{Answer, Part, Stop},
        chat::garbage,
        json::{object, take_array, take_text},
        usage,
    },
    error::LlmError,
};

/// Reads an answer.
pub(crate) fn read_answer(body: Value) -> Result<Answer, LlmError> {
    let mut members = object(body, "body").map_err(|_| garbage())?;
    let blocks = take_array(&mut members, "content").map_err(|_| garbage())?;
    if members.get("type").and_then(Value::as_str) != Some("message") {
        return Err(garbage());
    }
    // Blocks of the vendor's own tools have no place elsewhere: the text around them has.
    let parts: Vec<Part> = blocks.into_iter().filter_map(|block| read_block(block, "content").ok()).collect();
    let usage = members.get("usage").map(ToString::to_string);
    let sequence = members.get("stop_sequence").and_then(Value::as_str);
    let stop = members.get("stop_reason").and_then(Value::as_str);
    Ok(Answer {
        stop: stop_of(stop.unwrap_or("end_turn"), sequence),
        id: take_text(&mut members, "id").ok().flatten().unwrap_or_default(),
        model: take_text(&mut members, "model").ok().flatten().unwrap_or_default(),
        parts,
        usage: usage.and_then(|usage| usage::of_anthropic(&usage)).unwrap_or_default(),
    })
}

/// Writes an answer.
pub(crate) fn write_answer(answer: &Answer) -> Value {
    let shown: Vec<Part> = answer
        .parts
        .iter()
        .map(|part| match part {
            // A caller must be able to see what was thought, proved or not.
            Part::Thinking { text, signature: None } => {
                Part::Thinking { text: text.clone(), signature: Some(String::new()) }
            }
            part => part.clone(),
        })
        .collect();
    let sequence = match &answer.stop {
        Stop::Sequence(text) => json!(text),
        _ => Value::Null,
    };
    json!({
        "id": answer.id,
        "type": "message",
        "role": "assistant",
        "model": answer.model,
        "content": write_blocks(&shown).unwrap_or_default(),
        "stop_reason": stop_reason(&answer.stop),
        "stop_sequence": sequence,
        "usage": answer.usage.to_anthropic(),
    })
}
