//! What a worker's seats share: the turns that they wait for, and the ledger that they write in.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc::SyncSender,
    },
    task::{Poll, Waker},
    time::Instant,
};

use tokio::sync::Notify;

use super::{
    Check, Pattern, Shared,
    ledger::{Ledger, Report},
    seat::Turn,
};
use crate::pacer::{Arrival, Clock, nanos};

/// How late the event loop's timer may be by its own steps: one of its wheel, one of the system call that it waits in.
const TIMER_STEPS_NS: u64 = 2_000_000;

/// Wakes a worker.
#[derive(Debug)]
pub(super) struct Bell(pub(super) Arc<Desk>);

impl Bell {
    /// Wakes the worker if it waits for arrivals; returns for how many it has seats.
    pub(super) fn ring_if_idle(&self) -> u64 {
        if self.0.hungry.swap(false, Ordering::SeqCst) {
            self.0.wake.notify_one();
            self.0.idle_count.load(Ordering::Relaxed).max(1)
        } else {
            0
        }
    }

    /// Wakes the worker.
    pub(super) fn ring(&self) {
        self.0.wake.notify_one();
    }
}

/// What the seats of a worker share. Only the worker's own thread locks it while operations run.
#[derive(Debug)]
pub(super) struct Desk {
    pub(super) shared: Arc<Shared>,
    pub(super) number: usize,
    workers: usize,
    keep_body: Vec<bool>,
    pub(super) checks: Vec<usize>,
    pub(super) own_status_check: Vec<bool>,
    clock: OnceLock<Clock>,
    pub(super) warm_up_ns: u64,
    state: Mutex<State>,
    wake: Notify,
    /// The thread sleeps with seats to spare. While it is awake, it looks for arrivals itself before it goes to sleep
    /// again, and the pacer saves waking it.
    hungry: AtomicBool,
    idle_count: AtomicU64,
}

pub(super) struct State {
    /// Seats that wait for a turn; the last is taken first, its connection is warm.
    idle: Vec<usize>,
    pub(super) places: Vec<Place>,
    /// Since when at least one seat has been waiting.
    available_ns: u64,
    pub(super) ledger: Box<Ledger>,
    /// `None` when the worker is done: the collector is, when nobody can report any more.
    pub(super) reports: Option<SyncSender<Report>>,
    pub(super) ended: bool,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State").field("idle", &self.idle.len()).finish_non_exhaustive()
    }
}

#[derive(Default)]
pub(super) struct Place {
    handed: Option<Turn>,
    waker: Option<Waker>,
    pub(super) current: Option<(usize, Turn, u64)>,
}

impl Desk {
    pub(super) fn new(
        number: usize,
        workers: usize,
        shared: Arc<Shared>,
        reports: SyncSender<Report>,
    ) -> Self {
        let steps = &shared.load.steps;
        let checks: Vec<usize> = steps.iter().map(|step| step.checks.len()).collect();
        let seats = seats_of(number, workers, &shared).count();
        let state = State {
            idle: Vec::with_capacity(seats),
            places: (0..seats).map(|_| Place::default()).collect(),
            available_ns: 0,
            ledger: Box::new(Ledger::new(number, 0, &checks)),
            reports: Some(reports),
            ended: false,
        };
        Self {
            keep_body: steps.iter().map(|step| step.checks.iter().any(Check::needs_body)).collect(),
            own_status_check: steps
                .iter()
                .map(|step| step.checks.iter().any(|check| matches!(check, Check::Status(_))))
                .collect(),
            warm_up_ns: nanos(shared.load.warm_up),
            shared,
            number,
            workers,
            checks,
            clock: OnceLock::new(),
            state: Mutex::new(state),
            wake: Notify::new(),
            hungry: AtomicBool::new(false),
            idle_count: AtomicU64::new(0),
        }
    }

    /// The clock of the run; before it began, one that stands at its start.
    pub(super) fn clock(&self) -> Clock {
        self.clock.get().copied().unwrap_or_else(|| Clock::starting_at(Instant::now()))
    }

    /// The numbers of its seats among all of the run.
    pub(super) fn seats(&self) -> impl Iterator<Item = usize> {
        seats_of(self.number, self.workers, &self.shared)
    }

    /// Starts the clock, once.
    pub(super) fn begin(&self, clock: Clock) {
        // Nobody else does.
        let _ = self.clock.set(clock);
    }

