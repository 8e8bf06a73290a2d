//! The HTML page: the verdict first, then what it stands on.

use super::{JudgedRun, Report, command_line, commit_line, environment_line, html::Escaped, panels};
use crate::{
    compare::{Change, Comparison, Outcome},
    gate::Decision,
    quantity::{number, percent_change},
    record::Environment,
    text::push,
    verdict::{Judgement, Level},
};

const STYLE: &str = include_str!("style.css");

/// Renders the whole page.
pub(super) fn render(report: &Report) -> String {
    let mut html = String::with_capacity(64 * 1024);
    let level = report.level();
    html.push_str("<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">");
    html.push_str("<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">");
    html.push_str("<meta name=\"color-scheme\" content=\"light dark\">");
    push!(
        html,
        "<title>{} – performance report</title><style>{STYLE}</style></head><body><main>",
        level.word()
    );
    push_header(&mut html, report);
    push_verdict_table(&mut html, report);
    for comparison in &report.comparisons {
        push_comparison(&mut html, comparison);
    }
    for run in &report.runs {
        push_run(&mut html, run);
    }
    html.push_str("</main></body></html>\n");
    html
}

fn push_header(html: &mut String, report: &Report) {
    let level = report.level();
    push!(*html, "<header><p class=\"kicker\">Performance report</p><div class=\"banner {}\">", level.word());
    push!(*html, "<span class=\"mark\" aria-hidden=\"true\"><b>{}</b></span>", mark(level));
    push!(*html, "<div><h1>{}</h1><p>{}</p></div></div>", level.word(), Escaped(headline(report)));
    let date = report.created_at.strftime("%Y-%m-%d %H:%M UTC");
    push!(*html, "<dl class=\"facts\"><div><dt>Made</dt><dd>{date}</dd></div>");
    if let Some(environment) = report.environment() {
        let commit = commit_line(environment.commit.as_deref(), environment.modified);
        push!(*html, "<div><dt>Commit</dt><dd>{}</dd></div>", Escaped(commit));
        push!(*html, "<div><dt>Machine</dt><dd>{}</dd></div>", Escaped(environment_line(environment)));
    }
    html.push_str("</dl></header>");
}

fn headline(report: &Report) -> String {
    let tally = report.tally();
    let total = tally.total();
    let mut parts = Vec::new();
    if tally.fail > 0 {
        parts.push(format!("{} of {total} promises missed", tally.fail));
    }
    if tally.warn > 0 {
        parts.push(format!("{} acceptable, not on target", tally.warn));
    }
    if tally.invalid > 0 {
        parts.push(format!("{} could not be judged", tally.invalid));
    }
    let failed = report.runs.iter().filter(|run| run.verdict.level == Level::Fail);
    let without_promise =
        failed.filter(|run| run.verdict.judgements.iter().all(|judgement| judgement.level != Level::Fail));
    match without_promise.count() {
        0 => {}
        1 => parts.push("1 run failed by errors or a leak".to_owned()),
        count => parts.push(format!("{count} runs failed by errors or a leak")),
    }
    if tally.pass > 0 {
        let all = if tally.pass == total { "all " } else { "" };
        parts.push(format!("{all}{} kept", tally.pass));
    }
    if total == 0 && report.comparisons.is_empty() {
        parts.push("nothing was promised of these runs".to_owned());
    }
    match (&report.decision, report.regressions()) {
        (Some(Decision::Undecided { .. }), _) => parts.push("the gate cannot decide".to_owned()),
        (_, 1) => parts.push("1 regression".to_owned()),
        (_, count @ 2..) => parts.push(format!("{count} regressions")),
        (_, 0) if !report.comparisons.is_empty() => parts.push("no certain regression".to_owned()),
        (_, 0) => {}
    }
    parts.join(" · ")
}

fn mark(level: Level) -> &'static str {
    match level {
        Level::Pass => "✓",
        Level::Warn => "!",
        Level::Fail => "✕",
        Level::Invalid => "?",
    }
}

// === verdicts ===

fn push_verdict_table(html: &mut String, report: &Report) {
    let mut rows: Vec<(&JudgedRun, &Judgement)> = report
        .runs
        .iter()
        .flat_map(|run| run.verdict.judgements.iter().map(move |judgement| (run, judgement)))
        .collect();
    rows.sort_by_key(|(_, judgement)| (std::cmp::Reverse(judgement.level), !judgement.critical));
    for run in report.runs.iter().filter(|run| !run.verdict.reasons.is_empty()) {
        push!(
            *html,
            "<div class=\"notice {}\"><strong>{}</strong><ul>",
            run.verdict.level.word(),
            Escaped(&run.record.scenario)
        );
        for reason in &run.verdict.reasons {
            push!(*html, "<li>{}</li>", Escaped(reason));
        }
        html.push_str("</ul></div>");
    }
    if let Some(Decision::Undecided { reasons }) = &report.decision {
        html.push_str("<div class=\"notice invalid\"><strong>The gate cannot decide</strong><ul>");
        for reason in reasons {
            push!(*html, "<li>{}</li>", Escaped(reason));
        }
        html.push_str("</ul></div>");
    }
    if rows.is_empty() {
        return;
    }
    html.push_str(
        "<section><h2>Promises</h2><table class=\"verdicts\"><thead><tr><th>Verdict</th><th>Promise</th>",
    );
    html.push_str("<th class=\"num\">Measured</th><th class=\"num\">Target</th><th>Against target</th><th>What to do</th></tr></thead><tbody>");
    for (run, judgement) in rows {
        push_judgement(html, run, judgement);
    }
    html.push_str("</tbody></table></section>");
}

fn push_judgement(html: &mut String, run: &JudgedRun, judgement: &Judgement) {
    let level = judgement.level;
    let unit = judgement.unit;
    let word = if judgement.critical { "critical" } else { level.word() };
    push!(
        *html,
        "<tr class=\"{}\"><td class=\"pill-cell\"><span class=\"pill {}\">{} {word}</span></td>",
        level.word(),
        level.word(),
        mark(level)
    );
    let metric = &judgement.threshold.metric;
    push!(*html, "<td data-label=\"Promise\"><b>{}</b>", Escaped(&judgement.name));
    push!(*html, "<small>{} of <code>{}</code></small></td>", Escaped(metric), Escaped(&run.record.scenario));
    let value = judgement.value.map_or_else(|| "not measured".to_owned(), |value| unit.format(value));
    push!(*html, "<td class=\"num\" data-label=\"Measured\"><b>{}</b></td>", Escaped(value));
    push!(*html, "<td class=\"num\" data-label=\"Target\">{}", Escaped(judgement.threshold.promise(unit)));
    if let Some(acceptable) = judgement.threshold.acceptable {
        push!(*html, "<small>acceptable {}</small>", Escaped(unit.format(acceptable)));
    }
    html.push_str("</td><td class=\"gauge-cell\">");
    push_gauge(html, judgement);
    html.push_str("</td><td class=\"action\">");
    push!(*html, "{}", Escaped(judgement.action()));
    if let Some(note) = &judgement.note {
        push!(*html, "<small>{}</small>", Escaped(note));
    }
    html.push_str("</td></tr>");
}

/// A bar that reaches to the mark when the value equals the target. Drawn only where a share of the target means
/// something.
fn push_gauge(html: &mut String, judgement: &Judgement) {
    const MARK: f64 = 60.0;
    let target = judgement.threshold.target;
    let Some(value) = judgement.value.filter(|value| target > 0.0 && *value >= 0.0) else { return };
    let share = value / target;
    let length = (share * MARK).clamp(1.5, 100.0);
    let percent = number((share * 100.0).round());
    let against = if share > 10.0 {
        format!("{} times the target", number(share))
    } else {
        format!("{percent} % of target")
    };
    push!(
        *html,
        "<svg class=\"gauge\" viewBox=\"0 0 100 12\" preserveAspectRatio=\"none\" role=\"img\" aria-label=\"{percent} % of the target\">"
    );
    push!(
        *html,
        "<rect class=\"track\" width=\"100\" height=\"12\"/><rect class=\"bar {}\" width=\"{length:.1}\" height=\"12\"/>",
        judgement.level.word()
    );
    push!(
        *html,
        "<line class=\"goal\" x1=\"{MARK}\" x2=\"{MARK}\" y1=\"0\" y2=\"12\"/></svg><small>{against}</small>"
    );
}

// === comparisons ===

fn push_comparison(html: &mut String, comparison: &Comparison) {
    let (before, now) = (Escaped(&comparison.baseline), Escaped(&comparison.current));
    push!(*html, "<section><h2>Comparison</h2><p class=\"sides\"><b>{now}</b> against <b>{before}</b></p>");
    if !(comparison.notes.is_empty() && comparison.mismatches.is_empty() && comparison.unmatched.is_empty()) {
        html.push_str("<div class=\"notice warn\"><ul>");
        for note in comparison.mismatches.iter().chain(&comparison.notes) {
            push!(*html, "<li>{}</li>", Escaped(note));
        }
        if !comparison.unmatched.is_empty() {
            push!(*html, "<li>only one side has {}</li>", Escaped(comparison.unmatched.join(", ")));
        }
        html.push_str("</ul></div>");
    }
    panels::push_comparison(html, comparison);
    html.push_str("<div class=\"scroll\"><table><thead><tr><th>Outcome</th><th>Metric</th><th class=\"num\">Baseline</th><th class=\"num\">Current</th>");
    html.push_str("<th class=\"num\">Change</th><th class=\"num\">95 % interval</th><th class=\"num\">p</th><th class=\"num\">Allowed</th><th class=\"num\">Repeats</th></tr></thead><tbody>");
    for change in &comparison.changes {
        push_change(html, change);
    }
    html.push_str("</tbody></table></div></section>");
}

fn push_change(html: &mut String, change: &Change) {
    let (class, sign) = match change.outcome {
        Outcome::Regression => ("fail", "✕"),
        Outcome::Improvement => ("pass", "↑"),
        Outcome::Uncertain | Outcome::TooFew => ("warn", "?"),
        Outcome::Unchanged => ("same", "="),
    };
    let unit = change.unit;
    let interval = match (change.ratio_low, change.ratio_high) {
        (Some(low), Some(high)) => format!("{} to {}", percent_change(low), percent_change(high)),
        _ => "–".to_owned(),
    };
    let p = change.p.map_or_else(
        || "counted".to_owned(),
        |p| if p < 0.001 { "< 0.001".to_owned() } else { format!("{p:.3}") },
    );
    push!(
        *html,
        "<tr><td><span class=\"pill {class}\">{sign} {}</span></td><td>{}</td>",
        change.outcome.words(),
        Escaped(&change.metric)
    );
    push!(
        *html,
        "<td class=\"num\">{}</td><td class=\"num\">{}</td>",
        unit.format(change.baseline_median),
        unit.format(change.current_median)
    );
    push!(
        *html,
        "<td class=\"num\"><b>{}</b></td><td class=\"num\">{interval}</td>",
        percent_change(change.ratio.unwrap_or(f64::INFINITY))
    );
    let direction = if change.higher_is_better { '-' } else { '+' };
    let (before, now) = (change.baseline.len(), change.current.len());
    push!(
        *html,
        "<td class=\"num\">{p}</td><td class=\"num\">{direction}{} %</td><td class=\"num\">{before} / {now}</td></tr>",
        number(change.threshold_pct)
    );
}

// === runs ===

fn push_run(html: &mut String, run: &JudgedRun) {
    let record = &run.record;
    let level = run.verdict.level;
    push!(
        *html,
        "<section class=\"run\"><h2>{} <span class=\"pill {}\">{} {}</span></h2>",
        Escaped(&record.scenario),
        level.word(),
        mark(level),
        level.word()
    );
    let started = record.started_at.strftime("%Y-%m-%d %H:%M:%S UTC");
    push!(
        *html,
        "<p class=\"sides\">{} form, {} s, started {started}</p>",
        record.form,
        number(record.duration_s)
    );
    push_steps(html, run);
    panels::push_run(html, run);
    push_details(html, run);
    html.push_str("</section>");
}

fn push_steps(html: &mut String, run: &JudgedRun) {
    use super::chart::latency_label;
    if run.record.steps.is_empty() {
        return;
    }
    html.push_str("<div class=\"scroll\"><table><thead><tr><th>Step</th><th class=\"num\">Offered</th><th class=\"num\">Completed</th><th class=\"num\">Errors</th>");
    html.push_str("<th class=\"num\">p50</th><th class=\"num\">p90</th><th class=\"num\">p95</th><th class=\"num\">p99</th><th class=\"num\">p99.9</th><th class=\"num\">Largest</th></tr></thead><tbody>");
    for step in &run.record.steps {
        let errors: u64 = step.errors.values().sum();
        push!(*html, "<tr><td>{} <small>{}</small></td>", Escaped(&step.name), Escaped(&step.driver));
        for count in [step.offered, step.completed, errors] {
            push!(*html, "<td class=\"num\">{}</td>", number(count as f64));
        }
        let latency = &step.latency;
        for micros in
            [latency.p50_us, latency.p90_us, latency.p95_us, latency.p99_us, latency.p999_us, latency.max_us]
        {
            push!(*html, "<td class=\"num\">{}</td>", latency_label(micros));
        }
        html.push_str("</tr>");
        for (name, extra) in &step.extra {
            push!(*html, "<tr><td colspan=\"4\"><small>{}</small></td>", Escaped(name));
            for micros in
                [extra.p50_us, extra.p90_us, extra.p95_us, extra.p99_us, extra.p999_us, extra.max_us]
            {
                push!(*html, "<td class=\"num\">{}</td>", latency_label(micros));
            }
            html.push_str("</tr>");
        }
    }
    html.push_str("</tbody></table></div>");
}

fn push_details(html: &mut String, run: &JudgedRun) {
    let record = &run.record;
    html.push_str("<details><summary>Every figure, the machine, and how to repeat it</summary>");
    push!(*html, "<pre><code>{}</code></pre>", Escaped(command_line(&record.command)));
    html.push_str("<div class=\"columns\"><table><thead><tr><th>Metric</th><th class=\"num\">Value</th></tr></thead><tbody>");
    for (metric, value) in &record.metrics {
        let value = crate::quantity::Unit::of_metric(metric).format(*value);
        push!(*html, "<tr><td>{}</td><td class=\"num\">{}</td></tr>", Escaped(metric), Escaped(value));
    }
    html.push_str("</tbody></table><table><thead><tr><th>Environment</th><th></th></tr></thead><tbody>");
    for (name, value) in environment_rows(&record.environment) {
        push!(*html, "<tr><td>{name}</td><td>{}</td></tr>", Escaped(value));
    }
    push!(*html, "<tr><td>Run</td><td><code>{}</code></td></tr></tbody></table></div></details>", record.id);
}

fn environment_rows(environment: &Environment) -> Vec<(&'static str, String)> {
    let pressure = &environment.pressure;
    let percent = |ratio: f64| format!("{} %", number(ratio * 100.0));
    let mut rows = vec![
        ("Processor", format!("{} × {}", environment.cpu.logical, environment.cpu.model)),
        (
            "Memory",
            format!(
                "{} MiB, {} MiB available",
                number(environment.memory_mib as f64),
                number(environment.memory_available_mib as f64)
            ),
        ),
        ("Kernel", environment.kernel.clone()),
        ("System", environment.os.clone()),
    ];
    if let Some(disk) = &environment.disk {
        rows.push((
            "Disk",
            format!(
                "fsync {} µs, write {} MiB/s, read {} MiB/s, {}",
                number(disk.fsync_p50_us),
                number(disk.write_mib_per_s),
                number(disk.read_mib_per_s),
                disk.file_system
            ),
        ));
    }
    rows.push((
        "Load before",
        format!("{} (1 min), {} (5 min)", number(environment.load_1m), number(environment.load_5m)),
    ));
    rows.push((
        "Pressure before",
        format!(
            "CPU {}, memory {}, I/O {}, steal {}",
            percent(pressure.cpu_ratio),
            percent(pressure.memory_ratio),
            percent(pressure.io_ratio),
            percent(pressure.steal_ratio)
        ),
    ));
    rows.push(("Commit", commit_line(environment.commit.as_deref(), environment.modified)));
    rows.extend(environment.config_hash.clone().map(|hash| ("Configuration", hash)));
    rows.retain(|(_, value)| !value.is_empty());
    rows
}
