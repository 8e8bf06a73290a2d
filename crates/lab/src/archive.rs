//! Where runs and baselines are kept: JSON files below one directory.
//!
//! ```text
//! runs/<scenario>/<id>.json     one per run, invalid and partial ones too
//! baselines/<name>.json         values of valid runs only
//! selftest.json                 the last self-test
//! ```
//! A file appears whole or not at all: it is written beside its place and renamed.

use std::{
    io,
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{
    benchmarks_page::SelfTestRecord,
    measurements::Measurements,
    record::{RunRecord, SCHEMA_VERSION},
};

/// Runs kept per scenario; beyond, the oldest is removed.
pub const RUNS_PER_SCENARIO_MAX: usize = 500;
const NAME_LENGTH_MAX: usize = 100;

/// A directory of runs and baselines.
#[derive(Clone, Debug)]
pub struct Archive {
    dir: PathBuf,
}

/// A named set of valid measurements to compare with later.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Baseline {
    /// Its name.
    pub name: String,
    /// When it was saved.
    pub created_at: Timestamp,
    /// Its values.
    pub measurements: Measurements,
}

/// Something about the archive failed.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// A file cannot be read or listed.
    #[error("cannot read `{}`", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A file cannot be written. What was kept before is untouched.
    #[error("cannot write `{}`; what was kept before is untouched", path.display())]
    Write {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A file is not what it should be.
    #[error("`{}` is not {expected} of this version", path.display())]
    Shape {
        /// Which.
        path: PathBuf,
        /// What it should be.
        expected: &'static str,
        /// Where it departs.
        source: serde_json::Error,
    },
    /// A run of another version of its shape.
    #[error("`{}` has the shape {schema_version} of a run, this version reads {SCHEMA_VERSION}", path.display())]
    SchemaVersion {
        /// Which.
        path: PathBuf,
        /// What its writer wrote.
        schema_version: u32,
    },
    /// A name that cannot be a file name.
    #[error("`{name}` cannot be a name: use letters, digits, `-`, `_` and `.`, at most {NAME_LENGTH_MAX}")]
    Name {
        /// The name.
        name: String,
    },
    /// Nothing valid to make a baseline of.
    #[error("no valid run to make a baseline of; {} left out{}", reasons.len(), first(reasons))]
    NothingValid {
        /// Why each run was left out.
        reasons: Vec<String>,
    },
    /// The id or its beginning fits no run, or several.
    #[error("{count} runs have an id that begins with `{prefix}`")]
    RunId {
        /// What was asked for.
        prefix: String,
        /// How many fit.
        count: usize,
    },
}

impl Archive {
    /// The archive in a directory; it is created with the first thing that is kept.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into() }
    }

    /// The directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Keeps a run and returns its file.
    pub fn save(&self, run: &RunRecord) -> Result<PathBuf, ArchiveError> {
        let dir = self.runs_dir(&run.scenario)?;
        let path = dir.join(format!("{}.json", run.id));
        write_json(&path, run)?;
        prune(&dir)?;
        Ok(path)
    }

    /// Every run of a scenario, oldest first. Files that cannot be read are named in the log and left out.
    pub fn runs(&self, scenario: &str) -> Result<Vec<RunRecord>, ArchiveError> {
        self.last_runs(scenario, usize::MAX)
    }

    /// The last runs of a scenario, at most so many, oldest first; as for [`Archive::runs`].
    pub fn last_runs(&self, scenario: &str, count_max: usize) -> Result<Vec<RunRecord>, ArchiveError> {
        let files = json_files(&self.runs_dir(scenario)?)?;
        let mut runs: Vec<RunRecord> = readable(files.iter().rev(), read_run).take(count_max).collect();
        runs.reverse();
        Ok(runs)
    }

    /// Keeps the last self-test.
    pub fn save_selftest(&self, record: &SelfTestRecord) -> Result<PathBuf, ArchiveError> {
        let path = self.dir.join("selftest.json");
        write_json(&path, record)?;
        Ok(path)
    }

    /// The last self-test, if there was one.
    pub fn selftest(&self) -> Result<Option<SelfTestRecord>, ArchiveError> {
        let path = self.dir.join("selftest.json");
        if path.is_file() { read_json(&path, "a self-test").map(Some) } else { Ok(None) }
    }

    /// The last run of a scenario.
    pub fn last_run(&self, scenario: &str) -> Result<Option<RunRecord>, ArchiveError> {
        Ok(self.last_runs(scenario, 1)?.pop())
    }

    /// Names of the scenarios that have runs.
    pub fn scenarios(&self) -> Result<Vec<String>, ArchiveError> {
        let dir = self.dir.join("runs");
        let entries = match std::fs::read_dir(&dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other.map_err(|source| ArchiveError::Read { path: dir.clone(), source })?,
        };
        let mut names: Vec<String> =
            entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect();
        names.sort();
        Ok(names)
    }

    /// The one run whose id begins so.
    pub fn run_by_id(&self, prefix: &str) -> Result<RunRecord, ArchiveError> {
        let mut found = Vec::new();
        for scenario in self.scenarios()? {
            let files = json_files(&self.runs_dir(&scenario)?)?;
            found.extend(files.into_iter().filter(|path| file_stem(path).starts_with(prefix)));
        }
        match found.as_slice() {
            [path] => read_run(path),
            _ => Err(ArchiveError::RunId { prefix: prefix.to_owned(), count: found.len() }),
        }
    }

    /// Keeps measurements under a name. Refuses if nothing in them is valid.
    pub fn save_baseline(&self, name: &str, measurements: Measurements) -> Result<PathBuf, ArchiveError> {
        if measurements.is_empty() {
            return Err(ArchiveError::NothingValid { reasons: measurements.invalid });
        }
        let path = self.baseline_path(name)?;
        let baseline = Baseline { name: name.to_owned(), created_at: Timestamp::now(), measurements };
        write_json(&path, &baseline)?;
        Ok(path)
    }

    /// The baseline of a name, if there is one.
    pub fn baseline(&self, name: &str) -> Result<Option<Baseline>, ArchiveError> {
        let path = self.baseline_path(name)?;
        if path.is_file() { read_json(&path, "a baseline").map(Some) } else { Ok(None) }
    }

    /// Every baseline, by name.
    pub fn baselines(&self) -> Result<Vec<Baseline>, ArchiveError> {
        let files = json_files(&self.dir.join("baselines"))?;
        Ok(readable(files.iter(), |path| read_json(path, "a baseline")).collect())
    }

    /// Removes a baseline; says whether there was one.
    pub fn remove_baseline(&self, name: &str) -> Result<bool, ArchiveError> {
        let path = self.baseline_path(name)?;
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            other => other.map(|()| true).map_err(|source| ArchiveError::Write { path, source }),
        }
    }

    fn runs_dir(&self, scenario: &str) -> Result<PathBuf, ArchiveError> {
        Ok(self.dir.join("runs").join(checked_name(scenario)?))
    }

    fn baseline_path(&self, name: &str) -> Result<PathBuf, ArchiveError> {
        Ok(self.dir.join("baselines").join(format!("{}.json", checked_name(name)?)))
    }
}

