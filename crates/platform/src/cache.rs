//! Named caches: what is costly to find out is kept for a while, within a weight, and found out once.
//!
//! An area declares each of its caches as a [`CacheSpec`] constant and makes a [`Cache`] of it. When many callers want
//! the same missing value, one computes it and the others wait. Errors are not kept. What was being computed while its
//! key was invalidated is given to those who asked before, and to nobody after.

use std::{
    collections::HashMap,
    future::Future,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use metrics::{Counter, Gauge, Unit, counter, describe_counter, describe_gauge, gauge};
use moka::{future::Cache as Entries, notification::RemovalCause};

use crate::units::ByteSize;

/// Values that were found, by cache.
pub const CACHE_HITS_TOTAL: &str = "cache_hits_total";
/// Values that had to be computed, by cache.
pub const CACHE_MISSES_TOTAL: &str = "cache_misses_total";
/// Values that went because of age or weight, by cache and cause.
pub const CACHE_EVICTIONS_TOTAL: &str = "cache_evictions_total";
/// What a cache weighs, by cache.
pub const CACHE_WEIGHT_BYTES: &str = "cache_weight_bytes";

/// What an entry costs beside its key and value.
const ENTRY_OVERHEAD: u64 = 128;
/// How often a caller asks again when what it waited for was invalidated meanwhile.
const RETRIES_MAX: usize = 3;

/// Registers unit and help of this module's metrics.
pub fn describe() {
    describe_counter!(CACHE_HITS_TOTAL, Unit::Count, "Values that were found in a cache");
    describe_counter!(CACHE_MISSES_TOTAL, Unit::Count, "Values that had to be computed");
    describe_counter!(CACHE_EVICTIONS_TOTAL, Unit::Count, "Values that a cache dropped for age or weight");
    describe_gauge!(CACHE_WEIGHT_BYTES, Unit::Bytes, "What a cache weighs");
}

/// Declares a cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheSpec {
    /// Its name in metrics, `area_what`.
    pub name: &'static str,
    /// How long a value is kept.
    pub ttl: Duration,
    /// How much its keys and values may weigh.
    pub weight_max: ByteSize,
}

impl CacheSpec {
    /// The same cache with another time, where the configuration has one.
    #[must_use]
    pub const fn with_ttl(self, ttl: Duration) -> Self {
        Self { ttl, ..self }
    }
}

type StaleFlag = Arc<AtomicBool>;

struct Inner<V> {
    entries: Entries<Arc<str>, Entry<V>>,
    /// What is being computed: the key, and whether it was invalidated meanwhile.
    flights: Mutex<HashMap<u64, (Arc<str>, StaleFlag)>>,
    flights_started: AtomicU64,
    hits: Counter,
    misses: Counter,
    weight: Gauge,
}

#[derive(Clone)]
struct Entry<V> {
    value: V,
    /// Set when the key is invalidated before the entry is in the cache.
    stale: StaleFlag,
}

/// A cache of values that are cheap to clone. The cache itself is, too.
pub struct Cache<V>(Arc<Inner<V>>);

impl<V> Clone for Cache<V> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<V> std::fmt::Debug for Cache<V> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Cache")
    }
}

/// A computation in progress; invalidation finds it here.
struct Flight<'a, V> {
    inner: &'a Inner<V>,
    number: u64,
    stale: StaleFlag,
}

impl<'a, V> Flight<'a, V> {
    fn start(inner: &'a Inner<V>, key: &Arc<str>) -> Self {
        let number = inner.flights_started.fetch_add(1, Ordering::Relaxed);
        let stale = Arc::new(AtomicBool::new(false));
        let mut flights = inner.flights.lock().unwrap_or_else(PoisonError::into_inner);
        flights.insert(number, (Arc::clone(key), Arc::clone(&stale)));
        drop(flights);
        Self { inner, number, stale }
    }
}

impl<V> Drop for Flight<'_, V> {
    fn drop(&mut self) {
        self.inner.flights.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.number);
    }
}

