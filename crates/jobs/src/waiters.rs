//! Callers that wait for a job to end.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use tokio::sync::oneshot;

/// Who waits for which job. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Waiters(Arc<Inner>);

/// One who waits.
type Numbered = (u64, oneshot::Sender<()>);

#[derive(Debug, Default)]
struct Inner {
    waiting: Mutex<HashMap<i64, Vec<Numbered>>>,
    count: AtomicUsize,
    /// Numbers given out so far.
    numbers: AtomicU64,
}

/// A place among those who wait; given up when dropped.
#[derive(Debug)]
pub(crate) struct Waiter {
    waiters: Waiters,
    key: i64,
    number: u64,
    told: oneshot::Receiver<()>,
}

impl Waiters {
    /// Waits for a job, if fewer than `waiters_max` wait.
    pub(crate) fn enter(&self, key: i64, waiters_max: usize) -> Option<Waiter> {
        let (tell, told) = oneshot::channel();
        let mut waiting = self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if self.0.count.load(Ordering::Relaxed) >= waiters_max {
            return None;
        }
        self.0.count.fetch_add(1, Ordering::Relaxed);
        let number = self.0.numbers.fetch_add(1, Ordering::Relaxed);
        waiting.entry(key).or_default().push((number, tell));
        drop(waiting);
        Some(Waiter { waiters: self.clone(), key, number, told })
    }

    /// Tells those who wait for a job that it is worth looking.
    pub(crate) fn tell(&self, key: i64) {
        // Most jobs have nobody waiting for them.
        if self.0.count.load(Ordering::Relaxed) == 0 {
            return;
        }
        let mut waiting = self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        for (_, tell) in waiting.remove(&key).into_iter().flatten() {
            let _ = tell.send(());
        }
    }

    /// Tells everybody: something may have been missed.
    pub(crate) fn tell_all(&self) {
        let mut waiting = self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        for (_, tell) in waiting.drain().flat_map(|(_, of_job)| of_job) {
            let _ = tell.send(());
        }
    }
}

impl Waiter {
    /// Resolves when it is worth looking.
    pub(crate) async fn told(&mut self) {
        let _ = (&mut self.told).await;
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        let mut waiting = self.waiters.0.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        self.waiters.0.count.fetch_sub(1, Ordering::Relaxed);
        if let Some(of_job) = waiting.get_mut(&self.key) {
            of_job.retain(|(number, _)| *number != self.number);
            if of_job.is_empty() {
                waiting.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn all_who_wait_for_a_job_are_told_and_nobody_else() {
        let waiters = Waiters::default();
        let [mut first, mut second, _other] = [1, 1, 2].map(|key| waiters.enter(key, 10).unwrap());
        waiters.tell(1);
        first.told().await;
        second.told().await;
        assert_eq!(waiters.0.waiting.lock().unwrap().keys().copied().collect::<Vec<_>>(), [2]);
    }

    #[test]
    fn places_are_bounded_and_given_back() {
        let waiters = Waiters::default();
        let first = waiters.enter(1, 1).unwrap();
        assert!(waiters.enter(2, 1).is_none());
        drop(first);
        assert!(waiters.enter(2, 1).is_some());
        assert!(waiters.0.waiting.lock().unwrap().is_empty());
    }
}
