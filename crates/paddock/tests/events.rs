//! Live events of a running server: over SSE and a WebSocket, resumed, and kept apart by tenant.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test says what it found by panicking")]

mod support;

use std::time::Duration;

use futures_util::StreamExt;
use http::StatusCode;
use serde_json::{Value, json};
use support::TestServer;
use tokio::time::timeout;

/// An open event stream.
struct Stream {
    response: reqwest::Response,
    text: String,
}

/// One event: its id, its name and its data.
type Event = (String, String, Value);

impl Stream {
    async fn open(server: &TestServer, path: &str, headers: &[(&str, &str)]) -> Self {
        let mut request = client().get(format!("{}{path}", server.base));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self { response, text: String::new() }
    }

    /// The next event; `None` at the end of the stream.
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let rest = rest.to_owned();
                let field = |name: &str| {
                    let line = event.lines().find_map(|line| line.strip_prefix(name));
                    line.unwrap_or_default().trim().to_owned()
                };
                let found = (field("id:"), field("event:"), field("data:"));
                self.text = rest;
                if !found.2.is_empty() {
                    return Some((found.0, found.1, serde_json::from_str(&found.2).unwrap()));
                }
                continue;
            }
            let chunk =
                timeout(support::PATIENCE, self.response.chunk()).await.expect("the stream goes on").unwrap();
            self.text.push_str(std::str::from_utf8(&chunk?).unwrap());
        }
    }
}

fn client() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().build().unwrap()
}

async fn post(server: &TestServer, path: &str, body: Value, key: Option<&str>) -> Value {
    let mut request = client().post(format!("{}{path}", server.base)).json(&body);
    if let Some(key) = key {
        request = request.bearer_auth(key);
    }
    request.send().await.unwrap().json().await.unwrap()
}

async fn enqueue(server: &TestServer, key: Option<&str>) -> String {
    let job = post(server, "/jobs", json!({ "kind": "resize", "input": {} }), key).await;
    job["id"].as_str().unwrap_or_else(|| panic!("{job}")).to_owned()
}

