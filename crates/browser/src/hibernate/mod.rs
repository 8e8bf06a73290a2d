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
//!
//! What a tab pretends and decides (`environment.rs`) is in memory as long as the server runs, and saved with the tab as
//! far as it may be.

mod capture;
mod wake;

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use metrics::counter;
use tokio::time::{Instant, timeout};

use self::capture::Depth;
pub(crate) use self::wake::{Wanted, give_cookies};
use crate::{
    error::BrowserError,
    instance::{Asleep, Instance, InstanceStatus, Local, Slot, State},
    metrics::{BROWSER_HIBERNATIONS_TOTAL, BROWSER_RESTORES_TOTAL},
    process::Process,
    registry::TabHead,
    saved::{Saved, SavedTab},
};

/// Ends of its Chrome in a row, within this time, after which an instance is left asleep until somebody wants it: perhaps
/// it is one of its pages that Chrome does not survive.
const CRASHES_MAX: usize = 3;
const CRASHES_WINDOW: Duration = Duration::from_mins(2);
/// How long whatever goes on with an instance may take before another one is sent to sleep in its place.
const TURN_DEADLINE: Duration = Duration::from_secs(3);

impl Instance {
    /// Saves its state and gives its context back.
    pub async fn hibernate(&self, cause: &str) -> Result<(), BrowserError> {
        self.hibernate_within(cause, None).await
    }

    /// As [`Instance::hibernate`], to make room: not if something else goes on with the instance, which may be waiting
    /// for room itself.
    pub(crate) async fn make_room(&self, cause: &str) -> Result<(), BrowserError> {
        self.hibernate_within(cause, Some(TURN_DEADLINE)).await
    }

    async fn hibernate_within(&self, cause: &str, turn: Option<Duration>) -> Result<(), BrowserError> {
        let busy = || BrowserError::InstanceInUse(self.0.id.clone());
        if self.spec().attached_to.is_some() {
            return Err(BrowserError::InstanceAttached(self.0.id.clone()));
        }
        if !self.is_saved() || !self.is_idle() {
            return Err(busy());
        }
        let lifecycle = Arc::clone(&self.0.lifecycle).lock_owned();
        let lifecycle = match turn {
            Some(turn) => timeout(turn, lifecycle).await.map_err(|_| busy())?,
            None => lifecycle.await,
        };
        let instance = self.clone();
        let cause = cause.to_owned();
        // In a task of its own: whoever goes away meanwhile leaves nothing half done.
        let hibernate = async move {
            let result = instance.hibernate_now(&cause).await;
            drop(lifecycle);
            result
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
        let saved = self.capture_fully().await?;
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
                let environment = slot.environment();
                if let Some(environment) = &environment {
                    environment.rest();
                }
                *slot = Slot::Asleep(Box::new(Asleep { head, used, eager: false, saved: None, environment }));
            }
            self.0.set_status(&mut state, InstanceStatus::Hibernated, cause);
            state.lease.take()
        };
        let blank = self.0.local().blank.take();
        *self.0.local() = Local { blank, ..Local::default() };
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
        self.capture_fully().await.map(drop)
    }

    /// Reads and saves all that there is.
    async fn capture_fully(&self) -> Result<Saved, BrowserError> {
        let saved = self.capture(Depth::Full).await?;
        self.save(&saved).await?;
        if let Some(lease) = self.lease() {
            self.save_databases(&lease).await?;
        }
        Ok(saved)
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

    /// Draws the consequences of the end of its process, if it lived in that one. Whether it is to be restored.
    pub(crate) fn process_ended(&self, process: &Process, reason: &str) -> bool {
        let mut state = self.0.state();
        if state.lease.as_ref().is_none_or(|lease| !lease.process().is(process)) {
            return false;
        }
        state.lease = None;
        state.spare = None;
        if !self.is_saved() {
            state.tabs.clear();
            state.error = Some(reason.to_owned());
            self.0.set_status(&mut state, InstanceStatus::Error, reason);
            return false;
        }
        let eager = state.survives_crash();
        for slot in state.tabs.values_mut() {
            if let Slot::Awake(tab) = slot {
                let saved = SavedTab::remembered(tab);
                let (head, used) = (TabHead::from(&saved), tab.used());
                let environment = Some(Arc::clone(&tab.0.environment));
                let asleep = Asleep { head, used, eager, saved: Some(saved), environment };
                *slot = Slot::Asleep(Box::new(asleep));
            }
        }
        let restore = state.status.get() == InstanceStatus::Running;
        if restore && eager {
            counter!(BROWSER_RESTORES_TOTAL).increment(1);
            self.0.set_status(&mut state, InstanceStatus::Starting, reason);
        } else if restore {
            let reason =
                format!("{reason}; its Chrome ended {CRASHES_MAX} times, and it waits for its next use");
            self.0.set_status(&mut state, InstanceStatus::Hibernated, &reason);
        }
        restore && eager
    }
}

impl State {
    /// Notes that its Chrome ended. Whether its pages may be opened again at once.
    fn survives_crash(&mut self) -> bool {
        let now = Instant::now();
        self.crashes.retain(|at| now.saturating_duration_since(*at) < CRASHES_WINDOW);
        self.crashes.push_back(now);
        if self.crashes.len() < CRASHES_MAX {
            return true;
        }
        self.crashes.clear();
        false
    }
}
