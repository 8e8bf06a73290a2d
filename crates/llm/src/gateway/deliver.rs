//! Attempts, until one is answered or none is left.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use metrics::{counter, histogram};
use paddock_platform::problem::Problem;
use tokio::time::{Instant, sleep};

use super::{
    Gateway,
    attempt::{Delivered, attempt},
    call::Call,
    decisions::{Decision, SkippedLane},
    failed::{Failed, Next},
    record::{Record, Served},
    search::Search,
};
use crate::{
    error::LlmError,
    metrics::{LLM_HEDGES_TOTAL, LLM_OVERHEAD_SECONDS},
    routing::{Choice, Route, choose, name_of},
};

/// Retries of a call at most, whatever the configuration says.
const RETRIES_MAX: u32 = 3;

impl Gateway {
    /// Makes attempts until one is answered, or none is left.
    pub(super) async fn deliver(
        &self,
        call: &Arc<Call>,
        routes: &[Arc<Route>],
        record: &mut Record,
    ) -> Result<Delivered, Failed> {
        let inner = self.inner();
        let options = &call.plan.options;
        let retries_max = options.resilience.retries_max.min(RETRIES_MAX);
        let ask = call.ask();
        let mut search = Search::new(call.started + options.wait_max.get());
        inner.retries.deposit(options.resilience.retry_ratio);
        inner.hedges.deposit(options.resilience.hedge_ratio);
        loop {
            let choice = match choose(&call.plan, routes, &ask, &search.excluded()) {
                Ok(choice) => choice,
                Err(none) => {
                    search.wait_for_place(call, none).await?;
                    continue;
                }
            };
            self.note(call, routes, &choice, record.attempts + 1, search.last.as_ref());
            let lane = Arc::clone(choice.permit.lane());
            if let Some(once) = &call.once {
                let noted = self.note_lane(once, name_of(&lane)).await;
                noted.map_err(|error| Failed::of(LlmError::from(&Problem::from(error))))?;
            }
            let target = Arc::clone(&choice.target);
            record.served = Some(Served { target: Arc::clone(&target), lane: Arc::clone(&lane) });
            if record.attempts == 0 {
                histogram!(LLM_OVERHEAD_SECONDS).record(call.started.elapsed());
            }
            let failure = match self.attempt_hedged(call, routes, choice, record).await {
                Ok(delivered) => {
                    record.attempts += 1;
                    let served = match &delivered {
                        Delivered::Whole(whole) => &whole.served,
                        Delivered::Stream(relayed) => &relayed.served,
                    };
                    record.served = Some(served.clone());
                    return Ok(delivered);
                }
                Err(failure) => failure,
            };
            // What could not even be said to a target was no attempt.
            record.attempts += u32::from(failure.outcome.is_some());
            match failure.next {
                Next::Stop => return Err(failure),
                Next::Elsewhere => search.unfit.extend(target.lanes.iter().cloned()),
                Next::Retry => search.tried.push(lane),
            }
            let may_retry = record.attempts <= retries_max
                && Instant::now() < call.deadline
                && (failure.next != Next::Retry || inner.retries.take());
            if !may_retry {
                return Err(failure);
            }
            search.last = Some(failure);
        }
    }

    /// An attempt, and a second one elsewhere if the first does not begin to answer in time.
    async fn attempt_hedged(
        &self,
        call: &Arc<Call>,
        routes: &[Arc<Route>],
        choice: Choice,
        record: &mut Record,
    ) -> Result<Delivered, Failed> {
        // What shall be made once is not made twice.
        let route = routes.get(choice.stage).filter(|_| call.once.is_none());
        let hedge_after = route.map_or(Duration::ZERO, |route| route.hedge_after);
        let first_lane = Arc::clone(choice.permit.lane());
        let mut first = Box::pin(attempt(call, choice));
        if hedge_after.is_zero() {
            return first.await;
        }
        tokio::select! {
            delivered = &mut first => return delivered,
            () = sleep(hedge_after) => {}
        }
        let second = choose(&call.plan, routes, &call.ask(), std::slice::from_ref(&first_lane));
        let Ok(second) = second else { return first.await };
        if !self.inner().hedges.take() {
            drop(second);
            return first.await;
        }
        counter!(LLM_HEDGES_TOTAL).increment(1);
        record.attempts += 1;
        let mut second = Box::pin(attempt(call, second));
        let (done, other) = tokio::select! {
            delivered = &mut first => (delivered, second),
            delivered = &mut second => (delivered, first),
        };
        match done {
            Ok(delivered) => Ok(delivered),
            Err(_) => other.await,
        }
    }

    fn note(&self, call: &Call, routes: &[Arc<Route>], choice: &Choice, attempt: u32, last: Option<&Failed>) {
        self.inner().decisions.add(|| {
            let lane = choice.permit.lane();
            let route = routes.get(choice.stage);
            let skipped = choice.skipped.iter();
            Decision {
                at: Timestamp::now(),
                tenant: Arc::clone(&call.tenant),
                model: call.facts.model.clone(),
                strategy: route.map_or("none", |route| route.strategy.name()),
                provider: lane.provider.to_string(),
                target: choice.target.model.to_string(),
                credential: lane.credential.name.to_string(),
                attempt,
                fallback: choice.stage > 0,
                after: last.map(|failed| failed.error.message.clone()),
                skipped: skipped
                    .map(|(place, reason)| SkippedLane { place: place.clone(), reason })
                    .collect(),
            }
        });
    }
}
