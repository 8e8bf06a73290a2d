//! Did it change? Two sets of measurements, metric by metric.
//!
//! A change counts only if **all** of these hold: it is larger than the metric's threshold; Mann-Whitney gives p < 0.05;
//! there are at least six independent values on each side; the bootstrap interval of the ratio excludes 1; and the runs
//! are valid. Each condition alone raises false alarms that the others catch.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    measurements::{Condition, Kind, Measurements, Values, split_name},
    objectives::Objectives,
    quantity::{Unit, higher_is_better},
    record::{Form, RunRecord},
    statistics::{RatioInterval, mann_whitney, median, median_interval, ratio_of_medians},
    threshold::Threshold,
};

/// Independent values per side before anything can be said.
pub const REPEATS_MIN: usize = 6;
/// Largest probability of chance that still counts as a change.
pub const P_MAX: f64 = 0.05;
/// A change below this many percent is not worth stopping for, where no objective says otherwise.
pub const REGRESS_PCT: f64 = 10.0;
/// As [`REGRESS_PCT`], for counted metrics: they have no noise.
pub const REGRESS_COUNTED_PCT: f64 = 2.0;

/// What became of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Certainly worse than the threshold allows.
    Regression,
    /// Too few independent values to tell.
    TooFew,
    /// Worse or better than the threshold, but chance may have done it.
    Uncertain,
    /// Certainly better by more than the threshold.
    Improvement,
    /// Within the threshold.
    Unchanged,
}

/// One metric on both sides.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Change {
    /// The metric, as `scenario/metric`.
    pub metric: String,
    /// Unit of the values.
    pub unit: Unit,
    /// Whether larger values are better.
    pub higher_is_better: bool,
    /// Whether the metric is promised, and so may stop a gate.
    pub gated: bool,
    /// Values before.
    pub baseline: Vec<f64>,
    /// Values now.
    pub current: Vec<f64>,
    /// Whether the values belong together pair by pair (interleaved trial).
    pub paired: bool,
    /// Median before.
    pub baseline_median: f64,
    /// Median now.
    pub current_median: f64,
    /// Now divided by before; absent if it was nothing before and something now.
    pub ratio: Option<f64>,
    /// Lower end of the ratio's 95 % interval.
    pub ratio_low: Option<f64>,
    /// Upper end of the ratio's 95 % interval.
    pub ratio_high: Option<f64>,
    /// Probability of such a difference by chance; absent for counted metrics.
    pub p: Option<f64>,
    /// Change in percent that is allowed.
    pub threshold_pct: f64,
    /// What became of it.
    pub outcome: Outcome,
    /// What to do about a regression.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
}

/// Two sides, compared.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Comparison {
    /// What it was compared with.
    pub baseline: String,
    /// Commit of that.
    pub baseline_commit: Option<String>,
    /// What was compared.
    pub current: String,
    /// Commit of that.
    pub current_commit: Option<String>,
    /// Every metric that both sides have, worst first.
    pub changes: Vec<Change>,
    /// Metrics that only one side has.
    pub unmatched: Vec<String>,
    /// Promised metrics that only the baseline has: whether they became worse is not known.
    #[serde(default)]
    pub missing: Vec<String>,
    /// Why the sides do not measure the same, where they do not: sentence fragments.
    #[serde(default)]
    pub mismatches: Vec<String>,
    /// What makes the comparison less than certain: other machines, runs left out.
    pub notes: Vec<String>,
    /// Whether the sides were measured on different machines.
    pub machines_differ: bool,
}

/// What may change by how much.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    /// Promised metrics by `scenario/metric`.
    promised: BTreeMap<String, Promise>,
    /// Only these metrics are compared, if any are named; they may then stop a gate.
    only: Vec<String>,
    /// Replaces every metric's own threshold.
    threshold_pct: Option<f64>,
}

#[derive(Clone, Debug)]
struct Promise {
    regress_pct: f64,
    higher_is_better: bool,
    action: String,
}

impl Policy {
    /// What the objectives say.
    pub fn of_objectives(objectives: &Objectives) -> Self {
        let promised = objectives.iter().filter_map(|objective| {
            let promise = Promise::of(&objective.threshold)?;
            Some((format!("{}/{}", objective.scenario, objective.threshold.metric), promise))
        });
        Self { promised: promised.collect(), ..Self::default() }
    }

