//! What one thread measured in one second, on its way to the collector.

use std::{borrow::Cow, collections::BTreeMap, time::Duration};

use crate::histogram::Histogram;

pub(crate) const NANOS_PER_SECOND: u64 = 1_000_000_000;
/// Kinds of errors that are told apart; further ones are counted as `other`.
const ERROR_KINDS_MAX: usize = 64;

/// A message to the collector.
pub(crate) enum Report {
    /// A worker's second.
    Ledger(Box<Ledger>),
    /// The pacer's second, also when nothing came due in it.
    Offered(Offered),
    /// The pacer is done: it will offer nothing more.
    OfferedAll,
}

/// What the pacer offered in one second.
#[derive(Default)]
pub(crate) struct Offered {
    pub(crate) second: u64,
    pub(crate) count: u64,
    pub(crate) lag: Histogram,
}

/// What one worker measured in one second.
pub(crate) struct Ledger {
    /// Which worker.
    pub(crate) worker: usize,
    /// Which second since the measured part began.
    pub(crate) second: u64,
    /// One per step.
    pub(crate) steps: Vec<Tally>,
    /// Figures that operations reported.
    pub(crate) figures: Vec<(String, f64)>,
    /// When the last operation ended, in nanoseconds since the clock's origin.
    pub(crate) last_ns: u64,
    /// Operations that began, warm-up included.
    pub(crate) begun: u64,
    /// Operations that ended well, warm-up included.
    pub(crate) succeeded: u64,
    /// How long the worker did not sleep, over the whole run; in its last ledger only.
    pub(crate) busy: Duration,
    /// First and last failure since the last operation that ended well, warm-up included.
    pub(crate) failing_ns: Option<(u64, u64)>,
    /// The last failure, warm-up included, for the message when a run is given up.
    pub(crate) last_failure: Option<String>,
}

/// What one step did.
#[derive(Default)]
pub(crate) struct Tally {
    pub(crate) begun: u64,
    pub(crate) waited: u64,
    pub(crate) errors: BTreeMap<Cow<'static, str>, u64>,
    pub(crate) latency: Histogram,
    pub(crate) service: Histogram,
    pub(crate) lag: Histogram,
    pub(crate) extra: Vec<(&'static str, Histogram)>,
    /// Whether operations ended well, with the first error.
    pub(crate) success: CheckTally,
    pub(crate) checks: Vec<CheckTally>,
}

/// How often a check held.
#[derive(Clone, Default)]
pub(crate) struct CheckTally {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) example: Option<String>,
}

impl Ledger {
    pub(crate) fn new(worker: usize, second: u64, checks: &[usize]) -> Self {
        let step =
            |checks: &usize| Tally { checks: vec![CheckTally::default(); *checks], ..Tally::default() };
        Self {
            worker,
            second,
            steps: checks.iter().map(step).collect(),
            figures: Vec::new(),
            last_ns: 0,
            begun: 0,
            succeeded: 0,
            busy: Duration::ZERO,
            failing_ns: None,
            last_failure: None,
        }
    }
}

impl Tally {
    /// Counts an error of a kind.
    pub(crate) fn count_error(&mut self, kind: Cow<'static, str>, detail: Option<String>) {
        self.success.failed += 1;
        if let Some(detail) = detail {
            self.success.example.get_or_insert(detail);
        }
        let kind = if self.errors.len() >= ERROR_KINDS_MAX && !self.errors.contains_key(&kind) {
            Cow::Borrowed("other")
        } else {
            kind
        };
        *self.errors.entry(kind).or_default() += 1;
    }

    /// The histogram of a further time.
    pub(crate) fn extra(&mut self, name: &'static str) -> &mut Histogram {
        let index = self.extra.iter().position(|(known, _)| *known == name).unwrap_or_else(|| {
            self.extra.push((name, Histogram::default()));
            self.extra.len() - 1
        });
        // The index was just found or made.
        &mut self.extra[index].1
    }

    /// Adds another step's tally.
    pub(crate) fn merge(&mut self, other: Self) {
        self.begun += other.begun;
        self.waited += other.waited;
        for (kind, count) in other.errors {
            *self.errors.entry(kind).or_default() += count;
        }
        self.latency.merge(&other.latency);
        self.service.merge(&other.service);
        self.lag.merge(&other.lag);
        for (name, histogram) in &other.extra {
            self.extra(name).merge(histogram);
        }
        self.checks.resize(self.checks.len().max(other.checks.len()), CheckTally::default());
        self.success.merge(other.success);
        for (check, further) in self.checks.iter_mut().zip(other.checks) {
            check.merge(further);
        }
    }

    /// Failed operations.
    pub(crate) fn failed(&self) -> u64 {
        self.errors.values().sum()
    }
}

impl CheckTally {
    fn merge(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        if self.example.is_none() {
            self.example = other.example;
        }
    }
}
