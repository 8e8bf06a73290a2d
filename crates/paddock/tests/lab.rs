//! The commands of the lab: what they do and with which code they end.

#![expect(dead_code, reason = "the module belongs to the binary; here only part of it is called")]
#![expect(clippy::unwrap_used, reason = "a test that cannot prepare has to stop")]

#[path = "../src/lab/mod.rs"]
mod lab;

use std::path::{Path, PathBuf};

use clap::Parser;
use lab::Code;
use tempfile::TempDir;

#[derive(Parser)]
enum Paddock {
    Lab(lab::LabArgs),
}

/// A directory with promises, one scenario, and an archive.
struct Bench {
    dir: TempDir,
}

const OBJECTIVES: &str = r#"
[[objective]]
id = "quick-answer"
area = "lab"
metric = "answer_ms"
unit = "ms"
op = "<="
target = 10
acceptable = 20
critical = 100
regress_pct = 10
action = "Ask again."
scenario = "answer"
source = "CX-1.2"
"#;

impl Bench {
    /// The scenario's command prints the number in the file `answer`.
    fn new(answer_ms: f64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("scenarios")).unwrap();
        let bench = Self { dir };
        bench.write("objectives.toml", OBJECTIVES);
        bench.write("scenarios/answer.toml", &scenario(bench.path()));
        bench.answer(answer_ms);
        bench
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path().join(name), text).unwrap();
    }

    fn answer(&self, answer_ms: f64) {
        self.write("answer", &format!("{{\"answer\": {answer_ms}}}"));
    }

    async fn run(&self, args: &[&str]) -> Code {
        let at = |name: &str| self.path().join(name).to_string_lossy().into_owned();
        let places = ["--data".to_owned(), at("data"), "--objectives".to_owned(), at("objectives.toml")];
        let args = ["paddock", "lab"].into_iter().chain(args.iter().copied()).map(str::to_owned);
        // The places before a `--`, which takes everything after it.
        let mut args: Vec<String> = args.collect();
        let end = args.iter().position(|arg| arg == "--").unwrap_or(args.len());
        args.splice(end..end, places);
        let Paddock::Lab(args) = Paddock::try_parse_from(args).unwrap();
        lab::execute(args).await
    }

    /// Stored runs, made valid: other tests on the same machine disturb every run.
    fn validate_runs(&self) {
        let dir = self.path().join("data/runs/answer");
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            let mut run: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
            run["validity"] = serde_json::json!({ "state": "valid" });
            std::fs::write(&path, run.to_string()).unwrap();
        }
    }

    fn out(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }
}

fn scenario(dir: &Path) -> String {
    let answer = dir.join("answer");
    format!(
        r#"
name = "answer"
description = "A command that says how long it took."

[[steps]]
name = "ask"
command = {{ run = ["cat", "{}"], figures = {{ answer_ms = "/answer" }} }}

[short]
schedule = {{ closed = {{ users = 1, iterations = 6 }} }}

[full]
schedule = {{ closed = {{ users = 1, iterations = 6 }} }}
"#,
        answer.display()
    )
}

#[tokio::test]
async fn check_finds_what_does_not_fit_together() {
    let bench = Bench::new(5.0);
    assert_eq!(bench.run(&["check"]).await, Code::Pass);
    bench.write("objectives.toml", &OBJECTIVES.replace("scenario = \"answer\"", "scenario = \"question\""));
    assert_eq!(bench.run(&["check"]).await, Code::Usage);
    bench.write("objectives.toml", &OBJECTIVES.replace("target", "targt"));
    assert_eq!(bench.run(&["check"]).await, Code::Usage);
}

#[tokio::test]
async fn a_run_is_kept_judged_and_reported() {
    let bench = Bench::new(5.0);
    let out = bench.out("report");
    let code = bench.run(&["run", "answer", "--out", out.to_str().unwrap()]).await;
    // On a machine that is busy with other tests the run is invalid; it never fails its promise.
    assert!(matches!(code, Code::Pass | Code::Invalid), "{code:?}");
    for file in ["report.html", "report.md", "report.json"] {
        assert!(out.join(file).is_file(), "{file}");
    }
    bench.validate_runs();
    assert_eq!(bench.run(&["report", "--out", out.to_str().unwrap()]).await, Code::Pass);
    assert_eq!(bench.run(&["objectives"]).await, Code::Pass);
    let page = bench.out("page.md");
    assert_eq!(bench.run(&["docs", "--out", page.to_str().unwrap()]).await, Code::Pass);
    assert!(std::fs::read_to_string(page).unwrap().contains("| ✅ | quick-answer |"));
}

#[tokio::test]
async fn a_missed_promise_has_its_own_code() {
    let bench = Bench::new(50.0);
    bench.run(&["run", "answer"]).await;
    bench.validate_runs();
    let out = bench.out("report");
    assert_eq!(bench.run(&["report", "--out", out.to_str().unwrap()]).await, Code::ThresholdFailed);
}

