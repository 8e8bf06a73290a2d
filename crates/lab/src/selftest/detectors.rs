//! How often the detectors see what is there, and what is not.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use tokio_util::sync::CancellationToken;

use super::Case;
use crate::{
    ab::{Side, Trial},
    compare::{Outcome, Policy, compare},
    fixture::ROUNDS_PER_MILLI,
    measurements::{Kind, Measurements},
    quantity::number,
    resources::{Allowance, growth},
    statistics::Random,
    synthetic,
    verdict::Level,
};

/// Trials that must not go wrong, as promised.
const TRIALS: usize = 20;
/// Trials of which the rates are estimated.
const TRIALS_FOR_RATES: usize = if cfg!(debug_assertions) { 100 } else { 400 };
/// Slow-down that has to be caught.
const SLOW_DOWN: f64 = 1.15;
/// False alarms allowed in [`TRIALS`] without a change.
const FALSE_ALARMS_MAX: usize = 1;
/// Made-up repeats per side.
const REPEATS: usize = 12;
/// Real repeats per side, as many as `paddock lab ab` takes without being told.
const PAIRS: usize = 15;
/// Relative spread of repeats on a machine that does little else.
const SPREADS: [f64; 3] = [0.02, 0.03, 0.05];
/// Spread by which the promise is judged.
const SPREAD_JUDGED: f64 = 0.03;

/// Made-up repeats, with and without a slow-down, through the same comparison that the gate uses.
pub(super) fn regression() -> Case {
    let (missed, alarms) = regression_rates(SPREAD_JUDGED, TRIALS, 1);
    let kept = missed == 0 && alarms <= FALSE_ALARMS_MAX;
    let mut case = Case::new("regression detector", if kept { Level::Pass } else { Level::Fail })
        .figure("15 % slow-down caught", format!("{} of {TRIALS}", TRIALS - missed))
        .figure("no change flagged", format!("{alarms} of {TRIALS}"))
        .metric("slow_down_missed_count", missed as f64)
        .metric("false_alarm_count", alarms as f64);
    for spread in SPREADS {
        let (missed, alarms) = regression_rates(spread, TRIALS_FOR_RATES, 1_000);
        let percent = |count: usize| number(count as f64 / TRIALS_FOR_RATES as f64 * 100.0);
        case = case.figure(
            &format!("at {} % spread", number(spread * 100.0)),
            format!("misses {} %, false alarms {} %", percent(missed), percent(alarms)),
        );
    }
    case.note(format!(
        "{REPEATS} made-up repeats per side, threshold 10 %, {TRIALS_FOR_RATES} trials per rate"
    ))
}

/// How many slow-downs were missed, and how many unchanged pairs flagged, of so many trials each.
fn regression_rates(spread: f64, trials: usize, seed: u64) -> (usize, usize) {
    let is_flagged = |ratio: f64, seed: u64| {
        let mut random = Random::seeded(seed);
        let mut side = |median: f64| {
            let mut side = Measurements::new("made up");
            for value in synthetic::repeats(median, spread, REPEATS, &mut random) {
                side.push("made-up/cpu_s", Kind::Sampled, value);
            }
            side
        };
        let comparison = compare(&side(1.0), &side(ratio), &Policy::default(), true);
        comparison.changes.iter().any(|change| change.outcome == Outcome::Regression)
    };
    let seeds = || (0..trials as u64).map(|trial| seed + trial);
    let missed = seeds().filter(|seed| !is_flagged(SLOW_DOWN, seed * 2)).count();
    let alarms = seeds().filter(|seed| is_flagged(1.0, seed * 2 + 1)).count();
    (missed, alarms)
}

/// Growth that has to be caught where so much is allowed.
const LEAKS: [(f64, Allowance, &str); 2] = [
    (20.0, Allowance::PerHour(5.0), "20 MiB/h, 5 allowed"),
    // 2 % of 80 MiB within the 450 s that are looked at are 12.8 MiB/h.
    (60.0, Allowance::Material, "60 MiB/h, 2 % of the level allowed"),
];
/// How much of its noise a sample shares with the one before: memory is freed in batches, so real samples do.
const MEMORIES: [f64; 3] = [0.0, 0.6, 0.9];
/// The correlation by which the detector is judged.
const MEMORY_JUDGED: f64 = 0.6;
/// Standard deviation of made-up memory, whatever the correlation.
const NOISE_MIB: f64 = 0.4;

/// Made-up memory over ten minutes, with and without a leak, with noise that carries over from sample to sample.
pub(super) fn leak() -> Case {
    let mut kept = true;
    let mut case = Case::new("leak detector", Level::Pass);
    for (leak_mib_per_hour, allowance, name) in LEAKS {
        let (missed, alarms) = leak_rates(leak_mib_per_hour, allowance, MEMORY_JUDGED, TRIALS, 1);
        kept &= missed == 0 && alarms <= FALSE_ALARMS_MAX;
        case = case
            .figure(&format!("{name}: caught"), format!("{} of {TRIALS}", TRIALS - missed))
            .figure(&format!("{name}: no leak flagged"), format!("{alarms} of {TRIALS}"));
        for memory in MEMORIES {
            let (missed, alarms) = leak_rates(leak_mib_per_hour, allowance, memory, TRIALS_FOR_RATES, 10_000);
            let percent = |count: usize| number(count as f64 / TRIALS_FOR_RATES as f64 * 100.0);
            case = case.figure(
                &format!("{name}, autocorrelation {}", number(memory)),
                format!("misses {} %, false alarms {} %", percent(missed), percent(alarms)),
            );
        }
    }
    case.level = if kept { Level::Pass } else { Level::Fail };
    case.note(format!(
        "made-up memory of ten minutes around 80 MiB with {NOISE_MIB} MiB of noise, {TRIALS_FOR_RATES} trials per rate; \
         judged at autocorrelation {MEMORY_JUDGED}"
    ))
}

