//! How rows are read.

use std::sync::Arc;

use jiff::Timestamp;
use paddock_platform::{
    identity::Tenant,
    store::{Row, StoreError},
};
use serde::Deserialize;

use super::state;
use crate::{
    Attempt, AttemptOutcome, Fault, Job, JobProgress, JobState, Payload, dispatch::is_external, id::Ids,
    new_job::Terms,
};

fn damaged(what: &str) -> StoreError {
    StoreError::Corrupt(format!("a job's {what} cannot be read"))
}

fn parsed<T: for<'de> Deserialize<'de>>(text: Option<String>, what: &str) -> Result<Option<T>, StoreError> {
    text.map(|text| serde_json::from_str(&text).map_err(|_| damaged(what))).transpose()
}

fn tenant(text: String) -> Result<Tenant, StoreError> {
    text.try_into().map_err(|_| damaged("tenant"))
}

/// A whole job, of the columns of `columns!`.
pub(crate) fn job(row: &Row, ids: &Ids) -> Result<Job, StoreError> {
    let tenant = tenant(row.get(1_usize)?)?;
    let id = ids.of(&tenant, row.get(0_usize)?);
    let pool: String = row.get(3_usize)?;
    let input: String = row.get(26_usize)?;
    let result: Option<String> = row.get(27_usize)?;
    let history: Option<Vec<PastAttempt>> = parsed(row.get(25_usize)?, "attempts")?;
    let rank: i64 = row.get(6_usize)?;
    Ok(Job {
        id,
        tenant,
        queue: row.get::<String>(2_usize)?.into(),
        kind: row.get::<String>(4_usize)?.into(),
        external: is_external(&pool),
        state: state(row.get(5_usize)?).ok_or_else(|| damaged("state"))?,
        priority: priority(rank),
        run_at: row.get(7_usize)?,
        attempt: row.get(8_usize)?,
        spared: row.get(9_usize)?,
        changes: row.get(10_usize)?,
        lease_until: row.get(11_usize)?,
        started_at: row.get(12_usize)?,
        finished_at: row.get(13_usize)?,
        expires_at: row.get(14_usize)?,
        cancelling: row.get(15_usize)?,
        worker: row.get(16_usize)?,
        unique_key: row.get(17_usize)?,
        concurrency_key: row.get(18_usize)?,
        parent: row.get(19_usize)?,
        key_id: row.get(20_usize)?,
        terms: parsed::<Terms>(row.get(21_usize)?, "terms")?.unwrap_or_default(),
        progress: parsed::<JobProgress>(row.get(22_usize)?, "progress")?,
        error: parsed::<Fault>(row.get(23_usize)?, "error")?,
        result_size: row.get(24_usize)?,
        past_attempts: history.into_iter().flatten().map(Attempt::from).collect(),
        input: Payload::from_stored(input),
        result: result.map(Payload::from_stored),
    })
}

/// What a claim knows of the jobs that it takes before it has them.
pub(crate) struct ClaimContext<'a> {
    pub(crate) tenant: &'a Tenant,
    pub(crate) queue: &'a Arc<str>,
    pub(crate) external: bool,
    pub(crate) worker: &'a str,
    pub(crate) now: Timestamp,
    pub(crate) lease_until: Timestamp,
}

/// A job that was claimed, and whether its time slot was given to it before.
pub(crate) fn claimed(row: &Row, ids: &Ids, context: &ClaimContext<'_>) -> Result<(Job, bool), StoreError> {
    let input: String = row.get(15_usize)?;
    let job = Job {
        id: ids.of(context.tenant, row.get(0_usize)?),
        tenant: context.tenant.clone(),
        queue: Arc::clone(context.queue),
        kind: row.get::<String>(1_usize)?.into(),
        external: context.external,
        state: JobState::Running,
        priority: priority(row.get(2_usize)?),
        run_at: row.get(3_usize)?,
        attempt: row.get(4_usize)?,
        spared: row.get(5_usize)?,
        changes: row.get(6_usize)?,
        lease_until: Some(context.lease_until),
        started_at: Some(context.now),
        finished_at: None,
        expires_at: None,
        cancelling: false,
        worker: Some(context.worker.to_owned()),
        unique_key: row.get(8_usize)?,
        concurrency_key: row.get(9_usize)?,
        parent: row.get(10_usize)?,
        key_id: row.get(11_usize)?,
        terms: parsed::<Terms>(row.get(12_usize)?, "terms")?.unwrap_or_default(),
        progress: parsed::<JobProgress>(row.get(13_usize)?, "progress")?,
        error: parsed::<Fault>(row.get(14_usize)?, "error")?,
        result_size: None,
        past_attempts: Vec::new(),
        input: Payload::from_stored(input),
        result: None,
    };
    Ok((job, row.get(7_usize)?))
}

/// The lower rank goes first.
pub(crate) const fn rank(priority: i8) -> i64 {
    -(priority as i64)
}

fn priority(rank: i64) -> i8 {
    i8::try_from(-rank).unwrap_or_default()
}

/// An attempt as `remember!` writes it: number, worker, began, ended, outcome, error.
#[derive(Deserialize)]
struct PastAttempt(u32, Option<String>, Option<i64>, Option<i64>, AttemptOutcome, Option<Fault>);

impl From<PastAttempt> for Attempt {
    fn from(past: PastAttempt) -> Self {
        let PastAttempt(number, worker, started, ended, outcome, error) = past;
        let moment = |ms: Option<i64>| ms.and_then(|ms| Timestamp::from_millisecond(ms).ok());
        Self {
            number,
            worker: worker.unwrap_or_default(),
            started_at: moment(started).unwrap_or_default(),
            ended_at: moment(ended),
            outcome: Some(outcome),
            error,
        }
    }
}

impl Job {
    /// All attempts, the oldest first, with the current one.
    pub fn attempts(&self) -> Vec<Attempt> {
        let mut attempts = self.past_attempts.clone();
        if let Some(started_at) = self.started_at {
            let lost = self.error.as_ref().is_some_and(|error| error.class == crate::verdict::LOST);
            let outcome = match self.state {
                JobState::Succeeded => Some(AttemptOutcome::Succeeded),
                JobState::Failed | JobState::Dead if lost => Some(AttemptOutcome::Lost),
                JobState::Failed | JobState::Dead => Some(AttemptOutcome::Failed),
                JobState::Cancelled => Some(AttemptOutcome::Cancelled),
                _ => None,
            };
            attempts.push(Attempt {
                number: self.attempt,
                worker: self.worker.clone().unwrap_or_default(),
                started_at,
                ended_at: self.finished_at,
                outcome,
                error: outcome.and_then(|_| self.error.clone()),
            });
        }
        attempts
    }
}
