//! The circuit breaker, as a state machine that is told the time.
//!
//! Closed: everything passes; so many failures in a row open it. Open: nothing passes until it has rested. Half open: so
//! many probes pass; when all have succeeded it closes, when one fails it opens again. What began before the last change
//! of state tells nothing about the state now: its end is ignored.

/// Failures that open it, how long it rests, and probes that close it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BreakerSettings {
    pub(crate) failures_max: u32,
    pub(crate) rest_ms: u64,
    pub(crate) probes: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BreakerState {
    Closed {
        failures: u32,
    },
    /// Until then, in milliseconds; for ever if somebody opened it by hand.
    Open {
        until_ms: u64,
    },
    HalfOpen {
        in_flight: u32,
        succeeded: u32,
    },
}

/// Leave to pass; its end is told to the breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pass {
    generation: u64,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Breaker {
    state: BreakerState,
    /// Counts changes of state.
    generation: u64,
}

impl Default for Breaker {
    fn default() -> Self {
        Self { state: BreakerState::Closed { failures: 0 }, generation: 0 }
    }
}

impl Breaker {
    /// Lets a call pass, or says when to come back, in milliseconds.
    pub(crate) fn admit(&mut self, now_ms: u64, settings: &BreakerSettings) -> Result<Pass, u64> {
        if let BreakerState::Open { until_ms } = self.state {
            if now_ms < until_ms {
                return Err(until_ms - now_ms);
            }
            self.become_state(BreakerState::HalfOpen { in_flight: 0, succeeded: 0 });
        }
        if let BreakerState::HalfOpen { in_flight, succeeded } = &mut self.state {
            if *in_flight + *succeeded >= settings.probes.max(1) {
                // The probes are on their way; how they end comes soon or late.
                return Err(1000);
            }
            *in_flight += 1;
        }
        Ok(Pass { generation: self.generation })
    }

    /// A call succeeded.
    pub(crate) fn succeed(&mut self, pass: Pass, settings: &BreakerSettings) {
        if pass.generation != self.generation {
            return;
        }
        match &mut self.state {
            BreakerState::Closed { failures } => *failures = 0,
            BreakerState::HalfOpen { in_flight, succeeded } => {
                *in_flight -= 1;
                *succeeded += 1;
                if *succeeded >= settings.probes.max(1) {
                    self.become_state(BreakerState::Closed { failures: 0 });
                }
            }
            BreakerState::Open { .. } => {}
        }
    }

    /// A call failed. Returns whether that opened the breaker.
    pub(crate) fn fail(&mut self, pass: Pass, now_ms: u64, settings: &BreakerSettings) -> bool {
        if pass.generation != self.generation {
            return false;
        }
        let opens = match &mut self.state {
            BreakerState::Closed { failures } => {
                *failures += 1;
                *failures >= settings.failures_max.max(1)
            }
            BreakerState::HalfOpen { .. } => true,
            BreakerState::Open { .. } => false,
        };
        if opens {
            self.become_state(BreakerState::Open { until_ms: now_ms.saturating_add(settings.rest_ms) });
        }
        opens
    }

    /// A call ended without telling anything: its caller went away, or the request was at fault.
    pub(crate) fn forget(&mut self, pass: Pass) {
        if pass.generation == self.generation
            && let BreakerState::HalfOpen { in_flight, .. } = &mut self.state
        {
            *in_flight -= 1;
        }
    }

    /// Opens it for so long.
    pub(crate) fn open(&mut self, until_ms: u64) {
        self.become_state(BreakerState::Open { until_ms });
    }

    /// Closes it, whatever it saw.
    pub(crate) fn close(&mut self) {
        self.become_state(BreakerState::Closed { failures: 0 });
    }

    /// Lets the next calls probe.
    pub(crate) fn half_open(&mut self) {
        self.become_state(BreakerState::HalfOpen { in_flight: 0, succeeded: 0 });
    }

    pub(crate) const fn state(&self) -> BreakerState {
        self.state
    }

    fn become_state(&mut self, state: BreakerState) {
        self.state = state;
        self.generation += 1;
    }
}

