//! How instances get through the end of their context: state is saved, the context goes, and comes back when needed.
//!
//! ```text
//!            create              idle, asked for, or memory is short
//! starting ─────────► running ─────────────────────────────────────► hibernated
//!     ▲                  │ Chrome died                                    │
//!     └──────────────────┴──────────────── next use, or at once ◄─────────┘
//! ```
//!
//! What a page stores is known from events; cookies, titles and scroll positions are read. A checkpoint saves what
//! changed, some seconds after it changed: that much is lost when Chrome or the server is killed. Waking makes the
//! context again and gives it its cookies; a tab gets its page back, under its old id, when it is used.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use futures_util::{StreamExt, stream};
use metrics::{counter, histogram};
use paddock_cdp::CallError;
use serde::Deserialize;
use tokio::time::{Instant, timeout};

use crate::{
    areas::Items,
    error::BrowserError,
    evaluate::World,
    ids::TabId,
    instance::{Asleep, Instance, InstanceStatus, Slot},
    metrics::{BROWSER_HIBERNATIONS_TOTAL, BROWSER_RESTORES_TOTAL, BROWSER_WAKE_DURATION_SECONDS},
    navigate::{NavigateOptions, Wait},
    pool::{ContextLease, Placement},
    process::Process,
    registry::TabHead,
    saved::{Saved, SavedTab},
    tab::{Attached, Tab, TabSpec},
    wire::{GetCookies, SetCookies},
};

/// How long a page may take to say what it stores and where it is scrolled to.
const READ_DEADLINE: Duration = Duration::from_secs(1);
/// How long a page that is opened again may take to come, and to load.
const RETURN_DEADLINE: Duration = Duration::from_secs(15);
const RETURN_LOAD_MAX: Duration = Duration::from_secs(5);
/// Tabs of one instance that are opened again, or read, at a time.
const TABS_AT_ONCE: usize = 4;
/// Failed attempts to make a context again after which the instance is in error.
const FAILURES_MAX: u32 = 3;
/// Reads a page; bounded, because its storage is.
const READ: &str = "(() => {
  const items = of => { try { return Object.entries(of()) } catch { return [] } };
  return [location.origin, scrollX, scrollY, items(() => localStorage), items(() => sessionStorage)];
})()";

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

/// How thoroughly an instance's state is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Depth {
    /// Pages are asked nothing.
    Light,
    /// Scroll positions and storage too.
    Full,
}

