//! Values that can be compared, wherever they come from: stored runs, an A/B trial, criterion, gungraun.
//!
//! A metric is known by `scenario/metric`. Its values are **independent** of each other: one per process, because many
//! samples of one process share its memory layout, its warm-up and its luck, and make chance look like certainty.

pub mod criterion;
pub mod gungraun;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::record::{Environment, RunRecord};

/// How the values of a metric came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Measured: varies by chance, needs repeats.
    Sampled,
    /// Counted (instructions, allocations): the same every time, one value suffices.
    Counted,
}

/// The independent values of one metric.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Values {
    /// How they came about.
    pub kind: Kind,
    /// The values, in the order in which they were taken.
    pub values: Vec<f64>,
}

/// One side of a comparison.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Measurements {
    /// What was measured, for the person who reads: a run id, a baseline, a command.
    pub label: String,
    /// Commit that was measured, if it is known and the same for all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// The machine, as far as two machines can be told apart: values of different ones do not compare.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machine: Option<String>,
    /// Values by `scenario/metric`.
    pub values: BTreeMap<String, Values>,
    /// Runs that were left out because they are invalid, each with its reason.
    #[serde(default)]
    pub invalid: Vec<String>,
}

impl Measurements {
    /// An empty set.
    pub fn new(label: impl Into<String>) -> Self {
        Self { label: label.into(), ..Self::default() }
    }

    /// The values of stored runs. Invalid and partial runs are left out and named.
    pub fn of_runs<'a>(label: impl Into<String>, runs: impl IntoIterator<Item = &'a RunRecord>) -> Self {
        let mut measurements = Self::new(label);
        let mut commits = Vec::new();
        for run in runs {
            let mut reasons = run.validity.reasons().to_vec();
            reasons.extend(run.partial.iter().map(|reason| format!("ended early: {reason}")));
            if !reasons.is_empty() {
                let more = match reasons.len() {
                    0 | 1 => String::new(),
                    count => format!(" (and {} more)", count - 1),
                };
                let first = reasons.first().map_or("", String::as_str);
                measurements.invalid.push(format!("{} {}: {first}{more}", run.scenario, run.id));
                continue;
            }
            commits.push(run.environment.commit.clone());
            measurements.machine.get_or_insert_with(|| machine(&run.environment));
            for metric in run.metrics.keys() {
                let name = format!("{}/{metric}", run.scenario);
                for value in run.independent_values(metric) {
                    measurements.push(&name, Kind::Sampled, value);
                }
            }
        }
        commits.dedup();
        measurements.commit = if let [commit] = commits.as_slice() { commit.clone() } else { None };
        measurements
    }

    /// Adds a value; what is not a finite number is not a value.
    pub fn push(&mut self, metric: &str, kind: Kind, value: f64) {
        if value.is_finite() {
            let values = self.values.entry(metric.to_owned());
            values.or_insert_with(|| Values { kind, values: Vec::new() }).values.push(value);
        }
    }

    /// Adds the values of another set of the same thing.
    pub fn extend(&mut self, other: Self) {
        for (metric, values) in other.values {
            for value in values.values {
                self.push(&metric, values.kind, value);
            }
        }
        self.invalid.extend(other.invalid);
        self.machine = self.machine.take().or(other.machine);
        if self.commit != other.commit {
            self.commit = self.commit.take().xor(other.commit);
        }
    }

    /// Whether there is nothing to compare.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }
}

/// The scenario and the plain name of a metric known by `scenario/metric`.
pub fn split_name(name: &str) -> (&str, &str) {
    name.split_once('/').unwrap_or(("", name))
}

fn machine(environment: &Environment) -> String {
    let cpu = &environment.cpu;
    format!("{} × {}, {} MiB", cpu.logical, cpu.model, environment.memory_mib)
}

/// A directory tree of results that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadResultsError {
    /// A file or directory cannot be read.
    #[error("cannot read `{}`", path.display())]
    Read {
        /// Which.
        path: std::path::PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// A file is not what its name says.
    #[error("`{}` is not {expected}", path.display())]
    Shape {
        /// Which file.
        path: std::path::PathBuf,
        /// What it should have been.
        expected: &'static str,
    },
    /// There are no results below the directory.
    #[error("no {expected} below `{}`", path.display())]
    Missing {
        /// The directory.
        path: std::path::PathBuf,
        /// What was looked for.
        expected: &'static str,
    },
}

/// Directories of results are not deeper than this.
const RESULT_DEPTH_MAX: usize = 8;
/// Result files that are read from one tree.
const RESULT_FILES_MAX: usize = 10_000;

/// Every file of this name below a directory, sorted by path. Bounded in depth and number.
fn files_named(root: &std::path::Path, name: &str) -> Result<Vec<std::path::PathBuf>, ReadResultsError> {
    let mut found = Vec::new();
    let mut pending = vec![(root.to_owned(), 0)];
    while let Some((dir, depth)) = pending.pop() {
        let error = |source| ReadResultsError::Read { path: dir.clone(), source };
        for entry in std::fs::read_dir(&dir).map_err(error)? {
            let entry = entry.map_err(error)?;
            let is_dir = entry.file_type().map_err(error)?.is_dir();
            if is_dir && depth < RESULT_DEPTH_MAX {
                pending.push((entry.path(), depth + 1));
            } else if !is_dir && entry.file_name() == name && found.len() < RESULT_FILES_MAX {
                found.push(entry.path());
            }
        }
    }
    found.sort();
    Ok(found)
}

fn read_json(path: &std::path::Path, expected: &'static str) -> Result<serde_json::Value, ReadResultsError> {
    let bytes =
        std::fs::read(path).map_err(|source| ReadResultsError::Read { path: path.to_owned(), source })?;
    serde_json::from_slice(&bytes).map_err(|_| ReadResultsError::Shape { path: path.to_owned(), expected })
}
