//! The server as its clients meet it: from the first line it prints to its last.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test says what it found by panicking")]

mod support;

use std::{fs, time::Duration};

use axum::{Router, response::Html, routing::get};
use reqwest::StatusCode;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use support::{PATIENCE, TestServer, TestSite, eventually, page, run, text};

fn client() -> reqwest::Client {
    reqwest::Client::builder().timeout(PATIENCE).build().unwrap()
}

async fn analyze(server: &TestServer, url: &str) -> (StatusCode, Value) {
    let body = json!({"url": url, "viewports": ["desktop"], "fresh": true});
    let response = client()
        .post(format!("{}/analysis", server.base))
        .header("prefer", "wait=90")
        .json(&body)
        .send()
        .await
        .unwrap();
    (response.status(), response.json().await.unwrap())
}

async fn get_json(server: &TestServer, path: &str) -> Value {
    client().get(format!("{}{path}", server.base)).send().await.unwrap().json().await.unwrap()
}

fn shop() -> Router {
    let page = fs::read_to_string(support::page("examples/shop.html")).unwrap();
    Router::new().route("/", get(move || async move { Html(page) }))
}

#[tokio::test]
async fn a_page_is_analysed_kept_listed_and_forgotten() {
    let (server, site) = (TestServer::start(&[]), TestSite::start(shop()).await);
    let (status, report) = analyze(&server, &site.base).await;
    assert_eq!(status, StatusCode::CREATED, "{report}");
    let id = report["id"].as_str().unwrap();

    let html = client().get(format!("{}/analysis/{id}/report.html", server.base)).send().await.unwrap();
    assert!(html.headers()["content-security-policy"].to_str().unwrap().contains("default-src 'none'"));
    assert!(html.text().await.unwrap().contains("KTL-17-GRN"));
    assert_eq!(get_json(&server, &format!("/analysis/{id}")).await["findings"], report["findings"]);
    let listed = get_json(&server, "/analysis").await;
    assert_eq!(listed["items"][0]["id"], id);
    let status_page = client().get(&server.base).send().await.unwrap().text().await.unwrap();
    assert!(status_page.contains(&format!("/analysis/{id}/report.html")));

    let again = json!({"url": format!("{}/?utm_source=mail", site.base), "viewports": ["desktop"]});
    let again = client().post(format!("{}/analysis", server.base)).json(&again).send().await.unwrap();
    assert_eq!(again.status(), StatusCode::OK, "a recent report answers for its page");
    assert_eq!(again.json::<Value>().await.unwrap()["id"], id);

    let forgotten = client().delete(format!("{}/analysis/{id}", server.base)).send().await.unwrap();
    assert_eq!(forgotten.status(), StatusCode::NO_CONTENT);
    let gone = client().get(format!("{}/analysis/{id}/report.html", server.base)).send().await.unwrap();
    assert_eq!(gone.status(), StatusCode::NOT_FOUND);
    eventually("its files are gone", || {
        (!server.data.join("blobs/analysis").join(id).join("report.html").exists()).then_some(())
    });
}

#[tokio::test]
async fn the_tool_does_what_the_route_does() {
    let (server, site) = (TestServer::start(&[]), TestSite::start(shop()).await);
    let tools = get_json(&server, "/tools").await;
    let names: Vec<&str> =
        tools["tools"].as_array().unwrap().iter().filter_map(|it| it["name"].as_str()).collect();
    for name in ["analysis_run", "browser_navigate", "browser_snapshot"] {
        assert!(names.contains(&name), "{names:?}");
    }
    let call =
        |input: Value| client().post(format!("{}/tools/analysis_run", server.base)).json(&input).send();
    let report: Value =
        call(json!({"url": site.base, "viewports": ["mobile"]})).await.unwrap().json().await.unwrap();
    assert!(!report["findings"].as_array().unwrap().is_empty(), "{report}");
    let refused = call(json!({"url": site.base, "viewport": ["mobile"]})).await.unwrap();
    assert_eq!(refused.status(), StatusCode::BAD_REQUEST);
    assert!(refused.text().await.unwrap().contains("viewport"));
}

#[tokio::test]
async fn a_server_without_a_key_does_not_listen_beyond_loopback() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().to_str().unwrap();
    let output = run(&["serve", "--listen", "0.0.0.0:0", "--data", data]);
    assert_eq!(output.status.code(), Some(2), "{}", text(&output));
    assert!(support::complaint(&output).contains("paddock keys create"), "{}", text(&output));
}

