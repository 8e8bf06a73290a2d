//! What a person names on the command line to compare: a run, a baseline, a file, a directory of results.

use std::path::{Path, PathBuf};

use jiff::Timestamp;

use crate::{
    archive::{self, Archive, ArchiveError},
    measurements::{Measurements, ReadResultsError, criterion, gungraun},
    record::RunRecord,
};

/// Runs of one scenario and commit that are taken together.
const RUNS_TAKEN_MAX: usize = 60;

/// A name that stands for no measurements.
#[derive(Debug, thiserror::Error)]
pub enum SubjectError {
    /// Nothing has that name.
    #[error(
        "nothing is called `{name}`: no baseline, no run whose id begins so, no scenario with runs, no file and no \
         directory with results; `paddock lab baseline list` shows the baselines"
    )]
    Unknown {
        /// What was named.
        name: String,
    },
    /// There are runs of the scenario, but none of the commit.
    #[error("no run of `{scenario}` at a commit that begins with `{commit}`")]
    NoSuchCommit {
        /// The scenario.
        scenario: String,
        /// The commit as it was named.
        commit: String,
    },
    /// The archive cannot be read.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// Results of another tool cannot be read.
    #[error(transparent)]
    Results(#[from] ReadResultsError),
}

/// Measurements by name. In this order: a file with a run; a directory with runs, criterion or gungraun results; a
/// baseline; `scenario` (its last runs that measured the same as the newest) or `scenario@commit`; the beginning of a
/// run's id.
/// Several names separated by commas are taken together.
pub fn resolve(name: &str, archive: &Archive) -> Result<Measurements, SubjectError> {
    let mut parts = name.split(',').map(str::trim).filter(|part| !part.is_empty());
    let Some(first) = parts.next() else { return Err(SubjectError::Unknown { name: name.to_owned() }) };
    let mut measurements = resolve_one(first, archive)?;
    for part in parts {
        measurements.extend(resolve_one(part, archive)?);
    }
    name.clone_into(&mut measurements.label);
    Ok(measurements)
}

/// The last runs of a scenario that began after a moment and measured the same as the newest of them.
pub fn runs_after(scenario: &str, after: Timestamp, archive: &Archive) -> Result<Measurements, SubjectError> {
    let mut runs = archive.runs(scenario)?;
    runs.retain(|run| run.started_at > after);
    Ok(Measurements::of_runs(scenario, last_alike(&runs, None)))
}

fn resolve_one(name: &str, archive: &Archive) -> Result<Measurements, SubjectError> {
    let path = Path::new(name);
    if path.is_file() {
        return Ok(Measurements::of_runs(name, [&archive::read_run(path)?]));
    }
    if path.is_dir() {
        return read_directory(path);
    }
    if let Ok(Some(baseline)) = archive.baseline(name) {
        return Ok(baseline.measurements);
    }
    let (scenario, commit) =
        name.split_once('@').map_or((name, None), |(scenario, commit)| (scenario, Some(commit)));
    let runs = archive.runs(scenario).unwrap_or_default();
    if !runs.is_empty() {
        let runs = last_alike(&runs, commit);
        return match (runs.is_empty(), commit) {
            (true, Some(commit)) => {
                Err(SubjectError::NoSuchCommit { scenario: scenario.to_owned(), commit: commit.to_owned() })
            }
            _ => Ok(Measurements::of_runs(name, runs)),
        };
    }
    match archive.run_by_id(name) {
        Ok(run) => Ok(Measurements::of_runs(name, [&run])),
        Err(ArchiveError::RunId { count: 0, .. }) => Err(SubjectError::Unknown { name: name.to_owned() }),
        Err(error) => Err(error.into()),
    }
}

/// The newest runs that measured the same: one form of one version and commit, with or without changes on top of it, with
/// one configuration. Of the named commit, or of that of the last run.
fn last_alike<'a>(runs: &'a [RunRecord], commit: Option<&str>) -> Vec<&'a RunRecord> {
    let fits = |run: &&RunRecord| match (commit, &run.environment.commit) {
        (Some(wanted), Some(commit)) => commit.starts_with(wanted),
        (Some(_), None) => false,
        (None, _) => true,
    };
    let Some(last) = runs.iter().rev().find(fits) else { return Vec::new() };
    let key = |run: &RunRecord| {
        let environment = run.environment.clone();
        let (commit, modified) = (environment.commit, environment.modified);
        (run.form, commit, modified, environment.version, environment.config_hash)
    };
    let wanted = key(last);
    let same = |run: &&RunRecord| key(run) == wanted;
    let mut taken: Vec<&RunRecord> = runs.iter().rev().filter(same).take(RUNS_TAKEN_MAX).collect();
    taken.reverse();
    taken
}

