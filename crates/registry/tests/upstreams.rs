//! Other registries as sources, with everything that they may get wrong.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test says what it found by panicking"
)]

mod support;

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use axum::{
    http::{HeaderValue, StatusCode},
    response::IntoResponse,
};
use serde_json::{Value, json};
use support::{TestRegistry, Upstream, json_answer, parameter, registry_page, serve, server};

const LIST: &str = "/registry/v0.1/servers";
const OFFICIAL: &str = "io.modelcontextprotocol.registry/official";

fn listed(name: &str, version: &str, status: &str, updated_at: &str) -> Value {
    let official = json!({"status": status, "publishedAt": "2026-01-01T00:00:00Z", "updatedAt": updated_at, "isLatest": true});
    json!({"server": server(name, version), "_meta": {OFFICIAL: official}})
}

fn five() -> Vec<Value> {
    (0..5).map(|index| listed(&format!("a.b/s{index}"), "1.0.0", "active", "2026-01-01T00:00:00Z")).collect()
}

#[tokio::test]
async fn all_pages_are_walked_and_what_upstream_says_is_kept() {
    let mut servers = five();
    servers.push(listed("a.b/old", "1.0.0", "deprecated", "2026-01-01T00:00:00Z"));
    servers.push(listed("a.b/gone", "1.0.0", "deleted", "2026-01-01T00:00:00Z"));
    let upstream = Upstream::start(move |uri, _| registry_page(&servers, uri)).await;
    let test = TestRegistry::with(&upstream.source("up")).await;
    let status = test.sync("up").await;
    assert_eq!(status["entries"], 7, "{status}");
    let asked = upstream.asked();
    assert_eq!(asked[0], "/v0.1/servers?limit=2&include_deleted=true");
    assert!(asked[1].contains("cursor=2"), "{asked:?}");
    assert_eq!(test.names(LIST).await.len(), 6, "the deleted one is not listed");
    let old = test.get("/registry/v0.1/servers/a.b%2Fold/versions/latest").await.json();
    assert_eq!(old["_meta"][OFFICIAL]["status"], "deprecated");
    assert_eq!(
        test.get("/registry/v0.1/servers/a.b%2Fgone/versions/1.0.0").await.status,
        StatusCode::NOT_FOUND
    );
    let gone = test.get("/registry/v0.1/servers/a.b%2Fgone/versions/1.0.0?include_deleted=true").await;
    assert_eq!(gone.json()["_meta"][OFFICIAL]["status"], "deleted");
}

#[tokio::test]
async fn after_the_first_time_only_updates_are_asked_for() {
    let servers = five();
    let upstream = Upstream::start(move |uri, _| registry_page(&servers, uri)).await;
    let test = TestRegistry::with(&upstream.source("up")).await;
    test.sync("up").await;
    upstream.asked();
    let updates = vec![
        listed("a.b/s0", "1.0.0", "deleted", "2026-02-01T00:00:00Z"),
        listed("a.b/s1", "2.0.0", "active", "2026-02-01T00:00:00Z"),
    ];
    upstream.say(move |uri, _| registry_page(&updates, uri));
    let status = test.sync("up").await;
    assert!(upstream.asked()[0].contains("updated_since="), "{status}");
    assert_eq!(status["entries"], 6);
    let names = test.names(&format!("{LIST}?version=latest")).await;
    assert_eq!(names, ["a.b/s1@2.0.0", "a.b/s2@1.0.0", "a.b/s3@1.0.0", "a.b/s4@1.0.0"]);
    upstream.say(|_, _| json_answer(&json!({"servers": [], "metadata": {}})));
    assert_eq!(test.sync("up").await["entries"], 6, "no updates is no news");
}

