//! Limits, budgets, guards, and what is written down.

use http::HeaderName;
use paddock_platform::{
    identity::{Caller, Scope, Tenant},
    params,
    store::{Statement, testing::on_each_engine},
};
use serde_json::{Value, json};
use tower::ServiceExt;

use super::{Bench, chat, options, post, read};

const PRICED: &str = "
    [[providers]]
    name = 'p'
    url = 'sim:?tokens=10'
    models = ['m', 'n']
    [prices]
    m = { input = 1.0, output = 10.0 }
    n = { input = 0, output = 0 }
";

fn caller(key: &str, tenant: &str) -> Caller {
    Caller::with_key(key, tenant.parse::<Tenant>().unwrap(), vec![Scope::write("llm")])
}

#[tokio::test]
async fn spend_is_the_sum_of_reported_usage_to_the_token() {
    on_each_engine(async |fixture| {
        let store = fixture.open().await;
        let live = paddock_platform::config::Live::new(options(PRICED));
        let section = live.section(|options| options);
        let gateway = crate::Gateway::open(section, store, &fixture.tasks).await.unwrap();
        let (app, _) = crate::routes::router(gateway.clone(), None).split_for_parts();
        let app = app.layer(axum::Extension(Caller::local()));
        let (mut input, mut output) = (0, 0);
        for (index, stream) in [false, true, false, true, true].into_iter().enumerate() {
            let mut body = chat("m", &format!("prompt number {index}"));
            (body["stream"], body["stream_options"]) = (json!(stream), json!({"include_usage": true}));
            if !stream {
                body.as_object_mut().unwrap().remove("stream_options");
            }
            let answer = read(app.clone().oneshot(post("/v1/chat/completions", &body)).await.unwrap()).await;
            let usage = if stream {
                let text = answer.text();
                let line = text.lines().find(|line| line.contains("prompt_tokens")).unwrap().to_owned();
                serde_json::from_str::<Value>(line.strip_prefix("data: ").unwrap()).unwrap()["usage"].clone()
            } else {
                answer.json()["usage"].clone()
            };
            input += usage["prompt_tokens"].as_u64().unwrap();
            output += usage["completion_tokens"].as_u64().unwrap();
        }
        let request = http::Request::get("/usage").body(axum::body::Body::empty()).unwrap();
        let report = read(app.clone().oneshot(request).await.unwrap()).await.json();
        let row = &report["rows"][0];
        assert_eq!(
            (row["input_tokens"].as_u64(), row["output_tokens"].as_u64()),
            (Some(input), Some(output))
        );
        assert_eq!((&row["requests"], &row["estimated"]), (&json!(5), &json!(0)));
        let expected = input as f64 / 1e6 + output as f64 * 10.0 / 1e6;
        assert!((row["cost_usd"].as_f64().unwrap() - expected).abs() < 1e-12, "{row}");
        let csv =
            http::Request::get("/usage?group=provider&format=csv").body(axum::body::Body::empty()).unwrap();
        let csv = read(app.clone().oneshot(csv).await.unwrap()).await.text();
        assert!(csv.lines().nth(1).unwrap().starts_with(&format!("p,5,0,0,0,{input},{output},")), "{csv}");
    })
    .await;
}

#[tokio::test]
async fn a_restart_remembers_what_was_spent() {
    on_each_engine(async |fixture| {
        let limited = format!("{PRICED}\n[[limits]]\ntenant = '*'\nday = {{ hard = 0.0005 }}");
        let start = async || {
            let live = paddock_platform::config::Live::new(options(&limited));
            let section = live.section(|options| options);
            let gateway = crate::Gateway::open(section, fixture.open().await, &fixture.tasks).await.unwrap();
            let (app, _) = crate::routes::router(gateway.clone(), None).split_for_parts();
            (gateway, app.layer(axum::Extension(caller("k1", "acme"))))
        };
        let call = async |app: &axum::Router| {
            let mut body = chat("m", "hello");
            body["max_tokens"] = json!(10);
            read(app.clone().oneshot(post("/v1/chat/completions", &body)).await.unwrap()).await
        };
        let (gateway, app) = start().await;
        let mut made = 0;
        while call(&app).await.status == 200 {
            made += 1;
            assert!(made < 100, "the budget holds at last");
        }
        assert!(made >= 3, "{made}");
        gateway.inner().ledger.flush().await.unwrap();
        let (_, app) = start().await;
        let refused = call(&app).await;
        assert_eq!(
            (refused.status.as_u16(), &refused.json()["error"]["code"]),
            (429, &json!("insufficient_quota"))
        );
    })
    .await;
}

