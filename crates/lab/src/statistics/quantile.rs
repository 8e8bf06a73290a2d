//! Percentiles of samples that are all in memory; a run's own are in its histograms.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The percentiles that reports show, of samples in any unit. All 0 if there are none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Percentiles {
    /// How many samples.
    pub count: u64,
    /// Arithmetic mean.
    pub mean: f64,
    /// Smallest.
    pub min: f64,
    /// Median.
    pub p50: f64,
    /// 90th percentile.
    pub p90: f64,
    /// 95th percentile.
    pub p95: f64,
    /// 99th percentile.
    pub p99: f64,
    /// 99.9th percentile.
    pub p999: f64,
    /// Largest.
    pub max: f64,
}

impl Percentiles {
    /// Percentiles by nearest rank: each is a value that was measured. Reorders the samples: a few selections instead of
    /// a sort, so that ten million take a fraction of a second.
    pub fn of(samples: &mut [f64]) -> Self {
        if samples.is_empty() {
            return Self::default();
        }
        let count = samples.len();
        let mean = samples.iter().sum::<f64>() / count as f64;
        let mut rest = samples;
        let mut below = 0;
        // Each selection leaves everything larger on its right, where the next, larger rank lies.
        let mut select = |quantile: f64| {
            let rank = ((quantile * count as f64).ceil() as usize).clamp(1, count) - 1;
            let taken = std::mem::take(&mut rest);
            if rank < below || taken.is_empty() {
                rest = taken;
                return None;
            }
            let (_, value, _) = taken.select_nth_unstable_by(rank - below, f64::total_cmp);
            let value = *value;
            rest = &mut taken[rank - below..];
            below = rank;
            Some(value)
        };
        let mut last = 0.0;
        let mut at = |quantile| {
            last = select(quantile).unwrap_or(last);
            last
        };
        let min = at(0.0);
        let (p50, p90, p95, p99, p999) = (at(0.5), at(0.9), at(0.95), at(0.99), at(0.999));
        Self { count: count as u64, mean, min, p50, p90, p95, p99, p999, max: at(1.0) }
    }
}

/// The value at a quantile between 0 and 1 of sorted samples, interpolated between neighbours (type 7 of Hyndman and
/// Fan, 1996). `None` if there are no samples.
pub fn quantile_of_sorted(sorted: &[f64], quantile: f64) -> Option<f64> {
    let last = sorted.len().checked_sub(1)?;
    let position = quantile.clamp(0.0, 1.0) * last as f64;
    let (low, high) = (position.floor() as usize, position.ceil() as usize);
    let (low_value, high_value) = (*sorted.get(low)?, *sorted.get(high)?);
    if low == high || low_value.total_cmp(&high_value).is_eq() {
        return Some(low_value);
    }
    Some(low_value + (high_value - low_value) * (position - low as f64))
}

/// The median; `None` if there are no samples.
pub fn median(samples: &[f64]) -> Option<f64> {
    let mut sorted = samples.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    quantile_of_sorted(&sorted, 0.5)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn percentiles_of_the_first_thousand_numbers_are_themselves() {
        let mut samples: Vec<f64> = (1..=1_000).rev().map(f64::from).collect();
        let percentiles = Percentiles::of(&mut samples);
        let expected = Percentiles {
            count: 1_000,
            mean: 500.5,
            min: 1.0,
            p50: 500.0,
            p90: 900.0,
            p95: 950.0,
            p99: 990.0,
            p999: 999.0,
            max: 1_000.0,
        };
        assert_eq!(percentiles, expected);
        assert_eq!(Percentiles::of(&mut []), Percentiles::default());
    }

    #[test]
    fn the_median_of_an_even_count_lies_between_the_middle_two() {
        assert_eq!(median(&[4.0, 1.0, 3.0, 2.0]), Some(2.5));
        assert_eq!(median(&[7.0]), Some(7.0));
        assert_eq!(median(&[]), None);
    }

    proptest! {
        #[test]
        fn percentiles_agree_with_sorting(mut samples in proptest::collection::vec(-1e9_f64..1e9, 1..300)) {
            let mut sorted = samples.clone();
            sorted.sort_unstable_by(f64::total_cmp);
            let rank = |quantile: f64| {
                let rank = (quantile * sorted.len() as f64).ceil() as usize;
                sorted[rank.clamp(1, sorted.len()) - 1]
            };
            let percentiles = Percentiles::of(&mut samples);
            let found = [percentiles.min, percentiles.p50, percentiles.p90, percentiles.p95];
            prop_assert_eq!(found.map(f64::to_bits), [rank(0.0), rank(0.5), rank(0.9), rank(0.95)].map(f64::to_bits));
            let found = [percentiles.p99, percentiles.p999, percentiles.max];
            prop_assert_eq!(found.map(f64::to_bits), [rank(0.99), rank(0.999), rank(1.0)].map(f64::to_bits));
        }

        #[test]
        fn a_quantile_never_leaves_the_samples(
            samples in proptest::collection::vec(-1e9_f64..1e9, 1..50),
            quantile in 0.0_f64..=1.0,
        ) {
            let mut sorted = samples;
            sorted.sort_unstable_by(f64::total_cmp);
            let value = quantile_of_sorted(&sorted, quantile).unwrap();
            prop_assert!(sorted[0] <= value && value <= sorted[sorted.len() - 1]);
        }
    }
}
