//! The thread that writes, and how it commits many transactions together.
//!
//! It takes what waits in its queue: `BEGIN`, a savepoint for each caller, `COMMIT`, and only then answers them all.
//! While one group is being committed the next one gathers, so the group grows with the load and nobody waits for a
//! group to fill.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use futures_util::future::BoxFuture;
use metrics::histogram;
use tokio::sync::{mpsc, oneshot};

use super::SqliteConnection;
use crate::store::{
    Durability, Params, Statement, StoreError, Transaction,
    metrics::{STORE_COMMIT_DURATION_SECONDS, STORE_COMMIT_TRANSACTIONS, STORE_WAIT_DURATION_SECONDS},
    transaction::Session,
};

/// A group is committed after this even if more wait: its first caller does.
const GROUP_TIME_MAX: Duration = Duration::from_millis(20);

const BEGIN: &str = "BEGIN IMMEDIATE";
const COMMIT: &str = "COMMIT";
const ROLLBACK: &str = "ROLLBACK";
const SAVEPOINT: &str = "SAVEPOINT caller";
const RELEASE: &str = "RELEASE caller";
const ROLLBACK_TO: &str = "ROLLBACK TO caller";

pub(super) enum Message {
    Job(Durability, Box<dyn Job>),
    Close(oneshot::Sender<()>),
}

/// One caller's change.
pub(super) trait Job: Send {
    /// Does it, within the group's transaction; the error is why nothing of it stays.
    fn run(&mut self, connection: SqliteConnection) -> (SqliteConnection, Result<(), StoreError>);
    /// Answers the caller: what was done is committed, or why not.
    fn finish(self: Box<Self>, committed: Result<(), StoreError>);
}

/// A change of one statement. SQLite undoes a failed statement by itself: it needs no savepoint.
pub(super) struct ExecuteJob {
    statement: &'static Statement,
    params: Params,
    queued: Instant,
    changed: u64,
    answer: oneshot::Sender<Result<u64, StoreError>>,
}

impl ExecuteJob {
    pub(super) fn new(
        statement: &'static Statement,
        params: Params,
        answer: oneshot::Sender<Result<u64, StoreError>>,
    ) -> Self {
        Self { statement, params, queued: Instant::now(), changed: 0, answer }
    }
}

impl Job for ExecuteJob {
    fn run(&mut self, connection: SqliteConnection) -> (SqliteConnection, Result<(), StoreError>) {
        record_wait(self.queued);
        if self.answer.is_closed() {
            return (connection, Err(abandoned()));
        }
        let result = connection.execute(self.statement, &self.params).map(|changed| self.changed = changed);
        (connection, result)
    }

    fn finish(self: Box<Self>, committed: Result<(), StoreError>) {
        let _ = self.answer.send(committed.map(|()| self.changed));
    }
}

/// A change with a body.
pub(super) struct TransactionJob<T, F> {
    body: Option<F>,
    result: Option<T>,
    queued: Instant,
    answer: oneshot::Sender<Result<T, StoreError>>,
}

impl<T, F> TransactionJob<T, F> {
    pub(super) fn new(body: F, answer: oneshot::Sender<Result<T, StoreError>>) -> Self {
        Self { body: Some(body), result: None, queued: Instant::now(), answer }
    }
}

impl<T, F> Job for TransactionJob<T, F>
where
    T: Send,
    F: for<'t> FnOnce(&'t mut Transaction) -> BoxFuture<'t, Result<T, StoreError>> + Send,
{
    fn run(&mut self, connection: SqliteConnection) -> (SqliteConnection, Result<(), StoreError>) {
        record_wait(self.queued);
        if self.answer.is_closed() {
            return (connection, Err(abandoned()));
        }
        if let Err(error) = connection.control(SAVEPOINT) {
            return (connection, Err(error));
        }
        let mut transaction = Transaction::new(Session::Sqlite(connection));
        let result = match self.body.take() {
            Some(body) => poll_once(body, &mut transaction),
            None => Err(StoreError::Closed),
        };
        let (result, keep) = transaction.settle(result);
        let Session::Sqlite(connection) = transaction.into_session() else {
            unreachable!("it was put in above")
        };
        let ended = end_savepoint(&connection, keep);
        let outcome = result.and_then(|value| ended.map(|()| self.result = Some(value)));
        (connection, outcome)
    }

    fn finish(self: Box<Self>, committed: Result<(), StoreError>) {
        let Self { result, answer, .. } = *self;
        let _ = answer.send(committed.and_then(|()| result.ok_or(StoreError::Closed)));
    }
}

/// Runs a body, which is ready at once unless it awaits something else than its statements.
fn poll_once<T, F>(body: F, transaction: &mut Transaction) -> Result<T, StoreError>
where
    F: for<'t> FnOnce(&'t mut Transaction) -> BoxFuture<'t, Result<T, StoreError>>,
{
    // The future is also dropped in there: that runs the caller's code, too.
    let polled = catch_unwind(AssertUnwindSafe(|| {
        body(transaction).as_mut().poll(&mut Context::from_waker(Waker::noop()))
    }));
    match polled {
        Ok(Poll::Ready(result)) => result,
        Ok(Poll::Pending) => Err(StoreError::Suspended),
        Err(_) => Err(StoreError::Panicked),
    }
}

