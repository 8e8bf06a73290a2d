//! Locks and handoffs: who may change a tab.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use http::StatusCode;
use jiff::Timestamp;
use paddock_platform::problem::{CONFLICT, OVERLOADED, Problem, ProblemKind};

use crate::{error::RETRY_AFTER, ids::TabId};

/// The tab is locked by another owner.
pub const TAB_LOCKED: ProblemKind = ProblemKind::new("tab-locked", StatusCode::LOCKED, "Tab locked");
/// The tab is paused while a person works in it.
pub const TAB_PAUSED_HANDOFF: ProblemKind =
    ProblemKind::new("tab-paused-handoff", StatusCode::CONFLICT, "Tab paused for a person");

/// Most tabs that are held at a time. Tabs are bounded as well; this is what holds of tabs that are gone may add.
const HOLDS_MAX: usize = 20_000;

/// A tab cannot be changed, locked or released.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum HoldError {
    /// Locked, and the request names another owner or none.
    #[error("tab {tab} is locked by {owner} until {expires_at}")]
    Locked {
        /// Which tab.
        tab: TabId,
        /// Who holds the lock.
        owner: String,
        /// Until when.
        expires_at: Timestamp,
    },
    /// Another owner holds the lock that is asked for or given back.
    #[error("tab {tab} is locked by {owner}, not by {asked}")]
    NotOwner {
        /// Which tab.
        tab: TabId,
        /// Who holds the lock.
        owner: String,
        /// Who asked.
        asked: String,
    },
    /// A person works in it.
    #[error("tab {tab} is paused for human handoff: {}", handoff.reason)]
    Paused {
        /// Which tab.
        tab: TabId,
        /// Since when and why.
        handoff: Handoff,
    },
    /// As many tabs are held as may be.
    #[error("{HOLDS_MAX} tabs are locked or handed off already; release one first")]
    TooMany,
}

impl From<HoldError> for Problem {
    fn from(error: HoldError) -> Self {
        let text = error.to_string();
        match error {
            HoldError::Locked { owner, expires_at, .. } => Self::new(TAB_LOCKED, text)
                .with("owner", owner)
                .with("expiresAt", expires_at.to_string())
                .with(
                    "hint",
                    "name the owner as `owner`, in the body or the query, or in the header X-Owner",
                ),
            HoldError::NotOwner { owner, .. } => Self::new(CONFLICT, text).with("owner", owner),
            HoldError::Paused { handoff, .. } => Self::new(TAB_PAUSED_HANDOFF, text)
                .with("reason", handoff.reason)
                .with("pausedAt", handoff.paused_at.to_string())
                .with("hint", "a person is working in this tab; POST /tabs/{id}/resume ends that"),
            HoldError::TooMany => Self::new(OVERLOADED, text).retry_after(RETRY_AFTER),
        }
    }
}

/// A tab is reserved for an owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lock {
    /// The name that the owner gave.
    pub owner: String,
    /// When it ends by itself.
    pub expires_at: Timestamp,
}

/// A tab is paused while a person works in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handoff {
    /// Why, as the one who asked for it put it.
    pub reason: String,
    /// Since when.
    pub paused_at: Timestamp,
    /// When it ends by itself, if it does.
    pub expires_at: Option<Timestamp>,
}

#[derive(Clone, Debug, Default)]
struct Hold {
    lock: Option<Lock>,
    handoff: Option<Handoff>,
}

impl Hold {
    /// What is left of it at a moment.
    fn at(&self, now: Timestamp) -> Self {
        let lock = self.lock.clone().filter(|lock| lock.expires_at > now);
        let handoff = self.handoff.clone();
        let handoff = handoff.filter(|handoff| handoff.expires_at.is_none_or(|expires| expires > now));
        Self { lock, handoff }
    }

    fn is_empty(&self) -> bool {
        self.lock.is_none() && self.handoff.is_none()
    }
}

/// The locks and handoffs of all tabs. Expired ones count as none; no clock is needed to remove them.
#[derive(Debug, Default)]
pub struct Holds(Mutex<HashMap<TabId, Hold>>);

