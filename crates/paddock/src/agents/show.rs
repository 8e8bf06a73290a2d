//! Agents for a person.

use serde_json::Value;

use crate::table::{Side, Table, ago, is_coloured, printable, terminal_width, text};

fn number(row: &Value, member: &str) -> String {
    row[member].as_u64().unwrap_or_default().to_string()
}

/// A table, or what to say if there is nothing in it.
fn lines(table: &Table, nothing: &str) -> Vec<String> {
    if table.is_empty() { vec![nothing.to_owned()] } else { table.lines(terminal_width(), is_coloured()) }
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
    lines(&table, "no agent is deployed; `paddock agents deploy FILE` deploys one")
}

pub(super) fn nodes(shown: &Value) -> Vec<String> {
    let mut table = Table::new(&[
        ("NAME", Side::Left),
        ("AGENTS", Side::Right),
        ("AWAKE", Side::Right),
        ("RENEWED", Side::Right),
        ("LEFT", Side::Right),
        ("SINCE", Side::Left),
        ("LABELS", Side::Left),
        ("NODE", Side::Left),
    ]);
    let seconds = |row: &Value, member: &str| {
        if shown["shared"] == true {
            format!("{:.1}s", row[member].as_f64().unwrap_or_default() / 1_000.0)
        } else {
            "-".to_owned()
        }
    };
    for node in shown["nodes"].as_array().into_iter().flatten() {
        let labels = node["labels"].as_object().into_iter().flatten();
        let labels: Vec<String> =
            labels.map(|(name, value)| format!("{name}={}", value.as_str().unwrap_or_default())).collect();
        let here = if node["this"] == true { "*" } else { "" };
        table.row(vec![
            format!("{}{here}", text(node, "name")),
            number(node, "agents"),
            number(node, "awake"),
            seconds(node, "renewed_ms"),
            seconds(node, "lease_left_ms"),
            ago(node["started_at"].as_str()),
            labels.join(" "),
            text(node, "node"),
        ]);
    }
    let mut lines = table.lines(terminal_width(), is_coloured());
    if shown["shared"] == true && shown["bus_up"] != true {
        lines.push("the bus is gone: messages in memory do not reach other servers".to_owned());
    }
    lines
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
    lines(&table, "no conversation is on record")
}

pub(super) fn timeline(timeline: &Value) -> Vec<String> {
    let mut table =
        Table::new(&[("AT", Side::Left), ("WHAT", Side::Left), ("WHO", Side::Left), ("MORE", Side::Left)]);
    for entry in timeline["entries"].as_array().into_iter().flatten() {
        let (kind, what) = (text(entry, "kind"), &entry["entry"]);
        let (what, who, more) = if kind == "sent" {
            let to: Vec<String> = what["receivers"].as_array().into_iter().flatten().map(address).collect();
            let who = format!("{} → {}", address(&what["sender"]), to.join(", "));
            (text(what, "performative"), who, content(what))
        } else {
            let more = happened(&kind, what);
            (kind, text(entry, "agent"), more)
        };
        table.row(vec![clock(&text(entry, "at")), what, who, more]);
    }
    lines(&table, "nothing more happened")
}

/// An address; of the long ids of those who wait for one answer, the end tells them apart.
fn address(address: &Value) -> String {
    let text = address.as_str().unwrap_or_default();
    // Those who hear what is told on the way have a name that says so.
    match text.strip_prefix("caller:").map(|id| id.strip_suffix(".live").unwrap_or(id)) {
        Some(id) if id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()) => {
            format!("caller:…{}", &id[26..])
        }
        _ => text.to_owned(),
    }
}

/// The time of day of a moment, to the millisecond.
fn clock(at: &str) -> String {
    let time = at.split_once('T').map_or(at, |(_, time)| time);
    time.trim_end_matches('Z').chars().take("12:00:00.000".len()).collect()
}

/// What an entry that is no message says, without the words that its kind implies.
fn happened(kind: &str, what: &Value) -> String {
    let took = || what["duration_ms"].as_u64().map(|took| format!("{took} ms")).unwrap_or_default();
    match kind {
        "model" => {
            format!("{}  step {}  {} tokens  {}", text(what, "model"), what["step"], what["tokens"], took())
        }
        "tool" => {
            let error = what["error"].as_str().map(|error| format!("  failed: {error}")).unwrap_or_default();
            format!("{}  {}{error}  {}", text(what, "tool"), took(), what["input"])
        }
        "failed" => format!("attempt {}: {}", what["attempt"], text(what, "detail")),
        "dead" => format!("{}: {}", text(what, "reason"), text(what, "detail")),
        "approval" => match what["approved"].as_bool() {
            None => format!("{} waits  {}  {}", text(what, "tool"), text(what, "id"), what["input"]),
            Some(approved) => {
                let decided = if approved { "approved" } else { "rejected" };
                format!("{} {decided}  {}", text(what, "tool"), text(what, "reason"))
            }
        },
        _ => {
            let members = what.as_object().into_iter().flatten().filter(|(_, value)| !value.is_null());
            let said = members.map(|(name, value)| {
                format!("{name} {}", value.as_str().map_or_else(|| value.to_string(), str::to_owned))
            });
            said.collect::<Vec<_>>().join("  ")
        }
    }
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
    lines(&table, "nothing waits for approval")
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
    lines(&table, "every message was handled")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_timeline_shows_who_said_what_to_whom() {
        let caller = "caller:01a22d8e78e47707b5d52f223d4f7cd8";
        let sent = json!({ "performative": "cfp", "sender": caller, "receivers": ["a", "b"], "content": { "n": 1 } });
        let entries = json!([
            { "number": 1, "at": "2026-11-30T12:00:00Z", "kind": "sent", "entry": sent },
            { "number": 2, "at": "2026-11-30T12:00:01.0129Z", "kind": "tool", "agent": "a",
                "entry": { "tool": "t", "input": { "x": 1 }, "duration_ms": 7, "error": "no" } },
            { "number": 3, "at": "2026-11-30T12:00:02Z", "kind": "dead", "agent": "a",
                "entry": { "reason": "full", "detail": "its mailbox is full" } },
        ]);
        let lines = timeline(&json!({ "id": "c", "entries": entries }));
        assert!(
            lines[1].starts_with("12:00:00 ")
                && lines[1].contains("cfp")
                && lines[1].contains("caller:…4f7cd8 → a, b")
                && lines[1].contains("{\"n\":1}")
        );
        assert!(lines[2].starts_with("12:00:01.012  tool"), "{}", lines[2]);
        assert!(lines[2].ends_with("t  7 ms  failed: no  {\"x\":1}"), "{}", lines[2]);
        assert!(lines[3].ends_with("full: its mailbox is full"), "{}", lines[3]);
    }
}
