//! The full browser: headless, with windows, with extensions. It isolates sites in processes of their own, shows tabs in
//! windows, and costs several times what the headless shell costs; what callers see of it is the same.

#![expect(clippy::unwrap_used, reason = "in functions that tests share")]

#[path = "support/api.rs"]
mod api;
#[path = "support/canaries.rs"]
mod canaries;
mod support;

use std::{path::Path, time::Duration};

use api::{Api, started_with};
use axum::{Router, response::Html, routing::get};
use http::{Method, StatusCode};
use paddock_browser::{
    BrowserOptions, DownloadState, EngineChoice, Format, InstanceStatus, Screenshot, TabSpec, World,
};
use paddock_platform::task::Tasks;
use serde_json::{Value, json};
use support::{TestFleet, eventually, options};

const TIMEOUT: Duration = Duration::from_secs(60);

fn chromium() -> BrowserOptions {
    BrowserOptions { engine: EngineChoice::Chromium, ..options() }
}

/// A page with a frame of another site, which Chrome puts into a process of its own.
async fn framed(tasks: &Tasks) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let outer = format!(
        "<!doctype html><title>outer</title><h1>Outside</h1>\
         <iframe src='http://localhost:{port}/inner' width=400 height=200></iframe>"
    );
    let inner = "<!doctype html><title>inner</title>\
                 <button onclick=\"this.textContent = 'pressed'\">Press me</button>";
    let router = Router::new()
        .route("/", get(move || async move { Html(outer) }))
        .route("/inner", get(move || async move { Html(inner) }));
    let stopping = tasks.stop_token();
    tasks.spawn("test_framed", async move {
        tokio::select! {
            result = axum::serve(listener, router).into_future() => result.unwrap(),
            () = stopping.cancelled() => {}
        }
    });
    format!("http://127.0.0.1:{port}/")
}

