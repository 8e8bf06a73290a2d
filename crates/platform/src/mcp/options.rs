//! The `[mcp]` section of the configuration.

use std::num::NonZeroUsize;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::units::HumanDuration;

/// The tools as an MCP server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct McpOptions {
    /// How long a call of a tool may take.
    pub timeout: HumanDuration,
    /// Calls that run at once over all MCP clients; one more is refused, and its model told to try again.
    pub calls_max: NonZeroUsize,
}

impl Default for McpOptions {
    fn default() -> Self {
        Self { timeout: HumanDuration::from_secs(120), calls_max: NonZeroUsize::MIN.saturating_add(255) }
    }
}
