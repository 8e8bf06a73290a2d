//! Instructions of what the generator does for every operation, counted under valgrind: computing when it is due,
//! filling in its variables, recording its times.
//!
//! `scripts/instructions.sh` counts them together with those of the other crates.

#![expect(missing_docs, reason = "what the macros make is public and has none")]

use std::{hint::black_box, time::Duration};

use gungraun::{library_benchmark, library_benchmark_group, main};
use paddock_lab::{
    histogram::Histogram,
    schedule::Schedule,
    variables::{Source, Template, Variables},
};

const OPERATIONS: u64 = 1_000;

type Make = fn(f64, Duration) -> Option<Schedule>;

fn a_second(make: Make) -> Option<Schedule> {
    make(OPERATIONS as f64, Duration::from_secs(1))
}

#[library_benchmark(setup = a_second)]
#[bench::constant(|rate_per_s, second| Schedule::constant(rate_per_s, second).ok())]
#[bench::poisson(|rate_per_s, second| Schedule::poisson(rate_per_s, second).ok())]
fn arrivals(schedule: Option<Schedule>) -> u128 {
    let due = schedule.iter().flat_map(|schedule| schedule.arrivals(1));
    due.map(|due| due.as_nanos()).fold(0, u128::wrapping_add)
}

/// A page of it is touched, as in a run that has been going on.
fn histogram(values: u64) -> Histogram {
    let mut histogram = Histogram::default();
    (0..values).for_each(|value| histogram.record_ns(value * 1_000_003));
    histogram
}

#[library_benchmark(setup = histogram)]
#[bench::thousand(OPERATIONS)]
fn record(mut histogram: Histogram) -> Histogram {
    for value in 0..OPERATIONS {
        histogram.record_ns(black_box(value * 1_000_003));
    }
    histogram
}

fn two_histograms(values: u64) -> (Histogram, Histogram) {
    (histogram(values), histogram(values))
}

#[library_benchmark(setup = two_histograms)]
#[bench::thousand(OPERATIONS)]
fn merge((mut histogram, other): (Histogram, Histogram)) -> Histogram {
    histogram.merge(black_box(&other));
    histogram
}

fn address(text: &str) -> (Option<Template>, Variables) {
    let mut variables = Variables::new(1);
    variables.fix("base", "http://127.0.0.1:8080");
    variables.insert("id", Source::Random { min: 1, max: 1_000_000 });
    (text.parse().ok(), variables)
}

#[library_benchmark(setup = address)]
#[bench::address("${base}/items/${id}?page=1")]
fn template((template, variables): (Option<Template>, Variables)) -> usize {
    let rendered = template.iter().filter_map(|template| template.render(black_box(&variables), 7).ok());
    rendered.map(|text| text.len()).sum()
}

library_benchmark_group!(name = operation, benchmarks = [arrivals, record, merge, template]);
main!(library_benchmark_groups = operation);
