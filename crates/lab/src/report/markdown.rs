//! The report as Markdown: date, commit and environment; a summary in a few lines; then throughput, latency and
//! resources, each as metric, baseline, current, change.

use std::collections::BTreeSet;

use super::{Report, command_line, commit_line, environment_line};
use crate::{
    compare::{Change, Outcome},
    gate::Decision,
    quantity::{Unit, percent_change},
    text::{one_line, push},
    verdict::{Judgement, Level},
};

/// Renders the whole document.
pub(super) fn render(report: &Report) -> String {
    let mut text = String::from("# Performance Benchmark Report\n\n");
    push!(text, "Date: {}\n", report.created_at.strftime("%Y-%m-%d"));
    if let Some(environment) = report.environment() {
        push!(text, "Commit: {}\n", commit_line(environment.commit.as_deref(), environment.modified));
        push!(text, "Environment: {}\n", environment_line(environment));
    }
    push_summary(&mut text, report);
    push_verdicts(&mut text, report);
    push_results(&mut text, report);
    push_runs(&mut text, report);
    text
}

fn push_summary(text: &mut String, report: &Report) {
    let tally = report.tally();
    text.push_str("\n## Summary\n\n");
    // As the exit code: errors and leaks fail a run whose promises are all kept.
    let level = report.level_of_runs();
    let sign = if tally.fail > 0 || level == Level::Fail {
        "❌"
    } else if tally.invalid > 0 || level == Level::Invalid {
        "❔"
    } else {
        "✅"
    };
    if tally.total() > 0 && tally.pass == tally.total() {
        push!(*text, "- {sign} All {} performance targets met\n", tally.total());
    } else if tally.total() > 0 {
        push!(*text, "- {sign} {} of {} performance targets met\n", tally.pass, tally.total());
    }
    for (count, what) in [
        (tally.fail, "❌ {} missed"),
        (tally.warn, "⚠️ {} missed but acceptable"),
        (tally.invalid, "❔ {} could not be judged"),
    ] {
        if count > 0 {
            push!(*text, "- {}\n", what.replace("{}", &plural(count, "target")));
        }
    }
    for run in &report.runs {
        for reason in &run.verdict.reasons {
            let sign = match run.verdict.level {
                Level::Invalid => "❔",
                Level::Fail => "❌",
                Level::Warn | Level::Pass => "⚠️",
            };
            push!(*text, "- {sign} `{}`: {}\n", run.record.scenario, inline(reason));
        }
    }
    if report.comparisons.is_empty() {
        return;
    }
    match (&report.decision, report.regressions()) {
        (Some(Decision::Undecided { reasons }), _) => {
            for reason in reasons {
                push!(*text, "- ❔ The gate cannot decide: {}\n", inline(reason));
            }
        }
        (Some(Decision::Open), _) => text.push_str("- ✅ No regressions detected\n"),
        (None, 0) => text.push_str("- No certain regression\n"),
        (_, count) => push!(*text, "- ⚠️ {} detected\n", plural(count, "regression")),
    }
    for comparison in &report.comparisons {
        for note in comparison.mismatches.iter().chain(&comparison.notes) {
            push!(*text, "- ⚠️ {}\n", inline(note));
        }
        if !comparison.unmatched.is_empty() {
            push!(*text, "- ⚠️ only one side has {}\n", inline(&comparison.unmatched.join(", ")));
        }
    }
    for change in report.comparisons.iter().flat_map(|comparison| &comparison.changes) {
        if change.outcome == Outcome::Improvement {
            let by = percent_change(change.ratio.unwrap_or(1.0));
            push!(*text, "- 📈 {by} in `{}`, an improvement\n", change.metric);
        }
    }
    let unsure = report.count(Outcome::Uncertain) + report.count(Outcome::TooFew);
    if unsure > 0 {
        push!(*text, "- ❔ {} cannot be told from chance\n", plural(unsure, "change"));
    }
}

fn push_verdicts(text: &mut String, report: &Report) {
    let mut judgements: Vec<&Judgement> =
        report.runs.iter().flat_map(|run| &run.verdict.judgements).collect();
    if judgements.is_empty() {
        return;
    }
    judgements.sort_by_key(|judgement| (std::cmp::Reverse(judgement.level), !judgement.critical));
    text.push_str("\n## Verdicts\n\n| Verdict | Objective | Target | Measured | What to do |\n|---|---|---:|---:|---|\n");
    for judgement in judgements {
        let measured =
            judgement.value.map_or_else(|| "not measured".to_owned(), |value| judgement.unit.format(value));
        let mut action = judgement.action().to_owned();
        if let Some(note) = &judgement.note {
            action = if action.is_empty() { note.clone() } else { format!("{action} ({note})") };
        }
        push!(
            *text,
            "| {} | `{}` | {} | {measured} | {} |\n",
            verdict_word(judgement),
            one_line(&judgement.name).replace(['`', '|'], "'"),
            judgement.threshold.promise(judgement.unit),
            cell(&action)
        );
    }
}

