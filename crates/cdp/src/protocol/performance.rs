//! `Performance`: counters of a page.

use serde::{Deserialize, Serialize};

use super::{command, plain_commands};

plain_commands! {
    /// Collects counters.
    Enable = "Performance.enable";
    /// Collects no counters any more.
    Disable = "Performance.disable";
}

/// Asks for the counters.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct GetMetrics {}

/// Reply of [`GetMetrics`].
#[derive(Clone, Debug, Deserialize)]
pub struct Metrics {
    /// The counters.
    #[serde(default)]
    pub metrics: Vec<Metric>,
}

/// A counter.
#[derive(Clone, Debug, Deserialize)]
pub struct Metric {
    /// Name.
    pub name: String,
    /// Value.
    pub value: f64,
}
command!(GetMetrics, "Performance.getMetrics", Metrics);
