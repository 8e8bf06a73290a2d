//! A report in a terminal: the score, and the flaws in the order in which they are worth mending.

use std::fmt::Write;

use paddock_analysis::{Severity, report::Report};

use crate::cli::say;

const FLAWS_SHOWN_MAX: usize = 25;

/// Prints it to standard output.
pub(crate) fn print(report: &Report) {
    say(format_args!("{}", text(report).trim_end()));
}

fn text(report: &Report) -> String {
    let mut out = String::new();
    let score = report.scores.overall.map_or_else(|| "no score".to_owned(), |score| format!("{score}/100"));
    let summary = &report.summary;
    let _ = writeln!(out, "{}", if report.title.is_empty() { &report.final_url } else { &report.title });
    let _ = writeln!(
        out,
        "{score}: {} flaws ({} high, {} medium, {} low) on a page taken for {}, in {:.1} s",
        summary.flaws,
        summary.high,
        summary.medium,
        summary.low,
        report.page_type.replace('_', " "),
        report.duration_ms as f64 / 1000.0,
    );
    let mut shown = 0;
    let mut last = 0;
    for reported in &report.findings {
        // One line per flaw: the findings of one flaw on several screens follow one another.
        if reported.number == last {
            continue;
        }
        last = reported.number;
        if shown == FLAWS_SHOWN_MAX {
            let rest = (summary.flaws as usize).saturating_sub(shown);
            let _ = writeln!(out, "        and {rest} more");
            break;
        }
        shown += 1;
        let finding = &reported.finding;
        let severity = match finding.severity {
            Severity::High => "high",
            Severity::Medium => "medium",
            Severity::Low => "low",
        };
        let _ = writeln!(out, "{severity:>6}  {:<30} {}", finding.rule, finding.title);
        let _ = writeln!(out, "        {}", finding.evidence.statement);
    }
    if !report.not_checked.is_empty() {
        let whats: Vec<&str> =
            report.not_checked.iter().map(|not_checked| not_checked.what.as_ref()).collect();
        let _ = writeln!(out, "not checked: {}", whats.join(", "));
    }
    out
}
