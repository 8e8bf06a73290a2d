//! Whose turn it is.

use paddock_platform::{identity::Caller, store::testing::on_each_engine};

use super::support::{Server, echo_job, options, stranger};
use crate::{JobState, JobsOptions, NewJob, QueueOptions};

fn one_at_a_time() -> JobsOptions {
    JobsOptions { concurrency: 1, ..options() }
}

#[tokio::test(flavor = "multi_thread")]
async fn under_backlog_queues_are_served_by_their_weights() {
    on_each_engine(async |fixture| {
        let server = Server::start(fixture, one_at_a_time()).await;
        let queues = ["critical", "standard", "low"];
        for queue in queues {
            server.jobs.pause_queue(queue).await.unwrap();
            let of_queue = || NewJob { queue: Some(queue.to_owned()), ..echo_job(queue) };
            let jobs = (0..120).map(|_| of_queue()).collect();
            server.jobs.enqueue_many(&Caller::local(), jobs).await.unwrap();
        }
        for queue in queues {
            server.jobs.resume_queue(queue).await.unwrap();
        }
        server.eventually(async || server.count(JobState::Succeeded).await == 360).await;
        // From when all three are open until the first is empty.
        let order = server.seen.order.lock().unwrap().clone();
        let begun = order.iter().position(|name| name == "low").unwrap();
        let share = &order[begun..begun + 120];
        let of = |queue: &str| share.iter().filter(|name| *name == queue).count();
        let counts = queues.map(of);
        assert!(
            counts[0].abs_diff(60) <= 3 && counts[1].abs_diff(40) <= 3 && counts[2].abs_diff(20) <= 3,
            "{counts:?} of 120 by weights of 3, 2 and 1"
        );
        server.stop().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_with_many_jobs_does_not_hold_up_one_with_few() {
    on_each_engine(async |fixture| {
        let server = Server::start(fixture, one_at_a_time()).await;
        server.jobs.pause_queue("standard").await.unwrap();
        let loud = (0..200).map(|_| echo_job("loud")).collect();
        server.jobs.enqueue_many(&Caller::local(), loud).await.unwrap();
        let quiet = (0..5).map(|_| echo_job("quiet")).collect();
        server.jobs.enqueue_many(&stranger("quiet"), quiet).await.unwrap();
        server.jobs.resume_queue("standard").await.unwrap();
        server.eventually(async || server.count(JobState::Succeeded).await == 200).await;
        let order = server.seen.order.lock().unwrap().clone();
        let last = order.iter().rposition(|name| name == "quiet").unwrap();
        assert!(last < 15, "the quiet tenant's fifth job was number {last}");
        server.stop().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_higher_priority_goes_first_and_then_the_older() {
    on_each_engine(async |fixture| {
        let server = Server::start(fixture, one_at_a_time()).await;
        server.jobs.pause_queue("standard").await.unwrap();
        for (name, priority) in [("a", 0), ("b", 5), ("c", -5), ("d", 5), ("e", 0)] {
            server.enqueue(NewJob { priority, ..echo_job(name) }).await;
        }
        server.jobs.resume_queue("standard").await.unwrap();
        server.eventually(async || server.count(JobState::Succeeded).await == 5).await;
        assert_eq!(*server.seen.order.lock().unwrap(), ["b", "d", "a", "e", "c"]);
        server.stop().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_never_runs_more_than_its_limit_and_still_runs_everything() {
    on_each_engine(async |fixture| {
        let mut options = options();
        let limited = QueueOptions { concurrency_max: Some(2), ..options.queue["low"].clone() };
        options.queue.insert("low".to_owned(), limited);
        let server = Server::start(fixture, options).await;
        let job = || NewJob {
            queue: Some("low".to_owned()),
            ..NewJob::tool("lab_overlap", serde_json::json!({"name": "a"}))
        };
        server.jobs.enqueue_many(&Caller::local(), (0..100).map(|_| job()).collect()).await.unwrap();
        server.eventually(async || server.count(JobState::Succeeded).await == 100).await;
        assert!(server.seen.most.lock().unwrap()["a"] <= 2);
        server.stop().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_never_runs_more_than_its_limit_in_a_queue() {
    on_each_engine(async |fixture| {
        let options = super::support::with_queue(|queue| queue.concurrency_per_tenant = Some(1));
        let server = Server::start(fixture, options).await;
        let job = |name: &str| NewJob::tool("lab_overlap", serde_json::json!({"name": name}));
        server.jobs.enqueue_many(&Caller::local(), (0..40).map(|_| job("a")).collect()).await.unwrap();
        server.jobs.enqueue_many(&stranger("other"), (0..40).map(|_| job("b")).collect()).await.unwrap();
        let done = async || {
            let counts = server.seen.counts.lock().unwrap();
            counts.get("a") == Some(&40) && counts.get("b") == Some(&40)
        };
        server.eventually(done).await;
        let most = server.seen.most.lock().unwrap().clone();
        assert_eq!((most["a"], most["b"]), (1, 1));
        server.stop().await;
    })
    .await;
}
