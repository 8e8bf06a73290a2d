//! Releases arrivals at their due time: one thread that does nothing else.
//!
//! The thread sleeps until shortly before the next arrival is due and yields through the rest, so it is precise without
//! occupying a core that the target needs. Arrivals that came due while it slept are released together; an arrival is
//! never released early, and a late one does not move those after it. Released arrivals stand in a ring of fixed size
//! from which workers claim with one compare-and-swap. When the ring is full, because every worker is busy, arrivals
//! keep their due time and wait: nothing is dropped, and their wait is part of their latency.

use std::{
    fs,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::{Duration, Instant},
};

use crate::{histogram::Histogram, schedule::Arrivals};

/// Arrivals that may be released and not yet claimed.
const RING_SIZE: u64 = 1 << 16;
/// Arrivals that follow each other faster than this on average are released together, every [`QUANTUM`], so that a high
/// rate does not cost a context switch per arrival: on a machine that the target shares, those would be taken from it.
const DENSE: Duration = Duration::from_micros(40);
const QUANTUM: Duration = Duration::from_micros(100);
/// Longest time before the pacer looks whether it has to stop.
const NAP_MAX: Duration = Duration::from_millis(20);
/// How long the pacer waits for room in a full ring before it looks again.
const FULL_NAP: Duration = Duration::from_micros(200);
/// The pacer wakes at most this much before an arrival is due, and yields for the rest.
const HEAD_START_MAX: Duration = Duration::from_micros(60);
/// The head start is at most this share of the gap between two arrivals: what the pacer may burn of a core.
const HEAD_START_SHARE: u32 = 16;
/// Arrivals that are released between two looks at the clock.
const BATCH_MAX: u64 = 512;
/// Niceness of the pacer where that is permitted: it runs for microseconds at a time, and late is wrong.
const NICENESS: i32 = -15;

/// Nanoseconds since the run began.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    origin: Instant,
}

impl Clock {
    /// A clock that counts from this moment, which may lie ahead.
    pub(crate) fn starting_at(origin: Instant) -> Self {
        Self { origin }
    }

    /// Nanoseconds since the origin; 0 before it.
    pub(crate) fn now_ns(self) -> u64 {
        self.ns_at(Instant::now())
    }

    /// Nanoseconds between the origin and that moment; 0 before it.
    pub(crate) fn ns_at(self, moment: Instant) -> u64 {
        nanos(moment.saturating_duration_since(self.origin))
    }

    /// How long it is until the origin; nothing after it.
    fn ahead(self) -> Duration {
        self.origin.saturating_duration_since(Instant::now())
    }

    /// The moment that lies so many nanoseconds after the origin.
    pub(crate) fn instant_at(self, at_ns: u64) -> Instant {
        self.origin + Duration::from_nanos(at_ns)
    }
}

/// A duration in nanoseconds; saturates after 584 years.
pub(crate) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// One operation that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Arrival {
    /// Its place in the schedule, counted from 0.
    pub(crate) index: u64,
    /// When it is due.
    pub(crate) due_ns: u64,
}

/// Keeps what one side writes out of the cache lines that the other side reads.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Apart<T>(T);

/// Released arrivals that no worker has claimed yet. One pacer releases, any number of workers claim.
#[derive(Debug)]
pub(crate) struct Ring {
    due_ns: Box<[AtomicU64]>,
    released: Apart<AtomicU64>,
    claimed: Apart<AtomicU64>,
    closed: Apart<AtomicBool>,
}

impl Default for Ring {
    fn default() -> Self {
        Self {
            due_ns: (0..RING_SIZE).map(|_| AtomicU64::new(0)).collect(),
            released: Apart::default(),
            claimed: Apart::default(),
            closed: Apart::default(),
        }
    }
}

impl Ring {
    fn place(&self, index: u64) -> Option<&AtomicU64> {
        self.due_ns.get((index % RING_SIZE) as usize)
    }

    /// Takes the arrival that is due longest.
    pub(crate) fn claim(&self) -> Option<Arrival> {
        let mut index = self.claimed.0.load(Ordering::Relaxed);
        while index < self.released.0.load(Ordering::Acquire) {
            // The place is read before the claim: once it succeeds, the pacer may write there again. If the pacer
            // already has, `claimed` has moved on and the exchange fails.
            let due_ns = self.place(index)?.load(Ordering::Acquire);
            match self.claimed.0.compare_exchange_weak(index, index + 1, Ordering::AcqRel, Ordering::Relaxed)
            {
                Ok(_) => return Some(Arrival { index, due_ns }),
                Err(current) => index = current,
            }
        }
        None
    }

    /// Released arrivals that nobody has claimed.
    pub(crate) fn waiting(&self) -> u64 {
        self.released.0.load(Ordering::Acquire).saturating_sub(self.claimed.0.load(Ordering::Acquire))
    }

    /// Whether nothing is to come: the pacer is done, and everything it released was claimed.
    pub(crate) fn is_exhausted(&self) -> bool {
        self.closed.0.load(Ordering::Acquire) && self.waiting() == 0
    }

