//! The threads that read.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use metrics::histogram;
use tokio::sync::{mpsc, oneshot};

use super::{Settings, SqliteConnection, send, spawn_thread};
use crate::store::{Params, Row, Statement, StoreError, handle::Load, metrics::STORE_WAIT_DURATION_SECONDS};

/// One query on its way to a reader.
pub(super) struct ReadJob {
    statement: &'static Statement,
    params: Params,
    queued: Instant,
    answer: oneshot::Sender<Result<Vec<Row>, StoreError>>,
}

impl ReadJob {
    pub(super) fn new(
        statement: &'static Statement,
        params: Params,
        answer: oneshot::Sender<Result<Vec<Row>, StoreError>>,
    ) -> Self {
        Self { statement, params, queued: Instant::now(), answer }
    }
}

enum Message {
    Query(ReadJob),
    Close,
}

/// The handle to them.
pub(super) struct Readers {
    queue: mpsc::Sender<Message>,
    count: usize,
    busy: Arc<AtomicUsize>,
}

impl Readers {
    pub(super) fn spawn(settings: &Settings, connections: Vec<SqliteConnection>) -> Result<Self, StoreError> {
        let (queue, receiver) = mpsc::channel(settings.queue_max);
        let receiver = Arc::new(Mutex::new(receiver));
        let busy = Arc::new(AtomicUsize::new(0));
        let count = connections.len();
        for connection in connections {
            let (receiver, busy) = (Arc::clone(&receiver), Arc::clone(&busy));
            spawn_thread(settings, "store-reader", move || run(&connection, &receiver, &busy))?;
        }
        Ok(Self { queue, count, busy })
    }

    pub(super) async fn submit(&self, job: ReadJob, wait_max: Duration) -> Result<(), StoreError> {
        send(&self.queue, Message::Query(job), wait_max).await
    }

    pub(super) async fn close(&self) {
        // One of them takes it, closes the queue, and all end when it is empty.
        let _ = self.queue.send(Message::Close).await;
        self.queue.closed().await;
    }

    pub(super) fn load(&self) -> Load {
        let used = self.busy.load(Ordering::Relaxed);
        let waiting = self.queue.max_capacity() - self.queue.capacity();
        Load { used, idle: self.count.saturating_sub(used), max: self.count, waiting }
    }
}

fn run(connection: &SqliteConnection, receiver: &Mutex<mpsc::Receiver<Message>>, busy: &AtomicUsize) {
    loop {
        // Held while waiting: the others queue up for the lock instead of for the channel.
        let message = {
            let mut receiver = receiver.lock().unwrap_or_else(PoisonError::into_inner);
            let message = receiver.blocking_recv();
            if matches!(message, Some(Message::Close)) {
                receiver.close();
            }
            message
        };
        match message {
            Some(Message::Query(job)) => {
                busy.fetch_add(1, Ordering::Relaxed);
                answer(connection, job);
                busy.fetch_sub(1, Ordering::Relaxed);
            }
            Some(Message::Close) => {}
            None => return,
        }
    }
}

fn answer(connection: &SqliteConnection, job: ReadJob) {
    if job.answer.is_closed() {
        return;
    }
    histogram!(STORE_WAIT_DURATION_SECONDS, "kind" => "read").record(job.queued.elapsed());
    let result = connection.query(job.statement, &job.params);
    let _ = job.answer.send(result);
}
