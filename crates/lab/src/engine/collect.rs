//! Merges what the threads report into seconds and totals, and ends a run that has lost its target.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError},
    },
    time::{Duration, Instant},
};

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use super::{
    INTERRUPT_GRACE, Load, Measured, Observer, Pattern, Shared,
    ledger::{CheckTally, Ledger, NANOS_PER_SECOND, Offered, Report, Tally},
};
use crate::{
    histogram::Histogram,
    pacer::{Clock, PacerReport, nanos},
    record::{CheckResult, Interval, StepRecord},
};

/// Longest time between two looks at whether the run has to end.
const NAP: Duration = Duration::from_millis(100);
/// After the schedule's end and the longest deadline, how long operations that wait may still begin.
const DRAIN_GRACE: Duration = Duration::from_secs(1);
/// Figures of one name that are kept.
const FIGURES_MAX: usize = 100_000;
/// Intervals that are kept; beyond, each two become one, and further ones are twice as long.
const INTERVALS_MAX: usize = 7_200;

/// Who reports seconds: a second is over when all of them have reported it or a later one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Reporter {
    Pacer,
    Worker(usize),
}

/// A second that is not over on every thread.
#[derive(Clone, Default)]
struct Second {
    offered: u64,
    completed: u64,
    errors: u64,
    latency: Histogram,
    lag: Histogram,
}

pub(super) struct Collector {
    shared: Arc<Shared>,
    clock: Clock,
    seconds: BTreeMap<u64, Second>,
    /// The first second that each reporter has not finished.
    reported: BTreeMap<Reporter, u64>,
    steps: Vec<Tally>,
    intervals: Intervals,
    figures: BTreeMap<String, Vec<f64>>,
    pacer: PacerReport,
    waited: u64,
    busy_max: Duration,
    last_ns: u64,
    last_answer: Instant,
    /// First and last failure since the last answer.
    failing_ns: Option<(u64, u64)>,
    last_failure: Option<String>,
    partial: Option<String>,
    ended_at: Option<Instant>,
}

impl Collector {
    pub(super) fn new(shared: &Arc<Shared>, clock: Clock, workers: usize) -> Self {
        let mut reported: BTreeMap<Reporter, u64> =
            (0..workers).map(|worker| (Reporter::Worker(worker), 0)).collect();
        if matches!(shared.load.pattern, Pattern::Open(_)) {
            reported.insert(Reporter::Pacer, 0);
        }
        Self {
            shared: Arc::clone(shared),
            clock,
            seconds: BTreeMap::new(),
            reported,
            steps: shared.load.steps.iter().map(|_| Tally::default()).collect(),
            intervals: Intervals::default(),
            figures: BTreeMap::new(),
            pacer: PacerReport::default(),
            waited: 0,
            busy_max: Duration::ZERO,
            last_ns: 0,
            last_answer: Instant::now(),
            failing_ns: None,
            last_failure: None,
            partial: None,
            ended_at: None,
        }
    }

