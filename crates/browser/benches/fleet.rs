//! What agents wait for: a new isolated browser with a tab, and a page in it. With `json` as argument: the median of
//! the first in one line, for the lab.

#![expect(clippy::unwrap_used, reason = "a benchmark is a test in this respect")]

#[path = "../tests/support/mod.rs"]
mod support;

use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group};
use paddock_browser::{BrowserOptions, NavigateOptions, TabSpec, Wait};
use support::{TestFleet, options};

fn fleet(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let mut group = criterion.benchmark_group("browser");
    group.sample_size(30);
    for (name, warm) in [("instance_and_tab", 0), ("instance_and_tab_warm", 1)] {
        let fleet = runtime.block_on(async {
            let fleet = TestFleet::start_with(BrowserOptions { warm, ..options() }).await;
            // Keeps the process while the measured instances come and go.
            fleet.instance().await;
            fleet
        });
        group.bench_function(name, |bencher| {
            bencher.to_async(&runtime).iter_custom(async |count| {
                let mut total = Duration::ZERO;
                for _ in 0..count {
                    while fleet.fleet.ready() < warm {
                        tokio::time::sleep(Duration::from_millis(1)).await;
                    }
                    let started = Instant::now();
                    let instance = fleet.instance().await;
                    instance.open(TabSpec::default()).await.unwrap();
                    total += started.elapsed();
                    instance.close().await;
                }
                total
            });
        });
        runtime.block_on(fleet.finish());
    }

    let fleet = runtime.block_on(TestFleet::start());
    let tab = runtime.block_on(fleet.tab());
    let url = fleet.url("/");
    let options = NavigateOptions { wait: Wait::loaded(), ..NavigateOptions::default() };
    group.bench_function("navigate_small_page", |bencher| {
        bencher.to_async(&runtime).iter(|| async { tab.navigate(&url, options).await.unwrap() });
    });
    runtime.block_on(fleet.finish());
    group.finish();
}

/// Instances behind the median.
const SAMPLES: usize = 60;

#[expect(clippy::print_stdout, reason = "the figures are what it is for")]
fn print_figures() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let mut times_ms: Vec<f64> = runtime.block_on(async {
        let fleet = TestFleet::start_with(BrowserOptions { warm: 0, ..options() }).await;
        // Keeps the process while the measured instances come and go.
        fleet.instance().await;
        let mut times_ms = Vec::with_capacity(SAMPLES);
        for _ in 0..SAMPLES {
            let started = Instant::now();
            let instance = fleet.instance().await;
            instance.open(TabSpec::default()).await.unwrap();
            times_ms.push(started.elapsed().as_secs_f64() * 1000.0);
            instance.close().await;
        }
        fleet.finish().await;
        times_ms
    });
    times_ms.sort_by(f64::total_cmp);
    println!("{{\"open_tab_p50_ms\": {}}}", times_ms[SAMPLES / 2]);
}

criterion_group!(benches, fleet);

fn main() {
    if std::env::args().any(|argument| argument == "json") {
        return print_figures();
    }
    benches();
    Criterion::default().configure_from_args().final_summary();
}
