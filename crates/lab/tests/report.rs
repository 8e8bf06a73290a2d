//! The three forms of a report, from made-up runs.
#![expect(clippy::unwrap_used, reason = "a test that cannot prepare has to stop")]

use std::path::Path;

use paddock_lab::{
    compare::{Policy, compare},
    measurements::{Kind, Measurements},
    objectives::Objectives,
    record::{RunRecord, Validity},
    report::Report,
    statistics::Random,
    synthetic::{self, ServerRun},
};

const OBJECTIVES: &str = r#"
[[objective]]
id = "healthz-latency"
area = "platform"
metric = "latency_p99_ms"
unit = "ms"
op = "<="
target = 5
acceptable = 50
critical = 500
regress_pct = 10
action = "Profile the layers | with a flamegraph."
scenario = "healthz"
source = "CX-1.3"

[[objective]]
id = "healthz-rate"
area = "platform"
metric = "throughput_per_s"
unit = "/s"
op = ">="
target = 100
regress_pct = 20
action = "Compare with the bare handler."
scenario = "healthz"
source = "CX-1.1"
"#;

fn objectives() -> Objectives {
    Objectives::parse(Path::new("objectives.toml"), OBJECTIVES).unwrap()
}

fn frozen_run() -> RunRecord {
    let frozen_s = Some((2.0, 4.0));
    ServerRun { seconds: 6, rate_per_s: 500.0, frozen_s, error_ratio: 0.01, ..ServerRun::default() }.record()
}

fn report(records: Vec<RunRecord>) -> Report {
    let mut random = Random::seeded(1);
    let (mut before, mut now) = (Measurements::new("main"), Measurements::new("this change"));
    for _ in 0..8 {
        before.push(
            "healthz/latency_p99_ms",
            Kind::Sampled,
            synthetic::repeats(4.0, 0.02, 1, &mut random)[0],
        );
        now.push("healthz/latency_p99_ms", Kind::Sampled, synthetic::repeats(5.0, 0.02, 1, &mut random)[0]);
        before.push("healthz/throughput_per_s", Kind::Sampled, 400.0);
        now.push("healthz/throughput_per_s", Kind::Sampled, 500.0);
    }
    let comparison = compare(&before, &now, &Policy::of_objectives(&objectives()), true);
    let mut report = Report::new(records, &objectives(), vec![comparison]);
    report.created_at = "2026-11-20T12:00:00Z".parse().unwrap();
    report
}

#[test]
fn the_markdown_has_date_commit_environment_summary_and_tables() {
    insta::assert_snapshot!(report(vec![frozen_run()]).to_markdown());
}

#[test]
fn the_markdown_says_why_a_run_is_invalid() {
    let mut run = frozen_run();
    run.validity = Validity::Invalid { reasons: vec!["the generator lagged: p99 12 ms".to_owned()] };
    let text = report(vec![run]).to_markdown();
    assert!(text.contains("- ❔ `healthz`: the generator lagged: p99 12 ms"), "{text}");
    assert!(text.contains("### healthz (short form, invalid)"), "{text}");
}

#[test]
fn the_page_needs_nothing_but_itself() {
    let html = report(vec![frozen_run()]).to_html();
    for outside in ["<script", "src=", "href=", "url(", "@import", "http://", "https://"] {
        assert!(!html.contains(outside), "{outside}");
    }
    assert!(html.starts_with("<!doctype html>") && html.trim_end().ends_with("</html>"));
    assert!(!html.contains("NaN") && !html.contains("inf"), "every coordinate is a number");
}

#[test]
fn the_verdict_stands_before_everything_else() {
    let html = report(vec![frozen_run()]).to_html();
    let verdict = html.find("promises missed").unwrap();
    assert!(html[..verdict].matches("<section").count() == 0);
    assert!(html.contains("Profile the layers | with a flamegraph."));
    assert!(html.contains("1 regression"));
}

#[test]
fn what_a_run_carries_cannot_inject_markup() {
    let mut run = frozen_run();
    run.scenario = "<img onerror=alert(1)>".to_owned();
    run.steps[0].name = "\"><script>alert(1)</script>".to_owned();
    run.command = vec!["'; <b>".to_owned()];
    run.validity = Validity::Invalid { reasons: vec!["<i>".to_owned()] };
    let html = report(vec![run]).to_html();
    for markup in ["<img", "<script", "<i>", "<b>;"] {
        assert!(!html.contains(markup), "{markup}");
    }
}

#[test]
fn a_run_that_measured_nothing_has_a_report_too() {
    let mut empty = ServerRun { seconds: 0, ..ServerRun::default() }.record();
    empty.partial = Some("the server did not start".to_owned());
    empty.steps.clear();
    empty.resources.clear();
    let report = report(vec![empty]);
    assert!(report.to_html().contains("the server did not start"));
    assert!(report.to_markdown().contains("ended early: the server did not start"));
}

#[test]
fn the_written_json_is_read_back_unchanged() {
    let dir = tempfile::tempdir().unwrap();
    let report = report(vec![frozen_run()]);
    let files = report.write(dir.path()).unwrap();
    let read: Report = serde_json::from_slice(&std::fs::read(&files.json).unwrap()).unwrap();
    assert_eq!(read.runs[0].verdict, report.runs[0].verdict);
    assert!(files.markdown.is_file() && files.html.is_file());
}
