//! DevTools clients that nobody here wrote, connected to instances of a running server.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test says what it found by panicking")]

mod support;

use std::process::{Command, Stdio};

use axum::{Router, response::Html, routing::get};
use http::StatusCode;
use serde_json::{Value, json};
use support::{TestServer, TestSite};

const FORM: &str = "<!doctype html><title>A form</title><input id=name>
    <button id=send onclick=\"sent.textContent = 'Hello, ' + document.getElementById('name').value\">Send</button>
    <p id=sent></p>";

/// Runs a script of `tests/clients`, which says `ok` when all went as it should.
async fn run(script: &str, args: &[&str]) {
    let directory = support::page("tests/clients");
    assert!(
        directory.join("node_modules").exists(),
        "run `scripts/setup.sh test`: the node packages are missing"
    );
    let mut command = Command::new("node");
    command.arg(script).args(args).current_dir(directory).stdin(Stdio::null());
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    assert!(output.status.success() && output.stdout.ends_with(b"ok\n"), "{}", support::text(&output));
}

async fn site() -> TestSite {
    TestSite::start(Router::new().fallback(get(|| async { Html(FORM) }))).await
}

fn client() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().build().unwrap()
}

async fn start_instance(server: &TestServer, key: Option<&str>) -> String {
    let mut request = client().post(format!("{}/browser/instances/start", server.base)).json(&json!({}));
    if let Some(key) = key {
        request = request.bearer_auth(key);
    }
    let instance: Value = request.send().await.unwrap().json().await.unwrap();
    instance["id"].as_str().unwrap_or_else(|| panic!("{instance}")).to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn playwright_sees_two_instances_as_two_separate_browsers() {
    let (server, site) = (TestServer::start(&[]), site().await);
    let (first, second) = (start_instance(&server, None).await, start_instance(&server, None).await);
    run("playwright.mjs", &[&server.base, &site.base, &first, &second]).await;
    // The clients are gone; the instances are still there, with the page that one of them left open.
    let tabs: Value = client()
        .get(format!("{}/browser/instances/{first}/tabs?fresh=1", server.base))
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert!(tabs.as_array().is_some_and(|tabs| tabs.iter().any(|tab| tab["title"] == "A form")), "{tabs}");
}

#[tokio::test(flavor = "multi_thread")]
async fn puppeteer_drives_an_instance() {
    let (server, site) = (TestServer::start(&[]), site().await);
    let (instance, _other) = (start_instance(&server, None).await, start_instance(&server, None).await);
    run("puppeteer.mjs", &[&server.base, &site.base, &instance]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_tenants_instance_cannot_be_reached_by_any_key_but_its_own() {
    let server = TestServer::start(&["--set", "server.keys_required=true"]);
    let site = site().await;
    let key = |tenant: &str| {
        let data = server.data.display().to_string();
        let args =
            ["keys", "create", tenant, "--tenant", tenant, "--scope", "browser:admin", "--data", &data];
        let output = support::run(&args);
        let words = String::from_utf8_lossy(&output.stdout).into_owned();
        let key = words.split_whitespace().find(|word| word.starts_with("pdk_")).map(str::to_owned);
        key.unwrap_or_else(|| panic!("{}", support::text(&output)))
    };
    let (own, strange) = (key("owner"), key("stranger"));
    let instance = start_instance(&server, Some(&own)).await;
    run("puppeteer.mjs", &[&server.base, &site.base, &instance, &own]).await;
    for path in ["json/version", "json/list", "cdp"] {
        let url = format!("{}/browser/instances/{instance}/{path}", server.base);
        let upgraded = |key: Option<&str>| {
            let request = client().get(match key {
                Some(key) => format!("{url}?token={key}"),
                None => url.clone(),
            });
            request
                .header("connection", "upgrade")
                .header("upgrade", "websocket")
                .header("sec-websocket-version", "13")
                .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
                .send()
        };
        assert_eq!(upgraded(Some(&strange)).await.unwrap().status(), StatusCode::NOT_FOUND, "{path}");
        assert_eq!(upgraded(None).await.unwrap().status(), StatusCode::UNAUTHORIZED, "{path}");
    }
}
