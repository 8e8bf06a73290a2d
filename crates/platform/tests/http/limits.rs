//! Rates, concurrency, deadlines and bodies.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    extract::State,
    routing::{get, post},
};
use futures_util::future::BoxFuture;
use paddock_platform::{
    http::{
        Authenticate, AuthenticateError, Authenticated, Json, KeyLimits, RateLimit, RouteRules, ServerOptions,
    },
    identity::{Caller, Scope, Tenant},
    units::{ByteSize, HumanDuration},
};
use serde_json::Value;

use crate::support::{Gate, KeyTable, TestServer, eventually, options, refusal};

fn routes() -> Router {
    Router::new().route("/a", get(async || "a")).route("/healthz", get(async || "ok"))
}

const KEY: &str = "pdk_known";

/// Behind a proxy a key is needed.
async fn with_key(options: ServerOptions, routes: Router) -> TestServer {
    let keys = KeyTable::default().with(KEY, &[Scope::ALL], KeyLimits::default());
    TestServer::start_with(options, routes, |edge| edge.keys(Arc::new(keys))).await
}

fn rate(text: &str) -> RateLimit {
    text.parse().unwrap()
}

#[tokio::test]
async fn more_requests_than_the_server_lets_through_are_refused_with_when_to_return() {
    let mut options = options();
    options.rates.global = rate("2/h");
    let server = TestServer::start(options, routes()).await;
    for _ in 0..2 {
        assert!(server.get("/a").send().await.unwrap().status().is_success());
    }
    let refused = refusal(server.get("/a")).await;
    assert_eq!((refused.status, refused.slug.as_str()), (503, "overloaded"), "not the client's fault");
    assert_eq!(refused.body["limit"], "global");
    let wait: u64 = refused.headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=1800).contains(&wait), "{wait}");
    assert_eq!(server.get("/healthz").send().await.unwrap().status(), 200, "probes are exempt");
}

