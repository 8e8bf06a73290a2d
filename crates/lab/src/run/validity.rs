//! Do the figures describe the target, or the disturbance around it?

use std::time::Duration;

use crate::{
    engine::{Load, Pattern},
    pacer::PacerReport,
    record::{Interval, Pressure, RunRecord},
    threshold::Op,
};

/// Share of time in which some task waited for a CPU, before the run, from which the machine counts as busy.
const BUSY_BEFORE_RATIO: f64 = 0.20;
/// CPU time used by others, before and on average during the run, from which it counts as disturbed.
const FOREIGN_RATIO: f64 = 0.15;
/// CPU time used by others in one second, from which that second counts as disturbed.
const FOREIGN_SECOND_RATIO: f64 = 0.30;
/// CPU time given to others by the hypervisor.
const STEAL_RATIO: f64 = 0.05;
/// Disturbed seconds of a run.
const DISTURBED_SECONDS_RATIO: f64 = 0.20;
/// The generator's lag may be this share of the tightest bound on a latency.
const LAG_RATIO: f64 = 0.10;
/// Where no latency is bounded, it may be this share of the latency that was measured: beyond, that is mostly lag.
const LAG_OF_LATENCY_RATIO: f64 = 0.50;
/// Lag that disturbs nothing where no latency is bounded.
const LAG_MIN_MS: f64 = 1.0;
/// Share of the offered operations that has to be carried out within the schedule.
const ACHIEVED_RATIO: f64 = 0.98;
/// A target that uses less than this of one core on average is not at its limit.
const IDLE_CORES: f64 = 0.5;
/// Operations that waited for a seat, from which a thread that never sleeps counts as what they waited for.
const WAITED_RATIO: f64 = 0.02;
/// Share of the machine's cores that target and generator use together, from which the machine is the limit.
const MACHINE_FULL_RATIO: f64 = 0.90;
const MICROS_PER_MILLI: f64 = 1_000.0;

/// A thread of the generator that sleeps less than the rest of this share is its bottleneck.
const EXHAUSTED_RATIO: f64 = 0.95;

/// What the generator measured of itself.
#[derive(Clone, Debug, Default)]
pub(super) struct Generator {
    pub(super) pacer: PacerReport,
    /// Operations that waited for a seat.
    pub(super) waited: u64,
    /// Share of the run in which its busiest thread did not sleep.
    pub(super) busy_ratio: f64,
}

/// Puts what the machine did into the seconds in which it did it.
pub(super) fn mark_intervals(intervals: &mut [Interval], samples: &[(f64, Pressure)]) {
    for interval in intervals {
        // A sample tells of the time until it was taken: those within the interval, or the first after it.
        let after: Vec<&(f64, Pressure)> = samples.iter().filter(|(at_s, _)| *at_s > interval.at_s).collect();
        let end_s = interval.at_s + interval.length_s;
        let within = after.iter().take_while(|(at_s, _)| *at_s <= end_s).count().max(1);
        let Some(within) = after.get(..within) else { continue };
        let mean = |of: fn(&Pressure) -> f64| {
            within.iter().map(|(_, pressure)| of(pressure)).sum::<f64>() / within.len() as f64
        };
        interval.pressure = Pressure {
            cpu_ratio: mean(|pressure| pressure.cpu_ratio),
            memory_ratio: mean(|pressure| pressure.memory_ratio),
            io_ratio: mean(|pressure| pressure.io_ratio),
            steal_ratio: mean(|pressure| pressure.steal_ratio),
            foreign_cpu_ratio: mean(|pressure| pressure.foreign_cpu_ratio),
        };
        interval.contamination = disturbance(&interval.pressure);
    }
}

fn disturbance(pressure: &Pressure) -> Option<String> {
    if pressure.foreign_cpu_ratio > FOREIGN_SECOND_RATIO {
        return Some(format!("other processes used {:.0} % of the CPUs", pressure.foreign_cpu_ratio * 100.0));
    }
    (pressure.steal_ratio > STEAL_RATIO)
        .then(|| format!("the hypervisor took {:.0} % of the CPUs", pressure.steal_ratio * 100.0))
}

