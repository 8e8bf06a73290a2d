//! What came of the operations of a worker, second by second.

use std::time::Duration;

use super::{
    desk::{Desk, State},
    ledger::{Ledger, NANOS_PER_SECOND, Report, Tally},
    seat::Turn,
};
use crate::{
    driver::{Failure, Outcome},
    pacer::nanos,
};

/// Figures that are kept of one second; operations that report some are slow.
const FIGURES_MAX: usize = 10_000;

impl Desk {
    /// Notes that an operation begins.
    pub(super) fn began(&self, place: usize, step: usize, turn: Turn, begin_ns: u64) {
        let mut state = self.state();
        state.ledger.begun += 1;
        if let Some(place) = state.places.get_mut(place) {
            place.current = Some((step, turn, begin_ns));
        }
    }

    /// Notes what came of an operation.
    pub(super) fn ended(
        &self,
        place: usize,
        step: usize,
        turn: Turn,
        begin_ns: u64,
        end_ns: u64,
        outcome: Outcome,
    ) {
        let mut state = self.state();
        if let Some(place) = state.places.get_mut(place) {
            place.current = None;
        }
        self.note(&mut state, step, turn, begin_ns, end_ns, outcome);
    }

    fn note(
        &self,
        state: &mut State,
        step: usize,
        turn: Turn,
        begin_ns: u64,
        end_ns: u64,
        mut outcome: Outcome,
    ) {
        self.turn_page(state, end_ns);
        let ledger = &mut *state.ledger;
        ledger.last_ns = ledger.last_ns.max(end_ns);
        match &outcome.failure {
            None => {
                ledger.succeeded += 1;
                ledger.failing_ns = None;
            }
            Some(failure) => {
                ledger.last_failure = Some(failure.detail.clone());
                let (first_ns, _) = ledger.failing_ns.unwrap_or((end_ns, end_ns));
                ledger.failing_ns = Some((first_ns, end_ns));
            }
        }
        if turn.arrival.due_ns < self.warm_up_ns {
            return;
        }
        if ledger.figures.len() < FIGURES_MAX {
            ledger.figures.append(&mut outcome.figures);
        }
        let Some(tally) = ledger.steps.get_mut(step) else { return };
        let ready_ns = turn.available_ns.max(turn.arrival.due_ns);
        let latency_ns = end_ns.saturating_sub(turn.arrival.due_ns);
        tally.begun += 1;
        tally.latency.record_ns(latency_ns);
        tally.service.record_ns(end_ns.saturating_sub(begin_ns));
        tally.lag.record_ns(begin_ns.saturating_sub(ready_ns));
        if ready_ns > turn.arrival.due_ns {
            tally.waited += 1;
            tally.extra("wait").record_ns(ready_ns - turn.arrival.due_ns);
        }
        for extra in &outcome.extra {
            let before_ns = if extra.from_start { begin_ns.saturating_sub(turn.arrival.due_ns) } else { 0 };
            tally.extra(extra.name).record_ns(nanos(extra.time).saturating_add(before_ns));
        }
        self.judge(tally, step, latency_ns, outcome);
    }

    /// Counts the operation's error, or evaluates its checks.
    fn judge(&self, tally: &mut Tally, number: usize, latency_ns: u64, outcome: Outcome) {
        if let Some(failure) = outcome.failure {
            tally.count_error(failure.kind, Some(failure.detail));
            return;
        }
        let Some(step) = self.shared.load.steps.get(number) else { return };
        let judges_status = self.own_status_check.get(number).copied().unwrap_or_default();
        let refusal = outcome.refusal.clone().filter(|_| !judges_status);
        let mut violation = None;
        for (check, counts) in step.checks.iter().zip(&mut tally.checks) {
            match check.violation(&outcome, Duration::from_nanos(latency_ns)) {
                None => counts.passed += 1,
                Some(seen) => {
                    counts.failed += 1;
                    violation.get_or_insert_with(|| format!("not so: {check}; {seen}"));
                    counts.example.get_or_insert(seen);
                }
            }
        }
        match (refusal, violation) {
            (Some(kind), _) => {
                let detail = outcome.detail.unwrap_or_else(|| kind.to_string());
                tally.count_error(kind, Some(detail));
            }
            (None, Some(violation)) => tally.count_error("check".into(), Some(violation)),
            (None, None) => tally.success.passed += 1,
        }
    }

    /// Sends the ledger of a second that is over.
    fn turn_page(&self, state: &mut State, now_ns: u64) {
        let second = now_ns.saturating_sub(self.warm_up_ns) / NANOS_PER_SECOND;
        if second > state.ledger.second {
            let fresh = Box::new(Ledger::new(self.number, second, &self.checks));
            let full = std::mem::replace(&mut state.ledger, fresh);
            if let Some(reports) = &state.reports {
                // The collector is gone only when the run is over.
                let _ = reports.send(Report::Ledger(full));
            }
        }
    }

    /// Turns the page also while no operation ends.
    pub(super) async fn tick(&self) {
        let clock = self.clock();
        loop {
            let now_ns = clock.now_ns();
            let elapsed_ns = now_ns.saturating_sub(self.warm_up_ns);
            let next_ns = self.warm_up_ns + (elapsed_ns / NANOS_PER_SECOND + 1) * NANOS_PER_SECOND;
            tokio::time::sleep_until(tokio::time::Instant::from_std(clock.instant_at(next_ns))).await;
            self.turn_page(&mut self.state(), clock.now_ns());
        }
    }

    /// Notes every operation in flight as unfinished.
    pub(super) fn abandon(&self) {
        let now_ns = self.clock().now_ns();
        let mut state = self.state();
        for index in 0..state.places.len() {
            let current = state.places.get_mut(index).and_then(|place| place.current.take());
            if let Some((step, turn, begin_ns)) = current {
                let failure = Failure::new("unfinished", "the run ended before the answer came");
                self.note(&mut state, step, turn, begin_ns, now_ns, Outcome::failed(failure));
            }
        }
    }

    /// Sends the last ledger.
    pub(super) fn close(&self) {
        let mut state = self.state();
        state.ended = true;
        let fresh = Box::new(Ledger::new(self.number, u64::MAX, &self.checks));
        let last = std::mem::replace(&mut state.ledger, fresh);
        if let Some(reports) = state.reports.take() {
            let _ = reports.send(Report::Ledger(last));
        }
    }

    /// Notes how long the event loop had something to do.
    pub(super) fn note_busy(&self, busy: Duration) {
        self.state().ledger.busy = busy;
    }
}