#[tokio::test]
async fn each_client_address_has_its_own_allowance() {
    let mut options = options();
    options.rates.per_ip = rate("2/h");
    options.trusted_proxies = vec!["127.0.0.1".parse().unwrap()];
    let server = with_key(options, routes()).await;
    let from = |address: &str| server.get("/a").bearer_auth(KEY).header("x-forwarded-for", address);
    for _ in 0..2 {
        assert_eq!(from("198.51.100.1").send().await.unwrap().status(), 200);
    }
    let refused = refusal(from("198.51.100.1")).await;
    assert_eq!((refused.status, refused.body["limit"].as_str()), (429, Some("ip")));
    assert_eq!(refused.headers["ratelimit-policy"], "\"ip\";q=2;w=3600");
    assert!(refused.headers["ratelimit"].to_str().unwrap().starts_with("\"ip\";r=0;t="));
    assert_eq!(from("198.51.100.2").send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn one_address_does_not_use_up_what_is_there_for_all() {
    let mut options = options();
    options.rates.global = rate("3/h");
    options.rates.per_ip = rate("2/h");
    options.trusted_proxies = vec!["127.0.0.1".parse().unwrap()];
    let server = with_key(options, routes()).await;
    let from = |address: &str| server.get("/a").bearer_auth(KEY).header("x-forwarded-for", address);
    for _ in 0..2 {
        assert_eq!(from("198.51.100.1").send().await.unwrap().status(), 200);
    }
    for _ in 0..5 {
        assert_eq!(refusal(from("198.51.100.1")).await.status, 429);
    }
    assert_eq!(from("198.51.100.2").send().await.unwrap().status(), 200);
    assert_eq!(refusal(from("198.51.100.2")).await.status, 503);
}

#[tokio::test]
async fn a_key_is_looked_up_for_no_more_requests_than_its_address_may_send() {
    let mut options = options();
    options.keys_required = true;
    options.rates.per_ip = rate("3/h");
    let ready = async |caller: Caller| caller.key_id().unwrap_or("nobody").to_owned();
    let routes = routes().route("/readyz", get(ready)).route("/metrics", get(async || "metrics"));
    let keys = Arc::new(Counting::default());
    let asked = Arc::clone(&keys);
    let server = TestServer::start_with(options, routes, |edge| edge.keys(keys)).await;
    let asked = || asked.0.load(Ordering::SeqCst);
    let with = |path: &str, key: &str| server.get(path).bearer_auth(key.to_owned()).send();
    for number in 0..5 {
        assert_eq!(with("/healthz", &format!("pdk_{number}")).await.unwrap().status(), 200);
    }
    assert_eq!(asked(), 0, "who asks whether the process lives is nobody's business");
    let mut statuses = Vec::new();
    for number in 0..5 {
        statuses.push(with("/metrics", &format!("pdk_{number}")).await.unwrap().status().as_u16());
    }
    assert_eq!((statuses, asked()), (vec![401, 401, 401, 429, 429], 3));
    let ready = with("/readyz", "pdk_known").await.unwrap();
    assert_eq!((ready.status().as_u16(), ready.text().await.unwrap().as_str(), asked()), (200, "nobody", 3));
}

#[tokio::test]
async fn an_entrance_asks_for_no_key_and_keeps_the_limits() {
    let mut options = options();
    options.keys_required = true;
    options.rates.per_ip = rate("2/h");
    let enter = async |caller: Caller| caller.key_id().unwrap_or("nobody").to_owned();
    let keys = Arc::new(Counting::default());
    let asked = Arc::clone(&keys);
    let server = TestServer::start_with(options, Router::new().route("/enter", post(enter)), |edge| {
        edge.keys(keys).route("/enter", RouteRules::ENTRANCE)
    })
    .await;
    for _ in 0..2 {
        let entered = server.post("/enter").bearer_auth("pdk_known").send().await.unwrap();
        assert_eq!((entered.status().as_u16(), entered.text().await.unwrap().as_str()), (200, "nobody"));
    }
    let refused = refusal(server.post("/enter")).await;
    assert_eq!((refused.status, refused.body["limit"].as_str()), (429, Some("ip")));
    assert_eq!(asked.0.load(Ordering::SeqCst), 0, "a key is not even looked at");
}

/// Knows one key and counts how often it is asked.
#[derive(Default)]
struct Counting(AtomicUsize);

impl Authenticate for Counting {
    fn authenticate<'a>(&'a self, token: &'a str) -> BoxFuture<'a, Result<Authenticated, AuthenticateError>> {
        self.0.fetch_add(1, Ordering::SeqCst);
        let caller = || Caller::with_key("known".to_owned(), Tenant::local(), vec![Scope::ALL]);
        let known =
            (token == "pdk_known").then(|| Authenticated { caller: caller(), limits: KeyLimits::default() });
        Box::pin(std::future::ready(known.ok_or(AuthenticateError::Refused)))
    }

    fn has_form_of_key(&self, token: &str) -> bool {
        token.starts_with("pdk_")
    }
}

#[tokio::test]
async fn a_stranger_does_not_escape_its_limit_by_claiming_another_address() {
    let mut options = options();
    options.rates.per_ip = rate("1/h");
    let server = with_key(options, routes()).await;
    let from = |address: &str| server.get("/a").bearer_auth(KEY).header("x-forwarded-for", address);
    assert_eq!(from("198.51.100.1").send().await.unwrap().status(), 200);
    assert_eq!(refusal(from("198.51.100.2")).await.status, 429);
}

#[tokio::test]
async fn each_key_has_its_own_allowance_and_may_have_its_own_limit() {
    let mut options = options();
    options.rates.per_key = rate("1/h");
    let generous = KeyLimits { rate: Some(rate("3/h")), ..KeyLimits::default() };
    let keys = KeyTable::default().with("pdk_plain", &[Scope::ALL], KeyLimits::default()).with(
        "pdk_generous",
        &[Scope::ALL],
        generous,
    );
    let server = TestServer::start_with(options, routes(), |edge| edge.keys(Arc::new(keys))).await;
    let with = |key: &str| server.get("/a").bearer_auth(key);
    assert_eq!(with("pdk_plain").send().await.unwrap().status(), 200);
    let refused = refusal(with("pdk_plain")).await;
    assert_eq!((refused.status, refused.body["limit"].as_str()), (429, Some("key")));
    for _ in 0..3 {
        assert_eq!(with("pdk_generous").send().await.unwrap().status(), 200);
    }
    assert_eq!(refusal(with("pdk_generous")).await.status, 429);
    assert_eq!(
        server.get("/a").send().await.unwrap().status(),
        200,
        "without a key, its limit does not hold"
    );
}

#[tokio::test]
async fn a_key_may_have_so_many_requests_in_flight() {
    let gate = Gate::default();
    let routes = Router::new()
        .route("/wait", get(async |State(gate): State<Gate>| gate.pass().await))
        .with_state(gate.clone());
    let limits = KeyLimits { concurrency_max: Some(1), ..KeyLimits::default() };
    let keys = KeyTable::default().with("pdk_one", &[Scope::ALL], limits);
    let server = TestServer::start_with(options(), routes, |edge| edge.keys(Arc::new(keys))).await;
    let first = server.get("/wait").bearer_auth("pdk_one").send();
    let second = async {
        gate.wait_entered(1).await;
        let refused = refusal(server.get("/wait").bearer_auth("pdk_one")).await;
        gate.open();
        refused
    };
    let (first, second) = tokio::join!(first, second);
    assert_eq!(first.unwrap().status(), 200);
    assert_eq!((second.status, second.body["limit"].as_str()), (429, Some("key_concurrency")));
}

#[tokio::test]
async fn at_capacity_requests_are_shed_at_once_and_probes_are_answered() {
    let gate = Gate::default();
    let routes = Router::new()
        .route("/wait", get(async |State(gate): State<Gate>| gate.pass().await))
        .route("/metrics", get(async || "metrics"))
        .with_state(gate.clone())
        .merge(routes());
    let mut options = options();
    options.concurrency_max = 2.try_into().unwrap();
    let server = TestServer::start(options, routes).await;
    let (one, two) = (server.get("/wait").send(), server.get("/wait").send());
    let at_capacity = async {
        gate.wait_entered(2).await;
        let refused = refusal(server.get("/a")).await;
        assert_eq!((refused.status, refused.slug.as_str()), (503, "overloaded"));
        assert_eq!(refused.headers["retry-after"], "1");
        assert_eq!(server.get("/healthz").send().await.unwrap().status(), 200);
        assert_eq!(server.get("/metrics").send().await.unwrap().status(), 200);
        gate.open();
    };
    let (one, two, ()) = tokio::join!(one, two, at_capacity);
    assert_eq!(
        (one.unwrap().status(), two.unwrap().status()),
        (200.try_into().unwrap(), 200.try_into().unwrap())
    );
    assert_eq!(server.get("/a").send().await.unwrap().status(), 200, "places are given back");
}

#[tokio::test]
async fn a_handler_that_does_not_answer_in_time_is_given_up() {
    let never = async || std::future::pending::<()>().await;
    let routes = Router::new().route("/never", get(never)).merge(routes());
    let mut options = options();
    options.timeout = HumanDuration::from_millis(50);
    options.concurrency_max = 1.try_into().unwrap();
    let server = TestServer::start(options, routes).await;
    let refused = refusal(server.get("/never")).await;
    assert_eq!((refused.status, refused.slug.as_str()), (504, "deadline-exceeded"));
    assert_eq!(server.get("/a").send().await.unwrap().status(), 200, "its place is given back");
}

#[tokio::test]
async fn a_route_with_a_deadline_of_its_own_is_not_cut_short() {
    let slow = async || tokio::time::sleep(Duration::from_millis(300)).await;
    let routes = Router::new().route("/slow/{id}", get(slow));
    let mut options = options();
    options.timeout = HumanDuration::from_millis(20);
    let exempt = |edge: paddock_platform::http::EdgeBuilder| edge.route("/slow/{id}", RouteRules::UNTIMED);
    let server = TestServer::start_with(options, routes, exempt).await;
    assert_eq!(server.get("/slow/1").send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_body_must_arrive_in_time_also_where_the_answer_may_take_longer() {
    let mut options = options();
    options.timeout = HumanDuration::from_millis(100);
    let exempt = |edge: paddock_platform::http::EdgeBuilder| edge.route("/json", RouteRules::UNTIMED);
    let server = TestServer::start_with(options, echo(), exempt).await;
    let begun = "POST /json HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{";
    let answer = server.exchange(begun).await;
    assert!(answer.starts_with("HTTP/1.1 504") && answer.contains("deadline-exceeded"), "{answer}");
}

fn echo() -> Router {
    Router::new()
        .route("/json", post(async |Json(body): Json<Value>| Json(body)))
        .route("/bytes", post(async |body: bytes::Bytes| body.len().to_string()))
}

#[tokio::test]
async fn a_body_that_says_it_is_too_large_is_refused() {
    let mut options = options();
    options.body_max = ByteSize::bytes(1000);
    let server = TestServer::start(options, echo()).await;
    let refused = refusal(server.post("/json").json(&"x".repeat(1001))).await;
    assert_eq!((refused.status, refused.slug.as_str()), (413, "body-too-large"));
    assert_eq!(refused.body["body_max"], 1000);
    assert_eq!(server.post("/json").json(&"x".repeat(900)).send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_body_that_turns_out_too_large_is_cut_off() {
    let mut options = options();
    options.body_max = ByteSize::bytes(1000);
    let server = TestServer::start(options, echo()).await;
    for path in ["/json", "/bytes"] {
        let chunks = (0..20).map(|_| Ok::<_, std::io::Error>(vec![b' '; 100]));
        let body = reqwest::Body::wrap_stream(futures_util::stream::iter(chunks));
        let request = server.post(path).header("content-type", "application/json").body(body);
        let refused = refusal(request).await;
        assert_eq!((refused.status, refused.slug.as_str()), (413, "body-too-large"), "{path}");
    }
}

#[tokio::test]
async fn a_body_up_to_the_configured_maximum_is_taken() {
    let mut options = options();
    options.body_max = ByteSize::mib(4);
    let server = TestServer::start(options, echo()).await;
    let response = server.post("/bytes").body(vec![0; 4 << 20]).send().await.unwrap();
    assert_eq!(response.text().await.unwrap(), (4 << 20).to_string());
}

#[tokio::test]
async fn limits_follow_a_reload() {
    let server = TestServer::start(options(), routes().merge(echo())).await;
    assert_eq!(server.get("/a").send().await.unwrap().status(), 200);
    let mut changed = options();
    changed.rates.global = rate("1/h");
    changed.body_max = ByteSize::bytes(10);
    server.options.replace(changed);
    let status = async |request: reqwest::RequestBuilder| request.send().await.unwrap().status().as_u16();
    eventually(async || status(server.get("/a")).await == 503).await;
    let mut changed = options();
    changed.body_max = ByteSize::bytes(10);
    changed.concurrency_max = 7.try_into().unwrap();
    server.options.replace(changed);
    eventually(async || status(server.get("/a")).await == 200).await;
    eventually(async || status(server.post("/bytes").body("eleven bytes")).await == 413).await;
}
