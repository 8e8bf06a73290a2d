//! Writes how attempts ended.

use std::{collections::HashMap, sync::Arc};

use jiff::Timestamp;
use paddock_platform::{
    identity::Tenant,
    params,
    store::{Params, Row, StoreError, Transaction},
};

use super::{End, durability, insist, ms, record_batch, tell::Told};
use crate::{
    Effects, Ended, Fault, Job, JobState,
    core::Core,
    registry::Apply,
    store::{code, row, sql, state},
    verdict::Verdict,
};

/// An attempt that ended, and what becomes of its job.
#[derive(Clone)]
pub(crate) struct Ending {
    pub(crate) job: Arc<Job>,
    pub(crate) verdict: Verdict,
    pub(crate) at: Timestamp,
    /// What is written in the same transaction.
    pub(crate) apply: Option<Apply>,
}

impl Ending {
    pub(crate) fn new(job: Arc<Job>, verdict: Verdict, at: Timestamp) -> Self {
        Self { job, verdict, at, apply: None }
    }
}

/// What became of the end of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EndStatus {
    /// The job is in this state now.
    Ended(JobState),
    /// The attempt was not the current one: nothing was changed.
    Lost,
}

/// One ending as it was written.
pub(super) struct Written {
    pub(super) status: EndStatus,
    pub(super) changes: u64,
}

const LOST: Written = Written { status: EndStatus::Lost, changes: 0 };

/// Writes a batch. Endings that something else belongs to, in the same transaction, are written each by itself.
pub(super) async fn write(core: &Arc<Core>, batch: Vec<End>) {
    record_batch("end", batch.len());
    let mut plain = Vec::with_capacity(batch.len());
    let mut special = Vec::new();
    for end in batch {
        let wanted = core.registry.is_wanted(&end.ending.job, end.ending.verdict.end());
        if wanted || end.ending.apply.is_some() { special.push(end) } else { plain.push(end) }
    }
    // One after the other in order of their ids: two transactions that lock the same jobs lock them in the same order.
    plain.sort_unstable_by_key(|end| end.ending.job.id);
    let special = special.into_iter().map(|end| write_special(core, end));
    futures_util::join!(write_plain(core, plain), futures_util::future::join_all(special));
}

async fn write_plain(core: &Arc<Core>, batch: Vec<End>) {
    if batch.is_empty() {
        return;
    }
    let Err((batch, error)) = write_together(core, batch).await else { return };
    if batch.len() == 1 || error.is_transient() {
        return give_up(batch, &error);
    }
    // One of them has something that the store refuses; the others are written without it.
    for end in batch {
        if let Err((end, error)) = write_together(core, vec![end]).await {
            give_up(end, &error);
        }
    }
}

/// Writes all or none, and tells everybody.
async fn write_together(core: &Arc<Core>, batch: Vec<End>) -> Result<(), (Vec<End>, StoreError)> {
    let endings: Arc<[Ending]> = batch.iter().map(|end| end.ending.clone()).collect();
    let written = insist(core, || keep(Arc::clone(core), Arc::clone(&endings))).await;
    let Together { written, let_go, effects } = match written {
        Ok(together) => together,
        Err(error) => return Err((batch, error)),
    };
    let mut told = Told::default();
    told.effects(&effects);
    for (end, written) in batch.iter().zip(&written) {
        told.ended(core, &end.ending, written);
    }
    told.let_go(let_go);
    told.tell(core);
    // Who is answered may ask for what follows: by then it is known.
    for (end, written) in batch.into_iter().zip(written) {
        if let Some(answer) = end.answer {
            let _ = answer.send(Ok(written.status));
        }
    }
    Ok(())
}

fn give_up(batch: Vec<End>, error: &StoreError) {
    tracing::error!(
        %error, attempts = batch.len(),
        "the end of attempts could not be written; their leases end, and their jobs are tried again"
    );
    for answer in batch.into_iter().filter_map(|end| end.answer) {
        let _ = answer.send(Err(error.clone()));
    }
}

type LetGo = Vec<(Arc<str>, Tenant, String)>;

/// What was written of a batch.
struct Together {
    written: Vec<Written>,
    let_go: LetGo,
    effects: Effects,
}

async fn keep(core: Arc<Core>, endings: Arc<[Ending]>) -> Result<Together, StoreError> {
    let strictest = endings.iter().map(|end| core.policy().of(&end.job.queue).options.durability).max();
    let writer = Arc::clone(&core);
    core.store
        .write_with(durability(strictest.unwrap_or_default()), move |tx| {
            Box::pin(async move {
                let written = end_all(tx, &writer, &endings).await?;
                let effects = tell_of_cancelled(tx, &writer, &endings, &written).await?;
                let let_go = let_go_all(tx, &writer, &endings).await?;
                if writer.store.is_shared() {
                    Told::of_ended(&endings, &let_go).and_new(&effects.enqueued).notify(tx, &writer).await?;
                }
                Ok(Together { written, let_go, effects })
            })
        })
        .await
}

