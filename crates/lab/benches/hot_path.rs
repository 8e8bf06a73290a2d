//! What happens once per operation: computing when it is due, recording its times, filling in its variables.
//!
//! `cargo bench --workspace --bench hot_path`

use std::{hint::black_box, sync::Arc, time::Duration};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use paddock_lab::{
    driver::in_process::InProcess,
    engine::{Load, Pattern, Step, generate},
    histogram::Histogram,
    schedule::Schedule,
    variables::{Source, Template, Variables},
};
use tokio_util::sync::CancellationToken;

const ARRIVALS: u64 = 10_000;
const OPERATIONS: u64 = 200_000;

fn schedules(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("schedule");
    group.throughput(Throughput::Elements(ARRIVALS));
    let second = Duration::from_secs(1);
    let rate_per_s = ARRIVALS as f64;
    for (name, schedule) in [
        ("constant", Schedule::constant(rate_per_s, second)),
        ("ramp", Schedule::ramp(0.0, 2.0 * rate_per_s, second)),
        ("poisson", Schedule::poisson(rate_per_s, second)),
    ] {
        let Ok(schedule) = schedule else { continue };
        group.bench_function(name, |bencher| {
            bencher.iter(|| schedule.arrivals(1).map(|due| due.as_nanos()).fold(0, u128::wrapping_add));
        });
    }
    group.finish();
}

fn histogram(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("histogram");
    group.throughput(Throughput::Elements(1));
    let mut histogram = Histogram::default();
    let mut value_ns = 1_u64;
    group.bench_function("record", |bencher| {
        bencher.iter(|| {
            value_ns = value_ns.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            histogram.record_ns(black_box(value_ns >> 40));
        });
    });
    let other = histogram.clone();
    group.bench_function("merge", |bencher| bencher.iter(|| histogram.merge(black_box(&other))));
    group.finish();
}

fn template(criterion: &mut Criterion) {
    let mut variables = Variables::new(1);
    variables.fix("base", "http://127.0.0.1:8080");
    variables.insert("id", Source::Random { min: 1, max: 1_000_000 });
    let template: Result<Template, _> = "${base}/items/${id}?page=1".parse();
    let Ok(template) = template else { return };
    let mut index = 0;
    criterion.bench_function("template/render", |bencher| {
        bencher.iter(|| {
            index += 1;
            template.render(&variables, black_box(index))
        });
    });
}

fn engine(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("engine");
    group.throughput(Throughput::Elements(OPERATIONS)).sample_size(10);
    group.bench_function("in_process", |bencher| {
        bencher.iter(|| {
            let step = Step {
                name: "nothing".to_owned(),
                driver_name: "in_process",
                weight: 1,
                timeout: Duration::from_secs(1),
                checks: Vec::new(),
                driver: Arc::new(InProcess::new(|index| {
                    black_box(index);
                    Ok(())
                })),
            };
            let pattern = Pattern::Closed {
                users: 2,
                think_time: Duration::ZERO,
                duration: None,
                iterations: Some(OPERATIONS),
            };
            generate(Load::new(pattern, vec![step]), &mut (), &CancellationToken::new())
        });
    });
    group.finish();
}

criterion_group!(hot_path, schedules, histogram, template, engine);
criterion_main!(hot_path);
