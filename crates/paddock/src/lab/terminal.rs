//! What the person reads.

use std::{
    fmt,
    io::{IsTerminal as _, Write as _},
};

use paddock_lab::{
    compare::{Comparison, Outcome},
    quantity::percent_change,
    text::one_line,
    verdict::{Judgement, Level, Verdict},
};

/// Writes a line to standard output. A reader that went away is no error of ours.
pub(crate) fn say(line: fmt::Arguments<'_>) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

/// Writes a line to standard error.
pub(crate) fn complain(line: fmt::Arguments<'_>) {
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}

/// A level, coloured where somebody looks.
pub(super) fn level(level: Level) -> String {
    let (colour, word) = match level {
        Level::Pass => ("32", "pass"),
        Level::Warn => ("33", "warn"),
        Level::Fail => ("31", "FAIL"),
        Level::Invalid => ("35", "invalid"),
    };
    coloured(colour, word)
}

fn coloured(colour: &str, word: &str) -> String {
    let is_wanted = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    if is_wanted { format!("\u{1b}[{colour}m{word}\u{1b}[0m") } else { word.to_owned() }
}

/// Prints rows in columns; numbers are the caller's to align. The last column may be long.
pub(super) fn table(rows: &[Vec<String>]) {
    let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| visible(cell)).max();
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or_default()).collect();
    for row in rows {
        let mut line = String::new();
        for (index, cell) in row.iter().enumerate() {
            line.push_str(cell);
            if index + 1 < row.len() {
                let padding =
                    widths.get(index).copied().unwrap_or_default().saturating_sub(visible(cell)) + 2;
                line.extend(std::iter::repeat_n(' ', padding));
            }
        }
        say(format_args!("{}", line.trim_end()));
    }
}

/// Characters that take room: colours do not.
fn visible(text: &str) -> usize {
    let mut count = 0;
    let mut in_escape = false;
    for character in text.chars() {
        match character {
            '\u{1b}' => in_escape = true,
            'm' if in_escape => in_escape = false,
            _ if in_escape => {}
            _ => count += 1,
        }
    }
    count
}

/// A verdict as rows of a table: level, promise, measured, target, what to do.
pub(super) fn print_verdict(scenario: &str, verdict: &Verdict) {
    say(format_args!("{scenario}: {}", level(verdict.level)));
    // Reasons quote what targets and commands said.
    for reason in &verdict.reasons {
        say(format_args!("  {}", one_line(reason)));
    }
    let rows: Vec<Vec<String>> = verdict.judgements.iter().map(judgement_row).collect();
    table(&rows);
}

fn judgement_row(judgement: &Judgement) -> Vec<String> {
    let unit = judgement.unit;
    let value = judgement.value.map_or_else(|| "not measured".to_owned(), |value| unit.format(value));
    let mut advice = judgement.action().to_owned();
    if let Some(note) = &judgement.note {
        advice = if advice.is_empty() { note.clone() } else { format!("{advice} ({note})") };
    }
    vec![
        format!("  {}", level(judgement.level)),
        judgement.name.clone(),
        value,
        judgement.threshold.promise(unit),
        one_line(&advice),
    ]
}

/// A comparison as a table, worst first.
pub(super) fn print_comparison(comparison: &Comparison) {
    say(format_args!("{} against {}", one_line(&comparison.current), one_line(&comparison.baseline)));
    for note in comparison.mismatches.iter().chain(&comparison.notes) {
        say(format_args!("  note: {}", one_line(note)));
    }
    if !comparison.unmatched.is_empty() {
        say(format_args!("  only one side has: {}", one_line(&comparison.unmatched.join(", "))));
    }
    let header =
        ["  outcome", "metric", "before", "now", "change", "95 % interval", "p", "allowed", "repeats"];
    let mut rows = vec![header.map(str::to_owned).to_vec()];
    for change in &comparison.changes {
        let colour = match change.outcome {
            Outcome::Regression => "31",
            Outcome::Improvement => "32",
            Outcome::Uncertain | Outcome::TooFew => "33",
            Outcome::Unchanged => "0",
        };
        let interval = match (change.ratio_low, change.ratio_high) {
            (Some(low), Some(high)) => format!("{} to {}", percent_change(low), percent_change(high)),
            _ => "–".to_owned(),
        };
        let sign = if change.higher_is_better { '-' } else { '+' };
        rows.push(vec![
            format!("  {}", coloured(colour, change.outcome.words())),
            one_line(&change.metric),
            change.unit.format(change.baseline_median),
            change.unit.format(change.current_median),
            percent_change(change.ratio.unwrap_or(f64::INFINITY)),
            interval,
            change.p.map_or_else(
                || "counted".to_owned(),
                |p| if p < 0.001 { "< 0.001".to_owned() } else { format!("{p:.3}") },
            ),
            format!("{sign}{} %{}", change.threshold_pct, if change.gated { "" } else { " (not promised)" }),
            format!("{}/{}", change.baseline.len(), change.current.len()),
        ]);
    }
    if comparison.changes.is_empty() {
        say(format_args!("  nothing that both sides have"));
    } else {
        table(&rows);
    }
}
