//! Merges what the threads report into seconds and totals, and ends a run that has lost its target.

use std::{
    collections::{BTreeMap, BTreeSet},
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

/// A second that is not over on every thread.
#[derive(Default)]
struct Second {
    offered: u64,
    completed: u64,
    errors: u64,
    latency: Histogram,
    lag: Histogram,
    /// Workers that have reported it.
    workers: BTreeSet<usize>,
}

pub(super) struct Collector {
    shared: Arc<Shared>,
    clock: Clock,
    workers: usize,
    seconds: BTreeMap<u64, Second>,
    /// The second that each worker has reported last.
    reported: BTreeMap<usize, u64>,
    steps: Vec<Tally>,
    intervals: Vec<Interval>,
    figures: BTreeMap<String, Vec<f64>>,
    pacer: PacerReport,
    waited: u64,
    busy_max: Duration,
    last_ns: u64,
    last_answer: Instant,
    failed_since: u64,
    last_failure: Option<String>,
    partial: Option<String>,
    ended_at: Option<Instant>,
}

impl Collector {
    pub(super) fn new(shared: &Arc<Shared>, clock: Clock, workers: usize) -> Self {
        Self {
            shared: Arc::clone(shared),
            clock,
            workers,
            seconds: BTreeMap::new(),
            reported: BTreeMap::new(),
            steps: shared.load.steps.iter().map(|_| Tally::default()).collect(),
            intervals: Vec::new(),
            figures: BTreeMap::new(),
            pacer: PacerReport::default(),
            waited: 0,
            busy_max: Duration::ZERO,
            last_ns: 0,
            last_answer: Instant::now(),
            failed_since: 0,
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
        self.seconds.values_mut().for_each(|second| second.workers = (0..self.workers).collect());
        self.reported = (0..self.workers).map(|worker| (worker, u64::MAX)).collect();
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
        } else if self.failed_since > 0 && self.last_answer.elapsed() > load.abort_after {
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
            self.failed_since = 0;
        }
        if let Some(failure) = ledger.last_failure {
            self.failed_since += 1;
            self.last_failure = Some(failure);
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
        second.workers.insert(ledger.worker);
        self.reported.insert(ledger.worker, ledger.second);
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
        self.seconds.entry(offered.second).or_default().offered += offered.count;
        self.pacer.offered += offered.count;
        self.pacer.lag.merge(&offered.lag);
    }

    /// Tells the observer of every second that is over on all threads, the pacer's included.
    fn publish(&mut self, observer: &mut dyn Observer) {
        let Some(slowest) = self.reported.values().min().copied() else { return };
        if self.reported.len() < self.workers {
            return;
        }
        while let Some(entry) = self.seconds.first_entry() {
            // The pacer's report of a second may come a moment after the workers'.
            if *entry.key() >= slowest {
                return;
            }
            let (at, second) = entry.remove_entry();
            let interval = second.into_interval(at);
            observer.interval(&interval);
            self.intervals.push(interval);
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
            intervals: self.intervals,
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

impl Second {
    fn into_interval(self, second: u64) -> Interval {
        Interval {
            at_s: second as f64,
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
