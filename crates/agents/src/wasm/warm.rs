//! Which instances are kept: as many as there is room for, and the one that was idle for longest makes room.
//!
//! A hand goes round the instances. One that was used since the hand last passed is left; the next one is put aside:
//! its snapshot is taken, if it has any, and the instance is dropped. So using an instance costs one store, and finding
//! one to put aside is cheap however many there are.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use metrics::{counter, gauge};
use tokio::sync::{Notify, OwnedMutexGuard};

use super::{
    instance::Live,
    metrics::{AGENTS_WASM_INSTANCES, AGENTS_WASM_PARKED_TOTAL},
};

/// How long a turn waits for room while all instances are busy.
const ROOM_WAIT_MAX: Duration = Duration::from_secs(30);
/// The ring is cleared of what is gone when it has this many entries, or twice as many as were left last time.
const SWEEP_MIN: usize = 1_024;

/// One agent's place for an instance.
#[derive(Debug, Default)]
pub(super) struct Slot {
    /// Locked while a turn runs.
    pub(super) live: Arc<tokio::sync::Mutex<Option<Live>>>,
    used: AtomicBool,
    listed: AtomicBool,
    /// What the instance left when it was put aside.
    snapshot: Mutex<Option<Bytes>>,
}

impl Slot {
    pub(super) fn touch(&self) {
        self.used.store(true, Ordering::Relaxed);
    }

    pub(super) fn take_snapshot(&self) -> Option<Bytes> {
        self.snapshot.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

#[derive(Debug)]
pub(super) struct Warm {
    max: u32,
    used: AtomicU32,
    /// Turns that wait for room, woken when an instance goes or has nothing to do any more.
    waiting: AtomicUsize,
    freed: Notify,
    ring: Mutex<Ring>,
}

#[derive(Debug)]
struct Ring {
    /// The hand is at the front.
    slots: VecDeque<Weak<Slot>>,
    sweep_at: usize,
}

/// Room for the memories of one instance.
#[derive(Debug)]
pub(super) struct Room {
    warm: Arc<Warm>,
    memories: u32,
}

/// Counted while it waits, however that ends.
struct Waiting<'a>(&'a Warm);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::SeqCst);
        // What woke it may be for another: it may have been satisfied otherwise, or given up.
        self.0.idle();
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.warm.used.fetch_sub(self.memories, Ordering::AcqRel);
        self.warm.freed.notify_one();
    }
}

impl Warm {
    pub(super) fn new(max: u32) -> Arc<Self> {
        gauge!(AGENTS_WASM_INSTANCES, "kind" => "max").set(f64::from(max));
        let ring = Mutex::new(Ring { slots: VecDeque::new(), sweep_at: SWEEP_MIN });
        Arc::new(Self {
            max,
            used: AtomicU32::new(0),
            waiting: AtomicUsize::new(0),
            freed: Notify::new(),
            ring,
        })
    }

    fn ring(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Room for an instance; others make way for it. `None` when all of them were busy for too long.
    pub(super) async fn room(self: &Arc<Self>, memories: u32) -> Option<Room> {
        if let Some(room) = self.try_room(memories) {
            return Some(room);
        }
        self.waiting.fetch_add(1, Ordering::SeqCst);
        let _waiting = Waiting(self);
        tokio::time::timeout(ROOM_WAIT_MAX, async {
            loop {
                // Before the look, so that what is freed in between is noticed.
                let freed = self.freed.notified();
                if let Some(room) = self.try_room(memories) {
                    return room;
                }
                if !self.put_one_aside("bound").await {
                    freed.await;
                }
            }
        })
        .await
        .ok()
    }

    /// An instance has nothing to do now, and can be put aside.
    pub(super) fn idle(&self) {
        if self.waiting.load(Ordering::SeqCst) > 0 {
            self.freed.notify_one();
        }
    }

    fn try_room(self: &Arc<Self>, memories: u32) -> Option<Room> {
        // One that is larger than everything is let in alone.
        let fits = |used: u32| (used + memories <= self.max || used == 0).then_some(used + memories);
        self.used.fetch_update(Ordering::AcqRel, Ordering::Acquire, fits).ok()?;
        gauge!(AGENTS_WASM_INSTANCES, "kind" => "used").set(f64::from(self.used()));
        Some(Room { warm: Arc::clone(self), memories })
    }

    pub(super) fn used(&self) -> u32 {
        self.used.load(Ordering::Acquire)
    }

    /// From now on the slot may be asked to make way.
    pub(super) fn list(&self, slot: &Arc<Slot>) {
        if slot.listed.swap(true, Ordering::AcqRel) {
            return;
        }
        let mut ring = self.ring();
        ring.slots.push_back(Arc::downgrade(slot));
        if ring.slots.len() >= ring.sweep_at {
            ring.slots.retain(|slot| slot.strong_count() > 0);
            ring.sweep_at = (ring.slots.len() * 2).max(SWEEP_MIN);
        }
    }

    /// Puts aside the idle instance that was not used for longest, about. `false` when all are busy.
    pub(super) async fn put_one_aside(&self, reason: &'static str) -> bool {
        let Some((slot, mut live)) = self.victim() else { return false };
        // The lock is held until the snapshot is kept: the agent may want to go on in between.
        let snapshot = match live.as_mut() {
            Some(live) => live.snapshot().await,
            None => None,
        };
        *slot.snapshot.lock().unwrap_or_else(PoisonError::into_inner) = snapshot;
        *live = None;
        counter!(AGENTS_WASM_PARKED_TOTAL, "reason" => reason).increment(1);
        true
    }

    /// The instance at the hand, after those that were used since the hand passed.
    fn victim(&self) -> Option<(Arc<Slot>, OwnedMutexGuard<Option<Live>>)> {
        let mut ring = self.ring();
        // Twice round: the first may only find that all were used.
        for _ in 0..ring.slots.len() * 2 {
            let front = ring.slots.pop_front()?;
            let Some(slot) = front.upgrade() else { continue };
            if slot.used.swap(false, Ordering::Relaxed) {
                ring.slots.push_back(front);
                continue;
            }
            let Ok(live) = Arc::clone(&slot.live).try_lock_owned() else {
                ring.slots.push_back(front);
                continue;
            };
            // Also when there is none: it is listed again with its next instance.
            slot.listed.store(false, Ordering::Release);
            if live.is_some() {
                return Some((slot, live));
            }
        }
        None
    }
}
