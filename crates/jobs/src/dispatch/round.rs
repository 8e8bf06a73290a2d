//! The dispatcher's loop.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::Arc,
    sync::atomic::Ordering,
    time::Duration,
};

use metrics::gauge;
use paddock_platform::{params, store::StoreError};
use tokio::sync::mpsc;

use super::{
    DELIVERIES, Lane, Places,
    claim::{self, Claim, Claimed},
    lanes::{Lanes, Share},
    poll::Poll,
};
use crate::{
    Job, JobState,
    core::Core,
    metrics::{JOBS_POLLERS, JOBS_WORKERS},
    store::sql,
    worker,
};

/// How often the store is asked where ready jobs are: what was missed is found by then.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);
/// As long the dispatcher waits when the store does not answer.
const STORE_WAIT: Duration = Duration::from_millis(500);
/// Lanes that one look takes up; the rest is taken up when these are empty.
const LANES_MAX: usize = 10_000;
/// Jobs that one claim takes of this server's places at most: nobody else's turn waits for longer.
const ROUND_MAX: usize = 500;

/// Who a claim is for.
#[derive(Clone, Copy)]
enum For {
    Workers,
    Poll(usize),
}

pub(super) struct Dispatcher {
    core: Arc<Core>,
    places: Places,
    /// Queues that this server's workers are for; empty for all.
    queues: BTreeSet<String>,
    hand_out: mpsc::Sender<Arc<Job>>,
    intake: mpsc::Receiver<Poll>,
    polls: VecDeque<Poll>,
    lanes: Lanes,
    /// Queues that were paused at the last look.
    paused: BTreeSet<String>,
    node: Arc<str>,
}

impl Dispatcher {
    pub(super) fn new(
        core: Arc<Core>,
        places: Places,
        queues: Vec<String>,
        hand_out: mpsc::Sender<Arc<Job>>,
        intake: mpsc::Receiver<Poll>,
    ) -> Self {
        let node = core.node.name.as_str().into();
        let (queues, polls) = (queues.into_iter().collect(), VecDeque::new());
        let (lanes, paused) = (Lanes::default(), BTreeSet::new());
        gauge!(JOBS_WORKERS, "kind" => "max").set(places.jobs as f64);
        Self { core, places, queues, hand_out, intake, polls, lanes, paused, node }
    }

    pub(super) async fn run(mut self) {
        let mut look = tokio::time::interval(LOOK_INTERVAL);
        loop {
            tokio::select! {
                () = self.core.supply.wake.notified() => {}
                _ = look.tick() => self.core.supply.look(),
            }
            while let Err(error) = self.rounds().await {
                tracing::warn!(%error, "jobs cannot be claimed; trying again");
                tokio::time::sleep(STORE_WAIT).await;
                self.core.supply.look();
            }
        }
    }

    /// Claims until nothing more can be.
    async fn rounds(&mut self) -> Result<(), StoreError> {
        let core = Arc::clone(&self.core);
        loop {
            let _round = core.supply.round.lock().await;
            self.take_news().await?;
            let planned = self.plan();
            gauge!(JOBS_POLLERS).set(self.polls.len() as f64);
            gauge!(JOBS_WORKERS, "kind" => "running").set(self.core.running.busy_in("") as f64);
            if planned.is_empty() {
                return Ok(());
            }
            let claims = planned.iter().map(|(_, claim)| claim.clone()).collect();
            let claimed = claim::claim(&self.core, claims).await?;
            self.settle(planned, claimed).await;
        }
    }

    async fn take_news(&mut self) -> Result<(), StoreError> {
        while let Ok(poll) = self.intake.try_recv() {
            self.polls.push_back(poll);
        }
        self.polls.retain(|poll| !poll.answer.is_closed());
        let news = self.core.supply.take();
        for lane in &news.lanes {
            self.lanes.add(lane);
        }
        for queue in &news.freed {
            self.lanes.freed(queue);
        }
        if news.look {
            self.lanes.all_freed();
            self.look().await?;
        }
        Ok(())
    }

    /// Asks the store where ready jobs are: one seek per lane.
    async fn look(&mut self) -> Result<(), StoreError> {
        let mut last = (String::new(), String::new(), String::new());
        while self.lanes.len() < LANES_MAX {
            let params = params![&last.0, &last.1, &last.2];
            let Some(row) = self.core.store.query_first(&sql::NEXT_LANE, params).await? else { break };
            last = (row.get(0_usize)?, row.get(1_usize)?, row.get(2_usize)?);
            if let Ok(tenant) = last.2.parse() {
                let (queue, pool) = (last.0.as_str().into(), last.1.as_str().into());
                self.lanes.add(&Lane { queue, pool, tenant });
            }
        }
        Ok(())
    }

