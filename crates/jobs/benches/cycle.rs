//! What a job costs: accepted, claimed, done, with everything on the disk. Prints the figures of one case in one line, for
//! the lab: `cargo bench --bench cycle -- json sqlite 64`.
//!
//! Cases: `sqlite N` and `postgres N` keep N jobs in flight, one request each; `sqlite-batch` and `postgres-batch` hand
//! over a thousand at a time and let them be done; `pickup` looks how soon an idle queue begins; `places N` keeps N places
//! busy with jobs that take a while; `million` claims with 1,000,000 jobs waiting, and starts again with them.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a benchmark is a test in this respect")]
#![expect(clippy::print_stdout, reason = "the figures are what it is for")]

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use futures_util::{FutureExt, future::BoxFuture};
use paddock_jobs::{
    ClaimRequest, Completion, JobContext, JobFailure, JobId, JobKind, Jobs, JobsOptions, NewJob, Outcome,
    Role,
};
use paddock_platform::{
    blobs::{Blobs, BlobsOptions},
    config::Section,
    identity::Caller,
    store::{Store, testing::Fixture},
    task::Tasks,
    tool::Toolbox,
};
use serde_json::json;
use tokio::sync::oneshot;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const KIND: &str = "bench:nothing";
const WORK: &str = "bench:work";
/// How long a job of the latter takes.
const WORK_TIME: Duration = Duration::from_millis(20);
const WARM_UP: Duration = Duration::from_secs(1);
const MEASURED: Duration = Duration::from_secs(5);
const BATCH: usize = 1_000;

/// Does nothing, and counts.
struct Nothing(Arc<AtomicUsize>);

impl JobKind for Nothing {
    fn run(&self, _: JobContext) -> BoxFuture<'static, Result<Outcome, JobFailure>> {
        self.0.fetch_add(1, Ordering::Relaxed);
        std::future::ready(Ok(Outcome::Done(json!({"ok": true})))).boxed()
    }
}

/// Takes its time, and counts.
struct Work(Arc<AtomicUsize>);

impl JobKind for Work {
    fn run(&self, _: JobContext) -> BoxFuture<'static, Result<Outcome, JobFailure>> {
        let done = Arc::clone(&self.0);
        async move {
            tokio::time::sleep(WORK_TIME).await;
            done.fetch_add(1, Ordering::Relaxed);
            Ok(Outcome::Done(json!({"ok": true})))
        }
        .boxed()
    }
}

struct Server {
    jobs: Jobs,
    store: Store,
    tasks: Tasks,
    ran: Arc<AtomicUsize>,
    opened: Duration,
}

impl Server {
    async fn start(fixture: &Fixture, concurrency: usize, works: bool) -> Self {
        let began = Instant::now();
        let (store, tasks) = (fixture.open().await, Tasks::default());
        let blobs = Blobs::open(&BlobsOptions::default(), fixture.data_dir()).unwrap();
        let mut options = JobsOptions { concurrency, ..JobsOptions::default() };
        options.queue.entry("standard".to_owned()).or_default().depth_max = 10_000_000;
        let jobs = Jobs::open(store.clone(), blobs, Section::fixed(options), &tasks).await.unwrap();
        let ran = Arc::new(AtomicUsize::new(0));
        jobs.registry().add_kind(KIND, Arc::new(Nothing(Arc::clone(&ran))));
        jobs.registry().add_kind(WORK, Arc::new(Work(Arc::clone(&ran))));
        jobs.run(Toolbox::new([]).unwrap(), Role { works, queues: Vec::new() }).await.unwrap();
        Self { jobs, store, tasks, ran, opened: began.elapsed() }
    }

    async fn stop(self) {
        self.jobs.drain().await;
        let _ = self.tasks.stop(Duration::from_secs(10)).await;
        self.store.close().await;
    }
}

fn job(kind: &str) -> NewJob {
    NewJob::kind(kind, json!({"payload": "x".repeat(500)}))
}

/// Resolves the clients' waits from the stream of events: each ended job once, whichever comes first.
struct Ends(Arc<Mutex<HashMap<JobId, Option<oneshot::Sender<()>>>>>);

