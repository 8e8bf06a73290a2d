//! Shares of the processors: tenants get the same, however many agents each of them keeps busy.
//!
//! While agents of one tenant alone are awake nothing is done here. With several, a poll of an agent's task needs a place.
//! There is one place fewer than the runtime has threads: the thread that is left sees who else is ready, and serves the
//! rest of the server. Who waits for a place stands in the lane of its tenant, and the lane that has had the least time is
//! served next.

use std::{
    collections::{BTreeMap, VecDeque},
    future::{Future, poll_fn},
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Instant,
};

use paddock_platform::identity::Tenant;

#[derive(Debug)]
struct Waiting {
    waker: Waker,
    is_granted: Arc<AtomicBool>,
}

#[derive(Debug, Default)]
struct Lane {
    /// How much time it has had, in nanoseconds.
    pass: u64,
    awake: usize,
    waiting: VecDeque<Waiting>,
}

#[derive(Debug, Default)]
struct Inner {
    running: usize,
    lanes: BTreeMap<Tenant, Lane>,
    /// How much time the lane had that was served last: one that comes back begins there.
    floor: u64,
}

/// The shares of all tenants.
#[derive(Debug)]
pub(crate) struct Shares {
    inner: Mutex<Inner>,
    tenants: AtomicUsize,
    width: usize,
}

impl Shares {
    /// For a runtime of so many threads.
    pub(crate) fn of_threads(threads: usize) -> Self {
        // With as many places as threads nobody would ever wait, and so nobody be preferred.
        Self::new(threads.saturating_sub(1))
    }

    fn new(width: usize) -> Self {
        Self { inner: Mutex::default(), tenants: AtomicUsize::new(0), width: width.max(1) }
    }

    /// Has others take their turn.
    pub(crate) async fn give_way(&self) {
        if self.tenants.load(Ordering::Acquire) <= 1 {
            return tokio::task::yield_now().await;
        }
        // That wakes a task when its thread has looked at timers and sockets, which is after 60 polls of others where many
        // are ready. Who is to be served next has to be seen to wait before.
        let mut has_waited = false;
        poll_fn(|cx| {
            if std::mem::replace(&mut has_waited, true) {
                return Poll::Ready(());
            }
            cx.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enter(&self, tenant: &Tenant) {
        let mut inner = self.inner();
        let floor = inner.floor;
        let lane = inner.lanes.entry(tenant.clone()).or_default();
        lane.pass = lane.pass.max(floor);
        lane.awake += 1;
        let tenants = inner.lanes.len();
        self.tenants.store(tenants, Ordering::Release);
    }

    fn leave(&self, tenant: &Tenant) {
        let mut inner = self.inner();
        if let Some(lane) = inner.lanes.get_mut(tenant) {
            lane.awake -= 1;
            if lane.awake == 0 {
                inner.lanes.remove(tenant);
            }
        }
        let tenants = inner.lanes.len();
        self.tenants.store(tenants, Ordering::Release);
    }

    /// A place, or a place in the lane.
    fn acquire(&self, tenant: &Tenant, waker: &Waker, is_granted: &Arc<AtomicBool>) -> bool {
        let mut inner = self.inner();
        if inner.running < self.width {
            inner.running += 1;
            return true;
        }
        let Some(lane) = inner.lanes.get_mut(tenant) else {
            // Nobody who is not in a lane asks.
            inner.running += 1;
            return true;
        };
        let mine = lane.waiting.iter_mut().find(|waiting| Arc::ptr_eq(&waiting.is_granted, is_granted));
        if let Some(mine) = mine {
            mine.waker.clone_from(waker);
        } else {
            lane.waiting.push_back(Waiting { waker: waker.clone(), is_granted: Arc::clone(is_granted) });
        }
        false
    }

    /// Gives a place back after so many nanoseconds, or to the one whose turn it is.
    fn release(&self, tenant: &Tenant, nanos: u64) {
        let mut inner = self.inner();
        if let Some(lane) = inner.lanes.get_mut(tenant) {
            lane.pass += nanos;
        }
        let waiting = inner.lanes.values_mut().filter(|lane| !lane.waiting.is_empty());
        let next = waiting.min_by_key(|lane| lane.pass);
        let Some((pass, next)) = next.and_then(|lane| Some((lane.pass, lane.waiting.pop_front()?))) else {
            inner.running -= 1;
            return;
        };
        inner.floor = inner.floor.max(pass);
        next.is_granted.store(true, Ordering::Release);
        drop(inner);
        next.waker.wake();
    }

    fn forget(&self, tenant: &Tenant, is_granted: &Arc<AtomicBool>) {
        let mut inner = self.inner();
        if let Some(lane) = inner.lanes.get_mut(tenant) {
            lane.waiting.retain(|waiting| !Arc::ptr_eq(&waiting.is_granted, is_granted));
        }
    }
}

/// A task that gets no more than its tenant's share.
pub(crate) struct Fair<F> {
    inner: Pin<Box<F>>,
    shares: Arc<Shares>,
    tenant: Tenant,
    is_granted: Arc<AtomicBool>,
}

impl<F> Fair<F> {
    pub(crate) fn new(shares: &Arc<Shares>, tenant: &Tenant, inner: F) -> Self {
        shares.enter(tenant);
        Self {
            inner: Box::pin(inner),
            shares: Arc::clone(shares),
            tenant: tenant.clone(),
            is_granted: Arc::default(),
        }
    }
}

impl<F: Future> Future for Fair<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = &mut *self;
        let is_granted = this.is_granted.swap(false, Ordering::AcqRel);
        if !is_granted {
            if this.shares.tenants.load(Ordering::Acquire) <= 1 {
                return this.inner.as_mut().poll(cx);
            }
            if !this.shares.acquire(&this.tenant, cx.waker(), &this.is_granted) {
                return Poll::Pending;
            }
        }
        // Also when the poll panics.
        let _place = PlaceTaken { shares: &this.shares, tenant: &this.tenant, since: Instant::now() };
        this.inner.as_mut().poll(cx)
    }
}

struct PlaceTaken<'a> {
    shares: &'a Shares,
    tenant: &'a Tenant,
    since: Instant,
}