#[tokio::test]
async fn a_hard_budget_is_never_passed_even_by_calls_at_once() {
    let toml = format!("{PRICED}\n[[limits]]\nday = {{ soft = 0.0001, hard = 0.001 }}");
    let bench = std::sync::Arc::new(Bench::start(&toml).await);
    let calls = (0..40).map(|index| {
        let bench = std::sync::Arc::clone(&bench);
        async move {
            let mut body = chat("m", &format!("call {index}"));
            body["max_tokens"] = json!(10);
            bench.post("/v1/chat/completions", body).await
        }
    });
    let answers = futures_util::future::join_all(calls).await;
    let made = answers.iter().filter(|answer| answer.status == 200).count();
    assert!(made > 0 && made < 40, "{made}");
    let spent = bench.usage("model").await[0]["cost_usd"].as_f64().unwrap();
    assert!(spent <= 0.001 && spent > 0.0005, "{spent}");
    let refused = answers.iter().find(|answer| answer.status != 200).unwrap();
    assert_eq!(refused.json()["error"]["type"], "insufficient_quota", "{refused:?}");
    let mut free = chat("n", "hello");
    free["max_tokens"] = json!(10);
    let warned = bench.post("/v1/chat/completions", free).await;
    assert!(!warned.header("x-paddock-budget-warning").is_empty(), "{warned:?}");
}

#[tokio::test]
async fn rates_and_models_are_limited_per_caller_in_the_vendors_words() {
    let toml = format!("{PRICED}\n[[limits]]\nkey = '*'\nrpm = 2\nmodels = ['m']");
    let bench = Bench::start(&toml).await;
    let (first, second) = (bench.seen_by(caller("k1", "acme")), bench.seen_by(caller("k2", "acme")));
    let call = async |app: &axum::Router, path: &str, model: &str| {
        let mut body = chat(model, "hello");
        body["max_tokens"] = json!(10);
        read(app.clone().oneshot(post(path, &body)).await.unwrap()).await
    };
    let ok = call(&first, "/v1/chat/completions", "m").await;
    assert_eq!(
        (ok.header("x-ratelimit-limit-requests"), ok.header("x-ratelimit-remaining-requests")),
        ("2", "1")
    );
    let ok = call(&first, "/v1/messages", "m").await;
    assert_eq!(ok.header("anthropic-ratelimit-requests-remaining"), "0");
    let limited = call(&first, "/v1/messages", "m").await;
    assert_eq!(
        (limited.status.as_u16(), &limited.json()["error"]["type"]),
        (429, &json!("rate_limit_error"))
    );
    assert!(limited.header("retry-after").parse::<u64>().unwrap() <= 60);
    assert_eq!(call(&second, "/v1/messages", "m").await.status, 200, "another key has its own");
    let forbidden = call(&second, "/v1/chat/completions", "n").await;
    assert_eq!(
        (forbidden.status.as_u16(), &forbidden.json()["error"]["type"]),
        (403, &json!("permission_error"))
    );
}

