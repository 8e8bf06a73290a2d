//! What a route decision costs: from a model's name to a credential that has a place. `cargo bench --bench route`; with
//! `-- json` the median of the dearest case in one line, for the lab.

#![expect(clippy::unwrap_used, reason = "a benchmark is a test in this respect")]
#![expect(clippy::print_stdout, reason = "the figures are what it is for")]

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use bytes::Bytes;
use criterion::Criterion;
use paddock_llm::{LlmOptions, internals::Decider};
use paddock_platform::identity::Caller;
use serde_json::json;

/// As in the binary: allocation is a large part of what is measured.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const STRATEGIES: [&str; 6] = ["weighted", "cheapest", "fastest", "least-busy", "hybrid", "sticky"];
/// Decisions of one measurement, and measurements whose median is told.
const DECISIONS: u32 = 2_000;
const ROUNDS: usize = 101;

/// Four providers with three credentials each, fifty routes before the one that is asked for, and rules.
fn options(strategy: &str) -> LlmOptions {
    let providers = (0..4).map(|number| {
        format!(
            "[[providers]]\nname = 'p{number}'\nurl = 'sim:'
             credentials = [{{ name = 'a', weight = 2 }}, {{ name = 'b', rpm = 1000000 }}, {{ name = 'c', tpm = 1000000000 }}]\n"
        )
    });
    let others = (0..50)
        .map(|number| format!("[[routes]]\nmodel = 'other-{number}'\ntargets = [{{ provider = 'p0' }}]\n"));
    let asked = format!(
        "[[routes]]\nmodel = 'fast'\nwhen = {{ tags = ['nightly'], class = 'batch' }}\ntargets = [{{ provider = 'p0' }}]
         [[routes]]\nmodel = 'fast'\nstrategy = '{strategy}'\nfallbacks = ['other-1', 'other-2']
         targets = [{{ provider = 'p0', weight = 3 }}, {{ provider = 'p1' }}, {{ provider = 'p2' }}, {{ provider = 'p3' }}]
         [prices]\nfast = {{ input = 1, output = 2, window = 200000 }}\n"
    );
    let text: String = providers.chain(others).chain([asked]).collect();
    toml::from_str(&text).unwrap()
}

fn request() -> Bytes {
    let turns: Vec<_> = (0..10)
        .map(|turn| json!({"role": "user", "content": format!("turn {turn} about kettles")}))
        .collect();
    Bytes::from(
        json!({"model": "fast", "messages": turns, "temperature": 0.2, "max_tokens": 200}).to_string(),
    )
}

/// The median time of a decision.
fn median(decider: &Decider) -> Duration {
    let mut rounds: Vec<Duration> = (0..ROUNDS)
        .map(|_| {
            let started = Instant::now();
            for _ in 0..DECISIONS {
                black_box(decider.decide());
            }
            started.elapsed() / DECISIONS
        })
        .collect();
    rounds.sort_unstable();
    rounds[ROUNDS / 2]
}

fn main() {
    // Test runners ask benchmarks for a list of tests: there are none.
    if std::env::args().any(|argument| argument == "--list" || argument == "--test") {
        return;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let _entered = runtime.enter();
    let caller = Caller::local();
    let deciders: Vec<(&str, Decider)> = STRATEGIES
        .into_iter()
        .map(|strategy| (strategy, Decider::new(options(strategy), &caller, request())))
        .collect();
    assert!(deciders.iter().all(|(_, decider)| decider.decide()), "each finds a place");
    if std::env::args().any(|argument| argument == "json") {
        let dearest = deciders.iter().map(|(_, decider)| median(decider)).max().unwrap_or_default();
        println!("{}", json!({"route_decision_us": dearest.as_secs_f64() * 1e6}));
        return;
    }
    let mut criterion = Criterion::default().configure_from_args();
    for (strategy, decider) in &deciders {
        criterion.bench_function(&format!("decide, {strategy}"), |bencher| {
            bencher.iter(|| black_box(decider.decide()));
        });
    }
    let body = request();
    criterion.bench_function("read the facts of a request", |bencher| {
        bencher.iter(|| black_box(deciders[0].1.read(&caller, &body)));
    });
    criterion.final_summary();
}
