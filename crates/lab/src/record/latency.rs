//! A distribution of latencies: the histogram itself, and the figures people ask for.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hdrhistogram::{
    Histogram,
    serialization::{Deserializer, Serializer, V2DeflateSerializer},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

const NANOS_PER_MICRO: f64 = 1_000.0;

/// A distribution of latencies. The histogram counts nanoseconds; the figures beside it are microseconds and 0 when
/// nothing was counted.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Latency {
    /// `HdrHistogram` of nanoseconds, V2 encoding, deflated, in base64; empty when nothing was counted.
    pub histogram: String,
    /// How many values were counted.
    pub count: u64,
    /// Arithmetic mean.
    pub mean_us: f64,
    /// Smallest value.
    pub min_us: f64,
    /// Median.
    pub p50_us: f64,
    /// 90th percentile.
    pub p90_us: f64,
    /// 95th percentile.
    pub p95_us: f64,
    /// 99th percentile.
    pub p99_us: f64,
    /// 99.9th percentile.
    pub p999_us: f64,
    /// Largest value.
    pub max_us: f64,
}

/// A stored histogram that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("the histogram is not a base64 text of a deflated HdrHistogram (V2): {reason}")]
pub struct DecodeLatencyError {
    reason: String,
}

impl Latency {
    /// Summarises a histogram of nanoseconds.
    pub fn from_histogram(histogram: &Histogram<u64>) -> Self {
        if histogram.is_empty() {
            return Self::default();
        }
        let mut bytes = Vec::new();
        // Writing to memory fails only on a histogram beyond 4 GiB, which the fixed range of ours cannot reach; the
        // figures would still be right then.
        let encoded = match V2DeflateSerializer::new().serialize(histogram, &mut bytes) {
            Ok(_) => STANDARD.encode(&bytes),
            Err(_) => String::new(),
        };
        let at = |quantile: f64| histogram.value_at_quantile(quantile) as f64 / NANOS_PER_MICRO;
        Self {
            histogram: encoded,
            count: histogram.len(),
            mean_us: histogram.mean() / NANOS_PER_MICRO,
            min_us: histogram.min() as f64 / NANOS_PER_MICRO,
            p50_us: at(0.5),
            p90_us: at(0.9),
            p95_us: at(0.95),
            p99_us: at(0.99),
            p999_us: at(0.999),
            max_us: histogram.max() as f64 / NANOS_PER_MICRO,
        }
    }

    /// The histogram of all values of several distributions; `None` if none of them can be read.
    pub fn merged(parts: &[&Self]) -> Option<Histogram<u64>> {
        let mut histograms = parts.iter().filter_map(|latency| latency.to_histogram().ok());
        let mut sum = histograms.next()?;
        // The first may be the narrower one.
        sum.auto(true);
        for histogram in histograms {
            // Same precision, and the sum grows as needed: this cannot fail.
            let _ = sum.add(&histogram);
        }
        Some(sum)
    }

    /// The histogram of nanoseconds; empty when nothing was counted.
    pub fn to_histogram(&self) -> Result<Histogram<u64>, DecodeLatencyError> {
        let error = |reason: String| DecodeLatencyError { reason };
        if self.histogram.is_empty() {
            return Histogram::new(3).map_err(|source| error(source.to_string()));
        }
        let bytes = STANDARD.decode(&self.histogram).map_err(|source| error(source.to_string()))?;
        Deserializer::new().deserialize(&mut bytes.as_slice()).map_err(|source| error(source.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_empty_distribution_has_no_figures_and_an_empty_histogram() {
        let latency = Latency::from_histogram(&Histogram::new(3).unwrap());
        assert_eq!(latency, Latency::default());
        assert!(latency.to_histogram().unwrap().is_empty());
    }

    #[test]
    fn figures_are_microseconds_of_a_histogram_of_nanoseconds() {
        let mut histogram = Histogram::new(3).unwrap();
        for micros in 1..=1_000_u64 {
            histogram.record(micros * 1_000).unwrap();
        }
        let latency = Latency::from_histogram(&histogram);
        assert_eq!(latency.count, 1_000);
        assert!((latency.p50_us - 500.0).abs() < 1.0, "{}", latency.p50_us);
        assert!((latency.p99_us - 990.0).abs() < 1.0, "{}", latency.p99_us);
    }

    #[test]
    fn distributions_of_different_range_are_merged_whole_in_either_order() {
        let of = |values: &[u64]| {
            let mut histogram = Histogram::new_with_bounds(1, 100_000_000, 3).unwrap();
            histogram.auto(true);
            for value in values {
                histogram.record(*value).unwrap();
            }
            Latency::from_histogram(&histogram)
        };
        let (quick, slow) = (of(&[1_000, 2_000]), of(&[1_000, 60_000_000_000]));
        for parts in [[&quick, &slow], [&slow, &quick]] {
            let merged = Latency::merged(&parts).unwrap();
            assert_eq!(merged.len(), 4);
            assert!(merged.max() >= 60_000_000_000);
        }
    }

    #[test]
    fn a_text_that_is_no_histogram_is_refused() {
        let latency = Latency { histogram: "AAAA".to_owned(), ..Latency::default() };
        assert!(latency.to_histogram().unwrap_err().to_string().contains("HdrHistogram"));
    }

    proptest! {
        #[test]
        fn a_distribution_survives_being_stored(values in proptest::collection::vec(1_u64..60_000_000_000, 1..200)) {
            let mut histogram = Histogram::new(3).unwrap();
            for value in values {
                histogram.record(value).unwrap();
            }
            let stored = Latency::from_histogram(&histogram);
            prop_assert_eq!(stored.to_histogram().unwrap(), histogram);
        }
    }
}
