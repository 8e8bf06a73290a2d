//! Values that can be compared, wherever they come from: stored runs, an A/B trial, criterion, gungraun.
//!
//! A metric is known by `scenario/metric`. Its values are **independent** of each other: one per process, because many
//! samples of one process share its memory layout, its warm-up and its luck, and make chance look like certainty.

pub mod criterion;
pub mod gungraun;

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::record::{Environment, Form, RunRecord};

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
    /// Commits that were measured; several if runs of several were taken together.
    #[serde(default)]
    pub commits: BTreeSet<String>,
    /// The machines, as far as two can be told apart: values of different ones do not compare.
    #[serde(default)]
    pub machines: BTreeSet<String>,
    /// What was run of each scenario. Values of different conditions do not compare, and more than one per scenario means
    /// that its values do not belong together.
    #[serde(default)]
    pub conditions: BTreeMap<String, BTreeSet<Condition>>,
    /// Values by `scenario/metric`.
    pub values: BTreeMap<String, Values>,
    /// Runs that were left out because they are invalid, each with its reason.
    #[serde(default)]
    pub invalid: Vec<String>,
}

/// What was run of a scenario.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct Condition {
    /// Which form of it.
    pub form: Form,
    /// [`RunRecord::scenario_hash`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scenario_hash: Option<String>,
}

impl Measurements {
    /// An empty set.
    pub fn new(label: impl Into<String>) -> Self {
        Self { label: label.into(), ..Self::default() }
    }

    /// The values of stored runs. Invalid and partial runs are left out and named.
    pub fn of_runs<'a>(label: impl Into<String>, runs: impl IntoIterator<Item = &'a RunRecord>) -> Self {
        let mut measurements = Self::new(label);
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
            measurements.commits.insert(commit(&run.environment));
            measurements.machines.insert(machine(&run.environment));
            let condition = Condition { form: run.form, scenario_hash: run.scenario_hash.clone() };
            measurements.conditions.entry(run.scenario.clone()).or_default().insert(condition);
            for metric in run.metrics.keys() {
                let name = format!("{}/{metric}", run.scenario);
                for value in run.independent_values(metric) {
                    measurements.push(&name, Kind::Sampled, value);
                }
            }
        }
        measurements
    }

    /// The commit that was measured, if it is known and the same for all.
    pub fn commit(&self) -> Option<&str> {
        let mut commits = self.commits.iter().map(String::as_str);
        match (commits.next(), commits.next()) {
            (Some(commit), None) if commit != UNKNOWN_COMMIT => Some(commit),
            _ => None,
        }
    }

    /// Names of the scenarios that have values.
    pub fn scenarios(&self) -> BTreeSet<&str> {
        self.values.keys().map(|metric| split_name(metric).0).collect()
    }

    /// Leaves out what is not of these scenarios.
    pub fn retain_scenarios(&mut self, names: &BTreeSet<&str>) {
        self.values.retain(|metric, _| names.contains(split_name(metric).0));
        self.conditions.retain(|scenario, _| names.contains(scenario.as_str()));
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
        self.machines.extend(other.machines);
        self.commits.extend(other.commits);
        for (scenario, conditions) in other.conditions {
            self.conditions.entry(scenario).or_default().extend(conditions);
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

/// Stands for a commit that is not known.
const UNKNOWN_COMMIT: &str = "unknown";

fn commit(environment: &Environment) -> String {
    let commit = environment.commit.as_deref().unwrap_or(UNKNOWN_COMMIT);
    if environment.modified { format!("{commit} with changes") } else { commit.to_owned() }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::synthetic::ServerRun;

    fn run(commit: &str) -> RunRecord {
        let mut run = ServerRun { seconds: 1, rate_per_s: 20.0, ..ServerRun::default() }.record();
        run.environment.commit = Some(commit.to_owned());
        run
    }

    #[test]
    fn runs_of_several_commits_and_machines_taken_together_have_no_commit_of_their_own() {
        let (a, b) = (run("a"), run("b"));
        assert_eq!(Measurements::of_runs("one", [&a, &a]).commit(), Some("a"));
        // In any order, and also when the first commit comes again.
        for runs in [[&a, &b, &a], [&b, &a, &a]] {
            let mut joined = Measurements::new("joined");
            for run in runs {
                joined.extend(Measurements::of_runs("part", [run]));
            }
            assert_eq!((joined.commit(), joined.commits.len()), (None, 2));
        }
        let mut elsewhere = run("a");
        elsewhere.environment.memory_mib += 1;
        assert_eq!(Measurements::of_runs("two", [&a, &elsewhere]).machines.len(), 2);
    }
}