#[tokio::test]
async fn one_tenant_sees_nothing_of_another() {
    let bench = Bench::start(PRICED).await;
    let (acme, other) = (bench.seen_by(caller("k1", "acme")), bench.seen_by(caller("k2", "other")));
    let call = post("/v1/chat/completions", &chat("m", "secret of acme"));
    assert_eq!(acme.clone().oneshot(call).await.unwrap().status(), 200);
    let get = async |app: &axum::Router, path: &str| {
        let request = http::Request::get(path).body(axum::body::Body::empty()).unwrap();
        read(app.clone().oneshot(request).await.unwrap()).await
    };
    for path in ["/usage", "/decisions", "/requests"] {
        let seen = get(&other, path).await;
        assert_eq!(seen.status, 200, "{path}");
        let json = seen.json();
        let rows = json.get("rows").or_else(|| json.get("items")).and_then(Value::as_array).unwrap();
        assert!(rows.is_empty(), "{path}: {json}");
    }
    assert_eq!(get(&other, "/usage?all=true").await.status, 403);
    assert_eq!(get(&acme, "/usage").await.json()["rows"][0]["requests"], 1);
}

#[tokio::test]
async fn guards_redact_refuse_and_leave_the_rest_as_it_was() {
    let answers = format!("{PRICED}\n[[guards]]\nkind = 'pii'\nrequests = false\nanswers = true");
    let answer = Bench::start(&answers).await.chat("m", "[sim reply=\"ask bob@example.org\"]").await;
    assert_eq!(answer.json()["choices"][0]["message"]["content"], "ask [email]", "{answer:?}");
    let toml = format!(
        "{PRICED}\n[log]\nmode = 'full'\n[[guards]]\nkind = 'pii'\n[[guards]]\nkind = 'deny'\npatterns = ['forbidden']"
    );
    let bench = Bench::start(&toml).await;
    let mut body = chat("m", "mail ada@example.org");
    body["unknown_member"] = json!({"kept": 1});
    assert_eq!(bench.post("/v1/chat/completions", body).await.status, 200);
    let refused = bench
        .post(
            "/v1/messages",
            json!({"model": "m", "max_tokens": 5, "messages": [{"role": "user", "content": "forbidden"}]}),
        )
        .await;
    assert_eq!(
        (refused.status.as_u16(), &refused.json()["error"]["type"]),
        (400, &json!("invalid_request_error"))
    );
    let logged = logged(&bench, 1).await;
    let request = logged[0]["request"].as_str().unwrap();
    assert!(
        request.contains("mail [email]") && request.contains("\"kept\":1") && !request.contains("ada@"),
        "{request}"
    );
}

