//! One credential and one model: what breaks, rests, is ejected, and is measured.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use super::{
    Breaker, BreakerSettings, BreakerState, Credential, Pass,
    credential::{Full, Held},
};
use crate::{clock::now_ms, metrics::LaneMetrics};

/// Outcomes that the share of failures is taken of.
const OUTCOMES: u32 = 32;
/// Fewer outcomes say nothing.
const OUTCOMES_MIN: u32 = 16;
/// How much a new measurement weighs, as a part of 8.
const EWMA_SHIFT: u64 = 3;
/// The longest rest that a provider's answer may order.
const REST_MAX: Duration = Duration::from_mins(10);
/// How long a limited lane rests when its provider does not say.
const REST_DEFAULT: Duration = Duration::from_secs(2);

/// The part of the options that lanes need, compiled.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LaneSettings {
    pub(crate) breaker: BreakerSettings,
    pub(crate) eject_ratio: f64,
    pub(crate) eject_ms: u64,
}

/// Why a lane lets nothing pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Blocked {
    /// `breaker`, `resting`, `ejected`, `rpm`, `tpm`, `concurrency` or `no-key`.
    pub(crate) reason: &'static str,
    /// When it may.
    pub(crate) wait: Duration,
}

/// How a call through a lane went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It was answered.
    Success,
    /// The provider, or the way to it, failed.
    Failure,
    /// The provider is limited, until then if it says so.
    Limited(Option<Duration>),
    /// The provider does not accept the key.
    KeyRefused,
    /// The request was at fault: the provider works.
    CallerFault,
}

/// One credential and one model. Lives as long as the process: a reload keeps what it learned.
#[derive(Debug)]
pub(crate) struct Lane {
    pub(crate) provider: Arc<str>,
    pub(crate) credential: Arc<Credential>,
    pub(crate) model: Arc<str>,
    breaker: Mutex<Breaker>,
    rest_until_ms: AtomicU64,
    ejected_until_ms: AtomicU64,
    limited_in_a_row: AtomicU32,
    in_flight: AtomicU32,
    /// The last outcomes as bits, a one for a failure, below their number.
    outcomes: Mutex<(u32, u32)>,
    first_token_us: AtomicU64,
    pub(crate) requests: AtomicU64,
    pub(crate) failures: AtomicU64,
    pub(crate) metrics: LaneMetrics,
}

impl Lane {
    /// A lane whose model is called `label` in metrics.
    pub(crate) fn new(
        provider: &Arc<str>,
        credential: &Arc<Credential>,
        model: &Arc<str>,
        label: &Arc<str>,
    ) -> Self {
        Self {
            provider: Arc::clone(provider),
            credential: Arc::clone(credential),
            model: Arc::clone(model),
            breaker: Mutex::default(),
            rest_until_ms: AtomicU64::new(0),
            ejected_until_ms: AtomicU64::new(0),
            limited_in_a_row: AtomicU32::new(0),
            in_flight: AtomicU32::new(0),
            outcomes: Mutex::default(),
            first_token_us: AtomicU64::new(0),
            requests: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            metrics: LaneMetrics::new(provider, &credential.name, label),
        }
    }

    /// Lets a call of so many tokens pass, or says why not. An ejected lane is used when `even_ejected`: nothing better
    /// is there.
    pub(crate) fn admit(
        self: &Arc<Self>,
        settings: &LaneSettings,
        tokens: u64,
        even_ejected: bool,
    ) -> Result<Permit, Blocked> {
        let now = now_ms();
        let blocked = |reason, wait_ms| Blocked { reason, wait: Duration::from_millis(wait_ms) };
        let rest_until = self.rest_until_ms.load(Ordering::Relaxed);
        if rest_until > now {
            return Err(blocked("resting", rest_until - now));
        }
        let ejected_until = self.ejected_until_ms.load(Ordering::Relaxed);
        if ejected_until > now && !even_ejected {
            return Err(blocked("ejected", ejected_until - now));
        }
        let held = self.credential.enter(now, tokens).map_err(|full| match full {
            Full::NoKey => blocked("no-key", 60_000),
            Full::Concurrency => blocked("concurrency", 20),
            Full::Requests(wait) => blocked("rpm", wait),
            Full::Tokens(wait) => blocked("tpm", wait),
        })?;
        let pass = match self.breaker().admit(now, &settings.breaker) {
            Ok(pass) => pass,
            Err(wait) => {
                self.credential.leave(now, held, false, None);
                return Err(blocked("breaker", wait));
            }
        };
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        Ok(Permit { lane: Arc::clone(self), settings: *settings, pass, held: Some(held), sent: false })
    }

