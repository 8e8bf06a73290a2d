//! Takes what many callers want written at the same time, and writes it together.
//!
//! Two queues, one for jobs that are accepted and one for attempts that end, with a few *flights* each: tasks that take
//! what waits, write it in one transaction, and tell everybody. While one is under way the next gathers: under load
//! transactions grow, and nobody waits for one to fill. What cannot be written because the store is gone is handled by
//! what it is: a caller who enqueues is told; an attempt that ended is kept and written later, because the work was
//! done.

mod end;
mod insert;
mod tell;

use std::{
    collections::HashSet,
    sync::{
        Arc, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use jiff::Timestamp;
use metrics::histogram;
use paddock_platform::store::StoreError;
use tokio::sync::{Mutex, Notify, mpsc, oneshot};

pub(crate) use end::{EndStatus, Ending, finish_idle, let_go_of_key};
pub(crate) use insert::{Inserted, insert_in};
pub(crate) use tell::{Announcement, CHANNEL, Told, announce};

use crate::{Durability, JobError, core::Core, metrics::JOBS_LEDGER_BATCH, service::PreparedJob};

/// Changes that share a transaction at most.
const BATCH_MAX: usize = 1_000;
/// Transactions of a kind that are under way at once, on a store that has one writer, and on one that has many.
const FLIGHTS: (usize, usize) = (2, 4);
/// How long the end of an attempt is tried to be written while the store is gone.
const WRITE_WAIT_MAX: Duration = Duration::from_mins(10);
/// The first and the longest wait between two tries.
const RETRY_WAIT: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));

/// Jobs to be accepted, all or none.
pub(crate) struct Insert {
    jobs: Vec<PreparedJob>,
    answer: Option<oneshot::Sender<Result<Vec<Inserted>, StoreError>>>,
}

/// An attempt that ended.
pub(crate) struct End {
    ending: Ending,
    answer: Option<oneshot::Sender<Result<EndStatus, StoreError>>>,
}

/// An attempt: the key of its job, and its number.
type AttemptKey = (i64, u32);

impl End {
    fn attempt(&self) -> AttemptKey {
        (self.ending.job.id.key(), self.ending.job.attempt)
    }
}

/// The handle: what is to be written.
pub(crate) struct Ledger {
    inserts: mpsc::Sender<Insert>,
    ends: mpsc::Sender<End>,
    pending: Pending,
    /// The attempts whose end is not written yet.
    ending: std::sync::Mutex<HashSet<AttemptKey>>,
}

/// What was handed in and is not settled.
#[derive(Clone, Default)]
struct Pending(Arc<(AtomicUsize, Notify)>);

impl Pending {
    fn add(&self) {
        self.0.0.fetch_add(1, Ordering::AcqRel);
    }

    fn settle(&self, count: usize) {
        if self.0.0.fetch_sub(count, Ordering::AcqRel) == count {
            self.0.1.notify_waiters();
        }
    }

    async fn none(&self) {
        loop {
            let settled = self.0.1.notified();
            tokio::pin!(settled);
            settled.as_mut().enable();
            if self.0.0.load(Ordering::Acquire) == 0 {
                return;
            }
            settled.await;
        }
    }
}

/// An end that waits for room to be handed in. Whoever hands it in may go away meanwhile: then nothing waits for it.
struct OnItsWay<'a> {
    ledger: &'a Ledger,
    attempt: AttemptKey,
    is_handed_in: bool,
}

impl<'a> OnItsWay<'a> {
    fn new(ledger: &'a Ledger, attempt: AttemptKey) -> Self {
        ledger.pending.add();
        ledger.ending().insert(attempt);
        Self { ledger, attempt, is_handed_in: false }
    }
}

impl Drop for OnItsWay<'_> {
    fn drop(&mut self) {
        if !self.is_handed_in {
            self.ledger.ended(&[self.attempt]);
            self.ledger.pending.settle(1);
        }
    }
}

/// The other ends, for [`spawn`].
pub(crate) struct Intake {
    inserts: mpsc::Receiver<Insert>,
    ends: mpsc::Receiver<End>,
}

impl Ledger {
    pub(crate) fn new(pending_max: usize) -> (Self, Intake) {
        let (inserts, insert_intake) = mpsc::channel(pending_max.max(1));
        let (ends, end_intake) = mpsc::channel(pending_max.max(1));
        let ledger = Self { inserts, ends, pending: Pending::default(), ending: std::sync::Mutex::default() };
        (ledger, Intake { inserts: insert_intake, ends: end_intake })
    }

    /// Accepts jobs, and says so when they are kept.
    pub(crate) async fn insert(&self, jobs: Vec<PreparedJob>) -> Result<Vec<Inserted>, JobError> {
        let (answer, answered) = oneshot::channel();
        self.submit(Insert { jobs, answer: Some(answer) })?;
        Ok(answered.await.map_err(|_| StoreError::Closed)??)
    }

    /// Accepts jobs and says so at once: for queues that are kept in memory.
    pub(crate) fn insert_later(&self, jobs: Vec<PreparedJob>) -> Result<(), JobError> {
        self.submit(Insert { jobs, answer: None })
    }

    fn submit(&self, insert: Insert) -> Result<(), JobError> {
        self.pending.add();
        self.inserts.try_send(insert).map_err(|error| {
            self.pending.settle(1);
            match error {
                mpsc::error::TrySendError::Full(_) => {
                    JobError::Overloaded("more jobs are handed over than the store can keep up with")
                }
                mpsc::error::TrySendError::Closed(_) => StoreError::Closed.into(),
            }
        })
    }

