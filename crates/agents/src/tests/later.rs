//! What happens later: reminders, and requests on schedule.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use paddock_platform::store::testing::on_each_engine;
use serde_json::json;

use super::support::{PATIENCE, Server, eventually, inform, local, name};
use crate::{
    AgentDefinition, AgentsOptions, Failure, MailboxDefinition, Overflow,
    message::{Draft, Performative},
    schedule::SCHEDULE,
    store,
};

/// An agent that reminds itself after a while: of what it is told, and of nothing if that is odd.
fn add_reminding(server: &Server, wait: Duration) {
    let seen = Arc::clone(&server.seen);
    server.add(AgentDefinition::native(name("a")), move |message, turn| {
        let number: u64 = message.content.read().unwrap();
        seen.note("a", number);
        if number < 100 {
            turn.remind(wait.saturating_sub(Duration::from_millis(number)), inform("a", number + 100))?;
        }
        if number % 2 == 1 { Err(Failure::invalid("odd")) } else { Ok(()) }
    });
}

#[tokio::test]
async fn what_a_durable_turn_wants_to_be_reminded_of_survives_a_restart_and_comes_once() {
    on_each_engine(async |fixture| {
        // Nothing rings before the server ends.
        let wait = Duration::from_secs(3);
        let server = Server::start(fixture, AgentsOptions::default()).await;
        add_reminding(&server, wait);
        for number in [2, 3, 4] {
            server.agents.send(&local(), inform("a", number).durable()).await.unwrap();
        }
        server.seen.until(|seen| seen.count() == 3).await;
        server.stop().await;

        for expected in [&[102, 104][..], &[]] {
            let server = Server::open(fixture, AgentsOptions::default()).await;
            add_reminding(&server, wait);
            server.run().await;
            server.seen.until(|seen| seen.count() == expected.len()).await;
            server.agents.send(&local(), inform("a", 200).durable()).await.unwrap();
            server.seen.until(|seen| seen.of("a").last() == Some(&200)).await;
            // The turn that failed left none.
            let mut rung = server.seen.of("a")[..expected.len()].to_vec();
            rung.sort_unstable();
            assert_eq!(rung, *expected);
            assert_eq!(server.seen.count(), expected.len() + 1);
            server.stop().await;
        }
    })
    .await;
}

#[tokio::test]
async fn reminders_are_bounded_and_the_agent_reads_so_in_its_log() {
    let fixture = paddock_platform::store::testing::Fixture::sqlite();
    let options = AgentsOptions { reminders_max: 1, ..AgentsOptions::default() };
    let server = Server::start(&fixture, options).await;
    server.add_noting("b");
    server.add(AgentDefinition::native(name("a")), |_, turn| {
        turn.remind(Duration::from_millis(1), inform("b", 1))?;
        turn.remind(Duration::from_millis(2), inform("b", 2))
    });
    server.agents.send(&local(), inform("a", 0).durable()).await.unwrap();
    server.seen.until(|seen| seen.count() == 1).await;
    let places = &server.agents.0.core.reminders;
    eventually("the place is free again", async || places.admit().is_some()).await;
    server.agents.send(&local(), inform("a", 0).durable()).await.unwrap();
    server.seen.until(|seen| seen.of("b") == [1, 1]).await;
    let log = server.agents.log(local().tenant(), &name("a")).unwrap();
    assert_eq!(log.iter().filter(|line| line.text.contains("reminders_max")).count(), 2);
    server.stop().await;
}

fn yearly() -> AgentDefinition {
    let schedule = json!({ "at": "0 0 1 1 *", "content": 7 });
    AgentDefinition {
        schedule: Some(serde_json::from_value(schedule).unwrap()),
        ..AgentDefinition::native(name("a"))
    }
}

fn add_yearly(server: &Server) {
    let seen = Arc::clone(&server.seen);
    server.add(yearly(), move |message, turn| {
        assert_eq!(message.performative, Performative::Request);
        seen.note("a", message.content.read().unwrap());
        turn.send(Draft::reply(message, Performative::Inform).text("done")).map(|_| ())
    });
}

