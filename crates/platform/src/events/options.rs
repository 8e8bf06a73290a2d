//! `[events]` of the configuration.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::units::ByteSize;

/// Live events. Changes take effect after a restart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct EventsOptions {
    /// Watchers at once, on `/events`, `/browser/events` and the events of jobs and queues together.
    pub streams_max: usize,
    /// Events that are kept for watchers who come back.
    pub kept_max: usize,
    /// Bytes of them.
    pub kept_size_max: ByteSize,
    /// Events that a watcher may lag behind; beyond it the oldest are dropped for it, and it is told.
    pub lag_max: usize,
}

impl Default for EventsOptions {
    fn default() -> Self {
        Self { streams_max: 1_024, kept_max: 4_096, kept_size_max: ByteSize::mib(4), lag_max: 4_096 }
    }
}
