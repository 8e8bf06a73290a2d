//! Answers of the registry, for a person.

use serde_json::Value;

use crate::{
    cli::say,
    table::{Side, Table, is_coloured, printable, terminal_width},
};

/// A member as text.
pub(super) fn text<'v>(value: &'v Value, member: &str) -> &'v str {
    value[member].as_str().unwrap_or_default()
}

pub(super) fn number(value: &Value, member: &str) -> String {
    value[member].as_u64().unwrap_or_default().to_string()
}

pub(super) fn items<'v>(value: &'v Value, member: &str) -> &'v [Value] {
    value[member].as_array().map_or(&[], Vec::as_slice)
}

pub(super) fn print(table: &Table) {
    for line in table.lines(terminal_width(), is_coloured()) {
        say(format_args!("{line}"));
    }
}

/// Seconds of a time in RFC 3339 are enough.
fn moment(value: &Value, member: &str) -> String {
    let text = text(value, member);
    let whole = text.split('.').next().unwrap_or_default().trim_end_matches('Z').replace('T', " ");
    if whole.is_empty() { "never".to_owned() } else { whole }
}

pub(super) fn accepted(answer: &Value) {
    for source in items(answer, "sources") {
        say(format_args!("{} will be read", text(source, "source")));
    }
}

pub(super) fn status(status: &Value) {
    sources(status);
    let mut table = Table::new(&[
        ("VIEW", Side::Left),
        ("SERVERS", Side::Right),
        ("VERSIONS", Side::Right),
        ("OPEN TO", Side::Left),
        ("SOURCES", Side::Left),
    ]);
    for view in items(status, "views") {
        let sources: Vec<&str> = items(view, "sources").iter().filter_map(Value::as_str).collect();
        let name = if view["is_default"] == true {
            format!("{} *", text(view, "name"))
        } else {
            text(view, "name").to_owned()
        };
        let open_to = if view["public"] == true { "everybody" } else { "keys" };
        table.row(vec![
            name,
            number(view, "servers"),
            number(view, "entries"),
            open_to.to_owned(),
            sources.join(", "),
        ]);
    }
    say(format_args!(""));
    print(&table);
}

pub(super) fn sources(status: &Value) {
    let mut table = Table::new(&[
        ("SOURCE", Side::Left),
        ("KIND", Side::Left),
        ("STATE", Side::Left),
        ("ENTRIES", Side::Right),
        ("KEPT OUT", Side::Right),
        ("MARKED", Side::Right),
        ("LAST SYNC", Side::Left),
        ("MS", Side::Right),
    ]);
    for source in items(status, "sources") {
        table.row(vec![
            text(source, "name").to_owned(),
            text(source, "kind").to_owned(),
            text(source, "phase").to_owned(),
            number(source, "entries"),
            number(source, "quarantined"),
            number(source, "flawed"),
            moment(source, "last_sync"),
            format!("{:.1}", source["took_ms"].as_f64().unwrap_or_default()),
        ]);
    }
    print(&table);
    for source in items(status, "sources").iter().filter(|source| source["error"].is_string()) {
        let failures = source["failures"].as_u64().unwrap_or_default();
        let error = printable(text(source, "error"));
        say(format_args!("{} failed {failures} times: {error}", text(source, "name")));
    }
}

pub(super) fn hits(found: &Value) {
    let mut table =
        Table::new(&[("SERVER", Side::Left), ("VERSION", Side::Left), ("WHAT IT DOES", Side::Left)]);
    for hit in items(found, "hits") {
        table.row(vec![
            text(hit, "name").to_owned(),
            text(hit, "version").to_owned(),
            text(hit, "description").to_owned(),
        ]);
    }
    if table.is_empty() {
        say(format_args!("nothing is found"));
        return;
    }
    print(&table);
    let (shown, total) = (items(found, "hits").len() as u64, found["total"].as_u64().unwrap_or_default());
    if total > shown {
        say(format_args!("{} more", total - shown));
    }
}

pub(super) fn quarantine(quarantine: &Value) {
    for entry in items(quarantine, "entries") {
        let name = format!("{}@{}", text(entry, "name"), text(entry, "version"));
        let name = if name == "@" { "an entry without a name".to_owned() } else { printable(&name) };
        let fate = if entry["served"] == true { "marked" } else { "kept out" };
        say(format_args!("{name} of {}: {fate}", text(entry, "source")));
        for issue in items(entry, "issues") {
            let path = text(issue, "path");
            let path = if path.is_empty() { "entry" } else { path };
            say(format_args!(
                "  {path} {} ({})",
                printable(text(issue, "message")),
                text(issue, "reference")
            ));
        }
    }
    let (kept_out, marked) = (number(quarantine, "kept_out"), number(quarantine, "marked"));
    say(format_args!("{kept_out} entries are kept out, {marked} are served and marked"));
}

pub(super) fn history(history: &Value) {
    let syncs = items(history, "syncs");
    if syncs.is_empty() {
        say(format_args!("{} has not changed yet", text(history, "source")));
    }
    for sync in syncs {
        let at = moment(sync, "started_at");
        if let Some(error) = sync["error"].as_str() {
            say(format_args!("{at} failed: {}", printable(error)));
            continue;
        }
        let (added, changed, removed) =
            (number(sync, "added"), number(sync, "changed"), number(sync, "removed"));
        say(format_args!(
            "{at} {added} added, {changed} changed, {removed} removed, {} ms",
            number(sync, "took_ms")
        ));
        for (mark, member) in [('+', "added_names"), ('~', "changed_names"), ('-', "removed_names")] {
            for name in items(sync, member).iter().filter_map(Value::as_str).take(10) {
                say(format_args!("  {mark} {}", printable(name)));
            }
        }
    }
}
