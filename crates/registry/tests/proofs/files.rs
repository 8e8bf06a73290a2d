//! Domains that serve their key, by a peer that serves it for them.

use axum::{
    http::StatusCode,
    response::{IntoResponse, Redirect},
};
use serde_json::json;

use crate::{
    harness::{REFUSED, Signer, UNCHECKED, present, published, publisher},
    support::{TestRegistry, Upstream},
};

/// A registry that looks for the keys of all domains at a peer, and may ask nobody else on this machine.
async fn start(upstream: &Upstream, allow: &str) -> TestRegistry {
    let config = format!(
        "[publish]\nproofs = [\"http\"]\nhttp_url = \"{}/{{domain}}/mcp-registry-auth\"\nallow = [{allow}]\n",
        upstream.base
    );
    TestRegistry::with(&config).await
}

const ALLOWED: &str = "\"127.0.0.1\"";

#[tokio::test]
async fn a_domain_that_serves_its_key_publishes_under_itself_alone() {
    let signer = Signer::new();
    let record = format!("# the keys of our release machines\n{}\n", signer.record());
    let upstream = Upstream::start(move |_, _| record.clone().into_response()).await;
    let test = start(&upstream, ALLOWED).await;
    let by = publisher(&test, "http", &signer.proof("example.com", 0)).await;
    assert_eq!(upstream.asked(), ["/example.com/mcp-registry-auth"]);
    let names = ["com.example/tool", "com.example.team/tool", "com.other/tool"];
    assert_eq!(published(&test, &by, &names).await, ["com.example/tool"]);
    assert_eq!(by.key_id(), Some("http:example.com"));
}

#[tokio::test]
async fn what_is_not_there_or_elsewhere_proves_nothing() {
    let signer = Signer::new();
    let record = signer.record();
    let upstream = Upstream::start(|_, _| StatusCode::NOT_FOUND.into_response()).await;
    let test = start(&upstream, ALLOWED).await;
    let mut seconds = 0;
    let mut refused = async |reason: &str| {
        seconds += 1;
        let answer = present(&test, "http", &signer.proof("example.com", seconds)).await;
        let problem = answer.json();
        assert_eq!(
            (answer.status, &problem["type"]),
            (StatusCode::UNAUTHORIZED, &json!(REFUSED)),
            "{reason}"
        );
        assert!(problem["detail"].as_str().unwrap().contains(reason), "{problem}");
    };
    refused("404").await;
    let elsewhere = record.clone();
    upstream.say(move |uri, _| match uri.path() {
        "/elsewhere" => elsewhere.clone().into_response(),
        _ => Redirect::temporary("/elsewhere").into_response(),
    });
    refused("307").await;
    upstream.say(move |_, _| format!("{}{record}", " ".repeat(5_000)).into_response());
    refused("bytes").await;
    upstream.say(|_, _| "<html>Welcome</html>".into_response());
    refused("no record").await;
}

#[tokio::test]
async fn a_peer_that_fails_decides_nothing() {
    let upstream = Upstream::start(|_, _| StatusCode::BAD_GATEWAY.into_response()).await;
    let test = start(&upstream, ALLOWED).await;
    let unchecked = present(&test, "http", &Signer::new().proof("example.com", 0)).await;
    assert_eq!(
        (unchecked.status, &unchecked.json()["type"]),
        (StatusCode::SERVICE_UNAVAILABLE, &json!(UNCHECKED))
    );
}

#[tokio::test]
async fn no_domain_leads_into_a_network_that_is_not_listed() {
    let signer = Signer::new();
    let record = signer.record();
    let upstream = Upstream::start(move |_, _| record.clone().into_response()).await;
    for allow in ["", "\"10.0.0.0/8\""] {
        let test = start(&upstream, allow).await;
        let unchecked = present(&test, "http", &signer.proof("example.com", 0)).await;
        assert_eq!(unchecked.json()["type"], UNCHECKED, "{allow}");
        assert!(!unchecked.json()["detail"].as_str().unwrap().contains("loopback"), "it tells of no network");
    }
    assert_eq!(upstream.asked().len(), 0);
}
