//! What the jobs report about themselves, per queue and kind.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use metrics::{
    Counter, Histogram, Unit, counter, describe_counter, describe_gauge, describe_histogram, histogram,
};

use crate::JobState;

/// Jobs by queue and state: `queued`, `scheduled`, `running`, `waiting`, `failed`, `cancelled`, `dead`.
pub const JOBS_DEPTH: &str = "jobs_depth";
/// How long the oldest ready job of a queue has waited.
pub const JOBS_QUEUE_LATENCY_SECONDS: &str = "jobs_queue_latency_seconds";
/// Jobs that were accepted, by queue and kind.
pub const JOBS_ENQUEUED_TOTAL: &str = "jobs_enqueued_total";
/// Jobs that ended, by queue, kind and state.
pub const JOBS_ENDED_TOTAL: &str = "jobs_ended_total";
/// Attempts that are to be repeated, by queue and kind.
pub const JOBS_RETRIES_TOTAL: &str = "jobs_retries_total";
/// Attempts that nobody heard of until their lease ended, by queue and kind.
pub const JOBS_LEASES_LOST_TOTAL: &str = "jobs_leases_lost_total";
/// Attempts that took longer than `[jobs] slow`, by queue and kind.
pub const JOBS_SLOW_TOTAL: &str = "jobs_slow_total";
/// How long a job was ready before an attempt began, by queue and kind.
pub const JOBS_WAIT_DURATION_SECONDS: &str = "jobs_wait_duration_seconds";
/// How long an attempt took, by queue and kind.
pub const JOBS_RUN_DURATION_SECONDS: &str = "jobs_run_duration_seconds";
/// How long accepting took, from the call to the acknowledged commit.
pub const JOBS_ACCEPT_DURATION_SECONDS: &str = "jobs_accept_duration_seconds";
/// How many changes shared a transaction, by `kind`: `insert`, `end`.
pub const JOBS_LEDGER_BATCH: &str = "jobs_ledger_batch";
/// Requests of external workers that wait for jobs on this server.
pub const JOBS_POLLERS: &str = "jobs_pollers";
/// Jobs that run on this server, and how many may: `running`, `max`.
pub const JOBS_WORKERS: &str = "jobs_workers";

/// Gives every metric its unit and help.
pub fn describe() {
    describe_gauge!(JOBS_DEPTH, Unit::Count, "Jobs, by queue and state");
    describe_gauge!(JOBS_QUEUE_LATENCY_SECONDS, Unit::Seconds, "Age of the oldest ready job, by queue");
    describe_counter!(JOBS_ENQUEUED_TOTAL, "Jobs accepted, by queue and kind");
    describe_counter!(JOBS_ENDED_TOTAL, "Jobs that ended, by queue, kind and state");
    describe_counter!(JOBS_RETRIES_TOTAL, "Attempts that are to be repeated, by queue and kind");
    describe_counter!(JOBS_LEASES_LOST_TOTAL, "Attempts whose lease was lost, by queue and kind");
    describe_counter!(JOBS_SLOW_TOTAL, "Attempts that took longer than they should, by queue and kind");
    describe_histogram!(JOBS_WAIT_DURATION_SECONDS, Unit::Seconds, "Time from ready to running");
    describe_histogram!(JOBS_RUN_DURATION_SECONDS, Unit::Seconds, "Duration of attempts");
    describe_histogram!(JOBS_ACCEPT_DURATION_SECONDS, Unit::Seconds, "Time from call to acknowledged commit");
    describe_histogram!(JOBS_LEDGER_BATCH, Unit::Count, "Changes that shared a transaction");
    describe_gauge!(JOBS_POLLERS, Unit::Count, "Requests of external workers that wait for jobs");
    describe_gauge!(JOBS_WORKERS, Unit::Count, "Jobs that run on this server, and how many may");
}

/// Kinds with series of their own; those beyond share one.
const KINDS_MAX: usize = 500;
const OTHER: &str = "(other)";

/// The series of one queue and kind, looked up once.
pub(crate) struct KindMeters {
    pub(crate) enqueued: Counter,
    pub(crate) retries: Counter,
    pub(crate) lost: Counter,
    pub(crate) slow: Counter,
    pub(crate) wait: Histogram,
    pub(crate) run: Histogram,
    ended: [Counter; 4],
}

impl KindMeters {
    fn new(queue: &str, kind: &str) -> Self {
        let (queue, kind) = (queue.to_owned(), kind.to_owned());
        let labels = || [("queue", queue.clone()), ("kind", kind.clone())];
        let ended = |state: JobState| counter!(JOBS_ENDED_TOTAL, "queue" => queue.clone(), "kind" => kind.clone(), "state" => state.name());
        Self {
            enqueued: counter!(JOBS_ENQUEUED_TOTAL, &labels()),
            retries: counter!(JOBS_RETRIES_TOTAL, &labels()),
            lost: counter!(JOBS_LEASES_LOST_TOTAL, &labels()),
            slow: counter!(JOBS_SLOW_TOTAL, &labels()),
            wait: histogram!(JOBS_WAIT_DURATION_SECONDS, &labels()),
            run: histogram!(JOBS_RUN_DURATION_SECONDS, &labels()),
            ended: [JobState::Succeeded, JobState::Failed, JobState::Cancelled, JobState::Dead].map(ended),
        }
    }

    pub(crate) fn ended(&self, state: JobState) {
        let index = match state {
            JobState::Succeeded => 0,
            JobState::Failed => 1,
            JobState::Cancelled => 2,
            JobState::Dead => 3,
            _ => return,
        };
        self.ended[index].increment(1);
    }

    /// An attempt ended after this time.
    pub(crate) fn ran(&self, duration: Duration) {
        self.run.record(duration);
    }
}

/// The series of all queues and kinds. Bounded: kinds come from callers.
#[derive(Default)]
pub(crate) struct Meters(RwLock<HashMap<QueueAndKind, Arc<KindMeters>>>);

type QueueAndKind = (Arc<str>, Arc<str>);

impl Meters {
    pub(crate) fn of(&self, queue: &Arc<str>, kind: &Arc<str>) -> Arc<KindMeters> {
        let key = (Arc::clone(queue), Arc::clone(kind));
        if let Some(known) = self.0.read().unwrap_or_else(PoisonError::into_inner).get(&key) {
            return Arc::clone(known);
        }
        let mut meters = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let key = if meters.len() < KINDS_MAX { key } else { (key.0, OTHER.into()) };
        let fresh = || Arc::new(KindMeters::new(&key.0, &key.1));
        Arc::clone(meters.entry(key.clone()).or_insert_with(fresh))
    }
}
