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
    pub(super) app: Router,
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

/// Events of a stream, with their names.
fn events_of(text: &str) -> Vec<(String, Value)> {
    let event = |event: &str| {
        let line = |name: &str| event.lines().find_map(|line| Some(line.strip_prefix(name)?.trim()));
        Some((line("event:")?.to_owned(), serde_json::from_str(line("data:")?).unwrap()))
    };
    text.split("\n\n").filter_map(event).collect()
}

#[tokio::test]
async fn a_run_is_followed_as_it_goes() {
    let client = Client::start().await;
    let agent = "---\nname: helper\nmodel: sim\ntools: [lab_echo]\n---\nYou help.";
    let headers = [(header::CONTENT_TYPE.as_str(), "text/markdown")];
    client.ask(Method::POST, "/agents", &headers, agent.to_owned()).await;
    let follow = async |input: &str| {
        let headers =
            [("content-type", "application/json"), ("accept", "text/html, text/event-stream;q=0.9")];
        let body = json!({ "input": input }).to_string();
        let (status, text) = client.text(Method::POST, "/agents/helper/execute", &headers, body).await;
        assert_eq!(status, StatusCode::OK, "{text}");
        events_of(&text)
    };
    let events =
        follow(r#"[sim tool=lab_echo with={"name": "x"} then reply="It rains in Bern today"]"#).await;
    let names: Vec<&str> = events.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names[..3], ["begun", "tool", "tool_result"], "{events:?}");
    assert_eq!(events[1].1["input"], json!({ "name": "x" }));
    let texts: String = events.iter().filter_map(|(_, event)| event["text"].as_str()).collect();
    assert_eq!(texts, "It rains in Bern today");
    let (name, end) = events.last().unwrap();
    assert_eq!((name.as_str(), &end["output"]), ("end", &json!("It rains in Bern today")));
    assert_eq!(end["conversation"], events[0].1["conversation"]);
    // The timeline is of what was asked and answered alone.
    let path = format!("/agents/conversations/{}", end["conversation"].as_str().unwrap());
    let (_, timeline) = client.get(&path).await;
    assert_eq!(timeline["entries"].as_array().unwrap().len(), 5, "{timeline}");
    // The run is a job like others.
    let id = events[0].1["job"].as_str().unwrap().parse().unwrap();
    assert!(client.server.jobs.get(local().tenant(), id).await.unwrap().state.is_final());

    let events = follow("[sim status=400]").await;
    let (name, problem) = events.last().unwrap();
    assert_eq!((name.as_str(), &problem["status"]), ("failed", &json!(422)), "{events:?}");
    assert!(client.server.agents.dead_letters(local().tenant(), 9).await.unwrap().is_empty());
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
