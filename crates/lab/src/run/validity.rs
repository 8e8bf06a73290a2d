//! Do the figures describe the target, or the disturbance around it?

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
/// Share of the offered operations that has to be carried out.
const ACHIEVED_RATIO: f64 = 0.98;
/// As long as at most this share of the operations waited for a seat, the target was not at its limit.
const IDLE_WAITED_RATIO: f64 = 0.02;
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
        // A sample tells of the time until it was taken.
        let Some((_, pressure)) = samples.iter().find(|(at_s, _)| *at_s > interval.at_s) else { continue };
        interval.pressure = *pressure;
        interval.contamination = disturbance(pressure);
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
    if let Some(load) = load
        && let Pattern::Open(_) = load.pattern
    {
        reasons.extend(generator_lag(record, &generator.pacer));
        reasons.extend(missed_rate(record, generator.waited));
        reasons.extend(exhausted_generator(record, generator));
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
    let bound_ms = tightest_latency_ms(record)?;
    let sent_us = record.steps.iter().map(|step| step.lag.p99_us).fold(0.0, f64::max);
    let lag_ms = sent_us.max(pacer.lag.quantile_us(0.99)) / MICROS_PER_MILLI;
    (lag_ms > bound_ms * LAG_RATIO).then(|| {
        format!(
            "the generator itself was late by {lag_ms:.2} ms (p99), more than {:.0} % of the tightest bound of {bound_ms} ms",
            LAG_RATIO * 100.0
        )
    })
}

fn missed_rate(record: &RunRecord, waited: u64) -> Option<String> {
    let (offered, completed, _) = record.totals();
    if offered == 0 || record.partial.is_some() {
        return None;
    }
    let achieved = completed as f64 / offered as f64;
    let target_idled = waited as f64 / offered as f64 <= IDLE_WAITED_RATIO;
    (achieved < ACHIEVED_RATIO && target_idled).then(|| {
        format!(
            "only {:.1} % of the operations were carried out although the target was not at its limit",
            achieved * 100.0
        )
    })
}

/// Operations waited for a seat, but it was the generator that did not get round to them.
fn exhausted_generator(record: &RunRecord, generator: &Generator) -> Option<String> {
    let (offered, ..) = record.totals();
    let waited = generator.waited as f64 / offered.max(1) as f64;
    (generator.busy_ratio > EXHAUSTED_RATIO && waited > IDLE_WAITED_RATIO).then(|| {
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
