//! Metrics, health and profiles as their readers find them.

use std::{
    process::Stdio,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use axum::{
    Router,
    routing::{get, post},
};
use paddock_platform::{
    health::{Finding, Health},
    http::KeyLimits,
    identity::Scope,
    telemetry::{
        Metrics, Telemetry, TelemetryOptions, continue_trace, join_trace,
        profile::{self, PROFILE_ROUTES, PROFILE_RULES},
        spans_are_sent,
    },
};
use serde_json::{Value, json};
use tokio::{io::AsyncWriteExt, process::Command};

use crate::support::{KeyTable, PATIENCE, TestServer, options, refusal};

#[tokio::test]
async fn requests_are_measured_by_route_never_by_path() {
    let metrics = Metrics::install(&[]).unwrap();
    let routes = Router::new().route("/orders/{id}", get(async || "order")).merge(metrics.router());
    let server = TestServer::start(options(), routes).await;
    for path in ["/orders/1", "/orders/2", "/nothing/at/all"] {
        server.get(path).send().await.unwrap();
    }
    server.client.delete(server.url("/orders/1")).send().await.unwrap();
    let scraped = Instant::now();
    let text = server.get("/metrics").send().await.unwrap().text().await.unwrap();
    let count = |labels: &str| {
        let prefix = format!("http_request_duration_seconds_count{{{labels}}} ");
        let line = text.lines().find_map(|line| line.strip_prefix(&prefix));
        line.unwrap_or_else(|| panic!("{labels} is not in\n{text}")).parse::<u64>().unwrap()
    };
    assert_eq!(count(r#"endpoint="/orders/{id}",method="GET",status="200""#), 2);
    assert_eq!(count(r#"endpoint="/orders/{id}",method="DELETE",status="405""#), 1);
    assert_eq!(count(r#"endpoint="other",method="GET",status="404""#), 1);
    assert!(!text.contains("/nothing"));
    let again = server.get("/metrics").send().await.unwrap().text().await.unwrap();
    assert!(again == text || scraped.elapsed() >= Duration::from_secs(1), "it is rendered once a second");
    for name in ["process_resident_memory_bytes", "go_goroutines", "tasks_running", "http_requests_in_flight"]
    {
        assert!(text.contains(&format!("# HELP {name} ")), "{name} is not described");
        assert!(text.lines().any(|line| line.starts_with(name)), "{name} has no value");
    }
}

#[tokio::test]
async fn metrics_are_for_those_with_the_scope() {
    let metrics = Metrics::install(&[]).unwrap();
    metrics::histogram!("store_commit_transactions").record(3.0);
    let keys = KeyTable::default().with("pdk_scraper", &[Scope::read("server")], KeyLimits::default()).with(
        "pdk_agent",
        &[Scope::write("browser")],
        KeyLimits::default(),
    );
    let server =
        TestServer::start_with(options(), metrics.router().into(), |edge| edge.keys(Arc::new(keys))).await;
    let with = |key: &str| server.get("/metrics").bearer_auth(key);
    assert_eq!(refusal(with("pdk_agent")).await.status, 403);
    let text = with("pdk_scraper").send().await.unwrap().text().await.unwrap();
    assert!(text.contains("store_commit_transactions_bucket{le=\"4\"} 1"), "{text}");
}

#[tokio::test]
async fn prometheus_finds_nothing_to_object_to() {
    let metrics = Metrics::install(&[]).unwrap();
    let server =
        TestServer::start(options(), metrics.router().merge(Health::default().router()).into()).await;
    server.get("/healthz").send().await.unwrap();
    server.get("/readyz").send().await.unwrap();
    let text = server.get("/metrics").send().await.unwrap().text().await.unwrap();
    let promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut promtool) = promtool else {
        println!("skipped: promtool is not installed (Debian: apt install prometheus)");
        return;
    };
    promtool.stdin.take().unwrap().write_all(text.as_bytes()).await.unwrap();
    let output = promtool.wait_with_output().await.unwrap();
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && said.trim().is_empty(), "{said}\n{text}");
}

#[tokio::test]
async fn readiness_tells_of_every_resource() {
    let health = Health::default();
    health.register("store", true, || std::future::ready(Finding::failed("is gone", "start it again")));
    let server = TestServer::start(options(), health.router().into()).await;
    assert_eq!(server.get("/healthz").send().await.unwrap().text().await.unwrap(), "ok\n");
    let ready = server.get("/readyz").send().await.unwrap();
    assert_eq!(ready.status(), 503);
    let body: Value = ready.json().await.unwrap();
    assert_eq!(
        (body["status"].as_str(), body["resources"][0]["name"].as_str()),
        (Some("failed"), Some("store"))
    );
    assert_eq!(body["resources"][0]["advice"], "start it again");
}

#[tokio::test]
async fn strangers_learn_whether_but_not_why() {
    let health = Health::default();
    health.register("store", true, || {
        std::future::ready(Finding::failed("/secret/path is full", "free space"))
    });
    let mut options = options();
    options.keys_required = true;
    let server = TestServer::start(options, health.router().into()).await;
    for request in [server.get("/readyz"), server.get("/readyz").bearer_auth("pdk_stale")] {
        let ready = request.send().await.unwrap();
        assert_eq!(ready.status(), 503);
        let body: Value = ready.json().await.unwrap();
        assert_eq!(body["resources"][0], json!({"name": "store", "required": true, "status": "failed"}));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn spans_go_to_the_collector_and_a_lost_collector_is_not_missed() {
    let received = Arc::new(Mutex::new(Vec::<u8>::new()));
    let sink = Arc::clone(&received);
    let collect = async move |body: bytes::Bytes| sink.lock().unwrap().extend_from_slice(&body);
    let collector = TestServer::start(options(), Router::new().route("/v1/traces", post(collect))).await;
    let otlp = TelemetryOptions { otlp: collector.url("/"), ..TelemetryOptions::default() };
    let telemetry = Telemetry::start(&otlp, &[]).unwrap();

    let server =
        TestServer::start(options(), Router::new().route("/orders/{id}", get(async || "order"))).await;
    let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let continued = server.get("/orders/1").header("traceparent", parent).send().await.unwrap();
    assert!(
        continued.headers()["traceparent"]
            .to_str()
            .unwrap()
            .starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-")
    );
    let begun = server.get("/orders/1").send().await.unwrap();
    let begun = begun.headers()["traceparent"].to_str().unwrap().to_owned();
    let traces = traces_of_one_connection(&server, "/orders/1").await;
    assert_ne!(traces[0], traces[1], "requests share a connection, not a trace");
    assert!(spans_are_sent());
    let conversation = 0x0193_9d0e_0e47_4bf9_8f35_77b3_4da6_a3ce_u128;
    for number in 0..2 {
        let span = tracing::info_span!(parent: None, "turn", otel.name = format!("turn {number}"));
        join_trace(&span, conversation);
        span.in_scope(|| tracing::info_span!("tool", otel.name = format!("tool {number}")).in_scope(|| ()));
    }
    for (name, traceparent) in [
        ("continues", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        ("is not sampled", "00-1bf7651916cd43dd8448eb211c80319d-b7ad6b7169203332-00"),
        ("begins", "00-nonsense"),
    ] {
        let span = tracing::info_span!(parent: None, "job", otel.name = name);
        continue_trace(&span, traceparent);
        span.in_scope(|| ());
    }
    tokio::task::spawn_blocking(|| telemetry.stop()).await.unwrap();
    assert!(!spans_are_sent());

    let count =
        |bytes: &[u8]| received.lock().unwrap().windows(bytes.len()).filter(|part| *part == bytes).count();
    assert_eq!(
        count(&conversation.to_be_bytes()),
        4,
        "spans that are made apart, and those below them, are one trace"
    );
    assert!(count(b"turn 1") > 0 && count(b"tool 1") > 0);
    let contains = |bytes: &[u8]| received.lock().unwrap().windows(bytes.len()).any(|window| window == bytes);
    assert!(contains(b"GET /orders/{id}"));
    assert!(!contains(b"task.name"), "connections are no part of a trace");
    assert!(contains(&0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c_u128.to_be_bytes()));
    assert!(contains(b"continues") && contains(b"begins"));
    // The parent: field 4 of a span, eight bytes.
    assert!(contains(&[&[0x22_u8, 8][..], &0xb7ad_6b71_6920_3331_u64.to_be_bytes()].concat()));
    assert!(!contains(b"is not sampled"), "what its caller does not record is not recorded here");
    assert!(contains(&0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736_u128.to_be_bytes()));
    let begun = u128::from_str_radix(&begun[3..35], 16).unwrap();
    assert!(
        contains(&begun.to_be_bytes()),
        "a trace that begins here has the same id in the answer and the span"
    );
    assert!(collector.stopped().await.is_complete());
    assert_eq!(server.get("/orders/1").send().await.unwrap().status(), 200);
}

/// Sends two requests, one after the other, and returns the trace ids of the answers.
async fn traces_of_one_connection(server: &TestServer, path: &str) -> Vec<String> {
    let last = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    let first = last.replace("Connection: close\r\n", "");
    let answers = server.exchange(first + &last).await;
    let ids = answers.split("traceparent: 00-").skip(1).map(|rest| rest[..32].to_owned());
    ids.collect()
}

async fn profiling_server() -> TestServer {
    let keys = KeyTable::default().with("pdk_debug", &[Scope::read("debug")], KeyLimits::default());
    TestServer::start_with(options(), profile::router(), |edge| {
        let edge = edge.keys(Arc::new(keys));
        PROFILE_ROUTES.into_iter().fold(edge, |edge, route| edge.route(route, PROFILE_RULES))
    })
    .await
}

#[tokio::test]
async fn profiles_are_for_those_with_the_scope() {
    let server = profiling_server().await;
    for route in PROFILE_ROUTES {
        assert_eq!(refusal(server.get(route)).await.status, 403, "{route}");
    }
    let too_long = server.get("/debug/pprof/profile?seconds=100000").bearer_auth("pdk_debug");
    assert_eq!(refusal(too_long).await.body["field"], "seconds");
    // The test's allocator is not jemalloc with profiling on: the answer says what to do.
    let heap = refusal(server.get("/debug/pprof/heap").bearer_auth("pdk_debug")).await;
    assert!(heap.status == 501 || heap.status == 409, "{}", heap.status);
    assert!(heap.body["detail"].as_str().unwrap().contains("MALLOC_CONF"));
}

#[tokio::test]
async fn a_profile_is_made_one_at_a_time() {
    let server = profiling_server().await;
    let profile = || server.get("/debug/pprof/profile?seconds=1").bearer_auth("pdk_debug").send();
    let (one, two) = tokio::join!(profile(), profile());
    let (one, two) = (one.unwrap(), two.unwrap());
    let mut statuses = [one.status().as_u16(), two.status().as_u16()];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 409]);
    let (busy, until) = (Arc::new(AtomicBool::new(true)), Instant::now() + PATIENCE);
    let watched = Arc::clone(&busy);
    let burning = std::thread::spawn(move || {
        let mut number = 1_u64;
        while watched.load(Ordering::Relaxed) && Instant::now() < until {
            number = std::hint::black_box(number.wrapping_mul(31));
        }
    });
    let svg = server.get("/debug/pprof/flamegraph?seconds=1").bearer_auth("pdk_debug").send().await.unwrap();
    assert_eq!(svg.headers()["content-type"], "image/svg+xml");
    let svg = svg.text().await.unwrap();
    busy.store(false, Ordering::Relaxed);
    burning.join().unwrap();
    assert!(svg.contains("<svg") && svg.contains("samples"), "{svg}");
}