/// Somebody may have asked for the end of one that nobody was to be told of: now it was cancelled, and somebody may be.
async fn tell_of_cancelled(
    tx: &mut Transaction,
    core: &Core,
    endings: &[Ending],
    written: &[Written],
) -> Result<Effects, StoreError> {
    let mut effects = Effects::default();
    for (ending, written) in endings.iter().zip(written) {
        let is_news = ending.verdict.end() != JobState::Cancelled;
        if is_news && written.status == EndStatus::Ended(JobState::Cancelled) {
            let queue = Arc::clone(core.policy().of(&ending.job.queue));
            let after = ending.job.after(&Verdict::cancelled(), &queue.options, ending.at);
            effects.extend(run_hooks(tx, core, &ending.job, &after).await?);
        }
    }
    Ok(effects)
}

/// Asks everybody who wants to know of this end what belongs into its transaction.
async fn run_hooks(tx: &mut Transaction, core: &Core, job: &Job, after: &Job) -> Result<Effects, StoreError> {
    let mut effects = Effects::default();
    for hook in core.registry.hooks_of(job, after.state) {
        effects.extend(hook.ended(tx, after).await?);
    }
    Ok(effects)
}

async fn end_all(tx: &mut Transaction, core: &Core, endings: &[Ending]) -> Result<Vec<Written>, StoreError> {
    let finishes: Vec<Params> = endings.iter().filter_map(|ending| finish_params(core, ending)).collect();
    let mut written: HashMap<i64, Written> = HashMap::with_capacity(endings.len());
    for row in tx.query_each(&sql::FINISH_EACH, &finishes).await? {
        let (key, done) = read(&row)?;
        written.insert(key, done);
    }
    let mut ended = Vec::with_capacity(endings.len());
    for ending in endings {
        ended.push(match &ending.verdict {
            Verdict::Finish { .. } => written.remove(&ending.job.id.key()).unwrap_or(LOST),
            Verdict::Again { .. } => again(tx, core, ending).await?,
        });
    }
    Ok(ended)
}

fn read(row: &Row) -> Result<(i64, Written), StoreError> {
    let state = state(row.get(1_usize)?)
        .ok_or_else(|| StoreError::Corrupt("a job's state cannot be read".to_owned()))?;
    Ok((row.get(0_usize)?, Written { status: EndStatus::Ended(state), changes: row.get(2_usize)? }))
}

/// The parameters of `FINISH_EACH` and `FINISH_IDLE`.
fn finish_params(core: &Core, ending: &Ending) -> Option<Params> {
    let Ending { job, verdict, at, .. } = ending;
    let Verdict::Finish { state, result, result_size, error } = verdict else { return None };
    let policy = core.policy();
    let expires = job.kept_until(&policy.of(&job.queue).options, *at);
    Some(params![
        job.id.key(),
        job.attempt,
        code(*state),
        ms(*at),
        ms(expires),
        result.as_ref().map(|result| result.as_str().to_owned()),
        result_size.map(|size| i64::try_from(size).unwrap_or(i64::MAX)),
        error.as_ref().map(json),
    ])
}

fn json(error: &Fault) -> String {
    serde_json::to_string(error).unwrap_or_default()
}

/// A job that goes on later; unless somebody asked for its end meanwhile.
async fn again(tx: &mut Transaction, core: &Core, ending: &Ending) -> Result<Written, StoreError> {
    let Ending { job, verdict, at, .. } = ending;
    let Verdict::Again { state, run_at, outcome, error, counts } = verdict else { return Ok(LOST) };
    let outcome = serde_json::to_value(outcome).ok().and_then(|name| name.as_str().map(str::to_owned));
    let params = params![
        job.id.key(),
        job.attempt,
        code(*state),
        ms(*run_at),
        ms(*at),
        outcome,
        error.as_ref().map(json),
        u32::from(!counts),
    ];
    if let Some(row) = tx.query_first(&sql::AGAIN, params).await? {
        return read(&row).map(|(_, written)| written);
    }
    let cancelled = Ending { verdict: Verdict::cancelled(), ..ending.clone() };
    let Some(params) = finish_params(core, &cancelled) else { return Ok(LOST) };
    let rows = tx.query_each(&sql::FINISH_EACH, &[params]).await?;
    rows.first().map_or(Ok(LOST), |row| read(row).map(|(_, written)| written))
}

