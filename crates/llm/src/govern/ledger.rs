//! What was used and what it cost, to the token.
//!
//! Calls are added up in memory by hour and by what they have in common, and the sums are written to the store every
//! second and when the server stops. A batch is given up only when its write is confirmed, so that a store that fails
//! loses nothing; its id goes into the same transaction, so that one whose write was kept, though nobody heard of it, is
//! not added twice. `kill -9` loses what was added since the last write: a second of it at most, while the store answers.

use std::{
    collections::{HashMap, VecDeque},
    hash::{BuildHasher, RandomState},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp, civil::Date, tz::TimeZone};
use paddock_platform::{
    params,
    problem::error_chain,
    store::{Params, Row, Store, StoreError, Transaction},
    task::Tasks,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Pico, dollars};
use crate::{
    dialect::usage::Usage,
    store::{ADD_BATCH, ADD_USAGE, EXPIRE_BATCHES, SPENT_SINCE, usage_statement},
};

/// How often sums are written.
const FLUSH_INTERVAL: Duration = Duration::from_secs(1);
/// Locks, so that calls at once seldom wait for one another.
const SHARDS: usize = 16;
/// Different sums of one shard at a time; what is beyond is added to one without names of models.
const SUMS_MAX: usize = 4096;
/// Rows of one transaction.
const ROWS_MAX: usize = 256;
const HOUR_S: i64 = 3600;
/// How often ids of batches are forgotten, and how long they are kept.
const FORGET_INTERVAL: Duration = Duration::from_hours(1);
const BATCHES_KEPT: SignedDuration = SignedDuration::from_hours(24);

/// What calls of one sum have in common.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Dims {
    pub(crate) tenant: Arc<str>,
    /// The id of the key; empty for callers without one.
    pub(crate) key: Arc<str>,
    pub(crate) api: &'static str,
    /// The model as the caller named it.
    pub(crate) model: Arc<str>,
    pub(crate) provider: Arc<str>,
    pub(crate) target: Arc<str>,
    pub(crate) credential: Arc<str>,
}

/// What was used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sums {
    pub(crate) requests: u64,
    pub(crate) failures: u64,
    pub(crate) estimated: u64,
    pub(crate) cached: u64,
    pub(crate) input: u64,
    pub(crate) output: u64,
    pub(crate) cache_read: u64,
    pub(crate) cache_write: u64,
    pub(crate) reasoning: u64,
    pub(crate) cost: Pico,
}

/// One call.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Entry {
    pub(crate) usage: Usage,
    pub(crate) cost: Pico,
    pub(crate) failed: bool,
    pub(crate) cached: bool,
}

impl Sums {
    fn add(&mut self, entry: &Entry) {
        let Entry { usage, cost, failed, cached } = entry;
        self.requests += 1;
        self.failures += u64::from(*failed);
        self.estimated += u64::from(usage.estimated);
        self.cached += u64::from(*cached);
        self.input += usage.input;
        self.output += usage.output;
        self.cache_read += usage.cache_read;
        self.cache_write += usage.cache_write;
        self.reasoning += usage.reasoning;
        self.cost = self.cost.saturating_add(*cost);
    }
}

/// Sums that are written together.
#[derive(Clone)]
struct Batch {
    id: String,
    rows: Vec<((i64, Dims), Sums)>,
}

type Shard = HashMap<(i64, Dims), Sums>;
/// Money of a day, and of that day and month, by tenant and key.
type Added = HashMap<(Arc<str>, Arc<str>), (Date, Pico, Pico)>;
type Spent = HashMap<(String, String), (Pico, Pico)>;

struct Inner {
    store: Store,
    shards: [Mutex<Shard>; SHARDS],
    hasher: RandomState,
    /// What each tenant and key had spent of the current day and month when the server started.
    before: Spent,
    before_day: Date,
    /// What was added by this server, by tenant and key, for limits that are made later.
    added: Mutex<Added>,
    /// Batches whose write is not confirmed; one flush at a time.
    unconfirmed: tokio::sync::Mutex<VecDeque<Batch>>,
}

/// Counts and writes down. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Ledger(Arc<Inner>);

impl std::fmt::Debug for Ledger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Ledger")
    }
}

impl Ledger {
    /// Opens the ledger: reads what was spent of this month, and starts to write.
    pub(crate) async fn open(store: Store, tasks: &Tasks) -> Result<Self, StoreError> {
        let before_day = today();
        let day_start = hour_of(before_day);
        let month_start = hour_of(before_day.first_of_month());
        let mut before = Spent::new();
        for row in store.query(&SPENT_SINCE, params![month_start, day_start]).await? {
            let (of_month, of_day): (i64, i64) = (row.get(2)?, row.get(3)?);
            before.insert((row.get(0)?, row.get(1)?), (of_day.unsigned_abs(), of_month.unsigned_abs()));
        }
        let ledger = Self(Arc::new(Inner {
            store,
            shards: std::array::from_fn(|_| Mutex::default()),
            hasher: RandomState::new(),
            before,
            before_day,
            added: Mutex::default(),
            unconfirmed: tokio::sync::Mutex::default(),
        }));
        ledger.spawn_writer(tasks);
        Ok(ledger)
    }