/// How many leaks were missed, and how many level series flagged, of so many trials each.
fn leak_rates(
    leak_mib_per_hour: f64,
    allowance: Allowance,
    memory: f64,
    trials: usize,
    seed: u64,
) -> (usize, usize) {
    let is_flagged = |growth_mib_per_hour: f64, seed: u64| {
        let mut random = Random::seeded(seed);
        let mut noise = random.normal();
        let points: Vec<(f64, f64)> = (0..600)
            .map(f64::from)
            .map(|second| {
                noise = memory * noise + (1.0 - memory * memory).sqrt() * random.normal();
                (second, 80.0 + growth_mib_per_hour * second / 3_600.0 + NOISE_MIB * noise)
            })
            .collect();
        growth("made up", "pss_mib", &points, allowance).is_some_and(|growth| growth.leaking)
    };
    let seeds = || (0..trials as u64).map(|trial| seed + trial);
    let missed = seeds().filter(|seed| !is_flagged(leak_mib_per_hour, seed * 2)).count();
    let alarms = seeds().filter(|seed| is_flagged(0.0, seed * 2 + 1)).count();
    (missed, alarms)
}

/// The same question to real processes: a fixed piece of work against one that is 15 % larger, and against itself.
pub(super) async fn gate_on_processes(burner: &[String], stop: &CancellationToken) -> Vec<Case> {
    const ROUNDS: u64 = 150 * ROUNDS_PER_MILLI;
    let slower = (ROUNDS as f64 * SLOW_DOWN) as u64;
    let mut cases = Vec::new();
    for (name, rounds, expect_regression) in
        [("gate on a 15 % slow-down", slower, true), ("gate on no change", ROUNDS, false)]
    {
        cases.push(match flagged(burner, ROUNDS, rounds, stop).await {
            Err(error) => Case::impossible(name, error),
            Ok((_, trials)) if trials < TRIALS => {
                Case::impossible(name, format!("interrupted after {trials} trials"))
            }
            Ok((flagged, _)) => {
                let kept = if expect_regression { flagged == TRIALS } else { flagged <= FALSE_ALARMS_MAX };
                let (what, metric, count) = if expect_regression {
                    ("caught", "slow_down_missed_count", TRIALS - flagged)
                } else {
                    ("flagged", "false_alarm_count", flagged)
                };
                Case::new(name, if kept { Level::Pass } else { Level::Fail })
                    .figure(what, format!("{flagged} of {TRIALS}"))
                    .metric(metric, count as f64)
                    .note(format!(
                        "{PAIRS} interleaved pairs of processes per trial, CPU time, threshold 10 %"
                    ))
            }
        });
    }
    cases
}

/// How many trials were flagged, and how many were carried out.
async fn flagged(
    burner: &[String],
    rounds_a: u64,
    rounds_b: u64,
    stop: &CancellationToken,
) -> Result<(usize, usize), crate::ab::TrialError> {
    let template: Vec<String> = burner.iter().cloned().chain([crate::ab::PLACEHOLDER.to_owned()]).collect();
    let policy = Policy::default().only(vec!["burn_cpu_ms".to_owned()]);
    let (mut flagged, mut carried_out) = (0, 0);
    for _ in 0..TRIALS {
        let trial = Trial {
            a: Side::new(&rounds_a.to_string(), &template)?,
            b: Side::new(&rounds_b.to_string(), &template)?,
            pairs: PAIRS,
            warm_ups: 1,
            timeout: Duration::from_mins(1),
            dir: PathBuf::from("."),
            figures: BTreeMap::from([("burn_cpu_ms".to_owned(), "/cpu_ms".to_owned())]),
        };
        let result = trial.run(stop, &mut |_, _| {}).await?;
        if result.partial.is_some() {
            break;
        }
        carried_out += 1;
        let comparison = compare(&result.a, &result.b, &policy, true);
        flagged += usize::from(comparison.regressions().next().is_some());
    }
    Ok((flagged, carried_out))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_down_of_15_percent_is_caught_and_no_change_is_not_flagged() {
        let (missed, alarms) = regression_rates(SPREAD_JUDGED, TRIALS, 1);
        assert_eq!(missed, 0);
        assert!(alarms <= FALSE_ALARMS_MAX, "{alarms}");
    }

    #[test]
    fn a_leak_is_caught_and_noise_is_not_flagged() {
        let case = leak();
        assert_eq!(case.level, Level::Pass, "{case:?}");
        // Noise that carries over must not look like growth where everything is level.
        for (_, allowance, name) in LEAKS {
            let (_, alarms) = leak_rates(0.0, allowance, 0.9, 200, 77);
            assert!(alarms <= 10, "{name}: {alarms} of 200");
        }
        assert!(
            case.figures
                .iter()
                .any(|(name, value)| { name.contains("2 % of the level") && value.starts_with("misses ") })
        );
    }
}
