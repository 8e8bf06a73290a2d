//! What a run says about the promises: pass, warn, fail, or nothing at all because it is invalid.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    objectives::Objectives,
    quantity::Unit,
    record::{GENERATOR, Growth, RunRecord},
    resources::GROWTH_SPAN_S_MIN,
    statistics::proportion,
    threshold::{Op, Threshold},
};

/// How good a value, or a whole run, is. Ordered: the larger one decides over the smaller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// The target is met.
    Pass,
    /// The target is missed, but what is acceptable is met.
    Warn,
    /// Nothing can be said: the run was disturbed, ended early, or did not measure this.
    Invalid,
    /// Not even what is acceptable is met.
    Fail,
}

/// One promise held against one run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Judgement {
    /// Id of the objective, or the name of the metric for a threshold of the scenario alone.
    pub name: String,
    /// Area of the objective; empty for a threshold of the scenario alone.
    pub area: String,
    /// Unit of the value and of the bounds.
    pub unit: Unit,
    /// What was promised, and what to do about a miss.
    pub threshold: Threshold,
    /// What was measured; absent if the run did not.
    pub value: Option<f64>,
    /// How good that is.
    pub level: Level,
    /// Whether the value is beyond even the critical bound.
    pub critical: bool,
    /// What else the reader should know about the value: a sentence fragment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// One run held against everything that was promised of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Verdict {
    /// The level that decides.
    pub level: Level,
    /// Why the run is invalid, which checks failed, what leaked, and what may: sentence fragments.
    pub reasons: Vec<String>,
    /// Every promise, worst first.
    pub judgements: Vec<Judgement>,
}

/// Holds a run against the objectives of its scenario and against the scenario's own thresholds.
pub fn judge(record: &RunRecord, objectives: &Objectives) -> Verdict {
    let mut judgements: Vec<Judgement> = objectives
        .of_scenario(&record.scenario)
        .map(|objective| {
            judge_threshold(record, &objective.threshold, &objective.id, &objective.area, objective.unit)
        })
        .collect();
    for threshold in &record.thresholds {
        if objectives.about(&record.scenario, &threshold.metric).is_none() {
            let unit = Unit::of_metric(&threshold.metric);
            judgements.push(judge_threshold(record, threshold, &threshold.metric, "", unit));
        }
    }

    let mut reasons = record.validity.reasons().to_vec();
    reasons.extend(record.partial.iter().map(|reason| format!("ended early: {reason}")));
    let disturbed = !reasons.is_empty();
    if disturbed {
        for judgement in &mut judgements {
            judgement.level = Level::Invalid;
            judgement.critical = false;
        }
    }
    judgements.sort_by_key(|judgement| (std::cmp::Reverse(judgement.level), !judgement.critical));
    let mut level = judgements.first().map_or(Level::Pass, |worst| worst.level);
    let leaks = leaks(record);
    if !leaks.is_empty() {
        level = Level::Fail;
    }
    if judgements.iter().all(|judgement| judgement.threshold.metric != ERROR_RATIO) {
        level = level.max(level_of_errors(record));
    }
    reasons.extend(leaks);
    reasons.extend(unjudged_growth(record));
    reasons.extend(failed_checks(record));
    Verdict { level: if disturbed { Level::Invalid } else { level }, reasons, judgements }
}

/// The metric that says how many operations failed, failed checks included.
const ERROR_RATIO: &str = "error_ratio";
/// Share of operations that may fail with a warning, where nothing is promised about it.
const ERROR_RATIO_MAX: f64 = 0.01;

/// Errors where nothing is promised about them: a few are a warning, more fail the run.
fn level_of_errors(record: &RunRecord) -> Level {
    let failed =
        record.checks.iter().map(|check| check.failed as f64 / (check.failed + check.passed).max(1) as f64);
    let (_, completed, errors) = record.totals();
    let ratio = failed.fold(errors as f64 / completed.max(1) as f64, f64::max);
    match ratio {
        _ if ratio > ERROR_RATIO_MAX => Level::Fail,
        _ if ratio > 0.0 => Level::Warn,
        _ => Level::Pass,
    }
}

fn failed_checks(record: &RunRecord) -> impl Iterator<Item = String> {
    record.checks.iter().filter(|check| check.failed > 0).map(|check| {
        let example = check.example.as_ref().map(|seen| format!("; first seen: {seen}")).unwrap_or_default();
        let all = check.failed + check.passed;
        format!("check `{}` failed {} of {all} times{example}", check.name, check.failed)
    })
}

/// Growing resources: they fail a run whatever its figures say.
fn leaks(record: &RunRecord) -> Vec<String> {
    // The generator's own growth is its defect, not the target's: it is in the record, and the self-test judges it.
    let of_targets = record.growth.iter().filter(|growth| growth.target != GENERATOR);
    let leaking = of_targets.filter(|growth| growth.leaking).map(|growth| {
        let unit = Unit::of_metric(&growth.resource);
        format!(
            "`{}` of {} grows by {} an hour (95 % interval {} to {})",
            growth.resource,
            growth.target,
            unit.format(growth.slope_per_hour),
            unit.format(growth.low_per_hour),
            unit.format(growth.high_per_hour)
        )
    });
    leaking.collect()
}

