//! Missions for a person.

use serde_json::{Map, Value};

use crate::table::{Side, Table, ago, is_coloured, printable, terminal_width, text};

pub(super) fn definitions(answer: &Value) -> Vec<String> {
    let mut table = Table::new(&[
        ("NAME", Side::Left),
        ("VERSION", Side::Right),
        ("STEPS", Side::Right),
        ("STORED", Side::Right),
        ("WHAT", Side::Left),
    ]);
    for stored in answer["definitions"].as_array().into_iter().flatten() {
        let definition = &stored["definition"];
        table.row(vec![
            text(stored, "name"),
            stored["version"].to_string(),
            definition["steps"].as_array().map_or(0, Vec::len).to_string(),
            ago(stored["created_at"].as_str()),
            text(definition, "description"),
        ]);
    }
    table.lines(terminal_width(), is_coloured())
}

pub(super) fn missions(page: &Value) -> Vec<String> {
    let mut table = Table::new(&[
        ("ID", Side::Left),
        ("STATE", Side::Left),
        ("NAME", Side::Left),
        ("STEPS", Side::Right),
        ("AGE", Side::Right),
        ("NEWS", Side::Left),
    ]);
    for mission in page["items"].as_array().into_iter().flatten() {
        let asks = mission["approvals_open"].as_u64().unwrap_or_default();
        let news = if asks > 0 { "waits for a person".to_owned() } else { why(mission) };
        table.row(vec![
            text(mission, "id"),
            text(mission, "state"),
            format!("{}@{}", text(mission, "name"), mission["version"]),
            format!("{}/{}", mission["steps_done"], mission["steps_total"]),
            ago(mission["created_at"].as_str()),
            news,
        ]);
    }
    table.lines(terminal_width(), is_coloured())
}

pub(super) fn approvals(answer: &Value) -> Vec<String> {
    let mut table = Table::new(&[
        ("MISSION", Side::Left),
        ("STEP", Side::Left),
        ("ASKED", Side::Right),
        ("UNTIL", Side::Left),
        ("WHAT", Side::Left),
    ]);
    for approval in answer["approvals"].as_array().into_iter().flatten() {
        table.row(vec![
            text(approval, "mission"),
            text(approval, "step"),
            ago(approval["asked_at"].as_str()),
            text(approval, "deadline_at"),
            text(approval, "message"),
        ]);
    }
    table.lines(terminal_width(), is_coloured())
}

/// Why a mission failed, in a line.
pub(super) fn why(mission: &Value) -> String {
    let error = &mission["error"];
    if !error.is_object() {
        return String::new();
    }
    let step = error["step"].as_str().map_or(String::new(), |step| format!("{step}: "));
    printable(&format!("{step}{}: {}", text(error, "class"), text(error, "message")))
}

pub(super) fn mission(mission: &Value) -> Vec<String> {
    let mut lines = vec![
        format!("id        {}", text(mission, "id")),
        format!("mission   {}@{}", text(mission, "name"), mission["version"]),
        format!("state     {}", text(mission, "state")),
        format!("accepted  {}", text(mission, "created_at")),
    ];
    for (name, value) in [
        ("ended", text(mission, "finished_at")),
        ("until", text(mission, "deadline_at")),
        ("why", why(mission)),
    ] {
        if !value.is_empty() {
            lines.push(format!("{name:<10}{value}"));
        }
    }
    if mission["compensation_incomplete"] == true {
        lines.push("warning   something that was done could not be undone".to_owned());
    }
    if !mission["output"].is_null() {
        lines.push(format!("output    {}", printable(&mission["output"].to_string())));
    }
    let mut table = Table::new(&[
        ("STEP", Side::Left),
        ("STATE", Side::Left),
        ("WHAT", Side::Left),
        ("AFTER", Side::Left),
        ("NEWS", Side::Left),
    ]);
    for step in mission["steps"].as_array().into_iter().flatten() {
        let needs: Vec<&str> =
            step["needs"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let what = [text(step, "kind"), text(step, "target")].join(" ");
        table.row(vec![text(step, "name"), text(step, "state"), what, needs.join(", "), step_news(step)]);
    }
    lines.push(String::new());
    lines.extend(table.lines(terminal_width(), is_coloured()));
    lines
}

/// The last thing that is known of a step, in a few words.
fn step_news(step: &Value) -> String {
    if step["state"] == "waiting" {
        return text(&step["approval"], "message");
    }
    if step["error"].is_object() {
        return format!("{}: {}", text(&step["error"], "class"), text(&step["error"], "message"));
    }
    let items = &step["items"];
    if items.is_object() {
        let done = items["succeeded"].as_u64().unwrap_or_default()
            + items["compensated"].as_u64().unwrap_or_default();
        return format!("{done} of {} done, {} failed", items["total"], items["failed"]);
    }
    text(&step["compensation"], "state")
}

/// What has changed since it was told last; `told` remembers it.
pub(super) fn news(mission: &Value, told: &mut Map<String, Value>) -> Vec<String> {
    let mut lines = Vec::new();
    for step in mission["steps"].as_array().into_iter().flatten() {
        let state = text(step, "state");
        let line =
            printable(format!("{:<20} {state:<12} {}", text(step, "name"), step_news(step)).trim_end());
        let is_new = told.get(&text(step, "name")).and_then(Value::as_str) != Some(&line);
        if is_new && !matches!(state.as_str(), "pending" | "evaluating") {
            lines.push(line.clone());
            told.insert(text(step, "name"), line.into());
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn news_are_told_once() {
        let mission = json!({"steps": [
            {"name": "look", "state": "running", "items": {"total": 3, "succeeded": 1, "compensated": 0, "failed": 0}},
            {"name": "sure", "state": "pending"},
        ]});
        let mut told = Map::new();
        let lines = news(&mission, &mut told);
        assert_eq!(lines.len(), 1);
        assert!(lines[0].contains("1 of 3 done"), "{lines:?}");
        assert!(news(&mission, &mut told).is_empty());
    }

    #[test]
    fn a_failure_says_where() {
        let mission = json!({"error": {"class": "rejected", "message": "rejected by local", "step": "sure"}});
        assert_eq!(why(&mission), "sure: rejected: rejected by local");
    }
}