impl Ends {
    fn follow(server: &Server) -> Self {
        let waiting: Arc<Mutex<HashMap<JobId, Option<oneshot::Sender<()>>>>> = Arc::default();
        let (mut events, told) = (server.jobs.subscribe(), Arc::clone(&waiting));
        let stopping = server.tasks.stop_token();
        server.tasks.spawn("bench-ends", async move {
            let follow = async {
                while let Ok(event) = events.recv().await {
                    if !event.state().is_some_and(paddock_jobs::JobState::is_final) {
                        continue;
                    }
                    let mut told = told.lock().unwrap();
                    match told.remove(&event.id) {
                        Some(tell) => drop(tell.map(|tell| tell.send(()))),
                        None => drop(told.insert(event.id, None)),
                    }
                }
            };
            let _ = stopping.run_until_cancelled(follow).await;
        });
        Self(waiting)
    }

    async fn of(&self, id: JobId) {
        let told = {
            let mut waiting = self.0.lock().unwrap();
            // It may have ended already.
            if waiting.remove(&id).is_some() {
                return;
            }
            let (tell, told) = oneshot::channel();
            waiting.insert(id, Some(tell));
            told
        };
        let _ = told.await;
    }
}

/// Processor time of this process, as the kernel counts it in hundredths of a second.
fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields = stat.rsplit(')').next().unwrap().split_whitespace();
    let ticks: u64 = fields.skip(11).take(2).map(|ticks| ticks.parse::<u64>().unwrap()).sum();
    Duration::from_millis(ticks * 10)
}

type Figures = BTreeMap<String, f64>;
/// With what could not be measured.
type Reported = BTreeMap<String, Option<f64>>;

/// So many clients, each with one job in flight: accepted, claimed, done, told, and the next.
async fn in_flight(fixture: &Fixture, clients: usize) -> Figures {
    let server = Server::start(fixture, clients, true).await;
    let ends = Ends::follow(&server);
    let (done, accepts) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let stop = Instant::now() + WARM_UP + MEASURED + Duration::from_millis(100);
    let client = |_| async {
        while Instant::now() < stop {
            let began = Instant::now();
            let id = server.jobs.enqueue(&Caller::local(), job(KIND)).await.unwrap().id;
            let took = began.elapsed();
            ends.of(id).await;
            if done.fetch_add(1, Ordering::Relaxed) % 16 == 0 {
                accepts.lock().unwrap().push(took.as_secs_f64() * 1_000.0);
            }
        }
    };
    let measure = async {
        tokio::time::sleep(WARM_UP).await;
        let (ran, used, began) = (server.ran.load(Ordering::Relaxed), cpu(), Instant::now());
        tokio::time::sleep(MEASURED).await;
        let count = (server.ran.load(Ordering::Relaxed) - ran) as f64;
        (count / began.elapsed().as_secs_f64(), cpu().saturating_sub(used).as_secs_f64() * 1e6 / count)
    };
    let clients = futures_util::future::join_all((0..clients).map(client));
    let ((per_second, cpu_us), _) = futures_util::join!(measure, clients);
    server.stop().await;
    let mut accepts = accepts.into_inner().unwrap();
    accepts.sort_by(f64::total_cmp);
    let at = |share: f64| accepts[((accepts.len() - 1) as f64 * share) as usize];
    Figures::from([
        ("cycles_per_s".to_owned(), per_second),
        ("cpu_per_job_us".to_owned(), cpu_us),
        ("accept_p50_ms".to_owned(), at(0.5)),
        ("accept_p99_ms".to_owned(), at(0.99)),
    ])
}

