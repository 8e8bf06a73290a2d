//! Looking at jobs.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use paddock_platform::{
    blobs::BlobError,
    identity::Tenant,
    params,
    store::{Statement, StoreError},
};
use serde::{Deserialize, Serialize};

use crate::{
    Job, JobError, JobId, JobState,
    core::Core,
    results,
    store::{row, sql},
};

/// What was missed is found after this.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);

/// Which jobs to list.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobFilter {
    /// In this state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<JobState>,
    /// In this queue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue: Option<String>,
    /// Of this tool or kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
}

pub(super) async fn get(core: &Core, tenant: &Tenant, id: JobId) -> Result<Job, JobError> {
    let key = core.key_of(tenant, id)?;
    match core.store.query_first(&sql::FIND, params![key, tenant]).await? {
        Some(row) => Ok(row::job(&row, &core.ids)?),
        // It is genuine, so it was there.
        None => Err(JobError::Expired(id)),
    }
}

/// The job that a unique key names.
pub(super) async fn by_unique_key(
    core: &Core,
    tenant: &Tenant,
    key: &str,
) -> Result<Option<Job>, StoreError> {
    let row = core.store.query_first(&sql::BY_UNIQUE_KEY, params![tenant, key]).await?;
    row.map(|row| row::job(&row, &core.ids)).transpose()
}

/// A job of whatever tenant, for those who administer.
pub(super) async fn get_of_anybody(core: &Core, id: JobId) -> Result<Job, JobError> {
    let row = core.store.query_first(&sql::FIND_ANY, params![id.key()]).await?;
    let job = row.map(|row| row::job(&row, &core.ids)).transpose()?;
    job.filter(|job| job.id == id).ok_or_else(|| JobError::NotFound(id.to_string()))
}

pub(super) async fn result(core: &Core, tenant: &Tenant, id: JobId) -> Result<Option<Bytes>, JobError> {
    let job = get(core, tenant, id).await?;
    if job.result_size.is_none() {
        return Ok(job.result.map(|result| Bytes::from(result.as_str().to_owned())));
    }
    let Some(key) = results::key(job.id, job.attempt) else { return Ok(None) };
    match core.blobs.get(&key).await {
        Ok(blob) => Ok(Some(blob.bytes)),
        Err(BlobError::NotFound(_)) => Err(JobError::Expired(id)),
        Err(error) => Err(error.into()),
    }
}

pub(super) async fn list(
    core: &Core,
    tenant: &Tenant,
    filter: &JobFilter,
    after: Option<JobId>,
    limit: u32,
) -> Result<Vec<Job>, JobError> {
    let before = after.map_or(i64::MAX, JobId::key);
    let (queue, kind) =
        (filter.queue.as_deref().unwrap_or_default(), filter.kind.as_deref().unwrap_or_default());
    let params = params![tenant, before, queue, kind, i64::from(limit)];
    let rows = core.store.query(statement(filter.state), params).await?;
    Ok(rows.iter().map(|row| row::job(row, &core.ids)).collect::<Result<_, StoreError>>()?)
}

/// Each state is answered out of the index that has it.
fn statement(state: Option<JobState>) -> &'static Statement {
    match state {
        None => &sql::LIST,
        Some(JobState::Queued) => &sql::LIST_QUEUED,
        Some(JobState::Scheduled) => &sql::LIST_SCHEDULED,
        Some(JobState::Running) => &sql::LIST_RUNNING,
        Some(JobState::Waiting) => &sql::LIST_WAITING,
        Some(JobState::Succeeded) => &sql::LIST_SUCCEEDED,
        Some(JobState::Failed) => &sql::LIST_FAILED,
        Some(JobState::Cancelled) => &sql::LIST_CANCELLED,
        Some(JobState::Dead) => &sql::LIST_DEAD,
    }
}

pub(super) async fn wait(
    core: &Arc<Core>,
    tenant: &Tenant,
    id: JobId,
    wait_max: Duration,
) -> Result<Job, JobError> {
    let until = Instant::now() + wait_max;
    let key = core.key_of(tenant, id)?;
    loop {
        // First the place, then the look: what happens in between is told.
        let waiter = core.waiters.enter(key, core.policy().options.waiters_max);
        let mut waiter = waiter.ok_or(JobError::Overloaded("as many callers wait for jobs as may"))?;
        let job = get(core, tenant, id).await?;
        let left = until.saturating_duration_since(Instant::now());
        if job.state.is_final() || left.is_zero() || core.closing.is_cancelled() {
            return Ok(job);
        }
        let _ = tokio::time::timeout(left.min(LOOK_INTERVAL), waiter.told()).await;
    }
}
