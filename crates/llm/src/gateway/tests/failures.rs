//! Providers that fail, and requests that are wrong.

use std::time::Duration;

use serde_json::{Value, json};

use super::{Bench, chat, post, read};

const ONE: &str = "[[providers]]\nname = 'p'\nurl = 'sim:'\nmodels = ['kettle-1', 'kettle-2']";

#[tokio::test]
async fn failures_are_in_the_callers_dialect_with_the_vendors_status() {
    let bench = Bench::start(ONE).await;
    for (path, body, status, kind) in [
        ("/v1/chat/completions", json!("not an object"), 400, "invalid_request_error"),
        ("/v1/chat/completions", chat("kettel-1", "a"), 404, "invalid_request_error"),
        ("/v1/chat/completions", json!({"model": "kettle-1"}), 400, "invalid_request_error"),
        ("/v1/messages", json!({"model": "nothing", "messages": []}), 404, "not_found_error"),
        ("/v1/messages", json!({"model": 7, "messages": []}), 400, "invalid_request_error"),
    ] {
        let answer = bench.post(path, body.clone()).await;
        assert_eq!(answer.status, status, "{path} {body}: {answer:?}");
        assert_eq!(answer.json()["error"]["type"], kind, "{path} {body}: {answer:?}");
    }
    let near = bench.chat("kettel-1", "a").await.json();
    assert!(near["error"]["message"].as_str().unwrap().contains("did you mean `kettle-1`"), "{near}");
    assert_eq!(near["error"]["code"], "model_not_found");
    let request =
        http::Request::post("/v1/messages").body(axum::body::Body::from("{\"model\": \"\u{e9}")).unwrap();
    let broken = read(bench.call(request).await).await.json();
    assert_eq!(broken["error"]["type"], "invalid_request_error");
}

#[tokio::test]
async fn a_refusal_of_the_request_is_passed_on_and_feeds_no_breaker() {
    let bench = Bench::start(ONE).await;
    for _ in 0..10 {
        let refused = bench.chat("kettle-1", "[sim status=422]").await;
        assert_eq!(refused.status, 422);
        assert!(refused.json()["error"]["message"].as_str().unwrap().contains("the prompt asked for"));
    }
    assert_eq!(bench.chat("kettle-1", "hello").await.status, 200);
    let lane = &bench.gateway.lanes()[0];
    assert_eq!((lane.breaker, lane.failures), ("closed", 0));
}

#[tokio::test]
async fn an_answer_that_stalls_is_asked_for_elsewhere() {
    let bench = Bench::start(
        "[[providers]]\nname = 'stalling'\nurl = 'sim:?stall=1&stall_for=10m'\n\
         [[providers]]\nname = 'spare'\nurl = 'sim:'\n\
         [[routes]]\nmodel = 'm'\nstrategy = 'sticky'\n\
         targets = [{ provider = 'stalling', model = 'm' }]\nfallbacks = ['n']\n\
         [[routes]]\nmodel = 'n'\ntargets = [{ provider = 'spare', model = 'm' }]\n\
         [resilience]\nanswer_timeout = '2s'",
    )
    .await;
    bench.pause();
    let answer = bench.chat("m", "hello").await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(answer.header("x-paddock-route").starts_with("spare/m"), "{answer:?}");
    assert!(answer.header("x-paddock-route").ends_with("attempts=2"), "{answer:?}");
}

#[tokio::test]
async fn a_provider_that_fails_is_asked_four_times_at_most_and_its_breaker_opens() {
    let bench = Bench::start("[[providers]]\nname = 'p'\nurl = 'sim:?error=1'").await;
    bench.pause();
    let failed = bench.chat("p/m", "hello").await;
    assert_eq!((failed.status.as_u16(), failed.header("x-should-retry")), (502, "false"), "{failed:?}");
    assert_eq!(bench.gateway.lanes()[0].requests, 4);
    bench.chat("p/m", "hello").await;
    assert_eq!(bench.gateway.lanes()[0].requests, 5, "the fifth failure opened the breaker");
    let refused = bench.chat("p/m", "hello").await;
    assert_eq!(refused.status, 503, "{refused:?}");
    assert!(!refused.header("retry-after").is_empty());
    assert_eq!(bench.gateway.lanes()[0].requests, 5);
    tokio::time::advance(Duration::from_secs(121)).await;
    bench.chat("p/m", "hello").await;
    assert_eq!(bench.gateway.lanes()[0].requests, 6, "one probe, which fails");
}

