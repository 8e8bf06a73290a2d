//! Offers a load and measures what comes of it.
//!
//! A few worker threads each run an event loop of their own with a share of the *seats* (places for one operation in
//! flight) and a ledger of their own; the pacer's thread releases arrivals. Once a second every worker sends its ledger
//! to the collector, which merges without loss: nothing is shared on the way of an operation but the ring of
//! arrivals, and memory stays constant however long the run.
//!
//! Three times are kept of every operation: `latency` from the moment it was *due*, `service` from the moment it was
//! sent, and `lag`, which is the generator's own part of the difference. An operation that was due while every seat was
//! taken waited for the target, not for the generator: that wait is in its latency, and in the extra `wait`.

mod check;
mod collect;
mod desk;
mod ledger;
mod notes;
mod seat;
mod worker;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc,
    },
    time::{Duration, Instant},
};

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

pub use self::check::Check;
use self::{
    collect::Collector,
    ledger::{Offered, Report},
    worker::Worker,
};
use crate::{
    driver::{Driver, Failure},
    pacer::{Clock, PacerReport, Release, Ring, nanos, pace},
    random,
    record::{CheckResult, Interval, StepRecord},
    schedule::Schedule,
    variables::Variables,
};

/// Most operations in flight.
pub const IN_FLIGHT_MAX: usize = 65_536;
/// Most threads of a generator.
pub const WORKERS_MAX: usize = 256;
/// How long opening the connections may take before the run begins without the rest.
const PREPARE_TIMEOUT: Duration = Duration::from_secs(15);
/// What the workers get beyond that to say so.
const PREPARE_GRACE: Duration = Duration::from_secs(5);
/// From the moment everything is open until the first operation is due.
const HEAD_START: Duration = Duration::from_millis(20);
/// How long operations in flight may still end when the run is interrupted.
const INTERRUPT_GRACE: Duration = Duration::from_secs(2);
/// Reports on their way to the collector.
const REPORTS_MAX: usize = 256;

/// When operations begin.
#[derive(Clone, Debug, PartialEq)]
pub enum Pattern {
    /// At the times of a schedule, whatever the target does.
    Open(Schedule),
    /// When one of so many users has its answer and has thought.
    Closed {
        /// How many users there are.
        users: usize,
        /// How long a user waits between an answer and the next operation.
        think_time: Duration,
        /// When no further operation begins.
        duration: Option<Duration>,
        /// How many operations there are at most, over all users.
        iterations: Option<u64>,
    },
}

/// One kind of operation.
#[derive(Clone, Debug)]
pub struct Step {
    /// Name in the record.
    pub name: String,
    /// Name of the driver in the record.
    pub driver_name: &'static str,
    /// How often it is chosen, against the other steps; at least 1.
    pub weight: u32,
    /// When an operation is given up, counted from its start.
    pub timeout: Duration,
    /// What has to hold of each answer.
    pub checks: Vec<Check>,
    /// Carries it out.
    pub driver: Arc<dyn Driver>,
}

/// A load to offer.
#[derive(Clone, Debug)]
pub struct Load {
    /// When operations begin.
    pub pattern: Pattern,
    /// What random numbers follow from.
    pub seed: u64,
    /// Most operations in flight; further ones wait, and their wait counts. For users it is their number.
    pub in_flight_max: usize,
    /// Threads that carry out operations.
    pub workers: usize,
    /// Time at the beginning that is not measured.
    pub warm_up: Duration,
    /// The run ends early when no operation succeeded for this long although some should have.
    pub abort_after: Duration,
    /// What to do; at least one step.
    pub steps: Vec<Step>,
    /// Values for the steps' templates.
    pub variables: Arc<Variables>,
}

