//! `Performance`: what a page and its renderer have used.

use serde::{Deserialize, Serialize};

use super::{command, plain_commands};

plain_commands! {
    /// Lets metrics be asked for.
    Enable = "Performance.enable";
}

/// Asks for all metrics now.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct GetMetrics {}

/// The metrics.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Metrics {
    /// In no particular order.
    pub metrics: Vec<Metric>,
}

/// One metric.
#[derive(Clone, Debug, Deserialize)]
pub struct Metric {
    /// For example `ProcessTime`.
    pub name: String,
    /// Its value; times are seconds.
    pub value: f64,
}
command!(GetMetrics, "Performance.getMetrics", Metrics);
