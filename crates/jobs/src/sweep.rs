//! Upkeep: what becomes ready with time, what was lost, what is kept no longer.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use metrics::gauge;
use paddock_platform::{
    identity::Tenant,
    params,
    store::{Durability, Params, Row, StoreError},
};

use crate::{
    EventKind, Job, JobEvent, JobState,
    core::Core,
    dispatch::Lane,
    id::created_at,
    ledger::{Ending, let_go_of_key},
    metrics::{JOBS_DEPTH, JOBS_QUEUE_LATENCY_SECONDS},
    store::{row, sql},
    verdict::{Moment, Verdict},
};

/// No polling is faster than this.
const INTERVAL: Duration = Duration::from_secs(1);
/// How often the slower parts of upkeep are done.
const SLOW_INTERVAL: Duration = Duration::from_secs(10);
/// How often results that no job refers to are looked for.
const RESULTS_INTERVAL: Duration = Duration::from_mins(1);
/// Jobs that one statement takes.
const BATCH: u32 = 1_000;
/// Batches that one round of upkeep takes: the rest is for the next.
const BATCHES_MAX: usize = 20;
/// Paced keys are forgotten this long after they could begin at once.
const KEY_KEPT_US: i64 = 60_000_000;

/// Starts upkeep.
pub(crate) fn spawn(core: &Arc<Core>) {
    let (core, tasks) = (Arc::clone(core), core.tasks.clone());
    let stopping = tasks.stop_token();
    tasks.spawn("jobs-upkeep", async move {
        let _ = stopping.run_until_cancelled(keep_up(&core)).await;
    });
}

async fn keep_up(core: &Arc<Core>) {
    let (mut swept, mut slow, mut results) = (None::<Instant>, None::<Instant>, Instant::now());
    loop {
        let mut done = promote(core).await;
        if swept.is_none_or(|swept| swept.elapsed() >= INTERVAL) {
            core.reread_options();
            done = done.and(lost(core).await).and(forget(core).await);
            swept = Some(Instant::now());
        }
        if slow.is_none_or(|slow| slow.elapsed() >= SLOW_INTERVAL) {
            done = done.and(slowly(core, slow.is_some()).await);
            slow = Some(Instant::now());
        }
        if results.elapsed() >= RESULTS_INTERVAL {
            done = done.and(crate::results::sweep(core, core.now()).await);
            results = Instant::now();
        }
        if let Err(error) = done {
            tracing::warn!(%error, "upkeep of jobs could not be done; trying again");
        }
        tokio::select! {
            () = tokio::time::sleep(core.due.wait(core.now(), INTERVAL)) => {}
            () = core.due.sooner() => {}
        }
    }
}

/// Makes ready what is due.
async fn promote(core: &Core) -> Result<(), StoreError> {
    core.due.reset();
    for _ in 0..BATCHES_MAX {
        let now = core.now();
        let rows = core
            .store
            .write_with(Durability::Os, move |tx| {
                Box::pin(async move {
                    // Most of the time there is nothing, and nothing to write.
                    let next = tx.query_first(&sql::NEXT_DUE, params![]).await?;
                    match next.map(|row| row.get::<Option<Timestamp>>(0_usize)).transpose()?.flatten() {
                        Some(due) if due <= now => tx.query(&sql::DUE, params![now, BATCH]).await.map(Ok),
                        due => Ok(Err(due)),
                    }
                })
            })
            .await?;
        match rows {
            Ok(rows) => tell_ready(core, &rows)?,
            Err(next) => {
                if let Some(next) = next {
                    core.due.at(next);
                }
                return Ok(());
            }
        }
    }
    core.due.at(core.now());
    Ok(())
}

