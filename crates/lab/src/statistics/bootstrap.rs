//! How sure a median, or the ratio of two medians, is.

use super::{CONFIDENCE, Random, median, quantile_of_sorted};

/// Resamples per interval: the ends of the interval then vary by well under a tenth of its width.
const RESAMPLES: usize = 4_000;
/// Any number: fixed, so that the same data always give the same interval.
const SEED: u64 = 0x5eed_0f1a_b000;

/// An estimate with its confidence interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RatioInterval {
    /// The estimate from the data themselves.
    pub estimate: f64,
    /// Lower end of the 95 % confidence interval.
    pub low: f64,
    /// Upper end of it.
    pub high: f64,
}

impl RatioInterval {
    /// Whether the whole interval lies on one side of `value`.
    pub fn excludes(&self, value: f64) -> bool {
        self.low > value || self.high < value
    }
}

/// Median of `current` divided by the median of `baseline`, with its percentile bootstrap interval (Efron, 1979).
/// `None` if either is empty. A ratio to 0 is infinite, and 1 if both are 0.
pub fn ratio_of_medians(baseline: &[f64], current: &[f64]) -> Option<RatioInterval> {
    let estimate = ratio(median(baseline)?, median(current)?);
    let (baseline, current) = (sorted(baseline), sorted(current));
    let mut random = Random::seeded(SEED);
    let resampled = (0..RESAMPLES)
        .map(|_| ratio(resampled_median(&baseline, &mut random), resampled_median(&current, &mut random)));
    Some(percentile_interval(estimate, resampled.collect()))
}

/// The median with its percentile bootstrap interval: of ratios pair by pair, for example. `None` if there are none.
pub fn median_interval(values: &[f64]) -> Option<RatioInterval> {
    let estimate = median(values)?;
    let values = sorted(values);
    let mut random = Random::seeded(SEED);
    let resampled = (0..RESAMPLES).map(|_| resampled_median(&values, &mut random));
    Some(percentile_interval(estimate, resampled.collect()))
}

fn ratio(baseline: f64, current: f64) -> f64 {
    if baseline == 0.0 && current == 0.0 { 1.0 } else { current / baseline }
}

fn sorted(values: &[f64]) -> Vec<f64> {
    let mut values = values.to_vec();
    values.sort_unstable_by(f64::total_cmp);
    values
}

fn percentile_interval(estimate: f64, mut resampled: Vec<f64>) -> RatioInterval {
    resampled.sort_unstable_by(f64::total_cmp);
    let tail = (1.0 - CONFIDENCE) / 2.0;
    let at = |quantile| quantile_of_sorted(&resampled, quantile).unwrap_or(estimate);
    RatioInterval { estimate, low: at(tail), high: at(1.0 - tail) }
}

/// The median of a resample of the same size, drawn with replacement.
///
/// Drawing n values and sorting them is drawing n uniform positions and sorting those; the k-th smallest of n uniform
/// positions has a Beta(k, n+1-k) distribution, and given it, the next one is the smallest of the n-k that are left. So
/// one or two draws replace n of them, and ten million values are resampled as quickly as ten.
fn resampled_median(sorted: &[f64], random: &mut Random) -> f64 {
    let count = sorted.len();
    let value = |position: f64| {
        let index = (position * count as f64) as usize;
        sorted.get(index.min(count - 1)).copied().unwrap_or_default()
    };
    let middle = count.div_ceil(2);
    let above = (count - middle) as f64;
    let (left, right) = (random.gamma(middle as f64), random.gamma(above + 1.0));
    let position = left / (left + right);
    if count % 2 == 1 {
        return value(position);
    }
    let next = position + (1.0 - position) * (1.0 - random.uniform().powf(1.0 / above));
    f64::midpoint(value(position), value(next))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The plain way, to check the quick one against.
    fn drawn_median(values: &[f64], random: &mut Random) -> f64 {
        let drawn: Vec<f64> = (0..values.len()).map(|_| values[random.index(values.len())]).collect();
        median(&drawn).unwrap()
    }

    #[test]
    fn the_quick_resampling_has_the_distribution_of_the_plain_one() {
        for count in [5_usize, 6, 20] {
            let values: Vec<f64> = (0..count).map(|i| (i * i) as f64).collect();
            let mut random = Random::seeded(11);
            let mut quick: Vec<f64> = (0..40_000).map(|_| resampled_median(&values, &mut random)).collect();
            let mut plain: Vec<f64> = (0..40_000).map(|_| drawn_median(&values, &mut random)).collect();
            quick.sort_unstable_by(f64::total_cmp);
            plain.sort_unstable_by(f64::total_cmp);
            // Distance of Kolmogorov and Smirnov; with 40,000 draws each, chance stays below 0.014.
            let distance = plain
                .iter()
                .map(|value| {
                    let share = |draws: &[f64]| draws.partition_point(|draw| draw <= value) as f64 / 40_000.0;
                    (share(&quick) - share(&plain)).abs()
                })
                .fold(0.0, f64::max);
            assert!(distance < 0.02, "{count} values: {distance}");
        }
    }

    #[test]
    fn the_interval_covers_the_true_ratio_about_as_often_as_it_says() {
        let mut random = Random::seeded(3);
        let mut covered = 0;
        for _ in 0..100 {
            let mut draw = |mean: f64| -> Vec<f64> { (0..20).map(|_| mean + random.normal()).collect() };
            let interval = ratio_of_medians(&draw(100.0), &draw(110.0)).unwrap();
            covered += u32::from(interval.low <= 1.1 && 1.1 <= interval.high);
        }
        assert!((88..=100).contains(&covered), "{covered} of 100");
    }

    #[test]
    fn a_ratio_to_nothing_is_infinite_and_of_nothing_to_nothing_is_one() {
        let none = [0.0; 6];
        let same = ratio_of_medians(&none, &none).unwrap();
        assert_eq!([same.estimate, same.low, same.high].map(f64::to_bits), [1.0_f64; 3].map(f64::to_bits));
        assert!(!same.excludes(1.0));
        let more = ratio_of_medians(&none, &[1.0; 6]).unwrap();
        assert!(more.estimate.is_infinite() && more.excludes(1.0));
        assert_eq!(ratio_of_medians(&[], &none), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn an_interval_contains_its_estimate_and_is_reproducible(
            baseline in proptest::collection::vec(1.0_f64..1e6, 1..40),
            current in proptest::collection::vec(1.0_f64..1e6, 1..40),
        ) {
            let interval = ratio_of_medians(&baseline, &current).unwrap();
            prop_assert!(interval.low <= interval.estimate * (1.0 + 1e-12));
            prop_assert!(interval.estimate <= interval.high * (1.0 + 1e-12));
            prop_assert_eq!(interval, ratio_of_medians(&baseline, &current).unwrap());
        }
    }
}
