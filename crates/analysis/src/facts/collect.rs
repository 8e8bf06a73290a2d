//! Reads a screen's facts from a tab that has settled.

use std::time::Duration;

use paddock_browser::{EvaluateError, Tab, World, snapshot};

use super::{Facts, facts_script, observe_until_script};
use crate::Screen;

const ASK_DEADLINE: Duration = Duration::from_secs(5);
/// The pass takes tens of milliseconds; on a machine that is out of breath it still comes back.
const READ_DEADLINE: Duration = Duration::from_secs(20);

/// Waits for what the page has announced for later, then reads everything in one evaluation.
pub async fn collect(tab: &Tab, screen: Screen) -> Result<Facts, EvaluateError> {
    let wait_ms: f64 = tab.evaluate_as(&observe_until_script(), World::Isolated, ASK_DEADLINE).await?;
    if wait_ms > 0.0 {
        tokio::time::sleep(Duration::from_secs_f64(wait_ms / 1000.0)).await;
    }
    let script = format!("{};\n{}", snapshot::SCRIPT, facts_script(screen));
    tab.evaluate_as(&script, World::Isolated, READ_DEADLINE).await
}
