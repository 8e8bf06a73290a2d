//! A server on a free port, with keys from a table.

use std::{collections::HashMap, future::ready, net::SocketAddr, sync::Arc, time::Duration};

use axum::Router;
use futures_util::future::BoxFuture;
use paddock_platform::{
    config::{Live, Section},
    http::{
        Authenticate, AuthenticateError, Authenticated, Drained, Edge, EdgeBuilder, KeyLimits, Server,
        ServerOptions,
    },
    identity::{Caller, Scope, Tenant},
    task::Tasks,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

/// The longest that any test waits for something that must happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Keys in a table: token -> what it may and its limits.
#[derive(Default)]
pub(crate) struct KeyTable(HashMap<&'static str, Authenticated>);

impl KeyTable {
    pub(crate) fn with(mut self, token: &'static str, scopes: &[Scope], limits: KeyLimits) -> Self {
        let caller = Caller::with_key(format!("id-of-{token}"), Tenant::local(), scopes.to_vec());
        self.0.insert(token, Authenticated { caller, limits });
        self
    }
}

impl Authenticate for KeyTable {
    fn authenticate<'a>(&'a self, token: &'a str) -> BoxFuture<'a, Result<Authenticated, AuthenticateError>> {
        let found = match token {
            "pdk_unavailable" => Err(AuthenticateError::Unavailable("the store is gone".into())),
            token => self.0.get(token).cloned().ok_or(AuthenticateError::Refused),
        };
        Box::pin(ready(found))
    }

    fn has_form_of_key(&self, token: &str) -> bool {
        token.starts_with("pdk_")
    }
}

pub(crate) struct TestServer {
    pub(crate) address: SocketAddr,
    pub(crate) addresses: Vec<SocketAddr>,
    pub(crate) options: Live<ServerOptions>,
    pub(crate) stop: CancellationToken,
    pub(crate) client: reqwest::Client,
    serving: Option<JoinHandle<Drained>>,
}

/// Options of a test's server: a free port, and otherwise the defaults.
pub(crate) fn options() -> ServerOptions {
    ServerOptions { listen: "127.0.0.1:0".parse().unwrap(), ..ServerOptions::default() }
}

impl TestServer {
    pub(crate) async fn start(options: ServerOptions, routes: Router) -> Self {
        Self::start_with(options, routes, |edge| edge).await
    }

    pub(crate) async fn start_with(
        options: ServerOptions,
        routes: Router,
        configure: impl FnOnce(EdgeBuilder) -> EdgeBuilder,
    ) -> Self {
        let tasks = Tasks::default();
        let live = Live::new(options.clone());
        let section: Section<ServerOptions> = live.section(|options| options);
        let server = Server::bind(&options, true).await.unwrap();
        let addresses = server.addresses().to_vec();
        let address = addresses[0];
        let edge = configure(Edge::builder(section, server.addresses())).build();
        let stop = CancellationToken::new();
        let (token, app, own) = (stop.clone(), routes.layer(edge), tasks.clone());
        let serving = tasks.spawn("test_server", async move { server.serve(app, &own, token).await });
        Self { address, addresses, options: live, stop, client: client(), serving: Some(serving) }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) fn get(&self, path: &str) -> reqwest::RequestBuilder {
        self.client.get(self.url(path))
    }

    pub(crate) fn post(&self, path: &str) -> reqwest::RequestBuilder {
        self.client.post(self.url(path))
    }

    /// Asks the server to stop and waits until it has.
    pub(crate) async fn stopped(mut self) -> Drained {
        self.stop.cancel();
        let serving = self.serving.take().unwrap();
        tokio::time::timeout(PATIENCE, serving).await.unwrap().unwrap()
    }

    /// Sends bytes as they are and reads until the server closes.
    pub(crate) async fn exchange(&self, bytes: impl AsRef<[u8]>) -> String {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        // The server may refuse before it has read everything.
        let _ = stream.write_all(bytes.as_ref()).await;
        read_to_end(&mut stream).await
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

pub(crate) fn client() -> reqwest::Client {
    reqwest::Client::builder().timeout(PATIENCE).no_proxy().build().unwrap()
}

pub(crate) async fn read_to_end(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let _ =
        tokio::time::timeout(PATIENCE, stream.read_to_end(&mut bytes)).await.expect("the server must close");
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Waits until something holds: asks often, gives up late.
pub(crate) async fn eventually<F: AsyncFnMut() -> bool>(mut holds: F) {
    let waiting = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.expect("did not come true");
}

/// The parts of a problem that tests look at, after checking what every problem must have.
pub(crate) struct Refusal {
    pub(crate) status: u16,
    pub(crate) slug: String,
    pub(crate) body: serde_json::Value,
    pub(crate) headers: reqwest::header::HeaderMap,
}

pub(crate) async fn refusal(request: reqwest::RequestBuilder) -> Refusal {
    let response = request.send().await.unwrap();
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let text = response.text().await.unwrap();
    assert!((400..600).contains(&status), "{status}: {text}");
    assert_eq!(headers["content-type"], "application/problem+json", "{text}");
    let body: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(body["status"], status);
    let trace_id = body["trace_id"].as_str().unwrap();
    assert!(headers["traceparent"].to_str().unwrap().contains(trace_id));
    let slug = body["type"].as_str().unwrap().trim_start_matches("urn:paddock:problem:").to_owned();
    Refusal { status, slug, body, headers }
}

/// Shared state of handlers that block until released.
#[derive(Clone, Default)]
pub(crate) struct Gate(pub(crate) Arc<GateInner>);

#[derive(Default)]
pub(crate) struct GateInner {
    pub(crate) entered: std::sync::atomic::AtomicUsize,
    pub(crate) open: CancellationToken,
}

impl Gate {
    pub(crate) async fn pass(&self) {
        self.0.entered.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        self.0.open.cancelled().await;
    }

    pub(crate) fn entered(&self) -> usize {
        self.0.entered.load(std::sync::atomic::Ordering::SeqCst)
    }

    pub(crate) async fn wait_entered(&self, count: usize) {
        eventually(async || self.entered() >= count).await;
    }

    pub(crate) fn open(&self) {
        self.0.open.cancel();
    }
}
