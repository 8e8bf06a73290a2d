//! Tables for a terminal: columns as wide as they need to be, lines as long as they may be.

use std::{
    fmt::Write as _,
    io::{IsTerminal, Write as _},
};

use jiff::{SpanRound, Timestamp, Unit};
use serde_json::Value;

/// Which side the cells of a column keep to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Left,
    Right,
}

/// A table with a heading.
#[derive(Debug)]
pub(crate) struct Table {
    columns: Vec<(&'static str, Side)>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new(columns: &[(&'static str, Side)]) -> Self {
        Self { columns: columns.to_vec(), rows: Vec::new() }
    }

    pub(crate) fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The lines; none is longer than `width`, if there is one. The last column gives way.
    pub(crate) fn lines(&self, width: Option<usize>, bold: bool) -> Vec<String> {
        let heading: Vec<String> = self.columns.iter().map(|(name, _)| (*name).to_owned()).collect();
        let widths: Vec<usize> = (0..self.columns.len())
            .map(|column| {
                let cells = std::iter::once(&heading).chain(&self.rows).filter_map(|row| row.get(column));
                cells.map(|cell| cell.chars().count()).max().unwrap_or_default()
            })
            .collect();
        let mut lines: Vec<String> = std::iter::once(&heading)
            .chain(&self.rows)
            .map(|row| cut(&self.line(row, &widths), width))
            .collect();
        if bold && let Some(first) = lines.first_mut() {
            *first = format!("\u{1b}[1m{first}\u{1b}[0m");
        }
        lines
    }

    fn line(&self, row: &[String], widths: &[usize]) -> String {
        let mut line = String::new();
        for (index, cell) in row.iter().enumerate() {
            let width = widths.get(index).copied().unwrap_or_default();
            let cell = printable(cell);
            let _ = match self.columns.get(index) {
                Some((_, Side::Right)) => write!(line, "{cell:>width$}  "),
                _ => write!(line, "{cell:<width$}  "),
            };
        }
        line.truncate(line.trim_end().len());
        line
    }
}

/// A page's title may hold anything, a terminal's commands too.
pub(crate) fn printable(text: &str) -> String {
    text.chars().map(|character| if character.is_control() { ' ' } else { character }).collect()
}

fn cut(line: &str, width: Option<usize>) -> String {
    match width {
        Some(width) if line.chars().count() > width => {
            let mut cut: String = line.chars().take(width.saturating_sub(1)).collect();
            cut.push('…');
            cut
        }
        _ => line.to_owned(),
    }
}

/// How many columns the terminal on standard output has; none if there is no terminal.
pub(crate) fn terminal_width() -> Option<usize> {
    if !std::io::stdout().is_terminal() {
        return None;
    }
    let size = rustix::termios::tcgetwinsize(std::io::stdout()).ok()?;
    Some(usize::from(size.ws_col)).filter(|width| *width > 0)
}

/// Whether a person who wants colours looks.
pub(crate) fn is_coloured() -> bool {
    std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Draws over what was drawn before; gives how many lines there are now. What does not fit the screen is left out: a
/// terminal that scrolls cannot be drawn over.
pub(crate) fn draw(lines: &[String], drawn: usize) -> usize {
    let height = rustix::termios::tcgetwinsize(std::io::stdout()).map_or(24, |size| usize::from(size.ws_row));
    let shown = lines.len().min(height.saturating_sub(1).max(2));
    let mut out = std::io::stdout().lock();
    if drawn > 0 {
        let _ = write!(out, "\u{1b}[{drawn}A");
    }
    for line in &lines[..shown] {
        let _ = writeln!(out, "\u{1b}[2K{line}");
    }
    let _ = write!(out, "\u{1b}[J");
    let _ = out.flush();
    shown
}

/// A count with its noun.
pub(crate) fn counted(count: u64, what: &str) -> String {
    let ending = if count == 1 { "" } else { "s" };
    format!("{count} {what}{ending}")
}

/// A member of a row that is text.
pub(crate) fn text(row: &Value, member: &str) -> String {
    row[member].as_str().unwrap_or_default().to_owned()
}

/// How long ago, in the largest unit that says enough.
pub(crate) fn ago(time: Option<&str>) -> String {
    let Some(time) = time.and_then(|time| time.parse::<Timestamp>().ok()) else { return "-".to_owned() };
    let span = Timestamp::now().since(time).and_then(|span| {
        let unit = match span.get_seconds() {
            ..120 => Unit::Second,
            120..7200 => Unit::Minute,
            _ => Unit::Hour,
        };
        span.round(SpanRound::new().smallest(unit).largest(Unit::Hour))
    });
    span.map_or_else(|_| "-".to_owned(), |span| format!("{span:#}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let mut table = Table::new(&[("ID", Side::Left), ("MB", Side::Right), ("TITLE", Side::Left)]);
        table.row(vec!["tab_1".to_owned(), "7.5".to_owned(), "Kettles\u{1b}[2J and pots".to_owned()]);
        table.row(vec!["tab_22".to_owned(), "112.0".to_owned(), String::new()]);
        table
    }

    #[test]
    fn columns_are_aligned_and_control_characters_are_not_obeyed() {
        assert_eq!(
            table().lines(None, false),
            ["ID         MB  TITLE", "tab_1     7.5  Kettles [2J and pots", "tab_22  112.0"]
        );
    }

    #[test]
    fn no_line_is_longer_than_the_terminal() {
        let lines = table().lines(Some(20), false);
        assert_eq!(lines[1], "tab_1     7.5  Kett…");
        assert!(lines.iter().all(|line| line.chars().count() <= 20));
    }
}
