//! What one run measured: the record that everything after the run works from.
//!
//! A run writes exactly one [`RunRecord`]; verdicts, comparisons and reports are computed from stored records alone, so
//! that an old run can be judged again. The JSON form is published as `docs/lab-run.schema.json`.
//!
//! Latencies are recorded in **nanoseconds** inside the histograms and shown in microseconds (`_us`) beside them. Every
//! latency named `latency` counts from the moment the operation was *due*, not from the moment it was sent.

mod environment;
mod latency;

use std::collections::BTreeMap;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

pub use self::{
    environment::{Cpu, Disk, Environment, Pressure},
    latency::{DecodeLatencyError, Latency},
};
use crate::threshold::Threshold;

/// Name of the generator's own process tree among the targets of a run.
pub const GENERATOR: &str = "lab";
/// Version of the record's shape; raised when a reader of the old shape would misread the new one.
pub const SCHEMA_VERSION: u32 = 1;

/// Everything one run measured, and what it was measured on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RunRecord {
    /// [`SCHEMA_VERSION`] of the writer.
    pub schema_version: u32,
    /// Identifies the run; version 7, so ids sort by time.
    #[schemars(with = "String")]
    pub id: Uuid,
    /// Name of the scenario.
    pub scenario: String,
    /// BLAKE3 of the scenario with its variables and data, the measured binary left out: runs of different hashes measured
    /// different things. Absent where there is no scenario file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scenario_hash: Option<String>,
    /// Which form of the scenario ran.
    pub form: Form,
    /// When the measured part began (after set-up).
    #[schemars(with = "String")]
    pub started_at: Timestamp,
    /// How long the measured part took, in seconds.
    pub duration_s: f64,
    /// The command line that repeats this run, program first.
    pub command: Vec<String>,
    /// The machine, its state before the run, and the commit and config that were measured.
    pub environment: Environment,
    /// Why the run ended before its schedule did; what was measured until then is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partial: Option<String>,
    /// Whether the figures can be believed.
    pub validity: Validity,
    /// Thresholds of the scenario as they stood when it ran.
    #[serde(default)]
    pub thresholds: Vec<Threshold>,
    /// One record per step of the scenario, in its order.
    #[serde(default)]
    pub steps: Vec<StepRecord>,
    /// One per second of the run, in order, over all steps.
    #[serde(default)]
    pub intervals: Vec<Interval>,
    /// Resources of the observed process trees over time.
    #[serde(default)]
    pub resources: Vec<ResourceSample>,
    /// Whether the observed resources grew.
    #[serde(default)]
    pub growth: Vec<Growth>,
    /// Outcomes of the scenario's checks.
    #[serde(default)]
    pub checks: Vec<CheckResult>,
    /// The figures that thresholds and objectives refer to, by flat name with the unit last: `latency_p99_ms`,
    /// `throughput_per_s`, `error_ratio`, `pss_max_mib`, `cpu_s`, and the numbers of a command's JSON output.
    #[serde(default)]
    pub metrics: BTreeMap<String, f64>,
    /// Figures of which the run has one value per *process* of the target (a step that starts a command many times).
    /// These are independent of each other, so statistics may use them; a metric that is absent here counts once per run.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub repeats: BTreeMap<String, Vec<f64>>,
}

/// How long a form of a scenario runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Form {
    /// Seconds: for every change.
    Short,
    /// The scenario as promised.
    Full,
}

/// Whether a run's figures describe the target, or the disturbance around it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", tag = "state")]
pub enum Validity {
    /// Nothing disturbed the run.
    Valid,
    /// The figures are kept and shown, but judge nothing and never become a baseline.
    Invalid {
        /// Each a sentence fragment: what disturbed the run, with its number.
        reasons: Vec<String>,
    },
}

/// What one step of the scenario did.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StepRecord {
    /// Name of the step.
    pub name: String,
    /// Driver that carried it out, for example `http`.
    pub driver: String,
    /// Operations that the schedule asked for.
    pub offered: u64,
    /// Operations that ended, with success or error.
    pub completed: u64,
    /// Failed operations by kind, for example `http-503` or `timeout`.
    #[serde(default)]
    pub errors: BTreeMap<String, u64>,
    /// From the moment an operation was due until it ended.
    pub latency: Latency,
    /// From the moment it was sent until it ended: what a generator that waits for answers would report.
    pub service: Latency,
    /// From the moment it was due until the generator sent it.
    pub lag: Latency,
    /// What the driver measures beside that, for example `ttft` and `gap` of an event stream.
    #[serde(default)]
    pub extra: BTreeMap<String, Latency>,
}

/// One second of a run, all steps together; of a very long run, a few seconds. Latencies as in [`StepRecord::latency`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Interval {
    /// Start of the interval, in seconds since the run began.
    pub at_s: f64,
    /// Its length in seconds: 1, or more in a run of hours. Percentiles of intervals that were put together afterwards are
    /// the larger ones.
    #[serde(default = "one_second")]
    pub length_s: f64,
    /// Operations that came due.
    pub offered: u64,
    /// Operations that ended.
    pub completed: u64,
    /// Of those, the failed.
    pub errors: u64,
    /// Median latency of the operations that ended, in microseconds; 0 when none did. So for the others.
    pub p50_us: f64,
    /// 90th percentile.
    pub p90_us: f64,
    /// 99th percentile.
    pub p99_us: f64,
    /// Largest.
    pub max_us: f64,
    /// 99th percentile of the generator's own lag, in microseconds.
    pub lag_p99_us: f64,
    /// What the rest of the machine did meanwhile.
    #[serde(default)]
    pub pressure: Pressure,
    /// What disturbed this second, if something did: a sentence fragment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contamination: Option<String>,
}

