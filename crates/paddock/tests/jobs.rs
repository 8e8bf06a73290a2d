//! Durable jobs as their users meet them: over HTTP, from a shell, and when everything is killed.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test says what it found by panicking")]

mod support;

use std::{
    process::Stdio,
    sync::{Arc, Mutex},
};

use axum::{Router, body::Bytes, routing};
use reqwest::{Response, StatusCode};
use rustix::process::Signal;
use serde_json::{Value, json};
use support::{PATIENCE, TestServer, TestSite, paddock, text};

fn client() -> reqwest::Client {
    reqwest::Client::builder().timeout(PATIENCE).build().unwrap()
}

fn server() -> TestServer {
    TestServer::start(&["--set", "browser.warm=0"])
}

async fn post(server: &TestServer, path: &str, body: Value) -> Response {
    client().post(format!("{}{path}", server.base)).json(&body).send().await.unwrap()
}

async fn answer(server: &TestServer, path: &str, body: Value) -> Value {
    let response = post(server, path, body).await;
    assert!(response.status().is_success(), "{path}: {}", response.text().await.unwrap());
    response.json().await.unwrap()
}

async fn get(server: &TestServer, path: &str) -> Response {
    client().get(format!("{}{path}", server.base)).send().await.unwrap()
}

fn queues_job() -> Value {
    json!({"tool": "jobs_queues"})
}

#[tokio::test]
async fn a_job_is_accepted_with_a_place_to_look_and_then_done() {
    let server = server();
    let accepted = post(&server, "/jobs", queues_job()).await;
    assert_eq!(accepted.status(), StatusCode::ACCEPTED);
    assert!(accepted.headers().contains_key("retry-after"));
    let location = accepted.headers()["location"].to_str().unwrap().to_owned();
    let job: Value = accepted.json().await.unwrap();
    assert_eq!(job["links"]["self"], location);

    let ended = get(&server, &format!("{location}?wait=30")).await;
    let etag = ended.headers()["etag"].clone();
    let job: Value = ended.json().await.unwrap();
    assert_eq!(
        (job["state"].as_str(), job["attempts"][0]["outcome"].as_str()),
        (Some("succeeded"), Some("succeeded"))
    );
    assert!(job["result"]["queues"].is_array());
    let known = client().get(format!("{}{location}", server.base)).header("if-none-match", etag);
    assert_eq!(known.send().await.unwrap().status(), StatusCode::NOT_MODIFIED);
    let result: Value = get(&server, &format!("{location}/result")).await.json().await.unwrap();
    assert_eq!(result, job["result"]);
}

#[tokio::test]
async fn a_caller_who_waits_gets_the_job_when_it_is_done() {
    let server = server();
    let request =
        client().post(format!("{}/jobs", server.base)).header("prefer", "wait=30").json(&queues_job());
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["preference-applied"], "wait=30");
    assert_eq!(response.json::<Value>().await.unwrap()["state"], "succeeded");
}

#[tokio::test]
async fn a_request_that_is_sent_again_makes_no_second_job() {
    let server = server();
    let send = |key: &'static str, body: Value| {
        client().post(format!("{}/jobs", server.base)).header("idempotency-key", key).json(&body).send()
    };
    let first: Value = send("a", queues_job()).await.unwrap().json().await.unwrap();
    let second = send("a", queues_job()).await.unwrap();
    assert_eq!(second.headers()["idempotency-replayed"], "true");
    assert_eq!(second.json::<Value>().await.unwrap()["id"], first["id"]);
    let other = send("a", json!({"tool": "jobs_list"})).await.unwrap();
    assert_eq!(other.status(), StatusCode::UNPROCESSABLE_ENTITY);

    let unique = json!({"tool": "jobs_queues", "unique_key": "order-7"});
    assert_eq!(post(&server, "/jobs", unique.clone()).await.status(), StatusCode::ACCEPTED);
    assert_eq!(post(&server, "/jobs", unique).await.status(), StatusCode::OK);
    let listed: Value = get(&server, "/jobs?limit=1").await.json().await.unwrap();
    let next = listed["next"].as_str().unwrap();
    let rest: Value = get(&server, &format!("/jobs?cursor={next}")).await.json().await.unwrap();
    assert_eq!((listed["items"].as_array().unwrap().len(), rest["items"].as_array().unwrap().len()), (1, 1));
}