/// A thousand at a time: how quickly they are accepted, and how quickly done.
async fn batches(fixture: &Fixture, rounds: usize) -> Figures {
    let idle = Server::start(fixture, 1, false).await;
    let (began, used) = (Instant::now(), cpu());
    let hand_over = |_| async {
        for _ in 0..rounds {
            let jobs = (0..BATCH).map(|_| job(KIND)).collect();
            idle.jobs.enqueue_many(&Caller::local(), jobs).await.unwrap();
        }
    };
    futures_util::future::join_all((0..4).map(hand_over)).await;
    let all = 4 * rounds * BATCH;
    let enqueue_s = began.elapsed().as_secs_f64();
    idle.stop().await;
    let working = Server::start(fixture, 512, true).await;
    let began = Instant::now();
    while working.ran.load(Ordering::Relaxed) < all {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let process_s = began.elapsed().as_secs_f64();
    working.stop().await;
    let all = all as f64;
    Figures::from([
        ("enqueued_per_s".to_owned(), all / enqueue_s),
        ("processed_per_s".to_owned(), all / process_s),
        ("cycles_per_s".to_owned(), all / (enqueue_s + process_s)),
        ("cpu_per_job_us".to_owned(), cpu().saturating_sub(used).as_secs_f64() * 1e6 / all),
    ])
}

/// How soon an idle queue begins what it is given.
async fn pickup(fixture: &Fixture) -> Figures {
    let server = Server::start(fixture, 5, true).await;
    let mut times = Vec::new();
    for _ in 0..500 {
        let id = server.jobs.enqueue(&Caller::local(), job(KIND)).await.unwrap().id;
        let ended = server
            .jobs
            .wait(&paddock_platform::identity::Tenant::local(), id, Duration::from_secs(10))
            .await
            .unwrap();
        let began = ended.started_at.unwrap().as_microsecond() - ended.id.created_at().as_microsecond();
        times.push(began.max(0) as f64 / 1_000.0);
    }
    server.stop().await;
    times.sort_by(f64::total_cmp);
    Figures::from([
        ("pickup_p50_ms".to_owned(), times[times.len() / 2]),
        ("pickup_p99_ms".to_owned(), times[times.len() * 99 / 100]),
    ])
}

/// So many places and more work than they can do: how much of their time they work.
async fn places(fixture: &Fixture, places: usize) -> Figures {
    let server = Server::start(fixture, places, true).await;
    // What they could do in twice the time.
    let enough = 2 * places * ((WARM_UP + MEASURED).as_millis() / WORK_TIME.as_millis()) as usize;
    for _ in 0..enough.div_ceil(BATCH) {
        let jobs = (0..BATCH).map(|_| job(WORK)).collect();
        server.jobs.enqueue_many(&Caller::local(), jobs).await.unwrap();
    }
    tokio::time::sleep(WARM_UP).await;
    let (ran, began) = (server.ran.load(Ordering::Relaxed), Instant::now());
    tokio::time::sleep(MEASURED).await;
    let done = (server.ran.load(Ordering::Relaxed) - ran) as f64;
    let done_per_s = done / began.elapsed().as_secs_f64();
    server.stop().await;
    Figures::from([
        ("done_per_s".to_owned(), done_per_s),
        ("busy_ratio".to_owned(), done_per_s * WORK_TIME.as_secs_f64() / places as f64),
    ])
}

async fn claim_p99_ms(server: &Server) -> f64 {
    let mut times = Vec::new();
    for _ in 0..300 {
        let request = ClaimRequest {
            worker: "bench".to_owned(),
            kinds: vec!["bench".to_owned()],
            queues: Vec::new(),
            max: 1,
            wait: Duration::from_secs(5),
            lease: None,
            all_tenants: false,
        };
        let began = Instant::now();
        let claimed = server.jobs.claim(&Caller::local(), request).await.unwrap();
        times.push(began.elapsed().as_secs_f64() * 1_000.0);
        let done =
            |job: &Arc<paddock_jobs::Job>| Completion { id: job.id, attempt: job.attempt, result: json!(1) };
        server.jobs.complete(&Caller::local(), claimed.iter().map(done).collect()).await.unwrap();
    }
    times.sort_by(f64::total_cmp);
    times[times.len() * 99 / 100]
}

fn resident_mib() -> f64 {
    let status = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: f64 = status.split(' ').nth(1).and_then(|pages| pages.parse().ok()).unwrap_or(0.0);
    pages * 4096.0 / f64::from(1 << 20)
}

/// With a million jobs waiting: claims, memory, and a start.
async fn million(fixture: &Fixture) -> Figures {
    let server = Server::start(fixture, 1, false).await;
    for _ in 0..400 {
        server.jobs.enqueue(&Caller::local(), job("bench")).await.unwrap();
    }
    let empty_ms = claim_p99_ms(&server).await;
    let before_mib = resident_mib();
    let hand_over = |_| async {
        for _ in 0..250 {
            let jobs = (0..BATCH).map(|_| job("bench")).collect();
            server.jobs.enqueue_many(&Caller::local(), jobs).await.unwrap();
        }
    };
    futures_util::future::join_all((0..4).map(hand_over)).await;
    let full_ms = claim_p99_ms(&server).await;
    let grown_mib = resident_mib() - before_mib;
    server.stop().await;
    let again = Server::start(fixture, 1, false).await;
    let start_s = again.opened.as_secs_f64();
    let ready_ms = claim_p99_ms(&again).await;
    again.stop().await;
    Figures::from([
        ("claim_empty_p99_ms".to_owned(), empty_ms),
        ("claim_million_p99_ms".to_owned(), full_ms.max(ready_ms)),
        ("claim_ratio".to_owned(), full_ms.max(ready_ms) / empty_ms),
        ("memory_grown_mib".to_owned(), grown_mib),
        ("start_s".to_owned(), start_s),
    ])
}

async fn fixture(engine: &str) -> Fixture {
    match engine {
        "postgres" => {
            Fixture::durable_postgres().await.unwrap_or_else(|| panic!("PostgreSQL is not installed"))
        }
        _ => Fixture::sqlite(),
    }
}

async fn run(case: &str, count: usize) -> Reported {
    let figures = match case {
        "sqlite" | "postgres" => in_flight(&fixture(case).await, count).await,
        "sqlite-batch" => batches(&fixture("sqlite").await, 50).await,
        "postgres-batch" => {
            let own = batches(&fixture("postgres").await, 25).await;
            return beside_peers(own).await;
        }
        "pickup" => pickup(&fixture("sqlite").await).await,
        "places" => places(&fixture("sqlite").await, count).await,
        "million" => million(&fixture("sqlite").await).await,
        "million-postgres" => million(&fixture("postgres").await).await,
        other => panic!("there is no case `{other}`"),
    };
    figures.into_iter().map(|(name, value)| (name, Some(value))).collect()
}

/// Other queues, by the name of their package.
const PEERS: [&str; 2] = ["graphile-worker", "pg-boss"];

/// Adds what other queues do, each on a database of the same kind, and how far Paddock is ahead of the best. They are
/// installed if they can be; their figures are missing otherwise.
async fn beside_peers(own: Figures) -> Reported {
    let dir = std::path::Path::new("../../scenarios/peers").canonicalize().unwrap();
    let mut best = None::<f64>;
    let mut reported: Reported = own.iter().map(|(name, value)| (name.clone(), Some(*value))).collect();
    for peer in PEERS {
        let found = if is_installed(&dir, peer).await { Some(measure_peer(&dir, peer).await) } else { None };
        for figure in ["cycles_per_s", "enqueued_per_s", "processed_per_s", "single_enqueued_per_s"] {
            let value = found.as_ref().map(|found| found[figure]);
            reported.insert(format!("{}_{figure}", peer.replace('-', "_")), value);
        }
        if let Some(found) = found {
            best = Some(best.unwrap_or_default().max(found["cycles_per_s"]));
        }
    }
    reported.insert("ahead_ratio".to_owned(), best.map(|best| own["cycles_per_s"] / best));
    reported
}

async fn is_installed(dir: &std::path::Path, peer: &str) -> bool {
    let there = || dir.join("node_modules").join(peer).join("package.json").exists();
    if there() {
        return true;
    }
    let mut install = tokio::process::Command::new("npm");
    install.args(["ci", "--no-audit", "--no-fund", "--ignore-scripts"]).current_dir(dir);
    install.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
    install.status().await.is_ok_and(|status| status.success()) && there()
}

async fn measure_peer(dir: &std::path::Path, peer: &str) -> Figures {
    let fixture = fixture("postgres").await;
    let mut command = tokio::process::Command::new("node");
    command.arg(format!("{peer}.mjs")).arg(fixture.options.url.to_string()).current_dir(dir);
    let output = command.output().await.unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    serde_json::from_str(text.lines().last().unwrap_or_default())
        .unwrap_or_else(|error| panic!("{peer}: {error}: {text}{}", String::from_utf8_lossy(&output.stderr)))
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    // Test runners ask benchmarks for a list of tests: there are none.
    if arguments.iter().any(|argument| argument == "--list" || argument == "--test") {
        return;
    }
    let case = arguments.iter().skip_while(|argument| *argument != "json").nth(1);
    let case = case.map_or("sqlite", String::as_str).to_owned();
    let count = arguments.iter().rev().find_map(|argument| argument.parse().ok()).unwrap_or(64);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let figures = runtime.block_on(run(&case, count));
    println!("{}", serde_json::to_string(&figures).unwrap());
}
