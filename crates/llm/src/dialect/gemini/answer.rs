//! Answers with content.

use serde_json::{Value, json};

use super::{
    finish_reason,
    request::{read_parts, write_part},
    stop_of,
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
    let usage = members.get("usageMetadata").map(ToString::to_string);
    let usage = usage.and_then(|usage| usage::of_gemini(&usage)).unwrap_or_default();
    let mut candidates = take_array(&mut members, "candidates").map_err(|_| garbage())?;
    let (parts, stop) = if candidates.is_empty() {
        // The prompt itself was refused.
        let blocked =
            members.get("promptFeedback").is_some_and(|feedback| feedback.get("blockReason").is_some());
        if !blocked {
            return Err(garbage());
        }
        (Vec::new(), Stop::Refused)
    } else {
        let mut candidate = object(candidates.swap_remove(0), "candidates").map_err(|_| garbage())?;
        let content = candidate.remove("content").unwrap_or_else(|| json!({}));
        let parts = read_parts(content, &mut Vec::new()).map_err(|_| garbage())?;
        let has_calls = parts.iter().any(|part| matches!(part, Part::ToolCall { .. }));
        let reason = candidate.get("finishReason").and_then(Value::as_str).unwrap_or("STOP");
        (parts, stop_of(reason, has_calls))
    };
    Ok(Answer {
        id: take_text(&mut members, "responseId").ok().flatten().unwrap_or_default(),
        model: take_text(&mut members, "modelVersion").ok().flatten().unwrap_or_default(),
        parts,
        stop,
        usage,
    })
}

/// Writes an answer.
pub(crate) fn write_answer(answer: &Answer) -> Value {
    let mut parts = Vec::new();
    for part in &answer.parts {
        // Answers have no results of tools, which alone can fail to be written.
        let _ = write_part(part, &[], &mut parts);
    }
    json!({
        "responseId": answer.id,
        "modelVersion": answer.model,
        "candidates": [{
            "index": 0,
            "content": {"role": "model", "parts": parts},
            "finishReason": finish_reason(&answer.stop),
        }],
        "usageMetadata": answer.usage.to_gemini(),
    })
}
