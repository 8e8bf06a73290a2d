//! Answers that are kept.

use std::sync::Arc;

use serde_json::json;
use tower::ServiceExt;

use paddock_platform::identity::{Caller, Scope, Tenant};

use super::{Bench, chat, post, read};

const CACHED: &str = "
    [[providers]]
    name = 'p'
    url = 'sim:?tokens=5&latency=20ms'
    models = ['m']
    [prices]
    m = { input = 1, output = 1 }
    [cache]
    ttl = '1h'
";

#[tokio::test]
async fn the_very_same_request_is_answered_again_and_costs_nothing() {
    let bench = Bench::start(CACHED).await;
    let first = bench.chat("m", "hello").await;
    let body = json!({"messages": [{"content": "hello", "role": "user"}], "user": "somebody", "model": "m"});
    let second = bench.post("/v1/chat/completions", body).await;
    assert_eq!((first.header("x-paddock-cache"), second.header("x-paddock-cache")), ("miss", "hit"));
    assert_eq!(first.body, second.body);
    assert_eq!(bench.chat("m", "hello!").await.header("x-paddock-cache"), "miss");
    let mut skipping = post("/v1/chat/completions", &chat("m", "hello"));
    skipping.headers_mut().insert("x-paddock-cache", "skip".parse().unwrap());
    assert_eq!(read(bench.call(skipping).await).await.header("x-paddock-cache"), "");
    let rows = bench.usage("model").await;
    assert_eq!((&rows[0]["requests"], &rows[0]["cached"]), (&json!(4), &json!(1)));
    assert_eq!(rows[0]["output_tokens"], 15, "what the cache answers was paid for once");
}

#[tokio::test]
async fn one_call_is_made_for_many_who_ask_the_same_at_once() {
    let bench = Arc::new(Bench::start(CACHED).await);
    let calls = (0..20).map(|_| {
        let bench = Arc::clone(&bench);
        async move { bench.chat("m", "the same").await }
    });
    let answers = futures_util::future::join_all(calls).await;
    assert!(answers.iter().all(|answer| answer.body == answers[0].body));
    assert_eq!(bench.gateway.lanes()[0].requests, 1);
}

#[tokio::test]
async fn a_stream_is_replayed_whole() {
    let bench = Bench::start(CACHED).await;
    let mut body = chat("m", "hello");
    body["stream"] = json!(true);
    let first = bench.post("/v1/chat/completions", body.clone()).await;
    let second = bench.post("/v1/chat/completions", body).await;
    assert_eq!(second.header("x-paddock-cache"), "hit", "{second:?}");
    assert_eq!(second.header("content-type"), "text/event-stream");
    assert_eq!(first.body, second.body);
}

#[tokio::test]
async fn another_tenant_and_a_failure_find_nothing() {
    let bench = Bench::start(CACHED).await;
    bench.chat("m", "hello").await;
    let tenant: Tenant = "other".parse().unwrap();
    let other = bench.seen_by(Caller::with_key("k", tenant, vec![Scope::write("llm")]));
    let answer = read(other.oneshot(post("/v1/chat/completions", &chat("m", "hello"))).await.unwrap()).await;
    assert_eq!(answer.header("x-paddock-cache"), "miss");
    for _ in 0..2 {
        let failed = bench.chat("m", "[sim status=422]").await;
        assert_eq!((failed.status.as_u16(), failed.header("x-paddock-cache")), (422, ""));
    }
}
