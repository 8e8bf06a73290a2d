//! A registry with its routes, asked without a network, and upstreams that answer as they are told.

#![allow(dead_code, reason = "each test program uses its part of this")]

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use axum::{
    Extension, Router,
    body::Body,
    extract::State,
    http::{HeaderMap, Method, Request, StatusCode, Uri},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use paddock_platform::{
    config::Live,
    http::Idempotency,
    identity::{Caller, Scope, Tenant},
    store::testing::Fixture,
    task::Tasks,
};
use paddock_registry::{Registry, RegistryOptions, root_routes, routes};
use serde_json::{Value, json};
use tower::ServiceExt;

/// Longer than anything takes that works.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);
/// How long tasks may take to end.
const STOP_WAIT: Duration = Duration::from_secs(30);

/// A registry on a store of its own.
pub(crate) struct TestRegistry {
    pub(crate) registry: Registry,
    pub(crate) options: Live<RegistryOptions>,
    pub(crate) tasks: Tasks,
    pub(crate) fixture: Fixture,
}

impl TestRegistry {
    pub(crate) async fn start(options: RegistryOptions) -> Self {
        Self::start_on(Fixture::sqlite(), options).await
    }

    /// Starts one on the store of another one that has ended.
    pub(crate) async fn start_on(fixture: Fixture, options: RegistryOptions) -> Self {
        let (live, tasks) = (Live::new(options), Tasks::default());
        let store = fixture.open().await;
        let registry = Registry::start(live.section(|options| options), store, &tasks).await.unwrap();
        Self { registry, options: live, tasks, fixture }
    }

    /// Starts one with the options of a configuration file.
    pub(crate) async fn with(toml: &str) -> Self {
        Self::start(toml::from_str(toml).unwrap()).await
    }

    pub(crate) async fn stop(self) -> Fixture {
        self.tasks.stop(STOP_WAIT).await.unwrap();
        self.fixture
    }

    fn app(&self, caller: Caller) -> Router {
        let idempotency = Idempotency::in_memory(&self.tasks);
        let (app, _) = utoipa_axum::router::OpenApiRouter::new()
            .nest("/registry", routes(self.registry.clone(), &idempotency))
            .split_for_parts();
        app.merge(root_routes(self.registry.clone(), &idempotency)).layer(Extension(caller))
    }

    /// Asks as a caller.
    pub(crate) async fn ask_as(&self, caller: Caller, request: Request<Body>) -> Answer {
        let response = self.app(caller).oneshot(request).await.unwrap();
        Answer::of(response).await
    }

    pub(crate) async fn get_as(&self, caller: Caller, path: &str) -> Answer {
        self.ask_as(caller, Request::get(path).body(Body::empty()).unwrap()).await
    }

    /// Asks as somebody on the same machine.
    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.get_as(Caller::local(), path).await
    }

    pub(crate) async fn send_as(&self, caller: Caller, method: Method, path: &str, body: &Value) -> Answer {
        let request = Request::builder().method(method).uri(path).header("content-type", "application/json");
        self.ask_as(caller, request.body(Body::from(body.to_string())).unwrap()).await
    }

    pub(crate) async fn send(&self, method: Method, path: &str, body: &Value) -> Answer {
        self.send_as(Caller::local(), method, path, body).await
    }

    /// Follows the cursors of a list to its end.
    pub(crate) async fn follow(&self, path: &str) -> Vec<Value> {
        let (mut servers, mut next) = (Vec::new(), path.to_owned());
        loop {
            let page = self.get(&next).await.json();
            servers.extend(page["servers"].as_array().unwrap().iter().cloned());
            let Some(cursor) = page["metadata"]["nextCursor"].as_str() else { return servers };
            let separator = if path.contains('?') { '&' } else { '?' };
            next = format!("{path}{separator}cursor={cursor}");
        }
    }

    /// The names and versions of a list.
    pub(crate) async fn names(&self, path: &str) -> Vec<String> {
        self.follow(path).await.iter().map(name_of).collect()
    }

    /// Reads a source, or all of them, and waits until that is done.
    pub(crate) async fn sync(&self, source: &str) -> Value {
        let status = tokio::time::timeout(PATIENCE, self.registry.sync(Some(source))).await.unwrap().unwrap();
        let source = status.sources.into_iter().find(|it| it.name == source).unwrap();
        serde_json::to_value(source).unwrap()
    }
}

/// `name@version` of an answer of the API.
pub(crate) fn name_of(item: &Value) -> String {
    format!("{}@{}", item["server"]["name"].as_str().unwrap(), item["server"]["version"].as_str().unwrap())
}

/// An answer, read to its end.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    async fn of(response: Response) -> Self {
        let (status, headers) = (response.status(), response.headers().clone());
        let body = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
        Self { status, headers, body }
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| {
            panic!("{error}: {} {}", self.status, String::from_utf8_lossy(&self.body))
        })
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
    }
}

/// Somebody with a key.
pub(crate) fn caller(tenant: &str, scopes: &[&str]) -> Caller {
    let scopes = scopes.iter().map(|scope| scope.parse::<Scope>().unwrap()).collect();
    Caller::with_key(format!("key-of-{tenant}"), tenant.parse::<Tenant>().unwrap(), scopes)
}

