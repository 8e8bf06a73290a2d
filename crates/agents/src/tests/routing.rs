use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use paddock_platform::store::testing::Fixture;
use proptest::prelude::*;
use serde_json::json;

use super::support::{PATIENCE, Server, eventually, inform, local, name, to};
use crate::{
    AgentDefinition, AgentError, AgentsOptions, DeadReason, MailboxDefinition, Overflow,
    message::{Draft, Label, Performative},
};

async fn server() -> (Fixture, Server) {
    let fixture = Fixture::sqlite();
    let server = Server::start(&fixture, AgentsOptions::default()).await;
    (fixture, server)
}

#[tokio::test]
async fn messages_of_one_sender_arrive_in_order() {
    let (_fixture, server) = server().await;
    server.add_noting("a");
    for number in 0..500 {
        server.agents.send(&local(), inform("a", number)).await.unwrap();
    }
    server.seen.until(|seen| seen.count() == 500).await;
    assert_eq!(server.seen.of("a"), (0..500).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_question_is_answered() {
    let (_fixture, server) = server().await;
    server.add(AgentDefinition::native(name("adder")), |message, turn| {
        let numbers: Vec<i64> = message.content.read().unwrap_or_default();
        turn.send(Draft::reply(message, Performative::Agree))?;
        turn.send(Draft::reply(message, Performative::Inform).json(&numbers.iter().sum::<i64>())).map(|_| ())
    });
    let ask = Draft::new(Performative::Request, name("adder")).json(&[1, 2, 3]);
    let (_, answer) = server.agents.ask(&local(), ask, Some(PATIENCE)).await.unwrap();
    assert_eq!((answer.performative, answer.content.read::<i64>()), (Performative::Inform, Some(6)));
    assert_eq!(answer.sender, to("adder"));
}

#[tokio::test]
async fn capabilities_and_topics_find_those_who_have_them() {
    let (_fixture, server) = server().await;
    for agent in ["a", "b", "c"] {
        let (seen, of) = (Arc::clone(&server.seen), agent.to_owned());
        let definition = AgentDefinition {
            capabilities: vec!["work".parse().unwrap()],
            topics: vec!["news".parse().unwrap()],
            ..AgentDefinition::native(name(agent))
        };
        server.add(definition, move |message, _| {
            seen.note(&of, message.content.read().unwrap_or_default());
            Ok(())
        });
    }
    let all = server.agents.send(&local(), inform("capability:work?all", 1)).await.unwrap();
    assert_eq!(all.delivered, 3);
    assert_eq!(server.agents.send(&local(), inform("topic:news", 2)).await.unwrap().delivered, 3);
    // Nobody has to listen to a topic.
    assert_eq!(server.agents.send(&local(), inform("topic:other", 2)).await.unwrap().delivered, 0);
    for _ in 0..6 {
        assert_eq!(
            server.agents.send(&local(), inform("capability:work?any", 3)).await.unwrap().delivered,
            1
        );
    }
    server.seen.until(|seen| seen.count() == 12).await;
    // In turns.
    assert!(["a", "b", "c"].iter().all(|agent| server.seen.of(agent) == [1, 2, 3, 3]));
    // However often it is meant, it gets it once.
    let twice = inform("a", 4).also(to("a")).also(to("capability:work?all"));
    assert_eq!(server.agents.send(&local(), twice).await.unwrap().delivered, 3);
}

#[tokio::test]
async fn a_message_to_nobody_is_refused_with_the_reason() {
    let (_fixture, server) = server().await;
    for receiver in ["ghost", "capability:none", "capability:none?all"] {
        let refused = server.agents.send(&local(), inform(receiver, 1)).await.unwrap_err();
        assert!(
            matches!(refused, AgentError::Undelivered { reason: DeadReason::NoReceiver, .. }),
            "{refused}"
        );
    }
}

#[tokio::test]
async fn an_agent_hears_that_its_message_reached_nobody() {
    let (_fixture, server) = server().await;
    let seen = Arc::clone(&server.seen);
    server.add(AgentDefinition::native(name("a")), move |message, turn| {
        if message.performative == Performative::Failure {
            let told: serde_json::Value = message.content.read().unwrap();
            assert_eq!(told["reason"], "no-receiver");
            seen.note("told", 1);
            return Ok(());
        }
        turn.send(Draft::new(Performative::Request, name("ghost")).reply_with(Label::of("r"))).map(|_| ())
    });
    server.agents.send(&local(), inform("a", 1)).await.unwrap();
    server.seen.until(|seen| !seen.of("told").is_empty()).await;
    let dead = server.agents.dead_letters(local().tenant(), 10).await.unwrap();
    assert_eq!(dead[0].reason, DeadReason::NoReceiver);
}

#[tokio::test]
async fn what_comes_too_late_is_not_handled() {
    let (_fixture, server) = server().await;
    server.add_noting("a");
    let past = Timestamp::now() - SignedDuration::from_secs(1);
    let late = server.agents.send(&local(), inform("a", 1).reply_by(past)).await.unwrap_err();
    assert!(matches!(late, AgentError::Undelivered { reason: DeadReason::Late, .. }));
    // One that becomes late while it waits.
    server.agents.suspend(local().tenant(), &name("a")).await.unwrap();
    let soon = Timestamp::now() + SignedDuration::from_millis(300);
    server.agents.send(&local(), inform("a", 2).reply_by(soon)).await.unwrap();
    server.agents.send(&local(), inform("a", 3)).await.unwrap();
    eventually("the deadline passes", async || Timestamp::now() > soon).await;
    server.agents.resume(local().tenant(), &name("a")).await.unwrap();
    server.seen.until(|seen| seen.count() == 1).await;
    assert_eq!(server.seen.of("a"), [3]);
    let dead = server.agents.dead_letters(local().tenant(), 10).await.unwrap();
    assert_eq!(dead[0].reason, DeadReason::Late);
}

fn bounded(agent: &str, messages_max: usize, overflow: Overflow) -> AgentDefinition {
    let mailbox = MailboxDefinition { messages_max: Some(messages_max), overflow, shed: Vec::new() };
    AgentDefinition { mailbox, ..AgentDefinition::native(name(agent)) }
}

#[tokio::test]
async fn a_full_mailbox_does_what_its_agent_says() {
    let (_fixture, server) = server().await;
    for (agent, overflow) in [("rejects", Overflow::Reject), ("sheds", Overflow::Shed)] {
        server.add(bounded(agent, 2, overflow), |_, _| Ok(()));
        server.agents.suspend(local().tenant(), &name(agent)).await.unwrap();
        for number in 0..2 {
            server.agents.send(&local(), inform(agent, number)).await.unwrap();
        }
    }
    let full = server.agents.send(&local(), inform("rejects", 3)).await.unwrap_err();
    assert!(matches!(full, AgentError::Undelivered { reason: DeadReason::Full, .. }), "{full}");
    server.agents.send(&local(), inform("sheds", 3)).await.unwrap();
    let dead = server.agents.dead_letters(local().tenant(), 10).await.unwrap();
    assert_eq!((dead[0].reason, dead[0].message.content.clone()), (DeadReason::Shed, json!(0)));
    assert!(server.agents.list(local().tenant(), None, None, 10).iter().all(|agent| agent.waiting == 2));
}

#[tokio::test]
async fn a_sender_waits_for_room_where_the_mailbox_says_so() {
    let (_fixture, server) = server().await;
    let seen = Arc::clone(&server.seen);
    server.add(bounded("slow", 1, Overflow::Block), move |message, _| {
        seen.note("slow", message.content.read().unwrap());
        Ok(())
    });
    server.agents.suspend(local().tenant(), &name("slow")).await.unwrap();
    server.agents.send(&local(), inform("slow", 1)).await.unwrap();
    let soon = Timestamp::now() + SignedDuration::from_millis(100);
    let full = server.agents.send(&local(), inform("slow", 2).reply_by(soon)).await.unwrap_err();
    assert!(matches!(full, AgentError::Undelivered { reason: DeadReason::Full, .. }), "{full}");
    let (caller, slow) = (local(), name("slow"));
    let sends = async { server.agents.send(&caller, inform("slow", 3)).await.unwrap().delivered };
    let resumes = server.agents.resume(caller.tenant(), &slow);
    let (delivered, resumed) = tokio::join!(sends, resumes);
    resumed.unwrap();
    assert_eq!(delivered, 1);
    server.seen.until(|seen| seen.count() == 2).await;
    assert_eq!(server.seen.of("slow"), [1, 3]);
}

#[tokio::test]
async fn a_reminder_comes_later() {
    let (_fixture, server) = server().await;
    let seen = Arc::clone(&server.seen);
    server.add(AgentDefinition::native(name("a")), move |message, turn| {
        let number: u64 = message.content.read().unwrap();
        seen.note("a", number);
        if number == 1 {
            turn.remind(std::time::Duration::from_millis(20), inform("a", 2))?;
        }
        Ok(())
    });
    server.agents.send(&local(), inform("a", 1)).await.unwrap();
    server.seen.until(|seen| seen.of("a") == [1, 2]).await;
}

#[tokio::test]
async fn an_idle_agent_is_put_away_and_comes_back_with_its_state() {
    let fixture = Fixture::sqlite();
    let options = AgentsOptions {
        park_after: paddock_platform::units::HumanDuration::from_secs(1),
        ..AgentsOptions::default()
    };
    let server = Server::start(&fixture, options).await;
    let seen = Arc::clone(&server.seen);
    server.add(AgentDefinition::native(name("a")), move |_, turn| {
        let count: u64 = turn.get("count").map_or(0, |bytes| serde_json::from_slice(&bytes).unwrap());
        turn.set("count", serde_json::to_vec(&(count + 1)).unwrap().into())?;
        seen.note("a", count);
        Ok(())
    });
    server.agents.send(&local(), inform("a", 1)).await.unwrap();
    server.seen.until(|seen| seen.count() == 1).await;
    let tenant = local().tenant().clone();
    eventually("it is put away", async || !server.agents.get(&tenant, &name("a")).unwrap().awake).await;
    server.agents.send(&local(), inform("a", 1)).await.unwrap();
    server.seen.until(|seen| seen.of("a") == [0, 1]).await;
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]
    #[test]
    fn every_message_is_handled_or_accounted_for(
        bound in 1..6_usize, overflow in 0..2_usize, sends in proptest::collection::vec(0..3_usize, 1..80),
    ) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(async {
            let (_fixture, server) = server().await;
            let overflow = [Overflow::Reject, Overflow::Shed][overflow];
            for agent in ["a", "b", "c"] {
                let (seen, of) = (Arc::clone(&server.seen), agent.to_owned());
                server.add(bounded(agent, bound, overflow), move |message, _| {
                    seen.note(&of, message.content.read().unwrap());
                    Ok(())
                });
            }
            let mut refused = 0;
            for (number, agent) in sends.iter().enumerate() {
                let receiver = ["a", "b", "c"][*agent];
                refused += usize::from(server.agents.send(&local(), inform(receiver, number as u64)).await.is_err());
            }
            let shed = async || {
                let dead = server.agents.dead_letters(local().tenant(), 500).await.unwrap();
                dead.iter().filter(|letter| letter.reason == DeadReason::Shed).count()
            };
            let total = sends.len();
            eventually("all are handled", async || server.seen.count() + refused + shed().await == total).await;
            for agent in ["a", "b", "c"] {
                let seen = server.seen.of(agent);
                assert!(seen.windows(2).all(|pair| pair[0] < pair[1]), "{seen:?}");
            }
        });
    }
}