    fn has_room(&self, index: u64) -> bool {
        index - self.claimed.0.load(Ordering::Acquire) < RING_SIZE
    }

    /// Writes an arrival that [`Ring::publish`] will show to the workers.
    fn stage(&self, index: u64, due_ns: u64) {
        if let Some(place) = self.place(index) {
            place.store(due_ns, Ordering::Release);
        }
    }

    fn publish(&self, released: u64) {
        self.released.0.store(released, Ordering::SeqCst);
    }
}

/// What the pacer tells while it runs.
pub(crate) trait Release: Send {
    /// So many arrivals were released and wait in the ring: somebody should claim them.
    fn released(&mut self, waiting: u64);

    /// An arrival was offered, and released so long after it was due.
    fn offered(&mut self, due_ns: u64, late_ns: u64);

    /// Everything that was due before this moment has been offered. Called every few milliseconds.
    fn nothing_due_before(&mut self, _at_ns: u64) {}
}

/// Releases every arrival at its time; returns when all are released, or soon after `stop` is set.
pub(crate) fn pace(
    arrivals: Arrivals,
    ring: &Ring,
    clock: Clock,
    stop: &AtomicBool,
    release: &mut dyn Release,
) {
    sharpen();
    await_origin(clock, stop);
    let mut pacer = Pacer {
        ring,
        clock,
        released: 0,
        next: 0,
        spacing_ns: u64::MAX / 8,
        last_due_ns: 0,
        overslept_ns: 0,
        was_full: false,
    };
    let mut due = arrivals.map(nanos).peekable();
    while let Some(next_ns) = due.peek().copied() {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let now_ns = clock.now_ns();
        if next_ns > now_ns {
            release.nothing_due_before(now_ns);
            pacer.sleep_until(next_ns, now_ns);
            continue;
        }
        pacer.release_due(&mut due, now_ns, release);
        release.released(ring.waiting());
        if pacer.was_full {
            std::thread::sleep(FULL_NAP);
        }
    }
    ring.closed.0.store(true, Ordering::SeqCst);
    release.released(ring.waiting());
}

/// Until its origin the clock stands at 0: what is due then would be released while the run has not begun.
fn await_origin(clock: Clock, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        let ahead = clock.ahead();
        if ahead.is_zero() {
            break;
        }
        std::thread::sleep(ahead.min(NAP_MAX));
    }
}

struct Pacer<'a> {
    ring: &'a Ring,
    clock: Clock,
    released: u64,
    next: u64,
    /// Moving average of the time from one arrival to the next.
    spacing_ns: u64,
    last_due_ns: u64,
    /// Moving average of how much longer than asked a sleep took.
    overslept_ns: u64,
    was_full: bool,
}

impl Pacer<'_> {
    /// Releases what is due at `now_ns`, as far as the ring has room.
    fn release_due(
        &mut self,
        due: &mut std::iter::Peekable<impl Iterator<Item = u64>>,
        now_ns: u64,
        release: &mut dyn Release,
    ) {
        let blocked_before = std::mem::take(&mut self.was_full);
        let batch_end = self.next + BATCH_MAX;
        while self.next < batch_end {
            if !self.ring.has_room(self.next) {
                self.was_full = true;
                break;
            }
            let Some(due_ns) = due.next_if(|due_ns| *due_ns <= now_ns) else { break };
            self.ring.stage(self.next, due_ns);
            self.spacing_ns = (self.spacing_ns * 7 + (due_ns - self.last_due_ns)) / 8;
            self.last_due_ns = due_ns;
            // Behind a full ring an arrival waits for the target, not for the pacer.
            release.offered(due_ns, if blocked_before { 0 } else { now_ns - due_ns });
            self.next += 1;
        }
        self.released = self.next;
        self.ring.publish(self.released);
    }

    /// Sleeps until shortly before `next_ns`, then yields; among dense arrivals, for at least a [`QUANTUM`].
    fn sleep_until(&mut self, next_ns: u64, now_ns: u64) {
        let shortest = if self.spacing_ns < nanos(DENSE) { QUANTUM } else { Duration::ZERO };
        let gap_ns = (next_ns - now_ns).max(nanos(shortest));
        if gap_ns > nanos(NAP_MAX) {
            std::thread::sleep(NAP_MAX / 2);
            return;
        }
        let head_start_ns =
            self.overslept_ns.min(nanos(HEAD_START_MAX)).min(gap_ns / u64::from(HEAD_START_SHARE));
        let asked_ns = gap_ns - head_start_ns;
        std::thread::sleep(Duration::from_nanos(asked_ns));
        let woke_ns = self.clock.now_ns();
        let overslept_ns = woke_ns.saturating_sub(now_ns + asked_ns);
        self.overslept_ns = (self.overslept_ns * 7 + overslept_ns) / 8;
        while self.clock.now_ns() < next_ns {
            std::thread::yield_now();
        }
    }
}

