//! Waking: the context comes back with its cookies, a tab with its page.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use futures_util::{StreamExt, stream};
use metrics::histogram;
use paddock_cdp::CallError;
use tokio::time::Instant;

use super::capture::TABS_AT_ONCE;
use crate::{
    databases::Databases,
    environment::Environment,
    error::BrowserError,
    ids::TabId,
    instance::{Asleep, Instance, InstanceStatus, Slot},
    metrics::BROWSER_WAKE_DURATION_SECONDS,
    navigate::{NavigateOptions, Wait},
    pool::{ContextLease, Placement},
    saved::{Saved, SavedTab},
    tab::{Attached, Tab, TabSpec},
    wire::SetCookies,
};

/// How long a page that is opened again may take to come, and to load.
const RETURN_DEADLINE: Duration = Duration::from_secs(15);
const RETURN_LOAD_MAX: Duration = Duration::from_secs(5);
/// Failed attempts to make a context again after which the instance is in error.
const FAILURES_MAX: u32 = 3;

/// What somebody needs of an instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    Context,
    /// And the page of this tab.
    Tab(TabId),
    /// And the pages of the tabs that had one when Chrome ended.
    Pages,
    /// And all tabs' pages.
    AllTabs,
}

impl Instance {
    /// Makes sure that what is wanted is there. Whoever comes while it is being made waits for it.
    pub(crate) async fn ensure(&self, wanted: Wanted) -> Result<(), BrowserError> {
        if self.has(&wanted)? {
            return Ok(());
        }
        let instance = self.clone();
        // In a task of its own: whoever goes away meanwhile leaves nothing half done.
        let ensure = async move {
            let lifecycle = Arc::clone(&instance.0.lifecycle).lock_owned().await;
            let result = instance.ensure_now(&wanted).await;
            drop(lifecycle);
            result
        };
        self.0.shared.tasks.spawn("browser_wake", ensure).await.unwrap_or(Err(BrowserError::Stopping))
    }

    /// Whether what is wanted is there already.
    fn has(&self, wanted: &Wanted) -> Result<bool, BrowserError> {
        let state = self.0.state();
        state.check(&self.0.id)?;
        let alive = state.lease.as_ref().is_some_and(|lease| lease.process().is_alive());
        let awake = |slot: &Slot| match slot {
            Slot::Awake(tab) => !tab.0.returning.load(Ordering::SeqCst),
            Slot::Asleep(_) => false,
        };
        let pages = match wanted {
            Wanted::Context => true,
            Wanted::Pages => !state.tabs.values().any(|slot| matches!(slot, Slot::Asleep(tab) if tab.eager)),
            Wanted::Tab(id) => {
                awake(state.tabs.get(id).ok_or_else(|| BrowserError::TabNotFound(id.clone()))?)
            }
            Wanted::AllTabs => state.tabs.values().all(awake),
        };
        Ok(alive && pages)
    }

    /// As [`Instance::ensure`], with the lifecycle lock held.
    async fn ensure_now(&self, wanted: &Wanted) -> Result<(), BrowserError> {
        let gone = self.0.state().lease.as_ref().map(|lease| lease.process().clone());
        if let Some(process) = gone.filter(|process| !process.is_alive()) {
            self.process_ended(&process, "its Chrome ended");
        }
        if self.0.state().lease.is_none() {
            self.wake_context().await?;
        }
        let asleep: Vec<TabId> = {
            let state = self.0.state();
            let is_wanted = |id: &TabId, tab: &Asleep| match wanted {
                Wanted::Context => false,
                Wanted::Tab(wanted) => wanted == id,
                Wanted::Pages => tab.eager,
                Wanted::AllTabs => true,
            };
            let pick = |(id, slot): (&TabId, &Slot)| match slot {
                Slot::Asleep(tab) if is_wanted(id, tab) => Some(id.clone()),
                Slot::Asleep(_) | Slot::Awake(_) => None,
            };
            state.tabs.iter().filter_map(pick).collect()
        };
        let waking = stream::iter(asleep.into_iter().map(|id| self.clone().wake_tab(id)));
        // One that fails must not leave the others half awake.
        let woken: Vec<_> = waking.buffer_unordered(TABS_AT_ONCE).collect().await;
        woken.into_iter().collect()
    }

    /// Makes the context again, with its cookies.
    async fn wake_context(&self) -> Result<(), BrowserError> {
        if !self.is_saved() {
            let reason = self.0.state().error.clone().unwrap_or_default();
            return Err(BrowserError::InstanceLost { id: self.0.id.clone(), reason });
        }
        let started = Instant::now();
        let before = {
            let mut state = self.0.state();
            state.check(&self.0.id)?;
            let before = state.status.get();
            self.0.set_status(&mut state, InstanceStatus::Starting, "waking");
            before
        };
        match self.make_context_again().await {
            Ok(()) => {
                histogram!(BROWSER_WAKE_DURATION_SECONDS).record(started.elapsed());
                Ok(())
            }
            Err(error) => {
                let text = paddock_platform::problem::error_chain(&error);
                let mut state = self.0.state();
                state.check(&self.0.id)?;
                if !error.is_refusal() {
                    state.failures += 1;
                }
                let failed = state.failures >= FAILURES_MAX || before == InstanceStatus::Error;
                let status = if failed { InstanceStatus::Error } else { InstanceStatus::Hibernated };
                state.error = failed.then(|| text.clone());
                self.0.set_status(&mut state, status, &text);
                Err(error)
            }
        }
    }

