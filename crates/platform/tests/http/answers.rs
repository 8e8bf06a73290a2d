//! What is added to answers: ids, compression, entity tags, the contract, the toolbox.

use axum::{Router, body::Bytes, response::Response, routing::get};
use http::HeaderMap;
use paddock_platform::{
    http::{Etag, RouteRules, openapi, tools},
    identity::Scope,
    problem::Problem,
    tool::{Tool, Toolbox},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa_axum::router::OpenApiRouter;

use crate::support::{TestServer, options, refusal};

const TEXT: &str = "A paragraph that says the same again and again. ";

async fn tagged(headers: HeaderMap) -> Response {
    let bytes = Bytes::from(TEXT.repeat(100));
    Etag::of(&bytes).answer(&headers, "text/html; charset=utf-8", bytes)
}

fn routes() -> Router {
    let image = async || ([("content-type", "image/png")], TEXT.repeat(100));
    let events = async || ([("content-type", "text/event-stream")], TEXT.repeat(100));
    Router::new()
        .route("/page", get(tagged))
        .route("/short", get(async || "short"))
        .route("/image", get(image))
        .route("/events", get(events))
}

#[tokio::test]
async fn answers_carry_ids() {
    let server = TestServer::start(options(), routes()).await;
    let first = server.get("/short").send().await.unwrap();
    let second = server.get("/short").send().await.unwrap();
    let id = |response: &reqwest::Response| response.headers()["x-request-id"].to_str().unwrap().to_owned();
    assert_eq!(id(&first).len(), 16);
    assert_ne!(id(&first), id(&second));
    assert!(first.headers()["traceparent"].to_str().unwrap().contains(&id(&first)));
    assert!(first.headers().get("x-response-time").is_none());
    let mut options = options();
    options.debug = true;
    let server = TestServer::start(options, routes()).await;
    let response = server.get("/short").send().await.unwrap();
    assert!(response.headers()["x-response-time"].to_str().unwrap().ends_with("ms"));
}

#[tokio::test]
async fn caches_learn_that_an_answer_depends_on_the_accepted_encoding() {
    let server = TestServer::start(options(), routes()).await;
    let varies = |response: &reqwest::Response| {
        let values = response.headers().get_all("vary").iter();
        values.map(|value| value.to_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let plain = server.get("/page").send().await.unwrap();
    assert_eq!(varies(&plain), ["accept-encoding"], "also where nothing was compressed");
    let compressed = server.get("/page").header("accept-encoding", "gzip").send().await.unwrap();
    assert_eq!(varies(&compressed), ["accept-encoding"]);
    let etag = plain.headers()["etag"].to_str().unwrap().to_owned();
    let known = server.get("/page").header("if-none-match", etag).send().await.unwrap();
    assert_eq!((known.status().as_u16(), varies(&known)), (304, vec!["accept-encoding".to_owned()]));
    for path in ["/short", "/image"] {
        assert!(varies(&server.get(path).send().await.unwrap()).is_empty(), "{path}");
    }
}

#[tokio::test]
async fn what_is_worth_it_is_compressed_as_the_client_accepts() {
    let server = TestServer::start(options(), routes()).await;
    let encoding = async |path: &str, accepts: &str| {
        let response = server.get(path).header("accept-encoding", accepts).send().await.unwrap();
        let encoding =
            response.headers().get("content-encoding").map(|value| value.to_str().unwrap().to_owned());
        (encoding, response.bytes().await.unwrap().len())
    };
    let plain = TEXT.len() * 100;
    for accepts in ["gzip", "zstd"] {
        let (found, size) = encoding("/page", accepts).await;
        assert_eq!(found.as_deref(), Some(accepts));
        assert!(size < plain / 10, "{size}");
    }
    for (path, accepts) in [("/page", "identity"), ("/image", "gzip"), ("/events", "gzip")] {
        assert_eq!(encoding(path, accepts).await, (None, plain), "{path}");
    }
    assert_eq!(encoding("/short", "gzip").await.0, None);
}

#[tokio::test]
async fn a_client_that_has_the_content_gets_no_body() {
    let server = TestServer::start(options(), routes()).await;
    let first = server.get("/page").header("accept-encoding", "gzip").send().await.unwrap();
    let etag = first.headers()["etag"].clone();
    let again = server.get("/page").header("if-none-match", etag.clone()).send().await.unwrap();
    assert_eq!((again.status().as_u16(), &again.headers()["etag"]), (304, &etag));
    assert_eq!(again.bytes().await.unwrap().len(), 0);
    let other = server.get("/page").header("if-none-match", "\"other\"").send().await.unwrap();
    assert_eq!(other.status(), 200);
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Add {
    left: u8,
    right: u8,
}

#[derive(Serialize, JsonSchema)]
struct Sum {
    sum: u16,
}

async fn server_with_tools() -> TestServer {
    let add = Tool::new("lab_add", "adds two numbers", Scope::read("lab"), async |_, input: Add| {
        Ok(Sum { sum: u16::from(input.left) + u16::from(input.right) })
    });
    let secret =
        Tool::new("debug_look", "looks inside", Scope::read("debug"), async |_, _: Add| Ok(Sum { sum: 0 }));
    let hang = Tool::new("lab_hang", "never ends", Scope::read("lab"), async |_, _: Add| {
        std::future::pending::<Result<Sum, Problem>>().await
    });
    let toolbox = Toolbox::new([add, secret, hang]).unwrap();
    let (routes, api) =
        OpenApiRouter::with_openapi(openapi::base("1.0.0")).merge(tools::router(toolbox)).split_for_parts();
    let routes = routes.merge(openapi::router(&api).unwrap());
    TestServer::start_with(options(), routes, |edge| edge.route(tools::CALL_ROUTE, RouteRules::UNTIMED)).await
}

#[tokio::test]
async fn tools_are_listed_and_called() {
    let server = server_with_tools().await;
    let list: Value = server.get("/tools").send().await.unwrap().json().await.unwrap();
    let names: Vec<_> =
        list["tools"].as_array().unwrap().iter().map(|tool| tool["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["lab_add", "lab_hang"], "a tool that the caller may not use is not shown");
    assert_eq!(list["tools"][0]["input_schema"]["properties"]["left"]["type"], "integer");

    let call = |name: &str, input: Value| server.post(&format!("/tools/{name}")).json(&input);
    let sum: Value =
        call("lab_add", json!({"left": 2, "right": 3})).send().await.unwrap().json().await.unwrap();
    assert_eq!(sum, json!({"sum": 5}));
    let refused = refusal(call("lab_add", json!({"left": "two", "right": 3}))).await;
    assert_eq!((refused.status, refused.body["field"].as_str()), (400, Some("left")));
    assert_eq!(refusal(call("lab_sub", json!({}))).await.status, 404);
    assert_eq!(refusal(call("debug_look", json!({}))).await.status, 403);
}

#[tokio::test]
async fn the_caller_says_how_long_a_tool_may_take() {
    let server = server_with_tools().await;
    let request =
        server.post("/tools/lab_hang").header("prefer", "wait=1").json(&json!({"left": 1, "right": 1}));
    let refused = refusal(request).await;
    assert_eq!((refused.status, refused.slug.as_str()), (504, "deadline-exceeded"));
}

#[tokio::test]
async fn the_contract_is_served_for_machines_and_people() {
    let server = server_with_tools().await;
    let document: Value = server.get("/openapi.json").send().await.unwrap().json().await.unwrap();
    assert!(document["openapi"].as_str().unwrap().starts_with("3."));
    assert!(document["paths"]["/tools/{name}"]["post"].is_object());
    let page = server.get("/docs").send().await.unwrap();
    assert!(page.headers()["content-security-policy"].to_str().unwrap().contains("default-src 'none'"));
    let page = page.text().await.unwrap();
    assert!(page.contains("Calls a tool") && page.contains("<i>{name}</i>"));
    assert!(!page.contains("src=") && !page.contains("<script"), "nothing is loaded or run");
}
