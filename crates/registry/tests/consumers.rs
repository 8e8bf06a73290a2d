//! The requests of the registry's clients, as they send them.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test says what it found by panicking"
)]

mod support;

use axum::{
    body::Body,
    http::{Request, StatusCode},
};
use paddock_platform::identity::Caller;
use serde_json::Value;
use support::{ServersFile, TestRegistry, server};

const OFFICIAL: &str = "io.modelcontextprotocol.registry/official";

/// A registry with a public view of 120 servers, one of which has two versions.
async fn registry() -> (TestRegistry, ServersFile) {
    let mut servers: Vec<Value> =
        (0..119).map(|index| server(&format!("io.example/s{index:03}"), "1.0.0")).collect();
    servers.push(server("io.example/weather", "1.0.0"));
    servers.push(server("io.example/weather", "1.1.0"));
    let file = ServersFile::new(&servers);
    let text =
        format!("{}[[views]]\nname = \"default\"\nsources = [\"f\"]\npublic = true\n", file.source("f"));
    let test = TestRegistry::with(&text).await;
    test.sync("f").await;
    (test, file)
}

/// Bases that clients are given: the root, the default view, a named one.
const BASES: [&str; 3] = ["", "/registry", "/registry/default"];

#[tokio::test]
async fn vs_code_probes_pages_searches_and_reads() {
    let (test, _file) = registry().await;
    for base in BASES {
        let ask = async |path: &str| test.get_as(Caller::anonymous(), &format!("{base}{path}")).await;
        assert_eq!(ask("/v0.1/servers?limit=1").await.status, StatusCode::OK);
        let first = ask("/v0.1/servers?limit=50&version=latest").await.json();
        assert_eq!(first["servers"].as_array().unwrap().len(), 50);
        for item in first["servers"].as_array().unwrap() {
            for member in ["name", "description", "version"] {
                assert!(item["server"][member].is_string(), "{member}");
            }
            let official = &item["_meta"][OFFICIAL];
            for member in ["status", "publishedAt", "updatedAt", "isLatest"] {
                assert!(!official[member].is_null(), "{member}");
            }
        }
        // The cursor is appended as it is.
        let cursor = first["metadata"]["nextCursor"].as_str().unwrap();
        let second = ask(&format!("/v0.1/servers?limit=50&version=latest&cursor={cursor}")).await.json();
        let third = second["metadata"]["nextCursor"].as_str().unwrap();
        let third = ask(&format!("/v0.1/servers?limit=50&version=latest&cursor={third}")).await.json();
        assert_eq!(third["metadata"]["count"], 20);
        assert!(third["metadata"].get("nextCursor").is_none());
        // The search is not repeated on the pages after the first.
        let found = ask("/v0.1/servers?limit=10&version=latest&search=s1").await.json();
        let cursor = found["metadata"]["nextCursor"].as_str().unwrap();
        let more = ask(&format!("/v0.1/servers?limit=10&version=latest&cursor={cursor}")).await.json();
        assert_eq!(more["metadata"]["count"], 9, "s100 to s118 are nineteen");
        let latest = ask("/v0.1/servers/io.example%2Fweather/versions/latest").await.json();
        assert_eq!(latest["server"]["version"], "1.1.0");
        assert_eq!(
            ask("/v0.1/servers/io.example%2Fnone/versions/latest").await.status,
            StatusCode::NOT_FOUND
        );
    }
}

#[tokio::test]
async fn copilot_asks_from_web_pages() {
    let (test, _file) = registry().await;
    for path in [
        "/v0.1/servers",
        "/v0.1/servers/io.example%2Fweather/versions/latest",
        "/v0.1/servers/io.example%2Fweather/versions",
    ] {
        let path = format!("/registry{path}");
        let preflight = Request::options(&path)
            .header("origin", "https://github.com")
            .header("access-control-request-method", "GET")
            .header("access-control-request-headers", "authorization");
        let preflight = test.ask_as(Caller::anonymous(), preflight.body(Body::empty()).unwrap()).await;
        assert_eq!(preflight.status, StatusCode::NO_CONTENT, "{path}");
        assert_eq!(preflight.header("access-control-allow-origin"), "*");
        assert_eq!(preflight.header("access-control-allow-methods"), "GET, OPTIONS");
        assert!(preflight.header("access-control-allow-headers").contains("Authorization, Content-Type"));
        let answer = test.get_as(Caller::anonymous(), &path).await;
        assert_eq!((answer.status, answer.header("access-control-allow-origin")), (StatusCode::OK, "*"));
    }
    let missing =
        test.get_as(Caller::anonymous(), "/registry/v0.1/servers/io.example%2Fno/versions/latest").await;
    assert_eq!((missing.status, missing.header("access-control-allow-origin")), (StatusCode::NOT_FOUND, "*"));
    assert!(missing.json()["error"].is_string(), "the official API's shape of an error");
}

