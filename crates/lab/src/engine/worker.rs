//! A thread with an event loop of its own, a share of the seats, and a ledger.

use std::{
    io,
    sync::{
        Arc, Mutex,
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    time::{Duration, Instant},
};

use futures_util::StreamExt as _;
use tokio::{runtime::RuntimeMetrics, sync::oneshot, task::JoinSet};
use tokio_util::sync::CancellationToken;

use super::{
    PREPARE_TIMEOUT, Shared,
    desk::{Bell, Desk, lock},
    ledger::Report,
    seat::occupy,
};
use crate::{
    driver::{Failure, Seat, Session},
    pacer::Clock,
};

/// Connections that a worker opens at the same time.
const PREPARE_PARALLEL_MAX: usize = 64;

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
            .on_thread_unpark(move || unparking.awoke())
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
    let sessions: Vec<Vec<Box<dyn Session>>> = desk
        .seats()
        .map(|number| shared.load.steps.iter().map(|step| step.driver.session(Seat { number })).collect())
        .collect();
    let (sessions, result) = prepare(sessions, PREPARE_TIMEOUT, &shared.cut).await;
    if tell_prepared.send(result).is_err() {
        return;
    }
    let Ok(clock) = begun.await else { return };
    desk.begin(clock);
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
    desk.note_busy(metrics.worker_total_busy_duration(0).saturating_sub(busy_before));
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
    use crate::driver::{Call, Outcome};

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
}
