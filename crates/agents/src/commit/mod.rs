//! Writes what many agents and callers want kept, together.
//!
//! One task takes what waits, writes it in one transaction, and only then puts the messages in it into their mailboxes:
//! in the order in which they are in the store. While one transaction is under way the next gathers.
//!
//! Where several servers share the agents, the same task says which of them this server runs: so that what is written
//! for an agent and its coming or going are never under way together. A message for an agent of another server goes to the
//! store like any other, and that server is told.

mod post;
mod rows;

use std::{
    collections::{BTreeSet, HashSet},
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
    store::{Store, StoreError},
    task::Tasks,
};
use tokio::sync::{mpsc, oneshot};
use tokio_util::task::TaskTracker;

pub(crate) use self::post::{Place, Post};
use self::rows::rows_of;
use crate::{
    cell::Cell,
    dead::DeadLetter,
    mailbox::Delivery,
    message::{Message, MessageId},
    metrics::{
        AGENTS_COMMIT_BATCH, AGENTS_COMMIT_DURATION_SECONDS, AGENTS_DUPLICATES_TOTAL, AGENTS_FENCED_TOTAL,
    },
    nodes::Nodes,
    store::{
        Applied, ChangeRows, apply,
        nodes::{self, Taken},
    },
};

/// Rows that share a transaction at most.
const ROWS_MAX: usize = 2_000;
/// How long a transaction is tried while the store is gone.
const WRITE_WAIT_MAX: Duration = Duration::from_secs(10);
/// The first and the longest wait between two tries.
const RETRY_WAIT: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));