    fn plan(&mut self) -> Vec<(For, Claim)> {
        if self.core.supply.draining.load(Ordering::Acquire) {
            return Vec::new();
        }
        let policy = Arc::clone(&self.core.policy());
        self.reopen();
        let weight = |queue: &str| (!self.paused.contains(queue)).then(|| policy.of(queue).weight);
        let mut planned = Vec::new();
        let lease = policy.options.lease.get();
        for (own, places) in [("", self.places.jobs), (DELIVERIES, self.places.deliveries)] {
            let free = places.saturating_sub(self.core.running.busy_in(own)).min(ROUND_MAX);
            let ours = |queue: &str, pool: &str| {
                let mine = pool == own && (self.queues.is_empty() || self.queues.contains(queue));
                mine.then(|| weight(queue)).flatten()
            };
            for share in self.lanes.plan(free, ours, |_| true) {
                planned.push((For::Workers, Claim { share, worker: Arc::clone(&self.node), lease }));
            }
        }
        for (index, poll) in self.polls.iter().enumerate() {
            let theirs = |queue: &str, pool: &str| poll.takes(queue, pool).then(|| weight(queue)).flatten();
            let worker: Arc<str> = poll.worker.as_str().into();
            for share in self.lanes.plan(poll.max, theirs, |tenant| poll.serves(tenant)) {
                let claim = Claim { share, worker: Arc::clone(&worker), lease: poll.lease };
                planned.push((For::Poll(index), claim));
            }
        }
        planned
    }

    /// Looks which queues are paused, and which are no more.
    fn reopen(&mut self) {
        let paused = self.core.paused();
        for queue in self.paused.difference(&paused) {
            self.lanes.reopened(queue);
        }
        self.paused = paused;
    }

    /// Hands out what was claimed.
    async fn settle(&mut self, planned: Vec<(For, Claim)>, claimed: Vec<Claimed>) {
        let mut polled: Vec<Vec<Arc<Job>>> = self.polls.iter().map(|_| Vec::new()).collect();
        for ((whose, claim), claimed) in planned.into_iter().zip(claimed) {
            self.took(&claim.share, &claimed);
            match whose {
                For::Workers => {
                    self.core.running.claimed(&claimed.jobs);
                    for job in claimed.jobs {
                        // There is a place for each: this waits for nobody.
                        let _ = self.hand_out.send(job).await;
                    }
                }
                For::Poll(index) => polled[index].extend(claimed.jobs),
            }
        }
        let polls = std::mem::take(&mut self.polls);
        for (poll, jobs) in polls.into_iter().zip(polled) {
            if jobs.is_empty() {
                self.polls.push_back(poll);
                continue;
            }
            for job in &jobs {
                self.core.outstanding.enter(job);
            }
            if let Err(jobs) = poll.answer.send(jobs) {
                self.give_back(jobs).await;
            }
        }
    }

    /// Counts what a lane gave.
    fn took(&mut self, share: &Share, claimed: &Claimed) {
        self.lanes.gave(share, claimed.taken, claimed.limited);
        let policy = self.core.policy();
        let queue = policy.of(&share.lane.queue);
        let begun = i64::try_from(claimed.jobs.len()).unwrap_or(0);
        queue.live.add(-begun);
        queue.live.budget.tried(u32::try_from(begun).unwrap_or(u32::MAX));
        if let Some(due) = claimed.due {
            self.core.due.at(due);
        }
        let now = self.core.now();
        for job in &claimed.jobs {
            let ready = job.run_at.max(job.id.created_at());
            let waited = now.duration_since(ready).max(jiff::SignedDuration::ZERO).unsigned_abs();
            self.core.meters.of(&job.queue, &job.kind).wait.record(waited);
            self.core.tell_state(job, JobState::Running, job.changes);
        }
    }

    /// The worker that asked went away while jobs were claimed for it.
    async fn give_back(&self, jobs: Vec<Arc<Job>>) {
        for job in jobs {
            if let Err(error) = self.core.ledger.end(worker::released(&self.core, job)).await {
                tracing::warn!(%error, "a job was not given back; its lease ends by itself");
            }
        }
    }
}