/// Lets go, for each job with a concurrency key that runs no more, one that was held because of it.
async fn let_go_all(tx: &mut Transaction, core: &Core, endings: &[Ending]) -> Result<LetGo, StoreError> {
    let mut keys: Vec<(&Tenant, &Arc<str>, &str)> = endings
        .iter()
        .filter_map(|end| Some((&end.job.tenant, &end.job.queue, end.job.concurrency_key.as_deref()?)))
        .collect();
    keys.sort_unstable();
    keys.dedup();
    let mut let_go = Vec::new();
    for (tenant, queue, key) in keys {
        let limit = core.policy().of(queue).options.concurrency_per_key.max(1);
        for pool in let_go_of_key(tx, tenant, queue, key, limit).await? {
            let_go.push((Arc::clone(queue), tenant.clone(), pool));
        }
    }
    Ok(let_go)
}

/// Lets go as many held jobs of a key as may run; their pools.
pub(crate) async fn let_go_of_key(
    tx: &mut Transaction,
    tenant: &Tenant,
    queue: &str,
    key: &str,
    limit: u64,
) -> Result<Vec<String>, StoreError> {
    tx.query(&sql::LOCK, params![format!("{tenant} {queue} {key}")]).await?;
    let row = tx.query_first(&sql::COUNT_RUNNING_OF_KEY, params![tenant, queue, key]).await?;
    let running: u64 = row.map(|row| row.get(0_usize)).transpose()?.unwrap_or(0);
    let mut pools = Vec::new();
    for _ in running..limit {
        match tx.query_first(&sql::LET_GO, params![tenant, queue, key]).await? {
            Some(row) => pools.push(row.get(0_usize)?),
            None => break,
        }
    }
    Ok(pools)
}

/// What was written beside an ending.
struct Special {
    ending: Ending,
    written: Written,
    let_go: LetGo,
    effects: Effects,
}

async fn write_special(core: &Arc<Core>, end: End) {
    let End { ending, answer } = end;
    let outcome = insist(core, || keep_special(Arc::clone(core), ending.clone())).await;
    match outcome {
        Ok(special) => {
            let mut told = Told::default();
            told.effects(&special.effects);
            told.ended(core, &special.ending, &special.written);
            told.let_go(special.let_go);
            told.tell(core);
            if let Some(answer) = answer {
                let _ = answer.send(Ok(special.written.status));
            }
        }
        Err(error) => give_up(vec![End { ending, answer }], &error),
    }
}

async fn keep_special(core: Arc<Core>, ending: Ending) -> Result<Special, StoreError> {
    let wanted = durability(core.policy().of(&ending.job.queue).options.durability);
    let writer = Arc::clone(&core);
    core.store
        .write_with(wanted, move |tx| {
            Box::pin(async move {
                let mut ending = ending;
                let mut effects = Effects::default();
                let params = params![ending.job.id.key(), &ending.job.tenant];
                let current = tx.query_first(&sql::FIND_LOCKED, params).await?;
                let current = current.map(|row| row::job(&row, &writer.ids)).transpose()?;
                let runs = |job: &Job| job.state == JobState::Running && job.attempt == ending.job.attempt;
                let Some(current) = current.filter(runs) else {
                    return Ok(Special { ending, written: LOST, let_go: Vec::new(), effects });
                };
                if current.cancelling {
                    ending.verdict = Verdict::cancelled();
                } else if let Some(apply) = ending.apply.take() {
                    let applied = apply(tx).await?;
                    effects = applied.effects;
                    if let Verdict::Finish { result, .. } = &mut ending.verdict {
                        *result = Some((&applied.result).into());
                    }
                }
                let written = end_all(tx, &writer, std::slice::from_ref(&ending)).await?;
                let written = written.into_iter().next().unwrap_or(LOST);
                let after =
                    current.after(&ending.verdict, &writer.policy().of(&current.queue).options, ending.at);
                if after.state.is_final() {
                    effects.extend(run_hooks(tx, &writer, &current, &after).await?);
                }
                let let_go = let_go_all(tx, &writer, std::slice::from_ref(&ending)).await?;
                let told = Told::of_ended(std::slice::from_ref(&ending), &let_go).and_new(&effects.enqueued);
                told.notify(tx, &writer).await?;
                Ok(Special { ending, written, let_go, effects })
            })
        })
        .await
}

/// Ends a job that does not run, within a transaction, hooks included. `None`: it has moved on meanwhile.
pub(crate) async fn finish_idle(
    tx: &mut Transaction,
    core: &Core,
    job: &Job,
    verdict: Verdict,
) -> Result<Option<Ended>, StoreError> {
    let ending = Ending::new(Arc::new(job.clone()), verdict, core.now());
    let Some(params) = finish_params(core, &ending) else { return Ok(None) };
    if tx.query_first(&sql::FINISH_IDLE, params).await?.is_none() {
        return Ok(None);
    }
    let after = job.after(&ending.verdict, &core.policy().of(&job.queue).options, ending.at);
    let effects = run_hooks(tx, core, job, &after).await?;
    Told::of_ended(std::slice::from_ref(&ending), &[]).and_new(&effects.enqueued).notify(tx, core).await?;
    Ok(Some(Ended { job: Arc::new(after), effects }))
}
