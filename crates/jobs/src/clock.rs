//! The clock that leases, retries and start times are kept by: the store's where servers share one, whatever their own
//! clocks say; the server's own otherwise.

use std::{
    sync::atomic::{AtomicI64, Ordering},
    time::{Duration, Instant},
};

use jiff::Timestamp;
use paddock_platform::{
    params,
    store::{Store, StoreError},
};

use crate::store::sql;

/// A store that takes longer to answer says too little about the moment of its answer.
const ROUND_TRIP_MAX: Duration = Duration::from_secs(1);

/// Tells the time.
#[derive(Debug)]
pub(crate) struct Clock {
    is_shared: bool,
    /// Time that passes, which no change of the server's clock touches.
    began: Instant,
    /// What the store's clock said when this one began, in microseconds.
    origin_us: AtomicI64,
}

impl Clock {
    /// The clock of a store.
    pub(crate) async fn open(store: &Store) -> Result<Self, StoreError> {
        let origin_us = AtomicI64::new(Timestamp::now().as_microsecond());
        let clock = Self { is_shared: store.is_shared(), began: Instant::now(), origin_us };
        clock.compare(store, Duration::MAX).await?;
        Ok(clock)
    }

    /// Now.
    pub(crate) fn now(&self) -> Timestamp {
        if !self.is_shared {
            return Timestamp::now();
        }
        let passed_us = i64::try_from(self.began.elapsed().as_micros()).unwrap_or(i64::MAX);
        let now_us = self.origin_us.load(Ordering::Relaxed).saturating_add(passed_us);
        Timestamp::from_microsecond(now_us).unwrap_or_else(|_| Timestamp::now())
    }

    /// Follows the store's clock: the two drift apart, and a machine that slept has missed some of it.
    pub(crate) async fn follow(&self, store: &Store) -> Result<(), StoreError> {
        self.compare(store, ROUND_TRIP_MAX).await
    }

    /// Asks the store for the time, which is taken for that of the middle between question and answer.
    async fn compare(&self, store: &Store, round_trip_max: Duration) -> Result<(), StoreError> {
        if !self.is_shared {
            return Ok(());
        }
        let asked = self.began.elapsed();
        let row = store.query_first(&sql::NOW, params![]).await?;
        let round_trip = self.began.elapsed().saturating_sub(asked);
        let middle_us = i64::try_from((asked + round_trip / 2).as_micros()).unwrap_or(i64::MAX);
        let now_us: Option<i64> = row.map(|row| row.get(0_usize)).transpose()?;
        if let Some(now_us) = now_us.filter(|_| round_trip <= round_trip_max) {
            self.origin_us.store(now_us.saturating_sub(middle_us), Ordering::Relaxed);
        }
        Ok(())
    }

    /// Makes it as wrong as a server's own clock may be.
    #[cfg(test)]
    pub(crate) fn displace(&self, by: Duration) {
        let by_us = i64::try_from(by.as_micros()).unwrap_or(i64::MAX);
        self.origin_us.fetch_add(by_us, Ordering::Relaxed);
    }
}
