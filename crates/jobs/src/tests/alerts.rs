//! What an operator is told of queues that need somebody.

use paddock_platform::{
    health::{Finding, Status},
    identity::Tenant,
    store::testing::on_each_engine,
    units::HumanDuration,
};
use serde_json::json;

use super::support::{Server, echo_job, options, tool_job};
use crate::{JobState, Role, health, sweep};

/// What is found, whose detail and advice say these.
fn assert_degraded(finding: &Finding, detail: &str, advice: &str) {
    assert_eq!(finding.status, Status::Degraded, "{finding:?}");
    assert!(finding.detail.contains(detail), "{finding:?}");
    assert!(finding.advice.as_ref().is_some_and(|told| told.contains(advice)), "{finding:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_jobs_are_told_of_from_a_number_on_and_logged_once_per_number() {
    on_each_engine(async |fixture| {
        let mut options = options();
        options.dead_alert = 2;
        let server = Server::start(fixture, options).await;
        let core = &server.jobs.0;
        for number in 1..=2 {
            let id = server.enqueue(tool_job("lab_fail", json!({"forever": false}))).await;
            assert_eq!(server.ended(id).await.state, JobState::Dead);
            let finding = health::look(core).await;
            if number == 1 {
                assert_eq!((finding.status, finding.advice), (Status::Ok, None));
            } else {
                assert_degraded(&finding, "2 dead in `standard`", "paddock jobs list --state dead");
            }
        }
        sweep::measure(core, false).await.unwrap();
        let more_dead = |dead| core.policy().of("standard").live.more_dead(dead);
        assert!(!more_dead(2), "they were told of");
        assert!(more_dead(3), "one more is told of");
        server.stop().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_whose_oldest_job_waits_too_long_is_told_of_unless_somebody_paused_it() {
    on_each_engine(async |fixture| {
        let mut options = options();
        options.latency_alert = HumanDuration::from_millis(1);
        let server = Server::start_as(fixture, options, Role { works: false, queues: Vec::new() }).await;
        let core = &server.jobs.0;
        assert_eq!(health::look(core).await.status, Status::Ok);
        let id = server.enqueue(echo_job("a")).await;
        server.eventually(async || health::look(core).await.status == Status::Degraded).await;
        assert_degraded(&health::look(core).await, "the oldest of `standard` waits", "--roles jobs");
        server.jobs.pause_queue("standard").await.unwrap();
        let paused = health::look(core).await;
        assert_eq!((paused.status, paused.detail.as_str()), (Status::Ok, "1 queued, 0 running"));
        server.jobs.resume_queue("standard").await.unwrap();
        assert_eq!(health::look(core).await.status, Status::Degraded);
        server.jobs.cancel(&Tenant::local(), id).await.unwrap();
        assert_eq!(health::look(core).await.status, Status::Ok);
        server.stop().await;
    })
    .await;
}