    /// Adds a call.
    pub(crate) fn add(&self, dims: Dims, entry: &Entry) {
        if entry.cost > 0 {
            self.add_spend(&dims, entry.cost);
        }
        let hour = crate::clock::unix_s().div_euclid(HOUR_S);
        let shard = self.0.hasher.hash_one(&dims) as usize % SHARDS;
        let mut sums = lock(&self.0.shards[shard]);
        let is_full = sums.len() >= SUMS_MAX;
        if let Some(sum) = sums.get_mut(&(hour, dims.clone())) {
            return sum.add(entry);
        }
        let dims = if is_full {
            let other: Arc<str> = Arc::from("other");
            Dims { model: Arc::clone(&other), target: other, ..dims }
        } else {
            dims
        };
        sums.entry((hour, dims)).or_default().add(entry);
    }

    /// Adds a call in a transaction, with whatever else is written there. Once that is committed, [`Ledger::note_spend`] tells
    /// limits that are made later.
    pub(crate) async fn add_in(tx: &mut Transaction, dims: &Dims, entry: &Entry) -> Result<(), StoreError> {
        let mut sums = Sums::default();
        sums.add(entry);
        let hour = crate::clock::unix_s().div_euclid(HOUR_S);
        tx.execute(&ADD_USAGE, row(hour, dims, &sums)).await.map(drop)
    }

    pub(crate) fn note_spend(&self, dims: &Dims, entry: &Entry) {
        if entry.cost > 0 {
            self.add_spend(dims, entry.cost);
        }
    }

    fn add_spend(&self, dims: &Dims, cost: Pico) {
        let today = today();
        let mut added = lock(&self.0.added);
        let slot = added.entry((Arc::clone(&dims.tenant), Arc::clone(&dims.key))).or_insert((today, 0, 0));
        let (day, of_day, of_month) = *slot;
        let keeps_month = (day.year(), day.month()) == (today.year(), today.month());
        let of_day = if day == today { of_day } else { 0 };
        *slot = (today, of_day + cost, if keeps_month { of_month } else { 0 } + cost);
    }

    /// What callers of some kind have spent of this day and month until now.
    pub(crate) fn spent_before(&self, is_counted: impl Fn(&str, &str) -> bool) -> (Pico, Pico) {
        let today = today();
        let same_month = |day: Date| (day.year(), day.month()) == (today.year(), today.month());
        let started = self.0.before_day;
        let mut spent = (0, 0);
        for ((tenant, key), (of_day, of_month)) in &self.0.before {
            if is_counted(tenant, key) && same_month(started) {
                spent.0 += if started == today { *of_day } else { 0 };
                spent.1 += of_month;
            }
        }
        for ((tenant, key), (day, of_day, of_month)) in &*lock(&self.0.added) {
            if is_counted(tenant, key) && same_month(*day) {
                spent.0 += if *day == today { *of_day } else { 0 };
                spent.1 += of_month;
            }
        }
        spent
    }

    /// Writes what was added.
    pub(crate) async fn flush(&self) -> Result<(), StoreError> {
        let mut unconfirmed = self.0.unconfirmed.lock().await;
        // While the store fails, sums go on growing where they are: there they have a bound.
        self.write_all(&mut unconfirmed).await?;
        for shard in &self.0.shards {
            let mut rows: Vec<((i64, Dims), Sums)> = std::mem::take(&mut *lock(shard)).into_iter().collect();
            while !rows.is_empty() {
                let batch = rows.split_off(rows.len().saturating_sub(ROWS_MAX));
                unconfirmed.push_back(Batch { id: uuid::Uuid::now_v7().to_string(), rows: batch });
            }
        }
        self.write_all(&mut unconfirmed).await
    }

    async fn write_all(&self, batches: &mut VecDeque<Batch>) -> Result<(), StoreError> {
        while let Some(batch) = batches.front() {
            self.write(batch.clone()).await?;
            batches.pop_front();
        }
        Ok(())
    }

    async fn write(&self, batch: Batch) -> Result<(), StoreError> {
        self.0
            .store
            .write(|tx| {
                Box::pin(async move {
                    if tx.execute(&ADD_BATCH, params![batch.id, Timestamp::now()]).await? == 0 {
                        return Ok(());
                    }
                    for ((hour, dims), sums) in batch.rows {
                        tx.execute(&ADD_USAGE, row(hour, &dims, &sums)).await?;
                    }
                    Ok(())
                })
            })
            .await
    }

    /// Writes what was added, and every batch of it once more, as after a write that was kept and not confirmed.
    #[cfg(test)]
    pub(crate) async fn write_twice(&self) {
        let mut rows = Vec::new();
        for shard in &self.0.shards {
            rows.extend(std::mem::take(&mut *lock(shard)));
        }
        let batch = Batch { id: "batch".to_owned(), rows };
        self.write(batch.clone()).await.unwrap();
        self.write(batch).await.unwrap();
    }