#[tokio::test]
async fn a_time_that_came_while_the_server_was_off_is_made_up_for_once() {
    on_each_engine(async |fixture| {
        let server = Server::start(fixture, AgentsOptions::default()).await;
        add_yearly(&server);
        let (store, spec) = (&server.agents.0.core.store, yearly().schedule.unwrap().spec());
        let long_ago = Timestamp::now() - Duration::from_hours(24 * 900);
        store::set_schedule(store, "local/a", &spec, long_ago).await.unwrap();
        server.stop().await;

        let server = Server::open(fixture, AgentsOptions::default()).await;
        add_yearly(&server);
        server.run().await;
        server.seen.until(|seen| seen.count() == 1).await;
        eventually("it is due in the future", async || {
            let known = store::load_schedules(&server.agents.0.core.store).await.unwrap();
            known["local/a"].1 > Timestamp::now()
        })
        .await;
        // Its answer is in the timeline, and no dead letter.
        let tenant = local().tenant().clone();
        let conversations = server.agents.conversations(&tenant, 10).await.unwrap();
        let id = conversations[0].id.parse().unwrap();
        assert!(conversations[0].id.starts_with(SCHEDULE));
        eventually("the answer is noted", async || {
            server.agents.timeline(&tenant, &id, 0, 10).await.unwrap().len() == 2
        })
        .await;
        assert!(server.agents.dead_letters(&tenant, 10).await.unwrap().is_empty());
        server.stop().await;

        let server = Server::open(fixture, AgentsOptions::default()).await;
        add_yearly(&server);
        server.run().await;
        server.agents.send(&local(), Draft::new(Performative::Request, name("a")).json(&8)).await.unwrap();
        server.seen.until(|seen| seen.of("a") == [8]).await;
        server.stop().await;
    })
    .await;
}

#[tokio::test]
async fn an_agent_with_a_schedule_gets_its_requests_until_it_is_deployed_without() {
    let fixture = paddock_platform::store::testing::Fixture::sqlite();
    let server = Server::start(&fixture, AgentsOptions::default()).await;
    let text = "---\nname: clock\nmodel: sim\nschedule: every 1s\n---\nTell the time.\n";
    let definition = crate::from_markdown(text).unwrap();
    server.agents.deploy(&local(), definition.clone()).await.unwrap();
    let (tenant, clock) = (local().tenant().clone(), name("clock"));
    eventually("it handles two requests", async || server.agents.get(&tenant, &clock).unwrap().handled >= 2)
        .await;
    let without = AgentDefinition { schedule: None, ..definition };
    server.agents.deploy(&local(), without.clone()).await.unwrap();
    let store = &server.agents.0.core.store;
    assert!(store::load_schedules(store).await.unwrap().is_empty());
    let wrong =
        AgentDefinition { schedule: Some(serde_json::from_value(json!("every day")).unwrap()), ..without };
    let validation = server.agents.validate(&local(), &wrong).await;
    assert!(validation.errors[0].contains("schedule.at"), "{validation:?}");
    server.stop().await;
}

#[tokio::test]
async fn a_message_waits_for_room_no_longer_than_it_is_of_use() {
    let fixture = paddock_platform::store::testing::Fixture::sqlite();
    let options = AgentsOptions {
        block_max: paddock_platform::units::HumanDuration::from_secs(86_400),
        ..AgentsOptions::default()
    };
    let server = Server::start(&fixture, options).await;
    let mailbox = MailboxDefinition {
        messages_max: Some(1),
        overflow: Overflow::Block,
        ..MailboxDefinition::default()
    };
    server.add(AgentDefinition { mailbox, ..AgentDefinition::native(name("a")) }, |_, _| Ok(()));
    server.agents.suspend(local().tenant(), &name("a")).await.unwrap();
    server.agents.send(&local(), inform("a", 1)).await.unwrap();
    let core = &server.agents.0.core;
    let space = core.space(local().tenant());
    for left_ms in [-1_000, 20] {
        let until = Timestamp::now() + jiff::SignedDuration::from_millis(left_ms);
        for is_durable in [false, true] {
            let draft = inform("a", 2).reply_by(until);
            let message = if is_durable { draft.durable() } else { draft }.from(name("b").into());
            let sent = tokio::time::timeout(PATIENCE, core.forward(&space, message)).await;
            assert!(sent.is_ok(), "{left_ms} {is_durable}");
        }
    }
    let dead = server.agents.dead_letters(local().tenant(), 10).await.unwrap();
    assert_eq!(dead.iter().filter(|letter| letter.reason == crate::DeadReason::Full).count(), 4);
    server.stop().await;
}
