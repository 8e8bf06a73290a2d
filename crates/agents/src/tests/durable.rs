use std::sync::Arc;

use paddock_platform::store::testing::{Fixture, on_each_engine};

use super::support::{Server, eventually, inform, local, name};
use crate::{
    AgentDefinition, AgentsOptions, DeadReason, Failure,
    message::{Draft, MessageId, Performative},
};

/// An agent that counts what it is told, and tells another the sum.
fn add_counting(server: &Server) {
    let seen = Arc::clone(&server.seen);
    server.add(AgentDefinition::native(name("counter")), move |message, turn| {
        let sum: u64 = turn.get("sum").map_or(0, |bytes| serde_json::from_slice(&bytes).unwrap());
        let sum = sum + message.content.read::<u64>().unwrap();
        turn.set("sum", serde_json::to_vec(&sum).unwrap().into())?;
        seen.note("counter", sum);
        turn.send(Draft::new(Performative::Inform, name("sink")).json(&sum).durable()).map(|_| ())
    });
    server.add_noting("sink");
}

async fn open(fixture: &Fixture) -> Server {
    let server = Server::open(fixture, AgentsOptions::default()).await;
    add_counting(&server);
    server
}

#[tokio::test]
async fn what_was_accepted_is_handled_after_a_restart() {
    on_each_engine(async |fixture| {
        let server = open(fixture).await;
        server.run().await;
        server.agents.suspend(local().tenant(), &name("counter")).await.unwrap();
        for number in 1..=50 {
            server.agents.send(&local(), inform("counter", number).durable()).await.unwrap();
        }
        assert_eq!(server.seen.count(), 0);
        server.stop().await;

        let server = Server::open(fixture, AgentsOptions::default()).await;
        add_counting(&server);
        server.run().await;
        server.seen.until(|seen| seen.of("sink").last() == Some(&1_275)).await;
        let expected: Vec<u64> = (1..=50)
            .scan(0, |sum, number| {
                *sum += number;
                Some(*sum)
            })
            .collect();
        assert_eq!(server.seen.of("sink"), expected);
        server.stop().await;

        // Nothing is left, and the state is there.
        let server = open(fixture).await;
        server.run().await;
        server.agents.send(&local(), inform("counter", 1).durable()).await.unwrap();
        server.seen.until(|seen| seen.of("sink") == [1_276]).await;
        server.stop().await;
    })
    .await;
}

#[tokio::test]
async fn a_message_that_is_sent_again_takes_effect_once() {
    on_each_engine(async |fixture| {
        let server = open(fixture).await;
        server.run().await;
        let id = MessageId::next();
        let first = server.agents.send(&local(), inform("counter", 5).id(id).durable()).await.unwrap();
        assert_eq!(first.delivered, 1);
        for _ in 0..3 {
            server.agents.send(&local(), inform("counter", 5).id(id).durable()).await.unwrap();
        }
        server.agents.send(&local(), inform("counter", 1).durable()).await.unwrap();
        server.seen.until(|seen| seen.of("sink").len() == 2).await;
        assert_eq!(server.seen.of("sink"), [5, 6]);
        // Those that were known have given their places back.
        eventually("nothing waits", async || {
            server.agents.list(local().tenant(), None, None, 9).iter().all(|agent| agent.waiting == 0)
        })
        .await;
        server.stop().await;
    })
    .await;
}

#[tokio::test]
async fn many_senders_share_transactions_and_keep_their_order() {
    on_each_engine(async |fixture| {
        let server = Server::open(fixture, AgentsOptions::default()).await;
        for agent in ["a", "b", "c", "d"] {
            server.add_noting(agent);
        }
        server.run().await;
        let sends = ["a", "b", "c", "d"].map(|agent| {
            let agents = server.agents.clone();
            async move {
                for number in 0..50 {
                    agents.send(&local(), inform(agent, number).durable()).await.unwrap();
                }
            }
        });
        futures_util::future::join_all(sends).await;
        server.seen.until(|seen| seen.count() == 200).await;
        for agent in ["a", "b", "c", "d"] {
            assert_eq!(server.seen.of(agent), (0..50).collect::<Vec<_>>());
        }
        server.stop().await;
    })
    .await;
}

#[tokio::test]
async fn a_durable_message_that_fails_is_kept_as_a_dead_letter() {
    on_each_engine(async |fixture| {
        let server = Server::open(fixture, AgentsOptions::default()).await;
        server.add(AgentDefinition::native(name("a")), |_, _| Err(Failure::retryable("no luck")));
        server.run().await;
        server.agents.send(&local(), inform("a", 7).durable()).await.unwrap();
        let tenant = local().tenant().clone();
        eventually("it is put aside", async || {
            !server.agents.dead_letters(&tenant, 10).await.unwrap().is_empty()
        })
        .await;
        server.stop().await;
        let server = Server::open(fixture, AgentsOptions::default()).await;
        let dead = server.agents.dead_letters(&tenant, 10).await.unwrap();
        assert_eq!((dead.len(), dead[0].reason), (1, DeadReason::Poison));
        server.stop().await;
    })
    .await;
}

/// Runs something on a runtime that is dropped afterwards, with all that runs on it.
fn on_its_own<T>(body: impl AsyncFnOnce() -> T) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(body())
}

#[test]
fn a_server_that_is_cut_off_loses_and_repeats_nothing() {
    // Nothing is stopped, written or told: what runs is dropped wherever it stands.
    let fixture = Fixture::sqlite();
    let mut sent = 0_u64;
    for round in 0..30_u64 {
        on_its_own(async || {
            let server = open(&fixture).await;
            server.run().await;
            for _ in 0..round % 11 {
                server.agents.send(&local(), inform("counter", 1).durable()).await.unwrap();
                sent += 1;
            }
        });
    }
    on_its_own(async || {
        let server = open(&fixture).await;
        server.run().await;
        server.agents.send(&local(), inform("counter", 0).durable()).await.unwrap();
        server.seen.until(|seen| seen.of("sink").last() == Some(&sent)).await;
        server.stop().await;
    });
}
