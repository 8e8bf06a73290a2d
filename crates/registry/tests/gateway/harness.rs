//! A gateway with a program that misbehaves on demand, asked without a network.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    Extension, Router,
    body::Body,
    http::{Request, StatusCode},
};
use paddock_platform::{
    identity::Caller,
    problem::Problem,
    tool::{ToolContext, ToolOutput, Toolbox},
};
use paddock_registry::gateway::{Gateway, MCP_SERVER_FAILED, MCP_SERVER_UNAVAILABLE, routes};
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::support::{PATIENCE, TestRegistry};

pub(crate) const SECRET: &str = "s3cret-of-the-tests";

pub(crate) struct TestGateway {
    pub(crate) registry: TestRegistry,
    pub(crate) gateway: Gateway,
    pub(crate) toolbox: Toolbox,
    _dir: tempfile::TempDir,
}

pub(crate) fn fixture() -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/gateway/server.mjs").display().to_string()
}

/// A gateway with the fixture under the name `fix`, and more of its options.
pub(crate) async fn start(more: &str) -> TestGateway {
    start_with("", more).await
}

pub(crate) async fn start_with(gateway: &str, server: &str) -> TestGateway {
    let dir = tempfile::tempdir().unwrap();
    let secret = dir.path().join("key");
    std::fs::write(&secret, SECRET).unwrap();
    let toml = format!(
        "[gateway]\n{gateway}\n[[gateway.servers]]\nname = \"fix\"\ncommand = [\"node\", \"{}\"]\n\
         secrets = {{ API_KEY = \"file:{}\" }}\n{server}",
        fixture(),
        secret.display()
    );
    start_toml(&toml, dir).await
}

pub(crate) async fn start_toml(toml: &str, dir: tempfile::TempDir) -> TestGateway {
    let registry = TestRegistry::with(toml).await;
    let gateway = Gateway::start(&registry.registry);
    let toolbox = Toolbox::new([]).unwrap().with_guests(Arc::new(gateway.clone()));
    TestGateway { registry, gateway, toolbox, _dir: dir }
}

impl TestGateway {
    pub(crate) async fn until<T>(&self, what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
        let started = Instant::now();
        loop {
            if let Some(found) = ask() {
                return found;
            }
            assert!(started.elapsed() < PATIENCE, "gave up waiting until {what}: {:?}", self.status());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    pub(crate) fn status(&self) -> Value {
        serde_json::to_value(self.gateway.status(&Caller::local())).unwrap()
    }

    /// Waits until the tools are known.
    pub(crate) async fn ready(self) -> Self {
        self.until("the tools are known", || (self.status()[0]["tools"] != 0).then_some(())).await;
        self
    }

    pub(crate) async fn run_as(
        &self,
        caller: Caller,
        name: &str,
        input: Value,
    ) -> Result<ToolOutput, Problem> {
        self.toolbox.run(ToolContext::new(caller, PATIENCE), name, input).await
    }

    pub(crate) async fn run(&self, name: &str, input: Value) -> Result<ToolOutput, Problem> {
        self.run_as(Caller::local(), name, input).await
    }

    pub(crate) async fn text(&self, name: &str) -> String {
        let output =
            self.run(name, json!({"text": "hello"})).await.unwrap_or_else(|problem| panic!("{problem}"));
        output.value["content"][0]["text"].as_str().unwrap().to_owned()
    }

    pub(crate) fn app(&self, caller: Caller) -> Router {
        let (app, _) = routes(self.gateway.clone()).split_for_parts();
        app.layer(Extension(caller))
    }

    pub(crate) async fn ask(
        &self,
        caller: Caller,
        request: Request<Body>,
    ) -> (StatusCode, http::HeaderMap, String) {
        let response = self.app(caller).oneshot(request).await.unwrap();
        let (status, headers) = (response.status(), response.headers().clone());
        let body = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
        (status, headers, String::from_utf8(body.to_vec()).unwrap())
    }

    pub(crate) async fn post(
        &self,
        session: Option<&str>,
        message: Value,
    ) -> (StatusCode, http::HeaderMap, String) {
        let mut request = Request::post("/mcp/fix")
            .header("content-type", "application/json")
            .header("accept", "application/json, text/event-stream");
        if let Some(session) = session {
            request = request.header("mcp-session-id", session);
        }
        self.ask(Caller::local(), request.body(Body::from(message.to_string())).unwrap()).await
    }

    /// Begins a session and gives its id.
    pub(crate) async fn session(&self) -> String {
        let params = json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}});
        let (status, headers, body) = self
            .post(None, json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params}))
            .await;
        assert_eq!(status, StatusCode::OK, "{body}");
        headers["mcp-session-id"].to_str().unwrap().to_owned()
    }

    /// Calls until the server is back.
    pub(crate) async fn until_called(&self, name: &str) -> String {
        let started = Instant::now();
        loop {
            match self.run(name, json!({"text": "hello"})).await {
                Ok(output) => return output.value["content"][0]["text"].as_str().unwrap().to_owned(),
                Err(problem) => {
                    let passes = [MCP_SERVER_FAILED, MCP_SERVER_UNAVAILABLE].contains(&problem.kind);
                    assert!(passes && started.elapsed() < PATIENCE, "{problem}");
                }
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub(crate) async fn stop(self) {
        self.registry.stop().await;
    }
}

pub(crate) fn call(id: u64, tool: &str) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": {"name": tool, "arguments": {"text": "hi"}}})
}

pub(crate) fn value(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}
