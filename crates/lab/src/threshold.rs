//! One schema for every promised number: what is measured, how it compares, and what to do when it misses.
//!
//! A metric meets its `target` (pass), or only what is still `acceptable` (warn), or not even that (fail); beyond
//! `critical` a failure is an emergency. Objectives and the thresholds of a scenario share this.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How a measured value compares with a bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Op {
    /// Less than the bound.
    #[serde(rename = "<")]
    Less,
    /// At most the bound.
    #[serde(rename = "<=")]
    AtMost,
    /// Greater than the bound.
    #[serde(rename = ">")]
    Greater,
    /// At least the bound.
    #[serde(rename = ">=")]
    AtLeast,
    /// Exactly the bound: for counts such as lost requests.
    #[serde(rename = "==")]
    Equal,
}

/// One bound on one metric of a scenario.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Threshold {
    /// Name of the metric, as in a run's `metrics`: `latency_p99_ms`, `error_ratio`, …
    pub metric: String,
    /// How the value has to compare.
    pub op: Op,
    /// What is promised.
    pub target: f64,
    /// What is still tolerated; the target if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acceptable: Option<f64>,
    /// Beyond this, a failure is an emergency.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub critical: Option<f64>,
    /// A change for the worse beyond this many percent, if it is statistically certain, is a regression.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub regress_pct: Option<f64>,
    /// What to do when the value misses, for the person who reads the report.
    pub action: String,
}

/// Bounds that contradict each other or say nothing.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ThresholdError {
    /// A bound is not a finite number.
    #[error("`{bound}` must be a finite number")]
    NotFinite {
        /// Which bound.
        bound: &'static str,
    },
    /// A bound is stricter than the one before it.
    #[error(
        "`{looser}` ({looser_value}) must not be stricter than `{stricter}` ({stricter_value}) for `{op}`"
    )]
    Unordered {
        /// The bound that has to be at least as loose.
        looser: &'static str,
        /// Its value.
        looser_value: f64,
        /// The bound it is compared with.
        stricter: &'static str,
        /// Its value.
        stricter_value: f64,
        /// The operator that decides which direction is loose.
        op: Op,
    },
    /// `regress_pct` is not above zero.
    #[error("`regress_pct` must be greater than 0, not {value}")]
    RegressPct {
        /// What was written.
        value: f64,
    },
    /// There is no metric, or no action.
    #[error("`{field}` must not be empty")]
    Empty {
        /// Which field.
        field: &'static str,
    },
}

// === impl Op ===

impl Op {
    /// Whether `value` compares so with `bound`.
    pub fn holds(self, value: f64, bound: f64) -> bool {
        match self {
            Self::Less => value < bound,
            Self::AtMost => value <= bound,
            Self::Greater => value > bound,
            Self::AtLeast => value >= bound,
            Self::Equal => (value - bound).abs() <= f64::EPSILON * bound.abs().max(1.0),
        }
    }

    /// Whether smaller values are better.
    pub fn lower_is_better(self) -> bool {
        matches!(self, Self::Less | Self::AtMost | Self::Equal)
    }

    /// The operator as files spell it.
    pub fn symbol(self) -> &'static str {
        match self {
            Self::Less => "<",
            Self::AtMost => "<=",
            Self::Greater => ">",
            Self::AtLeast => ">=",
            Self::Equal => "==",
        }
    }

    /// Whether `looser` lets through whatever `stricter` does.
    fn is_ordered(self, stricter: f64, looser: f64) -> bool {
        match self {
            Self::Less | Self::AtMost => stricter <= looser,
            Self::Greater | Self::AtLeast => stricter >= looser,
            Self::Equal => self.holds(stricter, looser),
        }
    }
}

impl std::fmt::Display for Op {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.symbol())
    }
}

// === impl Threshold ===

impl Threshold {
    /// Checks that the bounds are numbers, in order, and that there is something to do about a miss.
    pub fn validate(&self) -> Result<(), ThresholdError> {
        for (field, text) in [("metric", &self.metric), ("action", &self.action)] {
            if text.trim().is_empty() {
                return Err(ThresholdError::Empty { field });
            }
        }
        if let Some(value) = self.regress_pct
            && !(value.is_finite() && value > 0.0)
        {
            return Err(ThresholdError::RegressPct { value });
        }
        let bounds =
            [("target", Some(self.target)), ("acceptable", self.acceptable), ("critical", self.critical)];
        let mut stricter: Option<(&'static str, f64)> = None;
        for (bound, value) in bounds.into_iter().filter_map(|(bound, value)| Some((bound, value?))) {
            if !value.is_finite() {
                return Err(ThresholdError::NotFinite { bound });
            }
            if let Some((stricter, stricter_value)) = stricter
                && !self.op.is_ordered(stricter_value, value)
            {
                return Err(ThresholdError::Unordered {
                    looser: bound,
                    looser_value: value,
                    stricter,
                    stricter_value,
                    op: self.op,
                });
            }
            stricter = Some((bound, value));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn threshold(op: Op, target: f64, acceptable: Option<f64>, critical: Option<f64>) -> Threshold {
        Threshold {
            metric: "latency_p99_ms".to_owned(),
            op,
            target,
            acceptable,
            critical,
            regress_pct: Some(10.0),
            action: "look at the slow requests".to_owned(),
        }
    }

    #[test]
    fn bounds_must_get_looser_in_the_direction_of_the_operator() {
        assert_eq!(threshold(Op::AtMost, 10.0, Some(50.0), Some(100.0)).validate(), Ok(()));
        assert_eq!(threshold(Op::AtLeast, 100.0, Some(50.0), Some(10.0)).validate(), Ok(()));
        assert_eq!(threshold(Op::Less, 10.0, None, Some(20.0)).validate(), Ok(()));
        let error = threshold(Op::AtMost, 10.0, Some(5.0), None).validate().unwrap_err();
        assert!(
            error.to_string().contains("`acceptable` (5) must not be stricter than `target` (10)"),
            "{error}"
        );
        assert!(threshold(Op::AtLeast, 10.0, None, Some(20.0)).validate().is_err());
        assert!(threshold(Op::Equal, 0.0, Some(1.0), None).validate().is_err());
        assert!(threshold(Op::Less, f64::NAN, None, None).validate().is_err());
    }

    #[test]
    fn a_threshold_needs_a_metric_and_an_action() {
        let mut nameless = threshold(Op::Less, 1.0, None, None);
        nameless.action = " ".to_owned();
        assert_eq!(nameless.validate(), Err(ThresholdError::Empty { field: "action" }));
    }
}
