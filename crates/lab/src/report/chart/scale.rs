//! From values to places on an axis, and back to labels.

use crate::quantity::number;

/// How an axis maps values to `0..=1`.
#[derive(Clone, Debug)]
pub(in crate::report) enum Scale {
    /// Evenly.
    Linear { min: f64, max: f64 },
    /// Evenly in the logarithm; for latencies in microseconds.
    LogLatency { min: f64, max: f64 },
    /// Quantiles, stretched towards 1: each nine takes the same room.
    Quantile { nines: f64 },
    /// Percent of change, evenly.
    Change { min: f64, max: f64 },
}

impl Scale {
    /// An even axis that contains both ends, with round ones.
    pub(in crate::report) fn linear(min: f64, max: f64) -> Self {
        let span = if max > min { max - min } else { 1.0 };
        let step = nice_step(span / 5.0);
        Self::Linear {
            min: (min / step).floor() * step,
            max: (max.max(min + span * 0.01) / step).ceil() * step,
        }
    }

    /// An even axis from exactly one value to another.
    pub(in crate::report) fn exact(min: f64, max: f64) -> Self {
        Self::Linear { min, max: if max > min { max } else { min + 1.0 } }
    }

    /// A logarithmic axis for latencies in microseconds; at least one power of ten.
    pub(in crate::report) fn latency(smallest_us: f64, largest_us: f64) -> Self {
        let largest = largest_us.max(1e-2);
        let smallest = if smallest_us > 0.0 { smallest_us.min(largest) } else { largest / 10.0 };
        let (min, max) = (smallest.log10().floor(), largest.log10().ceil());
        Self::LogLatency { min, max: if max > min { max } else { min + 1.0 } }
    }

    /// Quantiles up to what this many values can show.
    pub(in crate::report) fn quantile(count: u64) -> Self {
        Self::Quantile { nines: (count.max(10) as f64).log10().clamp(1.0, 6.0) }
    }

    /// Changes in percent around 0 that contain both ends.
    pub(in crate::report) fn change(min: f64, max: f64) -> Self {
        let reach = |value: f64| value.clamp(-100.0, 400.0);
        let (low, high) = (reach(min).min(-1.0), reach(max).max(1.0));
        let margin = (high - low) * 0.06;
        Self::Change { min: low - margin, max: high + margin }
    }

    /// Where a value lies, 0 to 1; beyond the ends it stays at them.
    pub(in crate::report) fn position(&self, value: f64) -> f64 {
        let (value, min, max) = match *self {
            Self::Linear { min, max } | Self::Change { min, max } => (value, min, max),
            Self::LogLatency { min, max } => (value.max(1e-3).log10(), min, max),
            Self::Quantile { nines } => (-(1.0 - value).max(1e-12).log10(), 0.0, nines),
        };
        if value.is_nan() { 0.0 } else { ((value - min) / (max - min)).clamp(0.0, 1.0) }
    }

    /// About this many values worth a label.
    pub(in crate::report) fn ticks(&self, wanted: usize) -> Vec<(f64, String)> {
        match *self {
            Self::Linear { min, max } => {
                even_ticks(min, max, wanted).map(|value| (value, number(value))).collect()
            }
            Self::Change { min, max } => even_ticks(min, max, wanted)
                .map(|value| (value, if value == 0.0 { "0 %".to_owned() } else { format!("{value:+.0} %") }))
                .collect(),
            Self::LogLatency { min, max } => latency_ticks(min, max, wanted),
            Self::Quantile { nines } => {
                const LABELLED: [(f64, &str); 7] = [
                    (0.0, "0"),
                    (0.5, "50"),
                    (0.9, "90"),
                    (0.99, "99"),
                    (0.999, "99.9"),
                    (0.9999, "99.99"),
                    (0.99999, "99.999"),
                ];
                let is_reachable = |quantile: f64| -(1.0 - quantile).log10() <= nines + 1e-9;
                let reachable = LABELLED.into_iter().filter(|(quantile, _)| is_reachable(*quantile));
                reachable.map(|(quantile, label)| (quantile, label.to_owned())).collect()
            }
        }
    }
}