/// Makes the timers of the calling thread as precise, and its priority as high, as the system permits. Best effort:
/// without the permission the pacer is less precise, and its recorded lag says so.
fn sharpen() {
    if let Ok(thread) = fs::read_link("/proc/thread-self")
        && let Some(tid) = thread.file_name().and_then(|name| name.to_str())
    {
        let _ = fs::write(format!("/proc/{tid}/timerslack_ns"), "1");
        if let Some(tid) = tid.parse().ok().and_then(rustix::process::Pid::from_raw) {
            // On Linux this is the priority of one thread, whatever the function is called.
            let _ = rustix::process::setpriority_process(Some(tid), NICENESS);
        }
    }
}

/// What the pacer measured of itself.
#[derive(Clone, Debug, Default)]
pub struct PacerReport {
    /// From the moment an arrival was due until it was released to the workers.
    pub lag: Histogram,
    /// Arrivals released.
    pub offered: u64,
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::schedule::Schedule;

    #[derive(Default)]
    struct Tally {
        lag: Histogram,
    }

    impl Release for Tally {
        fn released(&mut self, _: u64) {}

        fn offered(&mut self, _: u64, late_ns: u64) {
            self.lag.record_ns(late_ns);
        }
    }

    fn claim_all(ring: &Ring, clock: Clock) -> Vec<(Arrival, u64)> {
        let mut claimed = Vec::new();
        while !ring.is_exhausted() {
            match ring.claim() {
                Some(arrival) => claimed.push((arrival, clock.now_ns())),
                None => std::thread::yield_now(),
            }
        }
        claimed
    }

    #[test]
    fn every_arrival_is_claimed_once_in_order_and_never_before_it_is_due() {
        let schedule = Schedule::poisson(20_000.0, Duration::from_millis(300)).unwrap();
        let expected: Vec<u64> = schedule.arrivals(3).map(nanos).collect();
        let ring = Arc::new(Ring::default());
        let clock = Clock::starting_at(Instant::now());
        let mut tally = Tally::default();
        let mut claimed: Vec<(Arrival, u64)> = std::thread::scope(|scope| {
            let claimers: Vec<_> = (0..3)
                .map(|_| {
                    let ring = Arc::clone(&ring);
                    scope.spawn(move || claim_all(&ring, clock))
                })
                .collect();
            pace(schedule.arrivals(3), &ring, clock, &AtomicBool::new(false), &mut tally);
            claimers.into_iter().flat_map(|claimer| claimer.join().unwrap()).collect()
        });
        claimed.sort_unstable_by_key(|(arrival, _)| arrival.index);
        assert!(claimed.iter().enumerate().all(|(index, (arrival, _))| arrival.index == index as u64));
        assert!(claimed.iter().map(|(arrival, _)| arrival.due_ns).eq(expected));
        assert!(claimed.iter().all(|(arrival, at_ns)| *at_ns >= arrival.due_ns), "claimed before due");
        assert_eq!(tally.lag.count(), claimed.len() as u64);
    }

    #[test]
    fn what_is_due_at_once_waits_for_a_run_that_has_not_begun() {
        let schedule = Schedule::burst(3, Duration::from_secs(1), Duration::from_secs(1)).unwrap();
        let ring = Ring::default();
        let clock = Clock::starting_at(Instant::now() + Duration::from_millis(50));
        let claimed = std::thread::scope(|scope| {
            let claimer = scope.spawn(|| {
                let mut before_origin = Vec::new();
                while !ring.is_exhausted() {
                    match ring.claim() {
                        Some(_) => before_origin.push(!clock.ahead().is_zero()),
                        None => std::thread::yield_now(),
                    }
                }
                before_origin
            });
            pace(schedule.arrivals(1), &ring, clock, &AtomicBool::new(false), &mut Tally::default());
            claimer.join().unwrap()
        });
        assert_eq!(claimed, [false; 3], "released before the run began");
    }

    #[test]
    fn a_full_ring_holds_arrivals_back_and_loses_none() {
        let total = RING_SIZE * 2 + 17;
        let schedule = Schedule::burst(total, Duration::from_secs(1), Duration::from_secs(1)).unwrap();
        let ring = Ring::default();
        let clock = Clock::starting_at(Instant::now());
        let claimed = std::thread::scope(|scope| {
            let pacer = scope.spawn(|| {
                pace(schedule.arrivals(1), &ring, clock, &AtomicBool::new(false), &mut Tally::default());
            });
            while ring.waiting() < RING_SIZE {
                std::thread::yield_now();
            }
            let claimed = claim_all(&ring, clock);
            pacer.join().unwrap();
            claimed
        });
        assert_eq!(claimed.len() as u64, total);
        assert!(claimed.iter().all(|(arrival, _)| arrival.due_ns == 0));
    }

    #[test]
    fn a_pacer_that_is_told_to_stop_offers_nothing_more() {
        let schedule = Schedule::constant(10.0, Duration::from_hours(1)).unwrap();
        let ring = Ring::default();
        let stop = AtomicBool::new(true);
        let clock = Clock::starting_at(Instant::now());
        pace(schedule.arrivals(1), &ring, clock, &stop, &mut Tally::default());
        assert!(ring.is_exhausted());
    }
}