#[tokio::test]
async fn bad_requests_are_refused_with_a_problem_that_says_why() {
    let server = server();
    for (path, body, status, part) in [
        ("/jobs", json!({"tool": "jobs_queue"}), 404, "jobs_queues"),
        ("/jobs", json!({"tool": "jobs_get", "input": {"idd": "x"}}), 400, "id"),
        ("/jobs", json!({"tool": "jobs_queues", "queues": "low"}), 400, "queues"),
        ("/jobs", json!({"kind": "mission:run"}), 400, "kind"),
        ("/jobs", json!({"tool": "jobs_queues", "run_at": "tomorrow"}), 400, "run_at"),
        (
            "/jobs/batch",
            json!({"jobs": [{"tool": "jobs_queues"}, {"tool": "jobs_queues", "queue": "x"}]}),
            400,
            "jobs[1].queue",
        ),
        ("/jobs/batch", json!({"jobs": []}), 400, "jobs"),
        ("/jobs/queues/urgent/pause", json!({}), 404, "urgent"),
        ("/jobs/work/claim", json!({"worker": "a", "kinds": ["x"], "max": 0}), 400, "max"),
        ("/jobs/redrive", json!({"states": ["running"]}), 400, "states"),
    ] {
        let response = post(&server, path, body.clone()).await;
        let (found, text) = (response.status().as_u16(), response.text().await.unwrap());
        assert!(found == status && text.contains(part), "{path} {body}: {found} {text}");
    }
    for path in ["/jobs/01938a5e-7d10-7c3a-9f21-6b1d0c5e8a44", "/jobs/nonsense"] {
        assert_eq!(get(&server, path).await.status(), StatusCode::NOT_FOUND, "{path}");
    }
    let listed: Value = get(&server, "/jobs").await.json().await.unwrap();
    assert_eq!(listed["items"], json!([]), "nothing was half-accepted");
}

#[tokio::test]
async fn a_worker_of_any_language_does_jobs_over_http() {
    let server = server();
    let accepted = answer(&server, "/jobs", json!({"kind": "resize", "input": {"width": 7}})).await;
    let claim = json!({"worker": "w1", "kinds": ["resize"], "wait": 20});
    let claimed = answer(&server, "/jobs/work/claim", claim).await;
    let job = &claimed["jobs"][0];
    assert_eq!(
        (&job["id"], &job["attempt"], &job["input"]),
        (&accepted["id"], &json!(1), &json!({"width": 7}))
    );
    let beat =
        json!({"jobs": [{"id": job["id"], "attempt": 1, "progress": {"percent": 50, "message": "half"}}]});
    assert_eq!(answer(&server, "/jobs/work/heartbeat", beat).await["jobs"][0]["status"], "ok");
    let stale = json!({"jobs": [{"id": job["id"], "attempt": 2, "result": 1}]});
    assert_eq!(answer(&server, "/jobs/work/complete", stale).await["jobs"][0]["status"], "lost");
    let done = json!({"jobs": [{"id": job["id"], "attempt": 1, "result": {"bytes": 9}}]});
    let settled = answer(&server, "/jobs/work/complete", done).await;
    assert_eq!(
        (&settled["jobs"][0]["status"], &settled["jobs"][0]["state"]),
        (&json!("ok"), &json!("succeeded"))
    );
    let shown: Value = get(&server, accepted["links"]["self"].as_str().unwrap()).await.json().await.unwrap();
    assert_eq!((&shown["result"]["bytes"], &shown["progress"]["percent"]), (&json!(9), &json!(50.0)));
    assert!(shown["kind"] == "resize" && shown["tool"].is_null());
}