    /// How long its answers take to begin, smoothed; `None` before the first.
    pub(crate) fn first_token(&self) -> Option<Duration> {
        match self.first_token_us.load(Ordering::Relaxed) {
            0 => None,
            micros => Some(Duration::from_micros(micros)),
        }
    }

    pub(crate) fn in_flight(&self) -> u32 {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// The share of failures among the last outcomes.
    pub(crate) fn failure_ratio(&self) -> f64 {
        let (bits, count) = *self.outcomes.lock().unwrap_or_else(PoisonError::into_inner);
        if count == 0 { 0.0 } else { f64::from(bits.count_ones()) / f64::from(count) }
    }

    /// Rests: nothing passes for so long.
    pub(crate) fn rest(&self, wait: Duration) {
        let until = now_ms() + wait.min(REST_MAX).as_millis() as u64;
        self.rest_until_ms.fetch_max(until, Ordering::Relaxed);
    }

    /// For how long it still rests.
    pub(crate) fn resting_for(&self) -> Duration {
        Duration::from_millis(self.rest_until_ms.load(Ordering::Relaxed).saturating_sub(now_ms()))
    }

    pub(crate) fn is_ejected(&self) -> bool {
        self.ejected_until_ms.load(Ordering::Relaxed) > now_ms()
    }

    pub(crate) fn state(&self) -> BreakerState {
        self.breaker().state()
    }

    /// Whether a call would pass now, as far as can be told without one.
    pub(crate) fn is_open_to_calls(&self) -> bool {
        let now = now_ms();
        let breaker = self.state().name(now);
        self.rest_until_ms.load(Ordering::Relaxed) <= now && breaker != "open"
    }

    /// Opens the breaker until somebody closes it.
    pub(crate) fn force_open(&self) {
        self.breaker().open(u64::MAX);
        self.metrics.breaker_state(2.0);
    }

    /// Closes the breaker.
    pub(crate) fn force_closed(&self) {
        self.breaker().close();
        self.metrics.breaker_state(0.0);
    }

    /// Records the breaker's state as it is at a time: an open one becomes half open by itself.
    pub(crate) fn report(&self, now_ms: u64) {
        self.metrics.breaker_state(match self.state().name(now_ms) {
            "open" => 2.0,
            "half-open" => 1.0,
            _ => 0.0,
        });
    }

    /// A probe of the provider was answered: an open breaker lets the next call try. What somebody opened by hand stays.
    pub(crate) fn probed(&self, is_up: bool) {
        let mut breaker = self.breaker();
        if is_up && matches!(breaker.state(), BreakerState::Open { until_ms } if until_ms != u64::MAX) {
            breaker.half_open();
            self.metrics.breaker_state(1.0);
        }
    }

    /// Forgets all that was learned: breaker, rest, ejection.
    pub(crate) fn reset(&self) {
        self.force_closed();
        self.rest_until_ms.store(0, Ordering::Relaxed);
        self.ejected_until_ms.store(0, Ordering::Relaxed);
        *self.outcomes.lock().unwrap_or_else(PoisonError::into_inner) = (0, 0);
    }

    fn breaker(&self) -> std::sync::MutexGuard<'_, Breaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn record(&self, failed: bool, settings: &LaneSettings) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.failures.fetch_add(u64::from(failed), Ordering::Relaxed);
        let mut outcomes = self.outcomes.lock().unwrap_or_else(PoisonError::into_inner);
        outcomes.0 = outcomes.0 << 1 | u32::from(failed);
        outcomes.1 = (outcomes.1 + 1).min(OUTCOMES);
        let (bits, count) = *outcomes;
        let ratio = f64::from(bits.count_ones()) / f64::from(count);
        if failed && count >= OUTCOMES_MIN && ratio >= settings.eject_ratio {
            *outcomes = (0, 0);
            self.ejected_until_ms.store(now_ms() + settings.eject_ms, Ordering::Relaxed);
            self.metrics.ejected();
        }
    }
}

