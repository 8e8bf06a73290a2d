//! Fires a schedule: what is due is enqueued in the transaction that writes when it fires next.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use metrics::{counter, histogram};
use paddock_platform::{
    identity::{Caller, Scope},
    store::{StoreError, Transaction},
};

use super::{
    CatchUp, NewSchedule, Overlap, SCHEDULE_DELAY_SECONDS, SCHEDULE_FIRINGS_TOTAL, ScheduleError, Schedules,
    calendar::Rhythm,
    store::{self, Fired, ScheduleRow},
};
use crate::{
    JobId, Jobs, NewJob, PreparedJob,
    mission::{NewMission, StartMission, insisting, prepare_mission},
};

/// What is later than this is missed.
const GRACE: Duration = Duration::from_mins(1);

/// What a firing enqueues.
#[derive(Clone, Debug)]
pub(super) enum Prepared {
    Job(PreparedJob),
    Mission(Box<NewMission>),
}

impl Prepared {
    fn job(&self) -> &PreparedJob {
        match self {
            Self::Job(job) => job,
            Self::Mission(mission) => &mission.job,
        }
    }

    async fn insert(&self, tx: &mut Transaction) -> Result<crate::Accepted, StoreError> {
        match self {
            Self::Job(job) => Jobs::enqueue_in(tx, job).await,
            Self::Mission(mission) => mission.insert(tx).await,
        }
    }
}

/// When what fires at a moment begins: the jitter is chance, but the same for everybody.
fn begin_of(schedule: &NewSchedule, tenant: &str, name: &str, at: Timestamp) -> Timestamp {
    let jitter_ms =
        schedule.jitter.map_or(0, |jitter| u64::try_from(jitter.get().as_millis()).unwrap_or(u64::MAX));
    if jitter_ms == 0 {
        return at;
    }
    let hash = blake3::hash(format!("{tenant} {name} {}", at.as_millisecond()).as_bytes());
    let mut chance = [0; 8];
    chance.copy_from_slice(&hash.as_bytes()[..8]);
    let late = Duration::from_millis(u64::from_le_bytes(chance) % jitter_ms);
    at.checked_add(late).unwrap_or(at)
}

/// Checks what is enqueued at a moment, and gives it its id.
pub(super) async fn prepare(
    schedules: &Schedules,
    caller: &Caller,
    schedule: &NewSchedule,
    name: &str,
    at: Timestamp,
) -> Result<Prepared, ScheduleError> {
    let unique_key = Some(format!("schedule:{name}:{}", at.as_millisecond()));
    let begin = begin_of(schedule, caller.tenant().as_str(), name, at);
    let run_at = (begin > Timestamp::now()).then_some(begin);
    if let Some(mission) = &schedule.mission {
        let start = StartMission { run_at, unique_key, ..mission.clone() };
        let prepared = prepare_mission(&schedules.0.missions, caller, start).await?;
        return Ok(Prepared::Mission(Box::new(prepared)));
    }
    let job = schedule.job.clone().unwrap_or_default();
    let prepared = schedules.0.jobs.prepare(caller, NewJob { run_at, unique_key, ..job })?;
    Ok(Prepared::Job(prepared))
}

/// What is due of a schedule at a moment.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Due {
    pub(super) firings: Vec<Timestamp>,
    /// Whether any were left out.
    pub(super) missed: bool,
    pub(super) next_at: Option<Timestamp>,
}

/// What is due: everything that is on time, and of what is late as much as the schedule wants.
pub(super) fn due(
    rhythm: &Rhythm,
    catch_up: CatchUp,
    catch_up_max: usize,
    planned: Timestamp,
    now: Timestamp,
) -> Due {
    let before = planned.checked_sub(Duration::from_millis(1)).unwrap_or(planned);
    let (all, more) = rhythm.last_of(before, now, catch_up_max.max(GRACE.as_secs() as usize));
    let on_time = now.checked_sub(GRACE).unwrap_or(now);
    let first_on_time = all.iter().position(|at| *at >= on_time).unwrap_or(all.len());
    let (late, punctual) = all.split_at(first_on_time);
    let made_up: &[Timestamp] = match catch_up {
        CatchUp::Once if punctual.is_empty() => &late[late.len().saturating_sub(1)..],
        // One that is on time stands for those that were missed.
        CatchUp::Once | CatchUp::Skip => &[],
        CatchUp::All => &late[late.len().saturating_sub(catch_up_max)..],
    };
    let missed = more || made_up.len() < late.len();
    Due { firings: [made_up, punctual].concat(), missed, next_at: rhythm.next_after(now) }
}

fn caller_of(row: &ScheduleRow) -> Caller {
    Caller::on_behalf(row.key_id.clone(), row.tenant.clone(), vec![Scope::ALL])
}