/// What grew for certain in a run that was too short to call it a leak: it is told and fails nothing.
fn unjudged_growth(record: &RunRecord) -> Option<String> {
    let grew = |growth: &&Growth| growth.target != GENERATOR && growth.too_short && growth.low_per_hour > 0.0;
    let mut grown: Vec<String> = record
        .growth
        .iter()
        .filter(grew)
        .map(|growth| format!("`{}` of {}", growth.resource, growth.target))
        .collect();
    if grown.is_empty() {
        return None;
    }
    grown.sort_unstable();
    Some(format!(
        "{} grew: too short to judge whether that is a leak, which takes {GROWTH_SPAN_S_MIN} s",
        grown.join(", ")
    ))
}

fn judge_threshold(
    record: &RunRecord,
    threshold: &Threshold,
    name: &str,
    area: &str,
    unit: Unit,
) -> Judgement {
    let value = record.metrics.get(&threshold.metric).copied().filter(|value| value.is_finite());
    let (level, critical, note) = match value {
        None => (Level::Invalid, false, Some("the run did not measure it".to_owned())),
        Some(value) => {
            let (level, critical) = threshold.level_of(value);
            (level, critical, error_ratio_note(record, threshold, value))
        }
    };
    Judgement {
        name: name.to_owned(),
        area: area.to_owned(),
        unit,
        threshold: threshold.clone(),
        value,
        level,
        critical,
        note,
    }
}

/// "No errors" says little after few operations: how large may the ratio really be?
fn error_ratio_note(record: &RunRecord, threshold: &Threshold, value: f64) -> Option<String> {
    let (_, completed, errors) = record.totals();
    let bound = threshold.acceptable.unwrap_or(threshold.target);
    if threshold.metric != ERROR_RATIO || completed == 0 || !threshold.op.holds(value, bound) {
        return None;
    }
    let ratio_max = proportion::error_ratio_max(errors, completed);
    let is_uncertain = bound > 0.0 && ratio_max > bound;
    is_uncertain.then(|| {
        format!(
            "{errors} errors in {completed} operations: the true ratio may be as high as {}; {} operations without error would settle it",
            crate::quantity::number(ratio_max),
            proportion::operations_needed(bound)
        )
    })
}

impl Judgement {
    /// What to do now; empty if nothing.
    pub fn action(&self) -> &str {
        match self.level {
            Level::Pass => "",
            Level::Invalid if self.value.is_some() => "Run again when nothing else disturbs the machine.",
            Level::Invalid => "Make the scenario measure it.",
            Level::Warn | Level::Fail => &self.threshold.action,
        }
    }
}

impl Threshold {
    /// How good a value is, and whether it is beyond the critical bound.
    pub fn level_of(&self, value: f64) -> (Level, bool) {
        if self.op.holds(value, self.target) {
            return (Level::Pass, false);
        }
        if self.acceptable.is_some_and(|acceptable| self.op.holds(value, acceptable)) {
            return (Level::Warn, false);
        }
        (Level::Fail, self.critical.is_some_and(|critical| !self.op.holds(value, critical)))
    }

    /// The promise as a person reads it: `≤ 2 s`.
    pub fn promise(&self, unit: Unit) -> String {
        let symbol = match self.op {
            Op::Less => "<",
            Op::AtMost => "≤",
            Op::Greater => ">",
            Op::AtLeast => "≥",
            Op::Equal => "=",
        };
        format!("{symbol} {}", unit.format(self.target))
    }
}

impl Level {
    /// The level in one word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Warn => "warn",
            Self::Invalid => "invalid",
            Self::Fail => "fail",
        }
    }
}

