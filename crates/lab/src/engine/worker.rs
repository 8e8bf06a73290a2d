//! A thread with an event loop of its own, a share of the seats, and a ledger.

use std::{
    io,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    task::{Poll, Waker},
    time::{Duration, Instant},
};

use futures_util::StreamExt as _;
use tokio::{
    runtime::RuntimeMetrics,
    sync::{Notify, oneshot},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

use super::{
    PREPARE_TIMEOUT, Pattern, Shared,
    ledger::{Ledger, NANOS_PER_SECOND, Report, Tally},
    seat::{Turn, occupy},
};
use crate::{
    driver::{Failure, Outcome, Seat, Session},
    pacer::{Arrival, Clock, nanos},
};

/// Connections that a worker opens at the same time.
const PREPARE_PARALLEL_MAX: usize = 64;
/// How late the event loop's timer may be by its own steps: one of its wheel, one of the system call that it waits in.
const TIMER_STEPS_NS: u64 = 2_000_000;
/// Figures that are kept of one second; operations that report some are slow.
const FIGURES_MAX: usize = 10_000;

/// The handle of a worker's thread. Dropping it waits for the thread.
#[derive(Debug)]
pub(super) struct Worker {
    desk: Arc<Desk>,
    begin: Mutex<Option<oneshot::Sender<Clock>>>,
    prepared: Mutex<Receiver<Result<(), Failure>>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Worker {
    /// Starts the thread, which opens its connections and then waits for [`Worker::begin`].
    pub(super) fn start(
        number: usize,
        workers: usize,
        shared: Arc<Shared>,
        reports: SyncSender<Report>,
    ) -> io::Result<Self> {
        let desk = Arc::new(Desk::new(number, workers, shared, reports));
        let (parking, unparking) = (Arc::clone(&desk), Arc::clone(&desk));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .on_thread_park(move || parking.before_sleep())
            .on_thread_unpark(move || unparking.hungry.store(false, Ordering::SeqCst))
            .build()?;
        let (begin, begun) = oneshot::channel();
        let (tell_prepared, prepared) = sync_channel(1);
        let thread = std::thread::Builder::new().name(format!("lab-worker-{number}")).spawn({
            let desk = Arc::clone(&desk);
            move || {
                let closing = Closing(Arc::clone(&desk));
                let shared = Arc::clone(&desk.shared);
                runtime.block_on(run(desk, runtime.metrics(), tell_prepared, begun));
                drop(closing);
                // Seats of other workers may still use a connection that is read here.
                runtime.block_on(shared.over.cancelled());
                // What an operation left on a blocking thread must not hold up the end of the run.
                runtime.shutdown_timeout(Duration::from_secs(1));
            }
        })?;
        Ok(Self {
            desk,
            begin: Mutex::new(Some(begin)),
            prepared: Mutex::new(prepared),
            thread: Some(thread),
        })
    }

    /// Waits until the worker's connections are open. The first failure if none could be opened.
    pub(super) fn prepared(&self, deadline: Instant, stop: &CancellationToken) -> Result<(), Failure> {
        let prepared = lock(&self.prepared);
        loop {
            let nap = Duration::from_millis(50).min(deadline.saturating_duration_since(Instant::now()));
            match prepared.recv_timeout(nap) {
                Ok(result) => return result,
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(Failure::new("generator", "a thread of the generator ended early"));
                }
                Err(RecvTimeoutError::Timeout) if stop.is_cancelled() => {
                    return Err(Failure::new("interrupted", "interrupted while connecting"));
                }
                Err(RecvTimeoutError::Timeout) if Instant::now() >= deadline => {
                    return Err(Failure::new("connect-timeout", "the target does not accept connections"));
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }

    /// Lets the worker begin.
    pub(super) fn begin(&self, clock: Clock) {
        if let Some(begin) = lock(&self.begin).take() {
            // A worker that is gone says so by its missing ledger.
            let _ = begin.send(clock);
        }
    }

    pub(super) fn bell(&self) -> Bell {
        Bell(Arc::clone(&self.desk))
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        lock(&self.begin).take();
        if let Some(thread) = self.thread.take() {
            // A panic of the thread was printed; the run lacks its ledgers.
            let _ = thread.join();
        }
    }
}

/// When a user's operation is due who wanted to think until one moment and was woken at another. What the timer's steps
/// add is thought, not waited for; whatever is later than that is the generator's own lag.
fn due_after_thinking(thought_ns: u64, woken_ns: u64) -> u64 {
    woken_ns.min(thought_ns.saturating_add(TIMER_STEPS_NS)).max(thought_ns)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Wakes a worker.
#[derive(Debug)]
pub(super) struct Bell(Arc<Desk>);

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
    number: usize,
    workers: usize,
    keep_body: Vec<bool>,
    checks: Vec<usize>,
    own_status_check: Vec<bool>,
    clock: OnceLock<Clock>,
    warm_up_ns: u64,
    state: Mutex<State>,
    wake: Notify,
    /// The thread sleeps with seats to spare. While it is awake, it looks for arrivals itself before it goes to sleep
    /// again, and the pacer saves waking it.
    hungry: AtomicBool,
    idle_count: AtomicU64,
}

struct State {
    /// Seats that wait for a turn; the last is taken first, its connection is warm.
    idle: Vec<usize>,
    places: Vec<Place>,
    /// Since when at least one seat has been waiting.
    available_ns: u64,
    ledger: Box<Ledger>,
    /// `None` when the worker is done: the collector is, when nobody can report any more.
    reports: Option<SyncSender<Report>>,
    ended: bool,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State").field("idle", &self.idle.len()).finish_non_exhaustive()
    }
}

#[derive(Default)]
struct Place {
    handed: Option<Turn>,
    waker: Option<Waker>,
    current: Option<(usize, Turn, u64)>,
}

impl Desk {
    fn new(number: usize, workers: usize, shared: Arc<Shared>, reports: SyncSender<Report>) -> Self {
        use super::Check;
        let steps = &shared.load.steps;
        let checks: Vec<usize> = steps.iter().map(|step| step.checks.len()).collect();
        let seats = (0..shared.load.seats()).filter(|seat| seat % workers == number).count();
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

    pub(super) fn keeps_body(&self, step: usize) -> bool {
        self.keep_body.get(step).copied().unwrap_or_default()
    }

    fn state(&self) -> MutexGuard<'_, State> {
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
    async fn hand_out(&self) {
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
    fn before_sleep(&self) {
        if self.idle_count.load(Ordering::Relaxed) > 0 {
            self.hungry.store(true, Ordering::SeqCst);
            // Released before the pacer could see that somebody sleeps.
            if self.shared.ring.waiting() > 0 {
                self.wake.notify_one();
            }
        }
    }

    /// Notes that an operation begins.
    pub(super) fn began(&self, place: usize, step: usize, turn: Turn, begin_ns: u64) {
        let mut state = self.state();
        state.ledger.begun += 1;
        if let Some(place) = state.places.get_mut(place) {
            place.current = Some((step, turn, begin_ns));
        }
    }

    /// Notes what came of an operation.
    pub(super) fn ended(
        &self,
        place: usize,
        step: usize,
        turn: Turn,
        begin_ns: u64,
        end_ns: u64,
        outcome: Outcome,
    ) {
        let mut state = self.state();
        if let Some(place) = state.places.get_mut(place) {
            place.current = None;
        }
        self.note(&mut state, step, turn, begin_ns, end_ns, outcome);
    }

    fn note(
        &self,
        state: &mut State,
        step: usize,
        turn: Turn,
        begin_ns: u64,
        end_ns: u64,
        mut outcome: Outcome,
    ) {
        self.turn_page(state, end_ns);
        let ledger = &mut *state.ledger;
        ledger.last_ns = ledger.last_ns.max(end_ns);
        match &outcome.failure {
            None => {
                ledger.succeeded += 1;
                ledger.failing_ns = None;
            }
            Some(failure) => {
                ledger.last_failure = Some(failure.detail.clone());
                let (first_ns, _) = ledger.failing_ns.unwrap_or((end_ns, end_ns));
                ledger.failing_ns = Some((first_ns, end_ns));
            }
        }
        if turn.arrival.due_ns < self.warm_up_ns {
            return;
        }
        if ledger.figures.len() < FIGURES_MAX {
            ledger.figures.append(&mut outcome.figures);
        }
        let Some(tally) = ledger.steps.get_mut(step) else { return };
        let ready_ns = turn.available_ns.max(turn.arrival.due_ns);
        let latency_ns = end_ns.saturating_sub(turn.arrival.due_ns);
        tally.begun += 1;
        tally.latency.record_ns(latency_ns);
        tally.service.record_ns(end_ns.saturating_sub(begin_ns));
        tally.lag.record_ns(begin_ns.saturating_sub(ready_ns));
        if ready_ns > turn.arrival.due_ns {
            tally.waited += 1;
            tally.extra("wait").record_ns(ready_ns - turn.arrival.due_ns);
        }
        for extra in &outcome.extra {
            let before_ns = if extra.from_start { begin_ns.saturating_sub(turn.arrival.due_ns) } else { 0 };
            tally.extra(extra.name).record_ns(nanos(extra.time).saturating_add(before_ns));
        }
        self.judge(tally, step, latency_ns, outcome);
    }

    /// Counts the operation's error, or evaluates its checks.
    fn judge(&self, tally: &mut Tally, number: usize, latency_ns: u64, outcome: Outcome) {
        if let Some(failure) = outcome.failure {
            tally.count_error(failure.kind, Some(failure.detail));
            return;
        }
        let Some(step) = self.shared.load.steps.get(number) else { return };
        let judges_status = self.own_status_check.get(number).copied().unwrap_or_default();
        let refusal = outcome.refusal.clone().filter(|_| !judges_status);
        let mut violation = None;
        for (check, counts) in step.checks.iter().zip(&mut tally.checks) {
            match check.violation(&outcome, Duration::from_nanos(latency_ns)) {
                None => counts.passed += 1,
                Some(seen) => {
                    counts.failed += 1;
                    violation.get_or_insert_with(|| format!("not so: {check}; {seen}"));
                    counts.example.get_or_insert(seen);
                }
            }
        }
        match (refusal, violation) {
            (Some(kind), _) => {
                let detail = outcome.detail.unwrap_or_else(|| kind.to_string());
                tally.count_error(kind, Some(detail));
            }
            (None, Some(violation)) => tally.count_error("check".into(), Some(violation)),
            (None, None) => tally.success.passed += 1,
        }
    }

    /// Sends the ledger of a second that is over.
    fn turn_page(&self, state: &mut State, now_ns: u64) {
        let second = now_ns.saturating_sub(self.warm_up_ns) / NANOS_PER_SECOND;
        if second > state.ledger.second {
            let fresh = Box::new(Ledger::new(self.number, second, &self.checks));
            let full = std::mem::replace(&mut state.ledger, fresh);
            if let Some(reports) = &state.reports {
                // The collector is gone only when the run is over.
                let _ = reports.send(Report::Ledger(full));
            }
        }
    }

    /// Turns the page also while no operation ends.
    async fn tick(&self) {
        let clock = self.clock();
        loop {
            let now_ns = clock.now_ns();
            let elapsed_ns = now_ns.saturating_sub(self.warm_up_ns);
            let next_ns = self.warm_up_ns + (elapsed_ns / NANOS_PER_SECOND + 1) * NANOS_PER_SECOND;
            tokio::time::sleep_until(tokio::time::Instant::from_std(clock.instant_at(next_ns))).await;
            self.turn_page(&mut self.state(), clock.now_ns());
        }
    }

    /// Notes every operation in flight as unfinished.
    fn abandon(&self) {
        let now_ns = self.clock().now_ns();
        let mut state = self.state();
        for index in 0..state.places.len() {
            let current = state.places.get_mut(index).and_then(|place| place.current.take());
            if let Some((step, turn, begin_ns)) = current {
                let failure = Failure::new("unfinished", "the run ended before the answer came");
                self.note(&mut state, step, turn, begin_ns, now_ns, Outcome::failed(failure));
            }
        }
    }

    /// Sends the last ledger.
    fn close(&self) {
        let mut state = self.state();
        state.ended = true;
        let fresh = Box::new(Ledger::new(self.number, u64::MAX, &self.checks));
        let last = std::mem::replace(&mut state.ledger, fresh);
        if let Some(reports) = state.reports.take() {
            let _ = reports.send(Report::Ledger(last));
        }
    }
}

/// Sends the last ledger when the thread ends, also by a panic.
struct Closing(Arc<Desk>);

impl Drop for Closing {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// The life of a worker.
async fn run(
    desk: Arc<Desk>,
    metrics: RuntimeMetrics,
    tell_prepared: SyncSender<Result<(), Failure>>,
    begun: oneshot::Receiver<Clock>,
) {
    let shared = Arc::clone(&desk.shared);
    let seats = (0..shared.load.seats()).filter(|seat| seat % desk.workers == desk.number);
    let sessions: Vec<Vec<Box<dyn Session>>> = seats
        .map(|number| shared.load.steps.iter().map(|step| step.driver.session(Seat { number })).collect())
        .collect();
    let (sessions, result) = prepare(sessions, PREPARE_TIMEOUT, &shared.cut).await;
    if tell_prepared.send(result).is_err() {
        return;
    }
    let Ok(clock) = begun.await else { return };
    // Set once: nobody else does.
    let _ = desk.clock.set(clock);
    let busy_before = metrics.worker_total_busy_duration(0);
    let mut seats = JoinSet::new();
    for (place, sessions) in sessions.into_iter().enumerate() {
        seats.spawn(occupy(Arc::clone(&desk), place, sessions));
    }
    let hand_out = async {
        desk.hand_out().await;
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = async { while seats.join_next().await.is_some() {} } => {}
        () = hand_out => {}
        () = desk.tick() => {}
        () = shared.cut.cancelled() => {}
    }
    // Nothing is left after the first; after the last, operations are given up.
    seats.shutdown().await;
    desk.abandon();
    desk.state().ledger.busy = metrics.worker_total_busy_duration(0).saturating_sub(busy_before);
}

/// Opens what can be opened within the time; the first failure if nothing could. What is not open then, because the
/// target accepts and says nothing, is given up: the operation that needs it opens it itself, under its own deadline.
async fn prepare(
    sessions: Vec<Vec<Box<dyn Session>>>,
    within: Duration,
    cut: &CancellationToken,
) -> (Vec<Vec<Box<dyn Session>>>, Result<(), Failure>) {
    let deadline = tokio::time::Instant::now() + within;
    let opened = futures_util::stream::iter(sessions.into_iter().map(|mut sessions| async move {
        let mut result = Ok(());
        for session in &mut sessions {
            let opened = tokio::select! {
                opened = tokio::time::timeout_at(deadline, session.prepare()) => opened.unwrap_or_else(|_| {
                    let detail = format!("the target did not complete a connection within {within:?}");
                    Err(Failure::new("connect-timeout", detail))
                }),
                () = cut.cancelled() => Err(Failure::new("interrupted", "interrupted while connecting")),
            };
            if let Err(failure) = opened {
                result = Err(failure);
            }
        }
        (sessions, result)
    }))
    .buffered(PREPARE_PARALLEL_MAX)
    .collect::<Vec<_>>()
    .await;
    let mut failure = None;
    let mut any = opened.is_empty();
    let mut sessions = Vec::with_capacity(opened.len());
    for (session, result) in opened {
        match result {
            Ok(()) => any = true,
            Err(error) => {
                failure.get_or_insert(error);
            }
        }
        sessions.push(session);
    }
    match failure {
        Some(failure) if !any => (sessions, Err(failure)),
        _ => (sessions, Ok(())),
    }
}

#[cfg(test)]
mod tests {
    use futures_util::future::BoxFuture;

    use super::*;
    use crate::driver::Call;

    /// Opens at once, or never.
    struct Opening(bool);

    impl Session for Opening {
        fn prepare(&mut self) -> BoxFuture<'_, Result<(), Failure>> {
            if self.0 { Box::pin(std::future::ready(Ok(()))) } else { Box::pin(std::future::pending()) }
        }

        fn execute<'a>(&'a mut self, _: Call<'a>) -> BoxFuture<'a, Outcome> {
            Box::pin(std::future::ready(Outcome::default()))
        }
    }

    fn sessions(opens: &[bool]) -> Vec<Vec<Box<dyn Session>>> {
        opens.iter().map(|opens| vec![Box::new(Opening(*opens)) as Box<dyn Session>]).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn a_target_that_accepts_and_says_nothing_is_given_up_after_the_time_for_connecting() {
        let cut = CancellationToken::new();
        let (kept, result) = prepare(sessions(&[false, false]), PREPARE_TIMEOUT, &cut).await;
        assert_eq!((kept.len(), result.unwrap_err().kind.as_ref()), (2, "connect-timeout"));
        let (kept, result) = prepare(sessions(&[false, true]), PREPARE_TIMEOUT, &cut).await;
        assert!(kept.len() == 2 && result.is_ok(), "one is enough to begin");
    }

    #[tokio::test(start_paused = true)]
    async fn connecting_ends_when_the_run_is_over() {
        let cut = CancellationToken::new();
        let connecting = prepare(sessions(&[false; 200]), Duration::from_hours(1), &cut);
        let ending = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            cut.cancel();
        };
        let ((_, result), ()) = tokio::join!(connecting, ending);
        assert_eq!(result.unwrap_err().kind, "interrupted");
    }

    #[test]
    fn the_timers_steps_are_thought_and_what_is_later_is_lag() {
        assert_eq!(due_after_thinking(5_000_000, 5_900_000), 5_900_000);
        assert_eq!(due_after_thinking(5_000_000, 12_000_000), 5_000_000 + TIMER_STEPS_NS);
        assert_eq!(due_after_thinking(5_000_000, 4_000_000), 5_000_000);
    }
}
