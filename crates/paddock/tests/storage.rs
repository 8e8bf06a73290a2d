//! Jobs while their store is full, locked or away: a refusal that says when to come back, nothing half-accepted, and
//! nothing lost of what was accepted.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test says what it found by panicking")]

mod support;

use std::{
    collections::BTreeSet,
    sync::mpsc::sync_channel,
    time::{Duration, Instant},
};

use paddock_platform::{
    store::{Store, StoreOptions, testing::Fixture},
    task::Tasks,
};
use reqwest::{Response, StatusCode};
use rustix::process::Signal;
use serde_json::{Value, json};
use support::{PATIENCE, TestServer};

/// How often it is looked whether something has come about.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);
/// More than the maximum of the store that is to be filled, divided by what one job takes of it.
const JOBS_MAX: usize = 60;

fn client() -> reqwest::Client {
    reqwest::Client::builder().timeout(PATIENCE).no_proxy().build().unwrap()
}

fn start(flags: &[&str]) -> TestServer {
    let sets = flags.iter().flat_map(|flag| ["--set", flag]);
    let flags: Vec<&str> = ["--set", "browser.warm=0"].into_iter().chain(sets).collect();
    TestServer::start_plain(&flags)
}

async fn post(server: &TestServer, path: &str, body: &Value) -> Response {
    client().post(format!("{}{path}", server.base)).json(body).send().await.unwrap()
}

async fn get(server: &TestServer, path: &str) -> Response {
    client().get(format!("{}{path}", server.base)).send().await.unwrap()
}

/// A job for a worker of the test's own, of about so many bytes.
fn job(bytes: usize) -> Value {
    json!({"kind": "resize", "input": {"pixels": "x".repeat(bytes)}})
}

async fn accept(server: &TestServer) -> String {
    let response = post(server, "/jobs", &job(1)).await;
    assert_eq!(response.status(), StatusCode::ACCEPTED);
    id_of(&response.json().await.unwrap())
}

fn id_of(job: &Value) -> String {
    job["id"].as_str().unwrap_or_else(|| panic!("{job}")).to_owned()
}

/// That a call was refused for a reason that passes, with a time to come back.
async fn assert_refused(response: Response, status: StatusCode, slug: &str) {
    let retry_after = response.headers().get("retry-after").map(|value| value.to_str().unwrap().to_owned());
    assert_eq!(response.status(), status);
    assert!(retry_after.is_some_and(|seconds| seconds.parse::<u64>().unwrap() > 0));
    let problem: Value = response.json().await.unwrap();
    assert_eq!(problem["type"], format!("urn:paddock:problem:{slug}"), "{problem}");
}

/// That neither a job nor a batch is taken.
async fn assert_takes_nothing(server: &TestServer, job: &Value, status: StatusCode, slug: &str) {
    assert_refused(post(server, "/jobs", job).await, status, slug).await;
    let batch = json!({"jobs": [{"kind": "resize", "input": {}}, job]});
    assert_refused(post(server, "/jobs/batch", &batch).await, status, slug).await;
}