impl<V: Clone + Send + Sync + 'static> Cache<V> {
    /// An empty cache. `weigh` says how many bytes a value takes, roughly.
    pub fn new(spec: CacheSpec, weigh: fn(&V) -> u64) -> Self {
        let name = spec.name;
        let evictions = |cause| counter!(CACHE_EVICTIONS_TOTAL, "cache" => name, "cause" => cause);
        let (expired, outweighed) = (evictions("age"), evictions("weight"));
        let entries = Entries::builder()
            .name(name)
            .time_to_live(spec.ttl)
            .max_capacity(spec.weight_max.get())
            .weigher(move |key: &Arc<str>, entry: &Entry<V>| {
                let weight = ENTRY_OVERHEAD + key.len() as u64 + weigh(&entry.value);
                u32::try_from(weight).unwrap_or(u32::MAX)
            })
            .eviction_listener(move |_, _, cause| match cause {
                RemovalCause::Expired => expired.increment(1),
                RemovalCause::Size => outweighed.increment(1),
                RemovalCause::Explicit | RemovalCause::Replaced => {}
            })
            .support_invalidation_closures()
            .build();
        Self(Arc::new(Inner {
            entries,
            flights: Mutex::default(),
            flights_started: AtomicU64::new(0),
            hits: counter!(CACHE_HITS_TOTAL, "cache" => name),
            misses: counter!(CACHE_MISSES_TOTAL, "cache" => name),
            weight: gauge!(CACHE_WEIGHT_BYTES, "cache" => name),
        }))
    }

    /// The value, if it is there.
    pub async fn get(&self, key: &str) -> Option<V> {
        let found = self.0.entries.get(key).await.filter(Entry::is_fresh);
        if found.is_some() { &self.0.hits } else { &self.0.misses }.increment(1);
        found.map(|entry| entry.value)
    }

    /// Puts a value in, over one of the same key.
    pub async fn insert(&self, key: &str, value: V) {
        let entry = Entry { value, stale: Arc::default() };
        self.0.entries.insert(Arc::from(key), entry).await;
        self.report_weight();
    }

    /// The value; computed if it is not there, by one caller for all who ask meanwhile.
    ///
    /// If that caller goes away, another one that waits computes it. An error is shared by all who waited, and not
    /// kept.
    pub async fn get_or_compute<E, F, Fut>(&self, key: &str, compute: F) -> Result<V, Arc<E>>
    where
        E: Send + Sync + 'static,
        F: FnOnce() -> Fut,
        Fut: Future<Output = Result<V, E>>,
    {
        let key: Arc<str> = Arc::from(key);
        // Runs only when it is awaited, and that is where nobody else computes.
        let mut compute = Box::pin(compute());
        for _ in 0..RETRIES_MAX {
            let mut flight = None;
            let computing = async {
                let stale = Arc::clone(&flight.insert(Flight::start(&self.0, &key)).stale);
                compute.as_mut().await.map(|value| Entry { value, stale })
            };
            let result = self.0.entries.try_get_with(Arc::clone(&key), computing).await;
            let computed_here = flight.is_some();
            if computed_here { &self.0.misses } else { &self.0.hits }.increment(1);
            let entry = result?;
            if !entry.is_fresh() {
                self.0.entries.invalidate(&key).await;
            } else if computed_here {
                self.report_weight();
            }
            // Who computed it asked before the invalidation. Who waited may have asked after it, and asks again.
            if computed_here || entry.is_fresh() {
                return Ok(entry.value);
            }
        }
        compute.await.map_err(Arc::new)
    }

    /// Forgets a key.
    pub async fn invalidate(&self, key: &str) {
        self.mark_stale(|flying| flying == key);
        self.0.entries.invalidate(key).await;
    }

    /// Forgets every key that begins so.
    pub async fn invalidate_prefix(&self, prefix: &str) {
        self.mark_stale(|flying| flying.starts_with(prefix));
        let prefix = prefix.to_owned();
        // The only error is that predicates are not supported, which they are.
        let _ = self.0.entries.invalidate_entries_if(move |key, _| key.starts_with(&prefix));
        self.0.entries.run_pending_tasks().await;
        self.report_weight();
    }

    /// Forgets everything.
    pub async fn clear(&self) {
        self.mark_stale(|_| true);
        self.0.entries.invalidate_all();
        self.0.entries.run_pending_tasks().await;
        self.report_weight();
    }

    fn mark_stale(&self, concerned: impl Fn(&str) -> bool) {
        let flights = self.0.flights.lock().unwrap_or_else(PoisonError::into_inner);
        for (_, stale) in flights.values().filter(|(key, _)| concerned(key)) {
            stale.store(true, Ordering::Release);
        }
    }

    fn report_weight(&self) {
        self.0.weight.set(self.0.entries.weighted_size() as f64);
    }
}

impl<V> Entry<V> {
    fn is_fresh(&self) -> bool {
        !self.stale.load(Ordering::Acquire)
    }
}

#[cfg(test)]
#[path = "cache_tests.rs"]
mod tests;
