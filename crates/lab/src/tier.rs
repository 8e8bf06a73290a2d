//! How much is measured: for every change, before a release, or everything.

use std::time::Duration;

use crate::{compare::REPEATS_MIN, record::Form};

/// What `quick` may take in all.
pub const QUICK_MAX: Duration = Duration::from_mins(5);
/// Set-up and tear-down of one scenario, as far as a plan can know.
const AROUND: Duration = Duration::from_secs(6);
/// Stands for the length of a load that ends after a number of operations.
const UNKNOWN: Duration = Duration::from_secs(30);

/// A selection of scenarios, forms and repeats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tier {
    /// The short form of every scenario once, in under five minutes: for every change. Scenarios that build, and those that
    /// do not fit into the time, the longest first, are left out and named.
    Quick,
    /// The short form of every scenario as often as a gate needs.
    Regression,
    /// The full form of every scenario, and the self-test with real processes.
    Full,
}

/// A scenario that could be measured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Its name.
    pub name: String,
    /// How long its short load takes, if that is known.
    pub short: Option<Duration>,
    /// How long its full load takes, if that is known.
    pub full: Option<Duration>,
    /// Whether it may have to compile something first.
    pub builds: bool,
}

/// What a tier means for the scenarios there are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Which form is run.
    pub form: Form,
    /// How often each scenario is run. Repeats go round: every scenario once, then again, so that what drifts meets all.
    pub repeats: usize,
    /// Names of the scenarios to run, in order.
    pub scenarios: Vec<String>,
    /// Names of those that do not fit into the time.
    pub left_out: Vec<String>,
    /// About how long it will take.
    pub expected: Duration,
}

impl Tier {
    /// The tier's form of a scenario.
    pub fn form(self) -> Form {
        match self {
            Self::Quick | Self::Regression => Form::Short,
            Self::Full => Form::Full,
        }
    }

    /// Plans the tier for these scenarios.
    pub fn plan(self, candidates: &[Candidate]) -> Plan {
        let form = self.form();
        let repeats = if self == Self::Regression { REPEATS_MIN } else { 1 };
        let length = |candidate: &Candidate| {
            let load = if form == Form::Short { candidate.short } else { candidate.full };
            load.unwrap_or(UNKNOWN) + AROUND
        };
        let (mut chosen, built): (Vec<&Candidate>, Vec<&Candidate>) =
            candidates.iter().partition(|candidate| self != Self::Quick || !candidate.builds);
        let total = |chosen: &[&Candidate]| {
            chosen.iter().map(|candidate| length(candidate)).sum::<Duration>()
                * u32::try_from(repeats).unwrap_or(1)
        };
        // What may take long comes last: if the time runs out, it is what is missing.
        if self == Self::Quick {
            chosen.sort_by_key(|candidate| candidate.short.is_none());
        }
        let mut left_out: Vec<String> = built.iter().map(|candidate| candidate.name.clone()).collect();
        while self == Self::Quick && total(&chosen) > QUICK_MAX && chosen.len() > 1 {
            let longest = chosen.iter().enumerate().max_by_key(|(_, candidate)| length(candidate));
            let Some((index, _)) = longest else { break };
            left_out.push(chosen.remove(index).name.clone());
        }
        Plan {
            form,
            repeats,
            expected: total(&chosen),
            scenarios: chosen.iter().map(|candidate| candidate.name.clone()).collect(),
            left_out,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(name: &str, short_s: u64) -> Candidate {
        Candidate {
            name: name.to_owned(),
            short: Some(Duration::from_secs(short_s)),
            full: Some(Duration::from_secs(short_s * 10)),
            builds: false,
        }
    }

    #[test]
    fn quick_stays_under_five_minutes_and_says_what_it_leaves_out() {
        let candidates = [candidate("a", 60), candidate("b", 200), candidate("c", 90)];
        let plan = Tier::Quick.plan(&candidates);
        assert_eq!(plan.scenarios, ["a", "c"]);
        assert_eq!(plan.left_out, ["b"]);
        assert!(plan.expected <= QUICK_MAX);
    }

    #[test]
    fn quick_starts_no_compiler() {
        let candidates = [Candidate { builds: true, short: None, ..candidate("a", 1) }, candidate("b", 1)];
        let plan = Tier::Quick.plan(&candidates);
        assert_eq!((plan.scenarios, plan.left_out), (vec!["b".to_owned()], vec!["a".to_owned()]));
        assert_eq!(Tier::Full.plan(&candidates).scenarios, ["a", "b"]);
    }

    #[test]
    fn regression_repeats_as_often_as_a_gate_needs() {
        let plan = Tier::Regression.plan(&[candidate("a", 60), candidate("b", 200)]);
        assert_eq!((plan.form, plan.repeats, plan.scenarios.len()), (Form::Short, REPEATS_MIN, 2));
    }

    #[test]
    fn full_runs_the_full_form_of_everything() {
        let plan = Tier::Full.plan(&[candidate("a", 60), candidate("b", 200)]);
        assert_eq!((plan.form, plan.repeats), (Form::Full, 1));
        assert_eq!(plan.expected, Duration::from_secs(2_600) + 2 * AROUND);
    }
}
