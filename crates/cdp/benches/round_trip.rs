//! How long a command takes to Chrome and back.

#![expect(clippy::unwrap_used, reason = "a benchmark is a test in this respect")]

#[path = "../tests/support/mod.rs"]
mod support;

use criterion::{Criterion, criterion_group, criterion_main};
use paddock_cdp::protocol::{browser::GetVersion, runtime::Evaluate};
use support::Chromium;

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
    let one = Evaluate {
        expression: "1+1",
        context_id: None,
        await_promise: false,
        return_by_value: true,
        user_gesture: false,
    };
    criterion.bench_function("cdp/runtime_evaluate", |bencher| {
        bencher.to_async(&runtime).iter(|| async { page.send(&one).await.unwrap() });
    });
    runtime.block_on(async { drop(chromium) });
}

criterion_group!(benches, round_trip);
criterion_main!(benches);
