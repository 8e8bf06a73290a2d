//! A hundred agents that loop, take memory, fail and flood, and what a server's other callers notice of them.

use std::{sync::Arc, time::Duration};

use paddock_platform::task::Tasks;
use reqwest::{Client, Method, RequestBuilder};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::{
    figures::{Durations, Figures, at_most, figures, lasting, millis},
    text,
};

const HOSTILE: usize = 100;
/// Requests a second of each kind, and for how long.
const RATE: f64 = 100.0;
const MEASURED: Duration = Duration::from_secs(10);
/// How often every hostile agent gets another message.
const FED_EVERY: Duration = Duration::from_millis(100);
const REQUEST_MAX: Duration = Duration::from_secs(30);

struct Server {
    client: Client,
    url: String,
}

/// How long requests took, and how many were not answered with success.
struct Answered {
    requests: Durations,
    asks: Durations,
    failed: usize,
}

impl Server {
    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.url)).timeout(REQUEST_MAX)
    }

    async fn call(&self, request: RequestBuilder) -> Value {
        let response = request.send().await.unwrap();
        let (status, text) = (response.status(), response.text().await.unwrap());
        assert!(status.is_success(), "{status}: {text}");
        serde_json::from_str(&text).unwrap()
    }

    async fn upload(&self, component: Vec<u8>) -> Value {
        let upload = self.request(Method::PUT, "/agents/modules");
        let module = self.call(upload.header("content-type", "application/wasm").body(component)).await;
        module["digest"].clone()
    }

    async fn deploy(&self, name: &str, module: &Value, topics: &[&str]) {
        // They are to go on for as long as it is measured.
        let supervision = json!({"restarts_max": 10_000, "within": "60s"});
        let wasm = json!({"module": module});
        let definition = json!({"name": name, "topics": topics, "supervision": supervision, "wasm": wasm});
        self.call(self.request(Method::POST, "/agents").json(&definition)).await;
    }

    async fn deploy_hostile(&self) {
        for (number, what) in text::HOSTILE.iter().enumerate() {
            let module = self.upload(text::hostile(what)).await;
            for index in (number..at_most(HOSTILE, 20)).step_by(text::HOSTILE.len()) {
                self.deploy(&format!("{what}-{index}"), &module, &["hostile"]).await;
            }
        }
    }

    /// One request, answered with success.
    async fn succeeds(&self, is_ask: bool) -> bool {
        let request = if is_ask {
            let question = json!({"content": {"text": "how are you?"}});
            self.request(Method::POST, "/agents/normal/ask").json(&question)
        } else {
            self.request(Method::GET, "/agents/normal")
        };
        match request.send().await {
            Ok(response) => {
                let is_success = response.status().is_success();
                response.bytes().await.is_ok() && is_success
            }
            Err(_) => false,
        }
    }
}

/// Requests at their times, half of them questions to the normal agent.
async fn measure(server: &Arc<Server>, tasks: &Tasks) -> Answered {
    let (start, count) = (Instant::now(), (RATE * lasting(MEASURED).as_secs_f64()) as u32);
    let mut waiting = Vec::new();
    for number in 0..count {
        let due = start + Duration::from_secs_f64(f64::from(number) / RATE);
        tokio::time::sleep_until(due).await;
        for is_ask in [false, true] {
            let server = Arc::clone(server);
            let request = async move {
                let is_success = server.succeeds(is_ask).await;
                (is_ask, is_success, millis(due.elapsed()))
            };
            waiting.push(tasks.spawn("bench-request", request));
        }
    }
    let (mut requests, mut asks, mut failed) = (Vec::new(), Vec::new(), 0);
    for request in waiting {
        let (is_ask, is_success, took) = request.await.unwrap();
        failed += usize::from(!is_success);
        let durations = if is_ask { &mut asks } else { &mut requests };
        durations.push(took);
    }
    Answered { requests: Durations::of(requests), asks: Durations::of(asks), failed }
}

/// Gives every hostile agent something to do, again and again.
async fn feed(server: Arc<Server>, tasks: Tasks) {
    let message = json!({"receivers": ["topic:hostile"], "performative": "inform", "content": "go on"});
    while !tasks.is_stopping() {
        // Their mailboxes may be full.
        let _ = server.request(Method::POST, "/agents/messages").json(&message).send().await;
        tokio::time::sleep(FED_EVERY).await;
    }
}

/// Against a server that runs at this address.
pub(crate) async fn hostile(url: &str) -> Figures {
    let server = Arc::new(Server { client: Client::new(), url: url.trim_end_matches('/').to_owned() });
    let tasks = Tasks::default();
    let module = server.upload(text::echo()).await;
    server.deploy("normal", &module, &[]).await;
    let calm = measure(&server, &tasks).await;
    server.deploy_hostile().await;
    let feeding = tasks.spawn("bench-feed", feed(Arc::clone(&server), tasks.clone()));
    tokio::time::sleep(lasting(Duration::from_secs(2))).await;
    let busy = measure(&server, &tasks).await;
    tasks.stop(REQUEST_MAX * 2).await.unwrap();
    feeding.await.unwrap();
    figures([
        ("calm_request_p99_ms", calm.requests.at(0.99)),
        ("calm_agent_p99_ms", calm.asks.at(0.99)),
        ("request_p50_ms", busy.requests.at(0.5)),
        ("request_p99_ms", busy.requests.at(0.99)),
        ("agent_p50_ms", busy.asks.at(0.5)),
        ("agent_p99_ms", busy.asks.at(0.99)),
        ("failed_count", (calm.failed + busy.failed) as f64),
    ])
}
