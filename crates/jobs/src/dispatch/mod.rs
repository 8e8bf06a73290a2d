//! Decides who runs next.
//!
//! One task per server. It learns from [`Supply`] where ready jobs are, knows how many places are free and who polls,
//! plans a fair round ([`lanes::Lanes`]), claims it in one transaction ([`claim`]), and hands the jobs out.

mod claim;
pub(crate) mod lanes;
mod poll;
mod pool;
mod round;

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use paddock_platform::identity::Tenant;
use tokio::sync::{Mutex as AsyncMutex, Notify, mpsc};

use pool::Places;

pub(crate) use self::{
    poll::Poll,
    pool::{DELIVERIES, is_external, pool_of},
};

use crate::{Job, JobError, core::Core, running::Stop, service::Role, worker};

/// Lanes to remember as news; beyond that the store is asked where jobs are.
const NEWS_MAX: usize = 10_000;
/// How long an orderly shutdown waits after it stopped what runs.
const STOP_GRACE: Duration = Duration::from_secs(2);

/// Where ready jobs stand: those of one tenant in a queue that the same can run.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Lane {
    pub(crate) queue: Arc<str>,
    /// Who can run them, as `pool_of` says.
    pub(crate) pool: Arc<str>,
    pub(crate) tenant: Tenant,
}

impl Lane {
    /// The lane that a job stands in.
    pub(crate) fn of(job: &Job) -> Self {
        Self { queue: Arc::clone(&job.queue), pool: job.pool().into(), tenant: job.tenant.clone() }
    }
}

/// News for the dispatcher.
pub(crate) struct Supply {
    news: Mutex<News>,
    wake: Notify,
    polls: mpsc::Sender<Poll>,
    intake: Mutex<Option<mpsc::Receiver<Poll>>>,
    draining: AtomicBool,
    /// Held while jobs are claimed and handed out: between the two nobody counts them.
    round: AsyncMutex<()>,
}

#[derive(Debug, Default)]
struct News {
    lanes: BTreeSet<Lane>,
    /// Queues in which an attempt ended.
    freed: BTreeSet<Arc<str>>,
    /// Something may have been missed: ask the store.
    look: bool,
}

impl Supply {
    pub(crate) fn new(pollers_max: usize) -> Self {
        let (polls, intake) = mpsc::channel(pollers_max.max(1));
        Self {
            news: Mutex::default(),
            wake: Notify::new(),
            polls,
            intake: Mutex::new(Some(intake)),
            draining: AtomicBool::new(false),
            round: AsyncMutex::default(),
        }
    }

    fn tell(&self, change: impl FnOnce(&mut News)) {
        change(&mut self.news.lock().unwrap_or_else(PoisonError::into_inner));
        self.wake.notify_one();
    }

    /// These have ready jobs.
    pub(crate) fn lanes(&self, lanes: Vec<Lane>) {
        if lanes.is_empty() {
            return;
        }
        self.tell(|news| {
            news.lanes.extend(lanes);
            if news.lanes.len() > NEWS_MAX {
                news.lanes.clear();
                news.look = true;
            }
        });
    }

    /// In these queues attempts ended.
    pub(crate) fn freed(&self, queues: BTreeSet<Arc<str>>) {
        if !queues.is_empty() {
            self.tell(|news| news.freed.extend(queues));
        }
    }

    /// A place became free on this server.
    pub(crate) fn place(&self) {
        self.wake.notify_one();
    }

    /// Something may have been missed.
    pub(crate) fn look(&self) {
        self.tell(|news| news.look = true);
    }

    fn take(&self) -> News {
        std::mem::take(&mut *self.news.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// An external worker asks for jobs.
    pub(crate) fn poll(&self, poll: Poll) -> Result<(), JobError> {
        if self.draining.load(Ordering::Acquire) {
            return Err(JobError::Overloaded("this server is shutting down"));
        }
        let sent = self.polls.try_send(poll);
        self.wake.notify_one();
        sent.map_err(|_| JobError::Overloaded("as many workers wait for jobs as may"))
    }
}

/// Starts the dispatcher and the workers.
pub(crate) fn spawn(core: &Arc<Core>, role: &Role) {
    let places = if role.works { Places::of(&core.policy().options) } else { Places::default() };
    let (hand_out, taken) = mpsc::channel(places.all().max(1));
    let taken = Arc::new(AsyncMutex::new(taken));
    for _ in 0..places.all() {
        core.tasks.spawn("jobs-worker", worker::work(Arc::clone(core), Arc::clone(&taken)));
    }
    let intake = core.supply.intake.lock().unwrap_or_else(PoisonError::into_inner).take();
    let Some(polls) = intake else { return };
    let stopping = core.tasks.stop_token();
    let dispatcher = round::Dispatcher::new(Arc::clone(core), places, role.queues.clone(), hand_out, polls);
    core.tasks.spawn("jobs-dispatcher", async move {
        let _ = stopping.run_until_cancelled(dispatcher.run()).await;
    });
}

/// Nobody waits for what comes any more.
pub(crate) fn close(core: &Core) {
    core.supply.draining.store(true, Ordering::Release);
    core.closing.cancel();
    core.waiters.tell_all();
    core.supply.wake.notify_one();
}

/// Stops taking jobs, gives those that run their time, and gives back the rest.
pub(crate) async fn drain(core: &Arc<Core>) {
    close(core);
    let patience = core.policy().options.drain.get();
    let quiet = async {
        // What is being claimed right now is handed out first; nothing is claimed after it.
        drop(core.supply.round.lock().await);
        idle(core).await;
    };
    if tokio::time::timeout(patience, quiet).await.is_err() {
        tracing::info!(jobs = core.running.busy(), "giving back the jobs that still run");
        core.running.stop_all(Stop::Released);
        if tokio::time::timeout(STOP_GRACE, idle(core)).await.is_err() {
            tracing::warn!(
                jobs = core.running.busy(),
                "jobs did not let themselves be stopped; they are taken up again"
            );
        }
    }
    if tokio::time::timeout(STOP_GRACE, core.ledger.settled()).await.is_err() {
        tracing::warn!("the end of some attempts was not written; their jobs are taken up again");
    }
    core.node.leave(&core.store).await;
}

async fn idle(core: &Core) {
    while core.running.busy() > 0 {
        // Level-triggered: places wake the dispatcher, which nobody else may take that from.
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
