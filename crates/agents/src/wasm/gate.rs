//! Who computes: turns that need more than a slice take places in turn, so that they never take all cores.
//!
//! A turn that is done within its first slice never comes here. The others get a place for one slice after the other.
//! There are half as many places as the runtime has threads, so that the rest of the server always has the other half.
//! Among those that wait, tenants take turns; within a tenant, whoever has computed least goes first: what is nearly
//! done is not held up by what never will be.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use metrics::gauge;
use paddock_platform::identity::Tenant;
use tokio::sync::oneshot;

use super::metrics::AGENTS_WASM_COMPUTING;

#[derive(Debug)]
pub(super) struct Gate(Mutex<Queue>);

#[derive(Debug)]
struct Queue {
    places: usize,
    free: usize,
    next: u64,
    /// Those that wait, by slices that they have had and then by when they came.
    waiting: HashMap<Tenant, BTreeMap<(u32, u64), oneshot::Sender<Place>>>,
    /// The tenants with somebody waiting, in their turn.
    turns: VecDeque<Tenant>,
}

/// The right to compute for one slice. Dropping it lets the next one in.
#[derive(Debug)]
pub(super) struct Place(Option<Arc<Gate>>);

impl Gate {
    pub(super) fn new(places: usize) -> Arc<Self> {
        let places = places.max(1);
        let queue = Queue { places, free: places, next: 0, waiting: HashMap::new(), turns: VecDeque::new() };
        Arc::new(Self(Mutex::new(queue)))
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a place. `used` is how many slices the turn has had.
    pub(super) async fn enter(self: Arc<Self>, tenant: Tenant, used: u32) -> Place {
        let waiting = {
            let mut queue = self.queue();
            if queue.free > 0 {
                queue.free -= 1;
                queue.tell();
                None
            } else {
                Some(queue.join(tenant, used))
            }
        };
        match waiting {
            None => Place(Some(self)),
            // The sender is dropped with the gate alone, which this future holds.
            Some(waiting) => waiting.await.unwrap_or_else(|_| Place(None)),
        }
    }

    fn leave(self: Arc<Self>) {
        let mut place = Place(Some(Arc::clone(&self)));
        loop {
            let next = {
                let mut queue = self.queue();
                let next = queue.pop();
                if next.is_none() {
                    queue.free += 1;
                    queue.tell();
                }
                next
            };
            let Some(next) = next else {
                place.0 = None;
                return;
            };
            // Somebody who no longer waits gives it back.
            match next.send(place) {
                Ok(()) => return,
                Err(back) => place = back,
            }
        }
    }

    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        self.queue().waiting.values().map(BTreeMap::len).sum()
    }
}

impl Queue {
    fn tell(&self) {
        gauge!(AGENTS_WASM_COMPUTING).set((self.places - self.free) as f64);
    }

    fn join(&mut self, tenant: Tenant, used: u32) -> oneshot::Receiver<Place> {
        let (sender, receiver) = oneshot::channel();
        self.next += 1;
        let key = (used, self.next);
        let own = self.waiting.entry(tenant.clone()).or_default();
        if own.is_empty() {
            self.turns.push_back(tenant);
        }
        own.insert(key, sender);
        receiver
    }

    fn pop(&mut self) -> Option<oneshot::Sender<Place>> {
        let tenant = self.turns.pop_front()?;
        let own = self.waiting.get_mut(&tenant)?;
        let next = own.pop_first().map(|(_, sender)| sender);
        if own.is_empty() {
            self.waiting.remove(&tenant);
        } else {
            self.turns.push_back(tenant);
        }
        next
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(gate) = self.0.take() {
            gate.leave();
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    fn tenant(name: &str) -> Tenant {
        name.parse().unwrap()
    }

    #[tokio::test]
    async fn who_computed_least_goes_first_and_tenants_take_turns() {
        let gate = Gate::new(1);
        let first = Arc::clone(&gate).enter(tenant("a"), 0).await;
        let order = Arc::new(Mutex::new(Vec::new()));
        let mut waiting = Vec::new();
        for (name, used) in [("a", 9), ("a", 2), ("a", 5), ("b", 50)] {
            let (gate, order) = (Arc::clone(&gate), Arc::clone(&order));
            let mut entering = Box::pin(async move {
                let place = gate.enter(tenant(name), used).await;
                order.lock().unwrap().push((name, used));
                drop(place);
            });
            assert!(entering.as_mut().now_or_never().is_none());
            waiting.push(entering);
        }
        drop(first);
        futures_util::future::join_all(waiting).await;
        assert_eq!(*order.lock().unwrap(), [("a", 2), ("b", 50), ("a", 5), ("a", 9)]);
        assert_eq!(gate.queue().free, 1);
    }

    #[tokio::test]
    async fn a_place_is_not_lost_with_somebody_who_stopped_waiting() {
        let gate = Gate::new(1);
        let first = Arc::clone(&gate).enter(tenant("a"), 0).await;
        let mut gone = Box::pin(Arc::clone(&gate).enter(tenant("a"), 1));
        assert!(gone.as_mut().now_or_never().is_none());
        let mut given = Box::pin(Arc::clone(&gate).enter(tenant("a"), 2));
        assert!(given.as_mut().now_or_never().is_none());
        drop(gone);
        drop(first);
        // It had the place already, and did not look.
        drop(given);
        assert_eq!(gate.waiting(), 0);
        assert_eq!(gate.queue().free, 1);
    }
}