/// Why a schedule must not fire, if that is so: what it does is done with its author's key.
pub(super) async fn forbidden(
    schedules: &Schedules,
    row: &ScheduleRow,
) -> Result<Option<ScheduleError>, StoreError> {
    let Some(key) = &row.key_id else { return Ok(None) };
    let holds = schedules.0.keys.bearer(key).await?.is_some();
    Ok((!holds).then(|| ScheduleError::KeyInvalid(key.clone())))
}

/// Whether the last firing has not ended; with `cancel` it is told to.
async fn overlaps(schedules: &Schedules, row: &ScheduleRow) -> Result<bool, ScheduleError> {
    let wants = row.schedule.overlap;
    let last = row.last_job.as_deref().and_then(|job| job.parse::<JobId>().ok());
    let Some(last) = last.filter(|_| wants != Overlap::Allow) else { return Ok(false) };
    match schedules.0.jobs.get(&row.tenant, last).await {
        Ok(job) if job.state.is_final() => Ok(false),
        Ok(_) if wants == Overlap::Skip => Ok(true),
        Ok(_) => {
            if row.schedule.mission.is_some() {
                schedules.0.missions.cancel(&row.tenant, last).await?;
            } else {
                schedules.0.jobs.cancel(&row.tenant, last).await?;
            }
            Ok(false)
        }
        // It is not kept any more: it has ended.
        Err(_) => Ok(false),
    }
}

/// Fires what is due of a schedule, unless another server was quicker.
pub(super) async fn fire(
    schedules: &Schedules,
    row: &ScheduleRow,
    now: Timestamp,
) -> Result<(), ScheduleError> {
    let Some(planned) = row.next_at else { return Ok(()) };
    if let Some(reason) = forbidden(schedules, row).await? {
        if store::stop(&schedules.0.store, row, &reason.to_string(), now).await? {
            tracing::warn!(schedule.name = row.name, schedule.tenant = %row.tenant, %reason, "a schedule was paused");
            counter!(SCHEDULE_FIRINGS_TOTAL, "outcome" => "failed").increment(1);
        }
        return Ok(());
    }
    let rhythm = row.schedule.rhythm(row.created_at)?;
    let due = due(&rhythm, row.schedule.catch_up, schedules.options().catch_up_max, planned, now);
    let mut outcome = Fired { next_at: due.next_at, skipped: u32::from(due.missed), ..Fired::default() };
    if due.missed {
        counter!(SCHEDULE_FIRINGS_TOTAL, "outcome" => "missed").increment(1);
    }
    let mut prepared = Vec::with_capacity(due.firings.len());
    let overlapped = match overlaps(schedules, row).await {
        Ok(overlapped) => overlapped,
        Err(error) => {
            tracing::warn!(schedule.name = row.name, %error, "the last job of a schedule could not be cancelled");
            false
        }
    };
    if overlapped && !due.firings.is_empty() {
        outcome.skipped += u32::try_from(due.firings.len()).unwrap_or(u32::MAX);
        counter!(SCHEDULE_FIRINGS_TOTAL, "outcome" => "overlapped").increment(due.firings.len() as u64);
    } else {
        for at in &due.firings {
            match prepare(schedules, &caller_of(row), &row.schedule, &row.name, *at).await {
                Ok(job) => prepared.push((*at, job)),
                Err(ScheduleError::Store(error)) => return Err(error.into()),
                Err(error) => {
                    tracing::warn!(schedule.name = row.name, %error, "a schedule could not enqueue its job");
                    counter!(SCHEDULE_FIRINGS_TOTAL, "outcome" => "failed").increment(1);
                    outcome.error = Some(error.to_string());
                    outcome.last_at = Some(*at);
                }
            }
        }
    }
    write(schedules, row, Some(planned), prepared, outcome, now).await
}

/// Fires once beside the schedule's times.
pub(super) async fn fire_now(schedules: &Schedules, row: &ScheduleRow) -> Result<(), ScheduleError> {
    let now = Timestamp::now();
    let plain = NewSchedule { jitter: None, ..row.schedule.clone() };
    let job = prepare(schedules, &caller_of(row), &plain, &row.name, now).await?;
    let outcome = Fired { next_at: row.next_at, ..Fired::default() };
    write(schedules, row, row.next_at, vec![(now, job)], outcome, now).await
}

