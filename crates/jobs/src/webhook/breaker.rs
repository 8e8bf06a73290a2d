//! When a webhook that fails is left alone. Pure: the state is in the store, the time comes from the caller.

use std::time::Duration;

use jiff::Timestamp;

use super::WebhookOptions;

/// The longest pause.
const PAUSE_MAX: Duration = Duration::from_hours(1);
/// How much a pause may double at most, so that no shift overflows.
const DOUBLINGS_MAX: u32 = 16;

/// What the store knows of how a webhook does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Breaker {
    /// Failures since the last success.
    pub(super) failures: u32,
    /// Until when it is left alone.
    pub(super) paused_until: Option<Timestamp>,
}

/// Whether a delivery may be tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gate {
    /// Yes.
    Open,
    /// Not before this time.
    Paused(Timestamp),
    /// One may, to see whether it works again: whoever takes the place first.
    Probe,
}

impl Breaker {
    /// Whether a delivery may be tried now.
    pub(super) fn gate(self, now: Timestamp, options: &WebhookOptions) -> Gate {
        match self.paused_until {
            Some(until) if until > now => Gate::Paused(until),
            _ if self.failures >= options.breaker_failures.max(1) => Gate::Probe,
            _ => Gate::Open,
        }
    }

    /// The state after a failure; whether it paused the webhook.
    pub(super) fn failed(self, now: Timestamp, options: &WebhookOptions) -> (Self, bool) {
        let failures = self.failures.saturating_add(1);
        let threshold = options.breaker_failures.max(1);
        if failures < threshold {
            return (Self { failures, ..self }, false);
        }
        let doublings = (failures - threshold).min(DOUBLINGS_MAX);
        let pause = options.breaker_pause.get().saturating_mul(1 << doublings).min(PAUSE_MAX);
        (Self { failures, paused_until: Some(now + pause) }, true)
    }

    /// The state after the receiver asked to be left alone for a while: it works, so that is no failure.
    pub(super) fn throttled(self, now: Timestamp, pause: Duration) -> Self {
        Self { paused_until: Some(now + pause.min(PAUSE_MAX)), ..self }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn several_failures_in_a_row_pause_it_for_longer_each_time() {
        let options = WebhookOptions::default();
        let mut breaker = Breaker::default();
        for _ in 0..4 {
            let (next, paused) = breaker.failed(at(0), &options);
            assert!(!paused && next.gate(at(0), &options) == Gate::Open);
            breaker = next;
        }
        let mut pauses = Vec::new();
        for _ in 0..7 {
            let (next, paused) = breaker.failed(at(0), &options);
            assert!(paused);
            pauses.push(next.paused_until.unwrap().as_second());
            breaker = next;
        }
        assert_eq!(pauses, [120, 240, 480, 960, 1920, 3600, 3600]);
        assert_eq!(breaker.gate(at(3599), &options), Gate::Paused(at(3600)));
        assert_eq!(breaker.gate(at(3600), &options), Gate::Probe);
    }

    #[test]
    fn a_throttled_webhook_waits_and_has_not_failed() {
        let options = WebhookOptions::default();
        let breaker = Breaker::default().throttled(at(0), Duration::from_secs(30));
        assert_eq!(breaker.gate(at(29), &options), Gate::Paused(at(30)));
        assert_eq!(breaker.gate(at(30), &options), Gate::Open);
        let long = Breaker::default().throttled(at(0), Duration::MAX);
        assert_eq!(long.paused_until, Some(at(3600)));
    }

    proptest! {
        #[test]
        fn a_pause_has_an_end(failures in 0..u32::MAX, now in 0..4_000_000_000_i64, threshold: u32) {
            let options = WebhookOptions { breaker_failures: threshold, ..WebhookOptions::default() };
            let (next, _) = Breaker { failures, paused_until: None }.failed(at(now), &options);
            prop_assert!(next.paused_until.is_none_or(|until| until <= at(now + 3600)));
            prop_assert!(!matches!(next.gate(at(now + 3601), &options), Gate::Paused(_)));
        }
    }
}