impl Holds {
    /// Whether a request that names this owner may change the tab now.
    pub fn check(&self, tab: &TabId, owner: Option<&str>, now: Timestamp) -> Result<(), HoldError> {
        let hold = self.get(tab, now);
        if let Some(Lock { owner: holder, expires_at }) = hold.lock
            && owner != Some(holder.as_str())
        {
            return Err(HoldError::Locked { tab: tab.clone(), owner: holder, expires_at });
        }
        match hold.handoff {
            Some(handoff) => Err(HoldError::Paused { tab: tab.clone(), handoff }),
            None => Ok(()),
        }
    }

    /// Locks a tab, or extends the owner's own lock.
    pub fn lock(&self, tab: &TabId, owner: &str, ttl: Duration, now: Timestamp) -> Result<Lock, HoldError> {
        let lock = Lock { owner: owner.to_owned(), expires_at: later(now, ttl) };
        let mut holds = self.holds();
        let mut hold = holds.get(tab).map(|hold| hold.at(now)).unwrap_or_default();
        if let Some(other) = hold.lock.filter(|lock| lock.owner != owner) {
            return Err(not_owner(tab, other, owner));
        }
        hold.lock = Some(lock.clone());
        insert(&mut holds, tab, hold, now)?;
        Ok(lock)
    }

    /// Gives a lock back; one that is not there is given back already.
    pub fn unlock(&self, tab: &TabId, owner: &str, now: Timestamp) -> Result<(), HoldError> {
        let mut holds = self.holds();
        let Some(mut hold) = holds.get(tab).map(|hold| hold.at(now)) else { return Ok(()) };
        if let Some(other) = hold.lock.take().filter(|lock| lock.owner != owner) {
            return Err(not_owner(tab, other, owner));
        }
        insert(&mut holds, tab, hold, now)
    }

    /// Pauses a tab for a person, for a time or until it is resumed.
    pub fn pause(
        &self,
        tab: &TabId,
        reason: &str,
        timeout: Option<Duration>,
        now: Timestamp,
    ) -> Result<Handoff, HoldError> {
        let expires_at = timeout.map(|timeout| later(now, timeout));
        let handoff = Handoff { reason: reason.to_owned(), paused_at: now, expires_at };
        let mut holds = self.holds();
        let hold = holds.get(tab).map(|hold| hold.at(now)).unwrap_or_default();
        insert(&mut holds, tab, Hold { handoff: Some(handoff.clone()), ..hold }, now)?;
        Ok(handoff)
    }

    /// Ends a handoff, if there is one.
    pub fn resume(&self, tab: &TabId, now: Timestamp) {
        let mut holds = self.holds();
        if let Some(hold) = holds.get(tab).map(|hold| hold.at(now)) {
            // Making an entry smaller never fails.
            let _ = insert(&mut holds, tab, Hold { handoff: None, ..hold }, now);
        }
    }

    /// The lock and the handoff of a tab now.
    pub fn of(&self, tab: &TabId, now: Timestamp) -> (Option<Lock>, Option<Handoff>) {
        let Hold { lock, handoff } = self.get(tab, now);
        (lock, handoff)
    }

    /// Forgets a tab that is gone.
    pub fn forget(&self, tab: &TabId) {
        self.holds().remove(tab);
    }

    fn get(&self, tab: &TabId, now: Timestamp) -> Hold {
        self.holds().get(tab).map(|hold| hold.at(now)).unwrap_or_default()
    }

    fn holds(&self) -> MutexGuard<'_, HashMap<TabId, Hold>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn insert(
    holds: &mut HashMap<TabId, Hold>,
    tab: &TabId,
    hold: Hold,
    now: Timestamp,
) -> Result<(), HoldError> {
    if hold.is_empty() {
        holds.remove(tab);
        return Ok(());
    }
    if holds.len() >= HOLDS_MAX && !holds.contains_key(tab) {
        holds.retain(|_, hold| !hold.at(now).is_empty());
        if holds.len() >= HOLDS_MAX {
            return Err(HoldError::TooMany);
        }
    }
    holds.insert(tab.clone(), hold);
    Ok(())
}

