//! Servers that end, in good order and otherwise.

use std::{
    sync::{Arc, atomic::Ordering, mpsc::sync_channel},
    time::Duration,
};

use futures_util::future::BoxFuture;
use jiff::Timestamp;
use paddock_platform::{
    identity::{Caller, Tenant},
    params,
    store::{
        Statement, Store,
        testing::{Fixture, on_each_engine},
    },
    units::HumanDuration,
};
use serde_json::json;
use tokio::sync::Notify;

use super::support::{Server, echo_job, options, tool_job};
use crate::{
    AttemptOutcome, JobContext, JobFailure, JobKind, JobState, JobsOptions, NewJob, Outcome, Role, sweep,
};

static END_LEASES: Statement =
    Statement::new("lab", "end_leases", "UPDATE jobs SET lease = 1 WHERE state = 2");

/// The server after one that died. Where servers share a store, the others wait for the leases of the dead: they are over.
async fn next(fixture: &Fixture) -> Server {
    let server = Server::open(fixture, options()).await;
    server.store.execute(&END_LEASES, params![]).await.unwrap();
    server.run(Role { works: true, queues: Vec::new() }).await;
    server
}

#[tokio::test(flavor = "multi_thread")]
async fn what_ran_when_a_server_died_is_done_by_the_next() {
    on_each_engine(async |fixture| {
        let first = Server::start(fixture, options()).await;
        let running = first.enqueue(tool_job("lab_hang", json!({"name": "a"}))).await;
        first.reaches(running, JobState::Running).await;
        let later = Some(Timestamp::now() + Duration::from_millis(200));
        let scheduled = first.enqueue(NewJob { run_at: later, ..echo_job("later") }).await;
        first.kill().await;

        let second = next(fixture).await;
        second.eventually(async || second.seen.hanging.load(Ordering::SeqCst) == 1).await;
        let job = second.get(running).await;
        assert_eq!((job.state, job.attempt), (JobState::Running, 2));
        assert_eq!(job.past_attempts[0].outcome, Some(AttemptOutcome::Lost));
        assert_eq!(second.ended(scheduled).await.state, JobState::Succeeded);
        second.stop().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_runs_here_is_not_taken_for_lost() {
    on_each_engine(async |fixture| {
        let server = Server::start(fixture, options()).await;
        let id = server.enqueue(tool_job("lab_hang", json!({"name": "a"}))).await;
        server.eventually(async || server.seen.hanging.load(Ordering::SeqCst) == 1).await;
        // As after a jump of the clock, or a time without a store.
        server.store.execute(&END_LEASES, params![]).await.unwrap();
        sweep::lost(&server.jobs.0).await.unwrap();
        server.jobs.0.ledger.settled().await;
        server.eventually(async || server.get(id).await.lease_until > Some(Timestamp::now())).await;
        let job = server.get(id).await;
        assert_eq!((job.state, job.attempt), (JobState::Running, 1));
        assert_eq!(server.seen.dropped.load(Ordering::SeqCst), 0);
        server.stop().await;
    })
    .await;
}

/// Ends when the test says so.
struct Gate(Arc<Notify>);

impl JobKind for Gate {
    fn run(&self, _: JobContext) -> BoxFuture<'static, Result<Outcome, JobFailure>> {
        let opened = Arc::clone(&self.0);
        Box::pin(async move {
            opened.notified().await;
            Ok(Outcome::Done(json!("through")))
        })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_ended_while_the_store_was_locked_for_longer_than_a_lease_is_not_done_again() {
    let mut fixture = Fixture::sqlite();
    let patient = fixture.options.clone();
    fixture.options.connect_timeout = HumanDuration::from_millis(50);
    let brief = JobsOptions { lease: HumanDuration::from_millis(500), ..options() };
    let server = Server::open(&fixture, brief).await;
    let opened = Arc::new(Notify::new());
    server.jobs.registry().add_kind("test:gate", Arc::new(Gate(Arc::clone(&opened))));
    server.run(Role { works: true, queues: Vec::new() }).await;
    let id = server.enqueue(NewJob::kind("test:gate", json!({}))).await;
    server.reaches(id, JobState::Running).await;
    let core = &server.jobs.0;
    let other = Store::open(&patient, fixture.data_dir(), &fixture.tasks).await.unwrap();
    let (began, locked) = sync_channel(1);
    let (let_go, released) = sync_channel::<()>(1);
    let holding = other.write(move |_| {
        Box::pin(async move {
            let _ = began.send(());
            let _ = released.recv();
            Ok(())
        })
    });
    let meanwhile = async {
        locked.recv().unwrap();
        opened.notify_one();
        server.eventually(async || core.ledger.is_ending(id.key(), 1)).await;
        server.eventually(async || server.get(id).await.lease_until < Some(core.now())).await;
        let_go.send(()).unwrap();
    };
    let (held, ()) = futures_util::join!(holding, meanwhile);
    held.unwrap();
    sweep::lost(core).await.unwrap();
    let job = server.ended(id).await;
    assert_eq!((job.state, job.attempt, job.past_attempts.len()), (JobState::Succeeded, 1, 0));
    other.close().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_whose_clock_is_wrong_takes_no_attempt_away_from_another() {
    let Some(fixture) = Fixture::postgres().await else { return };
    let first = Server::start(&fixture, options()).await;
    let id = first.enqueue(tool_job("lab_hang", json!({"name": "a"}))).await;
    first.reaches(id, JobState::Running).await;
    let second = Server::open(&fixture, options()).await;
    let core = &second.jobs.0;
    let wrong = Duration::from_hours(1);
    core.clock.displace(wrong);
    second
        .eventually(async || {
            core.clock.follow(&second.store).await.unwrap();
            core.now() < Timestamp::now() + wrong / 2
        })
        .await;
    sweep::lost(core).await.unwrap();
    core.ledger.settled().await;
    let job = first.get(id).await;
    assert_eq!((job.state, job.attempt), (JobState::Running, 1));
    // Had it not asked the store for the time:
    core.clock.displace(wrong);
    sweep::lost(core).await.unwrap();
    first.eventually(async || first.get(id).await.state != JobState::Running).await;
    second.kill().await;
    first.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_takes_its_server_with_it_every_time_dies() {
    on_each_engine(async |fixture| {
        let first = Server::start(fixture, options()).await;
        let id = first.enqueue(tool_job("lab_hang", json!({"name": "a"}))).await;
        first.reaches(id, JobState::Running).await;
        first.kill().await;
        for _ in 0..2 {
            let server = next(fixture).await;
            server.eventually(async || server.seen.hanging.load(Ordering::SeqCst) == 1).await;
            server.kill().await;
        }
        let last = next(fixture).await;
        let job = last.reaches(id, JobState::Dead).await;
        assert_eq!((job.attempt, job.error.unwrap().class.as_str()), (3, "lost"));
        last.stop().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stops_in_good_order_gives_its_jobs_back_without_counting_the_attempt() {
    on_each_engine(async |fixture| {
        let mut impatient = options();
        impatient.drain = HumanDuration::from_millis(20);
        let first = Server::start(fixture, impatient).await;
        let id = first.enqueue(tool_job("lab_hang", json!({"name": "a"}))).await;
        first.reaches(id, JobState::Running).await;
        first.stop().await;
        let second = Server::start_as(fixture, options(), Role { works: false, queues: Vec::new() }).await;
        let job = second.get(id).await;
        assert_eq!((job.state, job.attempt, job.attempts_used()), (JobState::Queued, 1, 0));
        assert_eq!(job.past_attempts[0].outcome, Some(AttemptOutcome::Released));
        second.stop().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_shuts_down_finishes_what_is_nearly_done() {
    on_each_engine(async |fixture| {
        let server = Server::start(fixture, options()).await;
        let jobs = (0..200).map(|n| echo_job(&n.to_string())).collect();
        let accepted = server.jobs.enqueue_many(&Caller::local(), jobs).await.unwrap();
        let (store, jobs) = (server.store.clone(), server.jobs.clone());
        jobs.drain().await;
        let mut counts = [0, 0];
        for one in &accepted {
            match jobs.get(&Tenant::local(), one.id).await.unwrap().state {
                JobState::Succeeded => counts[0] += 1,
                JobState::Queued => counts[1] += 1,
                other => panic!("{other} after a shutdown in good order"),
            }
        }
        let ran: usize = server.seen.counts.lock().unwrap().values().sum();
        assert_eq!((counts[0], counts[0] + counts[1]), (ran, 200));
        server.tasks.stop(super::support::PATIENCE).await.unwrap();
        store.close().await;
    })
    .await;
}