/// Resources of one process tree at one moment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ResourceSample {
    /// Seconds since the run began.
    pub at_s: f64,
    /// Which tree: the name of the set-up part that started it, `lab` for the generator itself.
    pub target: String,
    /// Processes in the tree.
    pub processes: u64,
    /// Threads in the tree.
    pub threads: u64,
    /// Open descriptors in the tree.
    pub descriptors: u64,
    /// Proportional set size: shared pages divided among those who map them.
    pub pss_mib: f64,
    /// Unique set size: pages nobody else maps.
    pub uss_mib: f64,
    /// Resident set size, summed over the tree (shared pages count once per process).
    pub rss_mib: f64,
    /// Virtual size, summed over the tree.
    pub vsz_mib: f64,
    /// CPU time that the tree has used since the run began, in seconds.
    pub cpu_s: f64,
    /// Cores in use since the sample before: 1.0 is one core.
    pub cpu_cores: f64,
    /// Sockets by state, for example `established`.
    #[serde(default)]
    pub sockets: BTreeMap<String, u64>,
    /// Read from disk since the run began.
    pub disk_read_mib: f64,
    /// Written to disk since the run began.
    pub disk_write_mib: f64,
    /// Received over the network since the run began; of the whole machine where the kernel does not say per process.
    pub network_rx_mib: f64,
    /// Sent over the network since the run began; as `network_rx_mib`.
    pub network_tx_mib: f64,
}

/// Whether a resource of a tree grew over the run, as a slope with its confidence interval.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Growth {
    /// The tree, as in [`ResourceSample::target`].
    pub target: String,
    /// The resource, as the field of [`ResourceSample`] is called.
    pub resource: String,
    /// Estimated growth per hour, in the resource's unit.
    pub slope_per_hour: f64,
    /// Lower end of the 95 % confidence interval.
    pub low_per_hour: f64,
    /// Upper end of the 95 % confidence interval.
    pub high_per_hour: f64,
    /// Whether it counts as a leak: the whole interval lies above what is allowed, over at least two minutes.
    pub leaking: bool,
    /// Whether the run was too short to judge that.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub too_short: bool,
}

/// How often one check of the scenario held.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CheckResult {
    /// What was checked, as the scenario words it.
    pub name: String,
    /// Operations for which it held.
    pub passed: u64,
    /// Operations for which it did not.
    pub failed: u64,
    /// The first failure: what was seen instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub example: Option<String>,
}

fn one_second() -> f64 {
    1.0
}

/// A second in which nothing happened.
impl Default for Interval {
    fn default() -> Self {
        Self {
            at_s: 0.0,
            length_s: one_second(),
            offered: 0,
            completed: 0,
            errors: 0,
            p50_us: 0.0,
            p90_us: 0.0,
            p99_us: 0.0,
            max_us: 0.0,
            lag_p99_us: 0.0,
            pressure: Pressure::default(),
            contamination: None,
        }
    }
}

impl Interval {
    /// Takes in the interval that follows: counts add up, of percentiles the larger one stands for both.
    pub(crate) fn absorb(&mut self, next: &Self) {
        self.offered += next.offered;
        self.completed += next.completed;
        self.errors += next.errors;
        for (own, other) in [
            (&mut self.p50_us, next.p50_us),
            (&mut self.p90_us, next.p90_us),
            (&mut self.p99_us, next.p99_us),
            (&mut self.max_us, next.max_us),
            (&mut self.lag_p99_us, next.lag_p99_us),
        ] {
            *own = own.max(other);
        }
    }
}

impl Validity {
    /// Whether the figures can be believed.
    pub fn is_valid(&self) -> bool {
        *self == Self::Valid
    }

    /// Why they cannot; empty when they can.
    pub fn reasons(&self) -> &[String] {
        match self {
            Self::Valid => &[],
            Self::Invalid { reasons } => reasons,
        }
    }

    /// Valid if there is no reason against it.
    pub fn from_reasons(reasons: Vec<String>) -> Self {
        if reasons.is_empty() { Self::Valid } else { Self::Invalid { reasons } }
    }
}

impl RunRecord {
    /// The values of a metric that are independent of each other: one per process of the target. Empty if the run did
    /// not measure it.
    pub fn independent_values(&self, metric: &str) -> Vec<f64> {
        match self.repeats.get(metric) {
            Some(values) if !values.is_empty() => values.clone(),
            _ => self.metrics.get(metric).copied().into_iter().collect(),
        }
    }

    /// Operations offered, completed and failed, over all steps.
    pub fn totals(&self) -> (u64, u64, u64) {
        self.steps.iter().fold((0, 0, 0), |(offered, completed, errors), step| {
            (offered + step.offered, completed + step.completed, errors + step.errors.values().sum::<u64>())
        })
    }
}

/// Name of a form as files and flags spell it.
impl std::fmt::Display for Form {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Short => "short",
            Self::Full => "full",
        })
    }
}