/// What was measured.
#[derive(Clone, Debug)]
pub struct Measured {
    /// When the first operation was due.
    pub started_at: Timestamp,
    /// From then until the schedule was over and the last operation had ended, in seconds.
    pub duration_s: f64,
    /// One per step, in order.
    pub steps: Vec<StepRecord>,
    /// One per second; of a very long run, one per few seconds.
    pub intervals: Vec<Interval>,
    /// One per check, in the order of the steps.
    pub checks: Vec<CheckResult>,
    /// Figures that operations reported, by name, in the order they came.
    pub figures: std::collections::BTreeMap<String, Vec<f64>>,
    /// What the pacer measured of itself.
    pub pacer: PacerReport,
    /// Operations that had to wait because every seat was taken.
    pub waited: u64,
    /// Share of the run in which the generator's busiest thread did not sleep: near 1, it is the generator that is
    /// measured. Time in which it would have worked but had no processor counts.
    pub busy_ratio: f64,
    /// Why the run ended before its schedule did.
    pub partial: Option<String>,
}

/// A load that cannot be offered.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A value is out of its bounds.
    #[error("`{field}` is {value}; it must be between {min} and {max}")]
    OutOfRange {
        /// Which value.
        field: &'static str,
        /// What it is.
        value: u64,
        /// Smallest possible.
        min: u64,
        /// Largest possible.
        max: u64,
    },
    /// A closed load without an end.
    #[error("users need a `duration` or a number of `iterations`")]
    Endless,
    /// The target was not there before the run began; nothing was measured.
    #[error("the target cannot be reached, nothing was measured: {failure}")]
    Unreachable {
        /// What the first attempt met.
        failure: Failure,
    },
    /// The machine refuses threads.
    #[error("cannot start the generator's threads")]
    Threads {
        /// Why not.
        source: std::io::Error,
    },
}

/// Watches a run while it goes on.
pub trait Observer: Send {
    /// The first operation is due at this moment.
    fn started(&mut self, _at: Instant) {}

    /// A second is over. Called in order.
    fn interval(&mut self, _interval: &Interval) {}

    /// Called a few times a second, with the time since the start of the measured part and how long it will take, if
    /// that is known.
    fn progress(&mut self, _elapsed: Duration, _total: Option<Duration>) {}
}

/// Watches nothing.
impl Observer for () {}

/// What every thread of a run sees.
#[derive(Debug)]
struct Shared {
    load: Load,
    ring: Ring,
    /// Next index of a closed load.
    next_index: AtomicU64,
    /// No operation begins any more.
    stop: AtomicBool,
    /// As `stop`, for those who sleep.
    stopping: CancellationToken,
    /// Operations in flight are given up.
    cut: CancellationToken,
    /// Every thread is done with its operations.
    over: CancellationToken,
    /// Sums of the weights up to and with each step.
    weights: Vec<u64>,
    /// How far apart neighbours lie in the deck: prime to its size, so that all of it is gone through.
    stride: u64,
}

impl Load {
    /// A load with the usual bounds: one thread per two cores, 64 operations in flight, no warm-up.
    pub fn new(pattern: Pattern, steps: Vec<Step>) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get);
        Self {
            pattern,
            seed: 1,
            in_flight_max: 64,
            workers: cores.div_ceil(2),
            warm_up: Duration::ZERO,
            abort_after: Duration::from_secs(5),
            steps,
            variables: Arc::new(Variables::new(1)),
        }
    }

    /// Number of seats: operations in flight at most.
    pub fn seats(&self) -> usize {
        match &self.pattern {
            Pattern::Open(_) => self.in_flight_max,
            Pattern::Closed { users, .. } => *users,
        }
    }

    /// How long the measured part takes, if that is known before.
    pub fn duration(&self) -> Option<Duration> {
        match &self.pattern {
            Pattern::Open(schedule) => Some(schedule.duration()),
            Pattern::Closed { duration, .. } => *duration,
        }
    }

    /// Checks the bounds.
    pub fn validate(&self) -> Result<(), LoadError> {
        let field = match self.pattern {
            Pattern::Open(_) => "in_flight_max",
            Pattern::Closed { .. } => "users",
        };
        within(field, self.seats(), IN_FLIGHT_MAX)?;
        within("workers", self.workers, WORKERS_MAX)?;
        within("steps", self.steps.len(), 1_000)?;
        for step in &self.steps {
            within("weight", step.weight as usize, 1_000_000)?;
        }
        match &self.pattern {
            Pattern::Closed { duration: None, iterations: None, .. } => Err(LoadError::Endless),
            _ => Ok(()),
        }
    }
}

