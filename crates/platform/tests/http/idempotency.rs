//! Requests that are sent again.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use axum::{Router, extract::State, middleware, routing::post};
use http::StatusCode;
use paddock_platform::{
    http::{Idempotency, Json, KeyLimits, idempotent},
    identity::Scope,
    problem::{OVERLOADED, Problem},
    task::Tasks,
};
use serde_json::{Value, json};

use crate::support::{Gate, KeyTable, TestServer, eventually, options, refusal};

#[derive(Clone, Default)]
struct Orders {
    made: Arc<AtomicUsize>,
    gate: Gate,
}

async fn order(
    State(orders): State<Orders>,
    Json(body): Json<Value>,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let number = orders.made.fetch_add(1, Ordering::SeqCst) + 1;
    if body["wait"] == true {
        orders.gate.pass().await;
    }
    if body["fail"] == true {
        return Err(Problem::new(OVERLOADED, "not now"));
    }
    Ok((StatusCode::CREATED, Json(json!({ "order": number }))))
}

async fn server(orders: &Orders) -> TestServer {
    let layer = middleware::from_fn_with_state(Idempotency::in_memory(&Tasks::default()), idempotent);
    let routes = Router::new().route("/orders", post(order)).route_layer(layer).with_state(orders.clone());
    let keys = KeyTable::default().with("pdk_other", &[Scope::ALL], KeyLimits::default());
    TestServer::start_with(options(), routes, |edge| edge.keys(Arc::new(keys))).await
}

#[tokio::test]
async fn the_same_request_again_is_answered_and_not_done_again() {
    let orders = Orders::default();
    let server = server(&orders).await;
    let request = || server.post("/orders").header("idempotency-key", "k1").json(&json!({"item": 1}));
    let first = request().send().await.unwrap();
    assert!(first.headers().get("idempotency-replayed").is_none());
    let (first_status, first_body) = (first.status(), first.text().await.unwrap());
    let again = request().send().await.unwrap();
    assert_eq!(again.headers()["idempotency-replayed"], "true");
    assert_eq!(again.headers()["content-type"], "application/json");
    assert_eq!((again.status(), again.text().await.unwrap()), (first_status, first_body));
    assert_eq!(orders.made.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn another_request_under_the_key_is_refused() {
    let orders = Orders::default();
    let server = server(&orders).await;
    let request =
        |item: u8| server.post("/orders").header("idempotency-key", "k1").json(&json!({ "item": item }));
    assert_eq!(request(1).send().await.unwrap().status(), 201);
    let refused = refusal(request(2)).await;
    assert_eq!((refused.status, refused.slug.as_str()), (422, "idempotency-key-reused"));
    assert_eq!(orders.made.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn keys_of_different_callers_are_different() {
    let orders = Orders::default();
    let server = server(&orders).await;
    let request = || server.post("/orders").header("idempotency-key", "k1").json(&json!({}));
    assert_eq!(request().send().await.unwrap().status(), 201);
    assert_eq!(request().bearer_auth("pdk_other").send().await.unwrap().status(), 201);
    assert_eq!(orders.made.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn while_the_first_is_in_flight_the_second_is_told_to_wait() {
    let orders = Orders::default();
    let server = server(&orders).await;
    let request = || server.post("/orders").header("idempotency-key", "k1").json(&json!({"wait": true}));
    let second = async {
        orders.gate.wait_entered(1).await;
        let refused = refusal(request()).await;
        orders.gate.open();
        refused
    };
    let (first, second) = tokio::join!(request().send(), second);
    assert_eq!(first.unwrap().status(), 201);
    assert_eq!((second.status, second.slug.as_str()), (409, "conflict"));
}

#[tokio::test]
async fn a_client_that_went_away_finds_the_answer_when_it_returns() {
    let orders = Orders::default();
    let server = server(&orders).await;
    let request = || server.post("/orders").header("idempotency-key", "k1").json(&json!({"wait": true}));
    {
        let first = request().send();
        tokio::pin!(first);
        tokio::select! {
            _ = &mut first => panic!("the gate is closed"),
            () = orders.gate.wait_entered(1) => {}
        }
    }
    orders.gate.open();
    eventually(async || request().send().await.unwrap().status() == 201).await;
    assert_eq!(orders.made.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_failure_of_the_server_is_not_kept() {
    let orders = Orders::default();
    let server = server(&orders).await;
    let request = || server.post("/orders").header("idempotency-key", "k1").json(&json!({"fail": true}));
    for _ in 0..2 {
        assert_eq!(refusal(request()).await.status, 503);
    }
    assert_eq!(orders.made.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_malformed_key_is_refused_and_no_key_changes_nothing() {
    let orders = Orders::default();
    let server = server(&orders).await;
    let long = server.post("/orders").header("idempotency-key", "k".repeat(256)).json(&json!({}));
    assert_eq!(refusal(long).await.body["field"], "Idempotency-Key");
    for _ in 0..2 {
        assert_eq!(server.post("/orders").json(&json!({})).send().await.unwrap().status(), 201);
    }
    assert_eq!(orders.made.load(Ordering::SeqCst), 2);
}