/// Reads a record from a file, wherever it lies. One that another version wrote in another shape is refused.
pub fn read_run(path: &Path) -> Result<RunRecord, ArchiveError> {
    #[derive(Deserialize)]
    struct Versioned {
        schema_version: u32,
    }
    let Versioned { schema_version } = read_json(path, "a run")?;
    if schema_version != SCHEMA_VERSION {
        return Err(ArchiveError::SchemaVersion { path: path.to_owned(), schema_version });
    }
    read_json(path, "a run")
}

/// What can be read of some files; the others are named in the log.
fn readable<'a, T>(
    paths: impl Iterator<Item = &'a PathBuf>,
    read: impl Fn(&Path) -> Result<T, ArchiveError>,
) -> impl Iterator<Item = T> {
    paths.filter_map(move |path| match read(path) {
        Ok(value) => Some(value),
        Err(error) => {
            tracing::warn!(path = %path.display(), error = %paddock_platform::problem::error_chain(&error), "left out");
            None
        }
    })
}

/// Writes any value as JSON, whole or not at all.
pub fn write_json(path: &Path, value: &impl Serialize) -> Result<(), ArchiveError> {
    let error = |source| ArchiveError::Write { path: path.to_owned(), source };
    let text = serde_json::to_vec_pretty(value).map_err(|source| error(io::Error::other(source)))?;
    write(path, &text)
}

/// Writes a file, whole or not at all.
pub fn write(path: &Path, bytes: &[u8]) -> Result<(), ArchiveError> {
    let error = |source| ArchiveError::Write { path: path.to_owned(), source };
    let dir = path.parent().unwrap_or_else(|| Path::new("."));
    std::fs::create_dir_all(dir).map_err(error)?;
    // Readable by others as far as the umask allows: reports are made to be handed on.
    let permissions = std::os::unix::fs::PermissionsExt::from_mode(0o666);
    let mut file = tempfile::Builder::new().permissions(permissions).tempfile_in(dir).map_err(error)?;
    io::Write::write_all(&mut file, bytes).map_err(error)?;
    // On the disk before it has its name: a crash between must not leave the name on half a file.
    file.as_file().sync_all().map_err(error)?;
    file.persist(path).map_err(|failed| error(failed.error))?;
    // Some file systems do not sync directories; the file is whole either way.
    let _ = std::fs::File::open(dir).and_then(|dir| dir.sync_all());
    Ok(())
}

fn first(reasons: &[String]) -> String {
    reasons.first().map(|reason| format!(", for example {reason}")).unwrap_or_default()
}

/// Removes the oldest runs beyond the maximum: ids sort by time, so the first files are the oldest.
fn prune(dir: &Path) -> Result<(), ArchiveError> {
    let files = json_files(dir)?;
    for path in files.iter().take(files.len().saturating_sub(RUNS_PER_SCENARIO_MAX)) {
        tracing::debug!(path = %path.display(), "removing the oldest run");
        std::fs::remove_file(path).map_err(|source| ArchiveError::Write { path: path.clone(), source })?;
    }
    Ok(())
}