/// Writes all of it in one transaction, if the schedule is still planned as it was read.
async fn write(
    schedules: &Schedules,
    row: &ScheduleRow,
    planned: Option<Timestamp>,
    prepared: Vec<(Timestamp, Prepared)>,
    outcome: Fired,
    now: Timestamp,
) -> Result<(), ScheduleError> {
    let jobs: Vec<PreparedJob> = prepared.iter().map(|(_, job)| job.job().clone()).collect();
    let firings: Vec<Timestamp> = prepared.iter().map(|(at, _)| *at).collect();
    let asked = (row.tenant.clone(), row.name.clone(), row.updated_at, Arc::new(prepared), outcome);
    let written = insisting(&schedules.0.store, move |tx| {
        let (tenant, name, updated_at, prepared, mut outcome) = asked.clone();
        Box::pin(async move {
            let current = store::lock(tx, &tenant, &name).await?;
            let as_read =
                |current: &ScheduleRow| current.next_at == planned && current.updated_at == updated_at;
            if !current.as_ref().is_some_and(as_read) {
                return Ok(false);
            }
            for (at, job) in prepared.iter() {
                let accepted = job.insert(tx).await?;
                outcome.last_at = outcome.last_at.max(Some(*at));
                outcome.last_job = Some(accepted.id.to_string());
                outcome.count += u32::from(!accepted.existed);
            }
            store::fired(tx, &tenant, &name, outcome).await?;
            Ok(true)
        })
    })
    .await?;
    if written {
        for at in firings {
            counter!(SCHEDULE_FIRINGS_TOTAL, "outcome" => "enqueued").increment(1);
            let late = Duration::try_from(now.duration_since(at)).unwrap_or_default();
            histogram!(SCHEDULE_DELAY_SECONDS).record(late);
        }
        schedules.0.jobs.announce(&jobs);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;

    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn due_of(pattern: &str, catch_up: CatchUp, planned: &str, now: &str) -> (Vec<Timestamp>, bool) {
        let rhythm = Rhythm::cron(pattern, TimeZone::UTC).unwrap();
        let due = due(&rhythm, catch_up, 3, at(planned), at(now));
        assert!(due.next_at.unwrap() > at(now));
        (due.firings, due.missed)
    }

    #[test]
    fn what_is_on_time_happens_whatever_the_policy() {
        for policy in [CatchUp::Skip, CatchUp::Once, CatchUp::All] {
            let (firings, missed) =
                due_of("* * * * *", policy, "2026-01-01T00:05Z", "2026-01-01T00:05:00.2Z");
            assert_eq!((firings, missed), (vec![at("2026-01-01T00:05Z")], false));
        }
        let (firings, _) =
            due_of("*/10 * * * * *", CatchUp::Skip, "2026-01-01T00:00:10Z", "2026-01-01T00:00:31Z");
        assert_eq!(firings.len(), 3, "a slow look loses nothing");
    }

    #[test]
    fn what_was_missed_happens_never_once_or_as_often_as_allowed() {
        let of = |policy| due_of("0 * * * *", policy, "2026-01-01T01:00Z", "2026-01-01T09:30Z");
        assert_eq!(of(CatchUp::Skip), (Vec::new(), true));
        assert_eq!(of(CatchUp::Once), (vec![at("2026-01-01T09:00Z")], true));
        let last = vec![at("2026-01-01T07:00Z"), at("2026-01-01T08:00Z"), at("2026-01-01T09:00Z")];
        assert_eq!(of(CatchUp::All), (last, true));
    }

    #[test]
    fn one_that_is_on_time_stands_for_those_that_were_missed() {
        let (firings, missed) =
            due_of("0 * * * *", CatchUp::Once, "2026-01-01T01:00Z", "2026-01-01T09:00:10Z");
        assert_eq!((firings, missed), (vec![at("2026-01-01T09:00Z")], true));
    }

    /// A schedule of work that nobody does, in a store of its own.
    async fn hourly(fixture: &paddock_platform::store::testing::Fixture) -> (Schedules, Jobs) {
        use paddock_platform::{
            blobs::{Blobs, BlobsOptions},
            config::Section,
            keys::Keys,
        };
        let store = fixture.open().await;
        let blobs = Blobs::open(&BlobsOptions::default(), fixture.data_dir()).unwrap();
        let options = Section::fixed(crate::JobsOptions::default());
        let jobs = Jobs::open(store.clone(), blobs, options.clone(), &fixture.tasks).await.unwrap();
        let missions =
            crate::mission::Missions::open(&jobs, store.clone(), options.map(|options| options.missions));
        let missions = missions.await.unwrap();
        let keys = Keys::open(store.clone(), &fixture.tasks).await.unwrap();
        let schedules =
            Schedules::open(&jobs, &missions, keys, store, options.map(|options| options.schedules));
        let schedules = schedules.await.unwrap();
        let schedule = NewSchedule {
            cron: Some("0 * * * *".to_owned()),
            catch_up: CatchUp::All,
            job: Some(NewJob::kind("remote-work", serde_json::json!({}))),
            ..NewSchedule::default()
        };
        schedules.put(&Caller::local(), "hourly", schedule).await.unwrap();
        (schedules, jobs)
    }

    async fn enqueued(jobs: &Jobs) -> usize {
        let tenant = paddock_platform::identity::Tenant::local();
        jobs.list(&tenant, &crate::JobFilter::default(), None, 100).await.unwrap().len()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn whoever_comes_first_fires_and_a_clock_that_is_set_back_fires_nothing_twice() {
        paddock_platform::store::testing::on_each_engine(async |fixture| {
            let (schedules, jobs) = hourly(fixture).await;
            let row =
                store::find(&schedules.0.store, Caller::local().tenant(), "hourly").await.unwrap().unwrap();
            // Three hours pass at once, and eight servers see it.
            let now = row.next_at.unwrap().checked_add(Duration::from_hours(2)).unwrap();
            let servers = (0..8).map(|_| fire(&schedules, &row, now));
            for fired in futures_util::future::join_all(servers).await {
                fired.unwrap();
            }
            assert_eq!(enqueued(&jobs).await, 3);
            // The same moments come again: as planned before, by a clock that was set back.
            let tenant = row.tenant.clone();
            let planned = Fired { next_at: row.next_at, ..Fired::default() };
            insisting(&schedules.0.store, move |tx| {
                let (tenant, planned) = (tenant.clone(), planned.clone());
                Box::pin(async move { store::fired(tx, &tenant, "hourly", planned).await })
            })
            .await
            .unwrap();
            fire(&schedules, &row, now).await.unwrap();
            assert_eq!(enqueued(&jobs).await, 3);
        })
        .await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_schedule_whose_key_was_revoked_is_paused_and_says_why() {
        use paddock_platform::store::testing::on_each_engine;

        on_each_engine(async |fixture| Box::pin(revoke_the_key_of_a_schedule(fixture)).await).await;
    }

    async fn revoke_the_key_of_a_schedule(fixture: &paddock_platform::store::testing::Fixture) {
        use paddock_platform::keys::NewKey;

        let tenant = paddock_platform::identity::Tenant::local();
        let (schedules, jobs) = hourly(fixture).await;
        let new = NewKey {
            name: "author".to_owned(),
            tenant: tenant.clone(),
            scopes: vec![Scope::admin("jobs")],
            limits: paddock_platform::http::KeyLimits::default(),
            expires_at: None,
        };
        let key = schedules.0.keys.create(new).await.unwrap().key;
        let author = Caller::with_key(key.id.clone(), tenant.clone(), key.scopes.clone());
        let planned = async || store::find(&schedules.0.store, &tenant, "hourly").await.unwrap().unwrap();
        schedules.put(&author, "hourly", planned().await.schedule).await.unwrap();
        let row = planned().await;
        fire(&schedules, &row, row.next_at.unwrap()).await.unwrap();
        assert_eq!(enqueued(&jobs).await, 1, "while the key holds");

        schedules.0.keys.revoke(&key.id).await.unwrap();
        let row = planned().await;
        fire(&schedules, &row, row.next_at.unwrap()).await.unwrap();
        assert_eq!(enqueued(&jobs).await, 1);
        let view = schedules.get(&tenant, "hourly").await.unwrap();
        assert!(view.paused && view.next_at.is_none() && view.skipped == 1, "{view:?}");
        assert!(view.paused_reason.unwrap().contains(&format!("the key `{}`", key.id)));
        for refused in
            [schedules.resume(&tenant, "hourly").await, schedules.fire_now(&tenant, "hourly").await]
        {
            assert!(matches!(refused, Err(ScheduleError::KeyInvalid(_))), "{refused:?}");
        }

        // Whoever puts it again answers for it from then on.
        schedules.put(&Caller::local(), "hourly", row.schedule).await.unwrap();
        let row = planned().await;
        assert!(!row.paused && row.paused_reason.is_none());
        // The first of these two firings happened before.
        let second = row.next_at.unwrap().checked_add(Duration::from_hours(1)).unwrap();
        fire(&schedules, &row, second).await.unwrap();
        assert_eq!(enqueued(&jobs).await, 2);
    }

    #[test]
    fn jitter_is_the_same_for_everybody_and_within_its_bound() {
        let jitter = Some(paddock_platform::units::HumanDuration::from_secs(60));
        let schedule = NewSchedule { jitter, ..NewSchedule::default() };
        let planned = at("2026-01-01T00:00Z");
        let begin = begin_of(&schedule, "local", "nightly", planned);
        assert_eq!(begin, begin_of(&schedule, "local", "nightly", planned));
        assert!(begin >= planned && begin.duration_since(planned).as_secs() < 60);
        assert_ne!(begin, begin_of(&schedule, "local", "weekly", planned));
    }
}