#[tokio::test]
async fn a_key_may_do_what_its_scopes_say_until_it_is_revoked() {
    let server = TestServer::start(&["--set", "server.keys_required=true"]);
    let data = server.data.to_str().unwrap();
    let create = |scope: &str| {
        let output = run(&["keys", "create", "test", "--scope", scope, "--data", data]);
        assert!(output.status.success(), "{}", text(&output));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    let (reader, writer) = (create("analysis:read"), create("browser:write"));
    let ask = async |path: &str, token: &str| {
        let request = client().get(format!("{}{path}", server.base));
        request.bearer_auth(token).send().await.unwrap().status()
    };
    assert_eq!(
        client().get(format!("{}/analysis", server.base)).send().await.unwrap().status(),
        StatusCode::UNAUTHORIZED
    );
    assert_eq!(ask("/analysis", "pdk_no_such").await, StatusCode::UNAUTHORIZED);
    assert_eq!(ask("/analysis", &reader).await, StatusCode::OK);
    assert_eq!(ask("/browser/instances", &reader).await, StatusCode::FORBIDDEN);
    assert_eq!(ask("/browser/instances", &writer).await, StatusCode::OK);
    let write = client().post(format!("{}/analysis", server.base)).bearer_auth(&reader);
    let write = write.json(&json!({"url": "https://example.com"})).send().await.unwrap();
    assert_eq!(write.status(), StatusCode::FORBIDDEN);

    let listed = run(&["keys", "list", "--json", "--data", data]);
    let keys: Value = serde_json::from_slice(&listed.stdout).unwrap();
    let id = keys.as_array().unwrap().iter().find(|key| key["scopes"][0] == "analysis:read").unwrap()["id"]
        .clone();
    assert!(run(&["keys", "revoke", id.as_str().unwrap(), "--data", data]).status.success());
    // Revoked by another process: the server learns of it within seconds.
    let started = std::time::Instant::now();
    while ask("/analysis", &reader).await != StatusCode::UNAUTHORIZED {
        assert!(started.elapsed() < PATIENCE, "a revoked key is still accepted");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_request_for_another_host_or_from_another_origin_is_refused() {
    let server = TestServer::start_plain(&[]);
    let with = async |name: &str, value: &str| {
        let request = client().post(format!("{}/analysis", server.base)).header(name, value);
        request.json(&json!({"url": "https://example.com"})).send().await.unwrap().status()
    };
    assert_eq!(with("Host", "attacker.example").await, StatusCode::FORBIDDEN);
    assert_eq!(with("Origin", "https://attacker.example").await, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn it_says_whether_it_is_ready_and_what_it_measures() {
    let server = TestServer::start(&[]);
    let readiness = get_json(&server, "/readyz").await;
    let names: Vec<&str> =
        readiness["resources"].as_array().unwrap().iter().filter_map(|it| it["name"].as_str()).collect();
    for name in ["store", "browser", "agents", "disk", "memory", "configuration"] {
        assert!(names.contains(&name), "{names:?}");
    }
    let metrics =
        client().get(format!("{}/metrics", server.base)).send().await.unwrap().text().await.unwrap();
    for metric in [
        "http_request_duration_seconds",
        "process_resident_memory_bytes",
        "go_goroutines",
        "store_query_duration_seconds",
    ] {
        assert!(metrics.contains(metric), "no {metric} in\n{metrics}");
    }
    let Ok(mut promtool) = std::process::Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
    else {
        println!("skipped: promtool is not installed");
        return;
    };
    std::io::Write::write_all(&mut promtool.stdin.take().unwrap(), metrics.as_bytes()).unwrap();
    let output = promtool.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
}

#[test]
fn the_alerts_are_rules_that_do_as_they_say() {
    let rules = page("docs/alerts.yml").display().to_string();
    for args in [["check", "rules", rules.as_str()], ["test", "rules", "tests/alerts.yml"]] {
        let Ok(output) = std::process::Command::new("promtool").args(args).output() else {
            println!("skipped: promtool is not installed");
            return;
        };
        assert!(output.status.success(), "{}", text(&output));
    }
}

#[tokio::test]
async fn the_contract_lists_every_area_and_can_be_read_as_a_page() {
    let server = TestServer::start_plain(&[]);
    let document = get_json(&server, "/openapi.json").await;
    for path in ["/analysis", "/analysis/{id}", "/browser/navigate", "/browser/snapshot", "/tools/{name}"] {
        assert!(
            document["paths"][path].is_object(),
            "{path} is not in {:?}",
            document["paths"].as_object().map(|it| it.keys().collect::<Vec<_>>())
        );
    }
    let docs = client().get(format!("{}/docs", server.base)).send().await.unwrap().text().await.unwrap();
    assert!(docs.contains("Analyse a page"));
}

#[tokio::test]
async fn a_changed_configuration_is_in_force_within_seconds_and_a_bad_one_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("paddock.toml");
    fs::write(&file, "").unwrap();
    let server = TestServer::start_plain(&["--config", file.to_str().unwrap()]);
    let body = || vec![b' '; 4096];
    let post = async || {
        let request =
            client().post(format!("{}/analysis", server.base)).header("Content-Type", "application/json");
        request.body(body()).send().await.unwrap().status()
    };
    assert_eq!(post().await, StatusCode::BAD_REQUEST);
    fs::write(&file, "[server]\nbody_max = \"1KiB\"\n").unwrap();
    let started = std::time::Instant::now();
    while post().await != StatusCode::PAYLOAD_TOO_LARGE {
        assert!(started.elapsed() < PATIENCE, "the change was never applied");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    fs::write(&file, "[server]\nbody_maximum = \"2KiB\"\n").unwrap();
    let started = std::time::Instant::now();
    loop {
        let readiness = get_json(&server, "/readyz").await.to_string();
        if readiness.contains("body_maximum") {
            break;
        }
        assert!(started.elapsed() < PATIENCE, "the mistake is not in {readiness}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(post().await, StatusCode::PAYLOAD_TOO_LARGE, "the running configuration is kept");
    let metrics =
        client().get(format!("{}/metrics", server.base)).send().await.unwrap().text().await.unwrap();
    assert!(metrics.contains("config_reload_duration_seconds"), "{metrics}");
}

#[tokio::test]
async fn a_server_that_is_asked_to_stop_leaves_no_browser_and_exits_0() {
    let (mut server, site) = (TestServer::start(&[]), TestSite::start(shop()).await);
    assert_eq!(analyze(&server, &site.base).await.0, StatusCode::CREATED);
    assert!(!server.chromes().is_empty());
    server.signal(Signal::TERM);
    assert_eq!(server.wait(), Some(0));
    eventually("every Chrome is gone", || server.chromes().is_empty().then_some(()));
}

#[tokio::test]
async fn a_server_that_is_killed_leaves_no_browser_and_starts_again_with_its_reports() {
    let (mut server, site) = (TestServer::start(&[]), TestSite::start(shop()).await);
    let (_, report) = analyze(&server, &site.base).await;
    assert!(!server.chromes().is_empty());
    server.signal(Signal::KILL);
    assert_eq!(server.wait(), None);
    eventually("every Chrome is gone", || server.chromes().is_empty().then_some(()));

    let again = TestServer::start_on(&server.data);
    let listed = get_json(&again, "/analysis").await;
    assert_eq!(listed["items"][0]["id"], report["id"]);
}

#[tokio::test]
async fn chrome_killed_during_an_analysis_ends_in_a_report_or_a_clear_error() {
    let slow = Router::new().route(
        "/",
        get(|| async {
            Html("<!DOCTYPE html><title>Slow page to load</title><h1>Slow</h1><script src=/late.js></script>")
        }),
    );
    let loading = std::sync::Arc::new(tokio::sync::Notify::new());
    let asked = std::sync::Arc::clone(&loading);
    let slow = slow.route(
        "/late.js",
        get(move || async move {
            asked.notify_one();
            tokio::time::sleep(Duration::from_secs(2)).await;
            "document.title += '!'"
        }),
    );
    let (server, site) = (TestServer::start(&[]), TestSite::start(slow).await);
    let killer = async {
        // When the page is being loaded, kill every process of every Chrome.
        tokio::time::timeout(PATIENCE, loading.notified()).await.expect("the page is asked for");
        for pid in server.chromes() {
            let _ = kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL);
        }
    };
    let ((status, answer), ()) = tokio::join!(analyze(&server, &site.base), killer);
    let clear = answer["type"].as_str().is_some_and(|it| it.starts_with("urn:paddock:problem:"));
    assert!(status == StatusCode::CREATED || clear, "{status}: {answer}");
    assert_eq!(analyze(&server, &site.base).await.0, StatusCode::CREATED, "the fleet has healed");
}