#[tokio::test]
async fn a_cursor_that_goes_in_circles_is_noticed() {
    let upstream = Upstream::start(|uri, _| {
        let next = if parameter(uri, "cursor").as_deref() == Some("a") { "b" } else { "a" };
        json_answer(&json!({"servers": [server("a.b/x", "1.0.0")], "metadata": {"nextCursor": next}}))
    })
    .await;
    let test = TestRegistry::with(&upstream.source("up")).await;
    let status = test.sync("up").await;
    assert!(status["error"].as_str().unwrap().contains("never end"), "{status}");
}

#[tokio::test]
async fn pages_without_entries_end() {
    let count = AtomicUsize::new(0);
    let upstream = Upstream::start(move |_, _| {
        let next = count.fetch_add(1, Ordering::Relaxed).to_string();
        json_answer(&json!({"servers": [], "metadata": {"nextCursor": next}}))
    })
    .await;
    let test = TestRegistry::with(&upstream.source("up")).await;
    assert!(test.sync("up").await["error"].as_str().unwrap().contains("empty page"));
}

#[tokio::test]
async fn a_page_that_fails_is_asked_for_again() {
    let (servers, failures) = (five(), Arc::new(AtomicUsize::new(0)));
    let failing = Arc::clone(&failures);
    let upstream = Upstream::start(move |uri, _| {
        if parameter(uri, "cursor").is_some() && failing.fetch_add(1, Ordering::Relaxed) < 2 {
            return StatusCode::BAD_GATEWAY.into_response();
        }
        registry_page(&servers, uri)
    })
    .await;
    let test = TestRegistry::with(&upstream.source("up")).await;
    let status = test.sync("up").await;
    assert_eq!((&status["entries"], &status["failures"]), (&json!(5), &json!(0)));
    assert!(failures.load(Ordering::Relaxed) >= 3);
}

#[tokio::test]
async fn an_upstream_that_breaks_loses_nothing() {
    let servers = five();
    let upstream = Upstream::start(move |uri, _| registry_page(&servers, uri)).await;
    let test = TestRegistry::with(&upstream.source("up")).await;
    test.sync("up").await;
    upstream.say(|_, _| "<!DOCTYPE html><p>maintenance</p>".into_response());
    let status = test.sync("up").await;
    assert!(status["error"].as_str().unwrap().contains("HTML"), "{status}");
    upstream.say(|_, _| (StatusCode::FORBIDDEN, "no").into_response());
    let status = test.sync("up").await;
    assert!(status["error"].as_str().unwrap().contains("403"), "{status}");
    assert_eq!(test.names(LIST).await.len(), 5);
    assert!(status["failures"].as_u64().unwrap() >= 2, "it tries again by itself, too: {status}");
}

#[tokio::test]
async fn a_registry_of_one_page_is_fetched_again_only_when_it_has_changed() {
    let conditional = Arc::new(AtomicUsize::new(0));
    let script = |servers: Vec<Value>, tag: &'static str| {
        let conditional = Arc::clone(&conditional);
        move |uri: &axum::http::Uri, headers: &axum::http::HeaderMap| {
            if let Some(known) = headers.get("if-none-match") {
                conditional.fetch_add(1, Ordering::Relaxed);
                if known == tag {
                    return StatusCode::NOT_MODIFIED.into_response();
                }
            }
            let mut response = registry_page(&servers, uri);
            response.headers_mut().insert("etag", HeaderValue::from_static(tag));
            response
        }
    };
    let upstream = Upstream::start(script(five()[..2].to_vec(), "\"v1\"")).await;
    // Always the whole: updates are asked for without a tag.
    let source = upstream.source("up").replace("page_limit = 2", "page_limit = 2, full_interval = \"0s\"");
    let test = TestRegistry::with(&source).await;
    assert_eq!(test.sync("up").await["entries"], 2);
    let before = conditional.load(Ordering::Relaxed);
    let status = test.sync("up").await;
    assert_eq!((&status["phase"], &status["entries"]), (&json!("complete"), &json!(2)), "{status}");
    assert_eq!(conditional.load(Ordering::Relaxed), before + 1);

    upstream.say(script(five()[..3].to_vec(), "\"v2\""));
    assert_eq!(test.sync("up").await["entries"], 3);
    let before = conditional.load(Ordering::Relaxed);
    upstream.say(script(five()[..4].to_vec(), "\"v2\""));
    assert_eq!(
        test.sync("up").await["entries"],
        4,
        "a tag of the first of two pages says nothing of the second"
    );
    assert_eq!(conditional.load(Ordering::Relaxed), before);
}