impl std::fmt::Display for Level {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.word())
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::{record::Validity, synthetic::ServerRun};

    fn objectives() -> Objectives {
        let text = r#"
            [[objective]]
            id = "healthz-latency"
            area = "platform"
            metric = "latency_p99_ms"
            unit = "ms"
            op = "<="
            target = 5
            acceptable = 50
            critical = 500
            regress_pct = 10
            action = "profile the layers"
            scenario = "healthz"
            source = "CX-1.3"
            [[objective]]
            id = "healthz-errors"
            area = "platform"
            metric = "error_ratio"
            unit = "ratio"
            op = "<"
            target = 0.001
            action = "read the log"
            scenario = "healthz"
            source = "PT-SM.6"
        "#;
        Objectives::parse(Path::new("objectives.toml"), text).unwrap()
    }

    fn run(frozen_s: Option<(f64, f64)>) -> RunRecord {
        ServerRun { seconds: 6, rate_per_s: 500.0, frozen_s, ..ServerRun::default() }.record()
    }

    #[test]
    fn a_run_passes_warns_or_fails_by_its_worst_promise() {
        assert_eq!(judge(&run(None), &objectives()).level, Level::Pass);
        let frozen = judge(&run(Some((2.0, 4.0))), &objectives());
        assert_eq!(frozen.level, Level::Fail);
        let worst = &frozen.judgements[0];
        assert_eq!((worst.name.as_str(), worst.critical), ("healthz-latency", true));
        let mut slow = run(None);
        slow.metrics.insert("latency_p99_ms".to_owned(), 20.0);
        assert_eq!(judge(&slow, &objectives()).level, Level::Warn);
    }

    #[test]
    fn a_disturbed_or_partial_run_judges_nothing() {
        let mut disturbed = run(Some((2.0, 4.0)));
        disturbed.validity = Validity::Invalid { reasons: vec!["the machine was busy".to_owned()] };
        let verdict = judge(&disturbed, &objectives());
        assert_eq!(verdict.level, Level::Invalid);
        assert!(verdict.judgements.iter().all(|judgement| judgement.level == Level::Invalid));
        let mut partial = run(None);
        partial.partial = Some("the server died".to_owned());
        assert_eq!(judge(&partial, &objectives()).reasons, ["ended early: the server died"]);
    }

    #[test]
    fn a_promise_that_was_not_measured_is_not_kept() {
        let mut silent = run(None);
        silent.metrics.remove("latency_p99_ms");
        let verdict = judge(&silent, &objectives());
        assert_eq!(verdict.level, Level::Invalid);
        assert_eq!(verdict.judgements[0].note.as_deref(), Some("the run did not measure it"));
    }

    #[test]
    fn errors_are_judged_by_what_is_promised_of_them() {
        let mut wrong = run(None);
        wrong.checks[0].failed = 3;
        wrong.metrics.insert(ERROR_RATIO.to_owned(), 3.0 / 3_000.0);
        let verdict = judge(&wrong, &objectives());
        assert_eq!(verdict.level, Level::Fail, "at most 0.1 % is promised");
        assert!(verdict.reasons[0].contains("`status is 200` failed 3 of"), "{:?}", verdict.reasons);
        wrong.metrics.insert(ERROR_RATIO.to_owned(), 0.000_5);
        assert_eq!(judge(&wrong, &objectives()).level, Level::Pass);
    }

    #[test]
    fn where_nothing_is_promised_few_errors_are_a_warning() {
        let mut wrong = run(None);
        wrong.checks[0].failed = 3;
        assert_eq!(judge(&wrong, &Objectives::default()).level, Level::Warn);
        wrong.checks[0].failed = 300;
        assert_eq!(judge(&wrong, &Objectives::default()).level, Level::Fail);
    }

    #[test]
    fn a_leak_fails_a_run() {
        let leaking =
            ServerRun { seconds: 6, rate_per_s: 500.0, leak_mib_per_s: 0.1, ..ServerRun::default() }.record();
        let verdict = judge(&leaking, &objectives());
        assert_eq!(verdict.level, Level::Fail);
        assert!(verdict.reasons[0].contains("grows by 360 MiB an hour"), "{:?}", verdict.reasons);
    }

    #[test]
    fn growth_of_the_generator_itself_does_not_fail_the_target() {
        let mut leaking =
            ServerRun { seconds: 6, rate_per_s: 500.0, leak_mib_per_s: 0.1, ..ServerRun::default() }.record();
        leaking.growth[0].target = GENERATOR.to_owned();
        let verdict = judge(&leaking, &objectives());
        assert_eq!((verdict.level, verdict.reasons.len()), (Level::Pass, 0), "{:?}", verdict.reasons);
    }

    #[test]
    fn growth_in_a_short_run_is_told_and_fails_nothing() {
        let mut short =
            ServerRun { seconds: 6, rate_per_s: 500.0, leak_mib_per_s: 0.1, ..ServerRun::default() }.record();
        (short.growth[0].leaking, short.growth[0].too_short) = (false, true);
        let verdict = judge(&short, &objectives());
        assert_eq!(verdict.level, Level::Pass, "{verdict:?}");
        assert_eq!(
            verdict.reasons,
            ["`pss_mib` of server grew: too short to judge whether that is a leak, which takes 120 s"]
        );
        short.growth[0].low_per_hour = -1.0;
        assert!(judge(&short, &objectives()).reasons.is_empty(), "what may be level is not told");
    }

    #[test]
    fn no_error_in_few_operations_is_said_to_prove_little() {
        let short = ServerRun { seconds: 1, rate_per_s: 500.0, ..ServerRun::default() }.record();
        let verdict = judge(&short, &objectives());
        let errors = verdict.judgements.iter().find(|j| j.name == "healthz-errors").unwrap();
        assert!(errors.note.as_ref().unwrap().contains("as high as 0.00597"), "{:?}", errors.note);
    }
}
