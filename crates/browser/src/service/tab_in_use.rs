//! The tab of a request: which one is meant, what holds while the request works with it, and tabs that are opened for it.

use std::{
    collections::HashSet,
    ops::Deref,
    sync::{
        MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use jiff::Timestamp;
use paddock_platform::{
    identity::{Caller, Scope},
    problem::Problem,
    units::HumanDuration,
};

use super::{BrowserService, Shared, Target, WRITE};
use crate::{
    coordination::{Identity, NO_CURRENT_TAB},
    error::BrowserError,
    ids::{InstanceId, TabId},
    instance::{InUse, Instance, TabEntry},
    tab::{Tab, TabSpec},
};

/// A tab while a request works with it: its instance stays awake, and it is not closed for being idle.
#[derive(Debug)]
pub(crate) struct TabInUse {
    tab: Tab,
    idle: InUseUntilDropped,
    _instance: InUse,
}

#[derive(Debug)]
struct InUseUntilDropped {
    service: BrowserService,
    tab: TabId,
    /// It was sent somewhere: what it shows was not read yet.
    unread: AtomicBool,
}

impl Drop for InUseUntilDropped {
    fn drop(&mut self) {
        let after = self.service.options().tab_idle_after.map(HumanDuration::get);
        let after = after.filter(|_| !self.unread.load(Ordering::Relaxed));
        self.service.shared.idle.leave(&self.tab, after);
    }
}

impl Shared {
    fn apart(&self) -> MutexGuard<'_, HashSet<TabId>> {
        self.apart.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl TabInUse {
    fn new(service: &BrowserService, tab: Tab, instance: InUse) -> Self {
        tab.touch();
        service.shared.idle.enter(tab.id());
        let idle = InUseUntilDropped {
            service: service.clone(),
            tab: tab.id().clone(),
            unread: AtomicBool::new(false),
        };
        Self { tab, idle, _instance: instance }
    }

    /// It was sent somewhere and is not idle before somebody has looked.
    pub(crate) fn is_unread(&self) {
        self.idle.unread.store(true, Ordering::Relaxed);
    }
}

/// A tab that is closed with the work that it was opened for, also when nobody waits for that any more.
#[derive(Debug)]
pub(super) struct TabApart {
    tab: TabInUse,
    instance: Instance,
    service: BrowserService,
}

impl TabApart {
    pub(super) async fn close(self) {
        self.tab.close().await;
        // Its place is free for the next one at once, not when Chrome has told of its end.
        self.instance.tab_ended(self.tab.id(), self.tab.session());
    }
}

impl Deref for TabApart {
    type Target = TabInUse;

    fn deref(&self) -> &TabInUse {
        &self.tab
    }
}

impl Drop for TabApart {
    fn drop(&mut self) {
        self.service.shared.apart().remove(self.tab.id());
        if !self.tab.is_closed() {
            let tab = (*self.tab).clone();
            let tasks = tab.0.shared.tasks.clone();
            tasks.spawn("browser_close", async move { tab.close().await });
        }
    }
}

impl Deref for TabInUse {
    type Target = Tab;

    fn deref(&self) -> &Tab {
        &self.tab
    }
}

impl BrowserService {
    /// The tab that a request is about, for as long as the request works with it: the one that it names, or the
    /// caller's current one. One that is locked by another owner or paused for a person is not given to those who
    /// would change it.
    pub(crate) async fn tab(&self, target: &Target, scope: Scope) -> Result<TabInUse, Problem> {
        let found = self.find_tab(target, scope)?;
        if scope == WRITE {
            self.shared.holds.check(&found.1, target.claimed_owner(), Timestamp::now())?;
        }
        self.enter(target, found).await
    }

    /// As [`BrowserService::tab`], whoever holds the tab: for what locks, hands over, and for the person who works in it.
    pub(crate) async fn held_tab(&self, target: &Target, scope: Scope) -> Result<TabInUse, Problem> {
        let found = self.find_tab(target, scope)?;
        self.enter(target, found).await
    }

    fn find_tab(&self, target: &Target, scope: Scope) -> Result<(Instance, TabId), Problem> {
        target.caller.require(scope)?;
        if let Some(id) = &target.tab {
            return Ok((self.owner_of(&target.caller, id)?, id.clone()));
        }
        if let Some(found) = self.current_tab(target) {
            return Ok(found);
        }
        let identity = target.identity();
        Err(match identity {
            Identity::Anonymous => Problem::not_found("tab", "current"),
            _ => Problem::new(NO_CURRENT_TAB, format!("{identity} has no current tab")),
        }
        .with("hint", "navigate somewhere first, or name a tab"))
    }

    /// The tab that is meant when none is named, with or without a page.
    pub(super) fn current_tab(&self, target: &Target) -> Option<(Instance, TabId)> {
        let identity = target.identity();
        if identity == Identity::Anonymous {
            let entries = self.owned(&target.caller).flat_map(|instance| {
                let of_instance = instance.clone();
                let entries = instance.tab_entries().into_iter();
                entries.map(move |entry| (entry.used, entry.id, of_instance.clone()))
            });
            let apart = self.shared.apart().clone();
            let meant = entries.filter(|(_, id, _)| !apart.contains(id)).max_by_key(|(used, ..)| *used);
            return meant.map(|(_, id, instance)| (instance, id));
        }
        let id = self.shared.current.get(target.caller.tenant(), &identity)?;
        self.owner_of(&target.caller, &id).ok().map(|instance| (instance, id))
    }

    async fn enter(&self, target: &Target, (instance, id): (Instance, TabId)) -> Result<TabInUse, Problem> {
        let (instance, tab) = instance.enter_tab(&id).await?;
        Ok(self.begin(target, TabInUse::new(self, tab, instance)))
    }

    /// What every request does with its tab.
    fn begin(&self, target: &Target, tab: TabInUse) -> TabInUse {
        let identities_max = self.options().agents_per_tenant_max;
        self.shared.current.set(target.caller.tenant(), &target.identity(), tab.id(), identities_max);
        target.note.tab(&tab);
        tab
    }

    /// The tab that is meant, or an empty one where there is none yet: for what concerns the browser more than a page.
    pub(super) async fn tab_or_new(&self, target: &Target) -> Result<TabInUse, Problem> {
        target.caller.require(WRITE)?;
        if target.tab.is_some() || self.current_tab(target).is_some() {
            return self.tab(target, WRITE).await;
        }
        let tab = self.tab_anywhere(&target.caller).await?;
        Ok(self.begin(target, tab))
    }

    /// The tab to go somewhere with. A session or an agent stays in its current tab; whoever is nobody in particular,
    /// asks for a new tab or names an instance gets a new one.
    pub(crate) async fn tab_to_navigate(
        &self,
        target: &Target,
        instance: Option<&InstanceId>,
        new_tab: bool,
    ) -> Result<TabInUse, Problem> {
        target.caller.require(WRITE)?;
        let stays = !new_tab && (target.tab.is_some() || instance.is_none());
        let identified = target.identity() != Identity::Anonymous;
        if stays && (target.tab.is_some() || identified && self.current_tab(target).is_some()) {
            return self.tab(target, WRITE).await;
        }
        let tab = match (&target.tab, instance) {
            (_, Some(id)) => self.new_tab(&self.own(&target.caller, id)?).await?,
            (Some(id), None) => self.new_tab(&self.owner_of(&target.caller, id)?).await?,
            (None, None) => self.tab_anywhere(&target.caller).await?,
        };
        Ok(self.begin(target, tab))
    }

    /// Closes a tab, also one that sleeps, and forgets what was remembered of it.
    pub(super) async fn close_tab(&self, instance: &Instance, id: &TabId) {
        match instance.tab(id) {
            Some(tab) => tab.close().await,
            None => drop(instance.forget_asleep(id)),
        }
        self.shared.current.forget(instance.tenant(), id);
        self.shared.holds.forget(id);
    }

    /// Closes tabs that were not used for `[browser] tab_idle_after`, until the server stops.
    pub(super) async fn close_idle_tabs(self) {
        let stopping = self.fleet.0.tasks.stop_token();
        while let Some(due) = stopping.run_until_cancelled(self.shared.idle.due()).await {
            for id in &due {
                let Some(instance) = self.fleet.instance_of(id) else { continue };
                tracing::debug!(browser.tab = %id, "closing a tab that nobody uses");
                self.close_tab(&instance, id).await;
            }
        }
    }

    /// A new tab in the caller's first instance, which is started if there is none. At the bound, the tab that was not
    /// used for longest makes room: a client that only navigates never closes one.
    async fn tab_anywhere(&self, caller: &Caller) -> Result<TabInUse, Problem> {
        let instance = self.any_instance(caller).await?;
        self.new_tab_with_room(&instance).await
    }

    async fn new_tab_with_room(&self, instance: &Instance) -> Result<TabInUse, Problem> {
        match self.new_tab(instance).await {
            Err(BrowserError::TabsExhausted { .. }) => {
                let now = Timestamp::now();
                let apart = self.shared.apart().clone();
                let is_free = |entry: &TabEntry| {
                    !apart.contains(&entry.id) && self.shared.holds.of(&entry.id, now) == (None, None)
                };
                let oldest =
                    instance.tab_entries().into_iter().filter(is_free).min_by_key(|entry| entry.used);
                if let Some(oldest) = oldest {
                    self.close_tab(instance, &oldest.id).await;
                }
                Ok(self.new_tab(instance).await?)
            }
            result => Ok(result?),
        }
    }

    /// A tab for one piece of work of the server itself, closed with it. It is nobody's current tab.
    pub(super) async fn open_apart(&self, instance: &Instance) -> Result<TabApart, Problem> {
        let tab = self.new_tab_with_room(instance).await?;
        self.shared.apart().insert(tab.id().clone());
        Ok(TabApart { tab, instance: instance.clone(), service: self.clone() })
    }

    pub(super) async fn new_tab(&self, instance: &Instance) -> Result<TabInUse, BrowserError> {
        let in_use = instance.enter().await?;
        Ok(TabInUse::new(self, instance.open(TabSpec::default()).await?, in_use))
    }
}