#[derive(Deserialize)]
struct Read(String, f64, f64, Vec<(String, String)>, Vec<(String, String)>);

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
        let mut waking = stream::iter(asleep.into_iter().map(|id| self.clone().wake_tab(id)))
            .buffer_unordered(TABS_AT_ONCE);
        while let Some(result) = waking.next().await {
            result?;
        }
        Ok(())
    }

    /// Makes the context again, with its cookies.
    async fn wake_context(&self) -> Result<(), BrowserError> {
        if !self.is_kept() {
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
        let _admitted = shared.admit(placement, Some(&self.0.id)).await?;
        let load = async { shared.registry.load(&self.0.id).await.map_err(BrowserError::from) };
        let (saved, lease) = tokio::try_join!(load, shared.pool.lease(placement))?;
        give_cookies(&lease, &saved).await?;
        self.take_over(saved);
        self.begin(lease, None, "awake")
    }

    /// Takes the storage and the tabs of a saved state over, as far as they are not known better.
    pub(crate) fn take_over(&self, saved: Saved) {
        let Saved { local, tabs, .. } = saved;
        {
            let mut known = self.0.local();
            // After a crash what was learned from events is newer than what was saved.
            if known.areas.is_empty() {
                known.areas = local;
            }
            known.pending = known.areas.origins().cloned().collect();
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
        let Asleep { head, used, saved, .. } = *asleep;
        let spec = saved.as_ref().map_or_else(TabSpec::default, |saved| TabSpec {
            emulation: saved.emulation.clone(),
            scripts: saved.scripts.iter().map(|script| script.as_str().into()).collect(),
        });
        let saved = saved.unwrap_or_else(|| SavedTab::bare(head));
        let attached = Attached::open(&lease).await?;
        let tab = attached.into_tab(&self, id, &spec, Some(&saved)).await?;
        tab.set_used(used);
        let tab = self.take(tab).await?;
        drop(opening);
        go_back(&tab, &saved.url).await;
        tab.set_used(used);
        tab.0.returning.store(false, Ordering::SeqCst);
        Ok(())
    }

    /// Saves its state and gives its context back.
    pub async fn hibernate(&self, cause: &str) -> Result<(), BrowserError> {
        let busy = || BrowserError::InstanceInUse(self.0.id.clone());
        if !self.is_kept() || !self.is_idle() {
            return Err(busy());
        }
        let instance = self.clone();
        let cause = cause.to_owned();
        let hibernate = async move {
            let _lifecycle = Arc::clone(&instance.0.lifecycle).lock_owned().await;
            instance.hibernate_now(&cause).await
        };
        self.0.shared.tasks.spawn("browser_hibernate", hibernate).await.unwrap_or(Err(BrowserError::Stopping))
    }

    async fn hibernate_now(&self, cause: &str) -> Result<(), BrowserError> {
        let uses = self.0.uses.load(Ordering::SeqCst);
        match self.status() {
            InstanceStatus::Hibernated | InstanceStatus::Error => return Ok(()),
            InstanceStatus::Starting | InstanceStatus::Running => {}
            InstanceStatus::Stopping | InstanceStatus::Stopped => {
                return Err(BrowserError::InstanceStopped(self.0.id.clone()));
            }
        }
        let saved = self.capture(Depth::Full).await?;
        self.save(&saved).await?;
        let lease = {
            let mut state = self.0.state();
            state.check(&self.0.id)?;
            if !self.is_idle() || self.0.uses.load(Ordering::SeqCst) != uses {
                return Err(BrowserError::InstanceInUse(self.0.id.clone()));
            }
            state.spare = None;
            for (id, slot) in &mut state.tabs {
                let head = saved.tabs.iter().find(|tab| tab.id == *id).map(TabHead::from);
                let used = slot.used();
                // A tab that appeared since the state was read would be lost; it is kept by its address.
                let head = head.unwrap_or_else(|| slot.head());
                *slot = Slot::Asleep(Box::new(Asleep { head, used, eager: false, saved: None }));
            }
            self.0.set_status(&mut state, InstanceStatus::Hibernated, cause);
            state.lease.take()
        };
        *self.0.local() = crate::instance::Local::default();
        counter!(BROWSER_HIBERNATIONS_TOTAL).increment(1);
        if let Some(lease) = lease.and_then(Arc::into_inner) {
            lease.release().await;
        }
        Ok(())
    }

    /// Saves what changed since it was saved last, unless something else is going on with the instance.
    pub(crate) async fn checkpoint(&self) -> Result<(), BrowserError> {
        let Ok(_lifecycle) = Arc::clone(&self.0.lifecycle).try_lock_owned() else { return Ok(()) };
        if self.status() != InstanceStatus::Running {
            return Ok(());
        }
        let saved = self.capture(Depth::Light).await?;
        self.save(&saved).await
    }

    /// As [`Instance::checkpoint`], and asks the pages too: the last one before the server, or the instance, stops.
    pub async fn checkpoint_fully(&self) -> Result<(), BrowserError> {
        let _lifecycle = Arc::clone(&self.0.lifecycle).lock_owned().await;
        if self.status() != InstanceStatus::Running {
            return Ok(());
        }
        let saved = self.capture(Depth::Full).await?;
        self.save(&saved).await
    }

    async fn save(&self, saved: &Saved) -> Result<(), BrowserError> {
        let mut hasher = DefaultHasher::new();
        serde_json::to_vec(saved).unwrap_or_default().hash(&mut hasher);
        let hash = hasher.finish();
        if self.0.saved_hash.load(Ordering::SeqCst) == hash {
            return Ok(());
        }
        let shared = &self.0.shared;
        shared.registry.save(&self.0.id, saved, self.used_at()).await?;
        if let Some(profile) = &self.0.spec.profile {
            shared.registry.save_profile(profile, &saved.without_tabs()).await?;
        }
        self.0.saved_hash.store(hash, Ordering::SeqCst);
        Ok(())
    }

    /// The state as it is now.
    async fn capture(&self, depth: Depth) -> Result<Saved, BrowserError> {
        let (lease, slots) = {
            let state = self.0.state();
            (state.lease.clone(), state.tabs.clone())
        };
        let Some(lease) = lease else { return Err(BrowserError::InstanceRestarting(self.0.id.clone())) };
        // Before anything is read: what changes meanwhile is a change again.
        self.0.note_saved();
        let browser = lease.process().connection().browser();
        let context = GetCookies { browser_context_id: lease.context_id() };
        let tabs = stream::iter(slots.into_values().map(|slot| async move {
            match slot {
                Slot::Awake(tab) => self.capture_tab(&tab, depth).await,
                Slot::Asleep(asleep) => {
                    let Asleep { head, saved, .. } = *asleep;
                    saved.unwrap_or_else(|| SavedTab::bare(head))
                }
            }
        }))
        .buffered(TABS_AT_ONCE)
        .collect::<Vec<_>>();
        let (cookies, tabs) = tokio::join!(browser.send(&context), tabs);
        let cookies = cookies.inspect_err(|_| self.0.note_change())?.cookies;
        Ok(Saved { cookies, local: self.0.local().areas.clone(), tabs })
    }

    async fn capture_tab(&self, tab: &Tab, depth: Depth) -> SavedTab {
        let mut scroll = tab.0.kept.scroll();
        if tab.0.kept.take_missed() || depth == Depth::Full {
            let read = tab.evaluate_in_place(READ, World::Isolated, READ_DEADLINE).await;
            let read = read.ok().and_then(|value| serde_json::from_str::<Read>(value.get()).ok());
            if let Some(Read(origin, x, y, local, session)) = read {
                self.take_read(tab, &origin, local, session);
                scroll.get_or_insert((x, y));
            }
        }
        let title = match timeout(READ_DEADLINE, tab.info()).await {
            Ok(Ok(info)) => info.title,
            Ok(Err(_)) | Err(_) => String::new(),
        };
        SavedTab {
            id: tab.id().clone(),
            url: tab.place(),
            title,
            scroll: scroll.unwrap_or_default(),
            session: tab.0.kept.session(),
            emulation: tab.0.spec.emulation.clone(),
            scripts: tab.0.spec.scripts.iter().map(ToString::to_string).collect(),
        }
    }

    fn take_read(
        &self,
        tab: &Tab,
        origin: &str,
        local: Vec<(String, String)>,
        session: Vec<(String, String)>,
    ) {
        if crate::areas::origin_of(origin).is_none() {
            return;
        }
        let size_max = self.0.state_size_max();
        tab.0.kept.replace_session(origin, Items::from_iter(session), size_max);
        let mut known = self.0.local();
        if !known.pending.contains(origin) {
            known.areas.replace(origin, Items::from_iter(local), size_max);
        }
    }

    /// Draws the consequences of the end of its process, if it lived in that one. Whether it is to be restored.
    pub(crate) fn process_ended(&self, process: &Process, reason: &str) -> bool {
        let mut state = self.0.state();
        if state.lease.as_ref().is_none_or(|lease| !lease.process().is(process)) {
            return false;
        }
        state.lease = None;
        state.spare = None;
        if !self.is_kept() {
            state.tabs.clear();
            state.error = Some(reason.to_owned());
            self.0.set_status(&mut state, InstanceStatus::Error, reason);
            return false;
        }
        for slot in state.tabs.values_mut() {
            if let Slot::Awake(tab) = slot {
                let saved = SavedTab::remembered(tab);
                let (head, used) = (TabHead::from(&saved), tab.used());
                *slot = Slot::Asleep(Box::new(Asleep { head, used, eager: true, saved: Some(saved) }));
            }
        }
        let restore = state.status.get() == InstanceStatus::Running;
        if restore {
            counter!(BROWSER_RESTORES_TOTAL).increment(1);
            self.0.set_status(&mut state, InstanceStatus::Starting, reason);
        }
        restore
    }
}

impl SavedTab {
    fn bare(head: TabHead) -> Self {
        let TabHead { id, url, title } = head;
        Self {
            id,
            url,
            title,
            scroll: (0.0, 0.0),
            session: crate::areas::Areas::default(),
            emulation: crate::emulation::Emulation::default(),
            scripts: Vec::new(),
        }
    }

    /// What is known of a tab without asking its page.
    fn remembered(tab: &Tab) -> Self {
        let bare = Self::bare(TabHead::of(tab));
        Self {
            scroll: tab.0.kept.scroll().unwrap_or_default(),
            session: tab.0.kept.session(),
            emulation: tab.0.spec.emulation.clone(),
            scripts: tab.0.spec.scripts.iter().map(ToString::to_string).collect(),
            ..bare
        }
    }
}

impl TabHead {
    fn of(tab: &Tab) -> Self {
        Self { id: tab.id().clone(), url: tab.place(), title: String::new() }
    }
}

impl Slot {
    fn head(&self) -> TabHead {
        match self {
            Self::Awake(tab) => TabHead::of(tab),
            Self::Asleep(asleep) => asleep.head.clone(),
        }
    }
}

/// Gives a new context its cookies. One that Chrome does not take any more must not cost the others.
pub(crate) async fn give_cookies(lease: &ContextLease, saved: &Saved) -> Result<(), BrowserError> {
    if saved.cookies.is_empty() {
        return Ok(());
    }
    let browser = lease.process().connection().browser();
    let context = &**lease.context_id();
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
