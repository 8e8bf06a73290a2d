//! Results of gungraun: `summary.json` of every bench, written with `--save-summary=json`.
//!
//! Instructions are counted, not sampled: one value is enough, and a small change is a real one.

use std::path::Path;

use serde_json::Value;

use super::{Kind, Measurements, ReadResultsError, files_named, read_json};

const EXPECTED: &str = "gungraun summaries (`summary.json`, written with `--save-summary=json`)";

/// Reads the instructions of every bench as `gungraun/<module path>_instructions`.
pub fn read(dir: &Path) -> Result<Measurements, ReadResultsError> {
    let mut measurements = Measurements::new(dir.display().to_string());
    for path in files_named(dir, "summary.json")? {
        let summary = read_json(&path, EXPECTED)?;
        let Some(instructions) = instructions(&summary) else { continue };
        let text = |key: &str| summary.get(key).and_then(Value::as_str);
        let module = text("module_path").unwrap_or("bench");
        let name = text("id").map_or_else(|| module.to_owned(), |id| format!("{module}::{id}"));
        measurements.push(&format!("gungraun/{name}_instructions"), Kind::Counted, instructions);
    }
    if measurements.is_empty() {
        return Err(ReadResultsError::Missing { path: dir.to_owned(), expected: EXPECTED });
    }
    Ok(measurements)
}

/// Total instructions (`Ir`) of the run that was made last; beside it a summary may have those of the run before.
fn instructions(summary: &Value) -> Option<f64> {
    let profiles = summary.get("profiles")?.as_array()?;
    profiles.iter().find_map(|profile| profile.pointer("/data/total/metrics/Ir/values/new")?.as_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(dir: &Path, bench: &str, profiles: &Value) {
        let path = dir.join(bench);
        std::fs::create_dir_all(&path).unwrap();
        let summary = serde_json::json!({
            "version": "7",
            "module_path": "instructions::parse::address",
            "id": bench,
            "profiles": profiles,
        });
        std::fs::write(path.join("summary.json"), summary.to_string()).unwrap();
    }

    fn counted(tool: &str, values: &Value) -> Value {
        serde_json::json!({
            "tool": tool,
            "data": { "parts": [], "total": { "metrics": { "Ir": { "change": null, "values": values } } } },
        })
    }

    #[test]
    fn the_instructions_of_the_last_run_are_one_value_of_each_bench() {
        let dir = tempfile::tempdir().unwrap();
        write(
            dir.path(),
            "first",
            &serde_json::json!([counted("Callgrind", &serde_json::json!({ "new": 1_000 }))]),
        );
        let again = counted("Callgrind", &serde_json::json!({ "new": 1_100, "old": 1_000 }));
        let other =
            serde_json::json!({ "tool": "DHAT", "data": { "parts": [], "total": { "metrics": {} } } });
        write(dir.path(), "again", &serde_json::json!([other, again]));
        let measurements = read(dir.path()).unwrap();
        let values = &measurements.values["gungraun/instructions::parse::address::again_instructions"];
        assert_eq!((values.kind, values.values.as_slice()), (Kind::Counted, [1_100.0].as_slice()));
        let first = &measurements.values["gungraun/instructions::parse::address::first_instructions"];
        assert_eq!(first.values, [1_000.0]);
    }

    #[test]
    fn a_directory_without_counts_is_an_error_that_says_how_they_are_made() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), "empty", &serde_json::json!([]));
        assert!(read(dir.path()).unwrap_err().to_string().contains("--save-summary=json"));
    }
}
