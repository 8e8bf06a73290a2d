//! The time for which a server may run agents.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// A lease, as the server that has it sees it: by its own clock, and shorter than the store says.
#[derive(Debug)]
pub(crate) struct Term {
    /// What its row is found by: the server's id and the number of the lease.
    pub(crate) node: Arc<str>,
    began: Instant,
    /// In microseconds since it began.
    until_us: AtomicU64,
    over: CancellationToken,
}

impl Term {
    pub(super) fn begin(node: Arc<str>, now: Instant, lasts: Duration, stopping: &CancellationToken) -> Self {
        let term = Self { node, began: now, until_us: AtomicU64::new(0), over: stopping.child_token() };
        term.extend(now, lasts);
        term
    }

    /// It was renewed: who asked for that at a moment has it for so long from then.
    pub(super) fn extend(&self, asked: Instant, lasts: Duration) {
        let until = (asked + lasts).duration_since(self.began);
        let until = u64::try_from(until.as_micros()).unwrap_or(u64::MAX);
        self.until_us.fetch_max(until, Ordering::AcqRel);
    }

    pub(super) fn until(&self) -> Instant {
        self.began + Duration::from_micros(self.until_us.load(Ordering::Acquire))
    }

    /// How long it still is.
    pub(super) fn left(&self) -> Duration {
        self.until().saturating_duration_since(Instant::now())
    }

    /// Whether agents may be run.
    pub(crate) fn is_live(&self) -> bool {
        !self.over.is_cancelled() && Instant::now() < self.until()
    }

    pub(super) fn end(&self) {
        self.over.cancel();
    }

    /// Cancelled when it is over, and when the server stops.
    pub(crate) fn token(&self) -> CancellationToken {
        self.over.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_term_is_as_long_as_what_was_asked_for_last_and_ends_for_good() {
        let lasts = Duration::from_secs(6);
        let stopping = CancellationToken::new();
        let term = Term::begin(Arc::from("a.1"), Instant::now(), lasts, &stopping);
        tokio::time::advance(Duration::from_secs(4)).await;
        let asked = Instant::now();
        tokio::time::advance(Duration::from_secs(1)).await;
        term.extend(asked, lasts);
        assert_eq!(term.left(), Duration::from_secs(5));
        // An answer that comes late takes nothing away.
        term.extend(asked - Duration::from_secs(3), lasts);
        assert_eq!(term.left(), Duration::from_secs(5));
        tokio::time::advance(Duration::from_secs(5)).await;
        assert!(!term.is_live());
        term.end();
        term.extend(Instant::now(), lasts);
        assert!(!term.is_live() && term.token().is_cancelled());
    }
}