fn checked_name(name: &str) -> Result<&str, ArchiveError> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let fits = !name.is_empty() && name.len() <= NAME_LENGTH_MAX && !name.starts_with('.');
    if fits && name.bytes().all(allowed) {
        Ok(name)
    } else {
        Err(ArchiveError::Name { name: name.to_owned() })
    }
}

/// The JSON files of a directory, sorted by name; none if it does not exist.
fn json_files(dir: &Path) -> Result<Vec<PathBuf>, ArchiveError> {
    let entries = match std::fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(|source| ArchiveError::Read { path: dir.to_owned(), source })?,
    };
    let paths = entries.flatten().map(|entry| entry.path());
    let mut paths: Vec<PathBuf> =
        paths.filter(|path| path.extension().is_some_and(|ext| ext == "json")).collect();
    paths.sort();
    Ok(paths)
}

fn file_stem(path: &Path) -> &str {
    path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default()
}

fn read_json<T: DeserializeOwned>(path: &Path, expected: &'static str) -> Result<T, ArchiveError> {
    let text = std::fs::read(path).map_err(|source| ArchiveError::Read { path: path.to_owned(), source })?;
    serde_json::from_slice(&text).map_err(|source| ArchiveError::Shape {
        path: path.to_owned(),
        expected,
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{record::Validity, synthetic::ServerRun};

    fn run(seed: u64) -> RunRecord {
        ServerRun { seconds: 1, rate_per_s: 50.0, seed, ..ServerRun::default() }.record()
    }

    #[test]
    fn a_run_is_found_again_by_the_beginning_of_its_id() {
        let dir = tempfile::tempdir().unwrap();
        let archive = Archive::new(dir.path());
        assert_eq!(archive.last_run("healthz").unwrap(), None);
        let (first, second) = (run(1), run(2));
        archive.save(&first).unwrap();
        archive.save(&second).unwrap();
        assert_eq!(archive.last_run("healthz").unwrap().as_ref(), Some(&second));
        assert_eq!(archive.run_by_id(&first.id.to_string()).unwrap(), first);
        let error = archive.run_by_id("0199").unwrap_err().to_string();
        assert!(error.starts_with("2 runs have an id"), "{error}");
    }

    #[test]
    fn an_invalid_run_never_becomes_a_baseline() {
        let dir = tempfile::tempdir().unwrap();
        let archive = Archive::new(dir.path());
        let mut invalid = run(1);
        invalid.validity = Validity::Invalid { reasons: vec!["the machine was busy".to_owned()] };
        let mut partial = run(2);
        partial.partial = Some("interrupted".to_owned());
        let error = archive
            .save_baseline("main", Measurements::of_runs("main", [&invalid, &partial]))
            .unwrap_err()
            .to_string();
        assert!(error.contains("2 left out") && error.contains("the machine was busy"), "{error}");
        archive.save_baseline("main", Measurements::of_runs("main", [&invalid, &run(3)])).unwrap();
        let baseline = archive.baseline("main").unwrap().unwrap();
        assert_eq!(baseline.measurements.values["healthz/throughput_per_s"].values.len(), 1);
        assert!(archive.remove_baseline("main").unwrap());
        assert!(!archive.remove_baseline("main").unwrap());
    }

    #[test]
    fn a_file_that_is_broken_or_of_another_version_hides_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let archive = Archive::new(dir.path());
        let good = run(1);
        let path = archive.save(&good).unwrap();
        let (broken, foreign) = (path.with_file_name("a.json"), path.with_file_name("z.json"));
        std::fs::write(&broken, "{ half").unwrap();
        let mut other = serde_json::to_value(&good).unwrap();
        other["schema_version"] = (SCHEMA_VERSION + 1).into();
        std::fs::write(&foreign, other.to_string()).unwrap();
        assert_eq!(archive.runs("healthz").unwrap(), std::slice::from_ref(&good));
        assert_eq!(archive.last_run("healthz").unwrap(), Some(good));
        assert!(matches!(read_run(&foreign), Err(ArchiveError::SchemaVersion { .. })));
        assert!(matches!(read_run(&broken), Err(ArchiveError::Shape { .. })));
    }

    #[test]
    fn a_name_cannot_leave_the_directory() {
        let archive = Archive::new("unused");
        for name in ["../main", "", ".hidden", "a/b", &"x".repeat(101)] {
            assert!(matches!(archive.baseline(name), Err(ArchiveError::Name { .. })), "{name}");
        }
    }

    #[test]
    fn a_file_that_cannot_be_written_leaves_what_was_there() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("kept.json");
        std::fs::create_dir(&path).unwrap(); // a directory cannot be replaced by a file
        let error = write(&path, b"{}").unwrap_err().to_string();
        assert!(error.contains("what was kept before is untouched"), "{error}");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "no temporary file is left");
    }
}
