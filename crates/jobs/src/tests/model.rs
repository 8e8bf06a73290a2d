//! The state machine against a model of it: whatever is done in whatever order, the store and the model agree.

use std::{collections::BTreeMap, time::Duration};

use paddock_platform::{
    identity::{Caller, Tenant},
    store::{Statement, testing::Fixture},
};
use proptest::{prelude::*, test_runner::TestRunner};
use serde_json::json;

use super::support::{Server, with_queue};
use crate::{
    Beat, BeatStatus, ClaimRequest, Completion, Failure, JobError, JobFailure, JobId, JobState, Jobs, NewJob,
    Role,
};

/// What is done. Numbers pick a job among those that there are.
#[derive(Clone, Debug)]
enum Step {
    Enqueue { priority: i8, key: Option<u8> },
    Claim { max: usize },
    Complete { job: usize, stale: bool },
    Fail { job: usize, retry: bool },
    Beat { job: usize, stale: bool },
    Cancel { job: usize },
    Retry { job: usize },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => (-2_i8..3, prop::option::weighted(0.3, 0_u8..3)).prop_map(|(priority, key)| Step::Enqueue { priority, key }),
        3 => (1_usize..4).prop_map(|max| Step::Claim { max }),
        2 => (any::<usize>(), any::<bool>()).prop_map(|(job, stale)| Step::Complete { job, stale }),
        2 => (any::<usize>(), any::<bool>()).prop_map(|(job, retry)| Step::Fail { job, retry }),
        1 => (any::<usize>(), any::<bool>()).prop_map(|(job, stale)| Step::Beat { job, stale }),
        1 => any::<usize>().prop_map(|job| Step::Cancel { job }),
        1 => any::<usize>().prop_map(|job| Step::Retry { job }),
    ];
    prop::collection::vec(step, 1..40)
}

#[derive(Clone, Debug)]
struct Model {
    state: JobState,
    priority: i8,
    attempt: u32,
    spared: u32,
    cancelling: bool,
}

/// The model, and the server that has to agree with it.
struct Pair<'a> {
    jobs: &'a Jobs,
    model: BTreeMap<JobId, Model>,
    keys: BTreeMap<u8, JobId>,
}

const ATTEMPTS: u32 = 2;

