//! Who uses an instance, and since when nobody does.

use std::sync::{PoisonError, atomic::Ordering};

use jiff::Timestamp;
use tokio::time::Instant;

use super::{Inner, Instance};
use crate::{error::BrowserError, hibernate::Wanted, ids::TabId, tab::Tab};

/// The last use, by both clocks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Used {
    pub(super) at: Timestamp,
    pub(super) instant: Instant,
}

/// Something that uses an instance, which stays awake as long as this lives: a request, or what is attached to it for
/// longer (a DevTools client, a screencast).
#[derive(Debug)]
pub struct InUse {
    instance: Instance,
    /// Counts among the requests.
    request: bool,
}

impl Drop for InUse {
    fn drop(&mut self) {
        let inner = &self.instance.0;
        inner.note_use();
        inner.note_change();
        if self.request {
            inner.requests.fetch_sub(1, Ordering::SeqCst);
        }
        inner.in_use.fetch_sub(1, Ordering::SeqCst);
    }
}

/// An instance that is stopped when this is dropped: for work that may be abandoned at any point.
#[derive(Debug)]
pub struct InstanceGuard(Instance);

impl InstanceGuard {
    /// Ties an instance to the guard.
    pub fn new(instance: Instance) -> Self {
        Self(instance)
    }
}

impl std::ops::Deref for InstanceGuard {
    type Target = Instance;

    fn deref(&self) -> &Instance {
        &self.0
    }
}

impl Drop for InstanceGuard {
    fn drop(&mut self) {
        let instance = self.0.clone();
        let tasks = instance.0.shared.tasks.clone();
        tasks.spawn("browser_stop", instance.close());
    }
}

impl Instance {
    /// Enters it for one request: it is woken if need be, and stays awake until what this returns is dropped.
    pub async fn enter(&self) -> Result<InUse, BrowserError> {
        let max = self.0.shared.options.current().requests_per_instance_max;
        let in_use = self.begin_use(true);
        if self.0.requests.load(Ordering::SeqCst) > max {
            return Err(BrowserError::InstanceBusy { id: self.0.id.clone(), max });
        }
        self.ensure(Wanted::Context).await?;
        Ok(in_use)
    }

    /// As [`Instance::enter`], for a request about a tab, which has a page when this returns.
    pub async fn enter_tab(&self, id: &TabId) -> Result<(InUse, Tab), BrowserError> {
        let in_use = self.enter().await?;
        self.ensure(Wanted::Tab(id.clone())).await?;
        let tab = self.tab(id).ok_or_else(|| BrowserError::TabNotFound(id.clone()))?;
        Ok((in_use, tab))
    }

    /// Attaches something for longer than a request, for example a DevTools client: all its tabs get their pages, and
    /// it stays awake until what this returns is dropped.
    pub async fn attach(&self) -> Result<InUse, BrowserError> {
        let in_use = self.begin_use(false);
        self.ensure(Wanted::AllTabs).await?;
        Ok(in_use)
    }

    /// Keeps it awake until what this returns is dropped, for what is under way in it already.
    pub(crate) fn keep_awake(&self) -> InUse {
        self.begin_use(false)
    }

    pub(super) fn begin_use(&self, request: bool) -> InUse {
        // Before the state is looked at: hibernation looks at this with the state in its hands.
        self.0.in_use.fetch_add(1, Ordering::SeqCst);
        if request {
            self.0.requests.fetch_add(1, Ordering::SeqCst);
        }
        self.0.note_use();
        InUse { instance: self.clone(), request }
    }

    /// Whether nothing uses it.
    pub(crate) fn is_idle(&self) -> bool {
        self.0.in_use.load(Ordering::SeqCst) == 0
    }

    /// Since when nothing uses it.
    pub(crate) fn idle_since(&self) -> Option<Instant> {
        self.is_idle().then(|| self.0.used().instant)
    }

    /// When it was last used.
    pub(crate) fn used_at(&self) -> Timestamp {
        self.0.used().at
    }
}

impl Inner {
    pub(super) fn used(&self) -> Used {
        *self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn note_use(&self) {
        self.uses.fetch_add(1, Ordering::SeqCst);
        let now = Used { at: Timestamp::now(), instant: Instant::now() };
        *self.used.lock().unwrap_or_else(PoisonError::into_inner) = now;
    }

    /// Notes that what is saved is not what there is.
    pub(crate) fn note_change(&self) {
        if self.is_saved() {
            let mut changed = self.changed.lock().unwrap_or_else(PoisonError::into_inner);
            changed.get_or_insert_with(Instant::now);
        }
    }

    /// Since when something is not saved.
    pub(crate) fn changed_since(&self) -> Option<Instant> {
        *self.changed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes what changed so far for saved.
    pub(crate) fn note_saved(&self) {
        *self.changed.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}
