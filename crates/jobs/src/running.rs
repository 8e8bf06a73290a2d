//! What is under way: attempts that this server runs, and those that it handed to external workers.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use jiff::Timestamp;
use paddock_platform::tool::Step;
use tokio::sync::{oneshot, watch};

use crate::{Job, JobProgress, dispatch::DELIVERIES};

/// Why an attempt is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// Somebody asked for its end.
    Cancelled,
    /// Another attempt is the current one.
    LeaseLost,
    /// The server goes away.
    Released,
}

struct Entry {
    job: Arc<Job>,
    stop: Option<oneshot::Sender<Stop>>,
    progress: watch::Receiver<Step>,
}

/// The attempts that this server runs.
#[derive(Default)]
pub(crate) struct Running {
    entries: Mutex<HashMap<i64, Entry>>,
    /// Attempts that were claimed and have not ended, those that no worker has taken up yet included.
    busy: AtomicUsize,
    /// Those among them that deliver.
    delivering: AtomicUsize,
}

impl Running {
    fn entries(&self) -> MutexGuard<'_, HashMap<i64, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn busy(&self) -> usize {
        self.busy.load(Ordering::Acquire)
    }

    /// How many take places of a pool: [`DELIVERIES`], or all others.
    pub(crate) fn busy_in(&self, pool: &str) -> usize {
        let delivering = self.delivering.load(Ordering::Acquire);
        if pool == DELIVERIES { delivering } else { self.busy().saturating_sub(delivering) }
    }

    pub(crate) fn claimed(&self, jobs: &[Arc<Job>]) {
        let delivering = jobs.iter().filter(|job| job.pool() == DELIVERIES).count();
        self.delivering.fetch_add(delivering, Ordering::AcqRel);
        self.busy.fetch_add(jobs.len(), Ordering::AcqRel);
    }

    /// An attempt has ended that took a place of this pool.
    pub(crate) fn ended(&self, pool: &str) {
        if pool == DELIVERIES {
            self.delivering.fetch_sub(1, Ordering::AcqRel);
        }
        self.busy.fetch_sub(1, Ordering::AcqRel);
    }

    /// An attempt begins; resolves with the reason when it is to stop.
    pub(crate) fn enter(&self, job: &Arc<Job>, progress: watch::Receiver<Step>) -> oneshot::Receiver<Stop> {
        let (stop, stopped) = oneshot::channel();
        let entry = Entry { job: Arc::clone(job), stop: Some(stop), progress };
        self.entries().insert(job.id.key(), entry);
        stopped
    }

    pub(crate) fn leave(&self, key: i64, attempt: u32) {
        let mut entries = self.entries();
        if entries.get(&key).is_some_and(|entry| entry.job.attempt == attempt) {
            entries.remove(&key);
        }
    }

    pub(crate) fn has(&self, key: i64) -> bool {
        self.entries().contains_key(&key)
    }

    /// Stops an attempt that runs here.
    pub(crate) fn stop(&self, key: i64, attempt: Option<u32>, why: Stop) {
        if let Some(entry) = self.entries().get_mut(&key)
            && attempt.is_none_or(|attempt| attempt == entry.job.attempt)
            && let Some(stop) = entry.stop.take()
        {
            let _ = stop.send(why);
        }
    }

    pub(crate) fn stop_all(&self, why: Stop) {
        for entry in self.entries().values_mut() {
            if let Some(stop) = entry.stop.take() {
                let _ = stop.send(why);
            }
        }
    }

    /// What runs, with its progress if that is new; with `all` also what has none.
    pub(crate) fn pulse(&self, all: bool) -> Vec<(Arc<Job>, Option<JobProgress>)> {
        let mut beats = Vec::new();
        for entry in self.entries().values_mut() {
            let news = entry.progress.has_changed().unwrap_or(false);
            let progress = news.then(|| progress_of(&entry.progress.borrow_and_update()));
            if all || progress.is_some() {
                beats.push((Arc::clone(&entry.job), progress));
            }
        }
        beats
    }
}

/// What a tool reports, as a job tells it.
fn progress_of(step: &Step) -> JobProgress {
    let percent = match step.total {
        Some(total) if total > 0.0 => step.done / total * 100.0,
        _ => 0.0,
    };
    JobProgress { percent: percent.clamp(0.0, 100.0), message: step.message.clone(), data: None }.bounded()
}

/// Messages of progress are cut to this.
const MESSAGE_LENGTH_MAX: usize = 500;

impl JobProgress {
    /// With its message cut, and a percentage that is one.
    pub(crate) fn bounded(mut self) -> Self {
        self.percent = if self.percent.is_finite() { self.percent.clamp(0.0, 100.0) } else { 0.0 };
        if let Some((end, _)) = self.message.char_indices().nth(MESSAGE_LENGTH_MAX) {
            self.message.truncate(end);
        }
        self
    }
}

/// Attempts of external workers to remember at most; of those beyond, the store is asked.
const OUTSTANDING_MAX: usize = 20_000;

/// The attempts that this server handed to external workers: what the store would otherwise have to be asked for when
/// they end. Only a memory: what it does not know is looked up.
#[derive(Default)]
pub(crate) struct Outstanding(Mutex<HashMap<i64, Arc<Job>>>);

impl Outstanding {
    fn jobs(&self) -> MutexGuard<'_, HashMap<i64, Arc<Job>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn enter(&self, job: &Arc<Job>) {
        let mut jobs = self.jobs();
        if jobs.len() >= OUTSTANDING_MAX {
            let now = Timestamp::now();
            jobs.retain(|_, job| job.lease_until.is_some_and(|until| until > now));
        }
        if jobs.len() < OUTSTANDING_MAX {
            jobs.insert(job.id.key(), Arc::clone(job));
        }
    }

    pub(crate) fn get(&self, key: i64, attempt: u32) -> Option<Arc<Job>> {
        self.jobs().get(&key).filter(|job| job.attempt == attempt).cloned()
    }

    pub(crate) fn leave(&self, key: i64) {
        self.jobs().remove(&key);
    }
}