/// A server that says what it is called.
pub(crate) fn server(name: &str, version: &str) -> Value {
    json!({
        "$schema": paddock_registry::SCHEMA_CURRENT,
        "name": name,
        "description": format!("What {name} does"),
        "version": version,
        "remotes": [{"type": "streamable-http", "url": "https://mcp.example.com/mcp"}],
    })
}

/// A file with these servers, in a directory of its own.
pub(crate) struct ServersFile {
    pub(crate) path: PathBuf,
    _dir: tempfile::TempDir,
}

impl ServersFile {
    pub(crate) fn new(servers: &[Value]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let file = Self { path: dir.path().join("servers.json"), _dir: dir };
        file.write(servers);
        file
    }

    pub(crate) fn write(&self, servers: &[Value]) {
        self.write_text(&json!({"servers": servers}).to_string());
    }

    pub(crate) fn write_text(&self, text: &str) {
        // As careful writers do it: nobody sees half of it.
        let next = self.path.with_extension("next");
        std::fs::write(&next, text).unwrap();
        std::fs::rename(&next, &self.path).unwrap();
    }

    /// The configuration of a source that reads it, and looks seldom of itself.
    pub(crate) fn source(&self, name: &str) -> String {
        format!(
            "[[sources]]\nname = \"{name}\"\ninterval = \"1h\"\nfile = {{ path = \"{}\" }}\n",
            self.path.display()
        )
    }
}

type Script = dyn Fn(&Uri, &HeaderMap) -> Response + Send + Sync;

/// A server that answers as it is told, and remembers what it was asked.
pub(crate) struct Upstream {
    pub(crate) base: String,
    asked: Arc<Mutex<Vec<String>>>,
    script: Arc<Mutex<Box<Script>>>,
    _stop: tokio::sync::oneshot::Sender<()>,
}

impl Upstream {
    pub(crate) async fn start(script: impl Fn(&Uri, &HeaderMap) -> Response + Send + Sync + 'static) -> Self {
        let asked: Arc<Mutex<Vec<String>>> = Arc::default();
        let script: Arc<Mutex<Box<Script>>> = Arc::new(Mutex::new(Box::new(script)));
        let app = Router::new().fallback(answer).with_state((Arc::clone(&asked), Arc::clone(&script)));
        let (base, stop) = serve(app).await;
        Self { base, asked, script, _stop: stop }
    }

    /// Answers otherwise from now on.
    pub(crate) fn say(&self, script: impl Fn(&Uri, &HeaderMap) -> Response + Send + Sync + 'static) {
        *self.script.lock().unwrap() = Box::new(script);
    }

    /// What it was asked since the last time.
    pub(crate) fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }

    /// The configuration of a source that reads it as a registry, and looks seldom of itself.
    pub(crate) fn source(&self, name: &str) -> String {
        format!(
            "[[sources]]\nname = \"{name}\"\ninterval = \"1h\"\napi = {{ url = \"{}\", page_limit = 2 }}\n",
            self.base
        )
    }
}

type Shared = (Arc<Mutex<Vec<String>>>, Arc<Mutex<Box<Script>>>);

async fn answer(State((asked, script)): State<Shared>, uri: Uri, headers: HeaderMap) -> Response {
    asked.lock().unwrap().push(uri.to_string());
    let script = script.lock().unwrap();
    (**script)(&uri, &headers)
}

/// Serves a router on loopback for as long as the sender lives.
pub(crate) async fn serve(app: Router) -> (String, tokio::sync::oneshot::Sender<()>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    #[expect(clippy::disallowed_methods, reason = "lives as long as the test")]
    tokio::spawn(async move {
        let serving = std::future::IntoFuture::into_future(axum::serve(listener, app));
        tokio::select! { _ = serving => {}, _ = stopped => {} }
    });
    (base, stop)
}

/// JSON as an answer.
pub(crate) fn json_answer(body: &Value) -> Response {
    ([("content-type", "application/json")], body.to_string()).into_response()
}

/// A parameter of a query.
pub(crate) fn parameter(uri: &Uri, name: &str) -> Option<String> {
    let query = uri.query().unwrap_or_default();
    url::form_urlencoded::parse(query.as_bytes())
        .find(|(key, _)| key == name)
        .map(|(_, value)| value.into_owned())
}

/// A page of a registry whose cursors are positions.
pub(crate) fn registry_page(servers: &[Value], uri: &Uri) -> Response {
    let limit: usize = parameter(uri, "limit").and_then(|limit| limit.parse().ok()).unwrap_or(30);
    let start: usize = parameter(uri, "cursor").and_then(|cursor| cursor.parse().ok()).unwrap_or(0);
    let page: Vec<&Value> = servers.iter().skip(start).take(limit).collect();
    let mut body = json!({"servers": page, "metadata": {"count": page.len()}});
    if start + limit < servers.len() {
        body["metadata"]["nextCursor"] = (start + limit).to_string().into();
    }
    json_answer(&body)
}

/// Asks often and gives up late.
pub(crate) async fn eventually<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(started.elapsed() < PATIENCE, "gave up waiting until {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Data that lies beside the repository; a test without it says that it is skipped.
pub(crate) fn shared(path: &str) -> Option<PathBuf> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/registry").join(path);
    if file.exists() {
        return Some(file);
    }
    let required = std::env::var("PADDOCK_REQUIRE_DATA").as_deref() == Ok("1");
    assert!(!required, "PADDOCK_REQUIRE_DATA=1 is set, and {} is not there", file.display());
    println!("skipped: {} is not there", file.display());
    None
}
