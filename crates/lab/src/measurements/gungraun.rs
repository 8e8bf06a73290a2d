//! Results of gungraun (formerly iai-callgrind): `target/gungraun/…/summary.json`, written with `--save-summary=json`.
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

/// Total instructions (`Ir`) of the newer of the two runs that a summary may hold.
fn instructions(summary: &Value) -> Option<f64> {
    let profiles = summary.get("profiles")?.as_array()?;
    profiles.iter().find_map(|profile| {
        let events = profile.pointer("/summaries/total/summary/Callgrind")?;
        let metrics = events.pointer("/Ir/metrics")?;
        let newer = metrics.get("Left").or_else(|| metrics.pointer("/Both/0"))?;
        newer.get("Int").or_else(|| newer.get("Float"))?.as_f64()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instructions_are_counted_values() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, metrics: Value| {
            let path = dir.path().join(name);
            std::fs::create_dir_all(&path).unwrap();
            let summary = serde_json::json!({
                "module_path": "bench::parse",
                "id": name,
                "profiles": [{ "summaries": { "total": { "summary": { "Callgrind": { "Ir": { "metrics": metrics } } } } } }],
            });
            std::fs::write(path.join("summary.json"), summary.to_string()).unwrap();
        };
        write("first", serde_json::json!({ "Left": { "Int": 1_000 } }));
        write("again", serde_json::json!({ "Both": [{ "Int": 1_100 }, { "Int": 1_000 }] }));
        let measurements = read(dir.path()).unwrap();
        let values = &measurements.values["gungraun/bench::parse::again_instructions"];
        assert_eq!((values.kind, values.values.as_slice()), (Kind::Counted, [1_100.0].as_slice()));
        assert_eq!(measurements.values["gungraun/bench::parse::first_instructions"].values, [1_000.0]);
    }
}