/// Why the figures cannot be believed, each with its number.
pub(super) fn reasons(record: &RunRecord, generator: &Generator, load: Option<&Load>) -> Vec<String> {
    let mut reasons = Vec::new();
    let before = &record.environment.pressure;
    if before.cpu_ratio > BUSY_BEFORE_RATIO {
        reasons.push(format!(
            "the machine was busy before the run: tasks waited for a CPU {:.0} % of the time, at most {:.0} % is quiet",
            before.cpu_ratio * 100.0,
            BUSY_BEFORE_RATIO * 100.0
        ));
    }
    if before.foreign_cpu_ratio > FOREIGN_RATIO {
        reasons.push(format!(
            "other processes used {:.0} % of the CPUs before the run, at most {:.0} % is quiet",
            before.foreign_cpu_ratio * 100.0,
            FOREIGN_RATIO * 100.0
        ));
    }
    if before.steal_ratio > STEAL_RATIO {
        reasons.push(format!(
            "the hypervisor took {:.0} % of the CPUs before the run",
            before.steal_ratio * 100.0
        ));
    }
    reasons.extend(disturbed_seconds(&record.intervals));
    reasons.extend(generator_lag(record, &generator.pacer));
    match load.map(|load| &load.pattern) {
        Some(Pattern::Open(schedule)) => {
            reasons.extend(missed_rate(record, schedule.duration()));
            reasons.extend(outrun_generator(record, generator));
        }
        Some(Pattern::Closed { .. }) => reasons.extend(exhausted_generator(record, generator)),
        None => {}
    }
    reasons
}

fn disturbed_seconds(intervals: &[Interval]) -> Vec<String> {
    let mut reasons = Vec::new();
    let count = intervals.len().max(1) as f64;
    let disturbed = intervals.iter().filter(|interval| interval.contamination.is_some()).count();
    if disturbed as f64 / count > DISTURBED_SECONDS_RATIO {
        let example =
            intervals.iter().find_map(|interval| interval.contamination.as_deref()).unwrap_or_default();
        reasons.push(format!(
            "{disturbed} of {} seconds were disturbed, for example: {example}",
            intervals.len()
        ));
    }
    let mean = intervals.iter().map(|interval| interval.pressure.foreign_cpu_ratio).sum::<f64>() / count;
    if mean > FOREIGN_RATIO {
        reasons.push(format!(
            "other processes used {:.0} % of the CPUs during the run, at most {:.0} % is quiet",
            mean * 100.0,
            FOREIGN_RATIO * 100.0
        ));
    }
    reasons
}

/// The tightest upper bound on a latency in the scenario's thresholds, in milliseconds.
fn tightest_latency_ms(record: &RunRecord) -> Option<f64> {
    record
        .thresholds
        .iter()
        .filter(|threshold| matches!(threshold.op, Op::Less | Op::AtMost))
        .filter(|threshold| threshold.metric.contains("latency") && threshold.metric.ends_with("_ms"))
        .map(|threshold| threshold.target)
        .min_by(f64::total_cmp)
}

fn generator_lag(record: &RunRecord, pacer: &PacerReport) -> Option<String> {
    let sent_us = record.steps.iter().map(|step| step.lag.p99_us).fold(0.0, f64::max);
    let lag_ms = sent_us.max(pacer.lag.quantile_us(0.99)) / MICROS_PER_MILLI;
    let late = format!("the generator itself was late by {lag_ms:.2} ms (p99), more than");
    if let Some(bound_ms) = tightest_latency_ms(record) {
        let percent = LAG_RATIO * 100.0;
        return (lag_ms > bound_ms * LAG_RATIO)
            .then(|| format!("{late} {percent:.0} % of the tightest bound of {bound_ms} ms"));
    }
    let latency_ms =
        record.steps.iter().map(|step| step.latency.p99_us).fold(0.0, f64::max) / MICROS_PER_MILLI;
    let percent = LAG_OF_LATENCY_RATIO * 100.0;
    (lag_ms > LAG_MIN_MS && lag_ms > latency_ms * LAG_OF_LATENCY_RATIO)
        .then(|| format!("{late} {percent:.0} % of the latency of {latency_ms:.2} ms that was measured"))
}

