//! Providers that are asked whether they are there.

use std::{
    future::{Ready, ready},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{
    Json, Router,
    extract::State,
    routing::{get, post},
};
use http::StatusCode;
use paddock_platform::task::Tasks;
use serde_json::{Value, json};

use super::{Bench, serve};

/// A vendor that is there, or not.
#[derive(Debug, Default)]
struct Vendor {
    is_up: AtomicBool,
    probes: AtomicUsize,
}

fn models(State(vendor): State<Arc<Vendor>>) -> Ready<StatusCode> {
    vendor.probes.fetch_add(1, Ordering::Relaxed);
    let is_up = vendor.is_up.load(Ordering::Relaxed);
    ready(if is_up { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE })
}

fn complete(State(vendor): State<Arc<Vendor>>) -> Ready<Result<Json<Value>, StatusCode>> {
    if !vendor.is_up.load(Ordering::Relaxed) {
        return ready(Err(StatusCode::SERVICE_UNAVAILABLE));
    }
    ready(Ok(Json(json!({
        "id": "c", "object": "chat.completion", "created": 1, "model": "m",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "yes"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
    }))))
}

/// Waits until something holds.
async fn until(what: &str, holds: impl Fn() -> bool) {
    for _ in 0..1500 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{what} never came");
}

#[tokio::test]
async fn a_provider_that_answers_its_probe_is_tried_again_at_once() {
    let (tasks, vendor) = (Tasks::default(), Arc::new(Vendor::default()));
    let routes = Router::new().route("/v1/models", get(models)).route("/v1/chat/completions", post(complete));
    let url = serve(&tasks, routes.with_state(Arc::clone(&vendor))).await;
    let provider = format!("[[providers]]\nname = 'p'\nurl = '{url}/v1'\nprobe = '/models'\nmodels = ['m']");
    let resilience = "[resilience]\nfailures_max = 1\nretries_max = 0\nrest = '1h'\nprobe_interval = '1s'";
    let bench = Bench::start(&format!("{provider}\n{resilience}")).await;
    let breaker = || bench.gateway.lanes()[0].breaker;
    // Of the second, the first has been judged.
    let two_probes = async || {
        let before = vendor.probes.load(Ordering::Relaxed);
        until("a second probe", || vendor.probes.load(Ordering::Relaxed) >= before + 2).await;
    };
    assert_eq!(bench.chat("m", "hello").await.status, 502);
    assert_eq!(breaker(), "open");
    two_probes().await;
    assert_eq!(breaker(), "open", "what does not answer its probe rests");
    assert_eq!(bench.chat("m", "hello").await.status, 503);

    vendor.is_up.store(true, Ordering::Relaxed);
    until("a half-open breaker", || breaker() == "half-open").await;
    assert_eq!(bench.chat("m", "hello").await.status, 200, "an hour early");
    assert_eq!(breaker(), "closed");

    bench.post("/breakers", json!({"action": "open"})).await;
    two_probes().await;
    assert_eq!(breaker(), "open", "what was opened by hand stays");
}
