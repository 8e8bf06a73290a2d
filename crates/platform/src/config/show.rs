//! Prints a configuration as TOML with the origin of every value.

use std::collections::BTreeMap;

use serde::Serialize;
use toml::de::{DeTable, DeValue};

use super::tree::{Lines, Origin, Step, dotted};

/// The configuration as TOML in the order of its type; `origin` is asked for each key that has a line.
pub(super) fn annotated<C: Serialize>(
    config: &C,
    origin: impl Fn(&str) -> Origin,
) -> Result<String, toml::ser::Error> {
    let text = toml::to_string(config)?;
    // The serializer keeps the order of the type but cannot write comments: they are put at the ends of the values
    // that its own output is read back to have.
    let Ok(table) = DeTable::parse(&text) else { return Ok(text) };
    let lines = Lines::new(&text);
    let mut comments: BTreeMap<usize, Origin> = BTreeMap::new();
    visit_table(table.get_ref(), &mut Vec::new(), &mut |path, end| {
        // Several values share a line where an array or inline table does: the first one that was set speaks.
        let slot = comments.entry(lines.line(end)).or_insert(Origin::Default);
        if *slot == Origin::Default {
            *slot = nearest_origin(path, &origin);
        }
    });
    let mut shown = String::with_capacity(text.len() * 2);
    for (index, line) in text.lines().enumerate() {
        shown.push_str(line);
        if let Some(source) = comments.get(&(index + 1)) {
            shown.push_str("  # ");
            shown.push_str(&source.to_string());
        }
        shown.push('\n');
    }
    Ok(shown)
}

fn visit_table(table: &DeTable<'_>, path: &mut Vec<Step>, visit: &mut impl FnMut(&[Step], usize)) {
    for (key, value) in table {
        path.push(Step::Key(key.get_ref().to_string()));
        visit_value(value.get_ref(), value.span().end, path, visit);
        path.pop();
    }
}

/// Calls `visit` with the path of every plain value and empty container, and the offset where it ends.
fn visit_value(
    value: &DeValue<'_>,
    end: usize,
    path: &mut Vec<Step>,
    visit: &mut impl FnMut(&[Step], usize),
) {
    match value {
        // An empty table is a header of nothing; a comment on it would say where nothing came from.
        DeValue::Table(table) => visit_table(table, path, visit),
        DeValue::Array(items) if !items.is_empty() => {
            for (index, item) in items.iter().enumerate() {
                path.push(Step::Index(index));
                visit_value(item.get_ref(), item.span().end, path, visit);
                path.pop();
            }
        }
        _ => visit(path, end),
    }
}

/// The origin of a value, or of the array that holds it.
fn nearest_origin(path: &[Step], origin: &impl Fn(&str) -> Origin) -> Origin {
    let mut path = path;
    loop {
        let found = origin(&dotted(path));
        match path {
            [rest @ .., Step::Index(_)] if found == Origin::Default => path = rest,
            _ => return found,
        }
    }
}
