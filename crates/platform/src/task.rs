//! Named background tasks: the only way to spawn.
//!
//! A [`Tasks`] counts what runs under which name (`tasks_running{task}`), gives each task a span, and lets shutdown
//! wait for all of them. A task learns of shutdown from [`Tasks::stopping`].

use std::{future::Future, sync::OnceLock, time::Duration};

use metrics::gauge;
use tokio::{
    runtime::{self, Runtime},
    task::JoinHandle,
};
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

/// How much the threads of [`background`] step back behind those that answer requests.
const BACKGROUND_NICENESS: i32 = 10;

/// Computes on a thread that steps back where others want the processors: for work that takes long while requests are
/// answered, such as putting an index together. Ends with the process, whoever waits for it or not.
pub fn background<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    static THREADS: OnceLock<Option<Runtime>> = OnceLock::new();
    let threads = THREADS.get_or_init(|| {
        // Without a driver and workers: it is there for its blocking threads, whose priority is theirs alone.
        runtime::Builder::new_current_thread()
            .thread_name("paddock-background")
            .on_thread_start(step_back)
            .build()
            .ok()
    });
    match threads {
        Some(threads) => threads.spawn_blocking(work),
        None => tokio::task::spawn_blocking(work),
    }
}

/// Lowers the priority of the calling thread. Best effort: with the usual one, requests wait longer meanwhile.
fn step_back() {
    // On Linux this is the priority of one thread, whatever the function is called.
    let thread = Some(rustix::thread::gettid());
    if let Ok(usual) = rustix::process::getpriority_process(thread) {
        let _ = rustix::process::setpriority_process(thread, usual + BACKGROUND_NICENESS);
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

    #[tokio::test]
    async fn background_work_steps_back_behind_the_rest() {
        let niceness = || rustix::process::getpriority_process(Some(rustix::thread::gettid())).unwrap();
        let usual = niceness();
        assert_eq!(background(niceness).await.unwrap(), (usual + BACKGROUND_NICENESS).min(19));
        assert_eq!(niceness(), usual);
    }
}