fn read_directory(dir: &Path) -> Result<Measurements, SubjectError> {
    let runs: Vec<RunRecord> =
        json_files(dir).iter().filter_map(|path| archive::read_run(path).ok()).collect();
    if !runs.is_empty() {
        return Ok(Measurements::of_runs(dir.display().to_string(), &runs));
    }
    match criterion::read(dir) {
        Err(ReadResultsError::Missing { .. }) => Ok(gungraun::read(dir)?),
        other => Ok(other?),
    }
}

fn json_files(dir: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(dir) else { return Vec::new() };
    let paths = entries.flatten().map(|entry| entry.path());
    let mut paths: Vec<PathBuf> =
        paths.filter(|path| path.extension().is_some_and(|ext| ext == "json")).collect();
    paths.sort();
    paths
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::synthetic::ServerRun;

    fn run(seed: u64, commit: &str) -> RunRecord {
        let mut run = ServerRun { seconds: 1, rate_per_s: 20.0, seed, ..ServerRun::default() }.record();
        run.environment.commit = Some(commit.to_owned());
        run
    }

    fn count(measurements: &Measurements) -> usize {
        measurements.values["healthz/throughput_per_s"].values.len()
    }

    #[test]
    fn only_runs_that_measured_the_same_are_taken_together() {
        let dir = tempfile::tempdir().unwrap();
        let archive = Archive::new(dir.path());
        let mut seed = 0;
        let mut save = |change: fn(&mut RunRecord)| {
            seed += 1;
            let mut run = run(seed, "aaa1");
            change(&mut run);
            archive.save(&run).unwrap();
            count(&resolve("healthz", &archive).unwrap())
        };
        assert_eq!(save(|_| {}), 1);
        assert_eq!(save(|_| {}), 2);
        assert_eq!(save(|run| run.environment.modified = true), 1);
        assert_eq!(save(|run| run.environment.config_hash = Some("other".to_owned())), 1);
        assert_eq!(save(|run| run.environment.version = "another".to_owned()), 1);
        assert_eq!(save(|run| run.form = crate::record::Form::Full), 1);
        assert_eq!(save(|_| {}), 3);
    }

    #[test]
    fn runs_before_a_moment_are_not_taken() {
        let dir = tempfile::tempdir().unwrap();
        let archive = Archive::new(dir.path());
        let mut old = run(1, "aaa1");
        let moment = old.started_at;
        archive.save(&old).unwrap();
        assert!(runs_after("healthz", moment, &archive).unwrap().is_empty());
        old.id = uuid::Uuid::now_v7();
        old.started_at = moment + jiff::SignedDuration::from_secs(1);
        archive.save(&old).unwrap();
        assert_eq!(count(&runs_after("healthz", moment, &archive).unwrap()), 1);
    }

    #[test]
    fn runs_are_found_by_scenario_commit_id_file_and_directory() {
        let dir = tempfile::tempdir().unwrap();
        let archive = Archive::new(dir.path());
        let mut last = PathBuf::new();
        for (seed, commit) in [(1, "aaa1"), (2, "aaa1"), (3, "bbb2")] {
            last = archive.save(&run(seed, commit)).unwrap();
        }
        let resolve = |name: &str| resolve(name, &archive);
        assert_eq!(count(&resolve("healthz").unwrap()), 1, "the newest commit");
        assert_eq!(count(&resolve("healthz@aaa").unwrap()), 2);
        assert_eq!(count(&resolve("healthz@aaa,healthz@bbb").unwrap()), 3);
        assert_eq!(count(&resolve(last.to_str().unwrap()).unwrap()), 1);
        assert_eq!(count(&resolve(last.parent().unwrap().to_str().unwrap()).unwrap()), 3);
        assert!(matches!(resolve("healthz@ccc"), Err(SubjectError::NoSuchCommit { .. })));
        assert!(matches!(resolve("nothing"), Err(SubjectError::Unknown { .. })));
        archive.save_baseline("main", resolve("healthz@aaa").unwrap()).unwrap();
        assert_eq!(count(&resolve("main").unwrap()), 2);
    }
}
