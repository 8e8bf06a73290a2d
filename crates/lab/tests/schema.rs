//! The published schemas are those of the code. Run with `UPDATE_SCHEMAS=1` to write them anew.
#![expect(clippy::unwrap_used, reason = "a test that cannot prepare has to stop")]

use std::path::{Path, PathBuf};

use paddock_lab::{record::RunRecord, report::Report, synthetic::ServerRun};
use schemars::{JsonSchema, schema_for};
use serde::Serialize;

fn published(name: &str) -> PathBuf {
    Path::new("../../docs").join(name)
}

fn check<T: JsonSchema + Serialize>(name: &str, example: &T) {
    let schema = schema_for!(T).to_value();
    let text = serde_json::to_string_pretty(&schema).unwrap() + "\n";
    let path = published(name);
    if std::env::var_os("UPDATE_SCHEMAS").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, &text).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(kept == text, "docs/{name} is out of date: run the tests with UPDATE_SCHEMAS=1");
    let example = serde_json::to_value(example).unwrap();
    jsonschema::validator_for(&schema).unwrap().validate(&example).unwrap();
}

fn run() -> RunRecord {
    ServerRun { seconds: 2, rate_per_s: 50.0, error_ratio: 0.1, ..ServerRun::default() }.record()
}

#[test]
fn the_published_schema_of_a_run_is_current() {
    check("lab-run.schema.json", &run());
}

#[test]
fn the_published_schema_of_a_report_is_current() {
    check(
        "lab-report.schema.json",
        &Report::new(vec![run()], &paddock_lab::objectives::Objectives::default(), Vec::new()),
    );
}
