//! Logs, traces and metrics.

/// Background tasks that run, by name.
pub const TASKS_RUNNING: &str = "tasks_running";
/// How long tool calls took, by tool.
pub const TOOL_CALL_DURATION_SECONDS: &str = "tool_call_duration_seconds";
/// Tool calls, by tool and outcome (`ok` or the problem's slug).
pub const TOOL_CALLS_TOTAL: &str = "tool_calls_total";
