//! The egress as a real Chrome uses it: nothing that a page does gets past it.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Stdio,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    extract::{OriginalUri, State, WebSocketUpgrade, ws::rejection::WebSocketUpgradeRejection},
    response::{Html, IntoResponse, Redirect, Response},
    routing::get,
};
use paddock_browser::{
    BrowserOptions, Engine,
    egress::{Egress, EgressFailure, EgressOptions},
};
use paddock_platform::{config::Section, task::Tasks};
use tokio::{
    net::{TcpListener, UdpSocket},
    process::Command,
    time::timeout,
};

/// Starting Chrome on a machine that compiles beside it takes its time.
const PATIENCE: Duration = Duration::from_mins(2);

/// The engine that the fleet would run; a machine without one cannot run these tests, and says so.
fn engine() -> PathBuf {
    Engine::find(&BrowserOptions::default()).unwrap().path
}

/// The page after its scripts ran, as Chrome prints it.
async fn dump_dom(engine: &Path, egress: &Egress, url: &str) -> String {
    let profile = tempfile::tempdir().unwrap();
    let mut command = Command::new(engine);
    command
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--dump-dom", "--virtual-time-budget=8000"])
        .arg("--disable-features=LocalNetworkAccessChecks,BlockInsecurePrivateNetworkRequests")
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .args(egress.chromium_arguments())
        .arg(url)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true);
    let output = timeout(PATIENCE, command.output()).await.expect("Chrome ends").unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A web server that notes what it was asked for.
#[derive(Clone, Default)]
struct Site {
    requests: Arc<Mutex<Vec<String>>>,
    page: Arc<Mutex<String>>,
    redirect: Arc<Mutex<String>>,
}

impl Site {
    async fn start(&self, tasks: &Tasks, address: &str) -> SocketAddr {
        let listener = TcpListener::bind((address, 0)).await.unwrap();
        let bound = listener.local_addr().unwrap();
        let router = Router::new()
            .route(
                "/redirect",
                get(async |State(site): State<Site>| {
                    Redirect::temporary(&site.redirect.lock().unwrap().clone())
                }),
            )
            .fallback(answer)
            .with_state(self.clone());
        tasks.spawn("site", async move { axum::serve(listener, router).await });
        bound
    }

    fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

async fn answer(
    State(site): State<Site>,
    OriginalUri(uri): OriginalUri,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Response {
    site.requests.lock().unwrap().push(uri.path().to_owned());
    match upgrade {
        Ok(upgrade) => upgrade.on_upgrade(async |mut socket| _ = socket.recv().await),
        Err(_) => Html(site.page.lock().unwrap().clone()).into_response(),
    }
}

async fn egress(tasks: &Tasks, allow: &[&str]) -> Egress {
    let allow = allow.iter().map(|text| text.parse().unwrap()).collect();
    Egress::start(Section::fixed(EgressOptions { allow, ..EgressOptions::default() }), tasks).await.unwrap()
}

fn is_refusal(failure: Option<&EgressFailure>) -> bool {
    matches!(failure, Some(EgressFailure::Refused { .. }))
}

#[tokio::test]
async fn a_loopback_page_is_refused_by_default_and_served_when_allowed() {
    let engine = engine();
    let tasks = Tasks::default();
    let site = Site::default();
    *site.page.lock().unwrap() = "<p id=proof>served</p>".to_owned();
    let address = site.start(&tasks, "127.0.0.1").await;

    let closed = egress(&tasks, &[]).await;
    for host in ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "2130706433", "0x7f.1"] {
        dump_dom(&engine, &closed, &format!("http://{host}:{}/", address.port())).await;
        assert_eq!(site.requests(), Vec::<String>::new(), "{host}");
    }
    assert!(is_refusal(closed.last_failure("127.0.0.1", address.port()).await.as_ref()));

    let open = egress(&tasks, &["127.0.0.0/8"]).await;
    let dom = dump_dom(&engine, &open, &format!("http://localhost:{}/", address.port())).await;
    assert!(dom.contains("served"), "{dom}");
    assert!(site.requests().contains(&"/".to_owned()));
}

/// A page that tries every way to make Chrome connect to `target`.
fn page_that_tries(target: SocketAddr) -> String {
    format!(
        r#"<!doctype html><title>allowed</title>
        <link rel="stylesheet" href="http://{target}/style"><link rel="preconnect" href="http://{target}">
        <link rel="dns-prefetch" href="http://{target}"><link rel="prefetch" href="http://{target}/prefetch">
        <iframe src="http://{target}/frame"></iframe><img src="http://{target}/image">
        <img src="http://169.254.169.254/latest/meta-data"><script src="http://{target}/script"></script>
        <video src="http://{target}/video" autoplay></video><object data="http://{target}/object"></object>
        <ul id="log"></ul>
        <script>
          const log = (what) => document.getElementById('log').append(what + ';');
          const get = (url, name) => fetch(url, {{mode: 'no-cors'}})
            .then(() => log(name + ' open'), () => log(name + ' failed'));
          get('http://{target}/fetch', 'fetch');
          get('/redirect', 'redirect');
          const socket = new WebSocket('ws://{target}/socket');
          socket.onopen = () => log('socket open');
          socket.onerror = () => log('socket failed');
          navigator.sendBeacon('http://{target}/beacon', 'x');
          new EventSource('http://{target}/events').onerror = () => log('events failed');
          const code = `fetch('http://{target}/worker', {{mode: 'no-cors'}}).then(() => postMessage('worker open'),
            () => postMessage('worker failed'))`;
          new Worker(URL.createObjectURL(new Blob([code]))).onmessage = (event) => log(event.data);
        </script>"#
    )
}

#[tokio::test]
async fn an_allowed_page_reaches_nothing_that_is_not_allowed() {
    let engine = engine();
    let tasks = Tasks::default();
    let private = Site::default();
    let target = private.start(&tasks, "127.0.0.1").await;
    let allowed = Site::default();
    *allowed.page.lock().unwrap() = page_that_tries(target);
    *allowed.redirect.lock().unwrap() = format!("http://{target}/redirected");
    let origin = allowed.start(&tasks, "127.0.0.2").await;

    let narrow = egress(&tasks, &["127.0.0.2"]).await;
    let dom = dump_dom(&engine, &narrow, &format!("http://{origin}/")).await;
    for failed in ["fetch failed", "socket failed", "events failed", "worker failed", "redirect failed"] {
        assert!(dom.contains(failed), "{failed}: {dom}");
    }
    dump_dom(&engine, &narrow, &format!("http://{origin}/redirect")).await;
    assert_eq!(private.requests(), Vec::<String>::new());
    assert!(is_refusal(narrow.last_failure("127.0.0.1", target.port()).await.as_ref()));
    assert!(
        is_refusal(narrow.last_failure("169.254.169.254", 80).await.as_ref()),
        "link-local goes through the egress too"
    );

    // The page's attempts were real: without the refusal they arrive.
    let wide = egress(&tasks, &["127.0.0.0/8"]).await;
    dump_dom(&engine, &wide, &format!("http://{origin}/")).await;
    let arrived = private.requests();
    for path in
        ["/style", "/frame", "/image", "/script", "/fetch", "/socket", "/events", "/worker", "/redirected"]
    {
        assert!(arrived.iter().any(|request| request == path), "{path}: {arrived:?}");
    }
}

#[tokio::test]
async fn webrtc_sends_nothing_past_the_egress() {
    let engine = engine();
    let tasks = Tasks::default();
    let stun = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let turn = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let site = Site::default();
    *site.page.lock().unwrap() = format!(
        r#"<!doctype html><p id="state">started</p><script>
          const peer = new RTCPeerConnection({{iceServers: [
            {{urls: 'stun:{}'}}, {{urls: 'turn:{}?transport=tcp', username: 'a', credential: 'b'}}]}});
          peer.createDataChannel('x');
          peer.onicegatheringstatechange = () => {{ document.getElementById('state').append(peer.iceGatheringState); }};
          peer.createOffer().then((offer) => peer.setLocalDescription(offer));
        </script>"#,
        stun.local_addr().unwrap(),
        turn.local_addr().unwrap(),
    );
    let origin = site.start(&tasks, "127.0.0.2").await;
    let egress = egress(&tasks, &["127.0.0.2"]).await;
    let dom = dump_dom(&engine, &egress, &format!("http://{origin}/")).await;
    assert!(dom.contains("gathering"), "the page did try: {dom}");
    let mut packet = [0; 64];
    assert!(stun.try_recv(&mut packet).is_err(), "a packet went past the egress");
    assert!(
        futures_util::FutureExt::now_or_never(turn.accept()).is_none(),
        "a connection went past the egress"
    );
}
