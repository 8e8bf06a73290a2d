//! How fast a session's events come: a bucket that fills with their bytes and empties with time.

use std::time::{Duration, Instant};

/// One session's bucket.
#[derive(Debug)]
pub(crate) struct Flow {
    level: f64,
    since: Instant,
    flooded: bool,
}

impl Flow {
    pub(crate) fn new(now: Instant) -> Self {
        Self { level: 0.0, since: now, flooded: false }
    }

    /// Takes bytes in. Whether the bucket overflows, for the first time.
    pub(crate) fn overflows(
        &mut self,
        size: usize,
        burst_max: usize,
        per_s_max: usize,
        now: Instant,
    ) -> bool {
        let elapsed: Duration = now.saturating_duration_since(self.since);
        self.since = now;
        self.level = (self.level - elapsed.as_secs_f64() * per_s_max as f64).max(0.0) + size as f64;
        let overflows = self.level > burst_max as f64 && !self.flooded;
        self.flooded |= overflows;
        overflows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_borne_and_a_flood_is_reported_once() {
        let start = Instant::now();
        let mut flow = Flow::new(start);
        assert!(!flow.overflows(100, 100, 10, start));
        let later = start + Duration::from_secs(5);
        assert!(!flow.overflows(50, 100, 10, later));
        assert!(flow.overflows(1, 100, 10, later));
        assert!(!flow.overflows(1000, 100, 10, later));
    }
}
