//! Messages as A2A has them: parts, and the states of tasks elsewhere.

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Value, json};

use super::Dialect;
use crate::message::{Content, Label, MediaType, Message, Performative};

/// An answer as the message of an agent.
pub(super) fn incoming_answer(answer: &Message, conversation: &Label, dialect: Dialect) -> Value {
    let mut reply = json!({
        "messageId": answer.id.to_string(),
        "contextId": conversation.as_str(),
        "parts": [part_of(&answer.content, dialect)],
        "metadata": { "performative": answer.performative.name() },
    });
    reply["role"] = json!(role(dialect, false));
    if dialect == Dialect::V03 {
        reply["kind"] = json!("message");
    }
    reply
}

/// Who says something.
pub(super) const fn role(dialect: Dialect, is_user: bool) -> &'static str {
    match (dialect, is_user) {
        (Dialect::V10, true) => "ROLE_USER",
        (Dialect::V10, false) => "ROLE_AGENT",
        (Dialect::V03, true) => "user",
        (Dialect::V03, false) => "agent",
    }
}

/// A message of ours as A2A has it.
pub(crate) fn outgoing(message: &Message, dialect: Dialect) -> Value {
    let mut outgoing = json!({
        "messageId": message.id.to_string(),
        "role": role(dialect, true),
        "parts": [part_of(&message.content, dialect)],
        "metadata": { "performative": message.performative.name(), "sender": message.sender.to_string() },
    });
    if dialect == Dialect::V03 {
        outgoing["kind"] = json!("message");
    }
    if let Some(conversation) = &message.conversation {
        outgoing["contextId"] = json!(conversation.as_str());
    }
    outgoing
}

/// A content as a part of a message.
pub(super) fn part_of(content: &Content, dialect: Dialect) -> Value {
    let media_type = content.media_type.as_str();
    let json = content.media_type.is_json().then(|| content.read::<Value>()).flatten();
    match (json, std::str::from_utf8(&content.body), dialect) {
        // A protobuf value is any JSON; in 0.3 it is an object.
        (Some(value), _, Dialect::V10) => json!({ "data": value, "mediaType": media_type }),
        (Some(value @ Value::Object(_)), _, Dialect::V03) => json!({ "kind": "data", "data": value }),
        (_, Ok(text), Dialect::V10) => json!({ "text": text, "mediaType": media_type }),
        (_, Ok(text), Dialect::V03) => json!({ "kind": "text", "text": text }),
        (_, Err(_), Dialect::V10) => {
            json!({ "raw": BASE64_STANDARD.encode(&content.body), "mediaType": media_type })
        }
        (_, Err(_), Dialect::V03) => {
            let file = json!({ "bytes": BASE64_STANDARD.encode(&content.body), "mimeType": media_type });
            json!({ "kind": "file", "file": file })
        }
    }
}

/// What the parts of a message say, as one content: a single part as it is, several texts as one text, the rest as JSON.
pub(crate) fn content_of(parts: &Value) -> Content {
    let parts: &[Value] = parts.as_array().map_or(&[], Vec::as_slice);
    if let [part] = parts {
        if let Some(data) = part.get("data") {
            return Content::json(data);
        }
        let raw = part["raw"].as_str().or(part["file"]["bytes"].as_str());
        if let Some(body) = raw.and_then(|raw| BASE64_STANDARD.decode(raw).ok()) {
            let media_type = part["mediaType"].as_str().or(part["file"]["mimeType"].as_str());
            let media_type = media_type.and_then(|text| text.parse().ok()).unwrap_or(MediaType::OCTETS);
            return Content { media_type, body: body.into() };
        }
    }
    let texts: Vec<&str> = parts.iter().filter_map(|part| part["text"].as_str()).collect();
    if texts.len() == parts.len() { Content::text(texts.join("\n")) } else { Content::json(&parts) }
}

/// What a task came to; `None` while it goes on.
pub(crate) fn outcome_of(task: &Value) -> Option<(Performative, Content)> {
    let state = task["status"]["state"].as_str().unwrap_or_default();
    let state = state.trim_start_matches("TASK_STATE_").to_ascii_lowercase().replace('_', "-");
    let said = &task["status"]["message"]["parts"];
    match state.as_str() {
        "completed" => {
            let artifacts = task["artifacts"].as_array().into_iter().flatten();
            let parts: Vec<Value> = artifacts
                .flat_map(|artifact| artifact["parts"].as_array().cloned().unwrap_or_default())
                .collect();
            let parts = if parts.is_empty() { said.clone() } else { json!(parts) };
            Some((Performative::Inform, content_of(&parts)))
        }
        "failed" | "canceled" => Some((Performative::Failure, content_of(said))),
        "rejected" | "input-required" | "auth-required" => Some((Performative::Refuse, content_of(said))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{Address, Draft};

    #[test]
    fn parts_become_content_and_content_parts() {
        for (parts, media_type, body) in [
            (json!([{ "text": "a" }, { "kind": "text", "text": "b" }]), MediaType::TEXT, "a\nb"),
            (json!([{ "data": { "x": 1 } }]), MediaType::JSON, "{\"x\":1}"),
            (json!([{ "raw": "AP8=" }]), MediaType::OCTETS, ""),
            (json!([{ "text": "a" }, { "data": 1 }]), MediaType::JSON, "[{\"text\":\"a\"},{\"data\":1}]"),
        ] {
            let content = content_of(&parts);
            assert_eq!(content.media_type, media_type, "{parts}");
            if !body.is_empty() {
                assert_eq!(content.to_text(), body);
            }
        }
        let view = |content: &Content, dialect| part_of(content, dialect);
        assert_eq!(view(&Content::text("a"), Dialect::V03), json!({ "kind": "text", "text": "a" }));
        assert_eq!(
            view(&Content::json(&json!([1])), Dialect::V10),
            json!({ "data": [1], "mediaType": "application/json" })
        );
    }

    #[test]
    fn a_task_is_waited_for_until_it_is_over() {
        let task = |state: &str| json!({ "id": "t", "status": { "state": state, "message": { "parts": [{ "text": "why" }] } } });
        assert!(outcome_of(&task("TASK_STATE_WORKING")).is_none());
        assert!(outcome_of(&task("submitted")).is_none());
        for (state, performative) in [
            ("TASK_STATE_COMPLETED", Performative::Inform),
            ("failed", Performative::Failure),
            ("TASK_STATE_INPUT_REQUIRED", Performative::Refuse),
        ] {
            let (found, content) = outcome_of(&task(state)).unwrap();
            assert_eq!((found, content.to_text().as_ref()), (performative, "why"));
        }
        let done =
            json!({ "status": { "state": "completed" }, "artifacts": [{ "parts": [{ "text": "x" }] }] });
        assert_eq!(outcome_of(&done).unwrap().1, Content::text("x"));
    }

    #[test]
    fn what_is_sent_names_its_conversation() {
        let draft = Draft::new(Performative::Cfp, "a".parse::<Address>().unwrap())
            .text("x")
            .conversation(Label::of("c"));
        let message = draft.from("me".parse().unwrap());
        let sent = outgoing(&message, Dialect::V10);
        assert_eq!((&sent["contextId"], &sent["metadata"]["performative"]), (&json!("c"), &json!("cfp")));
        assert_eq!((&sent["role"], sent.get("kind")), (&json!("ROLE_USER"), None));
        let sent = outgoing(&message, Dialect::V03);
        assert_eq!((&sent["role"], &sent["kind"]), (&json!("user"), &json!("message")));
        assert_eq!(sent["parts"][0], json!({ "kind": "text", "text": "x" }));
    }
}
