//! External workers in Python and TypeScript, with their clients of `sdk`, against a running server.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test says what it found by panicking")]

mod support;

use std::{
    io::{BufRead, BufReader},
    process::{Child, ChildStdout, Command, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use support::TestServer;

/// Far longer than a lease of these workers.
const WAIT_S: u32 = 60;

/// The workers' languages: program and script.
const PYTHON: (&str, &str) = ("python3", "worker.py");
const TYPESCRIPT: (&str, &str) = ("node", "worker.mjs");

/// A worker's process. Dropping it kills it.
struct Worker {
    child: Child,
    lines: std::io::Lines<BufReader<ChildStdout>>,
}

impl Worker {
    /// Starts one for the kinds of a prefix, and waits until it is up.
    fn start((program, script): (&str, &str), server: &TestServer, prefix: &str) -> Self {
        let mut child = Command::new(program)
            .arg(support::page("tests/workers").join(script))
            .args([&server.base, prefix])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| {
                panic!("{program} is missing: {error}; `scripts/setup.sh test` installs it")
            });
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut worker = Self { child, lines };
        assert_eq!(worker.line(), "ready");
        worker
    }

    fn line(&mut self) -> String {
        self.lines.next().expect("the worker goes on").unwrap()
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn post(server: &TestServer, path: &str, body: Value) -> Value {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    client.post(format!("{}{path}", server.base)).json(&body).send().await.unwrap().json().await.unwrap()
}

async fn enqueue(server: &TestServer, kind: &str, input: Value) -> String {
    let job = post(server, "/jobs", json!({ "kind": kind, "input": input })).await;
    job["id"].as_str().unwrap_or_else(|| panic!("{job}")).to_owned()
}

/// A job once it has ended.
async fn ended(server: &TestServer, id: &str) -> Value {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let url = format!("{}/jobs/{id}?wait={WAIT_S}", server.base);
    let job: Value = client.get(url).send().await.unwrap().json().await.unwrap();
    assert!(job["finished_at"].is_string(), "{job}");
    job
}

/// Runs the tests that a client has of its own.
fn passes_its_own_tests(program: &str, args: &[&str], directory: &str) {
    let output = Command::new(program)
        .args(args)
        .current_dir(support::page(directory))
        .env("PYTHONPATH", "../src")
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("{program} is missing: {error}; `scripts/setup.sh test` installs it"));
    assert!(output.status.success(), "{}", support::text(&output));
}

#[test]
fn the_python_client_passes_its_own_tests() {
    passes_its_own_tests("python3", &["-m", "unittest"], "sdk/python/tests");
}

#[test]
fn the_typescript_client_passes_its_own_tests() {
    passes_its_own_tests("node", &["--test", "test/"], "sdk/typescript");
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_in_python_and_typescript_finish_jobs() {
    let server = TestServer::start_plain(&[]);
    for (language, name) in [(PYTHON, "python"), (TYPESCRIPT, "typescript")] {
        let _worker = Worker::start(language, &server, name);
        let kind = format!("{name}-double");
        let mut ids = Vec::new();
        for n in 0..20 {
            ids.push(enqueue(&server, &kind, json!({ "n": n })).await);
        }
        for (n, id) in ids.iter().enumerate() {
            let job = ended(&server, id).await;
            assert_eq!(job["state"], "succeeded", "{job}");
            assert_eq!(job["result"], json!({ "n": 2 * n, "by": name, "attempt": 1 }));
            assert_eq!(job["attempts"][0]["worker"], name);
        }
        let refused = ended(&server, &enqueue(&server, &kind, json!({ "n": -1 })).await).await;
        assert_eq!(
            (refused["state"].as_str(), refused["attempt"].as_u64()),
            (Some("failed"), Some(1)),
            "{refused}"
        );
        assert_eq!(refused["error"], json!({ "class": "negative", "message": "it is negative" }));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_is_killed_in_the_middle_hands_its_job_on_to_another() {
    let server = TestServer::start_plain(&[]);
    for (first, second, name) in [(PYTHON, TYPESCRIPT, "typescript"), (TYPESCRIPT, PYTHON, "python")] {
        let prefix = format!("from-{}", first.0);
        let mut doomed = Worker::start(first, &server, &prefix);
        let id = enqueue(&server, &format!("{prefix}-hang"), json!({})).await;
        assert_eq!(doomed.line(), format!("begun {id}"));
        doomed.signal(Signal::KILL);
        let _other = Worker::start(second, &server, &prefix);
        let job = ended(&server, &id).await;
        assert_eq!(job["result"], json!({ "by": name, "attempt": 2 }), "{job}");
        assert_eq!(job["attempts"][0]["outcome"], "lost");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancellation_reaches_a_worker_and_a_stopped_worker_ends_in_good_order() {
    let server = TestServer::start_plain(&[]);
    for (language, prefix) in [(PYTHON, "py"), (TYPESCRIPT, "ts")] {
        let mut worker = Worker::start(language, &server, prefix);
        let id = enqueue(&server, &format!("{prefix}-hang"), json!({})).await;
        assert_eq!(worker.line(), format!("begun {id}"));
        post(&server, &format!("/jobs/{id}/cancel"), json!({})).await;
        let job = ended(&server, &id).await;
        assert_eq!(job["state"], "cancelled", "{job}");
        worker.signal(Signal::TERM);
        assert_eq!(worker.line(), "stopped");
        assert!(worker.child.wait().unwrap().success());
    }
}