/// The rate was not reached, and it was not for want of the target's CPU. Operations that were in flight when the schedule
/// ended had no time to end within it: as many as come due in the time that the slowest of a hundred takes.
fn missed_rate(record: &RunRecord, schedule: Duration) -> Option<String> {
    let (offered, ..) = record.totals();
    let schedule_s = schedule.as_secs_f64();
    if offered == 0 || record.partial.is_some() || schedule_s <= 0.0 {
        return None;
    }
    let cores = record.metrics.get("cpu_cores").copied()?;
    let in_time: u64 = record
        .intervals
        .iter()
        .filter(|interval| interval.at_s < schedule_s)
        .map(|interval| interval.completed)
        .sum();
    let service_s = record.steps.iter().map(|step| step.service.p99_us).fold(0.0, f64::max) / 1e6;
    let in_flight = offered as f64 / schedule_s * service_s;
    let achieved = (in_time as f64 + in_flight) / offered as f64;
    (achieved < ACHIEVED_RATIO && cores < IDLE_CORES).then(|| {
        format!(
            "only {:.1} % of the operations were carried out within the schedule although the target used {cores:.2} cores; \
             use a larger `in_flight_max` or more `workers`",
            achieved * 100.0
        )
    })
}

/// Users have no rate to miss, but one thread of the generator worked all the time while cores had nothing to do: it is the
/// generator's rate that was measured.
fn exhausted_generator(record: &RunRecord, generator: &Generator) -> Option<String> {
    let cores = |name: &str| record.metrics.get(name).copied().unwrap_or_default();
    let used = cores("cpu_cores") + cores("lab_cpu_cores");
    let available = f64::from(record.environment.cpu.logical);
    (generator.busy_ratio > EXHAUSTED_RATIO && used < available * MACHINE_FULL_RATIO).then(|| {
        format!(
            "the generator was at its own limit: its busiest thread worked {:.0} % of the time while only {used:.1} of \
             {available} cores were used; use more `workers`",
            generator.busy_ratio * 100.0
        )
    })
}

