//! How long a command takes to Chrome and back. With `json` as argument: the median in one line, for the lab.

#![expect(clippy::unwrap_used, reason = "a benchmark is a test in this respect")]

#[path = "../tests/support/mod.rs"]
mod support;

use std::time::Instant;

use criterion::{Criterion, criterion_group};
use paddock_cdp::protocol::{browser::GetVersion, runtime::Evaluate};
use support::Chromium;

const ONE: Evaluate<'static> = Evaluate {
    expression: "1+1",
    context_id: None,
    await_promise: false,
    return_by_value: true,
    user_gesture: false,
};
/// Round trips behind the median.
const SAMPLES: usize = 3000;

fn round_trip(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let (chromium, page) = runtime.block_on(async {
        let chromium = Chromium::start().await;
        let page = chromium.page("about:blank").await;
        (chromium, page)
    });
    let browser = chromium.connection.browser();
    criterion.bench_function("cdp/browser_get_version", |bencher| {
        bencher.to_async(&runtime).iter(|| async { browser.send(&GetVersion {}).await.unwrap() });
    });
    criterion.bench_function("cdp/runtime_evaluate", |bencher| {
        bencher.to_async(&runtime).iter(|| async { page.send(&ONE).await.unwrap() });
    });
    runtime.block_on(async { drop(chromium) });
}

#[expect(clippy::print_stdout, reason = "the figures are what it is for")]
fn print_figures() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let mut times_ms: Vec<f64> = runtime.block_on(async {
        let chromium = Chromium::start().await;
        let page = chromium.page("about:blank").await;
        let mut times_ms = Vec::with_capacity(SAMPLES);
        for _ in 0..SAMPLES {
            let started = Instant::now();
            page.send(&ONE).await.unwrap();
            times_ms.push(started.elapsed().as_secs_f64() * 1000.0);
        }
        times_ms
    });
    times_ms.sort_by(f64::total_cmp);
    println!("{{\"round_trip_p50_ms\": {}}}", times_ms[SAMPLES / 2]);
}

criterion_group!(benches, round_trip);

fn main() {
    if std::env::args().any(|argument| argument == "json") {
        return print_figures();
    }
    benches();
    Criterion::default().configure_from_args().final_summary();
}
