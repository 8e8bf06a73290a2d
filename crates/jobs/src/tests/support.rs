//! A server's jobs, with tools that do what a test wants.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use paddock_platform::{
    blobs::{Blobs, BlobsOptions},
    config::Section,
    identity::{Caller, Scope, Tenant},
    problem::{INVALID_REQUEST, OVERLOADED, Problem},
    store::{Store, testing::Fixture},
    task::Tasks,
    tool::{Tool, Toolbox},
    units::HumanDuration,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::Notify;

use crate::{Job, JobFilter, JobId, JobState, Jobs, JobsOptions, NewJob, QueueOptions, Role, tools};

/// Far longer than anything takes that works.
pub(super) const PATIENCE: Duration = Duration::from_mins(1);

/// What the tools saw.
#[derive(Default)]
pub(super) struct Seen {
    /// Names in the order in which they were run.
    pub(super) order: Mutex<Vec<String>>,
    /// How often each name was run.
    pub(super) counts: Mutex<HashMap<String, usize>>,
    running: Mutex<HashMap<String, usize>>,
    /// The most that ran at once under one name.
    pub(super) most: Mutex<HashMap<String, usize>>,
    /// Futures of `lab_hang` that were dropped.
    pub(super) dropped: AtomicUsize,
    /// How often `lab_hang` began.
    pub(super) hanging: AtomicUsize,
    pub(super) changed: Notify,
}

#[derive(Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Named {
    /// A name for the test.
    name: String,
}

#[derive(Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Sized {
    /// So many bytes are answered.
    size: usize,
}

#[derive(Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Broken {
    /// Whether it is the caller's fault.
    forever: bool,
}

#[derive(Serialize, JsonSchema)]
struct Text {
    text: String,
}

struct Dropped(Arc<Seen>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.dropped.fetch_add(1, Ordering::SeqCst);
        self.0.changed.notify_waiters();
    }
}

fn echo(seen: &Arc<Seen>) -> Tool {
    let seen = Arc::clone(seen);
    Tool::new("lab_echo", "says what it was told", Scope::write("lab"), move |context, input: Named| {
        let seen = Arc::clone(&seen);
        async move {
            context.progress.report(1.0, Some(2.0), "half");
            seen.order.lock().unwrap().push(input.name.clone());
            *seen.counts.lock().unwrap().entry(input.name.clone()).or_default() += 1;
            Ok(input)
        }
    })
}

/// Runs for a few turns of the scheduler, and notes how many of its name run at once.
fn overlap(seen: &Arc<Seen>) -> Tool {
    let seen = Arc::clone(seen);
    Tool::new("lab_overlap", "notes what runs at once", Scope::write("lab"), move |_, input: Named| {
        let seen = Arc::clone(&seen);
        async move {
            let running = {
                let mut running = seen.running.lock().unwrap();
                let count = running.entry(input.name.clone()).or_default();
                *count += 1;
                *count
            };
            {
                let mut most = seen.most.lock().unwrap();
                let most = most.entry(input.name.clone()).or_default();
                *most = (*most).max(running);
            }
            for _ in 0..20 {
                tokio::task::yield_now().await;
            }
            *seen.running.lock().unwrap().get_mut(&input.name).unwrap() -= 1;
            *seen.counts.lock().unwrap().entry(input.name.clone()).or_default() += 1;
            Ok(input)
        }
    })
}

fn hang(seen: &Arc<Seen>) -> Tool {
    let seen = Arc::clone(seen);
    Tool::new("lab_hang", "never ends", Scope::write("lab"), move |context, input: Named| {
        let seen = Arc::clone(&seen);
        async move {
            let _dropped = Dropped(Arc::clone(&seen));
            context.progress.report(40.0, Some(100.0), "hanging");
            seen.hanging.fetch_add(1, Ordering::SeqCst);
            seen.changed.notify_waiters();
            std::future::pending::<()>().await;
            Ok(input)
        }
    })
}

/// The tools of the tests.
pub(super) fn lab_tools(seen: &Arc<Seen>) -> Vec<Tool> {
    let large = Tool::new("lab_large", "answers much", Scope::write("lab"), |_, input: Sized| async move {
        Ok(Text { text: "x".repeat(input.size) })
    });
    let fail = Tool::new("lab_fail", "fails", Scope::write("lab"), |_, input: Broken| async move {
        let kind = if input.forever { INVALID_REQUEST } else { OVERLOADED };
        Err::<Text, _>(Problem::new(kind, "it broke").with("part", "wheel"))
    });
    let panic = Tool::new("lab_panic", "panics", Scope::write("lab"), |_, _: Named| async move {
        let wheels: Vec<String> = Vec::new();
        Ok(Text { text: wheels[0].clone() })
    });
    vec![echo(seen), overlap(seen), hang(seen), large, fail, panic]
}

