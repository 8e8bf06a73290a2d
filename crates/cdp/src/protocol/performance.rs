//! The `Performance` domain: what a page costs.

use serde::{Deserialize, Serialize};

use super::{command, plain_commands};

plain_commands! {
    /// Starts collecting.
    Enable = "Performance.enable";
}

/// Reads the metrics of a page.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct GetMetrics {}

command!(GetMetrics, "Performance.getMetrics", Metrics);

/// The metrics of a page.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Metrics {
    /// Each by its name.
    pub metrics: Vec<Metric>,
}

/// One metric.
#[derive(Clone, Debug, Deserialize)]
pub struct Metric {
    /// For example `JSHeapUsedSize`.
    pub name: String,
    /// In the metric's own unit: bytes, seconds or a count.
    pub value: f64,
}
