//! Concurrency keys.

use std::time::{Duration, Instant};

use paddock_platform::{
    identity::{Caller, Tenant},
    store::testing::on_each_engine,
};
use serde_json::json;

use super::support::{Server, echo_job, tool_job, with_queue};
use crate::{JobState, NewJob};

fn keyed(key: &str, job: NewJob) -> NewJob {
    NewJob { concurrency_key: Some(key.to_owned()), ..job }
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_of_one_key_run_one_at_a_time_and_all_of_them_run() {
    on_each_engine(async |fixture| {
        let server = Server::start(fixture, with_queue(|_| {})).await;
        let overlap = |name: &str| keyed(name, tool_job("lab_overlap", json!({"name": name})));
        let jobs = (0..120).map(|n| overlap(["a", "b", "c"][n % 3])).collect();
        server.jobs.enqueue_many(&Caller::local(), jobs).await.unwrap();
        server.eventually(async || server.count(JobState::Succeeded).await == 120).await;
        let most = server.seen.most.lock().unwrap().clone();
        assert!(most.values().all(|most| *most == 1), "{most:?}");
        assert_eq!(server.seen.counts.lock().unwrap().values().copied().collect::<Vec<_>>(), [40, 40, 40]);
        server.stop().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_busy_holds_up_no_other() {
    on_each_engine(async |fixture| {
        let server = Server::start(fixture, with_queue(|_| {})).await;
        let busy = server.enqueue(keyed("a", tool_job("lab_hang", json!({"name": "a"})))).await;
        server.reaches(busy, JobState::Running).await;
        let held = server.enqueue(keyed("a", echo_job("held"))).await;
        let free = server.enqueue(keyed("b", echo_job("free"))).await;
        assert_eq!(server.ended(free).await.state, JobState::Succeeded);
        assert_eq!((server.get(held).await.state, server.get(held).await.attempt), (JobState::Queued, 0));
        server.jobs.cancel(&Tenant::local(), busy).await.unwrap();
        let job = server.ended(held).await;
        assert_eq!((job.state, job.attempt), (JobState::Succeeded, 1));
        server.stop().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn as_many_of_a_key_run_as_the_queue_says() {
    on_each_engine(async |fixture| {
        let server = Server::start(fixture, with_queue(|queue| queue.concurrency_per_key = 3)).await;
        let hang = |_| keyed("a", tool_job("lab_hang", json!({"name": "a"})));
        server.jobs.enqueue_many(&Caller::local(), (0..6).map(hang).collect()).await.unwrap();
        server.eventually(async || server.count(JobState::Running).await == 3).await;
        assert_eq!(server.count(JobState::Queued).await, 3);
        server.stop().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_of_one_key_begin_no_more_often_than_the_queue_says() {
    on_each_engine(async |fixture| {
        let options = with_queue(|queue| {
            queue.rate_per_key = "20/s burst 1".parse().unwrap();
            queue.concurrency_per_key = 100;
        });
        let server = Server::start(fixture, options).await;
        let began = Instant::now();
        let jobs = (0..8).map(|n| keyed("a", echo_job(&n.to_string()))).collect();
        server.jobs.enqueue_many(&Caller::local(), jobs).await.unwrap();
        server.eventually(async || server.count(JobState::Succeeded).await == 8).await;
        // The first at once, seven more 50 ms apart: less would break the promise, however fast the machine is.
        assert!(began.elapsed() >= Duration::from_millis(7 * 50), "{:?}", began.elapsed());
        assert!(server.seen.counts.lock().unwrap().values().all(|count| *count == 1));
        server.stop().await;
    })
    .await;
}