fn not_owner(tab: &TabId, lock: Lock, asked: &str) -> HoldError {
    HoldError::NotOwner { tab: tab.clone(), owner: lock.owner, asked: asked.to_owned() }
}

/// A moment after another; the end of time if that is later.
fn later(now: Timestamp, wait: Duration) -> Timestamp {
    now.checked_add(wait).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MINUTE: Duration = Duration::from_mins(1);

    #[test]
    fn a_lock_keeps_others_out_until_it_expires() {
        let (holds, tab, now) = (Holds::default(), TabId::new(), Timestamp::now());
        holds.lock(&tab, "a", MINUTE, now).unwrap();
        assert!(holds.check(&tab, Some("a"), now).is_ok());
        for owner in [None, Some("b")] {
            assert!(matches!(holds.check(&tab, owner, now), Err(HoldError::Locked { .. })));
        }
        assert!(matches!(holds.lock(&tab, "b", MINUTE, now), Err(HoldError::NotOwner { .. })));
        assert!(matches!(holds.unlock(&tab, "b", now), Err(HoldError::NotOwner { .. })));
        let then = now + MINUTE;
        assert!(holds.check(&tab, None, then).is_ok());
        assert!(holds.lock(&tab, "b", MINUTE, then).is_ok());
    }

    #[test]
    fn a_paused_tab_is_nobodys_until_it_is_resumed_or_the_pause_expires() {
        let (holds, tab, now) = (Holds::default(), TabId::new(), Timestamp::now());
        holds.lock(&tab, "a", 5 * MINUTE, now).unwrap();
        holds.pause(&tab, "captcha", Some(MINUTE), now).unwrap();
        assert!(matches!(holds.check(&tab, Some("a"), now), Err(HoldError::Paused { .. })));
        assert!(holds.check(&tab, Some("a"), now + MINUTE).is_ok());
        holds.pause(&tab, "again", None, now).unwrap();
        holds.resume(&tab, now);
        assert!(holds.check(&tab, Some("a"), now).is_ok());
        assert!(holds.of(&tab, now).0.is_some(), "the lock outlives the pause");
    }

    #[derive(Clone, Copy, Debug)]
    enum Step {
        Lock(bool),
        Unlock(bool),
        Wait(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            any::<bool>().prop_map(Step::Lock),
            any::<bool>().prop_map(Step::Unlock),
            (1u64..90).prop_map(Step::Wait),
        ]
    }

    proptest! {
        #[test]
        fn at_most_one_owner_may_change_a_tab_and_only_while_it_holds_the_lock(
            steps in proptest::collection::vec(step(), 0..40)
        ) {
            let (holds, tab) = (Holds::default(), TabId::new());
            let name = |first: bool| if first { "first" } else { "second" };
            let mut now = Timestamp::UNIX_EPOCH;
            let mut model: Option<(bool, Timestamp)> = None;
            for step in steps {
                model = model.filter(|(_, expires)| *expires > now);
                match step {
                    Step::Lock(who) => {
                        let free = model.is_none_or(|(holder, _)| holder == who);
                        prop_assert_eq!(holds.lock(&tab, name(who), MINUTE, now).is_ok(), free);
                        if free {
                            model = Some((who, now + MINUTE));
                        }
                    }
                    Step::Unlock(who) => {
                        let free = model.is_none_or(|(holder, _)| holder == who);
                        prop_assert_eq!(holds.unlock(&tab, name(who), now).is_ok(), free);
                        model = model.filter(|_| !free);
                    }
                    Step::Wait(secs) => now += Duration::from_secs(secs),
                }
                model = model.filter(|(_, expires)| *expires > now);
                for who in [true, false] {
                    let may = model.is_none_or(|(holder, _)| holder == who);
                    prop_assert_eq!(holds.check(&tab, Some(name(who)), now).is_ok(), may);
                }
                prop_assert_eq!(holds.check(&tab, None, now).is_ok(), model.is_none());
            }
        }
    }
}
