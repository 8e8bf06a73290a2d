//! Pages that cannot be analysed: each ends in a problem that says why, and leaves the server serving.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test says what it found by panicking")]

mod support;

use std::{convert::Infallible, time::Duration};

use axum::{
    Router,
    body::{Body, Bytes},
    http::header,
    response::{Html, IntoResponse, Redirect},
    routing::get,
};
use futures_util::stream;
use reqwest::StatusCode;
use serde_json::{Value, json};
use support::{PATIENCE, TestServer, TestSite, closed_port};

async fn analyze(server: &TestServer, url: &str) -> (StatusCode, Value) {
    let client = reqwest::Client::builder().timeout(PATIENCE).build().unwrap();
    let body = json!({"url": url, "viewports": ["desktop"], "fresh": true});
    let response = client
        .post(format!("{}/analysis", server.base))
        .header("prefer", "wait=90")
        .json(&body)
        .send()
        .await
        .unwrap();
    (response.status(), response.json().await.unwrap())
}

/// A megabyte of text, over and over.
fn endless(megabytes: usize) -> Body {
    let chunk = Bytes::from(vec![b'x'; 1 << 20]);
    Body::from_stream(stream::iter((0..megabytes).map(move |_| Ok::<_, Infallible>(chunk.clone()))))
}

fn bad_pages() -> Router {
    Router::new()
        .route("/500", get(|| async { (StatusCode::INTERNAL_SERVER_ERROR, Html("<h1>Oops</h1>")) }))
        .route("/404", get(|| async { (StatusCode::NOT_FOUND, Html("<h1>Nothing</h1>")) }))
        .route("/loop", get(|| async { Redirect::temporary("/loop") }))
        .route("/private", get(|| async { Redirect::temporary("http://10.1.2.3/") }))
        .route(
            "/download",
            get(|| async { ([(header::CONTENT_TYPE, "application/zip"), (header::CONTENT_DISPOSITION, "attachment; filename=a.zip")], "PK") }),
        )
        .route("/silent", get(|| async { std::future::pending::<&str>().await }))
        .route(
            "/alerts",
            get(|| async { Html("<!DOCTYPE html><title>Alert after alert</title><h1>Hello</h1><script>for (;;) alert('again')</script>") }),
        )
        .route("/huge", get(|| async { ([(header::CONTENT_TYPE, "text/html")], endless(40)).into_response() }))
        .route("/spin", get(|| async { Html("<!DOCTYPE html><title>Busy</title><h1>Hello</h1><script>for (;;) {}</script>") }))
        .route("/never", get(|| async { Html("<!DOCTYPE html><title>A page that never finishes</title><h1>Hello there</h1><p>Text.<img src=/silent>") }))
        .route("/good", get(|| async { Html("<!DOCTYPE html><title>A good page that loads</title><h1>Hello there</h1><p>Text.") }))
}

#[tokio::test]
async fn each_ends_in_a_clear_problem_and_leaves_the_server_serving() {
    let site = TestSite::start(bad_pages()).await;
    let server = TestServer::start(&[
        "--set",
        "browser.page_size_max=4MiB",
        "--set",
        "analysis.navigation_timeout=8s",
        "--set",
        "analysis.timeout=25s",
    ]);
    for (path, slug) in [
        ("/500", "page-http-error"),
        ("/404", "page-http-error"),
        ("/loop", "redirect-loop"),
        ("/private", "address-refused"),
        ("/download", "not-a-page"),
        ("/silent", "deadline-exceeded"),
        ("/alerts", "dialog-loop"),
        ("/huge", "page-too-large"),
    ] {
        let (status, problem) = analyze(&server, &format!("{}{path}", site.base)).await;
        assert!(status.is_client_error() || status.is_server_error(), "{path}: {status}");
        assert_eq!(problem["type"], format!("urn:paddock:problem:{slug}"), "{path}: {problem}");
        assert!(problem["detail"].as_str().unwrap().len() > 20, "{path}: {problem}");
        let (status, report) = analyze(&server, &format!("{}/good", site.base)).await;
        assert_eq!(status, StatusCode::CREATED, "after {path}: {report}");
    }
    let started = std::time::Instant::now();
    loop {
        let instances = reqwest::get(format!("{}/browser/instances", server.base)).await.unwrap();
        if instances.json::<Value>().await.unwrap() == json!([]) {
            break;
        }
        assert!(started.elapsed() < PATIENCE, "an analysis kept its browser");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_host_that_refuses_or_does_not_exist_is_unreachable() {
    let server = TestServer::start(&[]);
    let closed = closed_port();
    for (url, slug) in [
        (closed.as_str(), "host-unreachable"),
        ("http://no-such-host.invalid/", "host-not-found"),
        ("http://10.1.2.3/", "address-refused"),
        ("http://[::ffff:10.1.2.3]/", "address-refused"),
    ] {
        let (_, problem) = analyze(&server, url).await;
        assert_eq!(problem["type"], format!("urn:paddock:problem:{slug}"), "{url}: {problem}");
    }
}

#[tokio::test]
async fn a_server_that_does_not_speak_tls_is_a_tls_error() {
    let (server, site) = (TestServer::start(&[]), TestSite::start(bad_pages()).await);
    let (_, problem) = analyze(&server, &site.base.replace("http:", "https:")).await;
    assert_eq!(problem["type"], "urn:paddock:problem:tls-failed", "{problem}");
}

#[tokio::test]
async fn a_page_that_never_finishes_or_never_rests_is_analysed_as_it_is_or_refused_in_time() {
    let site = TestSite::start(bad_pages()).await;
    let server =
        TestServer::start(&["--set", "analysis.navigation_timeout=6s", "--set", "analysis.timeout=20s"]);
    let (status, report) = analyze(&server, &format!("{}/never", site.base)).await;
    assert_eq!(status, StatusCode::CREATED, "{report}");
    let not_checked = report["not_checked"].to_string();
    assert!(not_checked.contains("load") || not_checked.contains("settle"), "{not_checked}");
    let started = std::time::Instant::now();
    let (_, problem) = analyze(&server, &format!("{}/spin", site.base)).await;
    assert!(problem["type"].as_str().is_some_and(|it| it.starts_with("urn:paddock:problem:")), "{problem}");
    assert!(started.elapsed() < PATIENCE + Duration::from_secs(1));
    assert_eq!(analyze(&server, &format!("{}/good", site.base)).await.0, StatusCode::CREATED);
}