async fn go(api: &Api, url: &str) -> String {
    let (status, page) = api.post("/navigate", json!({ "url": url })).await;
    assert_eq!(status, StatusCode::OK, "{page}");
    page["tabId"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn frames_in_other_processes_are_seen_and_acted_on() {
    let (fleet, _service, api) = started_with(chromium()).await;
    let url = framed(&fleet.tasks).await;
    go(&api, &url).await;
    let button = || async {
        let (_, snapshot) = api.get("/snapshot?filter=interactive").await;
        let nodes = snapshot["nodes"].as_array().unwrap().clone();
        nodes.into_iter().find(|node| node["role"] == json!("button")).unwrap_or_default()
    };
    let before = button().await;
    assert_eq!(before["name"], json!("Press me"), "{before}");
    let body = json!({ "kind": "click", "ref": before["ref"] });
    let (status, outcome) = api.post("/action", body).await;
    assert_eq!(status, StatusCode::OK, "{outcome}");
    assert_eq!(button().await["name"], json!("pressed"));
    fleet.finish().await;
}

#[tokio::test]
async fn tabs_behind_others_are_drawn_and_windows_that_pages_open_are_tabs() {
    let fleet = TestFleet::start_with(chromium()).await;
    let instance = fleet.instance().await;
    let tabs =
        [instance.open(TabSpec::default()).await.unwrap(), instance.open(TabSpec::default()).await.unwrap()];
    for tab in &tabs {
        fleet.visit(tab, "/").await.unwrap();
    }
    for tab in &tabs {
        let picture =
            tab.screenshot(Screenshot { format: Format::Png, ..Screenshot::default() }).await.unwrap();
        assert_eq!(&picture[1..4], b"PNG");
        let frame = "new Promise(done => requestAnimationFrame(() => done(document.visibilityState)))";
        let seen: String = tab.evaluate_as(frame, World::Main, TIMEOUT).await.unwrap();
        assert_eq!(seen, "visible");
    }
    fleet.visit(&tabs[0], "/popups").await.unwrap();
    eventually("popups are tabs", || instance.tabs().len() > 2).await;
    drop((tabs, instance));
    fleet.finish().await;
}

#[tokio::test]
async fn instances_of_the_full_browser_are_apart_and_sleep_and_wake() {
    let fleet = TestFleet::start_with(chromium()).await;
    let site: url::Url = canaries::serve(&fleet.tasks).await.parse().unwrap();
    let (one, other) = (fleet.instance().await, fleet.instance().await);
    let tab = one.open(TabSpec::default()).await.unwrap();
    tab.navigate(&site, support::quick()).await.unwrap();
    let left: String = tab.evaluate_as(&canaries::leave("bird"), World::Main, TIMEOUT).await.unwrap();
    tab.evaluate(&canaries::download("bird"), World::Main, TIMEOUT).await.unwrap();
    eventually("its file is there", || {
        one.downloads().iter().any(|download| download.state == DownloadState::Completed)
    })
    .await;
    let stranger = other.open(TabSpec::default()).await.unwrap();
    stranger.navigate(&site, support::quick()).await.unwrap();
    let seen: Vec<String> = stranger.evaluate_as(&canaries::look(), World::Main, TIMEOUT).await.unwrap();
    assert_eq!(seen[..6], [""; 6]);
    assert_ne!(seen[6], left);
    assert!(other.downloads().is_empty());

    let id = tab.id().clone();
    drop(tab);
    one.hibernate("a test").await.unwrap();
    assert_eq!(one.status(), InstanceStatus::Hibernated);
    let (in_use, tab) = one.enter_tab(&id).await.unwrap();
    let kept = "[localStorage.canary, sessionStorage.canary, document.cookie].join()";
    let kept: String = tab.evaluate_as(kept, World::Main, TIMEOUT).await.unwrap();
    assert_eq!(kept, "bird,bird,canary=bird");
    drop((in_use, tab, stranger, one, other));
    fleet.finish().await;
}

#[tokio::test]
async fn a_browser_with_windows_has_a_display_of_its_own_where_there_is_none() {
    let (fleet, _service, api) = started_with(options()).await;
    let (status, instance) = api.post("/instances/start", json!({ "mode": "headed" })).await;
    assert_eq!(status, StatusCode::CREATED, "{instance}");
    assert_eq!((&instance["mode"], &instance["headless"]), (&json!("headed"), &json!(false)));
    let id = instance["id"].as_str().unwrap();
    let opened = json!({ "url": fleet.url("/title/window") });
    let (status, tab) = api.post(&format!("/instances/{id}/tabs/open"), opened).await;
    assert_eq!((status, &tab["title"]), (StatusCode::CREATED, &json!("window")), "{tab}");
    let pid = instance_pid(&fleet);
    let arguments = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap();
    assert!(arguments.contains("--window-size") && !arguments.contains("--headless"), "{arguments}");
    assert_eq!(api.evaluate("document.visibilityState").await, json!("visible"));
    let picture = api.send(Method::GET, "/screenshot?format=png&raw=true", None).await;
    assert_eq!(picture.status(), StatusCode::OK);
    fleet.finish().await;
}

fn instance_pid(fleet: &TestFleet) -> i32 {
    fleet.fleet.instances()[0].pid.unwrap()
}

fn extension(directory: &Path) {
    let manifest = json!({
        "manifest_version": 3, "name": "Marker", "version": "1",
        "content_scripts": [{ "matches": ["<all_urls>"], "js": ["mark.js"], "run_at": "document_start" }],
    });
    std::fs::write(directory.join("manifest.json"), manifest.to_string()).unwrap();
    std::fs::write(directory.join("mark.js"), "document.documentElement.dataset.mark = 'extended'").unwrap();
}

#[tokio::test]
async fn extensions_that_the_operator_lists_run_in_instances_that_ask_for_them() {
    let directory = tempfile::tempdir().unwrap();
    let marker = directory.path().join("marker");
    std::fs::create_dir(&marker).unwrap();
    extension(&marker);
    let options = BrowserOptions { extensions: vec![marker.clone()], ..options() };
    let (fleet, _service, api) = started_with(options).await;
    let refused = json!({ "extensionPaths": ["/etc"] });
    assert_eq!(api.post("/instances/start", refused).await.0, StatusCode::BAD_REQUEST);
    let (status, instance) = api.post("/instances/start", json!({ "extensionPaths": ["marker"] })).await;
    assert_eq!(status, StatusCode::CREATED, "{instance}");
    let mark = async |id: &Value| {
        let opened = json!({ "url": fleet.url("/cookie") });
        let (status, tab) = api.post(&format!("/instances/{}/tabs/open", id.as_str().unwrap()), opened).await;
        assert_eq!(status, StatusCode::CREATED, "{tab}");
        api.evaluate("document.documentElement.dataset.mark ?? ''").await
    };
    assert_eq!(mark(&instance["id"]).await, json!("extended"));
    let (_, plain) = api.post("/instances/start", json!({ "isolation": "process" })).await;
    assert_eq!(mark(&plain["id"]).await, json!(""));

    // It sleeps and wakes as others do, in the context that its Chrome has by itself.
    let handles = fleet.fleet.handles();
    let handle = handles.iter().find(|handle| Some(handle.id().as_str()) == instance["id"].as_str()).unwrap();
    let tab = handle.tabs()[0].id().clone();
    handle.hibernate("a test").await.unwrap();
    let (in_use, tab) = handle.enter_tab(&tab).await.unwrap();
    let sent: String = tab
        .evaluate_as("sent.textContent + document.documentElement.dataset.mark", World::Main, TIMEOUT)
        .await
        .unwrap();
    assert_eq!(sent, "seen=1extended");
    drop((in_use, tab, handles));
    fleet.finish().await;
}