    /// Forgets batches that nobody will write again.
    async fn forget_batches(&self) {
        let oldest = Timestamp::now() - BATCHES_KEPT;
        if let Err(error) = self.0.store.execute(&EXPIRE_BATCHES, params![oldest]).await {
            tracing::warn!(error = error_chain(&error), "old batches of usage could not be forgotten");
        }
    }

    fn spawn_writer(&self, tasks: &Tasks) {
        let (ledger, stopping) = (self.clone(), tasks.stop_token());
        tasks.spawn("llm-ledger", async move {
            let mut forget = tokio::time::interval(FORGET_INTERVAL);
            loop {
                let stops = tokio::select! {
                    () = tokio::time::sleep(FLUSH_INTERVAL) => false,
                    _ = forget.tick() => {
                        ledger.forget_batches().await;
                        false
                    }
                    () = stopping.cancelled() => true,
                };
                if let Err(error) = ledger.flush().await {
                    tracing::error!(
                        error = error_chain(&error),
                        "usage of models could not be written; it is kept and tried again"
                    );
                }
                if stops {
                    return;
                }
            }
        });
    }

    /// What was used, by what is asked; what was added until now included.
    pub(crate) async fn usage(&self, filter: &UsageFilter) -> Result<Vec<UsageRow>, StoreError> {
        self.flush().await?;
        let tenant = filter.tenant.clone();
        let (from, to) = (filter.from_hour, filter.to_hour);
        let statement = usage_statement(filter.group);
        let rows = self.0.store.query(statement, params![from, to, tenant, filter.key.clone()]).await?;
        rows.iter().map(|row| UsageRow::read(row, filter.group)).collect()
    }
}

fn row(hour: i64, dims: &Dims, sums: &Sums) -> Params {
    params![
        hour,
        &*dims.tenant,
        &*dims.key,
        dims.api,
        &*dims.model,
        &*dims.provider,
        &*dims.target,
        &*dims.credential,
        int(sums.requests),
        int(sums.failures),
        int(sums.estimated),
        int(sums.cached),
        int(sums.input),
        int(sums.output),
        int(sums.cache_read),
        int(sums.cache_write),
        int(sums.reasoning),
        int(sums.cost),
    ]
}

/// What usage is asked for.
#[derive(Clone, Debug)]
pub(crate) struct UsageFilter {
    /// Hours since 1970; the end is not included.
    pub(crate) from_hour: i64,
    pub(crate) to_hour: i64,
    /// One tenant; `None`: all.
    pub(crate) tenant: Option<String>,
    /// One key; `None`: all.
    pub(crate) key: Option<String>,
    pub(crate) group: UsageGroup,
}

/// What usage is added up by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum UsageGroup {
    /// The model as callers name it.
    #[default]
    Model,
    /// The provider.
    Provider,
    /// The provider, its credential and its model.
    Credential,
    /// The key.
    Key,
    /// The tenant.
    Tenant,
    /// The day (UTC).
    Day,
    /// The hour (UTC).
    Hour,
}

/// Usage of one group.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema, ToSchema)]
pub struct UsageRow {
    /// What the row is about.
    pub group: String,
    /// Calls that ended.
    pub requests: u64,
    /// Those that failed.
    pub failures: u64,
    /// Those that the cache answered.
    pub cached: u64,
    /// Those whose tokens are estimates, because the provider did not say.
    pub estimated: u64,
    /// Tokens that were sent.
    pub input_tokens: u64,
    /// Tokens that were answered.
    pub output_tokens: u64,
    /// Tokens that prompt caches of providers had.
    pub cache_read_tokens: u64,
    /// Tokens that were written to them.
    pub cache_write_tokens: u64,
    /// Tokens of reasoning, within the output.
    pub reasoning_tokens: u64,
    /// What it cost, in US dollars.
    pub cost_usd: f64,
}

impl UsageRow {
    fn read(row: &Row, group: UsageGroup) -> Result<Self, StoreError> {
        let count = |column: usize| row.get::<i64>(column).map(i64::unsigned_abs);
        Ok(Self {
            group: match group {
                UsageGroup::Day => moment(&row.get::<String>(0)?, 24).strftime("%F").to_string(),
                UsageGroup::Hour => moment(&row.get::<String>(0)?, 1).to_string(),
                _ => row.get(0)?,
            },
            requests: count(1)?,
            failures: count(2)?,
            cached: count(3)?,
            estimated: count(4)?,
            input_tokens: count(5)?,
            output_tokens: count(6)?,
            cache_read_tokens: count(7)?,
            cache_write_tokens: count(8)?,
            reasoning_tokens: count(9)?,
            cost_usd: dollars(count(10)?),
        })
    }
}

/// A number of days or hours since 1970, as the store gives it.
fn moment(text: &str, hours: i64) -> Timestamp {
    let number: i64 = text.parse().unwrap_or_default();
    Timestamp::from_second(number * hours * HOUR_S).unwrap_or_default()
}

fn int(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn today() -> Date {
    TimeZone::UTC.to_datetime(Timestamp::now()).date()
}

fn hour_of(date: Date) -> i64 {
    date.to_zoned(TimeZone::UTC).map_or(0, |start| start.timestamp().as_second().div_euclid(HOUR_S))
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
