//! What agents wait for: a new isolated browser with a tab, and a page in it.

#![expect(clippy::unwrap_used, reason = "a benchmark is a test in this respect")]

#[path = "../tests/support/mod.rs"]
mod support;

use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
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

criterion_group!(benches, fleet);
criterion_main!(benches);
