//! Results of criterion: `target/criterion/<group>/<bench>/new/estimates.json`.
//!
//! One directory is one process, so it yields one value per bench however many samples criterion took. Directories of
//! several runs (`CRITERION_HOME=target/criterion-$n cargo bench …` six times, then the six directories separated by commas) give
//! the repeats that a comparison needs. They decide only where they are named with `--metric`.

use std::path::Path;

use super::{Kind, Measurements, ReadResultsError, files_named, read_json};

const EXPECTED: &str = "criterion estimates (`new/estimates.json`)";

/// Reads the median of every bench, in nanoseconds, as `criterion/<bench>_ns`.
pub fn read(dir: &Path) -> Result<Measurements, ReadResultsError> {
    let mut measurements = Measurements::new(dir.display().to_string());
    for path in files_named(dir, "estimates.json")? {
        let Some(parent) = path.parent().filter(|parent| parent.ends_with("new")) else { continue };
        let estimates = read_json(&path, EXPECTED)?;
        let median = estimates.pointer("/median/point_estimate").and_then(serde_json::Value::as_f64);
        let median =
            median.ok_or_else(|| ReadResultsError::Shape { path: path.clone(), expected: EXPECTED })?;
        let name = bench_name(dir, parent);
        measurements.push(&format!("criterion/{name}_ns"), Kind::Sampled, median);
    }
    if measurements.is_empty() {
        return Err(ReadResultsError::Missing { path: dir.to_owned(), expected: EXPECTED });
    }
    Ok(measurements)
}

/// The id that criterion itself shows, else the directories below the root.
fn bench_name(root: &Path, new: &Path) -> String {
    let id = read_json(&new.join("benchmark.json"), EXPECTED).ok();
    let id = id.and_then(|id| id.get("full_id").and_then(|id| id.as_str()).map(str::to_owned));
    id.unwrap_or_else(|| {
        let bench = new.parent().unwrap_or(new);
        bench.strip_prefix(root).unwrap_or(bench).display().to_string()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_each_bench_is_one_value() {
        let dir = tempfile::tempdir().unwrap();
        for (bench, median) in [("parse/small", 120.5), ("parse/large", 9_000.0)] {
            for (form, factor) in [("new", 1.0), ("base", 2.0)] {
                let path = dir.path().join(bench).join(form);
                std::fs::create_dir_all(&path).unwrap();
                let estimates = serde_json::json!({ "median": { "point_estimate": median * factor } });
                std::fs::write(path.join("estimates.json"), estimates.to_string()).unwrap();
            }
        }
        let measurements = read(dir.path()).unwrap();
        assert_eq!(measurements.values.len(), 2);
        assert_eq!(measurements.values["criterion/parse/small_ns"].values, [120.5]);
    }

    #[test]
    fn a_directory_without_results_is_an_error_that_names_them() {
        let dir = tempfile::tempdir().unwrap();
        assert!(read(dir.path()).unwrap_err().to_string().starts_with("no criterion estimates"));
    }
}
