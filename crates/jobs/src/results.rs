//! Large results, which are kept among the blobs.
//!
//! A blob is noted in the store before it is written, and what no job refers to is swept: the results of attempts that
//! were not the last, because their server died or their lease ended before the job did, and those of jobs that are
//! kept no longer. So nothing is left behind, whenever a server ends.

use std::time::Duration;

use jiff::Timestamp;
use paddock_platform::{
    blobs::{BlobError, BlobKey},
    identity::Tenant,
    params,
    store::StoreError,
};

use crate::{Job, JobId, Payload, core::Core, store::sql};

/// Results up to this size are kept in the store; larger ones are blobs.
pub(crate) const IN_STORE_MAX: usize = 64 << 10;
/// How long a result may be on its way into the blobs and its job not yet ended.
const GRACE: Duration = Duration::from_hours(1);
/// Results that one sweep removes; the rest is for the next.
const SWEPT_MAX: u32 = 1_000;

/// A large result was not kept.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ResultError {
    #[error(transparent)]
    Blob(#[from] BlobError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("its key is none")]
    Key,
}

/// Keeps the result of a job's current attempt.
pub(crate) async fn keep(core: &Core, job: &Job, result: &Payload) -> Result<(), ResultError> {
    let key = key(job.id, job.attempt).ok_or(ResultError::Key)?;
    let note = params![job.id.key(), job.attempt, &job.tenant, core.now()];
    core.store.execute(&sql::NOTE_RESULT, note).await?;
    core.blobs.put(&key, result.as_str().to_owned().into()).await?;
    Ok(())
}

/// Where the result of an attempt is.
pub(crate) fn key(id: JobId, attempt: u32) -> Option<BlobKey> {
    format!("jobs/{id}/{attempt}.json").parse().ok()
}

/// Removes the results that no job refers to.
pub(crate) async fn sweep(core: &Core, now: Timestamp) -> Result<(), StoreError> {
    let before = now.checked_sub(GRACE).unwrap_or(Timestamp::MIN);
    for row in core.store.query(&sql::UNUSED_RESULTS, params![before, SWEPT_MAX]).await? {
        let (id, attempt, tenant): (i64, u32, String) =
            (row.get(0_usize)?, row.get(1_usize)?, row.get(2_usize)?);
        if let Ok(tenant) = tenant.parse::<Tenant>()
            && let Some(key) = key(core.ids.of(&tenant, id), attempt)
            && let Err(error) = core.blobs.delete(&key).await
        {
            tracing::warn!(%error, blob = key.as_str(), "the result of a job could not be removed; trying again");
            continue;
        }
        core.store.execute(&sql::FORGET_RESULT, params![id, attempt]).await?;
    }
    Ok(())
}
