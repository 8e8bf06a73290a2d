//! Streams that break, stall, and whose callers go away.

use http_body_util::BodyExt;
use serde_json::{Value, json};

use super::{Bench, chat, events, post};

fn pair(first: &str, resilience: &str) -> String {
    format!(
        "[[providers]]\nname = 'bad'\nurl = 'sim:?{first}'\n[[providers]]\nname = 'good'\nurl = 'sim:'\n\
         [[routes]]\nmodel = 'm'\nstrategy = 'sticky'\n\
         targets = [{{ provider = 'bad', model = 'm' }}]\nfallbacks = ['n']\n\
         [[routes]]\nmodel = 'n'\ntargets = [{{ provider = 'good', model = 'm' }}]\n[resilience]\n{resilience}"
    )
}

fn streamed(prompt: &str) -> Value {
    let mut body = chat("m", prompt);
    body["stream"] = json!(true);
    body
}

#[tokio::test]
async fn a_stream_that_breaks_or_stalls_before_its_first_token_is_retried_elsewhere() {
    for fault in ["break_early=1", "stall=1&stall_for=10m", "reset=1", "garbage=1", "error=1", "limit=1"] {
        let bench = Bench::start(&pair(fault, "first_token_timeout = '2s'")).await;
        bench.pause();
        let answer = bench.post("/v1/chat/completions", streamed(r#"[sim reply="all well"]"#)).await;
        assert_eq!(answer.status, 200, "{fault}: {answer:?}");
        assert!(answer.header("x-paddock-route").starts_with("good/m"), "{fault}: {answer:?}");
        assert!(answer.header("x-paddock-route").ends_with("attempts=2"), "{fault}: {answer:?}");
        let text = answer.text();
        assert!(text.contains("well") && text.ends_with("data: [DONE]\n\n"), "{fault}: {text}");
        assert_eq!(
            text.matches("\"role\":\"assistant\"").count(),
            1,
            "{fault}: nothing of the first is left"
        );
    }
}

#[tokio::test]
async fn a_stream_that_breaks_later_ends_with_the_dialects_error() {
    for fault in ["break_late=1", "stall_late=1&stall_for=10m"] {
        for (path, provider) in [
            ("/v1/chat/completions", "openai"),
            ("/v1/chat/completions", "anthropic"),
            ("/v1/messages", "anthropic"),
            ("/v1/messages", "gemini"),
            ("/v1/responses", "openai"),
            ("/v1/responses", "anthropic"),
        ] {
            let toml = format!(
                "[[providers]]\nname = 'p'\ndialect = '{provider}'\nurl = 'sim:?tokens_per_s=100&tokens=9&{fault}'\n\
                 [resilience]\nidle_timeout = '1s'"
            );
            let bench = Bench::start(&toml).await;
            bench.pause();
            let mut body = match path {
                "/v1/responses" => json!({"input": "hello"}),
                _ => json!({"max_tokens": 99, "messages": [{"role": "user", "content": "hello"}]}),
            };
            (body["model"], body["stream"]) = (json!("p/m"), json!(true));
            let answer = bench.post(path, body).await;
            assert_eq!(answer.status, 200, "{path} {provider}: {answer:?}");
            let events = events(&answer.text());
            let (name, data) = events.last().unwrap();
            let data: Value =
                serde_json::from_str(data).unwrap_or_else(|_| panic!("{path} {provider}: {data}"));
            match path {
                "/v1/messages" | "/v1/responses" => {
                    assert_eq!((name.as_str(), &data["type"]), ("error", &json!("error")));
                }
                _ => assert!(data["error"]["message"].is_string(), "{data}"),
            }
            assert_eq!(bench.lanes_in_flight(), 0, "{path} {provider}");
            assert_eq!(bench.usage("model").await[0]["failures"], 1, "{path} {provider}");
        }
    }
}

#[tokio::test]
async fn a_providers_own_error_within_a_stream_is_passed_on_and_counts_as_one() {
    let bench = Bench::start(&pair("tokens=9", "")).await;
    let answer = bench.post("/v1/chat/completions", streamed("[sim fail_after=4]")).await;
    let events = events(&answer.text());
    let last: Value = serde_json::from_str(&events.last().unwrap().1).unwrap();
    assert!(last["error"]["message"].as_str().unwrap().contains("simulated failure"), "{last}");
    let lanes = bench.gateway.lanes();
    assert_eq!(lanes.iter().find(|lane| lane.provider == "bad").unwrap().failures, 1);
}

#[tokio::test]
async fn a_caller_that_goes_away_ends_the_providers_work_and_is_billed_for_what_it_got() {
    let bench = Bench::start("[[providers]]\nname = 'p'\nurl = 'sim:?tokens_per_s=1&tokens=50'").await;
    bench.pause();
    let mut body = chat("p/m", "hello");
    body["stream"] = json!(true);
    let response = bench.call(post("/v1/chat/completions", &body)).await;
    let mut stream = response.into_body();
    for _ in 0..3 {
        stream.frame().await.unwrap().unwrap();
    }
    assert_eq!(bench.lanes_in_flight(), 1);
    drop(stream);
    assert_eq!(bench.lanes_in_flight(), 0);
    let rows = bench.usage("model").await;
    assert_eq!((&rows[0]["failures"], &rows[0]["estimated"]), (&json!(1), &json!(1)), "{rows:?}");
    assert!((1..10).contains(&rows[0]["output_tokens"].as_u64().unwrap()), "{rows:?}");
}

#[tokio::test]
async fn usage_that_only_the_gateway_asked_for_is_counted_and_not_shown() {
    let bench = Bench::start("[[providers]]\nname = 'p'\nurl = 'sim:?tokens=9'").await;
    let mut body = chat("p/m", "hello");
    body["stream"] = json!(true);
    let plain = bench.post("/v1/chat/completions", body.clone()).await.text();
    assert!(!plain.contains("prompt_tokens"), "{plain}");
    body["stream_options"] = json!({"include_usage": true});
    let asked = bench.post("/v1/chat/completions", body).await.text();
    assert!(asked.contains("\"completion_tokens\":9"), "{asked}");
    let rows = bench.usage("model").await;
    assert_eq!((&rows[0]["output_tokens"], &rows[0]["estimated"]), (&json!(18), &json!(0)), "{rows:?}");
}

#[tokio::test]
async fn a_slow_first_attempt_is_overtaken_by_a_hedge() {
    let toml = "
        [[providers]]
        name = 'slow'
        url = 'sim:?latency=5s'
        [[providers]]
        name = 'quick'
        url = 'sim:?latency=10ms'
        [[routes]]
        model = 'm'
        hedge_after = '100ms'
        targets = [{ provider = 'slow', model = 'm' }]
        fallbacks = ['n']
        [[routes]]
        model = 'n'
        targets = [{ provider = 'quick', model = 'm' }]
    ";
    let bench = Bench::start(toml).await;
    bench.pause();
    let begun = tokio::time::Instant::now();
    let answer = bench.chat("m", "hello").await;
    assert!(answer.header("x-paddock-route").starts_with("quick/m"), "{answer:?}");
    assert!(begun.elapsed() < std::time::Duration::from_secs(1));
    assert_eq!(bench.lanes_in_flight(), 0, "the first was given up");
}
