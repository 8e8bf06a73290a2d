//! Histogram, analysis, pacer and in-process rate.

use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::{Case, build_note, millis};
use crate::{
    driver::in_process::InProcess,
    engine::{Load, Measured, Pattern, Step, generate},
    histogram::Histogram,
    quantity::{Unit, number},
    resources::process,
    schedule::Schedule,
    statistics::{Percentiles, Random, median},
    verdict::Level,
};

/// Largest error of a percentile that three significant digits allow.
const HISTOGRAM_ERROR_MAX: f64 = 0.001;
/// How long ten million samples may take.
const ANALYSIS_MAX: Duration = Duration::from_secs(2);
/// Operations per second that must be possible without a target.
const IN_PROCESS_PER_S_MIN: f64 = 2e6;
/// Operations per second that are offered to find out: somewhat more. An unoptimised build gets a tenth.
const IN_PROCESS_OFFERED_PER_S: f64 = if cfg!(debug_assertions) { 2.5e5 } else { 2.5e6 };
/// Growth of the generator's memory over a run that counts as none.
const GROWTH_MAX_MIB: f64 = 2.0;
/// Operations per second, and length, of the run over which its memory is watched.
const WATCHED_RATE_PER_S: f64 = if cfg!(debug_assertions) { 2e3 } else { 2e4 };
const WATCHED: Duration = Duration::from_secs(6);
const WATCH_EVERY: Duration = Duration::from_millis(100);
/// An unoptimised build gets a tenth of the work.
const SAMPLES: usize = if cfg!(debug_assertions) { 1_000_000 } else { 10_000_000 };

/// Percentiles against sorting, and merging against counting together.
pub(super) fn histogram() -> Case {
    const VALUES: usize = 200_000;
    let mut random = Random::seeded(1);
    // Spread over seven powers of ten, as latencies with a frozen target are.
    let mut values: Vec<u64> =
        (0..VALUES).map(|_| 10_f64.powf(3.0 + 7.0 * random.uniform()) as u64).collect();
    let mut whole = Histogram::default();
    let mut parts: Vec<Histogram> = vec![Histogram::default(); 8];
    for (index, value) in values.iter().enumerate() {
        whole.record_ns(*value);
        parts[index % 8].record_ns(*value);
    }
    let mut merged = Histogram::default();
    for part in &parts {
        merged.merge(part);
    }
    values.sort_unstable();
    let error = [0.5, 0.9, 0.95, 0.99, 0.999, 1.0].map(|quantile: f64| {
        let rank = ((quantile * VALUES as f64).ceil() as usize).clamp(1, VALUES) - 1;
        let exact = values[rank] as f64;
        (whole.quantile_ns(quantile) as f64 - exact).abs() / exact
    });
    let error = error.into_iter().fold(0.0, f64::max);
    let same = |quantile: f64| merged.quantile_ns(quantile) == whole.quantile_ns(quantile);
    let lossless =
        merged.count() == whole.count() && (0..=10_000).all(|step| same(f64::from(step) / 10_000.0));
    let level = if error <= HISTOGRAM_ERROR_MAX && lossless { Level::Pass } else { Level::Fail };
    Case::new("histogram", level)
        .figure("largest error of a percentile", format!("{} %", number(error * 100.0)))
        .figure("merging 8 parts", if lossless { "lossless" } else { "loses values" })
}

/// Ten million samples: counted into a histogram, and their percentiles selected.
pub(super) fn analysis() -> Case {
    let mut random = Random::seeded(2);
    let mut samples: Vec<f64> = (0..SAMPLES).map(|_| 1_000.0 + 1e6 * random.uniform()).collect();
    let started = Instant::now();
    let mut histogram = Histogram::default();
    for sample in &samples {
        histogram.record_ns(*sample as u64);
    }
    let percentiles = Percentiles::of(&mut samples);
    let took = started.elapsed();
    let apart = (histogram.quantile_ns(0.99) as f64 - percentiles.p99).abs() / percentiles.p99;
    let level = match () {
        () if apart > 2.0 * HISTOGRAM_ERROR_MAX => Level::Fail,
        () if took > ANALYSIS_MAX && !cfg!(debug_assertions) => Level::Warn,
        () => Level::Pass,
    };
    build_note(
        Case::new("analysis", level)
            .figure(&format!("{} samples", number(SAMPLES as f64)), millis(took))
            .metric("analysis_10m_s", took.as_secs_f64()),
    )
}

/// How late the pacer releases operations that take no time.
pub(super) fn pacer(rate_per_s: f64, lag_p99_ms_max: f64) -> Case {
    let name = format!("pacer at {} /s", number(rate_per_s));
    let seconds = Duration::from_secs(2);
    let Ok(schedule) = Schedule::constant(rate_per_s, seconds) else {
        return Case::impossible(&name, "the schedule is refused");
    };
    let expected = schedule.expected().round() as u64;
    let measured = match offer(Pattern::Open(schedule)) {
        Ok(measured) => measured,
        Err(error) => return Case::impossible(&name, error),
    };
    let lag = &measured.pacer.lag;
    let lag_p99_ms = lag.quantile_us(0.99) / 1e3;
    let level = match () {
        () if measured.pacer.offered != expected => Level::Fail,
        () if lag_p99_ms > lag_p99_ms_max => Level::Warn,
        () => Level::Pass,
    };
    let case = Case::new(&name, level)
        .figure(
            "offered",
            format!("{} of {}", number(measured.pacer.offered as f64), number(expected as f64)),
        )
        .figure("lag p50", Unit::Millis.format(lag.quantile_us(0.5) / 1e3))
        .figure("lag p99", format!("{} (promised {lag_p99_ms_max} ms)", Unit::Millis.format(lag_p99_ms)))
        .metric(&format!("pacer_{}k_lag_p99_ms", number(rate_per_s / 1e3)), lag_p99_ms);
    if level == Level::Warn {
        case.note("late: another process may have had the CPU")
    } else {
        build_note(case)
    }
}

