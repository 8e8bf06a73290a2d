//! The transaction that claims.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use paddock_platform::{
    http::{Rate, RateLimit},
    params,
    store::{Durability, StoreError, Transaction},
};

use super::{is_external, lanes::Share};
use crate::{
    Job,
    core::Core,
    policy::Queue,
    store::{row, sql},
    verdict::later,
};

/// Who claims, and how much of which lanes.
#[derive(Clone)]
pub(super) struct Claim {
    pub(super) share: Share,
    pub(super) worker: Arc<str>,
    pub(super) lease: Duration,
}

/// What a lane gave.
pub(super) struct Claimed {
    pub(super) jobs: Vec<Arc<Job>>,
    /// How many were taken out of the lane, those included that are held or postponed now.
    pub(super) taken: usize,
    /// It may have more, and a limit of the queue forbids it now.
    pub(super) limited: bool,
    /// When the first that was postponed becomes ready.
    pub(super) due: Option<Timestamp>,
}

/// Claims. No sync is waited for: a claim that the machine forgets is a job that is still queued.
pub(super) async fn claim(core: &Arc<Core>, claims: Vec<Claim>) -> Result<Vec<Claimed>, StoreError> {
    let writer = Arc::clone(core);
    core.store
        .write_with(Durability::Os, move |tx| {
            Box::pin(async move {
                tx.query(&sql::PLAN_BY_INDEX, params![]).await?;
                let mut claimed = Vec::with_capacity(claims.len());
                for claim in &claims {
                    claimed.push(claim_lane(tx, &writer, claim).await?);
                }
                Ok(claimed)
            })
        })
        .await
}

async fn claim_lane(tx: &mut Transaction, core: &Core, claim: &Claim) -> Result<Claimed, StoreError> {
    let lane = &claim.share.lane;
    let queue = Arc::clone(core.policy().of(&lane.queue));
    let room = room(tx, &queue, claim).await?;
    let count = claim.share.count.min(room);
    let mut claimed =
        Claimed { jobs: Vec::with_capacity(count), taken: 0, limited: count < claim.share.count, due: None };
    if count == 0 {
        return Ok(claimed);
    }
    let now = core.now();
    let lease_until = later(now, claim.lease);
    let params = params![
        &*lane.queue,
        &*lane.pool,
        &lane.tenant,
        i64::try_from(count).unwrap_or(i64::MAX),
        now,
        lease_until,
        &*claim.worker,
    ];
    let rows = tx.query(&sql::CLAIM, params).await?;
    let context = row::ClaimContext {
        tenant: &lane.tenant,
        queue: &lane.queue,
        external: is_external(&lane.pool),
        worker: &claim.worker,
        now,
        lease_until,
    };
    let mut jobs =
        rows.iter().map(|row| row::claimed(row, &core.ids, &context)).collect::<Result<Vec<_>, _>>()?;
    // In the order of their turns: an engine returns them as it likes.
    jobs.sort_unstable_by_key(|(job, _)| (row::rank(job.priority), job.id));
    claimed.taken = jobs.len();
    claimed.limited &= jobs.len() == count;
    for (job, paced) in jobs {
        if may_begin(tx, &queue, &job, paced, now, &mut claimed).await? {
            claimed.jobs.push(Arc::new(job));
        }
    }
    Ok(claimed)
}

/// How many more of a queue, and of a tenant in it, may run. Where nothing is limited nothing is counted.
async fn room(tx: &mut Transaction, queue: &Queue, claim: &Claim) -> Result<usize, StoreError> {
    let (of_queue, of_tenant) = (queue.options.concurrency_max, queue.options.concurrency_per_tenant);
    if of_queue.is_none() && of_tenant.is_none() {
        return Ok(usize::MAX);
    }
    let lane = &claim.share.lane;
    tx.query(&sql::LOCK, params![format!("queue {}", lane.queue)]).await?;
    let mut room = u64::MAX;
    if let Some(limit) = of_queue {
        let row = tx.query_first(&sql::COUNT_RUNNING, params![&*lane.queue]).await?;
        let running: u64 = row.map(|row| row.get(0_usize)).transpose()?.unwrap_or(0);
        room = room.min(limit.saturating_sub(running));
    }
    if let Some(limit) = of_tenant {
        let params = params![&*lane.queue, &lane.tenant];
        let row = tx.query_first(&sql::COUNT_RUNNING_OF_TENANT, params).await?;
        let running: u64 = row.map(|row| row.get(0_usize)).transpose()?.unwrap_or(0);
        room = room.min(limit.saturating_sub(running));
    }
    Ok(usize::try_from(room).unwrap_or(usize::MAX))
}

/// Whether a job that was claimed may begin by its key. One that may not is held until another of its key ends, or
/// scheduled for the next free moment of its key.
async fn may_begin(
    tx: &mut Transaction,
    queue: &Queue,
    job: &Job,
    paced: bool,
    now: Timestamp,
    claimed: &mut Claimed,
) -> Result<bool, StoreError> {
    let Some(key) = &job.concurrency_key else { return Ok(true) };
    let id = job.id.key();
    if let (RateLimit::AtMost(rate), false) = (queue.options.rate_per_key, paced)
        && let Some(ready) = next_moment(tx, job, key, rate, now).await?
    {
        tx.execute(&sql::POSTPONE, params![id, ready]).await?;
        claimed.due = Some(claimed.due.map_or(ready, |due| due.min(ready)));
        return Ok(false);
    }
    tx.query(&sql::LOCK, params![format!("{} {} {key}", job.tenant, job.queue)]).await?;
    let counted = tx.query_first(&sql::COUNT_RUNNING_OF_KEY, params![&job.tenant, &*job.queue, key]).await?;
    let running: u64 = counted.map(|row| row.get(0_usize)).transpose()?.unwrap_or(0);
    // It is among those that were counted.
    if running > queue.options.concurrency_per_key.max(1) {
        tx.execute(&sql::HOLD, params![id]).await?;
        return Ok(false);
    }
    Ok(true)
}

/// Takes the next free moment of a key (the generic cell rate algorithm); `None` if that is now.
async fn next_moment(
    tx: &mut Transaction,
    job: &Job,
    key: &str,
    rate: Rate,
    now: Timestamp,
) -> Result<Option<Timestamp>, StoreError> {
    let interval_us = rate.refill().as_micros() / u128::from(rate.burst.get());
    let interval_us = i64::try_from(interval_us).unwrap_or(i64::MAX).max(1);
    let now_us = now.as_microsecond();
    let params = params![&job.tenant, &*job.queue, key, now_us, interval_us];
    let row = tx.query_first(&sql::PACE, params).await?;
    let paced_us: i64 = row.map(|row| row.get(0_usize)).transpose()?.unwrap_or(now_us);
    let burst_us = interval_us.saturating_mul(rate.burst.get().into());
    let ready_us = paced_us.saturating_sub(burst_us);
    Ok((ready_us > now_us).then(|| Timestamp::from_microsecond(ready_us).unwrap_or(now)))
}
