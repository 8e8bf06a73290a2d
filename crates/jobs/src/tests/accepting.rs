//! What is accepted, and what is not.

use paddock_platform::{
    identity::{Caller, Scope, Tenant},
    problem::Problem,
    store::testing::on_each_engine,
};
use serde_json::json;

use super::support::{Server, echo_job, options, stranger, tool_job, with_queue};
use crate::{JobError, JobFilter, JobState, NewJob, QUEUE_FULL, Role};

const IDLE: Role = Role { works: false, queues: Vec::new() };

#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_kept_as_it_was_handed_over() {
    on_each_engine(async |fixture| {
        let server = Server::start_as(fixture, options(), IDLE).await;
        let mut job = echo_job("a");
        job.priority = 7;
        job.queue = Some("critical".to_owned());
        job.concurrency_key = Some("shop".to_owned());
        let id = server.enqueue(job).await;
        let kept = server.get(id).await;
        assert_eq!(
            (kept.state, kept.priority, &*kept.queue, &*kept.kind),
            (JobState::Queued, 7, "critical", "lab_echo")
        );
        assert_eq!(kept.input.value(), json!({"name": "a"}));
        assert_eq!((kept.attempt, kept.changes, kept.concurrency_key.as_deref()), (0, 1, Some("shop")));
        server.stop().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_done_is_refused_with_the_member_named() {
    on_each_engine(async |fixture| {
        let server = Server::start_as(fixture, options(), IDLE).await;
        let with = |change: fn(&mut NewJob)| {
            let mut job = echo_job("a");
            change(&mut job);
            job
        };
        for (job, field) in [
            (tool_job("lab_ech", json!({})), "lab_echo"),
            (tool_job("lab_echo", json!({"nam": "a"})), "nam"),
            (with(|job| job.kind = Some("resize".to_owned())), "tool"),
            (NewJob::default(), "tool"),
            (NewJob::kind("Resize!", json!({})), "kind"),
            (NewJob::kind("lab_echo", json!({})), "tool"),
            (with(|job| job.queue = Some("urgent".to_owned())), "queue"),
            (with(|job| job.priority = 101), "priority"),
            (with(|job| job.unique_key = Some(String::new())), "unique_key"),
            (with(|job| job.concurrency_key = Some("x".repeat(256))), "concurrency_key"),
            (
                with(|job| job.retry = Some(crate::RetryPolicy { attempts: 0, ..Default::default() })),
                "attempts",
            ),
            (
                with(|job| job.retry = Some(crate::RetryPolicy { factor: 0.5, ..Default::default() })),
                "factor",
            ),
            (tool_job("lab_echo", json!({"name": "x".repeat(2 << 20)})), "input"),
        ] {
            let problem = Problem::from(server.jobs.enqueue(&Caller::local(), job).await.unwrap_err());
            assert!(
                problem.kind.status.is_client_error() && problem.detail.contains(field),
                "{field}: {problem}"
            );
        }
        assert_eq!(server.count(JobState::Queued).await, 0);
        server.stop().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_accepted_whole_or_not_at_all() {
    on_each_engine(async |fixture| {
        let server = Server::start_as(fixture, options(), IDLE).await;
        let bad = vec![echo_job("a"), tool_job("lab_echo", json!({})), echo_job("c")];
        let problem = Problem::from(server.jobs.enqueue_many(&Caller::local(), bad).await.unwrap_err());
        assert!(problem.detail.contains("jobs[1]"), "{problem}");
        assert_eq!(server.count(JobState::Queued).await, 0);
        let good = (0..50).map(|n| echo_job(&n.to_string())).collect();
        let accepted = server.jobs.enqueue_many(&Caller::local(), good).await.unwrap();
        assert_eq!((accepted.len(), server.count(JobState::Queued).await), (50, 50));
        let many = (0..1_001).map(|n| echo_job(&n.to_string())).collect();
        assert!(matches!(
            server.jobs.enqueue_many(&Caller::local(), many).await,
            Err(JobError::Invalid { .. })
        ));
        server.stop().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_unique_key_names_one_job_however_often_it_is_sent() {
    on_each_engine(async |fixture| {
        let server = Server::start_as(fixture, options(), IDLE).await;
        let keyed = |name: &str| NewJob { unique_key: Some("order-7".to_owned()), ..echo_job(name) };
        let caller = Caller::local();
        let sent = (0..20).map(|_| server.jobs.enqueue(&caller, keyed("a")));
        let accepted = futures_util::future::try_join_all(sent).await.unwrap();
        assert!(accepted.iter().all(|one| one.id == accepted[0].id));
        assert_eq!(accepted.iter().filter(|one| !one.existed).count(), 1);
        assert_eq!(server.count(JobState::Queued).await, 1);
        let batch = vec![keyed("a"), echo_job("b"), keyed("a")];
        let batch = server.jobs.enqueue_many(&caller, batch).await.unwrap();
        assert_eq!(batch.iter().map(|one| one.existed).collect::<Vec<_>>(), [true, false, true]);
        let different = server.jobs.enqueue(&caller, keyed("b")).await;
        assert!(matches!(different, Err(JobError::UniqueKeyReused { id, .. }) if id == accepted[0].id));
        let theirs = server.jobs.enqueue(&stranger("other"), keyed("a")).await.unwrap();
        assert!(!theirs.existed, "keys are per tenant");
        server.stop().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_says_when_to_come_back() {
    on_each_engine(async |fixture| {
        let server = Server::start_as(fixture, with_queue(|queue| queue.depth_max = 3), IDLE).await;
        for name in ["a", "b", "c"] {
            server.enqueue(echo_job(name)).await;
        }
        let problem = Problem::from(server.jobs.enqueue(&Caller::local(), echo_job("d")).await.unwrap_err());
        assert_eq!(problem.kind, QUEUE_FULL);
        assert!(problem.retry_after.is_some());
        let other = NewJob { queue: Some("low".to_owned()), ..echo_job("d") };
        server.enqueue(other).await;
        let first = server.jobs.list(&Tenant::local(), &JobFilter::default(), None, 10).await.unwrap().pop();
        server.jobs.cancel(&Tenant::local(), first.unwrap().id).await.unwrap();
        server.enqueue(echo_job("d")).await;
        server.stop().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_without_the_scope_of_a_tool_cannot_have_it_called_by_a_job() {
    on_each_engine(async |fixture| {
        let server = Server::start_as(fixture, options(), IDLE).await;
        let caller = Caller::with_key("k1", Tenant::local(), vec![Scope::write("jobs")]);
        let problem = Problem::from(server.jobs.enqueue(&caller, echo_job("a")).await.unwrap_err());
        assert!(problem.detail.contains("lab:write"), "{problem}");
        server.stop().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_of_another_tenant_does_not_exist() {
    on_each_engine(async |fixture| {
        let server = Server::start_as(fixture, options(), IDLE).await;
        let id = server.enqueue(echo_job("a")).await;
        let other: Tenant = "other".parse().unwrap();
        assert!(matches!(server.jobs.get(&other, id).await, Err(JobError::NotFound(_))));
        assert!(matches!(server.jobs.cancel(&other, id).await, Err(JobError::NotFound(_))));
        assert!(matches!(server.jobs.retry(&other, id).await, Err(JobError::NotFound(_))));
        assert!(server.jobs.list(&other, &JobFilter::default(), None, 10).await.unwrap().is_empty());
        assert_eq!(server.jobs.purge_queue(&other, "standard", false).await.unwrap(), 0);
        assert_eq!(server.get(id).await.state, JobState::Queued);
        server.stop().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_in_memory_answers_before_it_is_written_and_is_written_soon() {
    on_each_engine(async |fixture| {
        let options = with_queue(|queue| queue.durability = crate::Durability::Memory);
        let server = Server::start(fixture, options).await;
        let id = server.enqueue(echo_job("a")).await;
        server.eventually(async || server.jobs.get(&Tenant::local(), id).await.is_ok()).await;
        assert_eq!(server.ended(id).await.state, JobState::Succeeded);
        server.stop().await;
    })
    .await;
}
