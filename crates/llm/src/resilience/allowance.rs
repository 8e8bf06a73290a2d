//! How many extra attempts there may be: a part of the calls, and a few for when there are few.

use std::sync::atomic::{AtomicU64, Ordering};

/// Thousandths, so that a part of one fits an integer.
const UNIT: u64 = 1000;
/// Extra attempts that may be saved up. So many there are at the start: no breaker has learned anything yet.
const SAVED_MAX: u64 = 100 * UNIT;

/// An allowance of extra attempts: each call adds its part of one, each extra attempt takes one.
#[derive(Debug)]
pub(crate) struct Allowance(AtomicU64);

impl Default for Allowance {
    fn default() -> Self {
        Self(AtomicU64::new(SAVED_MAX))
    }
}

impl Allowance {
    /// A call was made, of which `ratio` may be extra.
    pub(crate) fn deposit(&self, ratio: f64) {
        let part = (ratio.clamp(0.0, 1.0) * UNIT as f64) as u64;
        // At its top, as it is almost always, nothing is written.
        if self.0.load(Ordering::Relaxed) < SAVED_MAX {
            self.0.fetch_add(part, Ordering::Relaxed);
        }
    }

    /// Takes one extra attempt, if there is one.
    pub(crate) fn take(&self) -> bool {
        let taken =
            self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |saved| saved.checked_sub(UNIT));
        taken.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_calls_only_a_part_is_repeated() {
        let allowance = Allowance::default();
        let mut extra = 0;
        for _ in 0..1000 {
            allowance.deposit(0.2);
            extra += u32::from(allowance.take());
        }
        // Those that were saved up, and a fifth of the calls.
        assert!((295..=300).contains(&extra), "{extra}");
    }
}