    /// Adds what the thresholds of scenarios say about metrics that no objective is about.
    #[must_use]
    pub fn and_thresholds_of<'a>(mut self, runs: impl IntoIterator<Item = &'a RunRecord>) -> Self {
        for run in runs {
            for threshold in &run.thresholds {
                if let Some(promise) = Promise::of(threshold) {
                    self.promised.entry(format!("{}/{}", run.scenario, threshold.metric)).or_insert(promise);
                }
            }
        }
        self
    }

    /// Compares only these metrics, by full or plain name, and lets them stop a gate.
    #[must_use]
    pub fn only(mut self, metrics: Vec<String>) -> Self {
        self.only = metrics;
        self
    }

    /// Uses one threshold for every metric.
    #[must_use]
    pub fn threshold_pct(mut self, percent: Option<f64>) -> Self {
        self.threshold_pct = percent;
        self
    }

    /// Whether a metric may stop a gate: what is promised, named, or counted. Criterion's medians are shown; one process
    /// yields one value of each, so they decide only when they are named and taken from several.
    fn gates(&self, metric: &str, kind: Kind) -> bool {
        kind == Kind::Counted || self.promised.contains_key(metric) || !self.only.is_empty()
    }

    fn selects(&self, metric: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|name| name == metric || name == split_name(metric).1)
    }
}

impl Promise {
    /// What a threshold says about changes; `None` if it allows any.
    fn of(threshold: &Threshold) -> Option<Self> {
        Some(Self {
            regress_pct: threshold.regress_pct?,
            higher_is_better: !threshold.op.lower_is_better(),
            action: threshold.action.clone(),
        })
    }
}

/// Compares what both sides have. With `paired`, the n-th value of one side belongs to the n-th of the other.
pub fn compare(baseline: &Measurements, current: &Measurements, policy: &Policy, paired: bool) -> Comparison {
    let mut changes: Vec<Change> = baseline
        .values
        .iter()
        .filter(|(metric, _)| policy.selects(metric))
        .filter_map(|(metric, before)| change(metric, before, current.values.get(metric)?, policy, paired))
        .collect();
    changes.sort_by(|a, b| (!a.gated, a.outcome, &a.metric).cmp(&(!b.gated, b.outcome, &b.metric)));

    let unmatched = baseline.values.keys().filter(|metric| !current.values.contains_key(*metric));
    let unmatched =
        unmatched.chain(current.values.keys().filter(|metric| !baseline.values.contains_key(*metric)));
    let unmatched: Vec<String> = unmatched.filter(|metric| policy.selects(metric)).cloned().collect();
    let is_missing = |metric: &&String| {
        let before = baseline.values.get(*metric);
        before.is_some_and(|before| policy.gates(metric, before.kind))
    };
    let missing = unmatched.iter().filter(is_missing).cloned().collect();
    // Several on one side are as bad as one on each.
    let machines: BTreeSet<&String> = baseline.machines.union(&current.machines).collect();
    let machines_differ = machines.len() > 1;
    let left_out = |run: &String| format!("left out as invalid: {run}");
    let mut notes: Vec<String> = baseline.invalid.iter().chain(&current.invalid).map(left_out).collect();
    if machines_differ {
        let joined = |side: &Measurements| side.machines.iter().cloned().collect::<Vec<_>>().join(" and ");
        notes.push(format!("measured on different machines: {}, then {}", joined(baseline), joined(current)));
    }
    for (side, name) in [(baseline, "the baseline"), (current, "what it is compared with")] {
        if side.commits.len() > 1 {
            notes.push(format!("{name} takes runs of {} commits together", side.commits.len()));
        }
    }
    Comparison {
        baseline: baseline.label.clone(),
        baseline_commit: baseline.commit().map(str::to_owned),
        current: current.label.clone(),
        current_commit: current.commit().map(str::to_owned),
        changes,
        unmatched,
        missing,
        mismatches: mismatches(baseline, current),
        notes,
        machines_differ,
    }
}