/// The log, once it has so many entries.
async fn logged(bench: &Bench, count: usize) -> Vec<Value> {
    for _ in 0..500 {
        let entries = bench.get("/requests").await["items"].as_array().cloned().unwrap_or_default();
        if entries.len() >= count {
            return entries;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("the log has fewer than {count} entries");
}

#[tokio::test]
async fn the_request_log_keeps_what_its_mode_says() {
    for (mode, has_bodies) in [("metadata", false), ("full", true)] {
        let bench = Bench::start(&format!("{PRICED}\n[log]\nmode = '{mode}'")).await;
        let mut request = post("/v1/chat/completions", &chat("m", "hello"));
        request.headers_mut().insert(HeaderName::from_static("x-paddock-tags"), "nightly".parse().unwrap());
        read(bench.call(request).await).await;
        let entry = &logged(&bench, 1).await[0];
        assert_eq!(
            (&entry["outcome"], &entry["status"], &entry["tags"]),
            (&json!("ok"), &json!(200), &json!("nightly"))
        );
        assert_eq!((&entry["provider"], &entry["output_tokens"]), (&json!("p"), &json!(10)), "{entry}");
        assert_eq!(entry.get("request").is_some(), has_bodies);
        assert_eq!(entry["answer"].as_str().is_some_and(|answer| answer.contains("choices")), has_bodies);
    }
}

static AGE: Statement =
    Statement::new("llm", "test_age_requests", "UPDATE llm_requests SET at_ms = at_ms - ?1 WHERE model = ?2");

#[tokio::test]
async fn calls_that_are_older_than_the_retention_are_forgotten() {
    on_each_engine(async |fixture| {
        let start = async || {
            let live = paddock_platform::config::Live::new(options(PRICED));
            let section = live.section(|options| options);
            let gateway = crate::Gateway::open(section, fixture.open().await, &fixture.tasks).await.unwrap();
            let (app, _) = crate::routes::router(gateway, None).split_for_parts();
            app.layer(axum::Extension(Caller::local()))
        };
        let models_logged = async |app: &axum::Router, expected: &[&str]| {
            for _ in 0..1000 {
                let request = http::Request::get("/requests").body(axum::body::Body::empty()).unwrap();
                let entries = read(app.clone().oneshot(request).await.unwrap()).await.json()["items"].clone();
                let models = entries.as_array().into_iter().flatten();
                let mut models: Vec<&str> = models.filter_map(|entry| entry["model"].as_str()).collect();
                models.sort_unstable();
                if models == expected {
                    return;
                }
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            }
            panic!("the log never had {expected:?}");
        };
        let app = start().await;
        for model in ["m", "n"] {
            let request = post("/v1/chat/completions", &chat(model, "hello"));
            assert_eq!(app.clone().oneshot(request).await.unwrap().status(), 200);
        }
        models_logged(&app, &["m", "n"]).await;
        let eight_days_ms = 8 * 24 * 3_600_000_i64;
        let aged = fixture.open().await.execute(&AGE, params![eight_days_ms, "n"]).await.unwrap();
        assert_eq!(aged, 1);
        // It looks for old entries when it starts, and every minute.
        let app = start().await;
        models_logged(&app, &["m"]).await;
    })
    .await;
}

#[tokio::test]
async fn a_reload_changes_prices_and_routes_and_a_wrong_one_changes_nothing() {
    let bench = Bench::start(PRICED).await;
    assert_eq!(bench.chat("fresh", "hello").await.status, 404);
    let status_of = async |expected: u16| {
        for _ in 0..500 {
            if bench.chat("fresh", "hello").await.status == expected {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        panic!("`fresh` never answered {expected}");
    };
    let fresh =
        format!("{PRICED}\n[[routes]]\nmodel = 'fresh'\ntargets = [{{ provider = 'p', model = 'm' }}]");
    bench.live.replace(options(&fresh));
    status_of(200).await;
    bench.live.replace(options("[[routes]]\nmodel = 'fresh'\ntargets = [{ provider = 'nobody' }]"));
    for _ in 0..500 {
        if bench.gateway.health().detail.contains("nobody") {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    assert!(bench.gateway.health().detail.contains("no provider `nobody`"));
    status_of(200).await;
}

#[tokio::test]
async fn usage_is_added_up_by_day_and_a_batch_that_is_written_again_adds_nothing() {
    on_each_engine(async |fixture| {
        let store = fixture.open().await;
        store.migrate(&crate::store::MIGRATIONS).await.unwrap();
        let ledger = crate::govern::Ledger::open(store, &fixture.tasks).await.unwrap();
        let dims = crate::govern::Dims {
            tenant: "acme".into(),
            key: "k1".into(),
            api: "chat",
            model: "m".into(),
            provider: "p".into(),
            target: "m".into(),
            credential: "a".into(),
        };
        let usage = crate::dialect::usage::Usage { input: 7, output: 3, ..Default::default() };
        for _ in 0..3 {
            ledger.add(
                dims.clone(),
                &crate::govern::Entry { usage, cost: 1_000, failed: false, cached: false },
            );
        }
        ledger.write_twice().await;
        let filter = crate::govern::UsageFilter {
            from_hour: 0,
            to_hour: i64::from(u32::MAX),
            tenant: Some("acme".to_owned()),
            key: None,
            group: crate::UsageGroup::Day,
        };
        let rows = ledger.usage(&filter).await.unwrap();
        assert_eq!(
            (rows.len(), rows[0].requests, rows[0].input_tokens, rows[0].output_tokens),
            (1, 3, 21, 9)
        );
        assert_eq!(rows[0].group, jiff::Timestamp::now().strftime("%F").to_string());
    })
    .await;
}
