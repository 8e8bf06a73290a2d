//! The search for a place that answers: what was tried, and how long to wait before it is tried again.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{call::Call, failed::Failed};
use crate::{
    error::{ErrorKind, LlmError},
    resilience::Lane,
    routing::NoChoice,
};

/// The shortest wait for a place.
const WAIT_MIN: Duration = Duration::from_millis(5);
/// The longest wait before the same place is asked again.
const BACKOFF_MAX: Duration = Duration::from_secs(10);

/// The search for a place that answers.
pub(super) struct Search {
    pub(super) tried: Vec<Arc<Lane>>,
    pub(super) unfit: Vec<Arc<Lane>>,
    pub(super) last: Option<Failed>,
    rounds: u32,
    wait_until: Instant,
}

impl Search {
    pub(super) const fn new(wait_until: Instant) -> Self {
        Self { tried: Vec::new(), unfit: Vec::new(), last: None, rounds: 0, wait_until }
    }

    pub(super) fn excluded(&self) -> Vec<Arc<Lane>> {
        self.tried.iter().chain(&self.unfit).cloned().collect()
    }

    /// Waits until there may be a place, or says that there will be none in time.
    pub(super) async fn wait_for_place(&mut self, call: &Call, none: NoChoice) -> Result<(), Failed> {
        let backoff = call.plan.options.resilience.backoff.get();
        let has_tried = !self.tried.is_empty();
        let wait = match (has_tried, none.wait) {
            (false, None) => None,
            (false, Some(wait)) => Some(wait.max(WAIT_MIN)),
            // The same place again: later each time, and not all at once.
            (true, wait) => {
                let doubled = (backoff * 2_u32.pow(self.rounds.min(10))).min(BACKOFF_MAX);
                let jittered = doubled.mul_f64(0.5 + fastrand::f64() / 2.0);
                let ordered = self.last.as_ref().and_then(|failed| failed.error.retry_after);
                Some(jittered.max(ordered.or(wait).unwrap_or(Duration::ZERO).min(BACKOFF_MAX)))
            }
        };
        let until = wait.map(|wait| Instant::now() + wait);
        match until
            .filter(|until| *until <= self.wait_until.max(Instant::now() + backoff) && *until < call.deadline)
        {
            Some(until) => {
                tokio::time::sleep_until(until).await;
                self.tried.clear();
                self.rounds += 1;
                Ok(())
            }
            None => Err(self.last.take().unwrap_or_else(|| Failed::of(no_place(call, &none)))),
        }
    }
}

fn no_place(call: &Call, none: &NoChoice) -> LlmError {
    let model = &call.facts.model;
    let about = |kind, detail: &str| LlmError::new(kind, format!("no target of `{model}` {detail}"));
    if none.is_all("context window") {
        return about(ErrorKind::ContextExceeded, "takes a request of this length");
    }
    if none.is_all("ability") {
        return about(ErrorKind::Untranslatable, "can do what the request needs (tools or pictures)");
    }
    if none.is_all("cost") {
        return about(ErrorKind::InvalidRequest, "costs as little as the call may");
    }
    let error = about(ErrorKind::Overloaded, "takes calls now: all rest, fail or are at their limits");
    match none.wait {
        Some(wait) => error.retry_after(wait),
        None => error,
    }
}