fn end_savepoint(connection: &SqliteConnection, keep: bool) -> Result<(), StoreError> {
    if connection.is_idle() {
        // SQLite has rolled back everything already; the group finds that out.
        return Ok(());
    }
    if !keep {
        connection.control(ROLLBACK_TO)?;
    }
    connection.control(RELEASE)
}

/// Its caller went away while it waited: under load that is work to save.
fn abandoned() -> StoreError {
    StoreError::Conflict("the caller went away".to_owned())
}

fn record_wait(queued: Instant) {
    histogram!(STORE_WAIT_DURATION_SECONDS, "kind" => "write").record(queued.elapsed());
}

/// Runs until the queue is closed and empty.
pub(super) fn run(connection: SqliteConnection, mut queue: mpsc::Receiver<Message>, group_max: usize) {
    let mut connection = connection;
    let mut closed = Vec::new();
    // The connection was opened with it.
    let mut durability = Durability::Fsync;
    let mut carried = None;
    while let Some(message) = carried.take().or_else(|| queue.blocking_recv()) {
        match message {
            Message::Job(wanted, job) => {
                if wanted != durability
                    && let Err(error) = connection.control(synchronous(wanted))
                {
                    job.finish(Err(error));
                    continue;
                }
                durability = wanted;
                let limits = GroupLimits { durability, size_max: group_max };
                (connection, carried) = run_group(connection, job, &mut queue, limits, &mut closed);
            }
            Message::Close(done) => closed.push(done),
        }
        if !closed.is_empty() {
            queue.close();
        }
    }
    // The files are closed before the waiting callers hear of it.
    drop(connection);
    for done in closed {
        let _ = done.send(());
    }
}

/// What the commits that follow wait for. With the write-ahead log, `NORMAL` hands a commit to the operating system; the
/// next commit under `FULL` syncs what came before it, too.
const fn synchronous(durability: Durability) -> &'static str {
    match durability {
        Durability::Fsync => "PRAGMA synchronous = FULL",
        Durability::Os => "PRAGMA synchronous = NORMAL",
    }
}

/// What a group takes in.
#[derive(Clone, Copy)]
struct GroupLimits {
    durability: Durability,
    size_max: usize,
}

/// Runs the first job and what waits behind it, commits, answers. Gives back what it took from the queue and could not
/// take in: a job that wants more durability than the group has.
fn run_group(
    connection: SqliteConnection,
    first: Box<dyn Job>,
    queue: &mut mpsc::Receiver<Message>,
    limits: GroupLimits,
    closed: &mut Vec<oneshot::Sender<()>>,
) -> (SqliteConnection, Option<Message>) {
    let mut connection = connection;
    if let Err(error) = connection.control(BEGIN) {
        first.finish(Err(error));
        return (connection, None);
    }
    let mut carried = None;
    let started = Instant::now();
    let mut kept: Vec<Box<dyn Job>> = Vec::new();
    let mut next = Some(first);
    while let Some(mut job) = next.take() {
        let outcome;
        (connection, outcome) = job.run(connection);
        match outcome {
            Ok(()) => kept.push(job),
            Err(error) => {
                let lost = connection.is_idle();
                let cause = error.clone();
                job.finish(Err(error));
                if lost {
                    fail(kept, &lost_with(cause));
                    return (connection, None);
                }
            }
        }
        if kept.len() >= limits.size_max || started.elapsed() >= GROUP_TIME_MAX {
            break;
        }
        next = match queue.try_recv() {
            Ok(Message::Job(wanted, job)) if wanted > limits.durability => {
                carried = Some(Message::Job(wanted, job));
                None
            }
            Ok(Message::Job(_, job)) => Some(job),
            Ok(Message::Close(done)) => {
                closed.push(done);
                None
            }
            Err(_) => None,
        };
    }
    commit(&connection, kept);
    (connection, carried)
}

fn commit(connection: &SqliteConnection, kept: Vec<Box<dyn Job>>) {
    let started = Instant::now();
    match connection.control(COMMIT) {
        Ok(()) => {
            if !kept.is_empty() {
                histogram!(STORE_COMMIT_DURATION_SECONDS).record(started.elapsed());
                histogram!(STORE_COMMIT_TRANSACTIONS).record(kept.len() as f64);
            }
            for job in kept {
                job.finish(Ok(()));
            }
        }
        Err(error) => {
            if !connection.is_idle()
                && let Err(error) = connection.control(ROLLBACK)
            {
                tracing::error!(%error, "cannot roll back a failed commit");
            }
            fail(kept, &error);
        }
    }
}

fn fail(jobs: Vec<Box<dyn Job>>, error: &StoreError) {
    for job in jobs {
        job.finish(Err(error.clone()));
    }
}

/// What the others of a group hear when one of them made SQLite roll back everything.
fn lost_with(cause: StoreError) -> StoreError {
    match cause {
        StoreError::DiskFull | StoreError::Io(_) | StoreError::Corrupt(_) => cause,
        other => StoreError::Conflict(format!("a change committed together with this one failed ({other})")),
    }
}