/// Leave to call through a lane. Dropped, it says that nobody knows how the call went.
#[derive(Debug)]
pub(crate) struct Permit {
    lane: Arc<Lane>,
    settings: LaneSettings,
    pass: Pass,
    held: Option<Held>,
    sent: bool,
}

impl Permit {
    pub(crate) const fn lane(&self) -> &Arc<Lane> {
        &self.lane
    }

    /// The request is on its way: from here on it counts as one.
    pub(crate) const fn sent(&mut self) {
        self.sent = true;
    }

    /// How long the answer took to begin.
    pub(crate) fn began_after(&self, took: Duration) {
        let micros = (took.as_micros() as u64).max(1);
        let slot = &self.lane.first_token_us;
        let before = slot.load(Ordering::Relaxed);
        let after =
            if before == 0 { micros } else { before - (before >> EWMA_SHIFT) + (micros >> EWMA_SHIFT) };
        // Two at once: one is lost, and nobody will notice.
        slot.store(after.max(1), Ordering::Relaxed);
    }

    /// How the call went; `tokens` is what it took, if that is known.
    pub(crate) fn end(mut self, outcome: Outcome, tokens: Option<u64>) {
        let Some(held) = self.held.take() else { return };
        let lane = &self.lane;
        lane.in_flight.fetch_sub(1, Ordering::Relaxed);
        lane.credential.leave(now_ms(), held, self.sent, tokens);
        match outcome {
            Outcome::Success => {
                lane.limited_in_a_row.store(0, Ordering::Relaxed);
                let was = lane.state();
                lane.breaker().succeed(self.pass, &self.settings.breaker);
                if was != (BreakerState::Closed { failures: 0 }) {
                    lane.metrics.breaker_state(0.0);
                }
                lane.record(false, &self.settings);
            }
            Outcome::Failure => self.fail(),
            Outcome::Limited(wait) => {
                lane.breaker().forget(self.pass);
                let in_a_row = lane.limited_in_a_row.fetch_add(1, Ordering::Relaxed).min(6);
                lane.rest(wait.unwrap_or(REST_DEFAULT * 2_u32.pow(in_a_row)));
                lane.metrics.limited();
            }
            Outcome::KeyRefused => {
                // It is of no use for any model until somebody mends it, or it was rotated meanwhile.
                lane.breaker().open(now_ms() + self.settings.breaker.rest_ms);
                lane.metrics.breaker_opened();
                lane.credential.refresh();
                lane.record(true, &self.settings);
            }
            Outcome::CallerFault => lane.breaker().succeed(self.pass, &self.settings.breaker),
        }
    }

