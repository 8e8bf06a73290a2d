//! How routes pick, and when they hold.

use std::collections::BTreeMap;

use futures_util::future::join_all;
use paddock_platform::identity::{Caller, Scope, Tenant};
use tower::ServiceExt;

use super::{Bench, Read, chat, post, read};

/// `provider/model` of an answer.
fn place(answer: &Read) -> String {
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.header("x-paddock-route").split(';').next().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn the_fastest_is_what_began_to_answer_soonest_once_all_were_tried() {
    let toml = "
        [[providers]]
        name = 'slow'
        url = 'sim:?latency=300ms'
        [[providers]]
        name = 'quick'
        url = 'sim:?latency=20ms'
        [[routes]]
        model = 'm'
        strategy = 'fastest'
        targets = [{ provider = 'slow' }, { provider = 'quick' }]
    ";
    let bench = Bench::start(toml).await;
    bench.pause();
    let mut first = [place(&bench.chat("m", "hello").await), place(&bench.chat("m", "hello").await)];
    first.sort();
    assert_eq!(first, ["quick/m", "slow/m"], "what was not tried yet is tried");
    for _ in 0..10 {
        assert_eq!(place(&bench.chat("m", "hello").await), "quick/m");
    }
}

#[tokio::test]
async fn the_least_busy_has_the_fewest_calls_in_flight_for_its_weight() {
    let toml = "
        [[providers]]
        name = 'p'
        url = 'sim:?latency=1m'
        [[routes]]
        model = 'm'
        strategy = 'least-busy'
        targets = [{ provider = 'p', model = 'large', weight = 3.0 }, { provider = 'p', model = 'small' }]
    ";
    let bench = Bench::start(toml).await;
    bench.pause();
    // All of them are on their way before the first is answered.
    let answers = join_all((0..8).map(|_| bench.chat("m", "hello"))).await;
    let mut calls = BTreeMap::new();
    for answer in &answers {
        *calls.entry(place(answer)).or_insert(0) += 1;
    }
    assert_eq!(calls, BTreeMap::from([("p/large".to_owned(), 6), ("p/small".to_owned(), 2)]));
}

const RULES: &str = "
    [[providers]]
    name = 'p'
    url = 'sim:'
    [teams]
    red = ['k1', 'k2']
    [[routes]]
    model = 'm'
    when = { headers = { x-region = 'eu' } }
    targets = [{ provider = 'p', model = 'european' }]
    [[routes]]
    model = 'm'
    when = { teams = ['red'] }
    targets = [{ provider = 'p', model = 'of-team' }]
    [[routes]]
    model = 'm'
    when = { tenants = ['acme', 'other'] }
    targets = [{ provider = 'p', model = 'of-tenant' }]
    [[routes]]
    model = 'm'
    when = { tokens_max = 100 }
    targets = [{ provider = 'p', model = 'small' }]
    [[routes]]
    model = 'm'
    when = { tokens_min = 500 }
    targets = [{ provider = 'p', model = 'large' }]
    [[routes]]
    model = 'm'
    targets = [{ provider = 'p', model = 'middle' }]
";

#[tokio::test]
async fn rules_pick_by_header_team_tenant_and_tokens() {
    let bench = Bench::start(RULES).await;
    for (key, tenant, header, words, expected) in [
        ("k1", "acme", "eu", 1, "p/european"),
        ("k1", "acme", "us", 1, "p/of-team"),
        ("k2", "third", "", 1, "p/of-team"),
        ("k3", "acme", "", 1, "p/of-tenant"),
        ("k3", "third", "", 1, "p/small"),
        ("k3", "third", "", 200, "p/middle"),
        ("k3", "third", "", 1000, "p/large"),
    ] {
        let caller = Caller::with_key(key, tenant.parse::<Tenant>().unwrap(), vec![Scope::write("llm")]);
        let mut request = post("/v1/chat/completions", &chat("m", &"word ".repeat(words)));
        if !header.is_empty() {
            request.headers_mut().insert("x-region", header.parse().unwrap());
        }
        let answer = read(bench.seen_by(caller).oneshot(request).await.unwrap()).await;
        assert_eq!(place(&answer), expected, "{key} {tenant} {header} {words}");
    }
}

#[tokio::test]
async fn what_costs_more_than_a_route_or_a_caller_allows_is_left_out() {
    let toml = "
        [[providers]]
        name = 'p'
        url = 'sim:'
        [[routes]]
        model = 'm'
        targets = [{ provider = 'p', model = 'dear', weight = 1000000.0 }, { provider = 'p', model = 'cheap', weight = 0.000001 }]
        [[routes]]
        model = 'thrifty'
        cost_max = 0.01
        targets = [{ provider = 'p', model = 'dear', weight = 1000000.0 }, { provider = 'p', model = 'cheap', weight = 0.000001 }]
        [prices]
        dear = { input = 1000, output = 1000 }
        cheap = { input = 1, output = 1 }
    ";
    let bench = Bench::start(toml).await;
    let call = async |model: &str, cost_max: Option<&str>| {
        let mut body = chat(model, "hello");
        body["max_tokens"] = serde_json::json!(20);
        let mut request = post("/v1/chat/completions", &body);
        if let Some(cost_max) = cost_max {
            request.headers_mut().insert("x-paddock-cost-max", cost_max.parse().unwrap());
        }
        read(bench.call(request).await).await
    };
    assert_eq!(place(&call("m", None).await), "p/dear");
    assert_eq!(place(&call("m", Some("0.01")).await), "p/cheap");
    assert_eq!(place(&call("thrifty", None).await), "p/cheap");
    let refused = call("m", Some("0.0000001")).await;
    assert_eq!(refused.status, 400, "{refused:?}");
    assert!(refused.text().contains("costs as little"), "{refused:?}");
}