#[tokio::test]
async fn what_is_no_answer_is_retried_elsewhere() {
    for fault in ["[sim garbage]", "[sim error_inside]"] {
        let toml = "
            [[providers]]
            name = 'bad'
            url = 'sim:'
            [[providers]]
            name = 'good'
            dialect = 'anthropic'
            url = 'sim:'
            [[routes]]
            model = 'm'
            targets = [{ provider = 'bad' }]
        ";
        let bench = Bench::start(toml).await;
        bench.pause();
        let failed = bench.chat("m", fault).await;
        assert_eq!(failed.status, 502, "{fault}: {failed:?}");
        assert_eq!(bench.gateway.lanes()[0].failures, 4, "{fault}");
    }
}

#[tokio::test]
async fn a_limited_credential_rests_while_another_answers() {
    let toml = "
        [[providers]]
        name = 'p'
        url = 'sim:?limit=1&retry_after=90s'
        [[providers]]
        name = 'q'
        url = 'sim:'
        [[routes]]
        model = 'm'
        targets = [{ provider = 'p', weight = 1000000 }, { provider = 'q', weight = 0.000001 }]
    ";
    let bench = Bench::start(toml).await;
    bench.pause();
    for _ in 0..5 {
        assert_eq!(bench.chat("m", "hello").await.status, 200);
    }
    let lanes = bench.gateway.lanes();
    assert!((60.0..=90.0).contains(&lanes[0].resting_for_s), "{lanes:?}");
    assert_eq!((lanes[0].breaker, lanes[1].requests), ("closed", 5));
}

#[tokio::test]
async fn a_dead_key_is_left_alone_and_never_told() {
    let dir = tempfile::tempdir().unwrap();
    for (name, key) in [("dead", "sk-dead-1234567890"), ("live", "sk-live-1234567890")] {
        std::fs::write(dir.path().join(name), key).unwrap();
    }
    let path = |name: &str| format!("file:{}", dir.path().join(name).display());
    let toml = format!(
        "[[providers]]\nname = 'p'\nurl = 'sim:?refuse_key=dead'\nmodels = ['m']\ncredentials = [\
         {{ name = 'dead', key = '{}' }}, {{ name = 'live', key = '{}' }}]",
        path("dead"),
        path("live")
    );
    let bench = Bench::start(&toml).await;
    for _ in 0..20 {
        let answer = bench.chat("m", "hello").await;
        assert_eq!(answer.status, 200, "{answer:?}");
        assert!(answer.header("x-paddock-route").contains("credential=live"));
        assert!(!format!("{answer:?}").contains("sk-"));
    }
    let lanes = bench.gateway.lanes();
    let dead = lanes.iter().find(|lane| lane.credential == "dead").unwrap();
    assert_eq!((dead.requests, dead.breaker), (1, "open"));
}

#[tokio::test]
async fn traffic_splits_by_weight_within_what_chance_allows() {
    let toml = "
        [[providers]]
        name = 'p'
        url = 'sim:?tokens=1'
        credentials = [{ name = 'a', weight = 3 }, { name = 'b', weight = 1 }]
        models = ['m']
    ";
    let bench = Bench::start(toml).await;
    let (count, mut of_a) = (2000_u32, 0_u32);
    for _ in 0..count {
        let answer = bench.chat("m", "hello").await;
        of_a += u32::from(answer.header("x-paddock-route").contains("credential=a"));
    }
    // Five standard deviations of a binomial distribution with p = 0.75.
    let (mean, deviation) = (f64::from(count) * 0.75, (f64::from(count) * 0.75 * 0.25).sqrt());
    assert!((f64::from(of_a) - mean).abs() < 5.0 * deviation, "{of_a} of {count}");
}

#[tokio::test]
async fn a_fallback_takes_over_and_the_decision_log_says_why() {
    let toml = "
        [[providers]]
        name = 'p'
        url = 'sim:?error=1'
        [[providers]]
        name = 'q'
        dialect = 'anthropic'
        url = 'sim:'
        [[routes]]
        model = 'm'
        targets = [{ provider = 'p' }]
        fallbacks = ['spare']
        [[routes]]
        model = 'spare'
        targets = [{ provider = 'q', model = 'claude' }]
    ";
    let bench = Bench::start(toml).await;
    let answer = bench.chat("m", "hello").await;
    assert!(answer.header("x-paddock-route").starts_with("q/claude"), "{answer:?}");
    let decisions = bench.get("/decisions").await;
    let last = &decisions["items"][0];
    assert_eq!(
        (&last["provider"], &last["fallback"], &last["attempt"]),
        (&json!("q"), &json!(true), &json!(2))
    );
    assert!(last["after"].as_str().unwrap().contains("failed (500"), "{last}");
}

