//! DNS rebinding and requests from other sites' pages.

use axum::{
    Router,
    routing::{get, post},
};

use crate::support::{TestServer, options, refusal};

fn routes() -> Router {
    Router::new().route("/a", get(async || "a")).route("/a", post(async || "done"))
}

#[tokio::test]
async fn a_name_that_is_not_ours_is_refused() {
    let server = TestServer::start(options(), routes()).await;
    let refused = refusal(server.get("/a").header("host", "evil.example:7070")).await;
    assert_eq!((refused.status, refused.slug.as_str()), (403, "forbidden"));
    assert!(refused.body["detail"].as_str().unwrap().contains("evil.example"));
    for host in ["localhost", "localhost:1", "127.0.0.1", "[::1]:7070"] {
        assert_eq!(server.get("/a").header("host", host).send().await.unwrap().status(), 200, "{host}");
    }
    let without = server.exchange("GET /a HTTP/1.0\r\n\r\n").await;
    assert!(without.starts_with("HTTP/1.0 400"), "{without}");
    let twice = "GET /a HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\nConnection: close\r\n\r\n";
    let twice = server.exchange(twice).await;
    assert!(twice.starts_with("HTTP/1.1 400"), "{twice}");
}

#[tokio::test]
async fn a_page_of_another_site_cannot_post() {
    let server = TestServer::start(options(), routes()).await;
    for origin in ["https://evil.example", "http://127.0.0.1:1", "null"] {
        let refused = refusal(server.post("/a").header("origin", origin)).await;
        assert_eq!((refused.status, refused.slug.as_str()), (403, "forbidden"), "{origin}");
    }
    let own = format!("http://{}", server.address);
    assert_eq!(server.post("/a").header("origin", own).send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn configured_hosts_are_ours_also_after_a_reload() {
    let server = TestServer::start(options(), routes()).await;
    let request = || {
        let host = server.post("/a").header("host", "paddock.example");
        host.header("origin", "https://paddock.example")
    };
    assert_eq!(refusal(request()).await.status, 403);
    let mut changed = options();
    changed.hosts = vec!["paddock.example".to_owned()];
    server.options.replace(changed);
    crate::support::eventually(async || request().send().await.unwrap().status() == 200).await;
}

#[tokio::test]
async fn the_guard_also_stands_before_paths_that_do_not_exist() {
    let server = TestServer::start(options(), routes()).await;
    assert_eq!(refusal(server.get("/nothing").header("host", "evil.example")).await.status, 403);
}