impl BreakerState {
    /// A word for it, at a time.
    pub(crate) const fn name(self, now_ms: u64) -> &'static str {
        match self {
            Self::Closed { .. } => "closed",
            Self::Open { until_ms } if until_ms > now_ms => "open",
            Self::Open { .. } | Self::HalfOpen { .. } => "half-open",
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SETTINGS: BreakerSettings = BreakerSettings { failures_max: 5, rest_ms: 120_000, probes: 2 };

    fn opened_at(now_ms: u64) -> Breaker {
        let mut breaker = Breaker::default();
        for _ in 0..5 {
            let pass = breaker.admit(now_ms, &SETTINGS).unwrap();
            breaker.fail(pass, now_ms, &SETTINGS);
        }
        breaker
    }

    #[test]
    fn five_failures_in_a_row_open_it_for_two_minutes() {
        let mut breaker = opened_at(1000);
        assert_eq!(breaker.admit(1000, &SETTINGS), Err(120_000));
        assert_eq!(breaker.admit(120_999, &SETTINGS), Err(1));
        assert!(breaker.admit(121_000, &SETTINGS).is_ok());
    }

    #[test]
    fn a_success_between_failures_keeps_it_closed() {
        let mut breaker = Breaker::default();
        for turn in 0..20 {
            let pass = breaker.admit(0, &SETTINGS).unwrap();
            if turn % 5 == 4 {
                breaker.succeed(pass, &SETTINGS);
            } else {
                assert!(!breaker.fail(pass, 0, &SETTINGS));
            }
        }
    }

    #[test]
    fn probes_close_it_and_one_failure_opens_it_again() {
        let mut breaker = opened_at(0);
        let now = 120_000;
        let (first, second) =
            (breaker.admit(now, &SETTINGS).unwrap(), breaker.admit(now, &SETTINGS).unwrap());
        assert!(breaker.admit(now, &SETTINGS).is_err(), "only so many probes");
        breaker.succeed(first, &SETTINGS);
        assert!(breaker.admit(now, &SETTINGS).is_err(), "the second probe is still on its way");
        breaker.succeed(second, &SETTINGS);
        assert_eq!(breaker.state(), BreakerState::Closed { failures: 0 });
        let mut breaker = opened_at(0);
        let probe = breaker.admit(now, &SETTINGS).unwrap();
        assert!(breaker.fail(probe, now, &SETTINGS));
        assert_eq!(breaker.admit(now, &SETTINGS), Err(120_000));
    }

    #[test]
    fn a_probe_whose_caller_went_away_frees_its_place() {
        let mut breaker = opened_at(0);
        for _ in 0..10 {
            let probe = breaker.admit(120_000, &SETTINGS).unwrap();
            breaker.forget(probe);
        }
    }

    /// What happens to a breaker in the model test.
    #[derive(Clone, Debug)]
    enum Event {
        Admit,
        Succeed(usize),
        Fail(usize),
        Forget(usize),
        Wait(u64),
        Close,
        HalfOpen,
    }

    fn event() -> impl Strategy<Value = Event> {
        prop_oneof![
            4 => Just(Event::Admit),
            2 => (0_usize..8).prop_map(Event::Succeed),
            4 => (0_usize..8).prop_map(Event::Fail),
            1 => (0_usize..8).prop_map(Event::Forget),
            2 => (0_u64..200_000).prop_map(Event::Wait),
            1 => Just(Event::Close),
            1 => Just(Event::HalfOpen),
        ]
    }

    proptest! {
        #[test]
        fn its_promises_hold_in_every_order_of_events(events in prop::collection::vec(event(), 0..200)) {
            let (mut breaker, mut now, mut passes) = (Breaker::default(), 0, Vec::new());
            for event in events {
                match event {
                    Event::Admit => {
                        let before = breaker.state();
                        let admitted = breaker.admit(now, &SETTINGS);
                        match before {
                            BreakerState::Closed { .. } => prop_assert!(admitted.is_ok()),
                            BreakerState::Open { until_ms } => prop_assert_eq!(admitted.is_ok(), now >= until_ms),
                            BreakerState::HalfOpen { in_flight, succeeded } => {
                                prop_assert_eq!(admitted.is_ok(), in_flight + succeeded < SETTINGS.probes);
                            }
                        }
                        passes.extend(admitted.ok());
                    }
                    Event::Succeed(at) if at < passes.len() => breaker.succeed(passes.swap_remove(at), &SETTINGS),
                    Event::Fail(at) if at < passes.len() => {
                        let closed = matches!(breaker.state(), BreakerState::Closed { .. });
                        if breaker.fail(passes.swap_remove(at), now, &SETTINGS) {
                            prop_assert_eq!(breaker.state(), BreakerState::Open { until_ms: now + SETTINGS.rest_ms });
                        } else if let BreakerState::Closed { failures } = breaker.state() {
                            prop_assert!(closed && failures < SETTINGS.failures_max);
                        }
                    }
                    Event::Forget(at) if at < passes.len() => breaker.forget(passes.swap_remove(at)),
                    Event::Wait(ms) => now += ms,
                    Event::Close => breaker.close(),
                    Event::HalfOpen => breaker.half_open(),
                    _ => {}
                }
                if let BreakerState::HalfOpen { in_flight, succeeded } = breaker.state() {
                    prop_assert!(in_flight + succeeded <= SETTINGS.probes && succeeded < SETTINGS.probes);
                    prop_assert!(in_flight as usize <= passes.len());
                }
            }
        }
    }
}
