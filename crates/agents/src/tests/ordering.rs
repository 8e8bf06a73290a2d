//! Agents that come after others.

use std::{sync::Arc, time::Instant};

use jiff::Timestamp;
use paddock_platform::{identity::Tenant, store::testing::Fixture};

use super::support::{Seen, Server, eventually, inform, local, name};
use crate::{
    AgentDefinition, AgentError, AgentsOptions, Handled, Handler, Start, Strategy, Supervision, Turn,
    message::{AgentName, Label, Message},
    supervise::Decision,
};

fn stored(agent: &str, about: &str, after: &[&str]) -> AgentDefinition {
    let text = format!("---\nname: {agent}\ndescription: {about}\nmodel: sim\n---\nHelp.\n");
    let supervision = Supervision {
        strategy: Strategy::RestForOne,
        group: Some(Label::of("g")),
        restarts_max: 1_000,
        ..Supervision::default()
    };
    let after = after.iter().map(|first| name(first)).collect();
    AgentDefinition { supervision, after, ..crate::from_markdown(&text).unwrap() }
}

/// Whom a failure of an agent restarts.
fn restarted(server: &Server, agent: &str) -> Vec<AgentName> {
    let cell = server.agents.cell(local().tenant(), &name(agent)).unwrap();
    let supervision = cell.agent().definition.supervision.clone();
    let supervisor = &server.agents.0.core.supervisor;
    match supervisor.failed(&Tenant::local(), &cell.name, &supervision, Instant::now()) {
        Decision::Restart(names) => names,
        Decision::GiveUp(names) => unreachable!("{names:?}"),
    }
}

#[tokio::test]
async fn a_group_keeps_its_order_over_new_versions_and_restarts() {
    let fixture = Fixture::sqlite();
    let server = Server::start(&fixture, AgentsOptions::default()).await;
    for (agent, after) in [("z", ""), ("m", ""), ("a", ""), ("b", "z")] {
        let after: Vec<&str> = after.split_terminator(',').collect();
        let before = Timestamp::now().as_millisecond();
        server.agents.deploy(&local(), stored(agent, "one", &after)).await.unwrap();
        // When an agent came is known to the millisecond.
        eventually("the clock goes on", async || Timestamp::now().as_millisecond() > before).await;
    }
    let order = |server: &Server| -> [Vec<String>; 4] {
        ["z", "m", "a", "b"].map(|agent| restarted(server, agent).iter().map(ToString::to_string).collect())
    };
    let expected: [Vec<String>; 4] = [&["z", "m", "a", "b"][..], &["m", "a", "b"], &["a", "b"], &["b"]]
        .map(|names| names.iter().map(|name| (*name).to_owned()).collect());
    assert_eq!(order(&server), expected);
    server.agents.deploy(&local(), stored("z", "two", &[])).await.unwrap();
    assert_eq!(order(&server), expected);
    server.stop().await;

    let server = Server::start(&fixture, AgentsOptions::default()).await;
    assert_eq!(order(&server), expected);
    // Who depends on another comes after it, whenever it was deployed.
    server.agents.deploy(&local(), stored("z", "three", &["a"])).await.unwrap();
    let names = |agents: &[&str]| agents.iter().map(|agent| name(agent)).collect::<Vec<_>>();
    assert_eq!(restarted(&server, "a"), names(&["a", "z", "b"]));
    assert_eq!(restarted(&server, "m"), names(&["m", "a", "z", "b"]));
    server.stop().await;
}

#[tokio::test]
async fn a_circle_and_an_agent_that_is_not_there_are_refused_with_their_names() {
    let fixture = Fixture::sqlite();
    let server = Server::start(&fixture, AgentsOptions::default()).await;
    let refused = async |agent: &str, after: &[&str]| match server
        .agents
        .deploy(&local(), stored(agent, "x", after))
        .await
        .unwrap_err()
    {
        AgentError::Invalid(invalid) => {
            assert_eq!(invalid.field, "after");
            invalid.to_string()
        }
        other => unreachable!("{other}"),
    };
    assert!(refused("b", &["a"]).await.contains("no agent `a`"));
    assert!(refused("a", &["a"]).await.contains("`a` comes after `a`"));
    server.agents.deploy(&local(), stored("a", "one", &[])).await.unwrap();
    server.agents.deploy(&local(), stored("b", "one", &["a"])).await.unwrap();
    server.agents.deploy(&local(), stored("c", "one", &["b"])).await.unwrap();
    let told = refused("a", &["c"]).await;
    assert!(told.contains("`a` comes after `c` comes after `b` comes after `a`"), "{told}");
    let checked = server.agents.validate(&local(), &stored("a", "one", &["b"])).await;
    assert!(!checked.valid && checked.errors[0].contains("circle"), "{checked:?}");
    assert_eq!(server.agents.get(local().tenant(), &name("a")).unwrap().version, 1);
    server.stop().await;
}

/// An agent that notes when it starts, and what it is told.
struct Noting {
    seen: Arc<Seen>,
    number: u64,
}

impl Handler for Noting {
    fn start<'a>(&'a mut self, _: Start, _: &'a mut Turn) -> Handled<'a> {
        self.seen.note("started", self.number);
        Handled::OK
    }

    fn handle<'a>(&'a mut self, message: Arc<Message>, _: &'a mut Turn) -> Handled<'a> {
        self.seen.note("told", message.content.read().unwrap_or_default());
        Handled::OK
    }
}

/// Each comes after the one before; the names go the other way.
fn register(server: &Server) {
    let chain: [(&str, &[&str], u64); 4] =
        [("a", &["b"], 3), ("b", &["c"], 2), ("c", &[], 1), ("d", &["c"], 4)];
    for (agent, after, number) in chain {
        let after = after.iter().map(|first| name(first)).collect();
        let definition = AgentDefinition { after, ..AgentDefinition::native(name(agent)) };
        let seen = Arc::clone(&server.seen);
        let make = move || Noting { seen: Arc::clone(&seen), number };
        server.agents.register(&Tenant::local(), definition, make).unwrap();
    }
}

#[tokio::test]
async fn after_a_restart_an_agent_with_messages_starts_after_those_that_it_comes_after() {
    let fixture = Fixture::sqlite();
    let server = Server::start(&fixture, AgentsOptions::default()).await;
    register(&server);
    server.agents.suspend(local().tenant(), &name("a")).await.unwrap();
    server.agents.send(&local(), inform("a", 7).durable()).await.unwrap();
    server.stop().await;

    let server = Server::open(&fixture, AgentsOptions::default()).await;
    register(&server);
    server.run().await;
    server.seen.until(|seen| seen.of("told") == [7]).await;
    // Nothing waits for `d`, and nobody who starts comes after it.
    assert_eq!(server.seen.of("started"), [1, 2, 3]);
    server.stop().await;
}
