//! Servers that share a store and divide the work: one accepts jobs, another runs those of one queue.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test says what it found by panicking")]

mod support;

use paddock_platform::store::testing::Fixture;
use reqwest::{Client, StatusCode};
use serde_json::{Value, json};
use support::{PATIENCE, TestServer};

fn client() -> Client {
    Client::builder().timeout(PATIENCE).no_proxy().build().unwrap()
}

/// A server on the store of the test, with its part of the work.
fn start(fixture: &Fixture, role: &[&str]) -> TestServer {
    let store = format!("store.url={}", fixture.options.url);
    let flags = ["--set", &store, "--set", "jobs.queues.ai-heavy=2", "--set", "browser.warm=0"];
    TestServer::start_plain(&[&flags[..], role].concat())
}

async fn enqueue(server: &TestServer, queue: &str) -> String {
    let job = json!({"tool": "jobs_queues", "queue": queue});
    let response = client().post(format!("{}/jobs", server.base)).json(&job).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::ACCEPTED);
    response.json::<Value>().await.unwrap()["id"].as_str().unwrap().to_owned()
}

/// The job, once it has ended or the wait is over.
async fn job(server: &TestServer, id: &str, wait_s: u64) -> Value {
    let url = format!("{}/jobs/{id}?wait={wait_s}", server.base);
    client().get(url).send().await.unwrap().json().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_for_one_queue_runs_what_another_accepts_and_leaves_the_rest() {
    let Some(fixture) = Fixture::postgres().await else { return };
    let front = start(&fixture, &["--roles", "api"]);
    let heavy = start(&fixture, &["--roles", "jobs", "--queues", "ai-heavy"]);
    let other = enqueue(&front, "standard").await;
    // Two, one after the other: the second begins after somebody had time for the other.
    let mut workers = Vec::new();
    for _ in 0..2 {
        let done = job(&front, &enqueue(&front, "ai-heavy").await, 60).await;
        assert_eq!(done["state"], "succeeded", "{done}");
        workers.push(done["attempts"][0]["worker"].as_str().unwrap().to_owned());
    }
    let waits = job(&front, &other, 0).await;
    assert_eq!((&waits["state"], &waits["attempt"]), (&json!("queued"), &json!(0)), "{waits}");
    assert_eq!(client().get(format!("{}/jobs", heavy.base)).send().await.unwrap().status(), 404);

    let _rest = start(&fixture, &["--roles", "jobs"]);
    let done = job(&front, &other, 60).await;
    assert_eq!(done["state"], "succeeded", "{done}");
    let worker = done["attempts"][0]["worker"].as_str().unwrap();
    assert!(!workers.iter().any(|heavy| heavy == worker), "{worker} is none of {workers:?}");
}
