//! Reads a screen's facts from a tab that has settled.

use std::time::Duration;

use paddock_browser::{
    EvaluateError, Tab, World,
    cdp::{CallError, Command},
    snapshot,
};
use serde::{Deserialize, Serialize};

use super::{Facts, facts_script, observe_until_script};
use crate::Screen;

const ASK_DEADLINE: Duration = Duration::from_secs(5);
/// The pass takes tens of milliseconds; on a machine that is out of breath it still comes back.
const READ_DEADLINE: Duration = Duration::from_secs(20);

/// Begins to count the CPU time of a tab's page; without it long tasks are not judged. Once per tab, before navigation.
pub async fn prepare(tab: &Tab) -> Result<(), CallError> {
    tab.session().send(&EnableMetrics { time_domain: "threadTicks" }).await.map(|_| ())
}

/// Waits for what the page has announced for later, then reads everything in one evaluation.
pub async fn collect(tab: &Tab, screen: Screen) -> Result<Facts, EvaluateError> {
    let wait_ms: f64 = tab.evaluate_as(&observe_until_script(), World::Isolated, ASK_DEADLINE).await?;
    if wait_ms > 0.0 {
        tokio::time::sleep(Duration::from_secs_f64(wait_ms / 1000.0)).await;
    }
    // Read before the facts: their own work is not the page's.
    let thread_cpu_ms = thread_cpu_ms(tab).await;
    let script = format!("{};\n{}", *snapshot::SCRIPT, facts_script(screen));
    let mut facts: Facts = tab.evaluate_as(&script, World::Isolated, READ_DEADLINE).await?;
    facts.timing.thread_cpu_ms = thread_cpu_ms;
    Ok(facts)
}

/// CPU time of the page's main thread; `None` when it was not counted.
async fn thread_cpu_ms(tab: &Tab) -> Option<f64> {
    let metrics = tab.session().send_within(&GetMetrics {}, ASK_DEADLINE).await.ok()?.metrics;
    metrics.into_iter().find(|m| m.name == "TaskDuration").map(|m| m.value * 1000.0)
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct EnableMetrics {
    time_domain: &'static str,
}

impl Command for EnableMetrics {
    const METHOD: &'static str = "Performance.enable";
    type Reply = paddock_browser::cdp::protocol::Empty;
}

#[derive(Serialize)]
struct GetMetrics {}

impl Command for GetMetrics {
    const METHOD: &'static str = "Performance.getMetrics";
    type Reply = Metrics;
}

#[derive(Deserialize)]
struct Metrics {
    metrics: Vec<Metric>,
}

#[derive(Deserialize)]
struct Metric {
    name: String,
    /// Seconds, for durations.
    value: f64,
}