#[tokio::test]
async fn a_token_is_shown_for_every_page_and_read_anew_for_every_sync() {
    let dir = tempfile::tempdir().unwrap();
    let token = dir.path().join("token");
    std::fs::write(&token, "tok-123456\n").unwrap();
    let servers = five();
    let upstream = Upstream::start(move |uri, headers| {
        if headers.get("authorization").is_some_and(|shown| shown == "Bearer tok-123456") {
            return registry_page(&servers, uri);
        }
        (StatusCode::UNAUTHORIZED, "who are you?").into_response()
    })
    .await;
    let with_token = format!("page_limit = 2, token = \"file:{}\"", token.display());
    let test = TestRegistry::with(&upstream.source("up").replace("page_limit = 2", &with_token)).await;
    let status = test.sync("up").await;
    assert_eq!(status["entries"], 5, "{status}");

    std::fs::write(&token, "tok-654321\n").unwrap();
    let status = test.sync("up").await;
    assert!(status["error"].as_str().unwrap().contains("401"), "{status}");
    assert!(!status.to_string().contains("tok-654321"), "{status}");
    assert_eq!(test.names(LIST).await.len(), 5);

    std::fs::remove_file(&token).unwrap();
    let status = test.sync("up").await;
    assert_eq!((&status["phase"], &status["entries"]), (&json!("failed"), &json!(5)), "{status}");
    std::fs::write(&token, "tok-123456\n").unwrap();
    assert_eq!(test.sync("up").await["phase"], "complete");
}

#[tokio::test]
async fn a_registry_federates_from_another_one() {
    let first = TestRegistry::with("[[sources]]\nname = \"ours\"\nmanaged = {}\n").await;
    for version in ["1.0.0", "1.1.0"] {
        let published = first
            .send(axum::http::Method::POST, "/registry/v0.1/publish", &server("com.acme/tool", version))
            .await;
        assert_eq!(published.status, StatusCode::OK, "{}", published.json());
    }
    let (app, _) = utoipa_axum::router::OpenApiRouter::new()
        .nest(
            "/registry",
            paddock_registry::routes(
                first.registry.clone(),
                &paddock_platform::http::Idempotency::in_memory(&first.tasks),
            ),
        )
        .split_for_parts();
    let app = app.layer(axum::Extension(paddock_platform::identity::Caller::local()));
    let (base, _stop) = serve(app).await;
    let source = format!(
        "[[sources]]\nname = \"up\"\ninterval = \"1h\"\napi = {{ url = \"{base}/registry\", page_limit = 1 }}\n"
    );
    let second = TestRegistry::with(&source).await;
    second.sync("up").await;
    let (theirs, ours) = (first.follow(LIST).await, second.follow(LIST).await);
    assert_eq!(ours.len(), 2);
    for (theirs, ours) in theirs.iter().zip(&ours) {
        assert_eq!(theirs["server"], ours["server"]);
        assert_eq!(theirs["_meta"][OFFICIAL], ours["_meta"][OFFICIAL]);
        assert_eq!(ours["_meta"]["dev.paddock/registry"]["source"], "up");
    }
    let change = json!({"status": "deprecated", "statusMessage": "use y"});
    let path = "/registry/v0.1/servers/com.acme%2Ftool/versions/1.0.0/status";
    assert_eq!(first.send(axum::http::Method::PATCH, path, &change).await.status, StatusCode::OK);
    second.sync("up").await;
    let old = second.get("/registry/v0.1/servers/com.acme%2Ftool/versions/1.0.0").await.json();
    assert_eq!(old["_meta"][OFFICIAL]["statusMessage"], "use y");
}
