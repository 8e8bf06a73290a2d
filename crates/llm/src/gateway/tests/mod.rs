//! The gateway over simulated providers, through its routes.

mod caching;
mod complete;
mod durable;
mod failures;
mod governance;
mod guards;
mod pairs;
mod probes;
mod relay;
mod routing;
mod semantic;
mod streams;
mod teams;

use std::sync::atomic::{AtomicBool, Ordering};

use axum::{Extension, Router, body::Body};
use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt;
use paddock_platform::{
    config::{Live, Section},
    identity::Caller,
    store::testing::Fixture,
    task::Tasks,
};
use serde_json::{Value, json};
use tower::ServiceExt;

use super::Gateway;
use crate::{config::LlmOptions, routes::router};

/// A gateway with its own store.
pub(super) struct Bench {
    pub(super) gateway: Gateway,
    pub(super) live: Live<LlmOptions>,
    app: Router,
    paused: AtomicBool,
    _fixture: Fixture,
}

/// An answer, read to its end.
#[derive(Debug)]
pub(super) struct Read {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Read {
    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("not JSON: {self:?}"))
    }

    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

pub(super) fn options(toml: &str) -> LlmOptions {
    toml::from_str(toml).unwrap_or_else(|error| panic!("{error}"))
}

impl Bench {
    pub(super) async fn start(toml: &str) -> Self {
        Self::start_on(Fixture::sqlite(), toml, Caller::local()).await
    }

    pub(super) async fn start_on(fixture: Fixture, toml: &str, caller: Caller) -> Self {
        let live = Live::new(options(toml));
        let section: Section<LlmOptions> = live.section(|options| options);
        let gateway = Gateway::open(section, fixture.open().await, &fixture.tasks).await.unwrap();
        let (app, _) = router(gateway.clone(), None).split_for_parts();
        let paused = AtomicBool::new(false);
        Self { app: app.layer(Extension(caller)), gateway, live, paused, _fixture: fixture }
    }

    /// From here on time passes only where everybody waits for it. The store has a thread of its own, for which such a
    /// time would not wait: what asks it resumes the usual one.
    pub(super) fn pause(&self) {
        if !self.paused.swap(true, Ordering::Relaxed) {
            tokio::time::pause();
        }
    }

    fn resume(&self) {
        if self.paused.swap(false, Ordering::Relaxed) {
            tokio::time::resume();
        }
    }

    /// The same gateway as another caller meets it.
    pub(super) fn seen_by(&self, caller: Caller) -> Router {
        let (app, _) = router(self.gateway.clone(), None).split_for_parts();
        app.layer(Extension(caller))
    }

    pub(super) async fn call(&self, request: Request<Body>) -> http::Response<Body> {
        self.app.clone().oneshot(request).await.unwrap()
    }

    pub(super) async fn post(&self, path: &str, body: Value) -> Read {
        read(self.call(post(path, &body)).await).await
    }

    pub(super) async fn chat(&self, model: &str, prompt: &str) -> Read {
        self.post("/v1/chat/completions", chat(model, prompt)).await
    }

    pub(super) async fn get(&self, path: &str) -> Value {
        let request = Request::get(path).body(Body::empty()).unwrap();
        read(self.call(request).await).await.json()
    }

    /// What the ledger has of this hour.
    pub(super) async fn usage(&self, group: &str) -> Vec<Value> {
        self.resume();
        let usage = self.get(&format!("/usage?group={group}")).await;
        usage["rows"].as_array().cloned().unwrap_or_default()
    }

    pub(super) fn lanes_in_flight(&self) -> u32 {
        self.gateway.lanes().iter().map(|lane| lane.in_flight).sum()
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.resume();
    }
}

pub(super) fn chat(model: &str, prompt: &str) -> Value {
    json!({"model": model, "messages": [{"role": "user", "content": prompt}]})
}

pub(super) fn post(path: &str, body: &Value) -> Request<Body> {
    Request::post(path).header("content-type", "application/json").body(Body::from(body.to_string())).unwrap()
}

pub(super) async fn read(response: http::Response<Body>) -> Read {
    let (parts, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    Read { status: parts.status, headers: parts.headers, body }
}

/// Serves a router on loopback.
pub(super) async fn serve(tasks: &Tasks, router: Router) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tasks.spawn("test-server", async move { axum::serve(listener, router).await.unwrap() });
    format!("http://{address}")
}

/// Events of a stream: names and data.
pub(super) fn events(text: &str) -> Vec<(String, String)> {
    let mut parser = crate::dialect::sse::SseParser::new(1 << 20);
    parser.push(text.as_bytes());
    let mut events = Vec::new();
    while let Some(event) = parser.next().unwrap() {
        let text = |bytes: &Bytes| String::from_utf8_lossy(bytes).into_owned();
        events.push((text(&event.name), text(&event.data)));
    }
    assert_eq!(parser.rest(), b"", "a stream ends with a whole event");
    events
}