fn tell_ready(core: &Core, rows: &[Row]) -> Result<(), StoreError> {
    let mut lanes = BTreeSet::new();
    for row in rows {
        let tenant: String = row.get(1_usize)?;
        let Ok(tenant) = tenant.parse::<Tenant>() else { continue };
        let (queue, pool, kind): (String, String, String) =
            (row.get(2_usize)?, row.get(3_usize)?, row.get(4_usize)?);
        let parent: Option<String> = row.get(7_usize)?;
        let (key, attempt, sequence) = (row.get(0_usize)?, row.get(5_usize)?, row.get(6_usize)?);
        core.tell(|| JobEvent {
            id: core.ids.of(&tenant, key),
            tenant: tenant.clone(),
            queue: queue.as_str().into(),
            kind: kind.into(),
            sequence,
            at: Timestamp::now(),
            attempt,
            parent: parent.as_deref().map(Into::into),
            what: EventKind::State(JobState::Queued),
        });
        lanes.insert(Lane { queue: queue.into(), pool: pool.into(), tenant });
    }
    core.supply.lanes(lanes.into_iter().collect());
    Ok(())
}

/// Takes back what nobody was heard of about.
pub(crate) async fn lost(core: &Arc<Core>) -> Result<(), StoreError> {
    for _ in 0..BATCHES_MAX {
        let rows = core.store.query(&sql::LOST, params![core.now(), BATCH]).await?;
        let found = rows.len();
        for row in &rows {
            let job = Arc::new(row::job(row, &core.ids)?);
            if is_here(core, &job) {
                continue;
            }
            let queue = Arc::clone(core.policy().of(&job.queue));
            let postponed = queue.live.budget.ask(queue.options.retry_budget);
            let moment = Moment::by_chance(core.now(), postponed);
            let verdict = Verdict::lost(&job, &queue.options, moment);
            tracing::warn!(
                job.id = %job.id, job.kind = &*job.kind, job.attempt = job.attempt,
                job.worker = job.worker.as_deref(), "an attempt lost its lease"
            );
            core.ledger.end(Ending::new(job, verdict, moment.now)).await?;
        }
        if found < BATCH as usize {
            break;
        }
        // What was found is found again until it is written.
        core.ledger.settled().await;
    }
    Ok(())
}

/// Whether this server knows more of an attempt than its lease says: the clock was put forward, or the store was away.
/// Then the lease of what runs is renewed, and what ended is written.
fn is_here(core: &Core, job: &Job) -> bool {
    let key = job.id.key();
    if job.worker.as_deref() == Some(&*core.node.name) && core.running.has(key) {
        core.beat_now.notify_one();
        return true;
    }
    core.ledger.is_ending(key, job.attempt)
}

/// Forgets what is kept no longer. Results among the blobs are swept once their jobs are gone.
async fn forget(core: &Core) -> Result<(), StoreError> {
    for _ in 0..BATCHES_MAX {
        let rows = core.store.query(&sql::EXPIRED, params![core.now(), BATCH]).await?;
        if rows.is_empty() {
            break;
        }
        let mut keys: Vec<Params> = Vec::with_capacity(rows.len());
        for row in &rows {
            keys.push(params![row.get::<i64>(0_usize)?]);
        }
        core.store
            .write_with(Durability::Os, move |tx| {
                Box::pin(async move { tx.execute_each(&sql::FORGET_EACH, &keys).await })
            })
            .await?;
    }
    Ok(())
}

/// What need not be done every second: counts, limits that were raised, keys, modes.
async fn slowly(core: &Arc<Core>, recounts: bool) -> Result<(), StoreError> {
    core.clock.follow(&core.store).await?;
    measure(core, recounts).await?;
    if core.store.is_shared() {
        core.read_modes().await?;
    }
    let_go(core).await?;
    let now_us = core.now().as_microsecond();
    core.store.execute(&sql::FORGET_KEYS, params![now_us - KEY_KEPT_US]).await.map(drop)
}

