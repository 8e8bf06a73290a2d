//! A Chrome that somebody else started, driven as an instance and let go again.

#![expect(clippy::unwrap_used, reason = "in functions that tests share")]

#[path = "support/api.rs"]
mod api;
mod support;

use std::{path::PathBuf, process::Stdio};

use api::{Api, started};
use http::{Method, StatusCode};
use paddock_browser::{BrowserOptions, Engine};
use paddock_platform::identity::{Caller, Scope, Tenant};
use serde_json::{Value, json};
use support::eventually;
use tempfile::TempDir;
use tokio::process::{Child, Command};

/// A Chrome with a debugging port, which shows a page.
struct Foreign {
    child: Child,
    _profile: TempDir,
    base: String,
    client: reqwest::Client,
}

impl Foreign {
    async fn start(page: &str) -> Self {
        let engine: PathBuf = Engine::find(&BrowserOptions::default()).unwrap().path;
        let profile = tempfile::tempdir().unwrap();
        let child = Command::new(engine)
            .args(["--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-port=0"])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg(page)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let file = profile.path().join("DevToolsActivePort");
        let port = || std::fs::read_to_string(&file).ok().filter(|text| text.contains('\n'));
        eventually("it names its port", || port().is_some()).await;
        let port = port().unwrap().lines().next().unwrap().to_owned();
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        Self { child, _profile: profile, base: format!("http://127.0.0.1:{port}"), client }
    }

    /// Addresses of its pages, by its own account.
    async fn pages(&self) -> Vec<String> {
        let list: Value =
            self.client.get(format!("{}/json/list", self.base)).send().await.unwrap().json().await.unwrap();
        let pages = list.as_array().unwrap().iter().filter(|target| target["type"] == json!("page"));
        pages.map(|target| target["url"].as_str().unwrap().to_owned()).collect()
    }
}

async fn attach(api: &Api, url: &str) -> (StatusCode, Value) {
    api.post("/instances/attach", json!({ "cdpUrl": url, "name": "theirs" })).await
}

#[tokio::test]
async fn a_foreign_chrome_is_driven_as_an_instance_and_let_go_as_it_is() {
    let (fleet, _service, api) = started().await;
    let foreign = Foreign::start(fleet.url("/title/theirs").as_str()).await;
    let (status, instance) = attach(&api, &foreign.base).await;
    assert_eq!(status, StatusCode::CREATED, "{instance}");
    assert_eq!((&instance["attached"], &instance["attachType"]), (&json!(true), &json!("cdp-bridge")));
    assert!(instance["cdpUrl"].as_str().unwrap().contains("/devtools/browser/"), "{instance}");
    assert_eq!(attach(&api, &foreign.base).await.0, StatusCode::CONFLICT);
    let id = instance["id"].as_str().unwrap();

    // Its page is a tab, and its window is as wide as its owner made it.
    // It may have begun to load just now: its title comes with its content.
    let list = format!("/instances/{id}/tabs?fresh=1");
    let titled = async { while api.get(&list).await.1[0]["title"] != json!("theirs") {} };
    tokio::time::timeout(std::time::Duration::from_secs(30), titled).await.unwrap();
    assert_ne!(api.evaluate("innerWidth").await, json!(1440));
    let own = fleet.url("/title/ours");
    let (status, tab) = api.post(&format!("/instances/{id}/tabs/open"), json!({ "url": own })).await;
    assert_eq!(status, StatusCode::CREATED, "{tab}");
    let (_, snapshot) = api.get(&format!("/snapshot?tabId={}", tab["tabId"].as_str().unwrap())).await;
    assert_eq!(snapshot["title"], json!("ours"), "{snapshot}");
    for path in ["hibernate", "restart"] {
        let (status, problem) = api.post(&format!("/instances/{id}/{path}"), json!({})).await;
        assert_eq!(status, StatusCode::CONFLICT, "{problem}");
    }

    assert_eq!(api.post(&format!("/instances/{id}/stop"), json!({})).await.0, StatusCode::OK);
    let mut pages = foreign.pages().await;
    pages.sort();
    assert_eq!(pages, [own.to_string(), fleet.url("/title/theirs").to_string()]);
    assert_eq!(attach(&api, &foreign.base).await.0, StatusCode::CREATED);
    fleet.finish().await;
}

#[tokio::test]
async fn an_attached_chrome_that_ends_is_an_error_that_stays_until_it_is_stopped() {
    let (fleet, _service, api) = started().await;
    let mut foreign = Foreign::start("about:blank").await;
    let (_, instance) = attach(&api, &foreign.base).await;
    let handle = fleet.fleet.handles().remove(0);
    foreign.child.kill().await.unwrap();
    eventually("its end is known", || handle.info().error.is_some()).await;
    let path = format!("/instances/{}", instance["id"].as_str().unwrap());
    let (_, shown) = api.get(&path).await;
    assert_eq!((&shown["status"], &shown["tabs"]), (&json!("error"), &json!(0)), "{shown}");
    let (status, problem) = api.post(&format!("{path}/tabs/open"), json!({})).await;
    assert_eq!(status, StatusCode::BAD_GATEWAY, "{problem}");
    assert_eq!(api.post(&format!("{path}/stop"), json!({})).await.0, StatusCode::OK);
    drop(handle);
    fleet.finish().await;
}

#[tokio::test]
async fn attaching_is_for_administrators_and_to_hosts_that_may_be_reached() {
    let (fleet, service, api) = started().await;
    for (url, expected) in [
        ("", StatusCode::BAD_REQUEST),
        ("ws://127.0.0.1:1/devtools/page/1", StatusCode::BAD_REQUEST),
        ("ws://10.0.0.1:9222/devtools/browser/1", StatusCode::FORBIDDEN),
        ("http://browsers.example:9222", StatusCode::FORBIDDEN),
    ] {
        assert_eq!(attach(&api, url).await.0, expected, "{url}");
    }
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for url in [format!("http://{closed}"), format!("ws://{closed}/devtools/browser/1")] {
        let (status, problem) = attach(&api, &url).await;
        assert_eq!(
            (status, &problem["code"]),
            (StatusCode::BAD_GATEWAY, &json!("attach_failed")),
            "{problem}"
        );
    }
    assert!(fleet.fleet.instances().is_empty());
    let writer = Caller::with_key("k", Tenant::local(), vec![Scope::write("browser")]);
    let api = Api::serve(&fleet, &service, writer).await;
    assert_eq!(attach(&api, &format!("http://{closed}")).await.0, StatusCode::FORBIDDEN);
    let response = api.send(Method::POST, "/instances/attach-bridge", None).await;
    assert_eq!(response.status(), StatusCode::FORBIDDEN);
    fleet.finish().await;
}