/// The jobs of one server.
pub(super) struct Server {
    pub(super) jobs: Jobs,
    pub(super) store: Store,
    pub(super) seen: Arc<Seen>,
    pub(super) tasks: Tasks,
}

/// Options that let a test see retries.
pub(super) fn options() -> JobsOptions {
    let drain = HumanDuration::from_millis(200);
    let mut options = JobsOptions { concurrency: 8, drain, ..JobsOptions::default() };
    let quick = crate::RetryPolicy {
        attempts: 3,
        waits: vec![HumanDuration::from_millis(1)],
        ..crate::RetryPolicy::default()
    };
    let queue = QueueOptions { retry: quick, ..QueueOptions::default() };
    for name in ["critical", "standard", "low"] {
        options.queue.insert(name.to_owned(), queue.clone());
    }
    options
}

/// With something changed in the queue `standard`.
pub(super) fn with_queue(change: impl FnOnce(&mut QueueOptions)) -> JobsOptions {
    let mut options = options();
    change(options.queue.get_mut("standard").unwrap());
    options
}

impl Server {
    /// A server that runs jobs.
    pub(super) async fn start(fixture: &Fixture, options: JobsOptions) -> Self {
        Self::start_as(fixture, options, Role { works: true, queues: Vec::new() }).await
    }

    /// A server with a role.
    pub(super) async fn start_as(fixture: &Fixture, options: JobsOptions, role: Role) -> Self {
        let server = Self::open(fixture, options).await;
        server.run(role).await;
        server
    }

    /// A server that does not run yet.
    pub(super) async fn open(fixture: &Fixture, options: JobsOptions) -> Self {
        let (store, tasks) = (fixture.open().await, Tasks::default());
        let blobs = Blobs::open(&BlobsOptions::default(), fixture.data_dir()).unwrap();
        let jobs = Jobs::open(store.clone(), blobs, Section::fixed(options), &tasks).await.unwrap();
        Self { jobs, store, seen: Arc::default(), tasks }
    }

    pub(super) async fn run(&self, role: Role) {
        let toolbox = Toolbox::new(lab_tools(&self.seen).into_iter().chain(tools(&self.jobs))).unwrap();
        self.jobs.run(toolbox, role).await.unwrap();
    }

    /// Shuts down in good order.
    pub(super) async fn stop(self) {
        self.jobs.drain().await;
        self.tasks.stop(PATIENCE).await.unwrap();
        self.store.close().await;
    }

    /// Ends without a word, as after `kill -9`: what runs is dropped, and nothing is written.
    pub(super) async fn kill(self) {
        self.store.close().await;
        let _ = self.tasks.stop(PATIENCE).await;
    }

    pub(super) async fn enqueue(&self, job: NewJob) -> JobId {
        self.jobs.enqueue(&Caller::local(), job).await.unwrap().id
    }

    /// The job once it has ended.
    pub(super) async fn ended(&self, id: JobId) -> Job {
        let job = self.jobs.wait(&Tenant::local(), id, PATIENCE).await.unwrap();
        assert!(job.state.is_final(), "{job:?}");
        job
    }

    pub(super) async fn get(&self, id: JobId) -> Job {
        self.jobs.get(&Tenant::local(), id).await.unwrap()
    }

    /// The job once it is in a state.
    pub(super) async fn reaches(&self, id: JobId, state: JobState) -> Job {
        let mut last = None;
        self.eventually(async || {
            let job = self.get(id).await;
            let reached = job.state == state;
            last = Some(job);
            reached
        })
        .await;
        last.unwrap()
    }

    /// Asks often and gives up late.
    pub(super) async fn eventually(&self, mut ask: impl AsyncFnMut() -> bool) {
        let started = Instant::now();
        while !ask().await {
            assert!(started.elapsed() < PATIENCE, "it never came to that");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    pub(super) async fn count(&self, state: JobState) -> usize {
        let filter = JobFilter { state: Some(state), ..JobFilter::default() };
        self.jobs.list(&Tenant::local(), &filter, None, 10_000).await.unwrap().len()
    }
}

pub(super) fn echo_job(name: &str) -> NewJob {
    NewJob::tool("lab_echo", serde_json::json!({"name": name}))
}

pub(super) fn tool_job(tool: &str, input: Value) -> NewJob {
    NewJob::tool(tool, input)
}

/// A caller of another tenant, with every scope.
pub(super) fn stranger(tenant: &str) -> Caller {
    Caller::with_key("k2", tenant.parse().unwrap(), vec![Scope::ALL])
}
