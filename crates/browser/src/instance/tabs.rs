//! The tabs of an instance: opened by callers and by pages, listed whether they have a page or not, closed.

use std::sync::Arc;

use paddock_cdp::{Session, SessionState};
use tokio::sync::oneshot;

use super::{Instance, State, opening::Opening};
use crate::{
    environment::Environment,
    error::BrowserError,
    events::FleetChange,
    hibernate::Wanted,
    ids::TabId,
    registry::TabHead,
    saved::SavedTab,
    tab::{Attached, Tab, TabSpec},
};

/// A tab's place.
#[derive(Clone, Debug)]
pub(crate) enum Slot {
    Awake(Tab),
    Asleep(Box<Asleep>),
}

/// A tab without a page.
#[derive(Clone, Debug)]
pub(crate) struct Asleep {
    pub(crate) head: TabHead,
    /// Orders tabs by their last use, as [`Tab::used`].
    pub(crate) used: u64,
    /// It had a page when Chrome ended, and gets one again with its instance.
    pub(crate) eager: bool,
    /// While the instance hibernates, the registry has it.
    pub(crate) saved: Option<SavedTab>,
    /// What the tab pretends and decides, if the server ran when it was told: more than is saved.
    pub(crate) environment: Option<Arc<Environment>>,
}

impl Slot {
    pub(crate) fn used(&self) -> u64 {
        match self {
            Self::Awake(tab) => tab.used(),
            Self::Asleep(asleep) => asleep.used,
        }
    }

    fn is_open(&self) -> bool {
        match self {
            Self::Awake(tab) => !tab.is_closed(),
            Self::Asleep(_) => true,
        }
    }
}

/// A tab in a list, awake or not.
#[derive(Clone, Debug)]
pub struct TabEntry {
    /// Its id.
    pub id: TabId,
    /// Orders tabs by their last use.
    pub used: u64,
    /// Its page, while it has one.
    pub tab: Option<Tab>,
    /// Where it is, when it has no page.
    pub url: String,
    /// The title, when it has no page.
    pub title: String,
}

impl Instance {
    /// Its tabs that have a page, in no particular order.
    pub fn tabs(&self) -> Vec<Tab> {
        let state = self.0.state();
        let awake = |slot: &Slot| match slot {
            Slot::Awake(tab) => Some(tab.clone()),
            Slot::Asleep(_) => None,
        };
        state.tabs.values().filter_map(awake).collect()
    }

    /// All its tabs, those without a page included, in no particular order.
    pub fn tab_entries(&self) -> Vec<TabEntry> {
        let state = self.0.state();
        let entry = |(id, slot): (&TabId, &Slot)| {
            let (tab, url, title) = match slot {
                Slot::Awake(tab) => (Some(tab.clone()), String::new(), String::new()),
                Slot::Asleep(asleep) => (None, asleep.head.url.clone(), asleep.head.title.clone()),
            };
            TabEntry { id: id.clone(), used: slot.used(), tab, url, title }
        };
        state.tabs.iter().map(entry).collect()
    }

    /// One of its tabs, if that has a page.
    pub fn tab(&self, id: &TabId) -> Option<Tab> {
        match self.0.state().tabs.get(id) {
            Some(Slot::Awake(tab)) => Some(tab.clone()),
            Some(Slot::Asleep(_)) | None => None,
        }
    }

    /// Whether a tab is one of its own.
    pub fn has_tab(&self, id: &TabId) -> bool {
        self.0.state().tabs.contains_key(id)
    }

    /// Opens a tab. If the caller goes away meanwhile, it is closed as soon as it is open.
    pub async fn open(&self, spec: TabSpec) -> Result<Tab, BrowserError> {
        let (opened, receiver) = oneshot::channel();
        let instance = self.clone();
        self.0.shared.tasks.spawn("browser_open", async move {
            if let Err(Ok(tab)) = opened.send(instance.open_now(spec).await) {
                tab.close().await;
            }
        });
        receiver.await.unwrap_or(Err(BrowserError::Stopping))
    }

    async fn open_now(&self, spec: TabSpec) -> Result<Tab, BrowserError> {
        let _in_use = self.begin_use(false);
        self.ensure(Wanted::Context).await?;
        let _turn = self.0.creating.acquire().await.map_err(|_| BrowserError::Stopping)?;
        let (lease, mut opening, spare) = {
            let mut state = self.0.state();
            state.check(&self.0.id)?;
            let lost = || BrowserError::InstanceRestarting(self.0.id.clone());
            let lease = state.lease.clone().ok_or_else(lost)?;
            let (opening, spare) = Opening::begin(self, &mut state)?;
            (lease, opening, spare)
        };
        let attached = match spare {
            Some(spare) if spare.is_live() => spare,
            spare => {
                if spare.is_some() {
                    opening.renew();
                }
                let target = Attached::create(&lease).await?;
                opening.named(&target);
                Attached::attach(&lease, &target).await?
            }
        };
        self.adopt(attached, &spec).await
    }

    pub(super) async fn adopt(&self, attached: Attached, spec: &TabSpec) -> Result<Tab, BrowserError> {
        let tab = attached.into_tab(self, self.0.shared.new_tab_id(), spec, None, None).await?;
        self.take(tab, false).await
    }