    fn fail(&self) {
        let lane = &self.lane;
        let opened = lane.breaker().fail(self.pass, now_ms(), &self.settings.breaker);
        if opened {
            lane.metrics.breaker_opened();
            tracing::warn!(
                llm.provider = %lane.provider,
                llm.model = %lane.model,
                llm.credential = %lane.credential.name,
                "a model provider fails; its breaker is open"
            );
        }
        lane.record(true, &self.settings);
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(held) = self.held.take() {
            self.lane.in_flight.fetch_sub(1, Ordering::Relaxed);
            self.lane.breaker().forget(self.pass);
            self.lane.credential.leave(now_ms(), held, self.sent, None);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::CredentialOptions;

    const SETTINGS: LaneSettings = LaneSettings {
        breaker: BreakerSettings { failures_max: 5, rest_ms: 120_000, probes: 1 },
        eject_ratio: 0.5,
        eject_ms: 30_000,
    };

    fn lane(options: &str) -> Arc<Lane> {
        let options: CredentialOptions = toml::from_str(&format!("name = 'a'\n{options}")).unwrap();
        let credential = Arc::new(Credential::new(&options, ""));
        let model = Arc::from("m");
        Arc::new(Lane::new(&Arc::from("p"), &credential, &model, &model))
    }

    fn call(lane: &Arc<Lane>, outcome: Outcome) -> bool {
        match lane.admit(&SETTINGS, 10, false) {
            Ok(mut permit) => {
                permit.sent();
                permit.end(outcome, Some(10));
                true
            }
            Err(_) => false,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn five_failures_rest_a_lane_for_two_minutes() {
        let lane = lane("");
        for _ in 0..5 {
            assert!(call(&lane, Outcome::Failure));
        }
        assert_eq!(lane.admit(&SETTINGS, 1, false).unwrap_err().reason, "breaker");
        tokio::time::advance(Duration::from_secs(121)).await;
        assert!(call(&lane, Outcome::Success));
        assert!(lane.is_open_to_calls());
    }

    #[tokio::test(start_paused = true)]
    async fn a_limited_lane_rests_as_long_as_its_provider_says() {
        let lane = lane("");
        assert!(call(&lane, Outcome::Limited(Some(Duration::from_secs(7)))));
        let blocked = lane.admit(&SETTINGS, 1, false).unwrap_err();
        assert_eq!(blocked.reason, "resting");
        assert!(blocked.wait <= Duration::from_secs(7) && blocked.wait > Duration::from_secs(6));
        tokio::time::advance(Duration::from_secs(8)).await;
        assert!(call(&lane, Outcome::Success));
        assert!(lane.failure_ratio().abs() < f64::EPSILON, "a limit is no failure");
    }

    #[tokio::test(start_paused = true)]
    async fn a_lane_that_fails_every_other_time_is_ejected_while_others_work() {
        let lane = lane("");
        for turn in 0..16 {
            assert!(call(&lane, if turn % 2 == 0 { Outcome::Success } else { Outcome::Failure }), "{turn}");
        }
        assert_eq!(lane.admit(&SETTINGS, 1, false).unwrap_err().reason, "ejected");
        assert!(lane.admit(&SETTINGS, 1, true).is_ok(), "when nothing else is there");
        tokio::time::advance(Duration::from_secs(31)).await;
        assert!(lane.admit(&SETTINGS, 1, false).is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn limits_of_a_credential_are_reserved_and_settled() {
        let lane = lane("rpm = 3\ntpm = 100\nconcurrency_max = 2");
        let first = lane.admit(&SETTINGS, 60, false).unwrap();
        assert_eq!(lane.admit(&SETTINGS, 60, false).unwrap_err().reason, "tpm");
        let second = lane.admit(&SETTINGS, 40, false).unwrap();
        assert_eq!(lane.admit(&SETTINGS, 1, false).unwrap_err().reason, "concurrency");
        drop(second);
        let mut first = first;
        first.sent();
        first.end(Outcome::Success, Some(5));
        for _ in 0..2 {
            let mut permit = lane.admit(&SETTINGS, 40, false).unwrap();
            permit.sent();
            permit.end(Outcome::Success, Some(40));
        }
        assert_eq!(lane.admit(&SETTINGS, 1, false).unwrap_err().reason, "rpm");
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_was_given_up_leaves_nothing_behind() {
        let lane = lane("concurrency_max = 1");
        drop(lane.admit(&SETTINGS, 1, false).unwrap());
        assert_eq!((lane.in_flight(), lane.credential.in_flight()), (0, 0));
        assert!(lane.admit(&SETTINGS, 1, false).is_ok());
    }
}
