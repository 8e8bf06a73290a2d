//! Writes what many agents and callers want kept, together.
//!
//! One task takes what waits, writes it in one transaction, and only then puts the messages in it into their mailboxes:
//! in the order in which they are in the store. While one transaction is under way the next gathers.

use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use jiff::Timestamp;
use metrics::{counter, histogram};
use paddock_platform::{
    params,
    store::{Store, StoreError, Value},
    task::Tasks,
};
use tokio::sync::{mpsc, oneshot};
use tokio_util::task::TaskTracker;

use crate::{
    cell::Cell,
    dead::{DeadLetter, DeadLetterView},
    envelope,
    mailbox::{Delivery, Refusal},
    message::{Message, MessageId},
    metrics::{AGENTS_COMMIT_BATCH, AGENTS_COMMIT_DURATION_SECONDS, AGENTS_DUPLICATES_TOTAL},
    store::{ChangeRows, apply},
};

/// Rows that share a transaction at most.
const ROWS_MAX: usize = 2_000;
/// How long a transaction is tried while the store is gone.
const WRITE_WAIT_MAX: Duration = Duration::from_secs(10);
/// The first and the longest wait between two tries.
const RETRY_WAIT: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));

/// A place in a mailbox that is kept for a message on its way to disk; given back if it does not get there.
#[derive(Debug)]
pub(crate) struct Place {
    cell: Arc<Cell>,
    is_open: bool,
}

impl Place {
    pub(crate) fn reserve(cell: &Arc<Cell>) -> Result<Self, Refusal> {
        cell.mailbox.reserve()?;
        Ok(Self { cell: Arc::clone(cell), is_open: true })
    }

    /// Gives whether somebody has to run the agent.
    fn fill(&mut self, delivery: Delivery) -> bool {
        self.is_open = false;
        self.cell.mailbox.fill(delivery)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.is_open {
            self.cell.mailbox.release();
        }
    }
}

/// A durable message and where it goes.
#[derive(Debug)]
pub(crate) struct Post {
    pub(crate) place: Place,
    pub(crate) message: Arc<Message>,
}

/// What takes place together or not at all.
#[derive(Debug, Default)]
pub(crate) struct Change {
    /// Messages that are sent.
    pub(crate) posts: Vec<Post>,
    /// The agent whose messages and state these are.
    pub(crate) agent: Option<Arc<str>>,
    /// Messages that it handled.
    pub(crate) consumed: Vec<i64>,
    /// What it changed of its state.
    pub(crate) state: Vec<(String, Option<Bytes>)>,
    /// Durable messages that are given up.
    pub(crate) dead: Vec<DeadLetter>,
    /// Messages of the agent that are to be sent at a time.
    pub(crate) reminders: Vec<(Timestamp, Arc<Message>)>,
    /// Reminders that were sent, by whose they are.
    pub(crate) rung: Vec<(Arc<str>, MessageId)>,
    /// When agents are due next, by their keys, and by what schedule.
    pub(crate) scheduled: Vec<(Arc<str>, String, Timestamp)>,
}

impl Change {
    fn rows(&self) -> usize {
        let sent_later = self.reminders.len() + self.rung.len() + self.scheduled.len();
        self.posts.len() * 2 + self.consumed.len() + self.state.len() + self.dead.len() + sent_later
    }
}

struct Submitted {
    change: Change,
    since: Instant,
    /// How many of the posts were new.
    done: oneshot::Sender<Result<usize, StoreError>>,
}

/// The handle: what is to be written. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Committer(mpsc::Sender<Submitted>);

/// Why a change was not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CommitError {
    #[error("more durable changes wait to be written than may (`agents.pending_max`)")]
    Overloaded,
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Committer {
    /// `run` is called with each agent that has to be run. It writes until the server stops and none of `lives` is left.
    pub(crate) fn start(
        store: Store,
        pending_max: usize,
        first_place: i64,
        tasks: &Tasks,
        lives: TaskTracker,
        run: impl Fn(&Arc<Cell>) + Send + Sync + 'static,
    ) -> Self {
        let (sender, receiver) = mpsc::channel(pending_max.max(1));
        let writer = Writer {
            store,
            next_place: AtomicI64::new(first_place.max(Timestamp::now().as_millisecond() << 20)),
            tasks: tasks.clone(),
            run: Box::new(run),
        };
        tasks.spawn("agents-commits", writer.work(receiver, lives));
        Self(sender)
    }

    /// Writes a change of an agent, and gives how many of its posts were new once it is kept. Waits if very much waits.
    pub(crate) async fn write(&self, change: Change) -> Result<usize, StoreError> {
        let (done, written) = oneshot::channel();
        let submitted = Submitted { change, since: Instant::now(), done };
        self.0.send(submitted).await.map_err(|_| StoreError::Closed)?;
        written.await.map_err(|_| StoreError::Closed)?
    }

    /// As [`Committer::write`], for callers who can come back.
    pub(crate) async fn try_write(&self, change: Change) -> Result<usize, CommitError> {
        let (done, written) = oneshot::channel();
        let submitted = Submitted { change, since: Instant::now(), done };
        self.0.try_send(submitted).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => CommitError::Overloaded,
            mpsc::error::TrySendError::Closed(_) => StoreError::Closed.into(),
        })?;
        Ok(written.await.map_err(|_| StoreError::Closed)??)
    }
}

