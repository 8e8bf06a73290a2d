//! The routes, as clients meet them.

use axum::{Extension, Router, body::Body};
use http::{Method, Request, StatusCode, header};
use paddock_platform::store::testing::Fixture;
use serde_json::{Value, json};
use tower::ServiceExt;
use utoipa_axum::router::OpenApiRouter;

use super::support::{Server, local};
use crate::{AgentsOptions, a2a, routes};

const MARKDOWN: &str =
    "---\nname: helper\ndescription: Helps\nmodel: sim\ncapabilities: [help]\n---\nYou help.";

pub(super) struct Client {
    app: Router,
    pub(super) server: Server,
    _fixture: Fixture,
}

impl Client {
    pub(super) async fn start() -> Self {
        let fixture = Fixture::sqlite();
        let server = Server::start(&fixture, AgentsOptions::default()).await;
        server.agents.set_base("http://paddock.example/");
        let app = OpenApiRouter::new()
            .nest("/agents", routes(server.agents.clone()))
            .merge(a2a::routes(server.agents.clone()))
            .split_for_parts()
            .0
            .layer(Extension(local()));
        Self { app, server, _fixture: fixture }
    }

    async fn ask(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: String,
    ) -> (StatusCode, Value) {
        let (status, body) = self.text(method, path, headers, body).await;
        (status, serde_json::from_str(&body).unwrap_or(Value::Null))
    }

    /// The answer as it is: of a stream, all of it.
    pub(super) async fn text(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: String,
    ) -> (StatusCode, String) {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = self.app.clone().oneshot(request.body(Body::from(body)).unwrap()).await.unwrap();
        let status = response.status();
        let bytes = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
        (status, String::from_utf8(bytes.to_vec()).unwrap())
    }

    pub(super) async fn get(&self, path: &str) -> (StatusCode, Value) {
        self.ask(Method::GET, path, &[], String::new()).await
    }

    async fn post(&self, path: &str, body: &Value) -> (StatusCode, Value) {
        let headers = [(header::CONTENT_TYPE.as_str(), "application/json"), ("prefer", "wait=30")];
        self.ask(Method::POST, path, &headers, body.to_string()).await
    }

    async fn deploy(&self) {
        let headers = [(header::CONTENT_TYPE.as_str(), "text/markdown")];
        let (status, deployed) = self.ask(Method::POST, "/agents", &headers, MARKDOWN.to_owned()).await;
        assert_eq!((status, deployed), (StatusCode::CREATED, json!({ "name": "helper", "version": 1 })));
    }
}

#[tokio::test]
async fn an_agent_is_deployed_asked_and_removed() {
    let client = Client::start().await;
    client.deploy().await;
    let (_, page) = client.get("/agents?capability=help").await;
    assert_eq!((&page["items"][0]["name"], &page["items"][0]["kind"]), (&json!("helper"), &json!("prompt")));
    let (status, done) =
        client.post("/agents/helper/execute", &json!({ "input": "[sim reply=\"yes\"]" })).await;
    assert_eq!((status, &done["output"], &done["agent"]), (StatusCode::OK, &json!("yes"), &json!("helper")));
    let path = format!("/agents/conversations/{}", done["conversation"].as_str().unwrap());
    let (status, timeline) = client.get(&path).await;
    assert_eq!((status, timeline["entries"].as_array().unwrap().len()), (StatusCode::OK, 3));
    let (status, answer) =
        client.post("/agents/helper/ask", &json!({ "content": "[sim reply=\"no\"]" })).await;
    assert_eq!((status, &answer["answer"]["content"]), (StatusCode::OK, &json!("no")));
    let (status, _) = client.ask(Method::DELETE, "/agents/helper", &[], String::new()).await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    for path in ["/agents/helper", "/agents/NOBODY", "/agents/conversations/none"] {
        assert_eq!(client.get(path).await.0, StatusCode::NOT_FOUND, "{path}");
    }
    client.server.stop().await;
}

#[tokio::test]
async fn what_is_wrong_is_told_with_the_field() {
    let client = Client::start().await;
    client.deploy().await;
    for (path, body, status, field) in [
        (
            "/agents/messages",
            json!({ "receivers": ["helper"], "performative": "shout" }),
            400,
            "performative",
        ),
        ("/agents/messages", json!({ "receivers": [] }), 400, "receivers"),
        ("/agents/messages", json!({ "receivers": ["ghost"] }), 404, ""),
        ("/agents/helper/messages", json!({ "content": "x".repeat(2 << 20) }), 400, "content"),
        ("/agents", json!({ "name": "a" }), 400, "prompt"),
        ("/agents", json!({ "name": "messages", "remote": { "url": "https://a.example/" } }), 400, "name"),
        ("/agents", json!({ "name": "a", "remote": { "url": "http://127.0.0.1:1/" } }), 400, "remote.url"),
        ("/agents", json!({ "name": "a", "wasm": { "module": "7" } }), 400, "wasm.module"),
        ("/agents/helper/rollback", json!({ "version": 7 }), 404, ""),
        ("/agents/helper/clone", json!({ "name": "helper" }), 409, ""),
    ] {
        let (found, problem) = client.post(path, &body).await;
        assert_eq!(found.as_u16(), status, "{path}: {problem}");
        if !field.is_empty() {
            assert_eq!(problem["field"], field, "{path}: {problem}");
        }
    }
    client.server.stop().await;
}
