//! What is printed of the server's answers.

use std::fmt::Write;

use serde_json::Value;

use crate::table::{Side, Table, is_coloured, printable, text};

fn number(row: &Value, member: &str) -> String {
    row[member].as_u64().unwrap_or_default().to_string()
}

fn millis(row: &Value, member: &str) -> String {
    row[member].as_f64().map_or_else(|| "-".to_owned(), |millis| format!("{millis:.1}"))
}

fn dollars(value: &Value) -> String {
    format!("${:.6}", value.as_f64().unwrap_or_default())
}

fn rows(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// Credentials and models, and budgets below.
pub(super) fn status(status: &Value, width: Option<usize>) -> Vec<String> {
    let mut lines = vec![format!("{} calls in flight", status["in_flight"].as_u64().unwrap_or_default())];
    lines.extend(breakers(&status["lanes"], width));
    let mut budgets = Table::new(&[
        ("BUDGET", Side::Left),
        ("DAY", Side::Right),
        ("OF", Side::Right),
        ("MONTH", Side::Right),
        ("OF", Side::Right),
    ]);
    for row in rows(&status["budgets"]) {
        let limit = |value: &Value| if value.is_null() { "-".to_owned() } else { dollars(value) };
        budgets.row(vec![
            text(row, "name"),
            dollars(&row["day_spent_usd"]),
            limit(&row["day_hard_usd"]),
            dollars(&row["month_spent_usd"]),
            limit(&row["month_hard_usd"]),
        ]);
    }
    if !budgets.is_empty() {
        lines.push(String::new());
        lines.extend(budgets.lines(width, is_coloured()));
    }
    lines
}

/// Credentials and models.
pub(super) fn breakers(lanes: &Value, width: Option<usize>) -> Vec<String> {
    let mut table = Table::new(&[
        ("PROVIDER", Side::Left),
        ("MODEL", Side::Left),
        ("CREDENTIAL", Side::Left),
        ("STATE", Side::Left),
        ("CALLS", Side::Right),
        ("FAILED", Side::Right),
        ("NOW", Side::Right),
        ("FIRST MS", Side::Right),
    ]);
    for row in rows(lanes) {
        table.row(vec![
            text(row, "provider"),
            text(row, "model"),
            text(row, "credential"),
            state(row),
            number(row, "requests"),
            number(row, "failures"),
            number(row, "in_flight"),
            millis(row, "first_token_ms"),
        ]);
    }
    if table.is_empty() {
        return vec!["no model was asked for yet, and no route is configured".to_owned()];
    }
    table.lines(width, is_coloured())
}

/// The state that matters most, and for how long.
fn state(row: &Value) -> String {
    let seconds = |member: &str| row[member].as_f64();
    match (row["breaker"].as_str(), seconds("open_for_s"), seconds("resting_for_s")) {
        (Some("open"), None, _) => "open by hand".to_owned(),
        (Some("open"), Some(left), _) => format!("open {left:.0}s"),
        (_, _, Some(left)) if left > 0.0 => format!("resting {left:.0}s"),
        _ if row["ejected"] == true => "left out".to_owned(),
        (Some(state), _, _) => state.to_owned(),
        _ => String::new(),
    }
}

/// Configured routes.
pub(super) fn routes(routes: &Value, width: Option<usize>) -> Vec<String> {
    let mut table = Table::new(&[("MODEL", Side::Left), ("STRATEGY", Side::Left), ("TARGETS", Side::Left)]);
    for row in rows(routes) {
        let list = |member: &str| -> Vec<String> {
            rows(&row[member]).filter_map(Value::as_str).map(str::to_owned).collect()
        };
        let mut targets = list("targets").join(", ");
        let fallbacks = list("fallbacks");
        if !fallbacks.is_empty() {
            let _ = write!(targets, ", then {}", fallbacks.join(", "));
        }
        let condition = if row["conditional"] == true { " (when)" } else { "" };
        table.row(vec![text(row, "model") + condition, text(row, "strategy"), targets]);
    }
    if table.is_empty() {
        return vec!["no routes are configured; models that providers list are served without".to_owned()];
    }
    table.lines(width, is_coloured())
}

/// Where a call would go.
pub(super) fn explanation(explained: &Value, width: Option<usize>) -> Vec<String> {
    let mut lines = vec![format!(
        "{} by strategy {}, about {} tokens in and {} out",
        printable(&text(explained, "model")),
        text(explained, "strategy"),
        number(explained, "tokens_in"),
        number(explained, "tokens_out")
    )];
    let mut table = Table::new(&[
        ("ROUTE", Side::Left),
        ("PLACE", Side::Left),
        ("CREDENTIAL", Side::Left),
        ("SCORE", Side::Right),
        ("COST", Side::Right),
        ("FIRST MS", Side::Right),
        ("REFUSED", Side::Left),
    ]);
    for row in rows(&explained["considered"]) {
        table.row(vec![
            text(row, "route"),
            format!("{}/{}", text(row, "provider"), text(row, "model")),
            text(row, "credential"),
            row["score"].as_f64().map_or_else(|| "-".to_owned(), |score| format!("{score:.3}")),
            dollars(&row["cost_usd"]),
            millis(row, "first_token_ms"),
            row["refused"].as_str().unwrap_or("-").to_owned(),
        ]);
    }
    lines.extend(table.lines(width, is_coloured()));
    lines
}

/// What was used.
pub(super) fn usage(report: &Value, width: Option<usize>) -> Vec<String> {
    let mut table = Table::new(&[
        ("GROUP", Side::Left),
        ("CALLS", Side::Right),
        ("FAILED", Side::Right),
        ("CACHED", Side::Right),
        ("TOKENS IN", Side::Right),
        ("TOKENS OUT", Side::Right),
        ("COST", Side::Right),
    ]);
    for row in rows(&report["rows"]) {
        table.row(vec![
            text(row, "group"),
            number(row, "requests"),
            number(row, "failures"),
            number(row, "cached"),
            number(row, "input_tokens"),
            number(row, "output_tokens"),
            dollars(&row["cost_usd"]),
        ]);
    }
    let mut lines = table.lines(width, is_coloured());
    lines.push(format!(
        "{} from {} to {}",
        dollars(&report["cost_usd"]),
        text(report, "from"),
        text(report, "to")
    ));
    lines
}

/// What a model answered.
pub(super) fn completion(completion: &Value, _: Option<usize>) -> Vec<String> {
    // A model may write anything, a terminal's commands too; line breaks are wanted.
    text(completion, "text").lines().map(printable).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_state_that_matters_most_is_shown() {
        let lane = |breaker: &str, open: Value, resting: f64, ejected: bool| {
            state(&json!({
                "breaker": breaker, "open_for_s": open, "resting_for_s": resting, "ejected": ejected,
            }))
        };
        assert_eq!(lane("open", json!(118.7), 0.0, false), "open 119s");
        assert_eq!(lane("open", Value::Null, 3.0, false), "open by hand");
        assert_eq!(lane("closed", json!(0.0), 3.2, true), "resting 3s");
        assert_eq!(lane("closed", json!(0.0), 0.0, true), "left out");
        assert_eq!(lane("half-open", json!(0.0), 0.0, false), "half-open");
    }

    #[test]
    fn answers_of_models_cannot_command_the_terminal() {
        let lines = completion(&json!({"text": "one\u{1b}[2J\ntwo"}), None);
        assert_eq!(lines, ["one [2J", "two"]);
    }
}
