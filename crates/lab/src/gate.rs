//! Stops a change that makes a promise worse.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::compare::{Comparison, Outcome};

/// What a gate decides.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", tag = "decision")]
pub enum Decision {
    /// No promised metric became certainly worse.
    Open,
    /// At least one did.
    Regressed {
        /// Their names.
        metrics: Vec<String>,
    },
    /// The measurements cannot decide; each reason says what to do.
    Undecided {
        /// Sentence fragments.
        reasons: Vec<String>,
    },
}

/// Decides over a comparison. Different machines decide nothing unless `any_machine`.
pub fn decide(comparison: &Comparison, any_machine: bool) -> Decision {
    let gated = || comparison.changes.iter().filter(|change| change.gated);
    let mut reasons = comparison.mismatches.clone();
    if comparison.machines_differ && !any_machine {
        reasons.push("the sides were measured on different machines; measure both on this one".to_owned());
    }
    if reasons.is_empty() {
        let metrics: Vec<String> = comparison.regressions().map(|change| change.metric.clone()).collect();
        if !metrics.is_empty() {
            return Decision::Regressed { metrics };
        }
    }
    if gated().next().is_none() {
        reasons.push("the sides share no promised metric; name one with `--metric`".to_owned());
    }
    if !comparison.missing.is_empty() {
        reasons.push(format!("promised, and only the baseline has it: {}", comparison.missing.join(", ")));
    }
    let few: Vec<&str> =
        gated().filter(|c| c.outcome == Outcome::TooFew).map(|c| c.metric.as_str()).collect();
    if !few.is_empty() {
        let needed = crate::compare::REPEATS_MIN;
        reasons.push(format!(
            "fewer than {needed} valid repeats of {}; run with `--repeat {needed}`",
            few.join(", ")
        ));
    }
    if reasons.is_empty() { Decision::Open } else { Decision::Undecided { reasons } }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        compare::{Policy, compare},
        measurements::{Condition, Kind, Measurements},
        record::Form,
    };

    fn side(value: f64, count: usize, machine: &str) -> Measurements {
        let mut side = Measurements::new("side");
        side.machines.insert(machine.to_owned());
        (0..count).for_each(|i| side.push("analyze/cpu_s", Kind::Sampled, value + i as f64 * 1e-3));
        side
    }

    fn decision(before: &Measurements, now: &Measurements, any_machine: bool) -> Decision {
        let policy = Policy::default().only(vec!["cpu_s".to_owned()]);
        decide(&compare(before, now, &policy, false), any_machine)
    }

    #[test]
    fn a_regression_closes_the_gate_and_no_change_opens_it() {
        let base = side(1.0, 6, "here");
        assert_eq!(decision(&base, &side(1.0, 6, "here"), false), Decision::Open);
        let metrics = vec!["analyze/cpu_s".to_owned()];
        assert_eq!(decision(&base, &side(1.5, 6, "here"), false), Decision::Regressed { metrics });
    }

    #[test]
    fn too_few_repeats_and_other_machines_decide_nothing() {
        let base = side(1.0, 6, "here");
        assert!(matches!(decision(&base, &side(1.5, 3, "here"), false), Decision::Undecided { .. }));
        assert!(matches!(decision(&base, &side(1.5, 6, "there"), false), Decision::Undecided { .. }));
        assert!(matches!(decision(&base, &side(1.5, 6, "there"), true), Decision::Regressed { .. }));
    }

    fn reasons(before: &Measurements, now: &Measurements) -> String {
        match decision(before, now, false) {
            Decision::Undecided { reasons } => reasons.join("; "),
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn another_form_or_another_scenario_decides_nothing() {
        let of = |conditions: &[(Form, &str)]| {
            let mut side = side(1.0, 6, "here");
            let conditions = conditions
                .iter()
                .map(|(form, hash)| Condition { form: *form, scenario_hash: Some((*hash).to_owned()) });
            side.conditions.insert("analyze".to_owned(), conditions.collect());
            side
        };
        let base = of(&[(Form::Short, "a")]);
        assert_eq!(decision(&base, &base, false), Decision::Open);
        assert!(reasons(&base, &of(&[(Form::Full, "a")])).contains("another form"));
        assert!(reasons(&base, &of(&[(Form::Short, "b")])).contains("is not what it was"));
        assert!(reasons(&base, &of(&[(Form::Short, "a"), (Form::Full, "a")])).contains("taken together"));
        assert!(reasons(&base, &side(1.0, 6, "here")).contains("not known which form"));
    }

    #[test]
    fn several_machines_on_one_side_decide_nothing() {
        let mut joined = side(1.0, 6, "here");
        joined.extend(side(1.0, 6, "there"));
        assert!(reasons(&side(1.0, 6, "here"), &joined).contains("different machines"));
    }

    #[test]
    fn a_promised_metric_that_is_gone_decides_nothing() {
        let mut base = side(1.0, 6, "here");
        base.push("other/cpu_s", Kind::Sampled, 1.0);
        assert!(reasons(&base, &side(1.0, 6, "here")).contains("only the baseline has it: other/cpu_s"));
        // What nothing promises may go.
        let mut base = side(1.0, 6, "here");
        base.push("analyze/threads_max", Kind::Sampled, 9.0);
        assert_eq!(decision(&base, &side(1.0, 6, "here"), false), Decision::Open);
    }

    #[test]
    fn nothing_promised_in_common_decides_nothing() {
        let comparison = compare(&side(1.0, 6, "x"), &side(1.0, 6, "x"), &Policy::default(), false);
        assert!(matches!(decide(&comparison, false), Decision::Undecided { .. }));
    }
}