/// Sees to it that somebody runs an agent.
type Run = Box<dyn Fn(&Arc<Cell>) + Send + Sync>;

struct Writer {
    store: Store,
    next_place: AtomicI64,
    tasks: Tasks,
    run: Run,
}

impl Writer {
    async fn work(self, mut receiver: mpsc::Receiver<Submitted>, lives: TaskTracker) {
        // Agents write their last states while the server stops; whoever comes after that is told.
        let stopping = self.tasks.stop_token();
        let over = async {
            stopping.cancelled().await;
            lives.close();
            lives.wait().await;
        };
        let mut over = std::pin::pin!(over);
        let mut is_over = false;
        loop {
            let first = tokio::select! {
                biased;
                first = receiver.recv() => first,
                () = &mut over, if !is_over => {
                    is_over = true;
                    receiver.close();
                    continue;
                }
            };
            let Some(first) = first else { return };
            let mut rows = first.change.rows();
            let mut batch = vec![first];
            while rows < ROWS_MAX
                && let Ok(next) = receiver.try_recv()
            {
                rows += next.change.rows();
                batch.push(next);
            }
            histogram!(AGENTS_COMMIT_BATCH).record(batch.len() as f64);
            self.write(batch).await;
        }
    }

    async fn write(&self, batch: Vec<Submitted>) {
        let places: Vec<Vec<i64>> = batch
            .iter()
            .map(|submitted| {
                let posts = &submitted.change.posts;
                posts.iter().map(|_| self.next_place.fetch_add(1, Ordering::Relaxed)).collect()
            })
            .collect();
        let rows = Arc::new(rows_of(&batch, &places));
        match self.insist(&rows).await {
            Ok(new) => {
                for (submitted, places) in batch.into_iter().zip(places) {
                    self.told(submitted, places, &new);
                }
            }
            Err(error) => {
                tracing::error!(%error, changes = batch.len(), "durable changes of agents could not be written");
                for submitted in batch {
                    let _ = submitted.done.send(Err(error.clone()));
                }
            }
        }
    }

    /// Tries again while the store is gone: the same rows under the same places, so that what was kept without our
    /// knowing is recognised.
    async fn insist(&self, rows: &Arc<ChangeRows>) -> Result<HashSet<i64>, StoreError> {
        let began = Instant::now();
        let mut wait = RETRY_WAIT.0;
        loop {
            let rows = Arc::clone(rows);
            let written = self.store.write(move |tx| Box::pin(async move { apply(tx, &rows).await })).await;
            match written {
                Err(error) if error.is_transient() && began.elapsed() < WRITE_WAIT_MAX => {
                    tracing::warn!(%error, "durable changes of agents wait for the store");
                    tokio::time::sleep(wait).await;
                    wait = (wait * 2).min(RETRY_WAIT.1);
                }
                outcome => return outcome,
            }
        }
    }

    /// What is in the store goes into the mailboxes.
    fn told(&self, submitted: Submitted, places: Vec<i64>, new: &HashSet<i64>) {
        let Submitted { change, since, done } = submitted;
        let mut count = 0;
        for (mut post, place) in change.posts.into_iter().zip(places) {
            if !new.contains(&place) {
                counter!(AGENTS_DUPLICATES_TOTAL).increment(1);
                continue;
            }
            count += 1;
            let cell = Arc::clone(&post.place.cell);
            let delivery = Delivery { row: Some(place), ..Delivery::new(post.message) };
            if post.place.fill(delivery) {
                (self.run)(&cell);
            }
        }
        histogram!(AGENTS_COMMIT_DURATION_SECONDS).record(since.elapsed());
        let _ = done.send(Ok(count));
    }
}

fn rows_of(batch: &[Submitted], places: &[Vec<i64>]) -> ChangeRows {
    let now = Timestamp::now();
    let mut rows = ChangeRows::default();
    for (submitted, places) in batch.iter().zip(places) {
        let change = &submitted.change;
        for (post, place) in change.posts.iter().zip(places) {
            let (agent, message) = (&*post.place.cell.key, &post.message);
            rows.seen.push(params![agent, &message.id.as_bytes()[..], *place, now]);
            let content = Value::Blob(message.content.body.clone());
            rows.messages.push((*place, params![agent, *place, envelope::write(message), content]));
        }
        if let Some(agent) = &change.agent {
            rows.consumed.extend(change.consumed.iter().map(|place| params![&**agent, *place]));
            for (entry, content) in &change.state {
                match content {
                    Some(content) => rows.set.push(params![&**agent, entry, Value::Blob(content.clone())]),
                    None => rows.unset.push(params![&**agent, entry]),
                }
            }
        }
        if let Some(agent) = &change.agent {
            for (at, message) in &change.reminders {
                let content = Value::Blob(message.content.body.clone());
                let id = &message.id.as_bytes()[..];
                rows.reminders.push(params![&**agent, id, *at, envelope::write(message), content]);
            }
        }
        rows.rung.extend(change.rung.iter().map(|(agent, id)| params![&**agent, &id.as_bytes()[..]]));
        let scheduled = change.scheduled.iter();
        rows.scheduled.extend(scheduled.map(|(agent, spec, due)| params![&**agent, spec, *due]));
        for letter in &change.dead {
            let view = serde_json::to_string(&DeadLetterView::from(letter)).unwrap_or_default();
            rows.dead.push(params![&letter.tenant, letter.at, view]);
        }
    }
    rows
}
