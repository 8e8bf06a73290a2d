//! Answers to questions that were asked in other words.

use axum::body::Body;
use http::Request;
use paddock_platform::identity::{Caller, Scope, Tenant};
use serde_json::{Value, json};
use tower::ServiceExt;

use super::{Bench, Read, chat, post, read};

const SEMANTIC: &str = "
    [[providers]]
    name = 'p'
    url = 'sim:?tokens=5&dimensions=64'
    models = ['m', 'embed']
    [prices]
    m = { input = 1, output = 1 }
    [cache]
    ttl = '1h'
    semantic = { model = 'embed', threshold = 0.9 }
";

fn choosing(body: &Value) -> Request<Body> {
    let mut request = post("/v1/chat/completions", body);
    request.headers_mut().insert("x-paddock-cache", "semantic".parse().unwrap());
    request
}

async fn ask(bench: &Bench, body: &Value) -> Read {
    read(bench.call(choosing(body)).await).await
}

#[tokio::test]
async fn a_question_in_other_words_is_given_the_same_answer_and_says_so() {
    let bench = Bench::start(SEMANTIC).await;
    let first = ask(&bench, &chat("m", "how does a green kettle work")).await;
    assert_eq!(first.header("x-paddock-cache"), "miss");
    let second = ask(&bench, &chat("m", "a green kettle how does work")).await;
    assert_eq!(second.header("x-paddock-cache"), "semantic", "{second:?}");
    assert_eq!(first.body, second.body);
    let matched = second.header("x-paddock-cache-match");
    assert!(
        matched.starts_with("similarity=1.0000; threshold=0.9; age=0; entry=0; model=embed"),
        "{matched}"
    );
    let third = ask(&bench, &chat("m", "what is the capital of France")).await;
    assert_eq!(third.header("x-paddock-cache"), "miss");
    let rows = bench.usage("model").await;
    let of = |name: &str| rows.iter().find(|row| row["group"] == name).unwrap().clone();
    assert_eq!(
        (&of("m")["requests"], &of("m")["cached"], &of("m")["output_tokens"]),
        (&json!(3), &json!(1), &json!(10))
    );
    assert_eq!(of("embed")["requests"], 3, "embeddings are calls, and counted");
}

#[tokio::test]
async fn only_those_who_choose_it_are_given_another_questions_answer() {
    let bench = Bench::start(SEMANTIC).await;
    ask(&bench, &chat("m", "how does a green kettle work")).await;
    let plain = bench.chat("m", "a green kettle how does work").await;
    assert_eq!(plain.header("x-paddock-cache"), "miss");
    let always = Bench::start(&SEMANTIC.replace("threshold = 0.9", "threshold = 0.9, always = true")).await;
    always.chat("m", "how does a green kettle work").await;
    assert_eq!(always.chat("m", "a green kettle how does work").await.header("x-paddock-cache"), "semantic");
}

#[tokio::test]
async fn what_surrounds_a_question_must_be_the_same() {
    let bench = Bench::start(SEMANTIC).await;
    let asked = |system: &str, prompt: &str| json!({"model": "m", "messages": [{"role": "system", "content": system}, {"role": "user", "content": prompt}]});
    ask(&bench, &asked("be kind", "how does a green kettle work")).await;
    let other = ask(&bench, &asked("be rude", "a green kettle how does work")).await;
    assert_eq!(other.header("x-paddock-cache"), "miss");
    let same = ask(&bench, &asked("be kind", "a green kettle how does work")).await;
    assert_eq!(same.header("x-paddock-cache"), "semantic");
    let mut cooler = asked("be kind", "does a green kettle work how");
    cooler["temperature"] = json!(0.1);
    assert_eq!(ask(&bench, &cooler).await.header("x-paddock-cache"), "miss");
    let mut with_tools = asked("be kind", "a green kettle how does work");
    with_tools["tools"] = json!([{"type": "function", "function": {"name": "f"}}]);
    assert_eq!(ask(&bench, &with_tools).await.header("x-paddock-cache"), "miss");
}

#[tokio::test]
async fn another_tenants_questions_answer_nobody() {
    let bench = Bench::start(SEMANTIC).await;
    ask(&bench, &chat("m", "how does a green kettle work")).await;
    let tenant: Tenant = "other".parse().unwrap();
    let other = bench.seen_by(Caller::with_key("k", tenant, vec![Scope::write("llm")]));
    let answer =
        read(other.oneshot(choosing(&chat("m", "a green kettle how does work"))).await.unwrap()).await;
    assert_eq!(answer.header("x-paddock-cache"), "miss");
}

#[tokio::test]
async fn a_streamed_answer_is_replayed_to_a_question_in_other_words() {
    let bench = Bench::start(SEMANTIC).await;
    let streamed = |prompt: &str| {
        let mut body = chat("m", prompt);
        body["stream"] = json!(true);
        body
    };
    let first = ask(&bench, &streamed("how does a green kettle work")).await;
    let second = ask(&bench, &streamed("a green kettle how does work")).await;
    assert_eq!(second.header("x-paddock-cache"), "semantic", "{second:?}");
    assert_eq!((second.header("content-type"), &second.body), ("text/event-stream", &first.body));
    let whole = ask(&bench, &chat("m", "a green kettle how does work")).await;
    assert_eq!(whole.header("x-paddock-cache"), "miss", "a stream is no whole answer");
}

#[tokio::test]
async fn without_embeddings_a_question_is_answered_all_the_same() {
    let bench = Bench::start(&SEMANTIC.replace("model = 'embed'", "model = 'none'")).await;
    for prompt in ["how does a green kettle work", "a green kettle how does work"] {
        let answer = ask(&bench, &chat("m", prompt)).await;
        assert_eq!((answer.status.as_u16(), answer.header("x-paddock-cache")), (200, "miss"));
    }
}