    /// Hands over an attempt that ended; waits only if very many are pending.
    pub(crate) async fn end(&self, ending: Ending) -> Result<(), StoreError> {
        self.send(End { ending, answer: None }).await
    }

    /// As [`Ledger::end`], and says what became of it.
    pub(crate) async fn end_and_tell(&self, ending: Ending) -> Result<EndStatus, StoreError> {
        let (answer, answered) = oneshot::channel();
        self.send(End { ending, answer: Some(answer) }).await?;
        answered.await.map_err(|_| StoreError::Closed)?
    }

    async fn send(&self, end: End) -> Result<(), StoreError> {
        let mut on_its_way = OnItsWay::new(self, end.attempt());
        self.ends.send(end).await.map_err(|_| StoreError::Closed)?;
        on_its_way.is_handed_in = true;
        Ok(())
    }

    fn ending(&self) -> MutexGuard<'_, HashSet<AttemptKey>> {
        self.ending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ended(&self, attempts: &[AttemptKey]) {
        let mut ending = self.ending();
        for attempt in attempts {
            ending.remove(attempt);
        }
    }

    /// Whether the end of an attempt was handed in and is not written yet.
    pub(crate) fn is_ending(&self, key: i64, attempt: u32) -> bool {
        self.ending().contains(&(key, attempt))
    }

    /// Resolves when everything that was handed in is settled.
    pub(crate) async fn settled(&self) {
        self.pending.none().await;
    }
}

/// Starts the flights. They end when shutdown has begun and nothing is left.
pub(crate) fn spawn(core: &Arc<Core>, intake: Intake) {
    let flights = if core.store.is_shared() { FLIGHTS.1 } else { FLIGHTS.0 };
    let inserts = Arc::new(Mutex::new(intake.inserts));
    let ends = Arc::new(Mutex::new(intake.ends));
    for _ in 0..flights {
        let (flight, intake) = (Arc::clone(core), Arc::clone(&inserts));
        core.tasks.spawn("jobs-inserts", async move {
            while let Some(batch) = gather(&flight, &intake, |insert: &Insert| insert.jobs.len()).await {
                let count = batch.len();
                insert::write(&flight, batch).await;
                flight.ledger.pending.settle(count);
            }
        });
        let (flight, intake) = (Arc::clone(core), Arc::clone(&ends));
        core.tasks.spawn("jobs-ends", async move {
            while let Some(batch) = gather(&flight, &intake, |_: &End| 1).await {
                let attempts: Vec<AttemptKey> = batch.iter().map(End::attempt).collect();
                end::write(&flight, batch).await;
                flight.ledger.ended(&attempts);
                flight.ledger.pending.settle(attempts.len());
            }
        });
    }
}

/// What waits, up to the size of a batch; `None` when shutdown has begun and nothing is left.
async fn gather<T>(
    core: &Core,
    intake: &Mutex<mpsc::Receiver<T>>,
    size: impl Fn(&T) -> usize,
) -> Option<Vec<T>> {
    let mut intake = intake.lock().await;
    let stopping = core.tasks.stop_token();
    let first = tokio::select! {
        biased;
        first = intake.recv() => first?,
        () = stopping.cancelled() => intake.try_recv().ok()?,
    };
    let mut gathered = size(&first);
    let mut batch = vec![first];
    while gathered < BATCH_MAX
        && let Ok(next) = intake.try_recv()
    {
        gathered += size(&next);
        batch.push(next);
    }
    Some(batch)
}

fn record_batch(kind: &'static str, size: usize) {
    histogram!(JOBS_LEDGER_BATCH, "kind" => kind).record(size as f64);
}

/// What the store is asked for. A queue in memory is told before anything is written: what follows needs no more.
pub(crate) const fn durability(of: Durability) -> paddock_platform::store::Durability {
    match of {
        Durability::Fsync => paddock_platform::store::Durability::Fsync,
        Durability::Os | Durability::Memory => paddock_platform::store::Durability::Os,
    }
}

/// Tries again while the store is gone.
async fn insist<T, F>(core: &Core, mut attempt: impl FnMut() -> F) -> Result<T, StoreError>
where
    F: Future<Output = Result<T, StoreError>> + Send,
{
    let began = Instant::now();
    let mut wait = RETRY_WAIT.0;
    loop {
        match attempt().await {
            Err(error) if error.is_transient() && began.elapsed() < WRITE_WAIT_MAX => {
                tracing::warn!(%error, "the end of attempts cannot be written; trying again");
                if core.tasks.is_stopping() && began.elapsed() > RETRY_WAIT.1 {
                    return Err(error);
                }
                tokio::time::sleep(wait).await;
                wait = (wait * 2).min(RETRY_WAIT.1);
            }
            outcome => return outcome,
        }
    }
}

/// Milliseconds, as the store has times.
fn ms(moment: Timestamp) -> i64 {
    moment.as_millisecond()
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;
    use crate::{Job, testing::job, verdict::Verdict};

    #[tokio::test]
    async fn an_end_whose_caller_goes_away_before_there_is_room_keeps_nobody_waiting() {
        let (ledger, _intake) = Ledger::new(1);
        let first = job();
        let key = first.id.key();
        let ending = |attempt| {
            let job = Job { attempt, ..first.clone() };
            Ending::new(Arc::new(job), Verdict::cancelled(), Timestamp::UNIX_EPOCH)
        };
        ledger.end(ending(1)).await.unwrap();
        assert!(ledger.end(ending(2)).now_or_never().is_none(), "there is no room");
        assert!(ledger.is_ending(key, 1) && !ledger.is_ending(key, 2));
        ledger.ended(&[(key, 1)]);
        ledger.pending.settle(1);
        assert!(ledger.settled().now_or_never().is_some());
    }
}