    /// Puts a tab into its place, unless the instance, its Chrome or, if it was there `before`, the tab itself has come to
    /// an end meanwhile.
    pub(crate) async fn take(&self, tab: Tab, before: bool) -> Result<Tab, BrowserError> {
        let taken = {
            let mut state = self.0.state();
            let here = state.lease.as_ref().is_some_and(|lease| lease.process().is(&tab.0.process));
            match state.check(&self.0.id) {
                Err(error) => Err(error),
                Ok(()) if !here => Err(BrowserError::InstanceRestarting(self.0.id.clone())),
                Ok(()) if before && !state.tabs.contains_key(tab.id()) => {
                    Err(BrowserError::TabNotFound(tab.id().clone()))
                }
                Ok(()) => {
                    let open = !tab.is_closed();
                    if open {
                        state.tabs.insert(tab.id().clone(), Slot::Awake(tab.clone()));
                    }
                    Ok(open)
                }
            }
        };
        match taken {
            Ok(_) if before => {
                // Nobody opened it: lists that show it without its page are old.
                self.0.shared.feed.changed(&self.0.id);
                Ok(tab)
            }
            Ok(open) => {
                if open {
                    self.0.tell(FleetChange::TabOpened { tab_id: tab.id().clone() });
                    let url = serde_json::json!({ "url": tab.0.page.with(|page| page.url.clone()) });
                    self.0.shared.feed.tab(&self.0.id, tab.id(), "tabOpened", url);
                    self.0.note_change();
                }
                Ok(tab)
            }
            Err(error) => {
                tab.close().await;
                Err(error)
            }
        }
    }

    /// Forgets a tab whose page was closed. One whose Chrome ended keeps its place.
    pub(crate) fn tab_ended(&self, id: &TabId, session: &Session) {
        if session.state() == SessionState::Closed && self.is_saved() {
            return;
        }
        let closed = {
            let mut state = self.0.state();
            let this =
                matches!(state.tabs.get(id), Some(Slot::Awake(tab)) if tab.session().id() == session.id());
            if this {
                state.tabs.remove(id);
            }
            this
        };
        if closed {
            self.tell_closed(id);
        }
    }

    fn tell_closed(&self, id: &TabId) {
        self.0.tell(FleetChange::TabClosed { tab_id: id.clone() });
        self.0.shared.feed.tab(&self.0.id, id, "tabClosed", serde_json::json!({}));
        self.0.note_change();
    }

    /// Closes a tab that has no page. Whether there was one.
    pub(crate) fn forget_asleep(&self, id: &TabId) -> bool {
        let asleep = {
            let mut state = self.0.state();
            let asleep = matches!(state.tabs.get(id), Some(Slot::Asleep(_)));
            if asleep {
                state.tabs.remove(id);
            }
            asleep
        };
        if asleep {
            self.tell_closed(id);
        }
        asleep
    }

    /// Waits for the tab of a window that a page opened.
    pub(crate) async fn tab_opened_by(&self, opener: &Tab, known: &[TabId]) -> Tab {
        let mut appeared = self.0.appeared.subscribe();
        loop {
            appeared.borrow_and_update();
            for tab in self.tabs().into_iter().filter(|tab| !known.contains(tab.id())) {
                let info = tab.info().await.ok();
                if info.and_then(|info| info.opener_id).as_deref() == Some(opener.session().target_id()) {
                    return tab;
                }
            }
            // The sender is ours: it cannot be gone.
            appeared.changed().await.ok();
        }
    }

    /// Takes in a page that one of its pages opened, or closes it if there is no room.
    pub(crate) async fn page_appeared(&self, target_id: &str) {
        self.take_in(target_id).await;
        self.0.appeared.send_replace(());
    }

    async fn take_in(&self, target_id: &str) {
        let _opening = self.0.opening.lock().await;
        let tabs_max = self.0.shared.options.current().tabs_per_instance_max;
        if self.0.local().blank.as_deref() == Some(target_id) || self.opens(target_id).await {
            return;
        }
        let (lease, room) = {
            let state = self.0.state();
            let known = state.tabs.values().any(|slot| match slot {
                Slot::Awake(tab) => tab.session().target_id() == target_id,
                Slot::Asleep(_) => false,
            }) || state.spare.as_ref().is_some_and(|spare| spare.target_id() == target_id);
            let Some(lease) = state.lease.clone().filter(|_| !known) else { return };
            (lease, state.open_tabs() + state.opening_tabs() < tabs_max)
        };
        if room {
            // A page that cannot be taken in is closed when what was attached is dropped.
            let adopted = match Attached::attach(&lease, target_id).await {
                Ok(attached) => self.adopt(attached, &TabSpec::default()).await.map(drop),
                Err(error) => Err(error),
            };
            if let Err(error) = adopted {
                tracing::debug!(%error, "a page that a page opened was not taken in");
            }
        } else if !lease.is_foreign() {
            Attached::close(&lease, target_id);
        }
    }
}

impl State {
    /// Tabs that count against the maximum.
    pub(crate) fn open_tabs(&self) -> usize {
        self.tabs.values().filter(|slot| slot.is_open()).count()
    }
}