#[tokio::test]
async fn a_paused_queue_is_seen_and_steered_from_a_shell() {
    let server = server();
    let jobs = |args: &[&str]| {
        let mut command = paddock();
        command.args(["jobs", "--server", &server.base]).args(args);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{args:?}: {}", text(&output));
        String::from_utf8(output.stdout).unwrap()
    };
    jobs(&["pause", "low"]);
    let id = jobs(&["enqueue", "jobs_queues", "--queue", "low"]).trim().to_owned();
    assert!(jobs(&["list", "--state", "queued"]).contains(&id));
    assert!(jobs(&["top", "--once"]).contains("paused"));
    let backlog = jobs(&["backlog"]);
    assert!(backlog.contains("low: 1 ready") && backlog.contains("paddock jobs resume low"), "{backlog}");
    assert!(jobs(&["purge", "low", "--dry-run"]).contains("1 job"));
    assert!(jobs(&["cancel", &id]).contains("cancelled"));
    assert!(jobs(&["retry", &id]).contains("queued"));
    jobs(&["resume", "low"]);
    assert!(jobs(&["watch", &id]).contains("queues"));
    assert!(jobs(&["show", &id]).contains("succeeded"));
    assert!(jobs(&["enqueue", "jobs_list", "--wait"]).contains(&id));
    assert!(jobs(&["retry", "--all", "--dry-run"]).contains("0 jobs"));
    assert!(jobs(&["backlog", "low"]).contains("no queue is backed up"));

    let refused = paddock().args(["jobs", "--server", &server.base, "show", "nonsense"]).output().unwrap();
    assert_eq!(refused.status.code(), Some(19), "{}", text(&refused));
}

