//! Keys and scopes.

use std::sync::Arc;

use axum::{Router, routing::get};
use paddock_platform::{
    http::{KeyLimits, RouteRules, require, require_scope},
    identity::{Caller, Scope},
};

use crate::support::{KeyTable, TestServer, options, refusal};

fn routes() -> Router {
    let whoami = async |caller: Caller| caller.key_id().unwrap_or("nobody").to_owned();
    Router::new()
        .route("/jobs", get(whoami).post(whoami).head(whoami))
        .route_layer(require("jobs"))
        .merge(Router::new().route("/debug", get(whoami)).route_layer(require_scope(Scope::read("debug"))))
        .route("/open", get(whoami))
        .route("/healthz", get(async || "ok"))
        .route("/metrics", get(async || "metrics"))
}

fn keys() -> Arc<KeyTable> {
    let none = KeyLimits::default();
    let table = KeyTable::default()
        .with("pdk_reader", &[Scope::read("jobs")], none)
        .with("pdk_writer", &[Scope::write("jobs")], none)
        .with("pdk_all", &[Scope::ALL], none);
    Arc::new(table)
}

async fn server(keys_required: bool) -> TestServer {
    let mut options = options();
    options.keys_required = keys_required;
    TestServer::start_with(options, routes(), |edge| edge.keys(keys())).await
}

#[tokio::test]
async fn on_loopback_no_key_is_needed() {
    let server = server(false).await;
    assert_eq!(server.post("/jobs").send().await.unwrap().text().await.unwrap(), "nobody");
    let refused = refusal(server.get("/debug")).await;
    assert_eq!((refused.status, refused.body["scope"].as_str()), (403, Some("debug:read")));
}

#[tokio::test]
async fn a_key_may_do_what_its_scopes_say_and_no_more() {
    let server = server(true).await;
    let status = async |request: reqwest::RequestBuilder| request.send().await.unwrap().status().as_u16();
    assert_eq!(status(server.get("/jobs").bearer_auth("pdk_reader")).await, 200);
    assert_eq!(status(server.client.head(server.url("/jobs")).bearer_auth("pdk_reader")).await, 200);
    let refused = refusal(server.post("/jobs").bearer_auth("pdk_reader")).await;
    assert_eq!((refused.status, refused.body["scope"].as_str()), (403, Some("jobs:write")));
    assert_eq!(status(server.post("/jobs").bearer_auth("pdk_writer")).await, 200);
    assert_eq!(status(server.get("/jobs").header("x-api-key", "pdk_writer")).await, 200);
    assert_eq!(refusal(server.get("/debug").bearer_auth("pdk_writer")).await.status, 403);
    assert_eq!(status(server.get("/debug").bearer_auth("pdk_all")).await, 200);
}

#[tokio::test]
async fn a_server_that_needs_keys_says_so() {
    let server = server(true).await;
    for request in [
        server.get("/open"),
        server.get("/metrics"),
        server.get("/nothing"),
        server.get("/open").bearer_auth("pdk_unknown"),
        server.get("/open").bearer_auth("other"),
        server.get("/open").basic_auth("user", Some("pdk_all")),
    ] {
        let refused = refusal(request).await;
        assert_eq!((refused.status, refused.slug.as_str()), (401, "unauthenticated"));
        assert_eq!(refused.headers["www-authenticate"], "Bearer realm=\"paddock\"");
    }
    assert_eq!(server.get("/healthz").send().await.unwrap().status(), 200, "probes have no key");
}

#[tokio::test]
async fn on_loopback_a_key_of_ours_counts_and_others_are_ignored() {
    let server = server(false).await;
    let who = async |key: &str| {
        let response = server.get("/jobs").bearer_auth(key).send().await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    };
    assert_eq!(who("pdk_reader").await, (200, "id-of-pdk_reader".to_owned()));
    assert_eq!(who("sk-model-sdk-needs-some-key").await, (200, "nobody".to_owned()));
    assert_eq!(who("pdk_revoked").await.0, 401);
    assert_eq!(refusal(server.post("/jobs").bearer_auth("pdk_reader")).await.status, 403);
}

