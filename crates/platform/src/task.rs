//! Named background tasks: the only way to spawn.
//!
//! A [`Tasks`] counts what runs under which name (`tasks_running{task}`), gives each task a span, and lets shutdown
//! wait for all of them. A task learns of shutdown from [`Tasks::stopping`].

use std::{future::Future, time::Duration};

use metrics::gauge;
use tokio::task::JoinHandle;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::Instrument;

use crate::telemetry::TASKS_RUNNING;

/// The name of every task's span.
pub(crate) const TASK_SPAN: &str = "task";

/// Spawns, counts and finally awaits the tasks of a server. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Tasks {
    tracker: TaskTracker,
    stopping: CancellationToken,
}

/// Tasks were still running when the deadline of [`Tasks::stop`] passed.
#[derive(Debug, thiserror::Error)]
#[error("{running} background tasks did not finish within {}s", deadline.as_secs())]
pub struct StopTimeoutError {
    /// How many tasks were left.
    pub running: usize,
    /// How long they were waited for.
    pub deadline: Duration,
}

impl Tasks {
    /// Starts a task under a name from a small fixed set: it becomes a metric label.
    pub fn spawn<F>(&self, name: &'static str, future: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let running = gauge!(TASKS_RUNNING, "task" => name);
        running.increment(1.0);
        let counted = CountedTask(running);
        let span = tracing::info_span!(parent: None, TASK_SPAN, task.name = name);
        let future = async move {
            let _counted = counted;
            future.await
        };
        self.tracker.spawn(future.instrument(span))
    }

    /// Resolves when shutdown begins.
    pub async fn stopping(&self) {
        self.stopping.cancelled().await;
    }

    /// Whether shutdown has begun.
    pub fn is_stopping(&self) -> bool {
        self.stopping.is_cancelled()
    }

    /// The token behind [`Tasks::stopping`], for `select`s that need an owned one.
    pub fn stop_token(&self) -> CancellationToken {
        self.stopping.clone()
    }

    /// Begins shutdown and waits for every task, at most until the deadline.
    pub async fn stop(&self, deadline: Duration) -> Result<(), StopTimeoutError> {
        self.stopping.cancel();
        self.tracker.close();
        tokio::time::timeout(deadline, self.tracker.wait())
            .await
            .map_err(|_| StopTimeoutError { running: self.tracker.len(), deadline })
    }
}

/// Decrements the gauge also when the task is dropped or panics.
struct CountedTask(metrics::Gauge);

impl Drop for CountedTask {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn stopping_waits_for_what_runs() {
        let tasks = Tasks::default();
        let stopping = tasks.stop_token();
        let handle = tasks.spawn("probe", async move {
            stopping.cancelled().await;
            7
        });
        tasks.stop(Duration::from_secs(5)).await.unwrap();
        assert_eq!(handle.await.unwrap(), 7);
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_ignores_shutdown_is_reported() {
        let tasks = Tasks::default();
        tasks.spawn("deaf", std::future::pending::<()>());
        let error = tasks.stop(Duration::from_secs(5)).await.unwrap_err();
        assert_eq!(error.running, 1);
    }
}