/// Counts what there is, for the gauges and the depth of queues.
pub(crate) async fn measure(core: &Core, recounts: bool) -> Result<(), StoreError> {
    let mut counts: HashMap<(String, &'static str), i64> = HashMap::new();
    for row in core.store.query(&sql::COUNT, params![""]).await? {
        let state = crate::store::state(row.get(1_usize)?).unwrap_or(JobState::Queued);
        *counts.entry((row.get(0_usize)?, state.name())).or_default() += row.get::<i64>(2_usize)?;
    }
    let policy = Arc::clone(&core.policy());
    for (name, queue) in &policy.queues {
        for state in JobState::ALL.into_iter().filter(|state| *state != JobState::Succeeded) {
            let count = counts.get(&(name.to_string(), state.name())).copied().unwrap_or(0);
            gauge!(JOBS_DEPTH, "queue" => name.to_string(), "state" => state.name()).set(count as f64);
        }
        let dead = counts.get(&(name.to_string(), JobState::Dead.name())).copied().unwrap_or(0);
        if queue.live.more_dead(dead) && dead.cast_unsigned() >= policy.options.dead_alert {
            tracing::warn!(
                job.queue = &**name,
                dead,
                "jobs died; `paddock jobs list --state dead` shows why, `paddock jobs retry` tries them again"
            );
        }
        let waits = [JobState::Queued, JobState::Scheduled];
        let depth = waits.iter().filter_map(|state| counts.get(&(name.to_string(), state.name()))).sum();
        // On one server the count that is kept is exact; with several it drifts until this.
        // The first time they were counted at the start, and jobs are being accepted already.
        if recounts && core.store.is_shared() {
            queue.live.recounted(depth);
        }
        let latency = oldest(core, name).await?.unwrap_or_default();
        gauge!(JOBS_QUEUE_LATENCY_SECONDS, "queue" => name.to_string()).set(latency.as_secs_f64());
    }
    Ok(())
}

/// How long the first job of each lane of a queue has been ready, the longest.
pub(crate) async fn oldest(core: &Core, queue: &str) -> Result<Option<Duration>, StoreError> {
    let now = core.now();
    let mut longest = None;
    let mut last = (queue.to_owned(), String::new(), String::new());
    for _ in 0..BATCH {
        let Some(row) = core.store.query_first(&sql::NEXT_LANE, params![&last.0, &last.1, &last.2]).await?
        else {
            break;
        };
        last = (row.get(0_usize)?, row.get(1_usize)?, row.get(2_usize)?);
        if last.0 != queue {
            break;
        }
        let params = params![&last.0, &last.1, &last.2];
        if let Some(head) = core.store.query_first(&sql::LANE_HEAD, params).await? {
            let ready = created_at(head.get(0_usize)?).max(head.get(1_usize)?);
            let waited = now.duration_since(ready).max(jiff::SignedDuration::ZERO).unsigned_abs();
            longest = longest.max(Some(waited));
        }
    }
    Ok(longest)
}

/// Lets go what is held although its key has room: a limit was raised, or a server died between two steps.
async fn let_go(core: &Arc<Core>) -> Result<(), StoreError> {
    for row in core.store.query(&sql::HELD_KEYS, params![]).await? {
        let tenant: String = row.get(0_usize)?;
        let Ok(tenant) = tenant.parse::<Tenant>() else { continue };
        let (queue, key): (String, String) = (row.get(1_usize)?, row.get(2_usize)?);
        let limit = core.policy().of(&queue).options.concurrency_per_key.max(1);
        let (of, name) = (tenant.clone(), queue.clone());
        let pools: Vec<String> = core
            .store
            .write_with(Durability::Os, move |tx| {
                Box::pin(async move { let_go_of_key(tx, &of, &name, &key, limit).await })
            })
            .await?;
        let lane =
            |pool: String| Lane { queue: queue.as_str().into(), pool: pool.into(), tenant: tenant.clone() };
        core.supply.lanes(pools.into_iter().map(lane).collect());
    }
    Ok(())
}