    async fn make_context_again(&self) -> Result<(), BrowserError> {
        let shared = &self.0.shared;
        let placement = Placement::of(&self.0.spec);
        let _admitted = shared.admit(&placement, Some(&self.0.id)).await?;
        let load = async { shared.registry.load(&self.0.id).await.map_err(BrowserError::from) };
        let load_databases =
            async { shared.registry.load_databases(&self.0.id).await.map_err(BrowserError::from) };
        let (saved, databases, lease) =
            tokio::try_join!(load, load_databases, shared.pool.lease(&placement))?;
        tokio::try_join!(
            give_cookies(&lease, &saved),
            self.give_databases(&lease, &databases),
            self.expect_downloads(&lease)
        )?;
        self.take_over(saved, &databases);
        self.begin(lease, None, "awake")
    }

    /// Takes the storage and the tabs of a saved state over, as far as they are not known better.
    pub(crate) fn take_over(&self, saved: Saved, databases: &Databases) {
        let Saved { local, tabs, .. } = saved;
        {
            let mut known = self.0.local();
            // After a crash what was learned from events is newer than what was saved.
            if known.areas.is_empty() {
                known.areas = local;
            }
            known.pending = known.areas.origins().cloned().collect();
            known.visited.extend(databases.origins().cloned());
        }
        let mut state = self.0.state();
        for tab in tabs {
            if let Some(Slot::Asleep(asleep)) = state.tabs.get_mut(&tab.id) {
                asleep.saved.get_or_insert(tab);
            }
        }
    }

    /// Opens a tab again, where it was.
    async fn wake_tab(self, id: TabId) -> Result<(), BrowserError> {
        let opening = self.0.opening.lock().await;
        let (lease, asleep) = {
            let state = self.0.state();
            let Some(Slot::Asleep(asleep)) = state.tabs.get(&id) else { return Ok(()) };
            let lost = || BrowserError::InstanceRestarting(self.0.id.clone());
            (state.lease.clone().ok_or_else(lost)?, asleep.clone())
        };
        let Asleep { head, used, saved, environment, .. } = *asleep;
        let spec = saved.as_ref().map_or_else(TabSpec::default, |saved| TabSpec {
            emulation: saved.emulation.clone(),
            scripts: saved.scripts.iter().map(|script| script.as_str().into()).collect(),
        });
        let saved = saved.unwrap_or_else(|| SavedTab::bare(head));
        let environment = environment.unwrap_or_else(|| Arc::new(Environment::of(&saved)));
        if environment.settings().geolocation.is_some() {
            lease.grant(&["geolocation"]).await?;
        }
        let attached = Attached::open(&lease).await?;
        let tab = attached.into_tab(&self, id, &spec, Some(environment), Some(&saved)).await?;
        // However this ends, the tab is where it is then.
        let _returning = Returning(tab.clone());
        tab.set_used(used);
        let tab = self.take(tab, true).await?;
        drop(opening);
        go_back(&tab, &saved.url).await;
        tab.set_used(used);
        Ok(())
    }
}

/// A tab on its way to where it was.
struct Returning(Tab);

impl Drop for Returning {
    fn drop(&mut self) {
        // One whose Chrome ended on the way has not arrived: it is on its way again when it wakes the next time.
        if !self.0.is_closed() {
            self.0.0.returning.store(false, Ordering::SeqCst);
        }
    }
}

/// Gives a new context its cookies. One that Chrome does not take any more must not cost the others.
pub(crate) async fn give_cookies(lease: &ContextLease, saved: &Saved) -> Result<(), BrowserError> {
    if saved.cookies.is_empty() {
        return Ok(());
    }
    let browser = lease.process().connection().browser();
    let context = lease.name();
    match browser.send(&SetCookies { cookies: &saved.cookies, browser_context_id: context }).await {
        Err(CallError::Protocol { .. }) => {
            for cookie in saved.cookies.chunks(1) {
                let one = SetCookies { cookies: cookie, browser_context_id: context };
                match browser.send(&one).await {
                    Err(error @ CallError::Protocol { .. }) => {
                        tracing::debug!(%error, "a saved cookie was not taken");
                    }
                    result => drop(result?),
                }
            }
            Ok(())
        }
        result => Ok(result.map(drop)?),
    }
}

/// Goes where the tab was. A page that does not come is a page that does not come: the tab is there.
async fn go_back(tab: &Tab, url: &str) {
    let Ok(url) = url.parse::<url::Url>() else { return };
    if !matches!(url.scheme(), "http" | "https") {
        return;
    }
    let wait = Wait { load_max: RETURN_LOAD_MAX, ..Wait::loaded() };
    let options = NavigateOptions { timeout: RETURN_DEADLINE, wait, allow_file: false };
    if let Err(error) = tab.navigate(&url, options).await {
        tracing::debug!(browser.tab = %tab.id(), %error, "a tab did not get back to its page");
    }
}
