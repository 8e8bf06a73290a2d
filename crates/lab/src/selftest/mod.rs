//! Does the lab itself tell the truth? Its parts against data and targets whose answer is known.
//!
//! - a **frozen target**: a server that stands still for 2 of 6 seconds has a latency distribution that can be worked out
//!   on paper; a generator that waits for answers reports a thousandth of it;
//! - **histogram**, **analysis**, **pacer**: right, and quick enough;
//! - **leak detector** and **regression detector**: how often they see what is there, and what is not.
//!
//! The full form also slows real processes down and lets the gate find out, and holds the open loop beside that of oha,
//! where that is installed.

mod detectors;
mod freeze;
mod instruments;
mod process;
mod rates;
mod rivals;

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

pub use self::freeze::FreezePlan;
use crate::{
    record::{self, Environment, Form, RunRecord, Validity},
    verdict::Level,
};

/// Name under which objectives refer to the self-test, and under which its figures are kept.
pub const SCENARIO: &str = "selftest";

/// How to carry the self-test out.
#[derive(Clone, Debug)]
pub struct SelfTest {
    /// Command that serves HTTP on a free loopback port and prints its address as a line; see [`crate::fixture::serve`].
    pub server: Vec<String>,
    /// Command to which a number of rounds is appended and that prints `{"cpu_ms": …}`; see [`crate::fixture::burn`].
    pub burner: Vec<String>,
    /// The freeze to measure through.
    pub freeze: FreezePlan,
    /// Whether to run other load generators, where installed, against the same freeze.
    pub rivals: bool,
    /// Whether to try the gate on real processes, which takes minutes.
    pub full: bool,
}

/// What came of one case.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Case {
    /// What was tested.
    pub name: String,
    /// Whether the lab told the truth; `warn` where it was right but slower than promised.
    pub level: Level,
    /// What was found, as name and value.
    pub figures: Vec<(String, String)>,
    /// The figures that objectives refer to, by metric.
    #[serde(default)]
    pub metrics: BTreeMap<String, f64>,
    /// What to know about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

impl Case {
    fn new(name: &str, level: Level) -> Self {
        Self { name: name.to_owned(), level, figures: Vec::new(), metrics: BTreeMap::new(), note: None }
    }

    fn figure(mut self, name: &str, value: impl Into<String>) -> Self {
        self.figures.push((name.to_owned(), value.into()));
        self
    }

    fn metric(mut self, name: &str, value: f64) -> Self {
        self.metrics.insert(name.to_owned(), value);
        self
    }

    fn note(mut self, note: impl Into<String>) -> Self {
        self.note = Some(note.into());
        self
    }

    /// A case that could not be carried out.
    fn impossible(name: &str, reason: impl std::fmt::Display) -> Self {
        Self::new(name, Level::Invalid).note(reason.to_string())
    }
}

impl SelfTest {
    /// The frozen target alone.
    pub async fn frozen_target(&self, stop: &CancellationToken) -> Case {
        freeze::case(self, stop).await
    }

    /// The open loop beside that of oha alone.
    pub async fn rates_against_oha(&self, stop: &CancellationToken) -> Case {
        rates::case(&self.server, rates::Plan::default(), stop).await
    }

    /// The gate on real processes alone.
    pub async fn gate_on_processes(&self, stop: &CancellationToken) -> Vec<Case> {
        detectors::gate_on_processes(&self.burner, stop).await
    }

    /// Carries out every case, in order of their duration; `done` sees each as it ends. Stops early on `stop`.
    pub async fn run(&self, stop: &CancellationToken, mut done: impl FnMut(&Case)) -> Vec<Case> {
        let mut cases = Vec::new();
        let mut keep = |case: Case| {
            done(&case);
            cases.push(case);
        };
        for quick in [instruments::histogram, instruments::analysis, detectors::regression, detectors::leak] {
            keep(blocking(quick).await);
        }
        for (rate_per_s, lag_p99_ms_max) in [(10_000.0, 0.2), (60_000.0, 1.0)] {
            keep(blocking(move || instruments::pacer(rate_per_s, lag_p99_ms_max)).await);
        }
        for quick in [instruments::in_process, instruments::memory] {
            keep(blocking(quick).await);
        }
        if !stop.is_cancelled() {
            keep(self.frozen_target(stop).await);
        }
        if self.full && self.rivals && !stop.is_cancelled() {
            keep(self.rates_against_oha(stop).await);
        }
        if self.full && !stop.is_cancelled() {
            for case in self.gate_on_processes(stop).await {
                keep(case);
            }
        }
        cases
    }
}

/// Runs a case that computes or blocks away from the async threads.
async fn blocking(case: impl FnOnce() -> Case + Send + 'static) -> Case {
    tokio::task::spawn_blocking(case).await.unwrap_or_else(|error| Case::impossible("self-test", error))
}

/// The figures of the self-test as a run, so that they are judged like everything else.
pub fn record(
    cases: &[Case],
    form: Form,
    environment: Environment,
    command: Vec<String>,
    duration: Duration,
) -> RunRecord {
    let impossible = cases.iter().filter(|case| case.level == Level::Invalid);
    let reasons = impossible
        .map(|case| format!("{}: {}", case.name, case.note.as_deref().unwrap_or("could not be carried out")));
    let mut validity = Validity::from_reasons(reasons.collect());
    if cfg!(debug_assertions) {
        validity = Validity::from_reasons(vec!["an unoptimised build: its speed says nothing".to_owned()]);
    }
    RunRecord {
        schema_version: record::SCHEMA_VERSION,
        id: Uuid::now_v7(),
        scenario: SCENARIO.to_owned(),
        scenario_hash: None,
        form,
        started_at: Timestamp::now(),
        duration_s: duration.as_secs_f64(),
        command,
        environment,
        partial: None,
        validity,
        thresholds: Vec::new(),
        steps: Vec::new(),
        intervals: Vec::new(),
        resources: Vec::new(),
        growth: Vec::new(),
        checks: Vec::new(),
        metrics: cases.iter().flat_map(|case| case.metrics.clone()).collect(),
        repeats: BTreeMap::new(),
    }
}

/// The level that decides over all cases.
pub fn level(cases: &[Case]) -> Level {
    cases.iter().map(|case| case.level).max().unwrap_or(Level::Invalid)
}

/// Milliseconds as figures show them.
fn millis(duration: Duration) -> String {
    crate::quantity::Unit::Millis.format(duration.as_secs_f64() * 1e3)
}

/// Says so when figures come from a build that is not meant to be fast.
fn build_note(case: Case) -> Case {
    if cfg!(debug_assertions) { case.note("an unoptimised build: its speed says nothing") } else { case }
}
