//! Admission of navigations: so many at a time, so many waiting, the rest refused at once.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicUsize, Ordering},
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout_at},
};

/// Lets a bounded number in. Its limits may change between calls.
#[derive(Debug)]
pub(crate) struct Gate {
    permits: Arc<Semaphore>,
    /// How many permits there are in all.
    limit: Mutex<usize>,
    waiting: AtomicUsize,
}

/// Why nobody was let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turned {
    /// Too many wait already.
    Full,
    /// The turn did not come in time.
    Late,
}

struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Gate {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            permits: Arc::new(Semaphore::new(limit)),
            limit: Mutex::new(limit),
            waiting: AtomicUsize::new(0),
        }
    }

    /// Waits for a turn, first come first served.
    pub(crate) async fn enter(
        &self,
        limit: usize,
        queue_max: usize,
        deadline: Instant,
    ) -> Result<OwnedSemaphorePermit, Turned> {
        self.adjust(limit);
        if let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() {
            return Ok(permit);
        }
        if self.waiting.fetch_add(1, Ordering::Relaxed) >= queue_max {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            return Err(Turned::Full);
        }
        let _waiting = Waiting(&self.waiting);
        match timeout_at(deadline, Arc::clone(&self.permits).acquire_owned()).await {
            Ok(Ok(permit)) => Ok(permit),
            Ok(Err(_)) | Err(_) => Err(Turned::Late),
        }
    }

    /// Follows a changed limit; permits in use are taken back by the calls after.
    fn adjust(&self, wanted: usize) {
        let mut limit = self.limit.lock().unwrap_or_else(PoisonError::into_inner);
        if wanted > *limit {
            self.permits.add_permits(wanted - *limit);
            *limit = wanted;
        } else if wanted < *limit {
            *limit -= self.permits.forget_permits(*limit - wanted);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(5)
    }

    #[tokio::test(start_paused = true)]
    async fn the_queue_is_bounded_and_so_is_the_wait() {
        let gate = Gate::new(1);
        let permit = gate.enter(1, 1, soon()).await.unwrap();
        let (late, full) = tokio::join!(gate.enter(1, 1, soon()), gate.enter(1, 1, soon()));
        assert_eq!((late.unwrap_err(), full.unwrap_err()), (Turned::Late, Turned::Full));
        drop(permit);
        assert!(gate.enter(1, 0, soon()).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_changed_limit_is_followed() {
        let gate = Gate::new(1);
        let first = gate.enter(2, 0, soon()).await.unwrap();
        let second = gate.enter(2, 0, soon()).await.unwrap();
        assert_eq!(gate.enter(1, 0, soon()).await.unwrap_err(), Turned::Full);
        drop(first);
        assert_eq!(gate.enter(1, 0, soon()).await.unwrap_err(), Turned::Full);
        drop(second);
        assert!(gate.enter(1, 0, soon()).await.is_ok());
    }
}