#[tokio::test]
async fn a_request_that_is_too_long_for_one_model_goes_to_another() {
    let toml = "
        [[providers]]
        name = 'p'
        url = 'sim:'
        [[routes]]
        model = 'm'
        strategy = 'cheapest'
        targets = [{ provider = 'p', model = 'small' }, { provider = 'p', model = 'large' }]
        [prices]
        small = { input = 1, output = 1, window = 100 }
        large = { input = 9, output = 9, window = 100000 }
    ";
    let bench = Bench::start(toml).await;
    assert!(bench.chat("m", "hello").await.header("x-paddock-route").starts_with("p/small"));
    let long = "word ".repeat(1000);
    assert!(bench.chat("m", &long).await.header("x-paddock-route").starts_with("p/large"));
    let too_long = bench.chat("m", &"word ".repeat(100_000)).await;
    assert_eq!(too_long.json()["error"]["code"], "context_length_exceeded", "{too_long:?}");
}

#[tokio::test]
async fn rules_pick_by_class_tag_and_need_and_the_dry_run_explains_them() {
    let toml = "
        [[providers]]
        name = 'p'
        url = 'sim:'
        [[routes]]
        model = 'm'
        when = { class = 'batch' }
        targets = [{ provider = 'p', model = 'cheap' }]
        [[routes]]
        model = 'm'
        when = { tags = ['vip'], needs = ['tools'] }
        targets = [{ provider = 'p', model = 'best' }]
        [[routes]]
        model = 'm'
        strategy = 'hybrid'
        targets = [{ provider = 'p', model = 'fast' }, { provider = 'p', model = 'other', quality = 0.0 }]
    ";
    let bench = Bench::start(toml).await;
    let routed = async |headers: &[(&str, &str)], body: Value| {
        let mut request = post("/v1/chat/completions", &body);
        for (name, value) in headers {
            request.headers_mut().insert(http::HeaderName::try_from(*name).unwrap(), value.parse().unwrap());
        }
        read(bench.call(request).await).await.header("x-paddock-route").to_owned()
    };
    assert!(routed(&[("x-paddock-class", "batch")], chat("m", "a")).await.starts_with("p/cheap"));
    let mut with_tools = chat("m", "a");
    with_tools["tools"] =
        json!([{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]);
    assert!(routed(&[("x-paddock-tags", "x, vip")], with_tools).await.starts_with("p/best"));
    assert!(routed(&[("x-paddock-tags", "vip")], chat("m", "a")).await.starts_with("p/fast"));
    let explained = bench.post("/route", json!({"model": "m"})).await.json();
    assert_eq!(
        (&explained["strategy"], &explained["considered"][0]["model"]),
        (&json!("hybrid"), &json!("fast"))
    );
    assert_eq!(explained["considered"][0]["parts"].as_array().map(Vec::len), Some(4), "{explained}");
    assert_eq!(bench.gateway.lanes().iter().map(|lane| lane.requests).sum::<u64>(), 3, "nothing was sent");
}

#[tokio::test]
async fn a_conversation_stays_where_it_is() {
    let toml = "
        [[providers]]
        name = 'p'
        url = 'sim:'
        [[routes]]
        model = 'm'
        strategy = 'sticky'
        targets = [{ provider = 'p', model = 'a' }, { provider = 'p', model = 'b' }, { provider = 'p', model = 'c' }]
    ";
    let bench = Bench::start(toml).await;
    let mut places = std::collections::BTreeSet::new();
    for user in 0..20 {
        let mut seen = std::collections::BTreeSet::new();
        for turn in 0..4 {
            let mut body = chat("m", &format!("turn {turn}"));
            body["user"] = json!(format!("user {user}"));
            let answer = bench.post("/v1/chat/completions", body).await;
            seen.insert(answer.header("x-paddock-route").split(';').next().unwrap().to_owned());
        }
        assert_eq!(seen.len(), 1, "{seen:?}");
        places.extend(seen);
    }
    assert_eq!(places.len(), 3, "conversations are spread");
}

#[tokio::test]
async fn breakers_are_opened_closed_and_reset_by_hand() {
    let bench = Bench::start(ONE).await;
    bench.pause();
    bench.chat("kettle-1", "hello").await;
    let open = bench.post("/breakers", json!({"action": "open", "provider": "p"})).await.json();
    assert_eq!((&open[0]["breaker"], &open[0]["open_for_s"]), (&json!("open"), &Value::Null));
    assert_eq!(bench.chat("kettle-1", "hello").await.status, 503);
    tokio::time::advance(Duration::from_hours(1)).await;
    assert_eq!(bench.chat("kettle-1", "hello").await.status, 503, "by hand is for good");
    bench.post("/breakers", json!({"action": "close", "model": "kettle-1"})).await;
    assert_eq!(bench.chat("kettle-1", "hello").await.status, 200);
    let missing = bench.post("/breakers", json!({"action": "reset", "provider": "x"})).await;
    assert_eq!(missing.status, 404);
}