/// How many operations without a target the generator can offer on a schedule, the pacer included, and how many users
/// that never think carry out.
pub(super) fn in_process() -> Case {
    const NAME: &str = "in-process rate";
    let second = Duration::from_secs(1);
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get);
    let Ok(schedule) = Schedule::constant(IN_PROCESS_OFFERED_PER_S, second) else {
        return Case::impossible(NAME, "the schedule is refused");
    };
    let users = Pattern::Closed {
        users: cores,
        think_time: Duration::ZERO,
        duration: Some(second),
        iterations: None,
    };
    let (open, closed) = match (offer(Pattern::Open(schedule)), offer(users)) {
        (Ok(open), Ok(closed)) => (open, closed),
        (Err(error), _) | (_, Err(error)) => return Case::impossible(NAME, error),
    };
    // Until the last operation ended: what is offered faster than it is carried out takes longer than the schedule.
    let rate = |measured: &Measured| {
        let completed: u64 = measured.steps.iter().map(|step| step.completed).sum();
        completed as f64 / measured.duration_s.max(1e-9)
    };
    let slow = rate(&open) < IN_PROCESS_PER_S_MIN && !cfg!(debug_assertions);
    let level = match () {
        () if open.partial.is_some() => Level::Fail,
        () if slow => Level::Warn,
        () => Level::Pass,
    };
    build_note(
        Case::new(NAME, level)
            .figure(
                &format!("open loop, {} offered", Unit::PerSecond.format(IN_PROCESS_OFFERED_PER_S)),
                Unit::PerSecond.format(rate(&open)),
            )
            .figure("closed loop", Unit::PerSecond.format(rate(&closed)))
            .metric("in_process_per_s", rate(&open)),
    )
}

/// Whether the generator's memory stays the same while it offers a load.
pub(super) fn memory() -> Case {
    const NAME: &str = "generator memory";
    let Ok(schedule) = Schedule::constant(WATCHED_RATE_PER_S, WATCHED) else {
        return Case::impossible(NAME, "the schedule is refused");
    };
    let own = i32::try_from(std::process::id()).unwrap_or_default();
    let (measured, samples_mib) = std::thread::scope(|scope| {
        let offering = scope.spawn(|| offer(Pattern::Open(schedule)));
        let mut samples_mib = Vec::new();
        while !offering.is_finished() {
            // Private pages: what other processes share with this one comes and goes with them.
            samples_mib.extend(process::memory(own).map(|memory| memory.uss_mib));
            std::thread::sleep(WATCH_EVERY);
        }
        (offering.join(), samples_mib)
    });
    match measured {
        Ok(Ok(measured)) if measured.partial.is_none() => {}
        Ok(Err(error)) => return Case::impossible(NAME, error),
        _ => return Case::impossible(NAME, "the load was not offered to its end"),
    }
    // The first quarter fills buffers; the second is compared with the last.
    let quarter = samples_mib.len() / 4;
    let of = |from: usize| samples_mib.get(from..from + quarter).and_then(median);
    let (Some(before), Some(after)) = (of(quarter), of(samples_mib.len() - quarter)) else {
        return Case::impossible(NAME, "the kernel does not say how much memory this process has");
    };
    let growth_mib = (after - before).max(0.0);
    let level = if growth_mib <= GROWTH_MAX_MIB { Level::Pass } else { Level::Fail };
    Case::new(NAME, level)
        .figure("after a quarter", Unit::Mebibytes.format(before))
        .figure("at the end", Unit::Mebibytes.format(after))
        .metric("generator_growth_mib", growth_mib)
        .note(format!(
            "private memory over {} s of {}",
            WATCHED.as_secs(),
            Unit::PerSecond.format(WATCHED_RATE_PER_S)
        ))
}

fn offer(pattern: Pattern) -> Result<Measured, crate::engine::LoadError> {
    let is_closed = matches!(pattern, Pattern::Closed { .. });
    let step = Step {
        name: "nothing".to_owned(),
        driver_name: "in_process",
        weight: 1,
        timeout: Duration::from_secs(5),
        checks: Vec::new(),
        driver: std::sync::Arc::new(InProcess::new(|_| Ok(()))),
    };
    let mut load = Load::new(pattern, vec![step]);
    if is_closed {
        load.workers = load.seats();
    }
    generate(load, &mut (), &CancellationToken::new())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_histogram_is_exact_within_its_digits() {
        assert_eq!(histogram().level, Level::Pass, "{:?}", histogram());
    }

    #[test]
    fn the_open_loop_offers_what_is_counted() {
        let case = in_process();
        assert_eq!(case.level, Level::Pass, "{case:?}");
        assert!(
            case.figures[0].0.starts_with("open loop") && case.metrics["in_process_per_s"] > 0.0,
            "{case:?}"
        );
    }

    #[test]
    fn the_memory_of_the_generator_is_watched_over_a_whole_run() {
        // In a process of its own: other tests of this binary would be measured too.
        let case = memory();
        assert_ne!(case.level, Level::Invalid, "{case:?}");
        assert!(case.metrics["generator_growth_mib"] >= 0.0);
    }

    #[test]
    fn the_pacer_offers_everything() {
        let case = pacer(2_000.0, 0.2);
        assert_ne!(case.level, Level::Fail, "{case:?}");
        assert_eq!(case.figures[0].1, "4,000 of 4,000");
    }
}
