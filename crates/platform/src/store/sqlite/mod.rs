//! SQLite: one writer thread with group commit, several reader threads, a watchdog over all of them.

mod connection;
mod reader;
mod watchdog;
mod writer;

use std::{path::PathBuf, sync::Arc, time::Duration};

use futures_util::future::BoxFuture;
use tokio::sync::{mpsc, oneshot};

use connection::OpenMode;
pub(super) use connection::SqliteConnection;
use reader::{ReadJob, Readers};
use watchdog::Watchdog;
use writer::{ExecuteJob, Job, Message, TransactionJob};

use super::{
    Durability, Params, Row, Statement, StoreError, StoreOptions, Transaction, handle::Load,
    metrics::StatementClock,
};

/// The engine over one file. The threads end when the last handle is gone, or on [`Sqlite::close`].
pub(super) struct Sqlite {
    writer: mpsc::Sender<Message>,
    readers: Readers,
    acquire_timeout: Duration,
    close_timeout: Duration,
}

/// How much longer than a statement closing may take.
const CLOSE_GRACE: Duration = Duration::from_secs(5);

impl Sqlite {
    pub(super) async fn open(options: &StoreOptions, path: PathBuf) -> Result<Self, StoreError> {
        let settings = Settings::new(options, path);
        // Opening recovers what a crash left behind: it may take its time, and must not hold up the runtime.
        let opened = tokio::task::spawn_blocking(move || open_all(&settings).map(|all| (settings, all)));
        let (settings, (writing, reading)) =
            opened.await.map_err(|error| StoreError::Options(error.to_string()))??;
        let mut watchdog = Watchdog::default();
        watchdog.watch(&writing);
        for connection in &reading {
            watchdog.watch(connection);
        }
        spawn_thread(&settings, "store-watchdog", move || watchdog.run())?;

        let (writer, receiver) = mpsc::channel(settings.queue_max);
        let group_max = settings.group_max;
        spawn_thread(&settings, "store-writer", move || writer::run(writing, receiver, group_max))?;
        let readers = Readers::spawn(&settings, reading)?;
        Ok(Self {
            writer,
            readers,
            acquire_timeout: settings.acquire_timeout,
            close_timeout: settings.statement_timeout + CLOSE_GRACE,
        })
    }

    pub(super) async fn query(
        &self,
        statement: &'static Statement,
        params: Params,
    ) -> Result<Vec<Row>, StoreError> {
        let (answer, answered) = oneshot::channel();
        self.readers.submit(ReadJob::new(statement, params, answer), self.acquire_timeout).await?;
        answered.await.map_err(|_| StoreError::Closed)?
    }

    pub(super) async fn execute(
        &self,
        statement: &'static Statement,
        params: Params,
    ) -> Result<u64, StoreError> {
        let (answer, answered) = oneshot::channel();
        self.submit(Durability::Fsync, Box::new(ExecuteJob::new(statement, params, answer))).await?;
        answered.await.map_err(|_| StoreError::Closed)?
    }

    pub(super) async fn write<T, F>(&self, durability: Durability, body: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: for<'t> FnOnce(&'t mut Transaction) -> BoxFuture<'t, Result<T, StoreError>> + Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        self.submit(durability, Box::new(TransactionJob::new(body, answer))).await?;
        answered.await.map_err(|_| StoreError::Closed)?
    }

    async fn submit(&self, durability: Durability, job: Box<dyn Job>) -> Result<(), StoreError> {
        send(&self.writer, Message::Job(durability, job), self.acquire_timeout).await
    }

    /// Waits for what is queued, within a deadline: what is not done by then was not acknowledged either.
    pub(super) async fn close(&self) {
        let closing = async {
            self.readers.close().await;
            let (done, closed) = oneshot::channel();
            if self.writer.send(Message::Close(done)).await.is_ok() {
                let _ = closed.await;
            }
        };
        if tokio::time::timeout(self.close_timeout, closing).await.is_err() {
            tracing::warn!("the store did not close in time; the next start recovers what was acknowledged");
        }
    }

    pub(super) fn load(&self) -> Load {
        let writes_waiting = self.writer.max_capacity() - self.writer.capacity();
        let mut load = self.readers.load();
        load.waiting += writes_waiting;
        load
    }
}

/// Puts something into a bounded queue; waits for a place at most so long.
async fn send<M>(queue: &mpsc::Sender<M>, message: M, wait_max: Duration) -> Result<(), StoreError> {
    match queue.try_send(message) {
        Ok(()) => Ok(()),
        Err(mpsc::error::TrySendError::Closed(_)) => Err(StoreError::Closed),
        Err(mpsc::error::TrySendError::Full(message)) => match queue.send_timeout(message, wait_max).await {
            Ok(()) => Ok(()),
            Err(mpsc::error::SendTimeoutError::Timeout(_)) => Err(StoreError::Overloaded(wait_max)),
            Err(mpsc::error::SendTimeoutError::Closed(_)) => Err(StoreError::Closed),
        },
    }
}

/// What the threads need of the options.
struct Settings {
    path: PathBuf,
    readers: usize,
    queue_max: usize,
    group_max: usize,
    size_max: Option<i64>,
    lock_timeout: Duration,
    acquire_timeout: Duration,
    statement_timeout: Duration,
    clock: StatementClock,
}

impl Settings {
    fn new(options: &StoreOptions, path: PathBuf) -> Self {
        Self {
            path,
            readers: options.readers.get(),
            queue_max: options.queue_max.get(),
            group_max: options.group_max.get(),
            size_max: options.size_max.map(|size| i64::try_from(size.get()).unwrap_or(i64::MAX)),
            lock_timeout: options.connect_timeout.get(),
            acquire_timeout: options.acquire_timeout.get(),
            statement_timeout: options.statement_timeout.get(),
            clock: StatementClock { slow_after: options.slow_query.get() },
        }
    }
}

/// The writer's connection first: it creates the file.
fn open_all(settings: &Settings) -> Result<(SqliteConnection, Vec<SqliteConnection>), StoreError> {
    let writing = SqliteConnection::open(settings, OpenMode::Write)?;
    let reading = (0..settings.readers)
        .map(|_| SqliteConnection::open(settings, OpenMode::Read))
        .collect::<Result<_, _>>()?;
    Ok((writing, reading))
}

fn spawn_thread(
    settings: &Settings,
    name: &'static str,
    run: impl FnOnce() + Send + 'static,
) -> Result<(), StoreError> {
    let spawned = std::thread::Builder::new().name(name.to_owned()).spawn(run);
    spawned.map(drop).map_err(|error| StoreError::Open {
        store: settings.path.display().to_string(),
        reason: format!("cannot start the thread {name}: {error}"),
    })
}

/// A slot that the watchdog looks into: the deadline of the statement that runs.
type DeadlineSlot = Arc<std::sync::Mutex<Option<std::time::Instant>>>;
