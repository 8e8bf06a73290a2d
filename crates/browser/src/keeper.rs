//! Follows what a tab's page stores and where it goes, so that little has to be read when the instance hibernates.

use std::{
    collections::BTreeSet,
    sync::{
        Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
};

use paddock_cdp::{CallError, Event, Session, Subscription, protocol::page::FrameNavigated};

use crate::{
    areas::{Areas, StorageChange, origin_of},
    events::FleetChange,
    instance::{Inner, Instance},
    saved::{SavedTab, restoring_script},
    tab::{Tab, WORLD},
    wire::{AddScript, ScriptId},
};

/// What is followed.
const EVENTS: &[&str] = &[
    "DOMStorage.domStorageItemAdded",
    "DOMStorage.domStorageItemUpdated",
    "DOMStorage.domStorageItemRemoved",
    "DOMStorage.domStorageItemsCleared",
    "Page.frameNavigated",
    "Page.navigatedWithinDocument",
    "Inspector.targetCrashed",
];
/// Events that wait; when more come at once, the page is read instead.
const EVENTS_MAX: usize = 1024;

/// What is kept of a tab beside its page.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    state: Mutex<KeptState>,
    /// The script that restores what is pending.
    script: tokio::sync::Mutex<Option<ScriptId>>,
    /// Events were missed: storage has to be read from the page.
    missed: AtomicBool,
}

#[derive(Debug, Default)]
struct KeptState {
    session: Areas,
    /// Origins whose `sessionStorage` no document has got back yet.
    pending: BTreeSet<String>,
    /// Where the first document is to be scrolled to.
    scroll: Option<(String, (f64, f64))>,
}

impl Kept {
    /// What a tab that is opened again is to get back.
    pub(crate) fn of(saved: &SavedTab) -> Self {
        let scrolled = saved.scroll != (0.0, 0.0);
        let state = KeptState {
            pending: saved.session.origins().cloned().collect(),
            session: saved.session.clone(),
            scroll: scrolled.then(|| (saved.url.clone(), saved.scroll)),
        };
        Self { state: Mutex::new(state), ..Self::default() }
    }

    /// `sessionStorage`, by origin.
    pub(crate) fn session(&self) -> Areas {
        self.state().session.clone()
    }

    /// Takes over what was read in the page.
    pub(crate) fn replace_session(&self, origin: &str, items: crate::areas::Items, size_max: usize) {
        let mut state = self.state();
        if !state.pending.contains(origin) {
            state.session.replace(origin, items, size_max);
        }
    }

    /// Where the page was scrolled to before, as long as it is not there.
    pub(crate) fn scroll(&self) -> Option<(f64, f64)> {
        self.state().scroll.as_ref().map(|(_, scroll)| *scroll)
    }

    /// Whether events were missed since the last call.
    pub(crate) fn take_missed(&self) -> bool {
        self.missed.swap(false, Ordering::Relaxed)
    }

    /// Puts the script in force that restores what is pending now, in place of the one before.
    pub(crate) async fn refresh(&self, session: &Session, instance: &Inner) -> Result<(), CallError> {
        let mut script = self.script.lock().await;
        let source = {
            let (local, state) = (instance.local(), self.state());
            let local = local.areas.pairs(|origin| local.pending.contains(origin));
            let stored = state.session.pairs(|origin| state.pending.contains(origin));
            let scroll = state.scroll.as_ref().map(|(url, scroll)| (&**url, *scroll));
            let nothing = local.is_empty() && stored.is_empty() && scroll.is_none();
            (!nothing).then(|| restoring_script(&local, &stored, scroll))
        };
        let next = match source {
            Some(source) => Some(session.send(&AddScript { source: &source, world_name: WORLD }).await?),
            None => None,
        };
        if let Some(before) = std::mem::replace(&mut *script, next) {
            session.send(&before).await?;
        }
        Ok(())
    }

    fn state(&self) -> MutexGuard<'_, KeptState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The task beside a tab of an instance that is kept.
pub(crate) struct Keeper {
    events: Subscription,
}

impl Keeper {
    /// Begins to listen; before the page can store anything.
    pub(crate) fn listen(session: &Session) -> Self {
        Self { events: session.subscribe(EVENTS, EVENTS_MAX) }
    }

    /// Runs until the page closes.
    pub(crate) async fn run(mut self, tab: Tab, instance: Weak<Inner>) {
        let mut dropped = 0;
        while let Some(event) = self.events.next().await {
            let Some(instance) = instance.upgrade().map(Instance) else { return };
            if self.events.dropped() > dropped {
                dropped = self.events.dropped();
                tab.0.kept.missed.store(true, Ordering::Relaxed);
            }
            take_in(&tab, &instance, &event).await;
            instance.0.note_change();
        }
    }
}

async fn take_in(tab: &Tab, instance: &Instance, event: &Event) {
    let inner = &instance.0;
    match event.method {
        "Page.frameNavigated" => {
            if let Ok(FrameNavigated { frame }) = event.parse() {
                let main = frame.parent_id.is_none();
                arrived(tab, instance, &frame.url, main).await;
                if main {
                    instance.note_visited(&frame.url);
                    inner.tell(FleetChange::TabNavigated { tab_id: tab.id().clone(), url: frame.url });
                }
            }
        }
        "Page.navigatedWithinDocument" => {}
        "Inspector.targetCrashed" => inner.tell(FleetChange::TabCrashed { tab_id: tab.id().clone() }),
        _ => {
            let Some(change) = StorageChange::of(event) else { return };
            let size_max = inner.state_size_max();
            if change.local {
                inner.local().areas.apply(change, size_max);
            } else {
                tab.0.kept.state().session.apply(change, size_max);
            }
        }
    }
}

/// A document of an origin has begun: it has got back what there was for it, and the next must not get it again.
async fn arrived(tab: &Tab, instance: &Instance, url: &str, main: bool) {
    let (here, everywhere) = {
        let origin = origin_of(url);
        let mut state = tab.0.kept.state();
        let scrolled = main && url != "about:blank" && state.scroll.take().is_some();
        let stored = origin.as_ref().is_some_and(|origin| state.pending.remove(origin));
        let local = origin.as_ref().is_some_and(|origin| instance.0.local().pending.remove(origin));
        (scrolled || stored, local)
    };
    let tabs = match (here, everywhere) {
        (_, true) => instance.tabs(),
        (true, false) => vec![tab.clone()],
        (false, false) => return,
    };
    for tab in tabs {
        if let Err(error) = tab.0.kept.refresh(tab.session(), &instance.0).await {
            tracing::debug!(browser.tab = %tab.id(), %error, "a restoring script was not replaced");
        }
    }
}
