//! Does a resource grow? A slope with its confidence interval, from samples that depend on each other.

use statrs::distribution::{ContinuousCDF as _, StudentsT};

use crate::record::Growth;

/// Fewer samples say nothing.
pub const GROWTH_SAMPLES_MIN: usize = 8;
/// A leak is judged only over this many seconds, warm-up included: what fills its caches and starts its threads looks
/// like one for the first half minute.
pub const GROWTH_SPAN_S_MIN: f64 = 120.0;
/// Share of that time, at the beginning, that is left out as warm-up.
pub const WARM_UP_SHARE: f64 = 0.25;
/// Without an allowance, growth within the run counts from this share of the level.
const MATERIAL_SHARE: f64 = 0.02;
/// Without an allowance, growth within the run counts from this much, in the resource's unit.
const MATERIAL_MIN: f64 = 1.0;
const SECONDS_PER_HOUR: f64 = 3_600.0;
const CONFIDENCE: f64 = 0.95;

/// How much growth is not a leak.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Allowance {
    /// So much per hour, in the resource's unit.
    PerHour(f64),
    /// 2 % of the level, and at least one unit, within the run.
    Material,
}

/// Estimates the growth of one resource of one target from `(seconds, value)` samples, by ordinary least squares.
///
/// Neighbouring samples of memory are alike, so there is less evidence than there are samples: the standard error is
/// widened by the autocorrelation of the residuals (effective sample size of an AR(1) process, `n (1 − ρ) / (1 + ρ)`).
/// Over less than [`GROWTH_SPAN_S_MIN`] the slope is given, and nothing is called a leak. `None` with fewer than
/// [`GROWTH_SAMPLES_MIN`] samples after the warm-up, or when time stands still.
pub fn growth(target: &str, resource: &str, samples: &[(f64, f64)], allowance: Allowance) -> Option<Growth> {
    let (began, last) = (samples.first()?.0, samples.last()?.0);
    let warm = began + (last - began) * WARM_UP_SHARE;
    let settled = samples.get(samples.partition_point(|(at_s, _)| *at_s < warm)..)?;
    if settled.len() < GROWTH_SAMPLES_MIN {
        return None;
    }
    let line = Line::fit(settled)?;
    let margin = line.quantile()? * line.standard_error;
    let first = settled.first()?.0;
    let allowed_per_s = match allowance {
        Allowance::PerHour(per_hour) => per_hour / SECONDS_PER_HOUR,
        Allowance::Material => (line.mean.abs() * MATERIAL_SHARE).max(MATERIAL_MIN) / (last - first),
    };
    let too_short = last - began < GROWTH_SPAN_S_MIN;
    Some(Growth {
        target: target.to_owned(),
        resource: resource.to_owned(),
        slope_per_hour: line.slope * SECONDS_PER_HOUR,
        low_per_hour: (line.slope - margin) * SECONDS_PER_HOUR,
        high_per_hour: (line.slope + margin) * SECONDS_PER_HOUR,
        leaking: !too_short && line.slope - margin > allowed_per_s,
        too_short,
    })
}

/// A fitted line, in units per second.
struct Line {
    slope: f64,
    standard_error: f64,
    mean: f64,
    freedom: f64,
}

impl Line {
    fn fit(samples: &[(f64, f64)]) -> Option<Self> {
        let count = samples.len() as f64;
        let mean_time = samples.iter().map(|(time, _)| time).sum::<f64>() / count;
        let mean = samples.iter().map(|(_, value)| value).sum::<f64>() / count;
        let spread: f64 = samples.iter().map(|(time, _)| (time - mean_time).powi(2)).sum();
        if spread <= 0.0 || !mean.is_finite() {
            return None;
        }
        let slope =
            samples.iter().map(|(time, value)| (time - mean_time) * (value - mean)).sum::<f64>() / spread;
        let residuals: Vec<f64> =
            samples.iter().map(|(time, value)| value - mean - slope * (time - mean_time)).collect();
        let squares: f64 = residuals.iter().map(|residual| residual * residual).sum();
        let neighbours: f64 = residuals.iter().zip(residuals.iter().skip(1)).map(|(a, b)| a * b).sum();
        // Negative correlation is not taken as more evidence than there are samples.
        let correlation = if squares > 0.0 { (neighbours / squares).clamp(0.0, 0.99) } else { 0.0 };
        let effective = (count * (1.0 - correlation) / (1.0 + correlation)).max(3.0);
        let freedom = effective - 2.0;
        // Residual variance with the freedom that is left, and the spread of that many independent samples.
        let variance = squares / count * effective / freedom;
        let standard_error = (variance / (spread * effective / count)).sqrt();
        Some(Self { slope, standard_error, mean, freedom })
    }

