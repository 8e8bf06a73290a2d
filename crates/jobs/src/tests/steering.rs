//! Queues and many jobs at once.

use paddock_platform::{
    identity::{Caller, Tenant},
    problem::Problem,
    store::testing::on_each_engine,
};
use serde_json::json;

use super::support::{Server, echo_job, options, tool_job};
use crate::{JobError, JobState, NewJob, QUEUE_DRAINING, QueueMode, QueueStatus, Redriven, Selection};

async fn standard(server: &Server) -> QueueStatus {
    let queues = server.jobs.queues(None).await.unwrap();
    queues.into_iter().find(|queue| queue.name == "standard").unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_queue_keeps_its_jobs_and_a_resumed_one_does_them() {
    on_each_engine(async |fixture| {
        let server = Server::start(fixture, options()).await;
        server.jobs.pause_queue("standard").await.unwrap();
        let id = server.enqueue(echo_job("a")).await;
        let other = server.enqueue(NewJob { queue: Some("low".to_owned()), ..echo_job("b") }).await;
        assert_eq!(server.ended(other).await.state, JobState::Succeeded);
        assert_eq!(server.get(id).await.state, JobState::Queued);
        let status = standard(&server).await;
        assert_eq!((status.mode, status.queued, status.running), (QueueMode::Paused, 1, 0));
        server.jobs.resume_queue("standard").await.unwrap();
        assert_eq!(server.ended(id).await.state, JobState::Succeeded);
        server.stop().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drained_queue_takes_nothing_and_does_what_is_in_it() {
    on_each_engine(async |fixture| {
        let server = Server::start(fixture, options()).await;
        let id = server.enqueue(echo_job("a")).await;
        server.jobs.drain_queue("standard").await.unwrap();
        let problem = Problem::from(server.jobs.enqueue(&Caller::local(), echo_job("b")).await.unwrap_err());
        assert_eq!(problem.kind, QUEUE_DRAINING);
        assert!(problem.retry_after.is_some());
        assert_eq!(server.ended(id).await.state, JobState::Succeeded);
        server.stop().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purge_says_what_it_would_do_before_it_does_it() {
    on_each_engine(async |fixture| {
        let server = Server::start(fixture, options()).await;
        server.jobs.pause_queue("standard").await.unwrap();
        let later = Some(jiff::Timestamp::now() + std::time::Duration::from_hours(1));
        let jobs = vec![echo_job("a"), NewJob { run_at: later, ..echo_job("b") }];
        server.jobs.enqueue_many(&Caller::local(), jobs).await.unwrap();
        let tenant = Tenant::local();
        assert_eq!(server.jobs.purge_queue(&tenant, "standard", true).await.unwrap(), 2);
        assert_eq!(server.count(JobState::Cancelled).await, 0);
        assert_eq!(server.jobs.purge_queue(&tenant, "standard", false).await.unwrap(), 2);
        assert_eq!(server.count(JobState::Cancelled).await, 2);
        assert!(matches!(
            server.jobs.purge_queue(&tenant, "urgent", true).await,
            Err(JobError::UnknownQueue { .. })
        ));
        server.stop().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_jobs_are_brought_back_one_by_one_or_all_that_fit() {
    on_each_engine(async |fixture| {
        let server = Server::start(fixture, options()).await;
        let fails = || tool_job("lab_fail", json!({"forever": false}));
        let low = || NewJob { queue: Some("low".to_owned()), ..fails() };
        let jobs = vec![fails(), fails(), low(), tool_job("lab_fail", json!({"forever": true}))];
        let accepted = server.jobs.enqueue_many(&Caller::local(), jobs).await.unwrap();
        for one in &accepted {
            server.ended(one.id).await;
        }
        assert_eq!(standard(&server).await.dead, 2);
        let tenant = Tenant::local();
        let redrive = async |selection: Selection, dry| server.jobs.redrive(&tenant, &selection, dry).await;
        let all = redrive(Selection::default(), true).await.unwrap();
        assert_eq!(all, Redriven { matched: 3, redriven: 0 });
        let of_queue = Selection { queue: Some("low".to_owned()), ..Selection::default() };
        assert_eq!(redrive(of_queue, false).await.unwrap().redriven, 1);
        let of_class = Selection { class: Some("timeout".to_owned()), ..Selection::default() };
        assert_eq!(redrive(of_class, false).await.unwrap().matched, 0);
        let failed = Selection { states: Some(vec![JobState::Failed]), ..Selection::default() };
        assert_eq!(redrive(failed, true).await.unwrap().matched, 1);
        let named = Selection { ids: Some(vec![accepted[0].id]), ..Selection::default() };
        assert_eq!(redrive(named, false).await.unwrap().redriven, 1);
        let wrong = Selection { states: Some(vec![JobState::Running]), ..Selection::default() };
        assert!(matches!(redrive(wrong, true).await, Err(JobError::Invalid { .. })));
        server.stop().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_ended_otherwise_than_well_is_retried() {
    on_each_engine(async |fixture| {
        let server = Server::start(fixture, options()).await;
        let id = server.enqueue(echo_job("a")).await;
        server.ended(id).await;
        let retried = server.jobs.retry(&Tenant::local(), id).await;
        assert!(matches!(retried, Err(JobError::State { state: JobState::Succeeded, .. })));
        server.stop().await;
    })
    .await;
}
