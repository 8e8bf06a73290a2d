//! Workers outside of the server.

use std::time::Duration;

use paddock_platform::{
    identity::{Caller, Scope, Tenant},
    params,
    problem::FORBIDDEN,
    problem::Problem,
    store::{Statement, testing::on_each_engine},
};
use serde_json::json;

use super::support::{PATIENCE, Server, options, stranger};
use crate::{
    AttemptOutcome, Beat, BeatStatus, ClaimRequest, Completion, Failure, JobError, JobFailure, JobProgress,
    JobState, NewJob,
};

/// As if the leases of everything that runs were over.
static END_LEASES: Statement =
    Statement::new("lab", "end_leases", "UPDATE jobs SET lease = 1 WHERE state = 2");

fn work(name: &str) -> NewJob {
    NewJob::kind("resize", json!({"name": name}))
}

fn ask(max: usize, wait: Duration) -> ClaimRequest {
    ClaimRequest {
        worker: "resizer-1".to_owned(),
        kinds: vec!["resize".to_owned()],
        queues: Vec::new(),
        max,
        wait,
        lease: None,
        all_tenants: false,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_claims_tells_how_far_it_is_and_completes() {
    on_each_engine(async |fixture| {
        let (server, caller) = (Server::start(fixture, options()).await, Caller::local());
        let ids = [
            server.enqueue(work("a")).await,
            server.enqueue(work("b")).await,
            server.enqueue(work("c")).await,
        ];
        let claimed = server.jobs.claim(&caller, ask(2, Duration::ZERO)).await.unwrap();
        assert_eq!(claimed.iter().map(|job| job.id).collect::<Vec<_>>(), ids[..2], "in order, two at most");
        let job = &claimed[0];
        assert_eq!((job.attempt, job.worker.as_deref()), (1, Some("resizer-1")));

        let progress =
            Some(JobProgress { percent: 40.0, message: "half".to_owned(), data: Some(json!({"n": 1})) });
        let beat = |id, attempt, progress| Beat { id, attempt, lease: None, progress };
        let answers = server
            .jobs
            .heartbeat(&caller, vec![beat(job.id, 1, progress.clone()), beat(job.id, 7, None)])
            .await
            .unwrap();
        assert_eq!([answers[0].status, answers[1].status], [BeatStatus::Current, BeatStatus::Lost]);
        assert!(answers[0].lease_until.unwrap() >= job.lease_until.unwrap());
        assert_eq!(server.get(job.id).await.progress, progress);

        let done = |id| Completion { id, attempt: 1, result: json!({"width": 7}) };
        let settled =
            server.jobs.complete(&caller, vec![done(ids[0]), done(ids[1]), done(ids[2])]).await.unwrap();
        assert_eq!(
            settled.iter().map(|one| one.state).collect::<Vec<_>>(),
            [Some(JobState::Succeeded), Some(JobState::Succeeded), None],
            "the third was never claimed"
        );
        let again = server.jobs.complete(&caller, vec![done(ids[0])]).await.unwrap();
        assert_eq!(again[0].state, Some(JobState::Succeeded), "the answer to the first may have been lost");
        assert_eq!(server.get(ids[0]).await.result.unwrap().value(), json!({"width": 7}));
        server.stop().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_is_lost_hands_its_job_on_and_its_late_answer_changes_nothing() {
    on_each_engine(async |fixture| {
        let (server, caller) = (Server::start(fixture, options()).await, Caller::local());
        let id = server.enqueue(work("a")).await;
        let first = server.jobs.claim(&caller, ask(1, Duration::ZERO)).await.unwrap();
        assert_eq!(first[0].attempt, 1);
        server.store.execute(&END_LEASES, params![]).await.unwrap();
        let second = server.jobs.claim(&caller, ask(1, PATIENCE)).await.unwrap();
        assert_eq!((second[0].id, second[0].attempt), (id, 2));
        let late = Completion { id, attempt: 1, result: json!("late") };
        assert_eq!(server.jobs.complete(&caller, vec![late]).await.unwrap()[0].state, None);
        let beat = Beat { id, attempt: 1, lease: None, progress: None };
        assert_eq!(server.jobs.heartbeat(&caller, vec![beat]).await.unwrap()[0].status, BeatStatus::Lost);
        let done = Completion { id, attempt: 2, result: json!("in time") };
        assert_eq!(
            server.jobs.complete(&caller, vec![done]).await.unwrap()[0].state,
            Some(JobState::Succeeded)
        );
        let job = server.get(id).await;
        assert_eq!(job.result.as_ref().unwrap().value(), json!("in time"));
        assert_eq!(job.attempts()[0].outcome, Some(AttemptOutcome::Lost));
        server.stop().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_waits_for_the_first_job_and_not_longer_than_it_asks() {
    on_each_engine(async |fixture| {
        let (server, caller) = (Server::start(fixture, options()).await, Caller::local());
        assert!(server.jobs.claim(&caller, ask(1, Duration::ZERO)).await.unwrap().is_empty());
        let waiting = server.jobs.claim(&caller, ask(5, Duration::from_mins(1)));
        let enqueue = async {
            tokio::task::yield_now().await;
            server.enqueue(work("a")).await
        };
        let (claimed, id) = futures_util::join!(waiting, enqueue);
        assert_eq!(claimed.unwrap()[0].id, id);
        server.stop().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_of_a_worker_follows_the_policy() {
    on_each_engine(async |fixture| {
        let (server, caller) = (Server::start(fixture, options()).await, Caller::local());
        let id = server.enqueue(work("a")).await;
        let fail = |attempt, failure| vec![Failure { id, attempt, failure }];
        let claimed = server.jobs.claim(&caller, ask(1, Duration::ZERO)).await.unwrap();
        let failure = JobFailure {
            retry_after: Some(Duration::from_millis(50)),
            ..JobFailure::new("bad-image", "not a PNG")
        };
        let settled = server.jobs.fail(&caller, fail(claimed[0].attempt, failure)).await.unwrap();
        assert_eq!(settled[0].state, Some(JobState::Scheduled));
        assert!(settled[0].run_at.is_some());
        let claimed = server.jobs.claim(&caller, ask(1, PATIENCE)).await.unwrap();
        assert_eq!(claimed[0].attempt, 2);
        let failure = JobFailure::new("bad-image", "not a PNG").permanent();
        let settled = server.jobs.fail(&caller, fail(2, failure)).await.unwrap();
        assert_eq!(settled[0].state, Some(JobState::Failed));
        server.stop().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_learns_that_its_job_was_cancelled_and_ends_it() {
    on_each_engine(async |fixture| {
        let (server, caller) = (Server::start(fixture, options()).await, Caller::local());
        for failing in [false, true] {
            let id = server.enqueue(work("a")).await;
            server.jobs.claim(&caller, ask(1, Duration::ZERO)).await.unwrap();
            assert!(server.jobs.cancel(&Tenant::local(), id).await.unwrap().cancelling);
            let beat = Beat { id, attempt: 1, lease: None, progress: None };
            assert_eq!(
                server.jobs.heartbeat(&caller, vec![beat]).await.unwrap()[0].status,
                BeatStatus::Cancel
            );
            let settled = if failing {
                let failure = JobFailure::new("stopped", "as asked");
                server.jobs.fail(&caller, vec![Failure { id, attempt: 1, failure }]).await.unwrap()
            } else {
                let done = Completion { id, attempt: 1, result: json!(null) };
                server.jobs.complete(&caller, vec![done]).await.unwrap()
            };
            assert_eq!(settled[0].state, Some(JobState::Cancelled));
        }
        server.stop().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_sees_the_jobs_of_its_tenant_unless_it_administers() {
    on_each_engine(async |fixture| {
        let server = Server::start(fixture, options()).await;
        let id = server.enqueue(work("a")).await;
        let scopes = vec![Scope::write("jobs")];
        let theirs = Caller::with_key("k3", "other".parse().unwrap(), scopes);
        assert!(server.jobs.claim(&theirs, ask(5, Duration::ZERO)).await.unwrap().is_empty());
        let all = ClaimRequest { all_tenants: true, ..ask(5, Duration::ZERO) };
        let problem = Problem::from(server.jobs.claim(&theirs, all.clone()).await.unwrap_err());
        assert_eq!(problem.kind, FORBIDDEN);
        let admin = stranger("ops");
        let claimed = server.jobs.claim(&admin, all).await.unwrap();
        assert_eq!(claimed[0].id, id);
        let done = || Completion { id, attempt: 1, result: json!(1) };
        assert_eq!(server.jobs.complete(&theirs, vec![done()]).await.unwrap()[0].state, None);
        assert_eq!(
            server.jobs.complete(&admin, vec![done()]).await.unwrap()[0].state,
            Some(JobState::Succeeded)
        );
        server.stop().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_worker_asks_for_wrongly_is_refused_with_the_member_named() {
    on_each_engine(async |fixture| {
        let (server, caller) = (Server::start(fixture, options()).await, Caller::local());
        let with = |change: fn(&mut ClaimRequest)| {
            let mut request = ask(1, Duration::ZERO);
            change(&mut request);
            request
        };
        for (request, member) in [
            (with(|request| request.worker.clear()), "worker"),
            (with(|request| request.kinds.clear()), "kinds"),
            (with(|request| request.kinds = vec!["mission:step".to_owned()]), "kinds"),
            (with(|request| request.queues = vec!["urgent".to_owned()]), "urgent"),
            (with(|request| request.max = 0), "max"),
            (with(|request| request.max = 101), "max"),
            (with(|request| request.wait = Duration::from_secs(61)), "wait"),
            (with(|request| request.lease = Some(Duration::from_secs(1))), "lease"),
        ] {
            let error = server.jobs.claim(&caller, request).await.unwrap_err().to_string();
            assert!(error.contains(member), "{member}: {error}");
        }
        assert!(matches!(server.jobs.complete(&caller, Vec::new()).await, Err(JobError::Invalid { .. })));
        server.stop().await;
    })
    .await;
}