#[tokio::test]
async fn the_gate_opens_closes_and_says_when_it_cannot_tell() {
    let bench = Bench::new(5.0);
    assert_eq!(bench.run(&["baseline", "save", "main"]).await, Code::Usage, "there is nothing to keep");
    bench.run(&["run", "answer"]).await;
    bench.validate_runs();
    assert_eq!(bench.run(&["baseline", "save", "main"]).await, Code::Pass);
    assert_eq!(
        bench.run(&["gate", "--baseline", "main"]).await,
        Code::Invalid,
        "the only run is the one that the baseline was made of"
    );
    bench.run(&["run", "answer"]).await;
    bench.validate_runs();
    assert_eq!(bench.run(&["gate", "--baseline", "main"]).await, Code::Pass);
    assert_eq!(bench.run(&["gate", "--baseline", "other"]).await, Code::Usage);
    let out = bench.out("unchanged");
    let report = ["report", "--baseline", "main", "--out", out.to_str().unwrap()];
    assert_eq!(bench.run(&report).await, Code::Pass);
    let page = std::fs::read_to_string(out.join("report.md")).unwrap();
    assert!(page.contains("✅ No regressions detected"), "{page}");
    bench.answer(6.0);
    std::fs::remove_dir_all(bench.out("data/runs")).unwrap();
    bench.run(&["run", "answer"]).await;
    bench.validate_runs();
    assert_eq!(bench.run(&["gate", "--baseline", "main"]).await, Code::Regression);
    assert_eq!(bench.run(&report).await, Code::Regression);
    assert_eq!(bench.run(&["compare", "main", "answer"]).await, Code::Regression);
    assert_eq!(
        bench.run(&["compare", "answer", "main"]).await,
        Code::Pass,
        "the other way round it is faster"
    );
    assert_eq!(bench.run(&["compare", "main", "nothing"]).await, Code::Usage);
}

#[tokio::test]
async fn a_run_that_cannot_be_kept_is_judged_and_reported_all_the_same() {
    let bench = Bench::new(50.0);
    // Where the runs would go is a file: nothing can be written there, as on a full disk.
    std::fs::create_dir(bench.out("data")).unwrap();
    bench.write("data/runs", "");
    bench.write("scenarios/second.toml", &scenario(bench.path()).replace("\"answer\"", "\"second\""));
    let out = bench.out("report");
    let code = bench.run(&["run", "answer", "second", "--out", out.to_str().unwrap()]).await;
    assert_eq!(code, Code::Error);
    let page = std::fs::read_to_string(out.join("report.md")).unwrap();
    assert!(page.contains("answer_ms") && page.contains("### second"), "both were measured: {page}");
}

#[tokio::test]
async fn an_invalid_run_has_its_own_code() {
    let bench = Bench::new(5.0);
    bench.run(&["run", "answer"]).await;
    let runs = bench.out("data/runs/answer");
    let path = std::fs::read_dir(&runs).unwrap().next().unwrap().unwrap().path();
    let mut run: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    run["validity"] = serde_json::json!({ "state": "invalid", "reasons": ["the machine was busy"] });
    std::fs::write(&path, run.to_string()).unwrap();
    let out = bench.out("report");
    assert_eq!(bench.run(&["report", "--out", out.to_str().unwrap()]).await, Code::Invalid);
    assert_eq!(bench.run(&["baseline", "save", "main"]).await, Code::Error, "nothing valid to keep");
}

#[tokio::test]
async fn commands_are_compared_in_turns() {
    let bench = Bench::new(5.0);
    bench.write("before", "{\"answer\": 5}");
    bench.write("after", "{\"answer\": 6}");
    let at = |name: &str| bench.out(name).to_string_lossy().into_owned();
    let (before, after) = (at("before"), at("after"));
    let ab = |a: &str, b: &str| {
        let figure = ["--pairs", "6", "--warm-ups", "0", "--figure", "answer_ms=/answer", "--", "cat", "{}"];
        // Other tests have the processors too.
        ["ab", a, b, "--any-load"].into_iter().chain(figure).map(str::to_owned).collect::<Vec<_>>()
    };
    let run = async |args: Vec<String>| bench.run(&args.iter().map(String::as_str).collect::<Vec<_>>()).await;
    assert_eq!(run(ab(&before, &after)).await, Code::Regression);
    assert_eq!(run(ab(&before, &before)).await, Code::Pass);
    assert_eq!(run(ab(&before, &at("missing"))).await, Code::Error);
    assert_eq!(bench.run(&["ab", "true", "true", "--pairs", "3"]).await, Code::Usage);
}

#[tokio::test]
async fn what_is_named_wrongly_is_a_usage_error() {
    let bench = Bench::new(5.0);
    assert_eq!(bench.run(&["run", "anser"]).await, Code::Usage);
    assert_eq!(bench.run(&["report"]).await, Code::Usage);
    assert_eq!(bench.run(&["baseline", "remove", "main"]).await, Code::Usage);
    assert_eq!(bench.run(&["run", "answer", "--baseline", "main"]).await, Code::Usage);
}

#[test]
fn flags_that_contradict_each_other_are_refused() {
    for args in [
        &["run", "--tier", "quick", "--repeat", "3"][..],
        &["ab", "a"],
        &["ab", "a", "b", "--commits"],
        &["run", "--set", "novalue"],
        &["compare", "a", "b", "--threshold", "-1"],
    ] {
        let args = ["paddock", "lab"].into_iter().chain(args.iter().copied());
        assert!(Paddock::try_parse_from(args).is_err());
    }
}
