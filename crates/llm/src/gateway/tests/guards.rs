//! Guards that are servers of somebody else's.

use axum::{Json, Router, response::IntoResponse, routing::post};
use http::StatusCode;
use paddock_platform::task::Tasks;
use serde_json::{Value, json};

use super::{Bench, Read, serve};

/// A guard: it refuses weapons, knows no names, and does not always answer as it should.
async fn judge(Json(asked): Json<Value>) -> axum::response::Response {
    let texts: Vec<String> = asked["texts"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .map(|text| text.replace("ada", &format!("[name in {}]", asked["stage"].as_str().unwrap_or("none"))))
        .collect();
    let has = |word: &str| texts.iter().any(|text| text.contains(word));
    if has("hang") {
        std::future::pending::<()>().await;
    }
    if has("crash") {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    }
    if has("weapon") {
        return Json(json!({"allow": false, "reason": "no weapons here"})).into_response();
    }
    let texts = if has("fewer") { Vec::new() } else { texts };
    Json(json!({"allow": true, "texts": texts})).into_response()
}

/// A gateway with such a guard.
async fn guarded(tasks: &Tasks, more: &str) -> Bench {
    let url = serve(tasks, Router::new().route("/judge", post(judge))).await;
    let guard = format!("[[guards]]\nkind = 'webhook'\nurl = '{url}/judge'\n{more}");
    Bench::start(&format!("[[providers]]\nname = 'p'\nurl = 'sim:'\nmodels = ['m', 'free']\n{guard}")).await
}

fn said(answer: &Read) -> Value {
    answer.json()["choices"][0]["message"]["content"].clone()
}

fn attempts(bench: &Bench) -> u64 {
    bench.gateway.lanes().iter().map(|lane| lane.requests).sum()
}

#[tokio::test]
async fn a_webhook_guard_refuses_with_its_reason_and_nothing_is_sent() {
    let tasks = Tasks::default();
    let bench = guarded(&tasks, "models = ['m']").await;
    let refused = bench.chat("m", "a weapon").await;
    assert_eq!((refused.status.as_u16(), &refused.json()["error"]["code"]), (400, &json!("content_filter")));
    assert!(refused.text().contains("no weapons here"), "{refused:?}");
    assert_eq!(attempts(&bench), 0);
    assert_eq!(bench.chat("free", "a weapon").await.status, 200, "it is about the other model alone");
}

#[tokio::test]
async fn a_webhook_guard_rewrites_requests_and_answers() {
    let tasks = Tasks::default();
    let bench = guarded(&tasks, "").await;
    assert_eq!(said(&bench.chat("m", "[sim reply=\"ask ada\"]").await), "ask [name in request]");
    let bench = guarded(&tasks, "requests = false\nanswers = true").await;
    assert_eq!(said(&bench.chat("m", "[sim reply=\"ask ada\"]").await), "ask [name in answer]");
    let refused = bench.chat("m", "[sim reply=\"a weapon\"]").await;
    assert_eq!(refused.status, 400, "{refused:?}");
    assert!(refused.text().contains("the answer was refused: no weapons here"), "{refused:?}");
}

#[tokio::test]
async fn a_guard_that_does_not_answer_lets_pass_only_where_that_is_wanted() {
    let tasks = Tasks::default();
    for (more, status) in [("", 400_u16), ("fail_open = true", 200)] {
        let bench = guarded(&tasks, &format!("timeout = '100ms'\n{more}")).await;
        for fault in ["hang", "crash"] {
            let answer = bench.chat("m", fault).await;
            assert_eq!(answer.status, status, "{more} {fault}: {answer:?}");
            assert_eq!(answer.text().contains("its guard does not answer"), status == 400, "{answer:?}");
        }
    }
    let elsewhere = "[[providers]]\nname = 'p'\nurl = 'sim:'\nmodels = ['m']\n[[guards]]\nkind = 'webhook'";
    let bench = Bench::start(&format!("{elsewhere}\nurl = 'http://127.0.0.1:1/'")).await;
    assert_eq!(bench.chat("m", "hello").await.status, 400, "nobody listens there");
}

#[tokio::test]
async fn a_guard_that_answers_with_other_texts_than_it_was_asked_about_refuses() {
    let tasks = Tasks::default();
    // A guard that answers wrongly has answered.
    let bench = guarded(&tasks, "fail_open = true").await;
    let refused = bench.chat("m", "fewer").await;
    assert_eq!(refused.status, 400, "{refused:?}");
    assert!(refused.text().contains("another number of texts"), "{refused:?}");
}
