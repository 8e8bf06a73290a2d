//! The report as Markdown: date, commit and environment; a summary in a few lines; then throughput, latency and
//! resources, each as metric, baseline, current, change.

use std::collections::BTreeSet;

use super::{Report, command_line, commit_line, environment_line};
use crate::{
    compare::{Change, Outcome},
    quantity::{Unit, percent_change},
    text::push,
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
    if tally.total() > 0 && tally.pass == tally.total() {
        push!(*text, "- ✅ All {} performance targets met\n", tally.total());
    } else if tally.total() > 0 {
        push!(
            *text,
            "- {} {} of {} performance targets met\n",
            if tally.fail == 0 { "✅" } else { "❌" },
            tally.pass,
            tally.total()
        );
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
            let sign = if run.verdict.level == Level::Invalid { "❔" } else { "❌" };
            push!(*text, "- {sign} `{}`: {reason}\n", run.record.scenario);
        }
    }
    if report.comparisons.is_empty() {
        return;
    }
    match report.regressions() {
        0 => text.push_str("- ✅ No regressions detected\n"),
        count => push!(*text, "- ⚠️ {} detected\n", plural(count, "regression")),
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
            judgement.name,
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
        push!(*text, "```sh\n{}\n```\n", command_line(&record.command));
    }
}

/// Text that cannot break out of a table cell.
pub(crate) fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace(['\n', '\r'], " ")
}

fn plural(count: usize, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}
