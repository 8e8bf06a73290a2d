//! Web vitals of one visit, and what tells a slow page from a busy machine.

use serde::{Deserialize, Serialize};

use super::ElementIndex;

/// When things happened, in milliseconds since navigation start.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Timing {
    /// First byte of the document.
    pub ttfb_ms: Option<f64>,
    /// Document parsed and deferred scripts run.
    pub dom_content_loaded_ms: Option<f64>,
    /// Load event over.
    pub load_ms: Option<f64>,
    /// When these numbers were read; nothing later was seen.
    pub observed_ms: f64,
    /// Whether the observers were there from the start.
    pub observed: bool,
    /// First contentful paint.
    pub fcp_ms: Option<f64>,
    /// Largest contentful paint.
    pub lcp: Option<LargestPaint>,
    /// Layout shifts that no input caused.
    pub shifts: Vec<Shift>,
    /// Tasks over 50 ms on the main thread.
    pub long_tasks: Vec<LongTask>,
    /// CPU time that the page's main thread has used since navigation, from `Performance.getMetrics` under
    /// `timeDomain: threadTicks` (`TaskDuration`): on a busy machine wall time grows and this does not.
    pub thread_cpu_ms: Option<f64>,
    /// What the probe's clicks took; empty when it did not run.
    pub interactions: Vec<Interaction>,
}

/// The largest contentful paint.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LargestPaint {
    /// What was painted.
    pub element: Option<ElementIndex>,
    /// When.
    pub time_ms: f64,
    /// Painted area.
    pub size: f64,
    /// The image's URL; empty for text.
    pub url: String,
    /// Whether it is an image.
    pub is_image: bool,
    /// When a script added it, or gave it its source, after the document was parsed.
    pub inserted_ms: Option<f64>,
    /// When its file was asked for.
    pub request_ms: Option<f64>,
    /// When its file had arrived.
    pub response_ms: Option<f64>,
}

/// A layout shift.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Shift {
    /// When.
    pub time_ms: f64,
    /// Its score.
    pub value: f64,
    /// The largest thing that moved.
    pub element: Option<ElementIndex>,
}

/// A task that kept the main thread over 50 ms.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LongTask {
    /// When it began.
    pub start_ms: f64,
    /// How long it took, in wall time.
    pub duration_ms: f64,
}

/// What one click of the probe took.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Interaction {
    /// What was clicked.
    pub element: Option<ElementIndex>,
    /// From input to next paint; the smaller of two clicks.
    pub duration_ms: f64,
    /// The part of it that the page's handlers ran; the smaller of two clicks.
    pub processing_ms: f64,
}
