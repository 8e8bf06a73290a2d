//! [`Schedules`]: what routes, tools and commands call.

use std::{fmt, sync::Arc};

use jiff::Timestamp;
use paddock_platform::{
    config::Section,
    identity::{Caller, Tenant},
    keys::Keys,
    store::Store,
    task::Tasks,
};
use tokio::sync::Notify;

use super::{
    NewSchedule, ScheduleError, ScheduleOptions, ScheduleView, clock, describe, fire,
    store::{self, MIGRATIONS, ScheduleRow},
};
use crate::{Jobs, mission::Missions, routes::refuse_internal};

const NAME_MAX: usize = 64;
/// Firings that are told ahead.
const PREVIEW_MAX: usize = 100;

/// The schedules of a server. Cheap to clone; see the [module](super) for the model.
#[derive(Clone)]
pub struct Schedules(pub(super) Arc<Inner>);

pub(super) struct Inner {
    pub(super) jobs: Jobs,
    pub(super) missions: Missions,
    pub(super) keys: Keys,
    pub(super) store: Store,
    options: Section<ScheduleOptions>,
    /// A schedule was changed: the clock looks anew.
    pub(super) changed: Notify,
}

impl fmt::Debug for Schedules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Schedules")
    }
}

impl ScheduleRow {
    pub(super) fn view(&self) -> ScheduleView {
        ScheduleView {
            name: self.name.clone(),
            schedule: self.schedule.clone(),
            paused: self.paused,
            paused_reason: self.paused_reason.clone(),
            next_at: self.next_at,
            last_at: self.last_at,
            last_job: self.last_job.clone(),
            last_error: self.last_error.clone(),
            fired: self.fired,
            skipped: self.skipped,
            created_at: self.created_at,
            updated_at: self.updated_at,
        }
    }
}

impl Schedules {
    /// Opens the schedules in a store, bringing their schema up to date.
    pub async fn open(
        jobs: &Jobs,
        missions: &Missions,
        keys: Keys,
        store: Store,
        options: Section<ScheduleOptions>,
    ) -> Result<Self, ScheduleError> {
        describe();
        store.migrate(&MIGRATIONS).await?;
        let (jobs, missions) = (jobs.clone(), missions.clone());
        let inner = Inner { jobs, missions, keys, store, options, changed: Notify::new() };
        Ok(Self(Arc::new(inner)))
    }

    /// Fires what is due, until the tasks are stopped. After [`Jobs::run`].
    pub fn run(&self, tasks: &Tasks) {
        clock::spawn(self, tasks);
    }

    pub(super) fn options(&self) -> ScheduleOptions {
        self.0.options.current()
    }

    /// Makes a schedule, or puts another in the place of one. It is checked as a whole: what it enqueues, too.
    pub async fn put(
        &self,
        caller: &Caller,
        name: &str,
        mut schedule: NewSchedule,
    ) -> Result<ScheduleView, ScheduleError> {
        if !is_name(name) {
            let rule = "must be 1 to 64 of a-z, 0-9, `_`, `-` and `.`, beginning with a letter";
            return Err(ScheduleError::invalid("name", rule));
        }
        let now = Timestamp::now();
        let rhythm = schedule.check(now)?;
        if let Some(job) = &schedule.job {
            refuse_internal(job).map_err(|problem| ScheduleError::Job(crate::JobError::Refused(problem)))?;
        }
        let webhook = schedule.job.as_mut().map(|job| &mut job.webhook);
        let webhook = webhook.or_else(|| schedule.mission.as_mut().map(|mission| &mut mission.webhook));
        if let Some(Some(webhook)) = webhook {
            *webhook = self.0.jobs.check_webhook(caller, webhook).await?;
        }
        // As it would be when it fires, with everything that this caller may and may not.
        fire::prepare(self, caller, &schedule, name, now).await?;
        let known = store::find(&self.0.store, caller.tenant(), name).await?;
        let created_at = known.as_ref().map_or(now, |known| known.created_at);
        // An interval is counted from when the schedule was made, not from when it was changed.
        let rhythm = if schedule.every.is_some() { schedule.rhythm(created_at)? } else { rhythm };
        let row = ScheduleRow {
            tenant: caller.tenant().clone(),
            name: name.to_owned(),
            key_id: caller.key_id().map(str::to_owned),
            paused: schedule.paused,
            next_at: if schedule.paused { None } else { rhythm.next_after(now) },
            schedule,
            last_at: None,
            last_job: None,
            last_error: None,
            fired: 0,
            skipped: 0,
            created_at,
            updated_at: now,
            paused_reason: None,
        };
        let kept = store::put(&self.0.store, row, self.options().schedules_max).await?;
        kept.map_err(ScheduleError::Full)?;
        self.0.changed.notify_one();
        self.get(caller.tenant(), name).await
    }

