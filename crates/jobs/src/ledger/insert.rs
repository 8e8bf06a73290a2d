//! Writes jobs that are accepted.

use std::{collections::HashSet, sync::Arc};

use paddock_platform::{
    params,
    store::{ConstraintKind, Params, StoreError, Transaction},
};

use super::{Insert, durability, ms, record_batch, tell::Told};
use crate::{
    Durability, Job, JobId,
    core::Core,
    id::Ids,
    service::PreparedJob,
    store::{code, row, sql},
};

/// What became of one job.
#[derive(Debug)]
pub(crate) enum Inserted {
    /// It is kept.
    New,
    /// Its unique key names this one.
    Known(Box<Job>),
}

/// Writes a batch, and tells everybody. Where it fails for a reason of its own, each request is written alone: one must
/// not take the others with it.
pub(super) async fn write(core: &Arc<Core>, batch: Vec<Insert>) {
    let jobs: Arc<[PreparedJob]> = batch.iter().flat_map(|insert| insert.jobs.iter().cloned()).collect();
    record_batch("insert", jobs.len());
    match keep(core, Arc::clone(&jobs)).await {
        Ok(inserted) => answer(core, batch, &jobs, inserted),
        Err(error) if error.is_transient() || batch.len() == 1 => refuse(batch, &error),
        Err(_) => {
            for insert in batch {
                let jobs: Arc<[PreparedJob]> = insert.jobs.iter().cloned().collect();
                match keep(core, Arc::clone(&jobs)).await {
                    Ok(inserted) => answer(core, vec![insert], &jobs, inserted),
                    Err(error) => refuse(vec![insert], &error),
                }
            }
        }
    }
}

async fn keep(core: &Arc<Core>, jobs: Arc<[PreparedJob]>) -> Result<Vec<Inserted>, StoreError> {
    let strictest = jobs.iter().map(PreparedJob::durability).max().unwrap_or(Durability::Fsync);
    let writer = Arc::clone(core);
    core.store
        .write_with(durability(strictest), move |tx| {
            Box::pin(async move {
                let inserted = insert_all(tx, &writer.ids, &jobs).await?;
                if writer.store.is_shared() {
                    Told::of_new(&jobs).notify(tx, &writer).await?;
                }
                Ok(inserted)
            })
        })
        .await
}

/// Writes jobs within a transaction.
async fn insert_all(
    tx: &mut Transaction,
    ids: &Ids,
    jobs: &[PreparedJob],
) -> Result<Vec<Inserted>, StoreError> {
    let (keyed, plain): (Vec<_>, Vec<_>) = jobs.iter().partition(|job| job.unique_key().is_some());
    let rows: Vec<Params> = plain.into_iter().map(params_of).collect();
    tx.execute_each(&sql::INSERT_EACH, &rows).await?;
    if keyed.is_empty() {
        return Ok(jobs.iter().map(|_| Inserted::New).collect());
    }
    let rows: Vec<Params> = keyed.into_iter().map(params_of).collect();
    let returned = tx.query_each(&sql::INSERT_UNIQUE_EACH, &rows).await?;
    let kept: HashSet<i64> = returned.iter().map(|row| row.get(0_usize)).collect::<Result<_, _>>()?;
    let mut inserted = Vec::with_capacity(jobs.len());
    for job in jobs {
        inserted.push(match job.unique_key() {
            Some(key) if !kept.contains(&job.id().key()) => {
                let row = tx.query_first(&sql::BY_UNIQUE_KEY, params![job.tenant(), key]).await?;
                // Between the two its retention may have ended.
                let gone =
                    || StoreError::Conflict("the job of this unique key was just forgotten".to_owned());
                let known = row::job(&row.ok_or_else(gone)?, ids)?;
                if !job.asks_for(&known) {
                    // None of those that were handed over together is accepted then.
                    let detail = "the unique key names a job that was asked for differently".to_owned();
                    return Err(StoreError::Constraint { kind: ConstraintKind::Unique, detail });
                }
                Inserted::Known(Box::new(known))
            }
            _ => Inserted::New,
        });
    }
    Ok(inserted)
}

/// Writes one job within a transaction of somebody else. `None`: it is kept; otherwise the one that its unique key names.
pub(crate) async fn insert_in(tx: &mut Transaction, job: &PreparedJob) -> Result<Option<JobId>, StoreError> {
    let Some(key) = job.unique_key() else {
        tx.execute_each(&sql::INSERT_EACH, &[params_of(job)]).await?;
        return Ok(None);
    };
    if !tx.query_each(&sql::INSERT_UNIQUE_EACH, &[params_of(job)]).await?.is_empty() {
        return Ok(None);
    }
    let row = tx.query_first(&sql::BY_UNIQUE_KEY, params![job.tenant(), key]).await?;
    let gone = || StoreError::Conflict("the job of this unique key was just forgotten".to_owned());
    let known: i64 = row.ok_or_else(gone)?.get(0_usize)?;
    Ok(Some(job.get().ids.of(job.tenant(), known)))
}

fn params_of(job: &PreparedJob) -> Params {
    let prepared = job.get();
    params![
        prepared.id.key(),
        &prepared.tenant,
        &*prepared.queue.name,
        prepared.pool(),
        &*prepared.kind,
        code(prepared.state),
        row::rank(prepared.priority),
        ms(prepared.run_at),
        prepared.unique_key.clone(),
        prepared.concurrency_key.clone(),
        prepared.parent.clone(),
        prepared.key_id.clone(),
        prepared.terms_text.clone(),
        prepared.input.as_str(),
    ]
}

fn answer(core: &Arc<Core>, batch: Vec<Insert>, jobs: &[PreparedJob], inserted: Vec<Inserted>) {
    let new: Vec<PreparedJob> = jobs
        .iter()
        .zip(&inserted)
        .filter(|(_, inserted)| matches!(inserted, Inserted::New))
        .map(|(job, _)| job.clone())
        .collect();
    Told::of_new(&new).tell(core);
    let known = jobs.iter().zip(&inserted).filter(|(_, inserted)| matches!(inserted, Inserted::Known(_)));
    for (job, _) in known {
        job.get().queue.live.add(-1);
    }
    let mut inserted = inserted.into_iter();
    for Insert { jobs, answer } in batch {
        let own: Vec<Inserted> = inserted.by_ref().take(jobs.len()).collect();
        if let Some(answer) = answer {
            let _ = answer.send(Ok(own));
        }
    }
}

fn refuse(batch: Vec<Insert>, error: &StoreError) {
    for Insert { jobs, answer } in batch {
        for job in &jobs {
            job.get().queue.live.add(-1);
        }
        if let Some(answer) = answer {
            let _ = answer.send(Err(error.clone()));
        } else {
            tracing::error!(%error, jobs = jobs.len(), "jobs of a queue in memory were lost");
        }
    }
}