    /// How many standard errors the confidence interval reaches to either side.
    fn quantile(&self) -> Option<f64> {
        Some(StudentsT::new(0.0, 1.0, self.freedom).ok()?.inverse_cdf(f64::midpoint(1.0, CONFIDENCE)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    /// Sum of twelve uniform numbers: close enough to normal, with unit variance.
    fn normal(random: &mut Random) -> f64 {
        (0..12).map(|_| random.next_f64()).sum::<f64>() - 6.0
    }

    /// A series around 100 with a slope per second and noise of which `memory` carries over to the next sample.
    fn series(seed: u64, count: usize, slope: f64, memory: f64) -> Vec<(f64, f64)> {
        let mut random = Random::new(seed);
        let mut noise = 0.0;
        (0..count)
            .map(|second| {
                noise = noise * memory + normal(&mut random);
                (second as f64, 100.0 + slope * second as f64 + noise)
            })
            .collect()
    }

    #[test]
    fn the_interval_covers_the_true_slope_as_often_as_it_says() {
        for memory in [0.0, 0.6] {
            let covered = (0..400)
                .filter(|seed| {
                    let growth =
                        growth("t", "rss_mib", &series(*seed, 300, 0.01, memory), Allowance::Material);
                    let growth = growth.unwrap();
                    (growth.low_per_hour..=growth.high_per_hour).contains(&36.0)
                })
                .count();
            assert!((360..=399).contains(&covered), "{memory}: {covered} of 400");
        }
    }

    #[test]
    fn a_leak_is_found_and_a_level_series_is_not_one() {
        let leaking = |slope: f64| {
            (0..100)
                .filter(|seed| {
                    let samples = series(1_000 + *seed, 300, slope, 0.5);
                    growth("t", "pss_mib", &samples, Allowance::Material).unwrap().leaking
                })
                .count()
        };
        assert_eq!(leaking(0.05), 100);
        assert_eq!(leaking(0.0), 0);
    }

    #[test]
    fn growth_within_the_allowance_is_no_leak() {
        let steady: Vec<(f64, f64)> =
            (0..200).map(|second| (f64::from(second), f64::from(second) * 0.01)).collect();
        assert!(growth("t", "rss_mib", &steady, Allowance::PerHour(30.0)).unwrap().leaking);
        assert!(!growth("t", "rss_mib", &steady, Allowance::PerHour(40.0)).unwrap().leaking);
    }

    /// Memory that fills for so long, exponentially, and is level from then on.
    fn filling(run_s: usize, warm_up_s: f64) -> Vec<(f64, f64)> {
        let level = |(at_s, noise): (f64, f64)| {
            (at_s, 80.0 + 60.0 * (1.0 - (-at_s * 5.0 / warm_up_s).exp()) + 0.2 * (noise - 100.0))
        };
        series(7, run_s, 0.0, 0.5).into_iter().map(level).collect()
    }

    #[test]
    fn what_fills_at_the_start_is_no_leak() {
        for run_s in [120, 180, 600] {
            let growth = growth("t", "pss_mib", &filling(run_s + 1, 25.0), Allowance::Material).unwrap();
            assert!(!growth.leaking && !growth.too_short, "{run_s} s: {growth:?}");
        }
    }

    #[test]
    fn a_run_that_is_all_warm_up_is_too_short_to_judge() {
        for run_s in [25, 60, 119] {
            let warming = growth("t", "pss_mib", &filling(run_s + 1, 25.0), Allowance::Material).unwrap();
            assert!(warming.too_short && !warming.leaking, "{run_s} s: {warming:?}");
            // Even one that leaks a unit a second is not judged; its slope is told all the same.
            let leak: Vec<(f64, f64)> = (0..=run_s).map(|second| (second as f64, second as f64)).collect();
            let leak = growth("t", "threads", &leak, Allowance::Material).unwrap();
            assert!(leak.too_short && !leak.leaking && leak.low_per_hour > 3_500.0, "{run_s} s: {leak:?}");
        }
        let leak: Vec<(f64, f64)> = (0..=120).map(|second| (f64::from(second), f64::from(second))).collect();
        assert!(growth("t", "threads", &leak, Allowance::Material).unwrap().leaking);
    }

    #[test]
    fn the_warm_up_is_a_share_of_the_time_however_often_was_looked() {
        // Ten looks a second while it fills, one a second from then on.
        let often = (0..250).map(|tenth| (f64::from(tenth) / 10.0, f64::from(tenth)));
        let rarely = (25..=125).map(|second| (f64::from(second), 250.0));
        let samples: Vec<(f64, f64)> = often.chain(rarely).collect();
        assert!(!growth("t", "pss_mib", &samples, Allowance::Material).unwrap().leaking);
    }

    #[test]
    fn too_few_samples_and_a_standing_clock_say_nothing() {
        assert_eq!(growth("t", "rss_mib", &[(0.0, 1.0); 5], Allowance::Material), None);
        assert_eq!(growth("t", "rss_mib", &[(3.0, 1.0); 50], Allowance::Material), None);
    }
}