fn within(field: &'static str, value: usize, max: usize) -> Result<(), LoadError> {
    if (1..=max).contains(&value) {
        return Ok(());
    }
    Err(LoadError::OutOfRange { field, value: value as u64, min: 1, max: max as u64 })
}

/// Offers the load and returns what was measured. Blocks the calling thread until the run is over; cancelling `stop`
/// ends it early and keeps what was measured until then.
pub fn generate(
    load: Load,
    observer: &mut dyn Observer,
    stop: &CancellationToken,
) -> Result<Measured, LoadError> {
    load.validate()?;
    let shared = Arc::new(Shared::new(load));
    let (reports, incoming) = mpsc::sync_channel(REPORTS_MAX);
    let worker_count = shared.load.workers.min(shared.load.seats());
    let mut workers = Vec::with_capacity(worker_count);
    // Dropped before the workers, whose threads it lets end, whatever way leads out of here.
    let ending = Ending(Arc::clone(&shared));
    for number in 0..worker_count {
        let worker = Worker::start(number, worker_count, Arc::clone(&shared), reports.clone());
        workers.push(worker.map_err(|source| LoadError::Threads { source })?);
    }
    let prepared = prepare(&workers, stop);
    prepared.map_err(|failure| LoadError::Unreachable { failure })?;
    let origin = Instant::now() + HEAD_START;
    let started_at = Timestamp::now() + HEAD_START + shared.load.warm_up;
    let clock = Clock::starting_at(origin);
    for worker in &workers {
        worker.begin(clock);
    }
    observer.started(origin + shared.load.warm_up);
    let bells = workers.iter().map(Worker::bell).collect();
    let pacer =
        start_pacer(&shared, clock, bells, reports).map_err(|source| LoadError::Threads { source })?;
    let mut collector = Collector::new(&shared, clock, workers.len());
    collector.run(&incoming, observer, stop);
    drop(ending);
    drop(incoming);
    drop(workers);
    if let Some(pacer) = pacer {
        // The pacer does not panic; if it did, its arrivals are missing from the record, which says so.
        let _ = pacer.join();
    }
    Ok(collector.finish(started_at))
}

/// Ends every thread of a run.
struct Ending(Arc<Shared>);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.end();
        self.0.cut.cancel();
        self.0.over.cancel();
    }
}

/// Waits until every worker has opened its connections. An error only if not a single seat could.
fn prepare(workers: &[Worker], stop: &CancellationToken) -> Result<(), Failure> {
    let deadline = Instant::now() + PREPARE_TIMEOUT + PREPARE_GRACE;
    let mut first_failure = None;
    let mut reached = false;
    for worker in workers {
        match worker.prepared(deadline, stop) {
            Ok(()) => reached = true,
            Err(failure) => {
                first_failure.get_or_insert(failure);
            }
        }
    }
    match first_failure {
        Some(failure) if !reached => Err(failure),
        _ => Ok(()),
    }
}

fn start_pacer(
    shared: &Arc<Shared>,
    clock: Clock,
    bells: Vec<desk::Bell>,
    reports: mpsc::SyncSender<Report>,
) -> std::io::Result<Option<std::thread::JoinHandle<()>>> {
    let Pattern::Open(schedule) = &shared.load.pattern else { return Ok(None) };
    let arrivals = schedule.clone().with_warm_up(shared.load.warm_up).arrivals(shared.load.seed);
    let shared = Arc::clone(shared);
    let handle = std::thread::Builder::new().name("lab-pacer".to_owned()).spawn(move || {
        let warm_up_ns = nanos(shared.load.warm_up);
        let mut bellman = Bellman { bells, next: 0, warm_up_ns, offered: Offered::default(), reports };
        pace(arrivals, &shared.ring, clock, &shared.stop, &mut bellman);
        bellman.finish();
        // Whoever still sleeps has to see that nothing comes any more.
        bellman.bells.iter().for_each(desk::Bell::ring);
    })?;
    Ok(Some(handle))
}

