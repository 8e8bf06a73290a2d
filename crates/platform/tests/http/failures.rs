//! Whatever goes wrong, the answer is a problem with a trace id.

use axum::{
    Router,
    routing::{get, post},
};
use paddock_platform::{
    http::{Json, Path, Query},
    problem::Problem,
};
use serde::{Deserialize, Serialize};

use crate::support::{TestServer, options, refusal};

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Order {
    url: String,
    viewport: Viewport,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Viewport {
    width: u16,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Filter {
    limit: Option<u8>,
}

fn routes() -> Router {
    Router::new()
        .route("/orders", post(async |Json(order): Json<Order>| Json(order)))
        .route("/orders/{id}", get(async |Path(id): Path<u32>| id.to_string()))
        .route("/list", get(async |Query(filter): Query<Filter>| filter.limit.unwrap_or(0).to_string()))
        .route("/problem", get(async || Problem::not_found("order", 7)))
        .route("/long-problem", get(async || Problem::not_found("order", "7".repeat(4096))))
        .route("/panic", get(panics))
        .route("/library", get(async |axum::extract::Path(id): axum::extract::Path<u32>| id.to_string()))
}

#[expect(clippy::panic, reason = "the defect that the test is about")]
async fn panics() -> &'static str {
    panic!("the secret of the handler")
}

#[tokio::test]
async fn malformed_json_names_the_field() {
    let server = TestServer::start(options(), routes()).await;
    for (body, field) in [
        (r#"{"url": "u", "viewport": {"width": "wide"}}"#, "viewport.width"),
        (r#"{"url": "u", "viewport": {"width": 70000}}"#, "viewport.width"),
        (r#"{"url": "u", "viewport": {}}"#, "viewport.width"),
        (r#"{"viewport": {"width": 1}}"#, "url"),
        (r#"{"url": "u", "viewport": {"width": 1}, "speed": 2}"#, "speed"),
        (r#"{"url": "#, "body"),
        ("", "body"),
    ] {
        let request = server.post("/orders").header("content-type", "application/json").body(body);
        let refused = refusal(request).await;
        assert_eq!((refused.status, refused.slug.as_str()), (400, "invalid-request"), "{body}");
        assert_eq!(refused.body["field"], field, "{body}: {}", refused.body);
    }
    let form = server.post("/orders").header("content-type", "text/plain").body("{}");
    assert_eq!(refusal(form).await.status, 415);
}

#[tokio::test]
async fn a_bad_parameter_is_named() {
    let server = TestServer::start(options(), routes()).await;
    for (path, field) in [("/orders/seven", "id"), ("/list?limit=300", "limit"), ("/list?order=up", "order")]
    {
        let refused = refusal(server.get(path)).await;
        assert_eq!(
            (refused.status, refused.body["field"].as_str()),
            (400, Some(field)),
            "{path}: {}",
            refused.body
        );
    }
}

#[tokio::test]
async fn a_path_or_method_that_does_not_exist_is_a_problem() {
    let server = TestServer::start(options(), routes()).await;
    let refused = refusal(server.get("/nothing")).await;
    assert_eq!((refused.status, refused.slug.as_str()), (404, "not-found"));
    let refused = refusal(server.client.delete(server.url("/orders"))).await;
    assert_eq!((refused.status, refused.slug.as_str()), (405, "method-not-allowed"));
    assert_eq!(refused.headers["allow"], "POST");
}

#[tokio::test]
async fn a_handlers_own_problem_gets_the_trace_id() {
    let server = TestServer::start(options(), routes()).await;
    let refused = refusal(server.get("/problem")).await;
    assert_eq!(refused.body["detail"], "no order `7`");
}

#[tokio::test]
async fn a_long_problem_is_readable_for_those_who_accept_compression() {
    let server = TestServer::start(options(), routes()).await;
    for encoding in ["gzip", "zstd"] {
        let refused = refusal(server.get("/long-problem").header("accept-encoding", encoding)).await;
        assert_eq!(refused.status, 404);
        assert!(!refused.headers.contains_key("content-encoding"), "{encoding}");
    }
}

#[tokio::test]
async fn a_panic_is_answered_without_its_message_and_the_server_goes_on() {
    let server = TestServer::start(options(), routes()).await;
    for _ in 0..3 {
        let refused = refusal(server.get("/panic")).await;
        assert_eq!((refused.status, refused.slug.as_str()), (500, "internal"));
        assert!(!refused.body.to_string().contains("secret"));
    }
    assert_eq!(server.get("/orders/7").send().await.unwrap().text().await.unwrap(), "7");
}

#[tokio::test]
async fn a_librarys_own_refusal_becomes_a_problem() {
    let server = TestServer::start(options(), routes()).await;
    let refused = refusal(server.get("/library")).await;
    assert_eq!(refused.status, 500);
}

#[tokio::test]
async fn a_failure_belongs_to_the_callers_trace() {
    let server = TestServer::start(options(), routes()).await;
    let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let request = server.get("/nothing").header("traceparent", parent).header("x-request-id", "order-7");
    let refused = refusal(request).await;
    assert_eq!(refused.body["trace_id"], "4bf92f3577b34da6a3ce929d0e0e4736");
    assert_eq!(refused.headers["x-request-id"], "order-7");
}
