//! The queue of tasks: actions on tabs that agents leave to the server, in the shape that Pinchtab's clients know.
//!
//! Kept in memory, per tenant, and gone with the server. Whose turn it is decides [`queue::Queue`]: the agent with the
//! fewest tasks under way, and of its tasks the one with the lowest priority number, the oldest first.
//!
//! Invariants: a task that ended changes no more; what runs holds a place of its agent until it has really stopped, also
//! when it was cancelled before; nothing is kept without a bound.

mod board;
mod queue;
mod task;

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use paddock_platform::identity::Tenant;
use tokio::sync::Notify;

use self::board::Board;
pub(crate) use self::{board::Started, queue::Limits, task::NewTask};
pub use self::{
    board::{AgentTally, QueueStats, SchedulerTally},
    task::{Task, TaskState},
};
use crate::config::BrowserOptions;

/// Why a task was not taken in, or not cancelled.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SchedulerError {
    /// As many tasks wait as may; the task is remembered as rejected.
    #[error("rejected: {reason}")]
    Full {
        /// The tenant's queue or the agent's.
        reason: String,
        /// The task.
        id: String,
    },
    #[error("task `{0}` not found")]
    NotFound(String),
    #[error("task `{id}` already in terminal state `{state}`")]
    Ended { id: String, state: TaskState },
}

/// The tasks of all tenants.
#[derive(Debug, Default)]
pub(crate) struct Scheduler {
    boards: Mutex<HashMap<Tenant, Board>>,
    /// Something is due at another time than before.
    changed: Notify,
}

impl Limits {
    pub(crate) fn of(options: &BrowserOptions) -> Self {
        Self {
            queued_max: options.tasks_queued_max,
            queued_per_agent_max: options.tasks_queued_per_agent_max,
            running_max: options.tasks_running_max,
            running_per_agent_max: options.tasks_running_per_agent_max,
        }
    }
}

impl Scheduler {
    /// Takes a task in. It runs when [`Scheduler::next`] hands it out.
    pub(crate) fn submit(
        &self,
        tenant: &Tenant,
        new: NewTask,
        options: &BrowserOptions,
    ) -> Result<Task, SchedulerError> {
        let limits = Limits::of(options);
        let submitted = self.with(tenant, |board| board.submit(new, &limits, options, Timestamp::now()));
        self.changed.notify_one();
        submitted
    }

    /// The next task of a tenant, if one may run now: it runs from now on.
    pub(crate) fn next(&self, tenant: &Tenant, options: &BrowserOptions) -> Option<Started> {
        self.with(tenant, |board| board.start_next(&Limits::of(options), Timestamp::now()))
    }

    /// A task has ended; the task, unless it was cancelled meanwhile.
    pub(crate) fn finish(
        &self,
        tenant: &Tenant,
        begun: &Task,
        outcome: Result<serde_json::Value, String>,
    ) -> Option<Task> {
        let ended = self.with(tenant, |board| board.finish(begun, outcome, Timestamp::now()));
        self.changed.notify_one();
        ended
    }

    /// Cancels a task that waits or runs.
    pub(crate) fn cancel(&self, tenant: &Tenant, id: &str) -> Result<Task, SchedulerError> {
        let cancelled = self.with(tenant, |board| board.cancel(id, Timestamp::now()));
        self.changed.notify_one();
        cancelled
    }

    pub(crate) fn task(&self, tenant: &Tenant, id: &str) -> Option<Task> {
        self.with(tenant, |board| board.task(id))
    }

    /// The tasks of an agent or of all, in some states or in all, the oldest first.
    pub(crate) fn list(&self, tenant: &Tenant, agent: Option<&str>, states: &[TaskState]) -> Vec<Task> {
        self.with(tenant, |board| board.list(agent, states))
    }

    pub(crate) fn stats(&self, tenant: &Tenant) -> (QueueStats, SchedulerTally) {
        self.with(tenant, |board| board.stats())
    }

    /// Waits until tasks ran out of time in the queue, and hands them out; forgets the results that are old enough.
    pub(crate) async fn expired(&self, keep: impl Fn() -> Duration) -> Vec<(Tenant, Task)> {
        loop {
            let changed = self.changed.notified();
            let (now, keep_for) = (Timestamp::now(), keep());
            let expired = self.expire(now, keep_for);
            if !expired.is_empty() {
                return expired;
            }
            match self.due(keep_for) {
                Some(due) => {
                    let left = due.duration_since(now).unsigned_abs();
                    tokio::time::timeout(left, changed).await.ok();
                }
                None => changed.await,
            }
        }
    }

    fn expire(&self, now: Timestamp, keep: Duration) -> Vec<(Tenant, Task)> {
        let mut boards = self.lock();
        let mut expired = Vec::new();
        for (tenant, board) in &mut *boards {
            expired.extend(board.expire(now, keep).into_iter().map(|task| (tenant.clone(), task)));
        }
        expired
    }

    /// When the next task runs out of time, or the next result is old enough to be forgotten.
    fn due(&self, keep: Duration) -> Option<Timestamp> {
        self.lock().values().filter_map(|board| board.due(keep)).min()
    }

    fn with<T>(&self, tenant: &Tenant, with: impl FnOnce(&mut Board) -> T) -> T {
        with(self.lock().entry(tenant.clone()).or_default())
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Tenant, Board>> {
        self.boards.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
