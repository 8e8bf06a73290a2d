//! How long reading a page takes: structure with styles and boxes, accessibility roles and names, vitals, in one pass
//! over a page of 200 KB and 13,600 nodes. Prints the medians of both screens in one line, for the lab.

#![expect(clippy::unwrap_used, reason = "a benchmark is a test in this respect")]
#![expect(clippy::print_stdout, reason = "the figures are what it is for")]

use std::{
    path::Path,
    time::{Duration, Instant},
};

use paddock_analysis::{Screen, facts};
use paddock_browser::{BrowserOptions, Emulation, Fleet, InstanceSpec, NavigateOptions, TabSpec};
use paddock_platform::{config::Section, identity::Tenant, task::Tasks};
use url::Url;

/// Benchmarks run in the directory of their crate.
const PAGE: &str = "../../scenarios/pages/product.html";
const SAMPLES: usize = 30;

/// The median over passes, each over a page that was just loaded.
async fn median_ms(fleet: &Fleet, screen: Screen, emulation: Emulation) -> f64 {
    let instance = fleet.create(InstanceSpec::new(Tenant::local())).await.unwrap();
    let scripts = vec![facts::vitals_script().into()];
    let tab = instance.open(TabSpec { emulation, scripts }).await.unwrap();
    facts::prepare(&tab).await.unwrap();
    let url = Url::from_file_path(Path::new(PAGE).canonicalize().unwrap()).unwrap();
    let options = NavigateOptions { allow_file: true, ..NavigateOptions::default() };
    let mut times_ms = Vec::with_capacity(SAMPLES);
    for _ in 0..SAMPLES {
        tab.navigate(&url, options).await.unwrap();
        let started = Instant::now();
        let facts = facts::collect(&tab, screen).await.unwrap();
        times_ms.push(started.elapsed().as_secs_f64() * 1000.0);
        assert!(facts.nodes > 1000, "the page was not there");
    }
    instance.close().await;
    times_ms.sort_by(f64::total_cmp);
    times_ms[SAMPLES / 2]
}

async fn print_figures() {
    let (data, tasks) = (tempfile::tempdir().unwrap(), Tasks::default());
    let options = BrowserOptions { warm: 0, ..BrowserOptions::default() };
    let fleet = Fleet::start(Section::fixed(options), data.path(), &tasks).await.unwrap();
    let desktop = median_ms(&fleet, Screen::Desktop, Emulation::desktop()).await;
    let mobile = median_ms(&fleet, Screen::Mobile, Emulation::mobile()).await;
    fleet.shutdown().await;
    let _ = tasks.stop(Duration::from_secs(5)).await;
    println!(
        "{{\"fact_pass_p50_ms\": {}, \"desktop_p50_ms\": {desktop}, \"mobile_p50_ms\": {mobile}}}",
        desktop.max(mobile)
    );
}

fn main() {
    // Test runners ask benchmarks for a list of tests: there are none.
    if std::env::args().any(|argument| argument == "--list" || argument == "--test") {
        return;
    }
    tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap().block_on(print_figures());
}