/// The number prime to `total` that is nearest to its golden section: multiples of it are spread evenly.
fn stride_of(total: u64) -> u64 {
    let divisor = |mut a: u64, mut b: u64| {
        while b != 0 {
            (a, b) = (b, a % b);
        }
        a
    };
    let golden = (total as f64 * 0.618) as u64;
    (golden.max(1)..=total.max(1)).find(|stride| divisor(*stride, total) == 1).unwrap_or(1)
}

/// Wakes workers that wait for arrivals, and counts what was offered.
struct Bellman {
    bells: Vec<desk::Bell>,
    next: usize,
    warm_up_ns: u64,
    offered: Offered,
    reports: mpsc::SyncSender<Report>,
}

impl Bellman {
    /// Reports the second that is over and begins the one that a moment lies in.
    fn turn_to(&mut self, at_ns: u64) {
        let second = at_ns.saturating_sub(self.warm_up_ns) / ledger::NANOS_PER_SECOND;
        if second > self.offered.second {
            let begun = Offered { second, ..Offered::default() };
            // The collector is gone only when the run is over.
            let _ = self.reports.send(Report::Offered(std::mem::replace(&mut self.offered, begun)));
        }
    }

    fn finish(&mut self) {
        let _ = self.reports.send(Report::Offered(std::mem::take(&mut self.offered)));
        let _ = self.reports.send(Report::OfferedAll);
    }
}

impl Release for Bellman {
    fn released(&mut self, waiting: u64) {
        let mut uncovered = waiting;
        for _ in 0..self.bells.len() {
            if uncovered == 0 {
                break;
            }
            self.next = (self.next + 1) % self.bells.len();
            if let Some(bell) = self.bells.get(self.next) {
                uncovered = uncovered.saturating_sub(bell.ring_if_idle());
            }
        }
    }

    fn offered(&mut self, due_ns: u64, late_ns: u64) {
        if due_ns < self.warm_up_ns {
            return;
        }
        self.turn_to(due_ns);
        self.offered.count += 1;
        self.offered.lag.record_ns(late_ns);
    }

    fn nothing_due_before(&mut self, at_ns: u64) {
        self.turn_to(at_ns);
    }
}

// === impl Shared ===

impl Shared {
    fn new(load: Load) -> Self {
        let mut sum = 0;
        let weights = load
            .steps
            .iter()
            .map(|step| {
                sum += u64::from(step.weight);
                sum
            })
            .collect::<Vec<_>>();
        Self {
            load,
            ring: Ring::default(),
            next_index: AtomicU64::new(0),
            stop: AtomicBool::new(false),
            stopping: CancellationToken::new(),
            cut: CancellationToken::new(),
            over: CancellationToken::new(),
            weights,
            stride: stride_of(sum),
        }
    }

    /// Lets no operation begin any more.
    fn end(&self) {
        self.stop.store(true, Ordering::SeqCst);
        self.stopping.cancel();
    }

    /// Which step an operation is, and the same for the same seed. Of as many operations in a row as the weights sum up
    /// to, each step has its share exactly, spread out: like a deck of cards that is cut anew for every round.
    fn step_of(&self, index: u64) -> usize {
        let Some(&total) = self.weights.last().filter(|total| **total > 0) else { return 0 };
        let (round, place) = (index / total, index % total);
        let cut = random::at(self.load.seed, round) % total;
        let drawn = (place * self.stride + cut) % total;
        self.weights.partition_point(|sum| *sum <= drawn)
    }
}
