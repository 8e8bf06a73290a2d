//! How large a ratio of errors may really be.

use statrs::distribution::{Beta, ContinuousCDF};

use super::CONFIDENCE;

/// The largest ratio of errors that is still compatible with what was seen, at 95 % confidence: the one-sided bound of
/// Clopper and Pearson (1934). Without errors it is close to 3 / operations, the "rule of three". 1 if there were no
/// operations.
pub fn error_ratio_max(errors: u64, operations: u64) -> f64 {
    if operations == 0 || errors >= operations {
        return 1.0;
    }
    if errors == 0 {
        return -((1.0 - CONFIDENCE).ln() / operations as f64).exp_m1();
    }
    Beta::new(errors as f64 + 1.0, (operations - errors) as f64)
        .map_or(1.0, |posterior| posterior.inverse_cdf(CONFIDENCE))
}

/// Operations needed without a single error before a ratio below `ratio_max` can be claimed at 95 % confidence.
pub fn operations_needed(ratio_max: f64) -> u64 {
    if ratio_max <= 0.0 {
        return u64::MAX;
    }
    ((1.0 - CONFIDENCE).ln() / (-ratio_max.min(1.0 - f64::EPSILON)).ln_1p()).ceil() as u64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn without_errors_the_bound_is_three_over_the_operations() {
        let bound = error_ratio_max(0, 3_000);
        assert!((bound - 0.000_998_1).abs() < 1e-6, "{bound}");
        assert_eq!(operations_needed(0.001), 2_995);
        assert!((error_ratio_max(0, 0) - 1.0).abs() < 1e-12);
        assert!((error_ratio_max(5, 5) - 1.0).abs() < 1e-12);
    }

    #[test]
    fn with_errors_the_bound_is_that_of_clopper_and_pearson() {
        // R: binom.test(3, 100, alternative = "less")$conf.int
        let bound = error_ratio_max(3, 100);
        assert!((bound - 0.075_710_9).abs() < 1e-4, "{bound}");
    }

    proptest! {
        #[test]
        fn the_bound_lies_above_the_seen_ratio_and_falls_with_more_operations(
            errors in 0_u64..50,
            operations in 51_u64..100_000,
        ) {
            let bound = error_ratio_max(errors, operations);
            prop_assert!(bound > errors as f64 / operations as f64);
            prop_assert!(bound <= 1.0);
            prop_assert!(error_ratio_max(errors, operations * 2) < bound);
        }
    }
}