/// Powers of ten, and 2 and 5 times them where there is room.
fn latency_ticks(min: f64, max: f64, wanted: usize) -> Vec<(f64, String)> {
    let decades = (max - min).round() as usize;
    let (step, within): (usize, &[f64]) = match decades {
        0..=1 if wanted >= 4 => (1, &[1.0, 2.0, 5.0]),
        _ => (decades.div_ceil(wanted.max(1)).max(1), &[1.0]),
    };
    let mut ticks = Vec::new();
    for decade in (0..=decades).step_by(step) {
        for factor in within {
            let exponent = min + decade as f64;
            let value = 10_f64.powf(exponent) * factor;
            if value.log10() <= max + 1e-9 {
                ticks.push((value, latency_label(value)));
            }
        }
    }
    ticks
}

/// A latency in microseconds as people say it: `250 µs`, `1.5 ms`, `2 s`.
pub(in crate::report) fn latency_label(micros: f64) -> String {
    match micros {
        _ if micros >= 999_500.0 => format!("{} s", number(micros / 1e6)),
        _ if micros >= 999.5 => format!("{} ms", number(micros / 1e3)),
        _ if micros >= 0.9995 || micros == 0.0 => format!("{} µs", number(micros)),
        _ => format!("{} ns", number(micros * 1e3)),
    }
}

fn even_ticks(min: f64, max: f64, wanted: usize) -> impl Iterator<Item = f64> {
    let step = nice_step((max - min) / wanted.max(1) as f64);
    let first = (min / step - 1e-9).ceil();
    let last = (max / step + 1e-9).floor();
    let count = (last - first).clamp(0.0, 50.0) as usize;
    // `+ 0.0` turns a negative zero into the one that people write.
    (0..=count).map(move |index| (first + index as f64) * step + 0.0)
}

/// The smallest of 1, 2, 2.5, 5 times a power of ten that is at least `step`.
fn nice_step(step: f64) -> f64 {
    if !step.is_finite() || step <= 0.0 {
        return 1.0;
    }
    let power = 10_f64.powf(step.log10().floor());
    let fraction = step / power;
    let nice = [1.0, 2.0, 2.5, 5.0].into_iter().find(|nice| fraction <= nice + 1e-9).unwrap_or(10.0);
    nice * power
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn labels(scale: &Scale, wanted: usize) -> Vec<String> {
        scale.ticks(wanted).into_iter().map(|(_, label)| label).collect()
    }

    #[test]
    fn ticks_are_round_numbers() {
        assert_eq!(labels(&Scale::linear(0.0, 97.0), 5), ["0", "20", "40", "60", "80", "100"]);
        assert_eq!(
            labels(&Scale::linear(0.0, 50_000.0), 5),
            ["0", "10,000", "20,000", "30,000", "40,000", "50,000"]
        );
        assert_eq!(
            labels(&Scale::latency(150.0, 2_000_000.0), 6),
            ["100 µs", "1 ms", "10 ms", "100 ms", "1 s", "10 s"]
        );
        assert_eq!(labels(&Scale::quantile(20_000), 6), ["0", "50", "90", "99", "99.9", "99.99"]);
        assert_eq!(
            labels(&Scale::change(-3.0, 22.0), 5),
            ["+0 %", "+10 %", "+20 %"].map(|l| l.replace("+0", "0"))
        );
    }

    proptest! {
        #[test]
        fn every_value_has_a_place_on_the_axis(min in -1e6_f64..1e6, span in 0.0_f64..1e6, value in -1e7_f64..1e7) {
            for scale in [Scale::linear(min, min + span), Scale::latency(min, min + span), Scale::change(min, min + span)] {
                let position = scale.position(value);
                prop_assert!((0.0..=1.0).contains(&position));
                let ticks = scale.ticks(6);
                prop_assert!(ticks.len() <= 60, "{}", ticks.len());
            }
        }

        #[test]
        fn a_larger_value_never_lies_lower(a in 0.001_f64..1e9, b in 0.001_f64..1e9) {
            let scale = Scale::latency(1.0, 1e7);
            let (low, high) = if a < b { (a, b) } else { (b, a) };
            prop_assert!(scale.position(low) <= scale.position(high));
        }
    }
}
