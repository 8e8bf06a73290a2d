//! The `[jobs.schedules]` section.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How many schedules there may be, and how much they catch up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ScheduleOptions {
    /// Schedules of one tenant.
    pub schedules_max: u64,
    /// Missed firings of one schedule that `catch_up = "all"` makes up for.
    pub catch_up_max: usize,
}

impl Default for ScheduleOptions {
    fn default() -> Self {
        Self { schedules_max: 1_000, catch_up_max: 100 }
    }
}