impl Pair<'_> {
    fn pick(&self, number: usize) -> Option<JobId> {
        let count = self.model.len();
        (count > 0).then(|| *self.model.keys().nth(number % count).unwrap())
    }

    async fn step(&mut self, step: &Step) {
        match *step {
            Step::Enqueue { priority, key } => self.enqueue(priority, key).await,
            Step::Claim { max } => self.claim(max).await,
            Step::Complete { job, stale } => {
                let Some(id) = self.pick(job) else { return };
                self.complete(id, stale).await;
            }
            Step::Fail { job, retry } => {
                let Some(id) = self.pick(job) else { return };
                self.fail(id, retry).await;
            }
            Step::Beat { job, stale } => {
                let Some(id) = self.pick(job) else { return };
                self.beat(id, stale).await;
            }
            Step::Cancel { job } => {
                let Some(id) = self.pick(job) else { return };
                self.cancel(id).await;
            }
            Step::Retry { job } => {
                let Some(id) = self.pick(job) else { return };
                self.retry(id).await;
            }
        }
    }

    async fn enqueue(&mut self, priority: i8, key: Option<u8>) {
        let job = NewJob {
            priority,
            unique_key: key.map(|key| format!("key-{key}")),
            retry: Some(crate::RetryPolicy {
                attempts: ATTEMPTS,
                waits: vec![paddock_platform::units::HumanDuration::from_millis(0)],
                ..crate::RetryPolicy::default()
            }),
            ..NewJob::kind("model", json!({}))
        };
        let accepted = self.jobs.enqueue(&Caller::local(), job).await.unwrap();
        let known = key.and_then(|key| self.keys.get(&key).copied());
        assert_eq!((accepted.existed, known.unwrap_or(accepted.id)), (known.is_some(), accepted.id));
        if let Some(key) = key {
            self.keys.insert(key, accepted.id);
        }
        self.model.entry(accepted.id).or_insert(Model {
            state: JobState::Queued,
            priority,
            attempt: 0,
            spared: 0,
            cancelling: false,
        });
    }

    async fn claim(&mut self, max: usize) {
        let request = ClaimRequest {
            worker: "model".to_owned(),
            kinds: vec!["model".to_owned()],
            queues: Vec::new(),
            max,
            wait: Duration::ZERO,
            lease: None,
            all_tenants: false,
        };
        let mut ready: Vec<(i16, JobId)> = self
            .model
            .iter()
            .filter(|(_, job)| job.state == JobState::Queued)
            .map(|(id, job)| (-i16::from(job.priority), *id))
            .collect();
        ready.sort_unstable();
        let expected: Vec<JobId> = ready.into_iter().take(max).map(|(_, id)| id).collect();
        let claimed = self.jobs.claim(&Caller::local(), request).await.unwrap();
        assert_eq!(claimed.iter().map(|job| job.id).collect::<Vec<_>>(), expected);
        for job in claimed {
            let model = self.model.get_mut(&job.id).unwrap();
            model.state = JobState::Running;
            model.attempt += 1;
            assert_eq!(job.attempt, model.attempt, "the attempt is the fencing token");
        }
    }

    async fn complete(&mut self, id: JobId, stale: bool) {
        let model = self.model.get_mut(&id).unwrap();
        let attempt = model.attempt + u32::from(stale);
        let done = Completion { id, attempt, result: json!({"attempt": attempt}) };
        let settled = self.jobs.complete(&Caller::local(), vec![done]).await.unwrap().remove(0);
        let expected = match model.state {
            _ if stale => None,
            JobState::Running if model.cancelling => Some(JobState::Cancelled),
            JobState::Running | JobState::Succeeded => Some(JobState::Succeeded),
            _ => None,
        };
        assert_eq!(settled.state, expected);
        if let Some(state) = expected {
            model.state = state;
            model.cancelling = false;
        }
    }

    async fn fail(&mut self, id: JobId, retry: bool) {
        let model = self.model.get_mut(&id).unwrap();
        let failure = JobFailure::new("model", "failed");
        let failure = if retry { failure } else { failure.permanent() };
        let failure = Failure { id, attempt: model.attempt, failure };
        let settled = self.jobs.fail(&Caller::local(), vec![failure]).await.unwrap().remove(0);
        let expected = match model.state {
            JobState::Running if model.cancelling => Some(JobState::Cancelled),
            JobState::Running if !retry => Some(JobState::Failed),
            JobState::Running if model.attempt - model.spared >= ATTEMPTS => Some(JobState::Dead),
            JobState::Running => Some(JobState::Queued),
            _ => None,
        };
        assert_eq!(settled.state, expected);
        if let Some(state) = expected {
            model.state = state;
            model.cancelling = false;
        }
    }

    async fn beat(&mut self, id: JobId, stale: bool) {
        let model = &self.model[&id];
        let beat = Beat { id, attempt: model.attempt + u32::from(stale), lease: None, progress: None };
        let answer = self.jobs.heartbeat(&Caller::local(), vec![beat]).await.unwrap().remove(0);
        let expected = match model.state {
            JobState::Running if stale => BeatStatus::Lost,
            JobState::Running if model.cancelling => BeatStatus::Cancel,
            JobState::Running => BeatStatus::Current,
            _ => BeatStatus::Lost,
        };
        assert_eq!(answer.status, expected);
    }

    async fn cancel(&mut self, id: JobId) {
        let model = self.model.get_mut(&id).unwrap();
        match self.jobs.cancel(&Tenant::local(), id).await {
            Ok(job) if model.state == JobState::Running => {
                assert!(job.cancelling);
                model.cancelling = true;
            }
            Ok(job) => {
                assert!(!model.state.is_final());
                assert_eq!(job.state, JobState::Cancelled);
                model.state = JobState::Cancelled;
            }
            Err(JobError::State { state, .. }) => {
                assert!(model.state.is_final());
                assert_eq!(state, model.state);
            }
            Err(error) => panic!("{error}"),
        }
    }

    async fn retry(&mut self, id: JobId) {
        let model = self.model.get_mut(&id).unwrap();
        let may = model.state.is_final() && model.state != JobState::Succeeded;
        assert_eq!(self.jobs.retry(&Tenant::local(), id).await.is_ok(), may);
        if may {
            model.state = JobState::Queued;
            model.spared = model.attempt;
        }
    }

    /// The invariants that the crate's documentation names.
    async fn agree(&self, changes: &mut BTreeMap<JobId, u64>) {
        for (id, model) in &self.model {
            let job = self.jobs.get(&Tenant::local(), *id).await.unwrap();
            assert_eq!((job.state, job.attempt), (model.state, model.attempt));
            assert_eq!((job.spared, job.cancelling), (model.spared, model.cancelling));
            assert_eq!(job.attempts().len() as u32, model.attempt, "each attempt is in the history: {job:?}");
            let before = changes.insert(*id, job.changes).unwrap_or(0);
            assert!(job.changes >= before);
        }
    }
}

fn check(fixture: impl AsyncFn() -> Fixture, cases: u32) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let fixture = runtime.block_on(fixture());
    let server = runtime.block_on(Server::start_as(
        &fixture,
        with_queue(|queue| queue.retry_budget = 1.0),
        Role { works: false, queues: Vec::new() },
    ));
    let config = ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() };
    let result = TestRunner::new(config).run(&steps(), |steps| {
        runtime.block_on(async {
            let mut pair = Pair { jobs: &server.jobs, model: BTreeMap::new(), keys: BTreeMap::new() };
            let mut changes = BTreeMap::new();
            for step in &steps {
                pair.step(step).await;
                pair.agree(&mut changes).await;
            }
            clear(&server).await;
        });
        Ok(())
    });
    result.unwrap();
    runtime.block_on(server.stop());
}

static CLEAR: Statement = Statement::new("lab", "clear", "DELETE FROM jobs");

/// Nothing of one case is left for the next.
async fn clear(server: &Server) {
    server.store.execute(&CLEAR, Vec::new()).await.unwrap();
}

#[test]
fn the_state_machine_holds_on_sqlite() {
    check(async || Fixture::sqlite(), 24);
}

#[test]
fn the_state_machine_holds_on_postgresql() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let Some(fixture) = runtime.block_on(Fixture::postgres()) else { return };
    let fixture = std::cell::RefCell::new(Some(fixture));
    check(async || fixture.borrow_mut().take().unwrap(), 12);
}
