//! Geometry of the drawings: the gauge of the overall score and the bar of a measured value.

use crate::{Bound, Measured};

use super::super::wording;

/// Degrees of a circle that the gauge covers.
const SWEEP: f64 = 270.0;
/// Radius of the gauge in its own units.
const RADIUS: f64 = 52.0;

/// The gauge's arc as the lengths of an SVG dash.
pub(super) struct Gauge {
    /// Length of the filled part.
    pub(super) filled: String,
    /// Length of the whole arc.
    pub(super) arc: String,
    /// Length of the full circle.
    pub(super) circle: String,
}

impl Gauge {
    /// The gauge of a score of 0 to 100.
    pub(super) fn new(score: u8) -> Self {
        let circle = std::f64::consts::TAU * RADIUS;
        let arc = circle * SWEEP / 360.0;
        let filled = arc * f64::from(score.min(100)) / 100.0;
        Self { filled: format!("{filled:.2}"), arc: format!("{arc:.2}"), circle: format!("{circle:.2}") }
    }
}

/// A measured value beside the range that it should be in, as shares of a bar in percent.
pub(super) struct Bar {
    /// What was measured.
    pub(super) name: String,
    /// The value with its unit.
    pub(super) value: String,
    /// The threshold in words.
    pub(super) demand: String,
    /// Where the value is.
    pub(super) at: String,
    /// Where the good range starts.
    pub(super) good_from: String,
    /// How wide the good range is.
    pub(super) good_width: String,
    /// Where the threshold is.
    pub(super) threshold_at: String,
}

impl Bar {
    /// The bar of a measurement; room is left beyond the larger of value and threshold.
    pub(super) fn new(measured: &Measured) -> Self {
        let (value, threshold) = (measured.value.max(0.0), measured.threshold.max(0.0));
        let end = (value.max(threshold) * 1.2).max(f64::MIN_POSITIVE);
        let share = |number: f64| {
            let share = number / end * 100.0;
            if share.is_finite() { share.clamp(0.0, 100.0) } else { 0.0 }
        };
        let limit = share(threshold);
        let (good_from, good_width) = match measured.bound {
            Bound::AtLeast => (limit, 100.0 - limit),
            Bound::AtMost => (0.0, limit),
        };
        let percent = |share: f64| format!("{share:.1}%");
        Self {
            name: wording::capitalised(&measured.name),
            value: wording::quantity(measured.value, &measured.unit),
            demand: wording::demand(measured),
            at: percent(share(value).clamp(1.0, 99.0)),
            good_from: percent(good_from),
            good_width: percent(good_width),
            threshold_at: percent(limit),
        }
    }
}
