//! A distribution of times that is recorded in nanoseconds, in constant memory, and merged without loss.

use std::time::Duration;

use hdrhistogram::Histogram as Hdr;

use crate::record::Latency;

/// Significant decimal digits that are kept of each value: an error below 0.1 %.
const SIGNIFICANT_DIGITS: u8 = 3;
/// Values beyond this are counted as this: one hour.
pub const VALUE_NS_MAX: u64 = 3_600_000_000_000;
/// What a fresh histogram has room for before it grows: a tenth of a second.
const ROOM_NS: u64 = 100_000_000;

/// Counts durations between 1 ns and [`VALUE_NS_MAX`]; at most 270 KiB.
#[derive(Clone, Debug)]
pub struct Histogram(Hdr<u64>);

impl Default for Histogram {
    fn default() -> Self {
        #[expect(
            clippy::expect_used,
            reason = "the bounds are constants, and `new_with_bounds` checks nothing else"
        )]
        let mut hdr =
            Hdr::new_with_bounds(1, ROOM_NS, SIGNIFICANT_DIGITS).expect("constant bounds are valid");
        hdr.auto(true);
        Self(hdr)
    }
}

impl Histogram {
    /// Counts one value in nanoseconds.
    pub fn record_ns(&mut self, nanos: u64) {
        // Cannot fail: the histogram grows, and the value is within what it may grow to.
        let recorded = self.0.record(nanos.min(VALUE_NS_MAX));
        debug_assert!(recorded.is_ok());
    }

    /// Counts one duration.
    pub fn record(&mut self, duration: Duration) {
        self.record_ns(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX));
    }

    /// Adds every value of another histogram; nothing is rounded again.
    pub fn merge(&mut self, other: &Self) {
        if !other.is_empty() {
            let merged = self.0.add(&other.0);
            debug_assert!(merged.is_ok());
        }
    }

    /// How many values were counted.
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// Whether nothing was counted.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The value at a quantile between 0 and 1, in nanoseconds; 0 when nothing was counted.
    pub fn quantile_ns(&self, quantile: f64) -> u64 {
        if self.is_empty() { 0 } else { self.0.value_at_quantile(quantile) }
    }

    /// The value at a quantile between 0 and 1, in microseconds; 0 when nothing was counted.
    pub fn quantile_us(&self, quantile: f64) -> f64 {
        self.quantile_ns(quantile) as f64 / 1e3
    }

    /// Arithmetic mean in nanoseconds; 0 when nothing was counted.
    pub fn mean_ns(&self) -> f64 {
        if self.is_empty() { 0.0 } else { self.0.mean() }
    }

    /// Largest value in nanoseconds; 0 when nothing was counted.
    pub fn max_ns(&self) -> u64 {
        if self.is_empty() { 0 } else { self.0.max() }
    }

    /// The histogram and its figures as a run stores them.
    pub fn to_latency(&self) -> Latency {
        Latency::from_histogram(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_value_beyond_an_hour_counts_as_an_hour() {
        let mut histogram = Histogram::default();
        histogram.record_ns(u64::MAX);
        histogram.record(Duration::MAX);
        assert_eq!(histogram.count(), 2);
        assert!(histogram.max_ns() >= VALUE_NS_MAX && histogram.max_ns() < VALUE_NS_MAX + VALUE_NS_MAX / 500);
    }

    #[test]
    fn nothing_counted_has_zero_figures() {
        let histogram = Histogram::default();
        assert_eq!((histogram.count(), histogram.quantile_ns(0.99), histogram.max_ns()), (0, 0, 0));
        assert!(histogram.mean_ns().abs() < f64::EPSILON);
    }

    proptest! {
        #[test]
        fn merging_parts_equals_recording_the_whole(
            values in proptest::collection::vec(0_u64..2 * VALUE_NS_MAX, 0..300),
            parts in 1_usize..6,
        ) {
            let mut whole = Histogram::default();
            let mut split = vec![Histogram::default(); parts];
            for (index, value) in values.iter().enumerate() {
                whole.record_ns(*value);
                split[index % parts].record_ns(*value);
            }
            let mut merged = Histogram::default();
            for part in &split {
                merged.merge(part);
            }
            prop_assert_eq!(merged.0, whole.0);
        }

        #[test]
        fn a_quantile_is_within_a_tenth_of_a_percent(
            mut values in proptest::collection::vec(1_u64..VALUE_NS_MAX, 1..300),
            quantile in 0.01_f64..1.0,
        ) {
            let mut histogram = Histogram::default();
            for value in &values {
                histogram.record_ns(*value);
            }
            values.sort_unstable();
            let rank = (quantile * values.len() as f64).ceil() as usize;
            let exact = values[rank.clamp(1, values.len()) - 1];
            let found = histogram.quantile_ns(quantile);
            prop_assert!(found.abs_diff(exact) as f64 <= exact as f64 * 0.001 + 1.0, "{found} {exact}");
        }
    }
}
