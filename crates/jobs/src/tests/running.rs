//! What happens to jobs that run.

use std::{sync::atomic::Ordering, time::Duration};

use jiff::Timestamp;
use paddock_platform::{
    identity::{Caller, Tenant},
    store::testing::on_each_engine,
    units::HumanDuration,
};
use serde_json::json;

use super::support::{Server, echo_job, options, tool_job, with_queue};
use crate::{AttemptOutcome, EventKind, Job, JobError, JobState, NewJob, Payload, results};

#[tokio::test(flavor = "multi_thread")]
async fn a_job_runs_and_keeps_its_result() {
    on_each_engine(async |fixture| {
        let server = Server::start(fixture, options()).await;
        let job = server.ended(server.enqueue(echo_job("a")).await).await;
        assert_eq!((job.state, job.attempt), (JobState::Succeeded, 1));
        assert_eq!(job.result.as_ref().unwrap().value(), json!({"name": "a"}));
        let attempts = job.attempts();
        assert_eq!((attempts.len(), attempts[0].outcome), (1, Some(AttemptOutcome::Succeeded)));
        assert!(job.expires_at.unwrap() > job.finished_at.unwrap());
        server.stop().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_is_tried_again_and_dies_with_its_whole_history() {
    on_each_engine(async |fixture| {
        let server = Server::start(fixture, options()).await;
        let id = server.enqueue(tool_job("lab_fail", json!({"forever": false}))).await;
        let job = server.ended(id).await;
        assert_eq!((job.state, job.attempt), (JobState::Dead, 3));
        let error = job.error.clone().unwrap();
        assert_eq!(
            (error.class.as_str(), error.problem.unwrap()["part"].clone()),
            ("overloaded", json!("wheel"))
        );
        let attempts = job.attempts();
        assert_eq!(attempts.iter().map(|attempt| attempt.number).collect::<Vec<_>>(), [1, 2, 3]);
        assert!(attempts.iter().all(|attempt| attempt.outcome == Some(AttemptOutcome::Failed)
            && attempt.error.as_ref().unwrap().message == "it broke"
            && attempt.ended_at.is_some()));

        let again = server.jobs.retry(&Tenant::local(), id).await.unwrap();
        assert_eq!(again.past_attempts.len(), 3);
        let job = server.ended(id).await;
        assert_eq!((job.state, job.attempt, job.attempts().len()), (JobState::Dead, 6, 6));
        server.stop().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_caller_did_wrong_is_not_tried_again() {
    on_each_engine(async |fixture| {
        let server = Server::start(fixture, options()).await;
        let job = server.ended(server.enqueue(tool_job("lab_fail", json!({"forever": true}))).await).await;
        assert_eq!((job.state, job.attempt), (JobState::Failed, 1));
        server.stop().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_fails_its_attempt_and_nothing_else() {
    on_each_engine(async |fixture| {
        let server = Server::start(fixture, options()).await;
        let panics = server.enqueue(tool_job("lab_panic", json!({"name": "a"}))).await;
        let fine = server.enqueue(echo_job("b")).await;
        let job = server.ended(panics).await;
        assert_eq!((job.state, job.error.unwrap().class.as_str()), (JobState::Dead, "panic"));
        assert_eq!(server.ended(fine).await.state, JobState::Succeeded);
        server.stop().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_that_takes_too_long_is_ended() {
    on_each_engine(async |fixture| {
        let server = Server::start(fixture, options()).await;
        let timeout = Some(HumanDuration::from_millis(20));
        let id = server.enqueue(NewJob { timeout, ..tool_job("lab_hang", json!({"name": "a"})) }).await;
        let job = server.ended(id).await;
        assert_eq!((job.state, job.attempt), (JobState::Dead, 3));
        assert_eq!(server.seen.dropped.load(Ordering::SeqCst), 3, "each future was dropped");
        server.stop().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cancelling_reaches_what_runs() {
    on_each_engine(async |fixture| {
        let server = Server::start(fixture, options()).await;
        let id = server.enqueue(tool_job("lab_hang", json!({"name": "a"}))).await;
        server.reaches(id, JobState::Running).await;
        server.eventually(async || server.seen.hanging.load(Ordering::SeqCst) == 1).await;
        let job = server.jobs.cancel(&Tenant::local(), id).await.unwrap();
        assert!(job.cancelling);
        let job = server.ended(id).await;
        assert_eq!((job.state, job.cancelling), (JobState::Cancelled, false));
        assert_eq!(server.seen.dropped.load(Ordering::SeqCst), 1);
        let again = server.jobs.cancel(&Tenant::local(), id).await;
        assert!(matches!(again, Err(JobError::State { state: JobState::Cancelled, .. })));
        server.stop().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scheduled_job_runs_at_its_time_and_not_before() {
    on_each_engine(async |fixture| {
        let server = Server::start(fixture, options()).await;
        let run_at = Timestamp::now() + Duration::from_millis(300);
        let id = server.enqueue(NewJob { run_at: Some(run_at), ..echo_job("a") }).await;
        assert_eq!(server.get(id).await.state, JobState::Scheduled);
        let job = server.ended(id).await;
        assert!(job.started_at.unwrap().as_millisecond() >= run_at.as_millisecond());
        let far = NewJob { run_at: Some(Timestamp::now() + Duration::from_hours(9_000)), ..echo_job("b") };
        let far = server.enqueue(far).await;
        let cancelled = server.jobs.cancel(&Tenant::local(), far).await.unwrap();
        assert_eq!(cancelled.state, JobState::Cancelled);
        server.stop().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_result_is_kept_and_forgotten_with_its_job() {
    on_each_engine(async |fixture| {
        let server = Server::start(fixture, options()).await;
        let retention = Some(HumanDuration::from_secs(3_600));
        let id =
            server.enqueue(NewJob { retention, ..tool_job("lab_large", json!({"size": 200_000})) }).await;
        let job = server.ended(id).await;
        assert!(job.result.is_none() && job.result_size.unwrap() > 200_000);
        let result = server.jobs.result(&Tenant::local(), id).await.unwrap().unwrap();
        assert_eq!(result.len() as u64, job.result_size.unwrap());
        let short = NewJob {
            retention: Some(HumanDuration::from_millis(1)),
            ..tool_job("lab_large", json!({"size": 200_000}))
        };
        let short = server.enqueue(short).await;
        let gone =
            async || matches!(server.jobs.get(&Tenant::local(), short).await, Err(JobError::Expired(_)));
        server.eventually(gone).await;
        let kept = |id, attempt| fixture.data_dir().join(format!("blobs/jobs/{id}/{attempt}.json")).exists();
        assert!(kept(short, 1));
        results::sweep(&server.jobs.0, Timestamp::now()).await.unwrap();
        assert!(kept(id, 1) && !kept(short, 1));
        server.stop().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_result_of_an_attempt_that_did_not_come_to_its_end_is_swept() {
    on_each_engine(async |fixture| {
        let server = Server::start(fixture, options()).await;
        let id = server.enqueue(tool_job("lab_large", json!({"size": 200_000}))).await;
        let job = server.ended(id).await;
        let kept = |attempt| fixture.data_dir().join(format!("blobs/jobs/{id}/{attempt}.json")).exists();
        // A server wrote its result and was killed before it could write the end.
        let crashed = Job { attempt: 0, ..job };
        results::keep(&server.jobs.0, &crashed, &Payload::from(&json!("half"))).await.unwrap();
        results::sweep(&server.jobs.0, Timestamp::now()).await.unwrap();
        assert!(kept(0) && kept(1), "it may still be on its way");
        results::sweep(&server.jobs.0, Timestamp::now() + Duration::from_hours(2)).await.unwrap();
        assert!(!kept(0) && kept(1));
        assert!(server.jobs.result(&Tenant::local(), id).await.unwrap().is_some());
        server.stop().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_over_the_limit_fails_for_good() {
    on_each_engine(async |fixture| {
        let mut small = options();
        small.result_max = paddock_platform::units::ByteSize::bytes(1_000);
        let server = Server::start(fixture, small).await;
        let job = server.ended(server.enqueue(tool_job("lab_large", json!({"size": 2_000}))).await).await;
        assert_eq!((job.state, job.error.unwrap().class.as_str()), (JobState::Failed, "result-too-large"));
        server.stop().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn progress_reaches_the_job_and_whoever_listens_in_order() {
    on_each_engine(async |fixture| {
        let server = Server::start(fixture, options()).await;
        let mut events = server.jobs.subscribe();
        let id = server.enqueue(tool_job("lab_hang", json!({"name": "a"}))).await;
        server.eventually(async || server.get(id).await.progress.is_some()).await;
        let progress = server.get(id).await.progress.unwrap();
        assert_eq!((progress.percent, progress.message.as_str()), (40.0, "hanging"));
        server.jobs.cancel(&Tenant::local(), id).await.unwrap();
        let mut sequence = 0;
        let mut states = Vec::new();
        let mut told_progress = false;
        loop {
            let event = events.recv().await.unwrap();
            if event.id != id {
                continue;
            }
            assert!(event.sequence > sequence, "{event:?} after {sequence}");
            sequence = event.sequence;
            told_progress |= matches!(event.what, EventKind::Progress(_));
            states.extend(event.state());
            if event.state().is_some_and(JobState::is_final) {
                break;
            }
        }
        assert_eq!(states, [JobState::Queued, JobState::Running, JobState::Cancelled]);
        assert!(told_progress);
        assert_eq!(server.get(id).await.changes, sequence);
        server.stop().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_retries_wait_longer() {
    on_each_engine(async |fixture| {
        let server = Server::start(fixture, with_queue(|queue| queue.retry_budget = 0.0)).await;
        let failing = (0..20).map(|_| tool_job("lab_fail", json!({"forever": false}))).collect();
        server.jobs.enqueue_many(&Caller::local(), failing).await.unwrap();
        server.eventually(async || server.count(JobState::Scheduled).await >= 15).await;
        server.stop().await;
    })
    .await;
}
