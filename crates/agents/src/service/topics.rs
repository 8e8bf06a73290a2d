//! What is told of agents on `/events`.

use paddock_platform::events::Topic;

/// Agents that are deployed, restarted, stopped, removed.
pub(crate) const STATES: Topic =
    Topic { name: "agents.states", about: "agents that are deployed, restarted, stopped or removed" };
/// Servers that share the agents.
pub(crate) const NODES: Topic =
    Topic { name: "agents.nodes", about: "servers that share the agents: joined, left, lost their lease" };
/// What agents write to their logs.
pub(crate) const LOGS: Topic = Topic { name: "agents.logs", about: "lines of agents' logs" };
