use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use paddock_platform::{health::Status, store::testing::Fixture};

use super::support::{Server, eventually, inform, local, name};
use crate::{
    AgentDefinition, AgentError, AgentStatus, AgentsOptions, DeadReason, Failure, Strategy, Supervision,
    message::Label,
};

async fn server() -> (Fixture, Server) {
    let fixture = Fixture::sqlite();
    let server = Server::start(&fixture, AgentsOptions::default()).await;
    (fixture, server)
}

/// An agent that fails on odd numbers, in one of the ways in which agents fail.
fn add_failing(server: &Server, definition: AgentDefinition, fail: fn() -> Failure) -> Arc<AtomicUsize> {
    let (seen, tries) = (Arc::clone(&server.seen), Arc::<AtomicUsize>::default());
    let (of, counted) = (definition.name.clone(), Arc::clone(&tries));
    server.add(definition, move |message, turn| {
        let number: u64 = message.content.read().unwrap();
        turn.set("last", message.content.body.clone())?;
        if number % 2 == 1 {
            counted.fetch_add(1, Ordering::SeqCst);
            return Err(fail());
        }
        seen.note(of.as_str(), number);
        Ok(())
    });
    tries
}

#[tokio::test]
async fn a_message_that_fails_again_and_again_is_put_aside_and_the_rest_goes_on() {
    let (_fixture, server) = server().await;
    let tries = add_failing(&server, AgentDefinition::native(name("a")), || Failure::retryable("no luck"));
    for number in 1..=4 {
        server.agents.send(&local(), inform("a", number)).await.unwrap();
    }
    server.seen.until(|seen| seen.of("a") == [2, 4]).await;
    assert_eq!(tries.load(Ordering::SeqCst), 6);
    let dead = server.agents.dead_letters(local().tenant(), 10).await.unwrap();
    assert!(
        dead.iter().all(|letter| letter.reason == DeadReason::Poison && letter.detail.contains("no luck"))
    );
    assert_eq!(dead.len(), 2);
}

#[tokio::test]
async fn a_message_that_makes_no_sense_is_tried_once() {
    let (_fixture, server) = server().await;
    let tries = add_failing(&server, AgentDefinition::native(name("a")), || Failure::invalid("what?"));
    for number in 1..=2 {
        server.agents.send(&local(), inform("a", number)).await.unwrap();
    }
    server.seen.until(|seen| seen.of("a") == [2]).await;
    assert_eq!(tries.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_handler_that_panics_is_restarted_and_stopped_when_it_goes_on() {
    let (_fixture, server) = server().await;
    let supervision = Supervision { restarts_max: 3, attempts_max: 1, ..Supervision::default() };
    let definition = AgentDefinition { supervision, ..AgentDefinition::native(name("a")) };
    let seen = Arc::clone(&server.seen);
    server.add(definition, move |message, _| {
        let number: u64 = message.content.read().unwrap();
        assert!(number != 1, "one is too few");
        seen.note("a", number);
        Ok(())
    });
    let tenant = local().tenant().clone();
    for number in [1, 2, 1, 1] {
        server.agents.send(&local(), inform("a", number)).await.unwrap();
    }
    eventually("it is restarted", async || server.agents.get(&tenant, &name("a")).unwrap().restarts == 3)
        .await;
    assert_eq!(server.agents.get(&tenant, &name("a")).unwrap().status, AgentStatus::Active);
    server.agents.send(&local(), inform("a", 1)).await.unwrap();
    eventually("it is stopped", async || {
        server.agents.get(&tenant, &name("a")).unwrap().status == AgentStatus::Failed
    })
    .await;
    let stopped = server.agents.send(&local(), inform("a", 2)).await.unwrap_err();
    assert!(matches!(stopped, AgentError::Undelivered { reason: DeadReason::Stopped, .. }), "{stopped}");
    server.agents.resume(&tenant, &name("a")).await.unwrap();
    server.agents.send(&local(), inform("a", 4)).await.unwrap();
    server.seen.until(|seen| seen.of("a") == [2, 4]).await;
}

#[tokio::test]
async fn the_servers_health_names_agents_that_were_stopped() {
    let (_fixture, server) = server().await;
    let supervision = Supervision { restarts_max: 0, attempts_max: 1, ..Supervision::default() };
    let definition = AgentDefinition { supervision, ..AgentDefinition::native(name("a")) };
    add_failing(&server, definition, || Failure::fatal("broken"));
    server.add_noting("b");
    assert_eq!(server.agents.health().status, Status::Ok);
    server.agents.send(&local(), inform("a", 1)).await.unwrap();
    eventually("it is stopped", async || server.agents.health().status == Status::Degraded).await;
    let found = server.agents.health();
    assert!(found.detail.contains("2 agents") && found.detail.contains("`local/a`"), "{}", found.detail);
    assert!(found.advice.unwrap().contains("paddock agents resume"));
    server.agents.resume(local().tenant(), &name("a")).await.unwrap();
    assert_eq!(server.agents.health().status, Status::Ok);
}

#[tokio::test]
async fn a_group_is_restarted_together() {
    let (_fixture, server) = server().await;
    let supervision = Supervision {
        strategy: Strategy::OneForAll,
        group: Some(Label::of("g")),
        attempts_max: 1,
        ..Supervision::default()
    };
    for agent in ["a", "b"] {
        let definition =
            AgentDefinition { supervision: supervision.clone(), ..AgentDefinition::native(name(agent)) };
        add_failing(&server, definition, || Failure::fatal("broken"));
    }
    server.agents.send(&local(), inform("a", 1)).await.unwrap();
    let tenant = local().tenant().clone();
    for agent in ["a", "b"] {
        eventually("it is restarted", async || {
            server.agents.get(&tenant, &name(agent)).unwrap().restarts == 1
        })
        .await;
    }
}

#[tokio::test]
async fn a_turn_that_fails_leaves_no_trace() {
    let (_fixture, server) = server().await;
    let seen = Arc::clone(&server.seen);
    server.add(AgentDefinition::native(name("a")), move |message, turn| {
        let before = turn.get("last").map_or(0, |bytes| serde_json::from_slice(&bytes).unwrap());
        seen.note("before", before);
        turn.set("last", message.content.body.clone())?;
        turn.send(inform("a", 100))?;
        if message.content.read() == Some(1_u64) {
            Err(Failure::invalid("no"))
        } else {
            turn.sends.clear();
            Ok(())
        }
    });
    server.agents.send(&local(), inform("a", 1)).await.unwrap();
    server.agents.send(&local(), inform("a", 2)).await.unwrap();
    server.agents.send(&local(), inform("a", 3)).await.unwrap();
    server.seen.until(|seen| seen.of("before") == [0, 0, 2]).await;
}
