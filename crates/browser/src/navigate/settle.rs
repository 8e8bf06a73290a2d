//! Settling: network and DOM at rest.

use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout_at};

use super::Attempt;
use crate::evaluate::World;

impl Attempt<'_> {
    /// Waits until network and DOM are quiet at the same time. Whether they became so.
    pub(super) async fn settle(&self, loader_id: &str) -> bool {
        let until = (Instant::now() + self.options.wait.settle_max).min(self.deadline);
        let settled = async {
            loop {
                let (network, dom) = tokio::join!(self.network_quiet(loader_id), self.dom_quiet(until));
                if !network || !dom || self.is_network_quiet() {
                    return network && dom;
                }
            }
        };
        timeout_at(until, settled).await.unwrap_or(false)
    }

    fn is_network_quiet(&self) -> bool {
        let since = self.tab.0.page.with(|page| page.quiet_since);
        since.is_some_and(|since| since.elapsed() >= self.options.wait.quiet)
    }

    /// Waits until no request was in flight for long enough; false when the document is replaced.
    async fn network_quiet(&self, loader_id: &str) -> bool {
        let mut changes = self.tab.0.page.changes();
        loop {
            changes.borrow_and_update();
            let (same, since) = self.tab.0.page.with(|page| (page.loader_id == loader_id, page.quiet_since));
            if !same {
                return false;
            }
            let Some(since) = since else {
                changes.changed().await.ok();
                continue;
            };
            let quiet_at = since + self.options.wait.quiet;
            tokio::select! {
                () = sleep_until(quiet_at) => if self.is_network_quiet() { return true },
                _ = changes.changed() => {}
            }
        }
    }

    /// Waits until nothing in the document changed for long enough; false when that cannot be told.
    async fn dom_quiet(&self, until: Instant) -> bool {
        let remaining = until.saturating_duration_since(Instant::now());
        let expression =
            format!("({DOM_QUIET})({}, {})", self.options.wait.quiet.as_millis(), remaining.as_millis());
        let deadline = remaining + Duration::from_millis(100);
        let quiet = self.tab.evaluate_in_place(&expression, World::Isolated, deadline).await;
        quiet.is_ok_and(|value| value.get() == "true")
    }
}

/// Resolves to true once nothing of interest changed for `quiet` ms, to false after `max`. Style attributes are not of
/// interest: animations change them for ever.
const DOM_QUIET: &str = "(quiet, max) => new Promise(resolve => {
    const done = value => { observer.disconnect(); clearTimeout(rest); clearTimeout(end); resolve(value); };
    const observer = new MutationObserver(() => { clearTimeout(rest); rest = setTimeout(done, quiet, true); });
    let rest = setTimeout(done, quiet, true);
    const end = setTimeout(done, max, false);
    observer.observe(document, {
        subtree: true, childList: true, characterData: true,
        attributeFilter: ['class', 'hidden', 'src', 'srcset', 'href', 'open', 'aria-hidden', 'aria-expanded'],
    });
})";
