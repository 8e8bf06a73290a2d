//! What others have to hear of what was committed: this server's dispatcher, listeners and waiters, and the other
//! servers that share the store.

use std::{collections::BTreeSet, sync::Arc};

use jiff::Timestamp;
use paddock_platform::{
    identity::Tenant,
    store::{StoreError, Transaction},
};
use serde::{Deserialize, Serialize};

use super::end::{EndStatus, Ending, Written};
use crate::{
    Effects, Ended, Job, JobState,
    core::Core,
    dispatch::Lane,
    service::PreparedJob,
    verdict::{LOST, Verdict},
};

/// The channel between servers.
pub(crate) const CHANNEL: &str = "paddock_jobs";
/// What fits into an announcement.
const ANNOUNCEMENT_SIZE_MAX: usize = 7_900;

/// An announcement to the other servers.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Announcement {
    /// The server that speaks: it heard of it already.
    #[serde(rename = "n")]
    pub(crate) node: String,
    /// Lanes that have ready jobs: queue, pool, tenant.
    #[serde(rename = "l", skip_serializing_if = "BTreeSet::is_empty")]
    pub(crate) lanes: BTreeSet<(String, String, String)>,
    /// Jobs that changed: key and tenant.
    #[serde(rename = "j", skip_serializing_if = "Vec::is_empty")]
    pub(crate) jobs: Vec<(i64, String)>,
    /// Queues in which a place became free, or whose mode changed.
    #[serde(rename = "q", skip_serializing_if = "BTreeSet::is_empty")]
    pub(crate) queues: BTreeSet<String>,
    /// There was more than fits: look at everything.
    #[serde(rename = "a")]
    pub(crate) all: bool,
}

impl Announcement {
    /// As text that fits.
    fn text(mut self) -> String {
        let text = |announcement: &Self| serde_json::to_string(announcement).unwrap_or_default();
        let whole = text(&self);
        if whole.len() <= ANNOUNCEMENT_SIZE_MAX {
            return whole;
        }
        self.jobs.clear();
        self.all = true;
        let shorter = text(&self);
        if shorter.len() <= ANNOUNCEMENT_SIZE_MAX {
            return shorter;
        }
        text(&Self { node: self.node, all: true, ..Self::default() })
    }
}

/// What became of one job.
struct Change {
    job: Arc<Job>,
    state: JobState,
    changes: u64,
}

/// Gathers what is to be told.
#[derive(Default)]
pub(crate) struct Told {
    new: Vec<PreparedJob>,
    changes: Vec<Change>,
    lanes: Vec<Lane>,
    queues: BTreeSet<Arc<str>>,
    jobs: Vec<(i64, Tenant)>,
    due: Option<Timestamp>,
}

impl Told {
    /// Jobs that were accepted.
    pub(crate) fn of_new(jobs: &[PreparedJob]) -> Self {
        Self::default().and_new(jobs)
    }

    pub(super) fn and_new(mut self, jobs: &[PreparedJob]) -> Self {
        for job in jobs {
            match job.get().state {
                // Most of a batch stand in one lane.
                JobState::Queued if self.lanes.last().is_some_and(|lane| job.stands_in(lane)) => {}
                JobState::Queued => self.lanes.push(job.lane()),
                JobState::Scheduled => self.due_at(job.get().run_at),
                _ => {}
            }
        }
        self.lanes.sort_unstable();
        self.lanes.dedup();
        self.new.extend_from_slice(jobs);
        self
    }

    /// What other servers need to hear of attempts that ended, known before the commit.
    pub(super) fn of_ended(endings: &[Ending], let_go: &[(Arc<str>, Tenant, String)]) -> Self {
        let mut told = Self::default();
        for ending in endings {
            told.jobs.push((ending.job.id.key(), ending.job.tenant.clone()));
            told.queues.insert(Arc::clone(&ending.job.queue));
            if let Verdict::Again { state: JobState::Queued, .. } = ending.verdict {
                told.lanes.push(Lane::of(&ending.job));
            }
        }
        told.let_go(let_go.to_vec());
        told
    }

    pub(super) fn let_go(&mut self, let_go: Vec<(Arc<str>, Tenant, String)>) {
        let lanes = let_go.into_iter();
        self.lanes.extend(lanes.map(|(queue, tenant, pool)| Lane { queue, pool: pool.into(), tenant }));
    }

    /// What was done to other jobs in the same transaction.
    pub(super) fn effects(&mut self, effects: &Effects) {
        for job in &effects.enqueued {
            job.get().queue.live.add(1);
        }
        *self = std::mem::take(self).and_new(&effects.enqueued);
        effects.ended.iter().for_each(|ended| self.end(ended));
    }

    /// A job that did not run was ended, with all that followed from it.
    pub(crate) fn end(&mut self, ended: &Ended) {
        self.changed(Arc::clone(&ended.job), ended.job.state, ended.job.changes);
        self.effects(&ended.effects);
    }

    /// A lane has ready jobs.
    pub(crate) fn ready(&mut self, lane: Lane) {
        self.lanes.push(lane);
    }

    /// What may happen with queues changed: an announcement that names no queue says so.
    pub(crate) fn modes_changed(&mut self) {
        self.queues.insert("".into());
    }