#[tokio::test]
async fn an_analysis_is_a_job_unless_its_caller_waits() {
    let server = server();
    let asked = json!({"url": "http://127.0.0.1:1/", "viewports": ["desktop"]});
    let accepted = post(&server, "/analysis", asked.clone()).await;
    assert_eq!(accepted.status(), StatusCode::ACCEPTED);
    let location = accepted.headers()["location"].to_str().unwrap().to_owned();
    assert!(location.starts_with("/jobs/"));
    let job: Value = accepted.json().await.unwrap();
    assert_eq!((&job["tool"], &job["input"]["url"]), (&json!("analysis_run"), &asked["url"]));
    let cancelled = post(&server, &format!("{location}/cancel"), json!({})).await;
    assert!(cancelled.status() == StatusCode::OK || cancelled.status() == StatusCode::CONFLICT);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_is_a_span_below_what_its_caller_named_or_sent() {
    let received = Arc::new(Mutex::new(Vec::<u8>::new()));
    let sink = Arc::clone(&received);
    let collect = async move |body: Bytes| sink.lock().unwrap().extend_from_slice(&body);
    let collector = TestSite::start(Router::new().route("/v1/traces", routing::post(collect))).await;
    let otlp = format!("telemetry.otlp=\"{}\"", collector.base);
    let mut server = TestServer::start_plain(&["--set", &otlp, "--set", "browser.warm=0"]);
    let send = async |traceparent: &str, job: Value| {
        let request = client().post(format!("{}/jobs", server.base)).json(&job);
        let request = request.header("prefer", "wait=30").header("traceparent", traceparent);
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        answer.headers()["traceparent"].to_str().unwrap().to_owned()
    };
    let named = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let sent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    send(sent, json!({"tool": "jobs_queues", "trace": named})).await;
    let request = send(sent, queues_job()).await;
    server.signal(Signal::TERM);
    assert_eq!(server.wait(), Some(0));

    let received = received.lock().unwrap();
    let count = |bytes: &[u8]| received.windows(bytes.len()).filter(|window| *window == bytes).count();
    assert_eq!(count(b"job jobs_queues"), 2);
    // In a span the trace is field 1 with sixteen bytes, its parent field 4 with eight.
    let trace = |of: &str| {
        let id = u128::from_str_radix(&of[3..35], 16).unwrap();
        [&[0x0a_u8, 16][..], &id.to_be_bytes()].concat()
    };
    let parent = |of: &str| {
        let id = u64::from_str_radix(&of[36..52], 16).unwrap();
        [&[0x22_u8, 8][..], &id.to_be_bytes()].concat()
    };
    assert_eq!(
        (count(&trace(named)), count(&parent(named))),
        (1, 1),
        "the attempt that continues what was named"
    );
    assert_eq!(count(&trace(sent)), 3, "two requests and the attempt of the second");
    assert_eq!((count(&parent(sent)), count(&parent(&request))), (2, 1));
}

#[tokio::test]
async fn metrics_and_health_tell_of_jobs() {
    let server = server();
    let request =
        client().post(format!("{}/jobs", server.base)).header("prefer", "wait=30").json(&queues_job());
    request.send().await.unwrap();
    let metrics = get(&server, "/metrics").await.text().await.unwrap();
    for name in ["jobs_enqueued_total", "jobs_ended_total", "jobs_run_duration_seconds", "jobs_depth"] {
        assert!(metrics.contains(name), "{name}");
    }
    let ready = get(&server, "/readyz").await.text().await.unwrap();
    assert!(ready.contains("\"jobs\""), "{ready}");
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_and_dead_jobs_are_told_of() {
    let set = ["browser.warm=0", "jobs.slow=0s", "jobs.dead_alert=1"];
    let server = TestServer::start_plain(&set.map(|set| ["--set", set]).concat());
    let request =
        client().post(format!("{}/jobs", server.base)).header("prefer", "wait=30").json(&queues_job());
    let job: Value = request.send().await.unwrap().json().await.unwrap();
    let line = server.line_with("slow job");
    assert!(line.contains(job["id"].as_str().unwrap()) && line.contains("Worker/Job/jobs_queues"), "{line}");
    let counted = |text: String| {
        let is_counted = |line: &str| {
            line.starts_with("jobs_slow_total{") && line.contains("\"jobs_queues\"") && line.ends_with(" 1")
        };
        text.lines().any(is_counted)
    };
    let started = std::time::Instant::now();
    while !counted(get(&server, "/metrics").await.text().await.unwrap()) {
        assert!(started.elapsed() < PATIENCE, "no slow job is counted");
    }

    let once = json!({"kind": "resize", "retry": {"attempts": 1}});
    let dead = answer(&server, "/jobs", once).await;
    let claim = json!({"worker": "w1", "kinds": ["resize"], "wait": 20});
    assert_eq!(answer(&server, "/jobs/work/claim", claim).await["jobs"][0]["id"], dead["id"]);
    let fail = json!({"jobs": [{"id": dead["id"], "attempt": 1, "class": "bad-image", "message": "no PNG"}]});
    assert_eq!(answer(&server, "/jobs/work/fail", fail).await["jobs"][0]["state"], "dead");
    let told = loop {
        let ready: Value = get(&server, "/readyz").await.json().await.unwrap();
        let resources = ready["resources"].as_array().unwrap();
        let jobs = resources.iter().find(|resource| resource["name"] == "jobs").unwrap().clone();
        if jobs["status"] == "degraded" {
            break jobs;
        }
        assert!(started.elapsed() < PATIENCE, "{jobs}");
    };
    assert!(told["detail"].as_str().unwrap().contains("1 dead in `standard`"), "{told}");
    assert!(told["advice"].as_str().unwrap().contains("paddock jobs retry"), "{told}");
    assert!(server.line_with("jobs died").contains("standard"));
}

#[tokio::test]
async fn a_server_that_works_at_some_queues_says_which_are_unknown() {
    let output = paddock().args(["serve", "--queues", "urgent"]).stdout(Stdio::null()).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", text(&output));
    let output = paddock().args(["serve", "--roles", "api", "--queues", "low"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", text(&output));
}

#[tokio::test]
async fn a_server_that_only_works_answers_probes_and_nothing_else() {
    let server = TestServer::start(&["--set", "browser.warm=0", "--roles", "jobs"]);
    assert_eq!(get(&server, "/healthz").await.status(), StatusCode::OK);
    assert_eq!(get(&server, "/jobs").await.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_worker_that_waits_does_not_hold_up_a_shutdown() {
    let mut server = server();
    let claim = json!({"worker": "w1", "kinds": ["resize"], "wait": 60});
    let waiting = post(&server, "/jobs/work/claim", claim);
    let stop = async {
        let started = std::time::Instant::now();
        while !get(&server, "/metrics").await.text().await.unwrap().contains("\njobs_pollers 1") {
            assert!(started.elapsed() < PATIENCE, "the worker never came to wait");
        }
        server.signal(Signal::TERM);
    };
    let (answered, ()) = futures_util::join!(waiting, stop);
    assert_eq!(answered.json::<Value>().await.unwrap()["jobs"], json!([]));
    assert_eq!(server.wait(), Some(0));
}

/// The small form of the scenario `jobs-chaos`.
fn chaos(flags: &[&str]) {
    let program = env!("CARGO_BIN_EXE_paddock");
    let mut command = paddock();
    command.args(["lab", "fixture", "jobs-chaos", program, "--jobs", "400", "--kills", "2"]).args(flags);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    let figures: Value = serde_json::from_slice(&output.stdout).unwrap();
    let count = |name: &str| figures[name].as_f64().unwrap() as usize;
    assert_eq!((count("accepted_count"), count("succeeded_count")), (400, 400), "{figures}");
    for name in ["lost_count", "unfinished_count", "doubled_count", "ended_twice_count"] {
        assert_eq!(count(name), 0, "{name} in {figures}");
    }
}

#[test]
fn every_job_is_accounted_for_when_server_and_workers_are_killed() {
    chaos(&[]);
}

/// The small form of the scenario `jobs-backlog`.
#[test]
fn a_backlog_is_gone_after_workers_were_added() {
    let program = env!("CARGO_BIN_EXE_paddock");
    let mut command = paddock();
    let output = command.args(["lab", "fixture", "jobs-backlog", program, "--jobs", "500"]).output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    let figures: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(figures["backlog_count"].as_f64() > Some(100.0) && figures["steady_s"].is_f64(), "{figures}");
    assert!(figures["arrived_count"].as_f64() > Some(0.0), "{figures}");
}

/// The small form of the scenario `jobs-recovery`.
#[test]
fn what_ran_on_a_server_that_was_killed_runs_again_and_is_done_once() {
    let program = env!("CARGO_BIN_EXE_paddock");
    let mut command = paddock();
    command.args(["lab", "fixture", "jobs-recovery", program]);
    let output = command.args(["--running", "300", "--queued", "2000", "--lease", "5"]).output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    let figures: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(figures["running_count"], 300.0, "{figures}");
    for name in ["lost_count", "unfinished_count", "ended_twice_count"] {
        assert_eq!(figures[name], 0.0, "{name} in {figures}");
    }
    assert!(figures["start_s"].as_f64() > Some(0.0) && figures["resumed_s"].is_f64(), "{figures}");
}

#[test]
fn every_job_is_accounted_for_when_postgresql_is_killed_too() {
    let installed = std::path::Path::new("/usr/lib/postgresql").exists();
    if !installed {
        let required = std::env::var("PADDOCK_REQUIRE_POSTGRES").as_deref() == Ok("1");
        assert!(!required, "PostgreSQL is not installed (`apt-get install postgresql`)");
        println!("skipped: PostgreSQL is not installed");
        return;
    }
    chaos(&["--postgres"]);
}
