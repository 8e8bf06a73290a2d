//! The `[analysis]` section.

use paddock_platform::units::HumanDuration;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How pages are analysed and how long reports are kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AnalysisOptions {
    /// How long a report answers for its page before the page is looked at again. `0s` looks every time.
    pub cache: HumanDuration,
    /// How long reports are kept.
    pub retention: HumanDuration,
    /// How many pages are analysed at once; each takes a browser context per screen.
    pub concurrency_max: usize,
    /// How many analyses may wait for their turn; beyond it the answer is 503.
    pub queue_max: usize,
    /// How long one page may take, waiting for its turn not included.
    pub timeout: HumanDuration,
    /// How long a page may take to load and settle; then it is analysed as it is, if there is anything to see.
    pub navigation_timeout: HumanDuration,
    /// How tall a screenshot of a page may be, in CSS pixels; what lies below is analysed but not pictured.
    pub shot_height_max: u32,
}

impl Default for AnalysisOptions {
    fn default() -> Self {
        Self {
            cache: HumanDuration::from_secs(24 * 3600),
            retention: HumanDuration::from_secs(30 * 24 * 3600),
            concurrency_max: 2,
            queue_max: 64,
            timeout: HumanDuration::from_secs(90),
            navigation_timeout: HumanDuration::from_secs(30),
            shot_height_max: 8_000,
        }
    }
}