/// The ids of all jobs that there are.
async fn kept(server: &TestServer) -> BTreeSet<String> {
    let response = get(server, "/jobs?limit=100").await;
    assert_eq!(response.status(), StatusCode::OK);
    let list: Value = response.json().await.unwrap();
    list["items"].as_array().unwrap().iter().map(id_of).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_store_takes_no_job_and_keeps_those_that_it_has() {
    const LARGE: usize = 400_000;
    let mut server = start(&["store.size_max=8MiB"]);
    let mut accepted = BTreeSet::new();
    loop {
        let response = post(&server, "/jobs", &job(LARGE)).await;
        if response.status() != StatusCode::ACCEPTED {
            assert_refused(response, StatusCode::INSUFFICIENT_STORAGE, "storage-full").await;
            break;
        }
        accepted.insert(id_of(&response.json().await.unwrap()));
        assert!(accepted.len() < JOBS_MAX, "the store never was full");
    }
    // The first of the batch would fit.
    assert_takes_nothing(&server, &job(LARGE), StatusCode::INSUFFICIENT_STORAGE, "storage-full").await;
    assert!(!accepted.is_empty() && kept(&server).await == accepted);

    server.signal(Signal::KILL);
    server.wait();
    let larger = TestServer::start_on_with(&server.data, &["--set", "browser.warm=0"]);
    assert_eq!(kept(&larger).await, accepted);
    accepted.insert(accept(&larger).await);
    assert_eq!(kept(&larger).await, accepted);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_another_process_locks_takes_no_job_until_it_is_let_go() {
    let server = start(&["store.connect_timeout=200ms"]);
    let mut accepted = BTreeSet::from([accept(&server).await]);
    let other = Store::open(&StoreOptions::default(), &server.data, &Tasks::default()).await.unwrap();
    let (began, locked) = sync_channel(1);
    let (let_go, released) = sync_channel::<()>(1);
    // A transaction that writes for as long as the test wants.
    let holding = other.write(move |_| {
        Box::pin(async move {
            let _ = began.send(());
            let _ = released.recv();
            Ok(())
        })
    });
    let meanwhile = async {
        locked.recv().unwrap();
        assert_takes_nothing(&server, &job(1), StatusCode::SERVICE_UNAVAILABLE, "store-unavailable").await;
        assert_eq!(kept(&server).await, accepted, "what is there can be read");
        let_go.send(()).unwrap();
    };
    let (held, ()) = futures_util::join!(holding, meanwhile);
    held.unwrap();
    other.close().await;
    accepted.insert(accept(&server).await);
    assert_eq!(kept(&server).await, accepted);
}

/// Claims what there is, at most so many.
async fn claim(server: &TestServer, max: usize) -> Vec<Value> {
    let claim = json!({"worker": "w1", "kinds": ["resize"], "max": max, "wait": 30, "lease": 600});
    let claimed: Value = post(server, "/jobs/work/claim", &claim).await.json().await.unwrap();
    claimed["jobs"].as_array().unwrap_or_else(|| panic!("{claimed}")).clone()
}

/// Completes jobs, and says how each ended.
async fn complete(server: &TestServer, jobs: &[Value]) -> Vec<Value> {
    let done = |job: &Value| json!({"id": job["id"], "attempt": job["attempt"], "result": 1});
    let body = json!({"jobs": jobs.iter().map(done).collect::<Vec<_>>()});
    let response = post(server, "/jobs/work/complete", &body).await;
    assert_eq!(response.status(), StatusCode::OK);
    let settled: Value = response.json().await.unwrap();
    settled["jobs"].as_array().unwrap().iter().map(|job| job["state"].clone()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn while_postgresql_is_away_no_job_is_taken_and_what_ends_is_kept() {
    let Some(fixture) = Fixture::durable_postgres().await else { return };
    let server = start(&[&format!("store.url={}", fixture.options.url)]);
    let mut accepted = BTreeSet::new();
    for _ in 0..5 {
        accepted.insert(accept(&server).await);
    }
    let running = claim(&server, 1).await;
    fixture.stop_postgres();
    assert_takes_nothing(&server, &job(1), StatusCode::SERVICE_UNAVAILABLE, "store-unavailable").await;
    assert_eq!(get(&server, "/healthz").await.status(), StatusCode::OK);

    // The work was done: its end is kept and written once there is a store.
    let back = async {
        let started = Instant::now();
        while !server.rest().contains("the end of attempts cannot be written") {
            assert!(started.elapsed() < PATIENCE, "nobody tried to write the end");
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
        fixture.resume_postgres();
    };
    let (ended, ()) = futures_util::join!(complete(&server, &running), back);
    assert_eq!(ended, [json!("succeeded")]);
    accepted.insert(accept(&server).await);
    assert_eq!(kept(&server).await, accepted);

    let mut done: BTreeSet<String> = running.iter().map(id_of).collect();
    while done.len() < accepted.len() {
        let claimed = claim(&server, 100).await;
        assert!(!claimed.is_empty(), "{done:?} of {accepted:?}");
        assert!(complete(&server, &claimed).await.iter().all(|state| state == "succeeded"));
        for job in &claimed {
            assert!(done.insert(id_of(job)), "{job} came twice");
        }
    }
    assert_eq!(done, accepted);
}
