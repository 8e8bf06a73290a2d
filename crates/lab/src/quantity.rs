//! Units of metrics, and how people read their values.
//!
//! A metric's name ends in its unit (`latency_p99_ms`, `pss_max_mib`), so the unit of any metric is known from its name.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The unit of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Unit {
    /// Seconds.
    #[serde(rename = "s")]
    Seconds,
    /// Milliseconds.
    #[serde(rename = "ms")]
    Millis,
    /// Microseconds.
    #[serde(rename = "us")]
    Micros,
    /// Nanoseconds.
    #[serde(rename = "ns")]
    Nanos,
    /// Mebibytes.
    #[serde(rename = "MiB")]
    Mebibytes,
    /// Bytes.
    #[serde(rename = "bytes")]
    Bytes,
    /// Per second.
    #[serde(rename = "/s")]
    PerSecond,
    /// A share or a quotient, as a plain number.
    #[serde(rename = "ratio")]
    Ratio,
    /// Processor cores in use.
    #[serde(rename = "cores")]
    Cores,
    /// Executed instructions.
    #[serde(rename = "instructions")]
    Instructions,
    /// A number of things.
    #[serde(rename = "count")]
    Count,
}

/// Ends of metric names and what they mean; the longest match counts.
const SUFFIXES: [(&str, Unit); 14] = [
    ("_per_s", Unit::PerSecond),
    ("_instructions", Unit::Instructions),
    ("_bytes", Unit::Bytes),
    ("_ratio", Unit::Ratio),
    ("_cores", Unit::Cores),
    ("_count", Unit::Count),
    ("_total", Unit::Count),
    ("_mib", Unit::Mebibytes),
    ("_ms", Unit::Millis),
    ("_us", Unit::Micros),
    ("_ns", Unit::Nanos),
    ("_s", Unit::Seconds),
    ("_instructions_total", Unit::Instructions),
    ("_bytes_total", Unit::Bytes),
];

impl Unit {
    /// The unit that the name of a metric ends in; a count if it ends in none.
    pub fn of_metric(metric: &str) -> Self {
        SUFFIXES
            .iter()
            .filter(|(suffix, _)| metric.ends_with(suffix))
            .max_by_key(|(suffix, _)| suffix.len())
            .map_or(Self::Count, |(_, unit)| *unit)
    }

    /// The unit as it stands behind a number or on an axis; empty for plain numbers.
    pub fn symbol(self) -> &'static str {
        match self {
            Self::Seconds => "s",
            Self::Millis => "ms",
            Self::Micros => "µs",
            Self::Nanos => "ns",
            Self::Mebibytes => "MiB",
            Self::Bytes => "B",
            Self::PerSecond => "/s",
            Self::Cores => "cores",
            Self::Instructions => "instructions",
            Self::Ratio | Self::Count => "",
        }
    }

    /// A value with its unit: `1.24 s`, `52,340 /s`, `0.42`.
    pub fn format(self, value: f64) -> String {
        let number = number(value);
        match self.symbol() {
            "" => number,
            symbol => format!("{number} {symbol}"),
        }
    }
}

/// Whether larger values of a metric are better, judged by its name: rates and hit ratios. What an objective says with
/// its operator has precedence.
pub fn higher_is_better(metric: &str) -> bool {
    let name = metric.rsplit('/').next().unwrap_or(metric);
    let is_error = name.contains("error") || name.contains("failed") || name.contains("miss");
    !is_error
        && (name.ends_with("_per_s")
            || name.contains("throughput")
            || name.contains("hit_ratio")
            || name.contains("reuse_ratio")
            || name.contains("success_ratio"))
}

/// A number with about three significant digits and thousands separators: what fits in a table and a head.
pub fn number(value: f64) -> String {
    if !value.is_finite() {
        return if value.is_nan() { "–" } else { "∞" }.to_owned();
    }
    let magnitude = value.abs();
    if magnitude > 0.0 && magnitude < 0.000_1 {
        return format!("{value:.1e}");
    }
    // Three digits count from the first that is not 0; rounding may carry into the next power of ten.
    let exponent = if magnitude == 0.0 { 2.0 } else { (magnitude * 1.000_5).log10().floor() };
    let decimals = (2.0 - exponent).max(0.0) as usize;
    let text = format!("{value:.decimals$}");
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
    let fraction = fraction.trim_end_matches('0');
    let mut grouped = group_thousands(whole);
    if !fraction.is_empty() {
        grouped.push('.');
        grouped.push_str(fraction);
    }
    grouped
}

/// A change in percent with its sign: `+12.4 %`, `-3 %`, `±0 %`.
pub fn percent_change(ratio: f64) -> String {
    if !ratio.is_finite() {
        return "from 0".to_owned();
    }
    let percent = (ratio - 1.0) * 100.0;
    if percent.abs() < 0.05 {
        return "±0 %".to_owned();
    }
    let decimals = usize::from(percent.abs() < 99.95);
    format!("{percent:+.decimals$} %")
}

fn group_thousands(whole: &str) -> String {
    let (sign, digits) = whole.strip_prefix('-').map_or(("", whole), |digits| ("-", digits));
    let mut grouped = String::with_capacity(whole.len() + digits.len() / 3);
    grouped.push_str(sign);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unit_of_a_metric_is_in_its_name() {
        for (metric, unit) in [
            ("latency_p99_ms", Unit::Millis),
            ("healthz/throughput_per_s", Unit::PerSecond),
            ("cpu_s", Unit::Seconds),
            ("pss_max_mib", Unit::Mebibytes),
            ("error_ratio", Unit::Ratio),
            ("threads", Unit::Count),
        ] {
            assert_eq!(Unit::of_metric(metric), unit, "{metric}");
        }
    }

    #[test]
    fn numbers_keep_three_significant_digits() {
        for (value, text) in [
            (0.0, "0"),
            (52_340.4, "52,340"),
            (1_234_567.0, "1,234,567"),
            (-1_234.0, "-1,234"),
            (12.34, "12.3"),
            (1.5, "1.5"),
            (0.401_2, "0.401"),
            (0.012_34, "0.0123"),
            (0.000_012, "1.2e-5"),
            (99.97, "100"),
            (f64::INFINITY, "∞"),
        ] {
            assert_eq!(number(value), text);
        }
        assert_eq!(Unit::PerSecond.format(50_000.0), "50,000 /s");
        assert_eq!(percent_change(1.124), "+12.4 %");
        assert_eq!(percent_change(0.999_9), "±0 %");
        assert_eq!(percent_change(f64::INFINITY), "from 0");
    }

    #[test]
    fn rates_and_hits_are_better_when_higher() {
        assert!(higher_is_better("healthz/throughput_per_s"));
        assert!(higher_is_better("cache_hit_ratio"));
        assert!(!higher_is_better("latency_p50_ms"));
        assert!(!higher_is_better("errors_per_s"));
    }
}
