//! The area's routes on a port of their own, as seen by one caller.

#![allow(
    dead_code,
    missing_docs,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::allow_attributes,
    reason = "each test that includes this file uses another part of it"
)]

use axum::Extension;
use http::{Method, StatusCode};
use paddock_browser::{BrowserOptions, BrowserService, router};
use paddock_platform::identity::Caller;
use serde_json::Value;

use super::support::{TestFleet, options};

pub struct Api {
    base: String,
    client: reqwest::Client,
}

impl Api {
    pub async fn serve(fleet: &TestFleet, service: &BrowserService, caller: Caller) -> Self {
        let (routes, _) = router(service.clone()).split_for_parts();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let stopping = fleet.tasks.stop_token();
        fleet.tasks.spawn("test_api", async move {
            tokio::select! {
                result = axum::serve(listener, routes.layer(Extension(caller))).into_future() => result.unwrap(),
                () = stopping.cancelled() => {}
            }
        });
        Self { base, client: reqwest::Client::builder().no_proxy().build().unwrap() }
    }

    pub async fn send(&self, method: Method, path: &str, body: Option<Value>) -> reqwest::Response {
        let request = self.client.request(method, format!("{}{path}", self.base));
        match body {
            Some(body) => request.json(&body).send().await.unwrap(),
            None => request.send().await.unwrap(),
        }
    }

    pub async fn get(&self, path: &str) -> (StatusCode, Value) {
        answer(self.send(Method::GET, path, None).await).await
    }

    pub async fn post(&self, path: &str, body: Value) -> (StatusCode, Value) {
        answer(self.send(Method::POST, path, Some(body)).await).await
    }

    pub async fn delete(&self, path: &str, body: Option<Value>) -> (StatusCode, Value) {
        answer(self.send(Method::DELETE, path, body).await).await
    }

    /// The value of an expression in the page that was used last.
    pub async fn evaluate(&self, expression: &str) -> Value {
        let (status, answer) = self.post("/evaluate", serde_json::json!({ "expression": expression })).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        answer["result"].clone()
    }
}

async fn answer(response: reqwest::Response) -> (StatusCode, Value) {
    let status = response.status();
    let text = response.text().await.unwrap();
    (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
}

pub async fn started() -> (TestFleet, BrowserService, Api) {
    started_with(options()).await
}

pub async fn started_with(options: BrowserOptions) -> (TestFleet, BrowserService, Api) {
    let fleet = TestFleet::start_with(options).await;
    let service = BrowserService::new(fleet.fleet.clone());
    let api = Api::serve(&fleet, &service, Caller::local()).await;
    (fleet, service, api)
}
