//! When tabs that nobody uses are closed.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::Notify, time::Instant};

use crate::ids::TabId;

/// Tabs in use, and those that will be closed. Has an entry for a tab from the first request that reads it or acts on
/// it until it is closed or navigated.
#[derive(Debug, Default)]
pub(crate) struct IdleTabs {
    tabs: Mutex<HashMap<TabId, Use>>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Use {
    requests: usize,
    closes_at: Option<Instant>,
}

impl IdleTabs {
    /// A request begins to work with a tab.
    pub(crate) fn enter(&self, tab: &TabId) {
        let mut tabs = self.tabs();
        let entry = tabs.entry(tab.clone()).or_default();
        entry.requests += 1;
        entry.closes_at = None;
    }

    /// A request is done with a tab; with `after`, the tab is closed when that time has passed without another one.
    pub(crate) fn leave(&self, tab: &TabId, after: Option<Duration>) {
        let mut tabs = self.tabs();
        let Some(entry) = tabs.get_mut(tab) else { return };
        entry.requests = entry.requests.saturating_sub(1);
        if entry.requests > 0 {
            return;
        }
        match after {
            None => {
                tabs.remove(tab);
            }
            Some(after) => {
                entry.closes_at = Some(Instant::now() + after);
                drop(tabs);
                self.changed.notify_one();
            }
        }
    }

    /// Waits until tabs are due, and forgets them.
    pub(crate) async fn due(&self) -> Vec<TabId> {
        loop {
            let changed = self.changed.notified();
            let next = {
                let mut tabs = self.tabs();
                let now = Instant::now();
                let due: Vec<TabId> = tabs
                    .iter()
                    .filter(|(_, entry)| entry.closes_at.is_some_and(|at| at <= now))
                    .map(|(tab, _)| tab.clone())
                    .collect();
                if !due.is_empty() {
                    tabs.retain(|tab, _| !due.contains(tab));
                    return due;
                }
                tabs.values().filter_map(|entry| entry.closes_at).min()
            };
            match next {
                Some(at) => {
                    tokio::select! {
                        () = changed => {}
                        () = tokio::time::sleep_until(at) => {}
                    }
                }
                None => changed.await,
            }
        }
    }

    fn tabs(&self) -> MutexGuard<'_, HashMap<TabId, Use>> {
        self.tabs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn a_tab_is_due_when_it_was_not_used_for_its_time() {
        let (idle, tab) = (IdleTabs::default(), TabId::new());
        let started = Instant::now();
        idle.enter(&tab);
        idle.leave(&tab, Some(SECOND));
        tokio::time::advance(SECOND / 2).await;
        idle.enter(&tab);
        idle.leave(&tab, Some(SECOND));
        assert_eq!(idle.due().await, [tab]);
        assert_eq!(started.elapsed().as_millis(), 1500);
    }

    #[tokio::test(start_paused = true)]
    async fn a_tab_in_use_or_navigated_is_never_due() {
        let (idle, busy, navigated) = (IdleTabs::default(), TabId::new(), TabId::new());
        idle.enter(&busy);
        idle.enter(&busy);
        idle.leave(&busy, Some(SECOND));
        idle.enter(&navigated);
        idle.leave(&navigated, Some(SECOND));
        idle.enter(&navigated);
        idle.leave(&navigated, None);
        assert!(tokio::time::timeout(100 * SECOND, idle.due()).await.is_err());
    }
}