impl Drop for PlaceTaken<'_> {
    fn drop(&mut self) {
        let nanos = u64::try_from(self.since.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.shares.release(self.tenant, nanos);
    }
}

impl<F> Drop for Fair<F> {
    fn drop(&mut self) {
        self.shares.forget(&self.tenant, &self.is_granted);
        if self.is_granted.swap(false, Ordering::AcqRel) {
            self.shares.release(&self.tenant, 0);
        }
        self.shares.leave(&self.tenant);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tenant(name: &str) -> Tenant {
        name.parse().unwrap()
    }

    fn wait(shares: &Shares, name: &str) -> Arc<AtomicBool> {
        let is_granted = Arc::default();
        assert!(!shares.acquire(&tenant(name), Waker::noop(), &is_granted));
        is_granted
    }

    #[test]
    fn the_tenant_that_had_the_least_time_is_next() {
        let shares = Shares::new(1);
        for name in ["busy", "calm"] {
            shares.enter(&tenant(name));
        }
        assert!(shares.acquire(&tenant("busy"), Waker::noop(), &Arc::default()));
        let busy: Vec<_> = (0..100).map(|_| wait(&shares, "busy")).collect();
        let calm: Vec<_> = (0..10).map(|_| wait(&shares, "calm")).collect();
        let granted = |of: &[Arc<AtomicBool>]| of.iter().filter(|flag| flag.load(Ordering::Relaxed)).count();
        // Each poll takes the same time: both get the same number.
        let mut last = "busy";
        for _ in 0..20 {
            let before = granted(&calm);
            shares.release(&tenant(last), 1_000);
            last = if granted(&calm) > before { "calm" } else { "busy" };
        }
        assert_eq!((granted(&busy), granted(&calm)), (10, 10));
    }

    #[test]
    fn one_that_comes_back_has_saved_up_nothing() {
        let shares = Shares::new(1);
        shares.enter(&tenant("a"));
        shares.enter(&tenant("b"));
        assert!(shares.acquire(&tenant("a"), Waker::noop(), &Arc::default()));
        let _next = wait(&shares, "a");
        shares.release(&tenant("a"), 1_000_000);
        shares.leave(&tenant("b"));
        shares.enter(&tenant("b"));
        assert_eq!(shares.inner().lanes[&tenant("b")].pass, 1_000_000);
    }

    #[tokio::test]
    async fn everything_is_done_whoever_shares() {
        let shares = Arc::new(Shares::new(1));
        let work = |name: &str| {
            Fair::new(&shares, &tenant(name), async {
                for _ in 0..100 {
                    tokio::task::yield_now().await;
                }
                1
            })
        };
        let all = [work("a"), work("b"), work("b"), work("c")];
        let done = futures_util::future::join_all(all).await;
        assert_eq!(done.iter().sum::<i32>(), 4);
        assert_eq!(shares.inner().running, 0);
        assert_eq!(shares.tenants.load(Ordering::Relaxed), 0);
    }
}