/// Claims the job and ends it.
async fn finish(server: &TestServer, id: &str) {
    let claim = json!({ "worker": "tester", "kinds": ["resize"], "wait": 30 });
    let claimed = post(server, "/jobs/work/claim", claim, None).await;
    assert_eq!(claimed["jobs"][0]["id"], id, "{claimed}");
    let beat =
        json!({ "jobs": [{ "id": id, "attempt": 1, "progress": { "percent": 50.0, "message": "half" } }] });
    post(server, "/jobs/work/heartbeat", beat, None).await;
    post(server, "/jobs/work/complete", json!({ "jobs": [{ "id": id, "attempt": 1, "result": 1 }] }), None)
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_followed_to_its_end() {
    let server = TestServer::start_plain(&[]);
    let id = enqueue(&server, None).await;
    let path = format!("/jobs/{id}/events");
    let mut stream = Stream::open(&server, &path, &[]).await;
    let (_, name, job) = stream.next().await.unwrap();
    assert_eq!(
        (name.as_str(), job["state"].as_str(), job["id"].as_str()),
        ("state", Some("queued"), Some(id.as_str()))
    );
    finish(&server, &id).await;
    let mut seen = Vec::new();
    while let Some((event_id, name, data)) = stream.next().await {
        if name == "progress" {
            assert_eq!(data["progress"]["message"], "half");
        }
        seen.push((event_id, name, data["state"].as_str().unwrap_or_default().to_owned()));
    }
    let (last, name, state) = seen.last().unwrap();
    assert_eq!((name.as_str(), state.as_str()), ("state", "succeeded"), "{seen:?}");
    assert!(seen.iter().any(|(_, name, _)| name == "progress"), "{seen:?}");
    // Whoever knows the end has nothing to wait for; whoever does not is told it.
    let again =
        client().get(format!("{}{path}", server.base)).header("last-event-id", last).send().await.unwrap();
    assert_eq!(again.status(), StatusCode::NO_CONTENT);
    let mut late = Stream::open(&server, &path, &[]).await;
    assert_eq!(late.next().await.unwrap().2["state"], "succeeded");
    assert!(late.next().await.is_none());
    let unknown = "01938a5e-7d10-7c3a-9f21-6b1d0c5e8a44";
    let missing = client().get(format!("{}/jobs/{unknown}/events", server.base)).send().await.unwrap();
    assert_eq!(missing.status(), StatusCode::NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happens_in_the_server_is_told_by_topic_and_resumed_where_it_broke_off() {
    let server = TestServer::start_plain(&[]);
    let mut states = Stream::open(&server, "/events?topics=jobs.states", &[]).await;
    let mut queue = Stream::open(&server, "/jobs/queues/standard/events", &[]).await;
    let id = enqueue(&server, None).await;
    let (first, name, event) = states.next().await.unwrap();
    assert_eq!(
        (name.as_str(), event["state"].as_str(), event["job"].as_str()),
        ("jobs.states", Some("queued"), Some(id.as_str()))
    );
    assert_eq!((event["queue"].as_str(), event["kind"].as_str()), (Some("standard"), Some("resize")));
    assert_eq!(queue.next().await.unwrap().1, "state");
    drop(states);
    finish(&server, &id).await;
    let mut resumed = Stream::open(&server, "/events?topics=jobs", &[("last-event-id", &first)]).await;
    let mut seen = Vec::new();
    loop {
        let (_, name, event) = resumed.next().await.unwrap();
        assert_ne!(name, "lagged");
        seen.push(name);
        if event["state"] == "succeeded" {
            break;
        }
    }
    assert!(seen.contains(&"jobs.progress".to_owned()), "{seen:?}");
    let mut stranger = Stream::open(&server, "/events", &[("last-event-id", "another-run-1")]).await;
    assert_eq!(stranger.next().await.unwrap().1, "lagged");
    for (path, status) in [
        ("/events?topics=weather", StatusCode::BAD_REQUEST),
        ("/jobs/queues/nothing/events", StatusCode::NOT_FOUND),
        ("/events?since=1", StatusCode::BAD_REQUEST),
    ] {
        let refused = client().get(format!("{}{path}", server.base)).send().await.unwrap();
        assert_eq!(refused.status(), status, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_websocket_is_told_the_same() {
    let server = TestServer::start_plain(&[]);
    let url = format!("ws{}/events?topics=jobs.states", server.base.strip_prefix("http").unwrap());
    let (mut socket, _) = tokio_tungstenite::connect_async(url).await.unwrap();
    let id = enqueue(&server, None).await;
    loop {
        let message = timeout(support::PATIENCE, socket.next()).await.unwrap().unwrap().unwrap();
        if !message.is_text() {
            continue;
        }
        let event: Value = serde_json::from_str(message.to_text().unwrap()).unwrap();
        assert_eq!((event["job"].as_str(), event["state"].as_str()), (Some(id.as_str()), Some("queued")));
        assert!(event["id"].as_str().unwrap().contains('-'), "{event}");
        break;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_told_of_another_tenants_jobs_or_of_areas_that_its_key_may_not_read() {
    let server = TestServer::start_plain(&["--set", "server.keys_required=true"]);
    let key = |tenant: &str, scope: &str| {
        let data = server.data.display().to_string();
        let output =
            support::run(&["keys", "create", tenant, "--tenant", tenant, "--scope", scope, "--data", &data]);
        let words = String::from_utf8_lossy(&output.stdout).into_owned();
        let key = words.split_whitespace().find(|word| word.starts_with("pdk_")).map(str::to_owned);
        key.unwrap_or_else(|| panic!("{}", support::text(&output)))
    };
    let (ours, theirs) = (key("ours", "jobs:write"), key("theirs", "jobs:write"));
    let browsers = key("browsers", "browser:read");
    let mut stream = Stream::open(&server, &format!("/events?topics=jobs&token={ours}"), &[]).await;
    let strange = enqueue(&server, Some(&theirs)).await;
    let own = enqueue(&server, Some(&ours)).await;
    assert_eq!(stream.next().await.unwrap().2["job"], own);
    for (path, token, status) in [
        (format!("/jobs/{strange}/events"), &ours, StatusCode::NOT_FOUND),
        ("/events?topics=jobs".to_owned(), &browsers, StatusCode::FORBIDDEN),
    ] {
        let answer = client().get(format!("{}{path}", server.base)).bearer_auth(token).send().await.unwrap();
        assert_eq!(answer.status(), status, "{path}");
    }
    let anonymous =
        client().get(format!("{}/events", server.base)).timeout(Duration::from_mins(1)).send().await.unwrap();
    assert_eq!(anonymous.status(), StatusCode::UNAUTHORIZED);
}