/// Scenarios of which the sides ran something different.
fn mismatches(baseline: &Measurements, current: &Measurements) -> Vec<String> {
    let none = BTreeSet::new();
    let of = |side: &Measurements, scenario: &str| side.conditions.get(scenario).unwrap_or(&none).clone();
    let mut mismatches = Vec::new();
    for scenario in baseline.scenarios().intersection(&current.scenarios()) {
        let (before, now) = (of(baseline, scenario), of(current, scenario));
        if before == now && before.len() <= 1 {
            continue;
        }
        let forms = |conditions: &BTreeSet<Condition>| -> BTreeSet<Form> {
            conditions.iter().map(|condition| condition.form).collect()
        };
        mismatches.push(if before.len() > 1 || now.len() > 1 {
            format!("runs of `{scenario}` that measured different things are taken together")
        } else if before.is_empty() || now.is_empty() {
            format!("it is not known which form of `{scenario}` one side ran")
        } else if forms(&before) == forms(&now) {
            format!("`{scenario}` is not what it was: the file, a variable or its data changed")
        } else {
            format!("`{scenario}` ran in another form than in the baseline")
        });
    }
    mismatches
}

fn change(metric: &str, before: &Values, now: &Values, policy: &Policy, paired: bool) -> Option<Change> {
    let counted = before.kind == Kind::Counted && now.kind == Kind::Counted;
    let paired = paired && !counted && before.values.len() == now.values.len();
    let interval = if paired {
        median_interval(&pair_ratios(&before.values, &now.values))?
    } else {
        ratio_of_medians(&before.values, &now.values)?
    };
    let promise = policy.promised.get(metric);
    let own = if counted { REGRESS_COUNTED_PCT } else { REGRESS_PCT };
    let threshold_pct = policy.threshold_pct.or(promise.map(|promise| promise.regress_pct)).unwrap_or(own);
    let higher_is_better =
        promise.map_or_else(|| higher_is_better(metric), |promise| promise.higher_is_better);
    let p = if counted { None } else { mann_whitney(&before.values, &now.values).map(|test| test.p) };
    let enough = counted || before.values.len().min(now.values.len()) >= REPEATS_MIN;
    let outcome = outcome(&interval, p, threshold_pct, higher_is_better, enough);
    let finite = |value: f64| Some(value).filter(|value| value.is_finite());
    Some(Change {
        metric: metric.to_owned(),
        unit: Unit::of_metric(metric),
        higher_is_better,
        gated: policy.gates(metric, if counted { Kind::Counted } else { Kind::Sampled }),
        baseline_median: median(&before.values)?,
        current_median: median(&now.values)?,
        baseline: before.values.clone(),
        current: now.values.clone(),
        paired,
        ratio: finite(interval.estimate),
        ratio_low: finite(interval.low),
        ratio_high: finite(interval.high),
        p,
        threshold_pct,
        outcome,
        action: promise.map(|promise| promise.action.clone()),
    })
}

/// Now divided by before, pair by pair.
fn pair_ratios(before: &[f64], now: &[f64]) -> Vec<f64> {
    before
        .iter()
        .zip(now)
        .map(|(before, now)| if before.total_cmp(now).is_eq() { 1.0 } else { now / before })
        .collect()
}

fn outcome(
    interval: &RatioInterval,
    p: Option<f64>,
    threshold_pct: f64,
    higher_is_better: bool,
    enough: bool,
) -> Outcome {
    let growth = (interval.estimate - 1.0) * 100.0;
    let worse = if higher_is_better { -growth } else { growth };
    let beyond = worse.abs() > threshold_pct;
    let certain = p.is_none_or(|p| p < P_MAX) && interval.excludes(1.0);
    match (beyond, enough, certain) {
        (false, true, _) => Outcome::Unchanged,
        (_, false, _) => Outcome::TooFew,
        (true, true, false) => Outcome::Uncertain,
        (true, true, true) if worse > 0.0 => Outcome::Regression,
        (true, true, true) => Outcome::Improvement,
    }
}

impl Comparison {
    /// The changes that make a gate stop.
    pub fn regressions(&self) -> impl Iterator<Item = &Change> {
        self.changes.iter().filter(|change| change.gated && change.outcome == Outcome::Regression)
    }

    /// How many metrics ended so.
    pub fn count(&self, outcome: Outcome) -> usize {
        self.changes.iter().filter(|change| change.outcome == outcome).count()
    }
}

impl Change {
    /// Ratios pair by pair; empty unless the values are paired.
    pub fn pair_ratios(&self) -> Vec<f64> {
        if self.paired { pair_ratios(&self.baseline, &self.current) } else { Vec::new() }
    }
}

