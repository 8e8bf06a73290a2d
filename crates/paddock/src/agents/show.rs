//! Agents for a person.

use serde_json::Value;

use crate::table::{Side, Table, ago, is_coloured, printable, terminal_width, text};

fn number(row: &Value, member: &str) -> String {
    row[member].as_u64().unwrap_or_default().to_string()
}

pub(super) fn agents(page: &Value) -> Vec<String> {
    let mut table = Table::new(&[
        ("NAME", Side::Left),
        ("KIND", Side::Left),
        ("VERSION", Side::Right),
        ("STATUS", Side::Left),
        ("WAITING", Side::Right),
        ("HANDLED", Side::Right),
        ("FAILED", Side::Right),
        ("RESTARTS", Side::Right),
        ("BUSY", Side::Right),
        ("WHAT", Side::Left),
    ]);
    for agent in page["items"].as_array().into_iter().flatten() {
        let busy = agent["busy_ms"].as_f64().unwrap_or_default() / 1_000.0;
        let status = text(agent, "status");
        let status = if agent["awake"] == true || status != "active" { status } else { "asleep".to_owned() };
        table.row(vec![
            text(agent, "name"),
            text(agent, "kind"),
            number(agent, "version"),
            status,
            number(agent, "waiting"),
            number(agent, "handled"),
            number(agent, "failed"),
            number(agent, "restarts"),
            format!("{busy:.1}s"),
            text(agent, "description"),
        ]);
    }
    table.lines(terminal_width(), is_coloured())
}

pub(super) fn agent(shown: &Value) -> Vec<String> {
    let agent = &shown["agent"];
    let versions: Vec<String> = shown["versions"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|version| format!("{} ({})", version["version"], ago(version["created_at"].as_str())))
        .collect();
    let mut lines = vec![
        format!(
            "{}@{}  {}  {}",
            text(agent, "name"),
            agent["version"],
            text(agent, "kind"),
            text(agent, "status")
        ),
        format!(
            "waiting {}  handled {}  failed {}  sent {}  restarts {}",
            agent["waiting"], agent["handled"], agent["failed"], agent["sent"], agent["restarts"]
        ),
    ];
    if !versions.is_empty() {
        lines.push(format!("versions {}", versions.join(", ")));
    }
    lines.push(format!("{:#}", shown["definition"]));
    lines
}

/// The content of a message: text as it is, the rest as JSON.
fn content(message: &Value) -> String {
    match &message["content"] {
        Value::String(text) => printable(text),
        Value::Null => match message["content_base64"].as_str() {
            Some(base64) if !base64.is_empty() => format!("{} in base64", text(message, "content_type")),
            _ => String::new(),
        },
        value => value.to_string(),
    }
}

pub(super) fn answer(answer: &Value) -> Vec<String> {
    let message = &answer["answer"];
    let mut lines: Vec<String> = match &message["content"] {
        Value::String(text) => text.lines().map(printable).collect(),
        Value::Null => vec![content(message)],
        value => vec![format!("{value:#}")],
    };
    lines.push(format!("conversation {}", text(answer, "conversation")));
    lines
}

pub(super) fn conversations(answer: &Value) -> Vec<String> {
    let mut table = Table::new(&[
        ("CONVERSATION", Side::Left),
        ("ENTRIES", Side::Right),
        ("BEGAN", Side::Right),
        ("LAST", Side::Right),
    ]);
    for conversation in answer["conversations"].as_array().into_iter().flatten() {
        table.row(vec![
            text(conversation, "id"),
            number(conversation, "entries"),
            ago(conversation["began_at"].as_str()),
            ago(conversation["last_at"].as_str()),
        ]);
    }
    table.lines(terminal_width(), is_coloured())
}

pub(super) fn timeline(timeline: &Value) -> Vec<String> {
    let mut table =
        Table::new(&[("AT", Side::Left), ("WHAT", Side::Left), ("WHO", Side::Left), ("MORE", Side::Left)]);
    for entry in timeline["entries"].as_array().into_iter().flatten() {
        let (kind, what) = (text(entry, "kind"), &entry["entry"]);
        let (what, who, more) = if kind == "sent" {
            let to: Vec<&str> =
                what["receivers"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
            (
                text(what, "performative"),
                format!("{} → {}", text(what, "sender"), to.join(", ")),
                content(what),
            )
        } else {
            (kind, text(entry, "agent"), what.to_string())
        };
        table.row(vec![text(entry, "at"), what, who, more]);
    }
    table.lines(terminal_width(), is_coloured())
}

pub(super) fn approvals(answer: &Value) -> Vec<String> {
    let mut table = Table::new(&[
        ("ID", Side::Left),
        ("SINCE", Side::Right),
        ("TOOL", Side::Left),
        ("INPUT", Side::Left),
    ]);
    for approval in answer["approvals"].as_array().into_iter().flatten() {
        table.row(vec![
            text(approval, "id"),
            ago(approval["since"].as_str()),
            text(approval, "tool"),
            approval["input"].to_string(),
        ]);
    }
    table.lines(terminal_width(), is_coloured())
}

pub(super) fn dead_letters(answer: &Value) -> Vec<String> {
    let mut table = Table::new(&[
        ("AT", Side::Right),
        ("REASON", Side::Left),
        ("FOR", Side::Left),
        ("FROM", Side::Left),
        ("WHY", Side::Left),
    ]);
    for letter in answer["dead_letters"].as_array().into_iter().flatten() {
        table.row(vec![
            ago(letter["at"].as_str()),
            text(letter, "reason"),
            text(letter, "receiver"),
            text(&letter["message"], "sender"),
            text(letter, "detail"),
        ]);
    }
    table.lines(terminal_width(), is_coloured())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_timeline_shows_who_said_what_to_whom() {
        let sent = json!({ "performative": "cfp", "sender": "caller:x", "receivers": ["a", "b"], "content": { "n": 1 } });
        let entries = json!([
            { "number": 1, "at": "2026-11-30T12:00:00Z", "kind": "sent", "entry": sent },
            { "number": 2, "at": "2026-11-30T12:00:01Z", "kind": "tool", "agent": "a", "entry": { "tool": "t" } },
        ]);
        let lines = timeline(&json!({ "id": "c", "entries": entries }));
        assert!(
            lines[1].contains("cfp")
                && lines[1].contains("caller:x → a, b")
                && lines[1].contains("{\"n\":1}")
        );
        assert!(lines[2].contains("tool") && lines[2].contains("{\"tool\":\"t\"}"));
    }
}