#[tokio::test]
async fn copilot_cli_tells_known_servers_from_unknown_ones() {
    let (test, _file) = registry().await;
    let status = async |name: &str| {
        test.get_as(Caller::anonymous(), &format!("/registry/v0.1/servers/{name}/versions/latest"))
            .await
            .status
    };
    assert_eq!(status("io.example%2Fweather").await, StatusCode::OK);
    assert_eq!(status("io.example%2Funknown").await, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn toolhive_finds_the_contract_and_walks_the_pages() {
    let (test, _file) = registry().await;
    for base in BASES {
        let contract = test.get_as(Caller::anonymous(), &format!("{base}/openapi.yaml")).await;
        let text = String::from_utf8(contract.body.to_vec()).unwrap();
        let contract: Value = serde_saphyr::from_str(&text).unwrap();
        assert_eq!(contract["info"]["version"], "1.0.0");
        let description = contract["info"]["description"].as_str().unwrap();
        assert!(description.contains("https://github.com/modelcontextprotocol/registry"));
        let servers = test.follow(&format!("{base}/v0.1/servers?version=latest&limit=100")).await;
        assert_eq!(servers.len(), 120);
        let found =
            test.follow(&format!("{base}/v0.1/servers?search=weather&version=latest&limit=100")).await;
        assert_eq!(found.len(), 1);
        // As its server federates: without a filter.
        assert_eq!(test.follow(&format!("{base}/v0.1/servers?limit=100")).await.len(), 121);
    }
}

#[tokio::test]
async fn the_routes_of_the_first_design_answer() {
    let (test, _file) = registry().await;
    let list = test.get("/registry").await;
    assert_eq!(list.body, test.get("/registry/v0.1/servers").await.body);
    let one = test.get("/registry/io.example%2Fweather").await;
    assert_eq!(one.json()["server"]["version"], "1.1.0");
    let status = test.get("/registry/status").await.json();
    assert_eq!((&status["ready"], &status["views"][0]["servers"]), (&Value::from(true), &Value::from(120)));
    let accepted = test.send(axum::http::Method::POST, "/registry/sync", &Value::Null).await;
    assert_eq!(accepted.status, StatusCode::ACCEPTED);
    assert_eq!(accepted.json()["sources"][0]["source"], "f");
    assert_eq!(
        test.send(axum::http::Method::POST, "/registry/sync?source=none", &Value::Null).await.status,
        StatusCode::NOT_FOUND
    );
}

#[tokio::test]
async fn a_client_that_has_the_answer_gets_no_body() {
    let (test, _file) = registry().await;
    for path in ["/registry/v0.1/servers", "/registry/v0.1/servers/io.example%2Fweather/versions/1.0.0"] {
        let etag = test.get(path).await.header("etag").to_owned();
        let again = Request::get(path).header("if-none-match", &etag).body(Body::empty()).unwrap();
        let again = test.ask_as(Caller::anonymous(), again).await;
        assert_eq!((again.status, again.body.len()), (StatusCode::NOT_MODIFIED, 0));
        assert_eq!(again.header("etag"), etag);
    }
}

#[tokio::test]
async fn a_page_is_sent_compressed_to_those_who_take_it() {
    let (test, _file) = registry().await;
    for coding in ["zstd", "gzip"] {
        let request = Request::get("/registry/v0.1/servers?limit=100").header("accept-encoding", coding);
        let answer = test.ask_as(Caller::local(), request.body(Body::empty()).unwrap()).await;
        assert_eq!(answer.header("content-encoding"), coding);
        assert!(answer.body.len() < test.get("/registry/v0.1/servers?limit=100").await.body.len() / 4);
    }
}

#[tokio::test]
async fn a_version_with_build_metadata_is_found_when_its_plus_is_escaped() {
    let file = ServersFile::new(&[server("a.b/x", "1.0.0+build.7")]);
    let test = TestRegistry::with(&file.source("f")).await;
    test.sync("f").await;
    let found = test.get("/registry/v0.1/servers/a.b%2Fx/versions/1.0.0%2Bbuild.7").await;
    assert_eq!(found.status, StatusCode::OK);
}

#[tokio::test]
async fn searches_are_answered() {
    let (test, _file) = registry().await;
    let body = serde_json::json!({"query": "wether", "limit": 3});
    let found = test.send(axum::http::Method::POST, "/registry/search", &body).await.json();
    assert_eq!(found["hits"][0]["name"], "io.example/weather");
    assert_eq!(found["hits"][0]["version"], "1.1.0");
    let refused =
        test.send(axum::http::Method::POST, "/registry/search", &serde_json::json!({"limit": 0})).await;
    assert_eq!(refused.status, StatusCode::BAD_REQUEST);
}
