//! So much within a minute: reserved before a call, settled after it.
//!
//! The last sixty seconds are kept second by second, so that no minute, wherever it begins, has more than the limit in
//! it, beside what calls took beyond their reservation.

/// Seconds that count.
const SECONDS: usize = 60;

/// What was taken out of a window before it is known how much it will be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reservation {
    second: u64,
    amount: u64,
}

/// A limit per minute.
#[derive(Clone, Debug)]
pub(crate) struct Window {
    limit: u64,
    taken: [u64; SECONDS],
    total: u64,
    /// The second that was counted last.
    latest: u64,
}

impl Window {
    pub(crate) const fn new(limit: u64) -> Self {
        Self { limit, taken: [0; SECONDS], total: 0, latest: 0 }
    }

    pub(crate) const fn limit(&self) -> u64 {
        self.limit
    }

    /// What is left now.
    pub(crate) fn remaining(&mut self, now_ms: u64) -> u64 {
        self.advance(now_ms / 1000);
        self.limit.saturating_sub(self.total)
    }

    /// Takes an amount, or says in how many milliseconds there may be room for it. More than the limit is taken when
    /// nothing else is: it would never pass otherwise.
    pub(crate) fn reserve(&mut self, now_ms: u64, amount: u64) -> Result<Reservation, u64> {
        let second = now_ms / 1000;
        self.advance(second);
        if self.total > 0 && self.total.saturating_add(amount) > self.limit {
            return Err(self.room_in(now_ms, amount));
        }
        self.add(second, amount);
        Ok(Reservation { second, amount })
    }

    /// Replaces what was reserved by what it was.
    pub(crate) fn settle(&mut self, now_ms: u64, reservation: Reservation, actual: u64) {
        self.advance(now_ms / 1000);
        // What was reserved a minute ago has left the window already.
        let is_within = reservation.second + SECONDS as u64 > self.latest;
        if is_within {
            let slot = &mut self.taken[reservation.second as usize % SECONDS];
            let given_back = reservation.amount.min(*slot);
            *slot -= given_back;
            self.total -= given_back;
            self.add(reservation.second, actual);
        }
    }

    fn add(&mut self, second: u64, amount: u64) {
        let slot = &mut self.taken[second as usize % SECONDS];
        let grown = slot.saturating_add(amount);
        self.total = self.total.saturating_add(grown - *slot);
        *slot = grown;
    }

    /// Forgets what is older than a minute.
    fn advance(&mut self, second: u64) {
        if second <= self.latest {
            return;
        }
        let steps = (second - self.latest).min(SECONDS as u64);
        for past in (second + 1 - steps)..=second {
            let slot = &mut self.taken[past as usize % SECONDS];
            self.total -= *slot;
            *slot = 0;
        }
        self.latest = second;
    }

    /// When enough will have left the window.
    fn room_in(&self, now_ms: u64, amount: u64) -> u64 {
        let mut left = self.total;
        for age in (0..SECONDS as u64).rev() {
            let Some(second) = self.latest.checked_sub(age) else { continue };
            left -= self.taken[second as usize % SECONDS];
            if left == 0 || left.saturating_add(amount) <= self.limit {
                return ((second + SECONDS as u64) * 1000).saturating_sub(now_ms).max(1);
            }
        }
        SECONDS as u64 * 1000
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_beyond_the_limit_waits_until_enough_has_left() {
        let mut window = Window::new(10);
        assert!(window.reserve(0, 6).is_ok());
        assert!(window.reserve(30_000, 4).is_ok());
        assert_eq!(window.reserve(30_500, 1), Err(29_500));
        assert_eq!(window.reserve(30_500, 7), Err(59_500));
        assert!(window.reserve(60_000, 6).is_ok());
    }

    #[test]
    fn more_than_the_limit_passes_alone() {
        let mut window = Window::new(10);
        assert!(window.reserve(0, 50).is_ok());
        assert!(window.reserve(59_999, 1).is_err());
        assert!(window.reserve(60_000, 50).is_ok());
    }

    #[test]
    fn what_was_reserved_too_much_is_given_back() {
        let mut window = Window::new(10);
        let reservation = window.reserve(1000, 9).unwrap();
        window.settle(2000, reservation, 2);
        assert_eq!(window.remaining(2000), 8);
        let late = window.reserve(2000, 8).unwrap();
        window.settle(90_000, late, 8);
        assert_eq!(window.remaining(90_000), 10, "it had left the window");
    }

    proptest! {
        #[test]
        fn no_minute_has_more_than_the_limit(
            calls in prop::collection::vec((0_u64..5000, 1_u64..40, prop::option::of(0_u64..40)), 1..150),
        ) {
            let (limit, mut window, mut now, mut kept) = (60, Window::new(60), 0_u64, Vec::<(u64, u64)>::new());
            for (wait, amount, actual) in calls {
                now += wait;
                let sum = |kept: &[(u64, u64)]| -> u64 {
                    kept.iter().filter(|(at, _)| at / 1000 + 60 > now / 1000).map(|(_, amount)| amount).sum()
                };
                match window.reserve(now, amount) {
                    Ok(reservation) => {
                        prop_assert!(sum(&kept) == 0 || sum(&kept) + amount <= limit);
                        // It never took more than it reserved, as far as this test goes.
                        let actual = actual.unwrap_or(amount).min(amount);
                        window.settle(now, reservation, actual);
                        kept.push((now, actual));
                    }
                    Err(wait) => {
                        prop_assert!(sum(&kept) > 0 && sum(&kept) + amount > limit);
                        prop_assert!(wait > 0 && wait <= 60_000);
                    }
                }
                prop_assert_eq!(window.remaining(now), limit.saturating_sub(sum(&kept)));
            }
        }

        #[test]
        fn after_the_wait_there_is_room(first in 1_u64..60, at in 0_u64..100_000, amount in 1_u64..60) {
            let mut window = Window::new(60);
            let _ = window.reserve(at, first);
            if let Err(wait) = window.reserve(at + 10, amount) {
                prop_assert!(window.reserve(at + 10 + wait, amount).is_ok());
            }
        }
    }
}