/// A level as tables show it.
pub(super) fn verdict_word(judgement: &Judgement) -> &'static str {
    match judgement.level {
        Level::Pass => "✅ pass",
        Level::Warn => "⚠️ warn",
        Level::Fail if judgement.critical => "❌ critical",
        Level::Fail => "❌ fail",
        Level::Invalid => "❔ invalid",
    }
}

/// Which table a metric stands in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Group {
    Throughput,
    Latency,
    Errors,
    Resources,
    Other,
}

impl Group {
    const ALL: [(Self, &'static str); 5] = [
        (Self::Throughput, "Throughput"),
        (Self::Latency, "Latency"),
        (Self::Errors, "Errors"),
        (Self::Resources, "Resource Usage"),
        (Self::Other, "Other"),
    ];

    fn of(metric: &str) -> Self {
        let has = |parts: &[&str]| parts.iter().any(|part| metric.contains(part));
        match Unit::of_metric(metric) {
            _ if has(&["error", "failed"]) => Self::Errors,
            Unit::PerSecond => Self::Throughput,
            Unit::Mebibytes | Unit::Bytes | Unit::Cores | Unit::Instructions => Self::Resources,
            _ if has(&["cpu", "threads", "descriptors", "sockets", "processes"]) => Self::Resources,
            Unit::Seconds | Unit::Millis | Unit::Micros | Unit::Nanos => Self::Latency,
            Unit::Ratio | Unit::Count => Self::Other,
        }
    }
}

fn push_results(text: &mut String, report: &Report) {
    let changes: Vec<&Change> =
        report.comparisons.iter().flat_map(|comparison| &comparison.changes).collect();
    let mut rows: Vec<(String, String)> = Vec::new();
    for change in &changes {
        let mark = match change.outcome {
            Outcome::Regression => " ⚠️",
            Outcome::Improvement => " 📈",
            Outcome::Uncertain | Outcome::TooFew => " ❔",
            Outcome::Unchanged => "",
        };
        let (before, now) =
            (change.unit.format(change.baseline_median), change.unit.format(change.current_median));
        let by = percent_change(change.ratio.unwrap_or(f64::INFINITY));
        rows.push((change.metric.clone(), format!("{before} | {now} | {by}{mark}")));
    }
    let compared: BTreeSet<&str> = changes.iter().map(|change| change.metric.as_str()).collect();
    for run in &report.runs {
        for (metric, value) in &run.record.metrics {
            let name = format!("{}/{metric}", run.record.scenario);
            if !compared.contains(name.as_str()) {
                let value = Unit::of_metric(metric).format(*value);
                rows.push((name, format!("– | {value} | –")));
            }
        }
    }
    if rows.is_empty() {
        return;
    }
    rows.sort();
    text.push_str("\n## Detailed Results\n");
    for (group, title) in Group::ALL {
        let mut of_group = rows.iter().filter(|(metric, _)| Group::of(metric) == group).peekable();
        if of_group.peek().is_none() {
            continue;
        }
        push!(*text, "\n### {title}\n\n| Metric | Baseline | Current | Change |\n|---|---:|---:|---:|\n");
        for (metric, figures) in of_group {
            push!(*text, "| {} | {figures} |\n", cell(metric));
        }
    }
}

fn push_runs(text: &mut String, report: &Report) {
    if report.runs.is_empty() {
        return;
    }
    text.push_str("\n## Runs\n");
    for run in &report.runs {
        let record = &run.record;
        push!(*text, "\n### {} ({} form, {})\n\n", record.scenario, record.form, run.verdict.level);
        let started = record.started_at.strftime("%Y-%m-%d %H:%M:%S UTC");
        push!(
            *text,
            "Run `{}`, started {started}, {:.1} s. Repeat it with:\n\n",
            record.id,
            record.duration_s
        );
        push!(*text, "```sh\n{}\n```\n", one_line(&command_line(&record.command)));
    }
}

/// Text of others in a paragraph: one line, and no markup of its own.
pub(crate) fn inline(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in one_line(text).chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '[' | ']' | '*' => escaped.extend(['\\', character]),
            other => escaped.push(other),
        }
    }
    // Quotes of our own are whole; an odd one would open a span that swallows the rest.
    if escaped.matches('`').count() % 2 == 1 { escaped.replace('`', "'") } else { escaped }
}

/// Text that cannot break out of a table cell.
pub(crate) fn cell(text: &str) -> String {
    inline(text).replace('|', "\\|")
}

fn plural(count: usize, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_target_says_stays_within_its_line_and_cell() {
        assert_eq!(inline("first\r\n## second <script>"), "first  ## second &lt;script>");
        assert_eq!(cell("a | b `c"), "a \\| b 'c");
        assert_eq!(inline("`a` and [b](c) \u{1b}[2J"), "`a` and \\[b\\](c)  \\[2J");
    }
}