impl Outcome {
    /// The outcome in a word or two.
    pub fn words(self) -> &'static str {
        match self {
            Self::Regression => "regression",
            Self::TooFew => "too few repeats",
            Self::Uncertain => "uncertain",
            Self::Improvement => "improvement",
            Self::Unchanged => "within limits",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{statistics::Random, synthetic};

    fn side(values: Vec<f64>) -> Measurements {
        let mut side = Measurements::new("side");
        for value in values {
            side.push("analyze/cpu_s", Kind::Sampled, value);
        }
        side
    }

    fn outcome_of(before: Vec<f64>, now: Vec<f64>) -> Outcome {
        compare(&side(before), &side(now), &Policy::default(), false).changes[0].outcome
    }

    #[test]
    fn a_clear_slow_down_is_a_regression_and_a_clear_speed_up_an_improvement() {
        let mut random = Random::seeded(1);
        let mut draw = |median| synthetic::repeats(median, 0.02, 8, &mut random);
        assert_eq!(outcome_of(draw(2.0), draw(2.4)), Outcome::Regression);
        assert_eq!(outcome_of(draw(2.0), draw(1.6)), Outcome::Improvement);
        assert_eq!(outcome_of(draw(2.0), draw(2.05)), Outcome::Unchanged);
    }

    #[test]
    fn five_values_are_too_few_however_clear_they_look() {
        assert_eq!(outcome_of(vec![1.0; 5], vec![2.0; 9]), Outcome::TooFew);
        assert_eq!(outcome_of(vec![1.0; 6], vec![2.0; 6]), Outcome::Regression);
    }

    #[test]
    fn a_large_but_noisy_difference_is_uncertain() {
        let before = vec![1.0, 3.0, 1.1, 2.9, 1.0, 3.1];
        let now = vec![3.0, 1.0, 3.1, 1.2, 3.3, 1.1, 3.2];
        assert_eq!(outcome_of(before, now), Outcome::Uncertain);
    }

    #[test]
    fn higher_rates_are_better() {
        let rates = |rate: f64| {
            let mut side = Measurements::new("side");
            (0..6).for_each(|i| side.push("healthz/throughput_per_s", Kind::Sampled, rate + f64::from(i)));
            side
        };
        let comparison = compare(&rates(50_000.0), &rates(40_000.0), &Policy::default(), false);
        assert_eq!(comparison.changes[0].outcome, Outcome::Regression);
    }

    #[test]
    fn a_counted_metric_needs_one_value_and_a_small_threshold() {
        let count = |instructions| {
            let mut side = Measurements::new("side");
            side.push("gungraun/parse_instructions", Kind::Counted, instructions);
            side
        };
        let outcome =
            |now| compare(&count(1_000.0), &count(now), &Policy::default(), false).changes[0].outcome;
        assert_eq!(outcome(1_030.0), Outcome::Regression);
        assert_eq!(outcome(1_010.0), Outcome::Unchanged);
    }

    #[test]
    fn pairs_cancel_a_drift_that_both_sides_share() {
        let drift = |i: u32| 1.0 + 0.02 * f64::from(i);
        let (before, now): (Vec<f64>, Vec<f64>) = (0..12).map(|i| (drift(i), drift(i) * 1.2)).unzip();
        let comparison = compare(&side(before), &side(now), &Policy::default(), true);
        let change = &comparison.changes[0];
        assert!((change.ratio.unwrap() - 1.2).abs() < 1e-9);
        assert!((change.ratio_high.unwrap() - change.ratio_low.unwrap()).abs() < 1e-9);
        assert_eq!(change.pair_ratios().len(), 12);
    }

    #[test]
    fn errors_from_nothing_to_something_have_no_ratio_but_an_outcome() {
        let errors = |ratio: f64| {
            let mut side = Measurements::new("side");
            (0..6).for_each(|_| side.push("healthz/error_ratio", Kind::Sampled, ratio));
            side
        };
        let comparison = compare(&errors(0.0), &errors(0.01), &Policy::default(), false);
        assert_eq!((comparison.changes[0].ratio, comparison.changes[0].outcome), (None, Outcome::Regression));
        assert_eq!(
            compare(&errors(0.0), &errors(0.0), &Policy::default(), false).changes[0].outcome,
            Outcome::Unchanged
        );
    }
}
