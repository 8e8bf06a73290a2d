//! The `[jobs.missions]` section.

use paddock_platform::units::{ByteSize, HumanDuration};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How large missions may be, and how long they are kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct MissionOptions {
    /// Steps of one mission.
    pub steps_max: usize,
    /// Items that one step runs for.
    pub fan_out_max: usize,
    /// How deep missions may call missions; 1 is a mission that calls none.
    pub depth_max: u32,
    /// The largest definition, as JSON.
    pub definition_max: ByteSize,
    /// Definitions of one tenant, all versions counted.
    pub definitions_max: u64,
    /// Missions of one tenant that have not ended; beyond it the answer is 429.
    pub active_max: u64,
    /// How long a mission may take that names no deadline.
    pub deadline: HumanDuration,
    /// The longest deadline that a mission may name.
    pub deadline_max: HumanDuration,
    /// How long missions that ended are kept, unless their caller says otherwise.
    pub retention: HumanDuration,
    /// Missions that take longer from their first step to their end are logged and counted as slow.
    pub slow: HumanDuration,
    /// Streams that may watch missions at once.
    pub watchers_max: usize,
}

impl Default for MissionOptions {
    fn default() -> Self {
        Self {
            steps_max: 200,
            fan_out_max: 1_000,
            depth_max: 5,
            definition_max: ByteSize::bytes(256 << 10),
            definitions_max: 10_000,
            active_max: 10_000,
            deadline: HumanDuration::from_secs(7 * 24 * 3600),
            deadline_max: HumanDuration::from_secs(90 * 24 * 3600),
            retention: HumanDuration::from_secs(7 * 24 * 3600),
            slow: HumanDuration::from_secs(60),
            watchers_max: 256,
        }
    }
}
