//! Keeps retries from becoming most of what a queue does: a dependency that is down is not helped by being asked more.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Attempts and retries are counted over this time.
const WINDOW: Duration = Duration::from_mins(1);
/// So many retries are always let through in a window.
const RETRIES_MIN: u32 = 10;
/// How much longer a retry beyond the budget waits.
const POSTPONED: Duration = Duration::from_mins(1);

/// Counts what a queue tries, and how much of that again.
#[derive(Debug, Default)]
pub(crate) struct RetryBudget(Mutex<Windows>);

#[derive(Debug)]
struct Windows {
    began: Instant,
    attempts: u32,
    retries: u32,
    /// Of the window before, so that the beginning of one is not without memory.
    before: (u32, u32),
}

impl Default for Windows {
    fn default() -> Self {
        Self { began: Instant::now(), attempts: 0, retries: 0, before: (0, 0) }
    }
}

impl Windows {
    fn turn(&mut self, now: Instant) {
        let age = now.saturating_duration_since(self.began);
        if age >= WINDOW {
            self.before = if age >= 2 * WINDOW { (0, 0) } else { (self.attempts, self.retries) };
            (self.attempts, self.retries, self.began) = (0, 0, now);
        }
    }
}

impl RetryBudget {
    /// Attempts began.
    pub(crate) fn tried(&self, attempts: u32) {
        let mut windows = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        windows.turn(Instant::now());
        windows.attempts = windows.attempts.saturating_add(attempts);
    }

    /// One wants to be tried again: how much longer it has to wait, which is nothing within the budget. `share` is the
    /// share of attempts that may be retries.
    pub(crate) fn ask(&self, share: f64) -> Duration {
        let mut windows = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        windows.turn(Instant::now());
        let attempts = windows.attempts + windows.before.0;
        let retries = windows.retries + windows.before.1;
        let allowed = (f64::from(attempts) * share).max(f64::from(RETRIES_MIN));
        if f64::from(retries) >= allowed {
            return POSTPONED;
        }
        windows.retries += 1;
        Duration::ZERO
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_retries_are_always_let_through_and_many_only_with_many_attempts() {
        let budget = RetryBudget::default();
        let let_through = |budget: &RetryBudget| (0..100).filter(|_| budget.ask(0.5).is_zero()).count();
        assert_eq!(let_through(&budget), 10);
        budget.tried(60);
        assert_eq!(let_through(&budget), 20, "half of sixty, less the ten before");
    }
}