#[tokio::test]
async fn keys_that_cannot_be_checked_are_the_servers_failure() {
    let server = server(true).await;
    let refused = refusal(server.get("/open").bearer_auth("pdk_unavailable")).await;
    assert_eq!((refused.status, refused.slug.as_str()), (503, "overloaded"));
    assert!(!refused.body["detail"].as_str().unwrap().contains("store"));
}

#[tokio::test]
async fn behind_a_proxy_on_this_machine_strangers_need_a_key() {
    let mut options = options();
    options.trusted_proxies = vec!["127.0.0.1".parse().unwrap()];
    let server = TestServer::start_with(options, routes(), |edge| edge.keys(keys())).await;
    let from = |client: &'static str| server.post("/jobs").header("x-forwarded-for", client);
    assert_eq!(refusal(from("198.51.100.7")).await.status, 401);
    assert_eq!(refusal(from("unknown")).await.status, 401);
    assert_eq!(refusal(server.post("/jobs")).await.status, 401, "the proxy does not say for whom it asks");
    assert_eq!(from("198.51.100.7").bearer_auth("pdk_writer").send().await.unwrap().status(), 200);
    assert_eq!(from("127.0.0.1").send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn what_came_through_an_unknown_proxy_is_not_local() {
    let server = server(false).await;
    for (name, value) in [("x-forwarded-for", "127.0.0.1"), ("forwarded", "for=127.0.0.1")] {
        assert_eq!(refusal(server.post("/jobs").header(name, value)).await.status, 401, "{name}");
    }
    assert_eq!(server.post("/jobs").send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_dummy_bearer_does_not_hide_a_key() {
    let server = server(true).await;
    let request = server.get("/jobs").bearer_auth("sk-dummy").header("x-api-key", "pdk_reader");
    assert_eq!(request.send().await.unwrap().text().await.unwrap(), "id-of-pdk_reader");
}

#[tokio::test]
async fn a_public_route_lets_anybody_in_as_nobody_and_only_to_look() {
    async fn scopes(caller: Caller) -> &'static str {
        if caller.may(Scope::write("jobs")) { "all" } else { "nothing" }
    }
    for keys_required in [false, true] {
        let mut options = options();
        options.keys_required = keys_required;
        let routes = Router::new().route("/public", get(scopes).post(scopes));
        let server = TestServer::start_with(options, routes, |edge| {
            edge.keys(keys()).route("/public", RouteRules::PUBLIC)
        })
        .await;
        let ask = async |request: reqwest::RequestBuilder| {
            let answer = request.send().await.unwrap();
            (answer.status().as_u16(), answer.text().await.unwrap())
        };
        let origin = "https://elsewhere.example";
        let (status, held) = ask(server.get("/public")).await;
        assert_eq!((status, held.as_str()), (200, if keys_required { "nothing" } else { "all" }));
        let foreign = ask(server.get("/public").header("origin", origin)).await;
        assert_eq!(
            foreign,
            (200, "nothing".to_owned()),
            "a page of another site is nobody, also on loopback"
        );
        let with_key = ask(server.get("/public").header("origin", origin).bearer_auth("pdk_writer")).await;
        assert_eq!(with_key, (200, "all".to_owned()));
        assert_eq!(ask(server.get("/public").bearer_auth("pdk_unknown")).await.0, 401, "a key must hold");
        assert_eq!(ask(server.post("/public").header("origin", origin)).await.0, 403);
        assert_eq!(ask(server.post("/public")).await.0, if keys_required { 401 } else { 200 });
        let renamed = server.get("/public").header("host", "attacker.example");
        assert_eq!(ask(renamed).await.0, 403, "DNS rebinding");
    }
}