    pub(super) fn keeps_body(&self, step: usize) -> bool {
        self.keep_body.get(step).copied().unwrap_or_default()
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Waits for the next operation; `None` when there are no more. `free_ns`: when the seat's last one ended.
    pub(super) async fn next(&self, place: usize, free_ns: u64) -> Option<Turn> {
        match &self.shared.load.pattern {
            Pattern::Open(_) => self.next_arrival(place, free_ns).await,
            Pattern::Closed { think_time, duration, iterations, .. } => {
                let think_ns = if free_ns == 0 { 0 } else { nanos(*think_time) };
                let end_ns = duration.map(|duration| nanos(duration).saturating_add(self.warm_up_ns));
                self.next_thought(free_ns + think_ns, end_ns, *iterations).await
            }
        }
    }

    async fn next_thought(
        &self,
        mut due_ns: u64,
        end_ns: Option<u64>,
        iterations: Option<u64>,
    ) -> Option<Turn> {
        if end_ns.is_some_and(|end_ns| due_ns >= end_ns) || self.shared.stop.load(Ordering::Relaxed) {
            return None;
        }
        let clock = self.clock();
        if clock.now_ns() < due_ns || due_ns == 0 {
            let until = tokio::time::Instant::from_std(clock.instant_at(due_ns));
            tokio::select! {
                () = tokio::time::sleep_until(until) => {}
                () = self.shared.stopping.cancelled() => return None,
            }
            due_ns = due_after_thinking(due_ns, clock.now_ns());
        }
        let index = self.shared.next_index.fetch_add(1, Ordering::Relaxed);
        if iterations.is_some_and(|iterations| index >= iterations) {
            return None;
        }
        Some(Turn { arrival: Arrival { index, due_ns }, available_ns: due_ns })
    }

    async fn next_arrival(&self, place: usize, free_ns: u64) -> Option<Turn> {
        let mut waits = false;
        std::future::poll_fn(|context| {
            let mut state = self.state();
            if waits {
                if let Some(turn) = state.places.get_mut(place).and_then(|place| place.handed.take()) {
                    return Poll::Ready(Some(turn));
                }
                if state.ended {
                    return Poll::Ready(None);
                }
            } else {
                if self.shared.stop.load(Ordering::Relaxed) || state.ended {
                    return Poll::Ready(None);
                }
                let available_ns = if state.idle.is_empty() { free_ns } else { state.available_ns };
                if let Some(arrival) = self.shared.ring.claim() {
                    return Poll::Ready(Some(Turn { arrival, available_ns }));
                }
                if self.shared.ring.is_exhausted() {
                    return Poll::Ready(None);
                }
                waits = true;
                state.available_ns = available_ns;
                state.idle.push(place);
                self.idle_count.store(state.idle.len() as u64, Ordering::Relaxed);
            }
            if let Some(place) = state.places.get_mut(place) {
                place.waker = Some(context.waker().clone());
            }
            Poll::Pending
        })
        .await
    }

    /// Hands released arrivals to waiting seats, until there will be no more.
    pub(super) async fn hand_out(&self) {
        loop {
            self.wake.notified().await;
            let over = self.shared.stop.load(Ordering::SeqCst);
            let mut state = self.state();
            while !over && let Some(place) = state.idle.last().copied() {
                let Some(arrival) = self.shared.ring.claim() else { break };
                state.idle.pop();
                let turn = Turn { arrival, available_ns: state.available_ns };
                if let Some(place) = state.places.get_mut(place) {
                    place.handed = Some(turn);
                    place.waker.take().into_iter().for_each(Waker::wake);
                }
            }
            self.idle_count.store(state.idle.len() as u64, Ordering::Relaxed);
            if over || self.shared.ring.is_exhausted() {
                state.ended = true;
                state.places.iter_mut().filter_map(|place| place.waker.take()).for_each(Waker::wake);
                return;
            }
        }
    }

    /// Called by the event loop when there is nothing left to do, before it waits for the next event.
    pub(super) fn before_sleep(&self) {
        if self.idle_count.load(Ordering::Relaxed) > 0 {
            self.hungry.store(true, Ordering::SeqCst);
            // Released before the pacer could see that somebody sleeps.
            if self.shared.ring.waiting() > 0 {
                self.wake.notify_one();
            }
        }
    }

    /// Called by the event loop when there is something to do.
    pub(super) fn awoke(&self) {
        self.hungry.store(false, Ordering::SeqCst);
    }
}

/// Every worker has each so many-th seat.
fn seats_of(number: usize, workers: usize, shared: &Shared) -> impl Iterator<Item = usize> + use<> {
    (0..shared.load.seats()).filter(move |seat| seat % workers == number)
}

/// When a user's operation is due who wanted to think until one moment and was woken at another. What the timer's steps
/// add is thought, not waited for; whatever is later than that is the generator's own lag.
fn due_after_thinking(thought_ns: u64, woken_ns: u64) -> u64 {
    woken_ns.min(thought_ns.saturating_add(TIMER_STEPS_NS)).max(thought_ns)
}

/// What a panic left behind is as good as what it found.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_timers_steps_are_thought_and_what_is_later_is_lag() {
        assert_eq!(due_after_thinking(5_000_000, 5_900_000), 5_900_000);
        assert_eq!(due_after_thinking(5_000_000, 12_000_000), 5_000_000 + TIMER_STEPS_NS);
        assert_eq!(due_after_thinking(5_000_000, 4_000_000), 5_000_000);
    }
}