/// What takes place together or not at all.
#[derive(Debug, Default)]
pub(crate) struct Change {
    /// Messages that are sent.
    pub(crate) posts: Vec<Post>,
    /// The agent whose messages and state these are, and the epoch under which it was run.
    pub(crate) agent: Option<(Arc<str>, i64)>,
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
    /// Whose reminders and schedules these are, and the epochs under which this server ran them.
    pub(crate) claims: Vec<(Arc<str>, i64)>,
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

/// Agents that this server is to run no longer, with their epochs, and others that it is to run, with how many messages
/// their mailboxes hold.
#[derive(Debug, Default)]
pub(crate) struct Handover {
    pub(crate) node: Arc<str>,
    pub(crate) release: Vec<(String, i64)>,
    pub(crate) take: Vec<(String, usize)>,
}

enum Work {
    Change(Submitted),
    HandOver(Handover, oneshot::Sender<Result<Vec<Taken>, StoreError>>),
}

/// The handle: what is to be written. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Committer(mpsc::Sender<Work>);

/// Why a change was not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CommitError {
    #[error("more durable changes wait to be written than may (`agents.pending_max`)")]
    Overloaded,
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Committer {
    /// `run` is called with each agent that has to be run; `nodes` are the servers that share the agents, if there may be
    /// others. It writes until the server stops and none of `lives` is left.
    pub(crate) fn start(
        store: Store,
        pending_max: usize,
        first_place: i64,
        nodes: Option<Arc<Nodes>>,
        tasks: &Tasks,
        lives: TaskTracker,
        run: impl Fn(&Arc<Cell>) + Send + Sync + 'static,
    ) -> Self {
        let (sender, receiver) = mpsc::channel(pending_max.max(1));
        let writer = Writer {
            store,
            next_place: AtomicI64::new(first_place.max(Timestamp::now().as_millisecond() << 20)),
            nodes,
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
        self.0.send(Work::Change(submitted)).await.map_err(|_| StoreError::Closed)?;
        written.await.map_err(|_| StoreError::Closed)?
    }

    /// How many changes wait to be written, and how many may.
    pub(crate) fn load(&self) -> (usize, usize) {
        let max = self.0.max_capacity();
        (max - self.0.capacity(), max)
    }

    /// Says which agents this server runs, after everything that was handed in before.
    pub(crate) async fn hand_over(&self, handover: Handover) -> Result<Vec<Taken>, StoreError> {
        let (done, taken) = oneshot::channel();
        self.0.send(Work::HandOver(handover, done)).await.map_err(|_| StoreError::Closed)?;
        taken.await.map_err(|_| StoreError::Closed)?
    }

    /// As [`Committer::write`], for callers who can come back.
    pub(crate) async fn try_write(&self, change: Change) -> Result<usize, CommitError> {
        let (done, written) = oneshot::channel();
        let submitted = Submitted { change, since: Instant::now(), done };
        self.0.try_send(Work::Change(submitted)).map_err(|error| match error {
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
    nodes: Option<Arc<Nodes>>,
    tasks: Tasks,
    run: Run,
}

impl Writer {
    async fn work(self, mut receiver: mpsc::Receiver<Work>, lives: TaskTracker) {
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
            let (mut rows, mut batch, mut handover) = (0, Vec::new(), None);
            let mut next = Some(first);
            while let Some(work) = next.take() {
                match work {
                    Work::Change(submitted) => {
                        rows += submitted.change.rows();
                        batch.push(submitted);
                    }
                    Work::HandOver(handed, done) => {
                        handover = Some((handed, done));
                        break;
                    }
                }
                if rows < ROWS_MAX {
                    next = receiver.try_recv().ok();
                }
            }
            if !batch.is_empty() {
                histogram!(AGENTS_COMMIT_BATCH).record(batch.len() as f64);
                self.write(batch).await;
            }
            if let Some((Handover { node, release, take }, done)) = handover {
                let _ = done.send(nodes::place(&self.store, &node, release, take).await);
            }
        }
    }

    async fn write(&self, mut batch: Vec<Submitted>) {
        let mut places = match self.places(&batch).await {
            Ok(places) => places,
            Err(error) => return give_up(batch, &error),
        };
        loop {
            let rows = Arc::new(rows_of(self.nodes.as_deref(), &batch, &places));
            // The same rows under the same places at each try: what was kept without our knowing is recognised.
            match insist(|| keep(self.store.clone(), Arc::clone(&rows))).await {
                Ok(Applied::Kept { new, elsewhere, coming }) => {
                    let mut servers = BTreeSet::new();
                    for (submitted, places) in batch.into_iter().zip(places) {
                        self.told(submitted, places, (&new, &elsewhere, &coming), &mut servers);
                    }
                    if let Some(nodes) = &self.nodes {
                        for server in servers {
                            nodes.hint(server);
                        }
                    }
                    return;
                }
                // The others' changes have nothing to do with it.
                Ok(Applied::Fenced(lost)) => {
                    let is_lost = |submitted: &Submitted| {
                        let mut claims = submitted.change.agent.iter().chain(&submitted.change.claims);
                        claims.any(|(agent, _)| lost.contains(agent))
                    };
                    let both = batch.into_iter().zip(places);
                    let (fenced, kept): (Vec<_>, Vec<_>) =
                        both.partition(|(submitted, _)| is_lost(submitted));
                    counter!(AGENTS_FENCED_TOTAL).increment(fenced.len() as u64);
                    for (submitted, _) in fenced {
                        let error =
                            StoreError::Conflict("the agent is not this server's any more".to_owned());
                        let _ = submitted.done.send(Err(error));
                    }
                    (batch, places) = kept.into_iter().unzip();
                    if batch.is_empty() {
                        return;
                    }
                }
                Err(error) => return give_up(batch, &error),
            }
        }
    }

    /// A place for each message that is sent. Servers that share the store take them from one count: the order of one
    /// agent's messages stays when another server runs it.
    async fn places(&self, batch: &[Submitted]) -> Result<Vec<Vec<i64>>, StoreError> {
        let each = batch.iter().map(|submitted| submitted.change.posts.len());
        if self.nodes.is_none() {
            let mut next = |_| self.next_place.fetch_add(1, Ordering::Relaxed);
            return Ok(each.map(|count| (0..count).map(&mut next).collect()).collect());
        }
        let count: usize = each.clone().sum();
        let all =
            if count == 0 { Vec::new() } else { insist(|| shared_places(self.store.clone(), count)).await? };
        let mut all = all.into_iter();
        Ok(each.map(|count| all.by_ref().take(count).collect()).collect())
    }

    /// What is in the store goes into the mailboxes.
    fn told(
        &self,
        submitted: Submitted,
        places: Vec<i64>,
        (new, elsewhere, coming): (&HashSet<i64>, &HashSet<i64>, &HashSet<i64>),
        servers: &mut BTreeSet<Arc<str>>,
    ) {
        let Submitted { change, since, done } = submitted;
        let (mut count, mut unfetched) = (0, Vec::new());
        for (post, place) in change.posts.into_iter().zip(places) {
            if !new.contains(&place) {
                counter!(AGENTS_DUPLICATES_TOTAL).increment(1);
                continue;
            }
            count += 1;
            if elsewhere.contains(&place) {
                if coming.contains(&place) {
                    unfetched.push(post.cell);
                } else {
                    servers.extend(post.cell.owner());
                }
                continue;
            }
            let delivery = Delivery { row: Some(place), ..Delivery::new(post.message) };
            if post.place.is_some_and(|kept| kept.fill(delivery)) {
                (self.run)(&post.cell);
            }
        }
        histogram!(AGENTS_COMMIT_DURATION_SECONDS).record(since.elapsed());
        match &self.nodes {
            Some(nodes) => nodes.acknowledge(done, count, unfetched),
            None => {
                let _ = done.send(Ok(count));
            }
        }
    }
}

async fn shared_places(store: Store, count: usize) -> Result<Vec<i64>, StoreError> {
    nodes::places(&store, count).await
}

async fn keep(store: Store, rows: Arc<ChangeRows>) -> Result<Applied, StoreError> {
    store.write(move |tx| Box::pin(async move { apply(tx, &rows).await })).await
}

/// Tries again while the store is gone.
async fn insist<T, F>(mut attempt: impl FnMut() -> F) -> Result<T, StoreError>
where
    F: Future<Output = Result<T, StoreError>> + Send,
{
    let began = Instant::now();
    let mut wait = RETRY_WAIT.0;
    loop {
        match attempt().await {
            Err(error) if error.is_transient() && began.elapsed() < WRITE_WAIT_MAX => {
                tracing::warn!(%error, "durable changes of agents wait for the store");
                tokio::time::sleep(wait).await;
                wait = (wait * 2).min(RETRY_WAIT.1);
            }
            outcome => return outcome,
        }
    }
}

fn give_up(batch: Vec<Submitted>, error: &StoreError) {
    tracing::error!(%error, changes = batch.len(), "durable changes of agents could not be written");
    for submitted in batch {
        let _ = submitted.done.send(Err(error.clone()));
    }
}