    fn due_at(&mut self, run_at: Timestamp) {
        self.due = Some(self.due.map_or(run_at, |due| due.min(run_at)));
    }

    /// A job that somebody else's transaction or a control changed.
    pub(crate) fn changed(&mut self, job: Arc<Job>, state: JobState, changes: u64) {
        self.changes.push(Change { job, state, changes });
    }

    /// An attempt ended as it was written.
    pub(super) fn ended(&mut self, core: &Core, ending: &Ending, written: &Written) {
        let job = &ending.job;
        let EndStatus::Ended(state) = written.status else { return };
        let meters = core.meters.of(&job.queue, &job.kind);
        if let (Some(started), false) =
            (job.started_at, matches!(ending.verdict, Verdict::Again { counts: false, .. }))
        {
            let ran = ending.at.duration_since(started).unsigned_abs();
            meters.ran(ran);
            let slow = core.policy().options.slow.get();
            if ran >= slow {
                meters.slow.increment(1);
                tracing::warn!(
                    event.name = format!("Worker/Job/{}", job.kind),
                    job.id = %job.id, job.kind = &*job.kind, job.queue = &*job.queue,
                    job.attempt = job.attempt, duration_ms = ran.as_millis() as u64, "slow job"
                );
            }
        }
        if let Verdict::Again { counts, error, .. } = &ending.verdict {
            if *counts && !state.is_final() {
                meters.retries.increment(1);
            }
            if error.as_ref().is_some_and(|error| error.class == LOST) {
                meters.lost.increment(1);
            }
            match (&ending.verdict, state) {
                (_, JobState::Queued) => self.ready(Lane::of(job)),
                (Verdict::Again { run_at, .. }, JobState::Scheduled) => self.due_at(*run_at),
                _ => {}
            }
            if matches!(state, JobState::Queued | JobState::Scheduled) {
                core.policy().of(&job.queue).live.add(1);
            }
        }
        self.queues.insert(Arc::clone(&job.queue));
        self.changed(Arc::clone(job), state, written.changes);
    }

    /// Tells the other servers, if what is written is kept.
    pub(crate) async fn notify(&self, tx: &mut Transaction, core: &Core) -> Result<(), StoreError> {
        if !core.store.is_shared() {
            return Ok(());
        }
        let lane = |lane: &Lane| (lane.queue.to_string(), lane.pool.to_string(), lane.tenant.to_string());
        let changed = self.changes.iter().map(|change| (change.job.id.key(), change.job.tenant.to_string()));
        let ended = self.jobs.iter().map(|(key, tenant)| (*key, tenant.to_string()));
        let announcement = Announcement {
            node: core.node.name.clone(),
            lanes: self.lanes.iter().map(lane).collect(),
            jobs: changed.chain(ended).collect(),
            queues: self.queues.iter().map(ToString::to_string).collect(),
            all: false,
        };
        tx.notify(CHANNEL, announcement.text()).await
    }

    /// Tells everybody on this server. What is told was committed.
    pub(crate) fn tell(self, core: &Core) {
        let mut counts: Vec<(&Arc<str>, &Arc<str>, u64)> = Vec::new();
        for job in &self.new {
            let prepared = job.get();
            let (queue, kind) = (&prepared.queue.name, &prepared.kind);
            match counts.iter_mut().find(|(of, what, _)| *of == queue && *what == kind) {
                Some((_, _, count)) => *count += 1,
                None => counts.push((queue, kind, 1)),
            }
            core.tell(|| job.event());
        }
        for (queue, kind, count) in counts {
            core.meters.of(queue, kind).enqueued.increment(count);
        }
        for Change { job, state, changes } in &self.changes {
            if state.is_final() {
                core.meters.of(&job.queue, &job.kind).ended(*state);
                core.waiters.tell(job.id.key());
                if job.external {
                    core.outstanding.leave(job.id.key());
                }
            }
            core.tell_state(job, *state, *changes);
        }
        if let Some(due) = self.due {
            core.due.at(due);
        }
        core.supply.lanes(self.lanes);
        core.supply.freed(self.queues);
    }
}

/// Tells of jobs that were accepted in a transaction of somebody else.
pub(crate) fn announce(core: &Core, jobs: &[PreparedJob]) {
    for job in jobs {
        job.get().queue.live.add(1);
    }
    Told::of_new(jobs).tell(core);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_announcement_always_fits_and_says_when_something_is_left_out() {
        let lanes = (0..10).map(|n| (format!("q{n}"), String::new(), "local".to_owned())).collect();
        let jobs = (0..5_000).map(|key| (key, "local".to_owned())).collect();
        let text = Announcement { node: "a".to_owned(), lanes, jobs, ..Announcement::default() }.text();
        assert!(text.len() <= ANNOUNCEMENT_SIZE_MAX);
        let read: Announcement = serde_json::from_str(&text).unwrap();
        assert!(read.all && read.jobs.is_empty() && read.lanes.len() == 10);
        let lanes = (0..5_000).map(|n| (format!("q{n}"), String::new(), "local".to_owned())).collect();
        let text = Announcement { node: "a".to_owned(), lanes, ..Announcement::default() }.text();
        assert!(serde_json::from_str::<Announcement>(&text).unwrap().all);
    }
}