/// Operations waited for a seat, but it was the generator that did not get round to them.
fn outrun_generator(record: &RunRecord, generator: &Generator) -> Option<String> {
    let (offered, ..) = record.totals();
    let waited = generator.waited as f64 / offered.max(1) as f64;
    (generator.busy_ratio > EXHAUSTED_RATIO && waited > WAITED_RATIO).then(|| {
        format!(
            "the generator was at its own limit: its busiest thread worked {:.0} % of the time, and {:.0} % of the \
             operations waited; use more `workers` or a lower rate",
            generator.busy_ratio * 100.0,
            waited * 100.0
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{schedule::Schedule, synthetic::ServerRun, threshold::Threshold};

    fn run() -> RunRecord {
        let mut run = ServerRun { seconds: 10, rate_per_s: 100.0, ..ServerRun::default() }.record();
        run.metrics.insert("cpu_cores".to_owned(), 0.2);
        run.metrics.insert("lab_cpu_cores".to_owned(), 1.0);
        run.environment.cpu.logical = 4;
        run.environment.pressure = Pressure::default();
        run
    }

    fn open() -> Load {
        Load::new(Pattern::Open(Schedule::constant(100.0, Duration::from_secs(10)).unwrap()), Vec::new())
    }

    fn closed() -> Load {
        let duration = Some(Duration::from_secs(10));
        let pattern = Pattern::Closed { users: 4, think_time: Duration::ZERO, duration, iterations: None };
        Load::new(pattern, Vec::new())
    }

    fn bounded(run: &mut RunRecord, target: f64) {
        run.thresholds.push(Threshold {
            metric: "latency_p99_ms".to_owned(),
            op: Op::AtMost,
            target,
            acceptable: None,
            critical: None,
            regress_pct: None,
            action: "look".to_owned(),
        });
    }

    /// Half of the operations of every second are carried out only after the schedule.
    fn late(run: &mut RunRecord) {
        run.intervals.iter_mut().for_each(|interval| interval.completed /= 2);
        run.intervals.push(Interval { at_s: 10.0, completed: 500, ..Interval::default() });
    }

    type Change = fn(&mut RunRecord, &mut Generator);
    /// Its name, the load, what is different from a good run, and a piece of the reason that must be given.
    type Case = (&'static str, fn() -> Load, Change, Option<&'static str>);

    #[test]
    fn each_reason_is_given_when_it_holds_and_only_then() {
        let cases: [Case; 14] = [
            ("nothing", open, |_, _| {}, None),
            ("nothing, users", closed, |_, _| {}, None),
            ("busy", open, |run, _| run.environment.pressure.cpu_ratio = 0.3, Some("busy before the run")),
            (
                "others",
                closed,
                |run, _| run.environment.pressure.foreign_cpu_ratio = 0.2,
                Some("other processes"),
            ),
            (
                "stolen",
                open,
                |run, _| run.environment.pressure.steal_ratio = 0.1,
                Some("hypervisor took 10 %"),
            ),
            ("rate missed, target idle", open, |run, _| late(run), Some("within the schedule")),
            (
                "rate missed, target at work",
                open,
                |run, _| {
                    late(run);
                    run.metrics.insert("cpu_cores".to_owned(), 1.5);
                },
                None,
            ),
            (
                "in flight at the end",
                open,
                |run, _| {
                    late(run);
                    run.steps[0].service.p99_us = 6e6;
                },
                None,
            ),
            (
                "lag against a bound",
                open,
                |run, generator| {
                    bounded(run, 5.0);
                    (0..100).for_each(|_| generator.pacer.lag.record_ns(600_000));
                },
                Some("tightest bound of 5 ms"),
            ),
            (
                "lag of users against a bound",
                closed,
                |run, _| {
                    bounded(run, 5.0);
                    run.steps[0].lag.p99_us = 600.0;
                },
                Some("tightest bound of 5 ms"),
            ),
            (
                "lag without a bound",
                open,
                |run, _| {
                    run.steps[0].latency.p99_us = 3_000.0;
                    run.steps[0].lag.p99_us = 2_000.0;
                },
                Some("of the latency of 3.00 ms"),
            ),
            ("little lag without a bound", open, |run, _| run.steps[0].lag.p99_us = 900.0, None),
            (
                "users, generator at its limit",
                closed,
                |_, generator| generator.busy_ratio = 0.99,
                Some("1.2 of 4 cores"),
            ),
            (
                "users, machine at its limit",
                closed,
                |run, generator| {
                    generator.busy_ratio = 0.99;
                    run.environment.cpu.logical = 1;
                },
                None,
            ),
        ];
        for (name, load, change, expected) in cases {
            let (mut run, mut generator) = (run(), Generator::default());
            change(&mut run, &mut generator);
            let reasons = reasons(&run, &generator, Some(&load()));
            match expected {
                None => assert!(reasons.is_empty(), "{name}: {reasons:?}"),
                Some(text) => {
                    assert!(reasons.len() == 1 && reasons[0].contains(text), "{name}: {reasons:?}");
                }
            }
        }
    }

    #[test]
    fn operations_that_waited_for_a_generator_without_pause_make_the_run_invalid() {
        let generator = Generator { waited: 500, busy_ratio: 0.99, ..Generator::default() };
        let reasons = reasons(&run(), &generator, Some(&open()));
        assert!(reasons[0].contains("50 % of the operations waited"), "{reasons:?}");
    }

    fn interval(at_s: f64) -> Interval {
        Interval { at_s, ..Interval::default() }
    }

    #[test]
    fn a_second_in_which_others_were_busy_is_marked_with_the_share() {
        let mut intervals = [interval(0.0), interval(1.0), interval(2.0)];
        let quiet = Pressure::default();
        let busy = Pressure { foreign_cpu_ratio: 0.5, ..quiet };
        let stolen = Pressure { steal_ratio: 0.1, ..quiet };
        mark_intervals(&mut intervals, &[(1.0, quiet), (2.0, busy), (3.0, stolen)]);
        assert_eq!(intervals[0].contamination, None);
        assert_eq!(intervals[1].contamination.as_deref(), Some("other processes used 50 % of the CPUs"));
        assert_eq!(intervals[2].contamination.as_deref(), Some("the hypervisor took 10 % of the CPUs"));
        let reasons = disturbed_seconds(&intervals);
        assert!(reasons[0].starts_with("2 of 3 seconds were disturbed"), "{reasons:?}");
        assert!(disturbed_seconds(&[interval(0.0)]).is_empty());
    }
}