    async fn row(&self, tenant: &Tenant, name: &str) -> Result<ScheduleRow, ScheduleError> {
        let unknown = || ScheduleError::NotFound(name.chars().take(NAME_MAX).collect());
        if !is_name(name) {
            return Err(unknown());
        }
        store::find(&self.0.store, tenant, name).await?.ok_or_else(unknown)
    }

    async fn row_that_may_fire(&self, tenant: &Tenant, name: &str) -> Result<ScheduleRow, ScheduleError> {
        let row = self.row(tenant, name).await?;
        fire::forbidden(self, &row).await?.map_or(Ok(row), Err)
    }

    /// A schedule.
    pub async fn get(&self, tenant: &Tenant, name: &str) -> Result<ScheduleView, ScheduleError> {
        self.row(tenant, name).await.map(|row| row.view())
    }

    /// A tenant's schedules by name, those after one.
    pub async fn list(
        &self,
        tenant: &Tenant,
        after: &str,
        limit: u32,
    ) -> Result<Vec<ScheduleView>, ScheduleError> {
        let rows = store::list(&self.0.store, tenant, after, limit).await?;
        Ok(rows.iter().map(ScheduleRow::view).collect())
    }

    /// Forgets a schedule; what it enqueued stays.
    pub async fn delete(&self, tenant: &Tenant, name: &str) -> Result<(), ScheduleError> {
        self.row(tenant, name).await?;
        store::delete(&self.0.store, tenant, name).await?;
        Ok(())
    }

    /// Fires no more until [`Schedules::resume`].
    pub async fn pause(&self, tenant: &Tenant, name: &str) -> Result<ScheduleView, ScheduleError> {
        self.row(tenant, name).await?;
        store::set_paused(&self.0.store, tenant, name, true, None, Timestamp::now()).await?;
        self.get(tenant, name).await
    }

    /// Fires again, from the next time on: what would have come meanwhile is not made up for.
    pub async fn resume(&self, tenant: &Tenant, name: &str) -> Result<ScheduleView, ScheduleError> {
        let row = self.row_that_may_fire(tenant, name).await?;
        let now = Timestamp::now();
        let next_at = row.schedule.rhythm(row.created_at)?.next_after(now);
        store::set_paused(&self.0.store, tenant, name, false, next_at, now).await?;
        self.0.changed.notify_one();
        self.get(tenant, name).await
    }

    /// Fires once, now, beside its times. Gives the job or mission.
    pub async fn fire_now(&self, tenant: &Tenant, name: &str) -> Result<ScheduleView, ScheduleError> {
        let row = self.row_that_may_fire(tenant, name).await?;
        fire::fire_now(self, &row).await?;
        self.get(tenant, name).await
    }

    /// The next firings of a schedule, without its jitter.
    pub async fn next_firings(
        &self,
        tenant: &Tenant,
        name: &str,
        count: usize,
    ) -> Result<Vec<Timestamp>, ScheduleError> {
        let row = self.row(tenant, name).await?;
        let rhythm = row.schedule.rhythm(row.created_at)?;
        Ok(firings(&rhythm, Timestamp::now(), count))
    }

    /// The firings that a schedule would have if it was made now.
    pub fn preview(&self, schedule: &NewSchedule, count: usize) -> Result<Vec<Timestamp>, ScheduleError> {
        let now = Timestamp::now();
        Ok(firings(&schedule.rhythm(now)?, now, count))
    }
}

fn firings(rhythm: &super::calendar::Rhythm, from: Timestamp, count: usize) -> Vec<Timestamp> {
    let first = rhythm.next_after(from);
    std::iter::successors(first, |at| rhythm.next_after(*at)).take(count.min(PREVIEW_MAX)).collect()
}

fn is_name(text: &str) -> bool {
    text.len() <= NAME_MAX
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_-.".contains(&b))
}