    /// Collects until every thread is done.
    pub(super) fn run(
        &mut self,
        reports: &Receiver<Report>,
        observer: &mut dyn Observer,
        stop: &CancellationToken,
    ) {
        let mut last_progress = Instant::now();
        loop {
            match reports.recv_timeout(NAP) {
                Ok(Report::Ledger(ledger)) => self.enter(*ledger),
                Ok(Report::Offered(offered)) => self.enter_offered(&offered),
                Ok(Report::OfferedAll) => {
                    self.reported.insert(Reporter::Pacer, u64::MAX);
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            self.publish(observer);
            if last_progress.elapsed() >= NAP {
                last_progress = Instant::now();
                let elapsed = self.measured(self.clock.now_ns());
                observer.progress(elapsed, self.shared.load.duration());
                self.watch(stop);
            }
        }
        self.reported.values_mut().for_each(|second| *second = u64::MAX);
        self.publish(observer);
    }

    fn measured(&self, at_ns: u64) -> Duration {
        Duration::from_nanos(at_ns).saturating_sub(self.shared.load.warm_up)
    }

    /// Ends the run if it was interrupted, has lost its target, or cannot catch up.
    fn watch(&mut self, stop: &CancellationToken) {
        if let Some(ended_at) = self.ended_at {
            if ended_at.elapsed() > INTERRUPT_GRACE {
                self.shared.cut.cancel();
            }
            return;
        }
        let load = &self.shared.load;
        let reason = if stop.is_cancelled() {
            Some("interrupted".to_owned())
        } else if self.is_failing_for(load.abort_after) {
            let failure = self.last_failure.as_deref().unwrap_or("no reason known");
            Some(format!(
                "the target did not answer for {:.1}s: {failure}",
                self.last_answer.elapsed().as_secs_f64()
            ))
        } else {
            self.overdue(load)
        };
        if let Some(reason) = reason {
            let at = self.measured(self.clock.now_ns()).as_secs_f64();
            self.partial = Some(format!("{reason} (ended after {at:.1}s)"));
            self.ended_at = Some(Instant::now());
            self.shared.end();
        }
    }

    /// Operations have failed over that time and none succeeded. One failure and silence after it, because nothing was
    /// due, says nothing of the target.
    fn is_failing_for(&self, abort_after: Duration) -> bool {
        self.failing_ns.is_some_and(|(first_ns, last_ns)| last_ns - first_ns > nanos(abort_after))
    }

    /// The schedule is over for so long that whatever was in flight then had to end.
    fn overdue(&self, load: &Load) -> Option<String> {
        let longest = load.steps.iter().map(|step| step.timeout).max().unwrap_or_default();
        let limit = load.duration()?.saturating_add(longest).saturating_add(DRAIN_GRACE);
        if self.measured(self.clock.now_ns()) <= limit {
            return None;
        }
        Some(match load.pattern {
            Pattern::Open(_) => {
                format!(
                    "{} operations still waited for the target long after the schedule",
                    self.shared.ring.waiting()
                )
            }
            Pattern::Closed { .. } => "operations went on long after the schedule".to_owned(),
        })
    }

    fn enter(&mut self, ledger: Ledger) {
        if ledger.succeeded > 0 {
            self.last_answer = Instant::now();
            self.failing_ns = None;
        }
        if let Some((first_ns, last_ns)) = ledger.failing_ns {
            let (earlier_ns, later_ns) = self.failing_ns.unwrap_or((first_ns, last_ns));
            self.failing_ns = Some((earlier_ns.min(first_ns), later_ns.max(last_ns)));
        }
        if ledger.last_failure.is_some() {
            self.last_failure = ledger.last_failure;
        }
        self.last_ns = self.last_ns.max(ledger.last_ns);
        self.busy_max = self.busy_max.max(ledger.busy);
        for (name, value) in ledger.figures {
            let values = self.figures.entry(name).or_default();
            if values.len() < FIGURES_MAX {
                values.push(value);
            }
        }
        let second = self.seconds.entry(ledger.second).or_default();
        self.reported.insert(Reporter::Worker(ledger.worker), ledger.second.saturating_add(1));
        let closed = matches!(self.shared.load.pattern, Pattern::Closed { .. });
        for (step, tally) in self.steps.iter_mut().zip(ledger.steps) {
            second.completed += tally.latency.count();
            second.errors += tally.failed();
            second.latency.merge(&tally.latency);
            second.lag.merge(&tally.lag);
            if closed {
                second.offered += tally.begun;
            }
            self.waited += tally.waited;
            step.merge(tally);
        }
    }

    fn enter_offered(&mut self, offered: &Offered) {
        self.reported.insert(Reporter::Pacer, offered.second.saturating_add(1));
        self.seconds.entry(offered.second).or_default().offered += offered.count;
        self.pacer.offered += offered.count;
        self.pacer.lag.merge(&offered.lag);
    }

    /// Tells the observer of every second that is over on all threads, the pacer's included.
    fn publish(&mut self, observer: &mut dyn Observer) {
        let Some(unfinished) = self.reported.values().min().copied() else { return };
        while let Some(entry) = self.seconds.first_entry() {
            if *entry.key() >= unfinished {
                return;
            }
            let (at, second) = entry.remove_entry();
            observer.interval(&second.to_interval(at, 1));
            self.intervals.push(at, second);
        }
    }

    pub(super) fn finish(self, started_at: Timestamp) -> Measured {
        let load = &self.shared.load;
        let warm_up_ns = nanos(load.warm_up);
        let mut end_ns = self.last_ns.saturating_sub(warm_up_ns);
        match (&load.pattern, self.ended_at) {
            (_, Some(ended_at)) => {
                end_ns = end_ns.max(self.clock.ns_at(ended_at).saturating_sub(warm_up_ns));
            }
            (Pattern::Open(schedule), None) => end_ns = end_ns.max(nanos(schedule.duration())),
            (Pattern::Closed { .. }, None) => {}
        }
        let total_s = (end_ns + warm_up_ns) as f64 / NANOS_PER_SECOND as f64;
        let checks = check_results(load, &self.steps);
        let mut offered: Vec<u64> = self.steps.iter().map(|tally| tally.begun).collect();
        // What was due and never began belongs to the steps that it would have been.
        let begun: u64 = offered.iter().sum();
        for index in begun..self.pacer.offered {
            if let Some(count) = offered.get_mut(self.shared.step_of(index)) {
                *count += 1;
            }
        }
        let steps = load.steps.iter().zip(self.steps).zip(offered);
        let steps = steps
            .map(|((step, tally), offered)| StepRecord {
                name: step.name.clone(),
                driver: step.driver_name.to_owned(),
                offered,
                completed: tally.latency.count(),
                errors: tally.errors.iter().map(|(kind, count)| (kind.to_string(), *count)).collect(),
                latency: tally.latency.to_latency(),
                service: tally.service.to_latency(),
                lag: tally.lag.to_latency(),
                extra: tally
                    .extra
                    .iter()
                    .map(|(name, times)| ((*name).to_owned(), times.to_latency()))
                    .collect(),
            })
            .collect();
        Measured {
            started_at,
            duration_s: end_ns as f64 / NANOS_PER_SECOND as f64,
            steps,
            intervals: self.intervals.finish(),
            checks,
            figures: self.figures,
            pacer: self.pacer,
            waited: self.waited,
            busy_ratio: if total_s > 0.0 { (self.busy_max.as_secs_f64() / total_s).min(1.0) } else { 0.0 },
            partial: self.partial,
        }
    }
}

fn check_results(load: &Load, tallies: &[Tally]) -> Vec<CheckResult> {
    let mut results = Vec::new();
    for (step, tally) in load.steps.iter().zip(tallies) {
        let mut enter = |what: String, counts: CheckTally| {
            results.push(CheckResult {
                name: format!("{}: {what}", step.name),
                passed: counts.passed,
                failed: counts.failed,
                example: counts.example,
            });
        };
        enter("no error".to_owned(), tally.success.clone());
        for (index, check) in step.checks.iter().enumerate() {
            enter(check.to_string(), tally.checks.get(index).cloned().unwrap_or_default());
        }
    }
    results
}

/// The intervals of a run of any length, in bounded memory.
struct Intervals {
    done: Vec<Interval>,
    /// Seconds of an interval.
    length: u64,
    /// The interval that is not over: its first second, and what happened in it so far.
    open: Option<(u64, Second)>,
}

impl Default for Intervals {
    fn default() -> Self {
        Self { done: Vec::new(), length: 1, open: None }
    }
}

impl Intervals {
    fn push(&mut self, at: u64, second: Second) {
        let begin = at - at % self.length;
        match &mut self.open {
            Some((open, sum)) if *open == begin => sum.merge(&second),
            _ => {
                self.close();
                self.open = Some((begin - begin % self.length, second));
            }
        }
    }

    fn close(&mut self) {
        let Some((at, second)) = self.open.take() else { return };
        let interval = second.to_interval(at, self.length);
        match self.done.last_mut() {
            // Its first seconds were put together when intervals became longer.
            Some(before) if before.at_s.total_cmp(&interval.at_s).is_eq() => before.absorb(&interval),
            _ => self.done.push(interval),
        }
        if self.done.len() >= INTERVALS_MAX {
            self.length *= 2;
            let mut merged: Vec<Interval> = Vec::with_capacity(INTERVALS_MAX / 2 + 1);
            for interval in self.done.drain(..) {
                let at_s = (interval.at_s as u64 / self.length * self.length) as f64;
                match merged.last_mut() {
                    Some(before) if before.at_s.total_cmp(&at_s).is_eq() => before.absorb(&interval),
                    _ => merged.push(Interval { at_s, length_s: self.length as f64, ..interval }),
                }
            }
            self.done = merged;
        }
    }

    fn finish(mut self) -> Vec<Interval> {
        self.close();
        self.done
    }
}

impl Second {
    fn merge(&mut self, other: &Self) {
        self.offered += other.offered;
        self.completed += other.completed;
        self.errors += other.errors;
        self.latency.merge(&other.latency);
        self.lag.merge(&other.lag);
    }

    fn to_interval(&self, second: u64, length: u64) -> Interval {
        Interval {
            at_s: second as f64,
            length_s: length as f64,
            offered: self.offered,
            completed: self.completed,
            errors: self.errors,
            p50_us: self.latency.quantile_us(0.5),
            p90_us: self.latency.quantile_us(0.9),
            p99_us: self.latency.quantile_us(0.99),
            max_us: self.latency.max_ns() as f64 / 1e3,
            lag_p99_us: self.lag.quantile_us(0.99),
            ..Interval::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_of_a_long_run_get_longer_and_lose_no_operation() {
        let mut intervals = Intervals::default();
        let seconds = INTERVALS_MAX as u64 * 5 + 3;
        for at in 0..seconds {
            let mut second = Second { offered: 2, completed: 2, errors: 1, ..Second::default() };
            second.latency.record_ns(1_000_000 * (1 + at % 7));
            intervals.push(at, second);
        }
        let kept = intervals.finish();
        assert!(kept.len() <= INTERVALS_MAX, "{}", kept.len());
        assert_eq!(kept.iter().map(|interval| interval.completed).sum::<u64>(), 2 * seconds);
        assert_eq!(kept.iter().map(|interval| interval.offered).sum::<u64>(), 2 * seconds);
        let is_next = |pair: &[Interval]| (pair[0].at_s + pair[0].length_s - pair[1].at_s).abs() < 1e-9;
        assert!(kept.windows(2).all(is_next), "no gap and no overlap");
        assert!(kept.iter().all(|interval| interval.max_us > 6_900.0));
    }
}
