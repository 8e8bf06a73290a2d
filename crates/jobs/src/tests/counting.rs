//! Everything that is accepted is done, and done once: counted, with several servers on one store.

use paddock_platform::{
    identity::Caller,
    store::testing::{Fixture, on_each_engine},
};

use super::support::{Server, echo_job, options};
use crate::{JobState, NewJob};

const CLIENTS: usize = 16;
const JOBS_PER_CLIENT: usize = 60;

/// Servers that share PostgreSQL; SQLite belongs to one.
async fn servers(fixture: &Fixture) -> Vec<Server> {
    let count = if fixture.is_postgres() { 3 } else { 1 };
    let mut servers = Vec::new();
    for _ in 0..count {
        servers.push(Server::start(fixture, options()).await);
    }
    servers
}

#[tokio::test(flavor = "multi_thread")]
async fn every_job_of_many_clients_runs_exactly_once() {
    on_each_engine(async |fixture| {
        let servers = servers(fixture).await;
        let client = |client: usize| {
            let server = &servers[client % servers.len()];
            async move {
                for number in 0..JOBS_PER_CLIENT {
                    let queue = ["critical", "standard", "low"][number % 3];
                    let key = (number % 5 == 0).then(|| format!("key-{}", client % 4));
                    let job = NewJob {
                        queue: Some(queue.to_owned()),
                        concurrency_key: key,
                        priority: (number % 7) as i8 - 3,
                        ..echo_job(&format!("{client}-{number}"))
                    };
                    server.jobs.enqueue(&Caller::local(), job).await.unwrap();
                }
            }
        };
        futures_util::future::join_all((0..CLIENTS).map(client)).await;
        let all = CLIENTS * JOBS_PER_CLIENT;
        servers[0].eventually(async || servers[0].count(JobState::Succeeded).await == all).await;
        let mut ran = 0;
        for server in &servers {
            let counts = server.seen.counts.lock().unwrap();
            ran += counts.values().sum::<usize>();
        }
        assert_eq!(ran, all, "each ran once, on whatever server");
        if fixture.is_postgres() {
            let busy = servers.iter().filter(|server| !server.seen.counts.lock().unwrap().is_empty()).count();
            assert!(busy > 1, "the work was shared");
        }
        for state in [JobState::Queued, JobState::Running, JobState::Scheduled, JobState::Dead] {
            assert_eq!(servers[0].count(state).await, 0, "{state}");
        }
        for server in servers {
            server.stop().await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_that_share_a_store_hear_of_each_other() {
    let Some(fixture) = Fixture::postgres().await else { return };
    let idle = crate::Role { works: false, queues: Vec::new() };
    let front = Server::start_as(&fixture, options(), idle).await;
    let back = Server::start(&fixture, options()).await;
    assert_ne!(front.jobs.node(), back.jobs.node());
    let mut events = front.jobs.subscribe();
    let id = front.enqueue(echo_job("a")).await;
    assert_eq!(front.ended(id).await.state, JobState::Succeeded);
    assert_eq!(back.seen.counts.lock().unwrap()["a"], 1);
    let of_the_other = async {
        loop {
            let event = events.recv().await.unwrap();
            if event.id == id && matches!(event.what, crate::EventKind::Changed) {
                break;
            }
        }
    };
    tokio::time::timeout(super::support::PATIENCE, of_the_other).await.unwrap();

    let hanging = front.enqueue(super::support::tool_job("lab_hang", serde_json::json!({"name": "b"}))).await;
    front.reaches(hanging, JobState::Running).await;
    front.jobs.cancel(&paddock_platform::identity::Tenant::local(), hanging).await.unwrap();
    assert_eq!(
        front.ended(hanging).await.state,
        JobState::Cancelled,
        "a cancellation reaches the other server"
    );

    front.jobs.pause_queue("low").await.unwrap();
    let paused = front.enqueue(NewJob { queue: Some("low".to_owned()), ..echo_job("c") }).await;
    back.eventually(async || {
        let queues = back.jobs.queues(None).await.unwrap();
        queues.iter().any(|queue| queue.name == "low" && queue.mode == crate::QueueMode::Paused)
    })
    .await;
    assert_eq!(front.get(paused).await.state, JobState::Queued);
    front.stop().await;
    back.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_works_at_the_queues_that_it_is_for() {
    on_each_engine(async |fixture| {
        let role = crate::Role { works: true, queues: vec!["low".to_owned()] };
        let server = Server::start_as(fixture, options(), role).await;
        let other = server.enqueue(echo_job("a")).await;
        let own = server.enqueue(NewJob { queue: Some("low".to_owned()), ..echo_job("b") }).await;
        assert_eq!(server.ended(own).await.state, JobState::Succeeded);
        assert_eq!(server.get(other).await.state, JobState::Queued);
        server.stop().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_learns_that_another_emptied_a_queue() {
    let Some(fixture) = Fixture::postgres().await else { return };
    let small = || super::support::with_queue(|queue| queue.depth_max = 50);
    let idle = crate::Role { works: false, queues: Vec::new() };
    let front = Server::start_as(&fixture, small(), idle).await;
    let back = Server::start(&fixture, small()).await;
    let take = async |round: usize| {
        for number in 0..30 {
            front.enqueue(echo_job(&format!("{round}-{number}"))).await;
        }
        back.eventually(async || back.count(JobState::Succeeded).await == 30 * (round + 1)).await;
        // What upkeep does every ten seconds.
        crate::sweep::measure(&front.jobs.0, true).await.unwrap();
        assert_eq!(front.jobs.0.policy().of("standard").live.depth(), 0);
    };
    take(0).await;
    take(1).await;
    front.stop().await;
    back.stop().await;
}
