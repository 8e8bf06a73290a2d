//! Several servers on one PostgreSQL database.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use paddock_jobs::JobState;
use paddock_platform::{
    bus::Bus,
    params,
    store::{Statement, Store, testing::Fixture},
    units::HumanDuration,
};

use super::support::{PATIENCE, Server, eventually, inform, local, name, to};
use crate::{
    AgentDefinition, AgentStatus, AgentsOptions, DeadReason, ExecuteInput, NodesOptions,
    message::{AgentName, Draft, MessageId, Performative},
    service::News,
    store,
};

const AGENTS: usize = 24;

static EXPEL: Statement = Statement::new("tests", "expel", "DELETE FROM agent_nodes WHERE name = ?1");

fn options(node: &str) -> AgentsOptions {
    let nodes = NodesOptions {
        name: node.to_owned(),
        lease: HumanDuration::from_secs(4),
        labels: BTreeMap::from([("zone".to_owned(), node.to_owned())]),
        ..NodesOptions::default()
    };
    AgentsOptions { nodes, ..AgentsOptions::default() }
}

fn agents() -> impl Iterator<Item = String> {
    (0..AGENTS).map(|number| format!("agent-{number}"))
}

/// A server with agents that note what they are told, and answer what they are asked with the name of their server.
async fn open(fixture: &Fixture, bus: &Bus, node: &str) -> Server {
    let server = Server::open_with(fixture, options(node), bus.clone()).await;
    for agent in agents() {
        add(&server, AgentDefinition::native(name(&agent)), node);
    }
    server
}

/// Adds an agent that keeps everything that it is told in its state, with its fencing token.
fn add(server: &Server, definition: AgentDefinition, node: &str) {
    let (seen, of, node) = (Arc::clone(&server.seen), definition.name.to_string(), node.to_owned());
    server.add(definition, move |message, turn| {
        if message.performative == Performative::Request {
            return turn.send(Draft::reply(message, Performative::Inform).text(node.clone())).map(|_| ());
        }
        let number: u64 = message.content.read().unwrap_or_default();
        let mut log = turn.get("log").map(Vec::from).unwrap_or_default();
        let fence = turn.get("paddock:fence").map(|fence| String::from_utf8_lossy(&fence).into_owned());
        log.extend(format!("{} {number}\n", fence.unwrap_or_default()).bytes());
        turn.set("log", Bytes::from(log))?;
        seen.note(&of, number);
        Ok(())
    });
}

/// What an agent kept: fencing tokens and numbers, in the order of its turns.
async fn log_of(store: &Store, agent: &str) -> Vec<(i64, u64)> {
    let entries = store::state_entries(store, &format!("local/{agent}"), "log").await.unwrap();
    let text = entries.first().map(|(_, log)| String::from_utf8_lossy(log).into_owned()).unwrap_or_default();
    let line = |line: &str| {
        let (fence, number) = line.split_once(' ').unwrap();
        (fence.parse().unwrap(), number.parse().unwrap())
    };
    text.lines().map(line).collect()
}

/// Waits until these servers run all agents, each some of them.
async fn settled(server: &Server, nodes: usize) {
    eventually("all agents are run", async || {
        let view = server.agents.nodes().await.unwrap();
        let each: Vec<u64> = view.nodes.iter().map(|node| node.agents).collect();
        each.len() == nodes
            && each.iter().all(|count| *count > 0)
            && each.iter().sum::<u64>() == AGENTS as u64
    })
    .await;
    // Wherever they are, all servers know.
    eventually("it is known who runs which agent", async || {
        agents().all(|agent| server.agents.get(local().tenant(), &name(&agent)).unwrap().node.is_some())
    })
    .await;
}

async fn three(fixture: &Fixture) -> Vec<Server> {
    let bus = Bus::local();
    let mut servers = Vec::new();
    for node in ["a", "b", "c"] {
        let server = open(fixture, &bus, node).await;
        server.run().await;
        servers.push(server);
    }
    for server in &servers {
        settled(server, 3).await;
    }
    servers
}

async fn stop(servers: Vec<Server>) {
    for server in servers {
        server.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn agents_are_spread_and_messages_find_them_from_any_server() {
    let Some(fixture) = Fixture::postgres().await else { return };
    let servers = three(&fixture).await;
    for (from, server) in servers.iter().enumerate() {
        for (number, agent) in agents().enumerate() {
            let number = (from * 1_000 + number) as u64;
            server.agents.send(&local(), inform(&agent, number)).await.unwrap();
            server.agents.send(&local(), inform(&agent, 100_000 + number).durable()).await.unwrap();
        }
    }
    let expected = 2 * 3 * AGENTS;
    eventually("each message is handled", async || {
        servers.iter().map(|server| server.seen.count()).sum::<usize>() >= expected
    })
    .await;
    let total: usize = servers.iter().map(|server| server.seen.count()).sum();
    assert_eq!(total, expected);
    // Each agent was run by one of them alone.
    for agent in agents() {
        let ran = servers.iter().filter(|server| !server.seen.of(&agent).is_empty()).count();
        assert_eq!(ran, 1, "{agent}");
    }
    // Who asks hears the answer, wherever the agent is.
    for server in &servers {
        for agent in agents() {
            let draft = Draft::new(Performative::Request, to(&agent)).text("where");
            let (_, answer) = server.agents.ask(&local(), draft, Some(PATIENCE)).await.unwrap();
            let node = server.agents.get(local().tenant(), &name(&agent)).unwrap().node;
            assert_eq!(node, Some(answer.content.to_text().into_owned()));
        }
    }
    stop(servers).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_is_followed_wherever_its_agent_and_its_job_are() {
    const POETS: usize = 12;
    const VERSE: &str = "It rains in Bern";
    let Some(fixture) = Fixture::postgres().await else { return };
    let servers = three(&fixture).await;
    let poets: Vec<AgentName> = (0..POETS).map(|number| name(&format!("poet-{number}"))).collect();
    for poet in &poets {
        let text = format!("---\nname: {poet}\nmodel: sim\n---\n[sim reply=\"{VERSE}\"]\n");
        servers[0].agents.deploy(&local(), crate::from_markdown(&text).unwrap()).await.unwrap();
    }
    let node_of = |poet: &AgentName| servers[0].agents.get(local().tenant(), poet).unwrap().node;
    eventually("they are run", async || poets.iter().all(|poet| node_of(poet).is_some())).await;
    let mut heard_from = BTreeSet::new();
    for poet in &poets {
        let input = ExecuteInput {
            agent: poet.to_string(),
            input: "go".into(),
            conversation: None,
            timeout: Some(60.0),
            hearer: None,
        };
        let mut followed = servers[0].agents.begin_followed(&local(), input).await.unwrap();
        let (mut said, mut state) = (String::new(), None);
        while let Some(news) = tokio::time::timeout(PATIENCE, followed.next()).await.expect("it goes on") {
            match news {
                News::Told(event) => said.push_str(event["text"].as_str().unwrap_or_default()),
                News::Job(job) => state = Some(job.state),
            }
        }
        assert_eq!(state, Some(JobState::Succeeded), "{poet}");
        // What comes after the end is not waited for.
        assert!(VERSE.starts_with(&said), "{said}");
        if !said.is_empty() {
            heard_from.insert(node_of(poet));
        }
    }
    assert!(heard_from.len() > 1, "{heard_from:?}");
    stop(servers).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_of_one_sender_stay_in_order_between_servers() {
    let Some(fixture) = Fixture::postgres().await else { return };
    let servers = three(&fixture).await;
    for number in 0..200 {
        for agent in agents().take(6) {
            servers[0].agents.send(&local(), inform(&agent, number)).await.unwrap();
        }
    }
    let expected: Vec<u64> = (0..200).collect();
    for agent in agents().take(6) {
        eventually("all is handled", async || {
            servers.iter().any(|server| server.seen.of(&agent).len() == expected.len())
        })
        .await;
        let seen = servers.iter().map(|server| server.seen.of(&agent)).find(|seen| !seen.is_empty()).unwrap();
        assert_eq!(seen, expected);
    }
    stop(servers).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn capabilities_and_topics_reach_agents_of_all_servers() {
    let Some(fixture) = Fixture::postgres().await else { return };
    let bus = Bus::local();
    let mut servers = Vec::new();
    for node in ["a", "b", "c"] {
        let server = Server::open_with(&fixture, options(node), bus.clone()).await;
        for zone in ["a", "b", "c"] {
            let definition = AgentDefinition {
                capabilities: vec!["count".parse().unwrap()],
                topics: vec!["numbers".parse().unwrap()],
                placement: BTreeMap::from([("zone".to_owned(), zone.to_owned())]),
                ..AgentDefinition::native(name(&format!("in-{zone}")))
            };
            add(&server, definition, node);
        }
        server.run().await;
        servers.push(server);
    }
    // Each is run where its label is.
    for server in &servers {
        eventually("each agent is where it asked to be", async || {
            ["a", "b", "c"].iter().all(|zone| {
                let view = server.agents.get(local().tenant(), &name(&format!("in-{zone}"))).unwrap();
                view.node.as_deref() == Some(zone)
            })
        })
        .await;
    }
    servers[1].agents.send(&local(), inform("capability:count?all", 1)).await.unwrap();
    servers[1].agents.send(&local(), inform("topic:numbers", 2)).await.unwrap();
    servers[2].agents.send(&local(), inform("topic:numbers", 3).durable()).await.unwrap();
    for (server, zone) in servers.iter().zip(["a", "b", "c"]) {
        let agent = format!("in-{zone}");
        server.seen.until(|seen| seen.of(&agent).len() == 3).await;
        let mut seen = server.seen.of(&agent);
        seen.sort_unstable();
        assert_eq!(seen, [1, 2, 3]);
    }
    stop(servers).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stops_hands_its_agents_over_with_what_waits() {
    let Some(fixture) = Fixture::postgres().await else { return };
    let mut servers = three(&fixture).await;
    let ids: Vec<MessageId> = (0..AGENTS).map(|_| MessageId::next()).collect();
    for (agent, id) in agents().zip(&ids) {
        servers[1].agents.send(&local(), inform(&agent, 1).id(*id).durable()).await.unwrap();
    }
    servers.remove(2).stop().await;
    for (agent, id) in agents().zip(&ids) {
        servers[0].agents.send(&local(), inform(&agent, 2).durable()).await.unwrap();
        // One that is sent again by way of another server is known.
        servers[0].agents.send(&local(), inform(&agent, 1).id(*id).durable()).await.unwrap();
        servers[1].agents.send(&local(), inform(&agent, 3)).await.unwrap();
    }
    for server in &servers {
        settled(server, 2).await;
    }
    let store = fixture.open().await;
    for agent in agents() {
        eventually("what was sent is kept", async || log_of(&store, &agent).await.len() == 3).await;
        let mut numbers: Vec<u64> = log_of(&store, &agent).await.iter().map(|(_, number)| *number).collect();
        numbers.sort_unstable();
        assert_eq!(numbers, [1, 2, 3], "{agent}");
    }
    stop(servers).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_whose_lease_was_taken_writes_nothing_more_and_nothing_is_lost_or_done_twice() {
    let Some(fixture) = Fixture::postgres().await else { return };
    let servers = three(&fixture).await;
    let store = fixture.open().await;
    let mut sent = 0_u64;
    for round in 0..4 {
        let expelled = ["a", "b", "c"][round % 3];
        for number in 0..25 {
            for agent in agents() {
                let from = &servers[(number + round) % 3];
                from.agents.send(&local(), inform(&agent, sent).durable()).await.unwrap();
            }
            sent += 1;
            if number == 10 {
                // In the middle of it, and without its knowing.
                store.execute(&EXPEL, params![expelled]).await.unwrap();
            }
        }
    }
    for agent in agents() {
        eventually("all is kept", async || log_of(&store, &agent).await.len() as u64 >= sent).await;
        let log = log_of(&store, &agent).await;
        let mut numbers: Vec<u64> = log.iter().map(|(_, number)| *number).collect();
        numbers.sort_unstable();
        assert_eq!(numbers, (0..sent).collect::<Vec<_>>(), "{agent}: each once");
        assert!(log.is_sorted_by_key(|(fence, _)| *fence), "{agent}: {log:?}");
    }
    stop(servers).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_in_memory_that_nobody_takes_become_dead_letters() {
    let Some(fixture) = Fixture::postgres().await else { return };
    // No bus between them.
    let mut servers = Vec::new();
    for node in ["a", "b"] {
        let server = open(&fixture, &Bus::local(), node).await;
        server.run().await;
        servers.push(server);
    }
    for server in &servers {
        settled(server, 2).await;
    }
    let elsewhere = agents().find(|agent| {
        servers[0].agents.get(local().tenant(), &name(agent)).unwrap().node.as_deref() == Some("b")
    });
    let elsewhere = elsewhere.unwrap();
    servers[0].agents.send(&local(), inform(&elsewhere, 1)).await.unwrap();
    eventually("it is a dead letter", async || {
        let letters = servers[0].agents.dead_letters(local().tenant(), 10).await.unwrap();
        letters.iter().any(|letter| letter.reason == DeadReason::Unreachable)
    })
    .await;
    // What is durable needs no bus.
    servers[0].agents.send(&local(), inform(&elsewhere, 2).durable()).await.unwrap();
    servers[1].seen.until(|seen| seen.of(&elsewhere) == [2]).await;
    stop(servers).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_server_does_with_agents_the_others_follow() {
    let Some(fixture) = Fixture::postgres().await else { return };
    let bus = Bus::local();
    let mut servers = Vec::new();
    for node in ["a", "b"] {
        let server = Server::open_with(&fixture, options(node), bus.clone()).await;
        server.run().await;
        servers.push(server);
    }
    let definition = |system: &str| -> AgentDefinition {
        let prompt = serde_json::json!({ "model": "sim", "system": system });
        serde_json::from_value(serde_json::json!({ "name": "guide", "prompt": prompt })).unwrap()
    };
    let guide: AgentName = name("guide");
    let (a, b) = (&servers[0].agents, &servers[1].agents);
    let tenant = local().tenant().clone();
    a.deploy(&local(), definition("Be brief.")).await.unwrap();
    eventually("it is there", async || b.get(&tenant, &guide).is_ok_and(|view| view.version == 1)).await;
    b.deploy(&local(), definition("Be long.")).await.unwrap();
    eventually("it is another", async || a.get(&tenant, &guide).is_ok_and(|view| view.version == 2)).await;
    a.suspend(&tenant, &guide).await.unwrap();
    let status = |of: &crate::Agents| of.get(&tenant, &guide).map(|view| view.status).ok();
    eventually("it is suspended", async || status(b) == Some(AgentStatus::Suspended)).await;
    b.resume(&tenant, &guide).await.unwrap();
    eventually("it is resumed", async || status(a) == Some(AgentStatus::Active)).await;
    let draft = Draft::new(Performative::Request, to("guide")).text("hello");
    b.ask(&local(), draft, Some(PATIENCE)).await.unwrap();
    let draft = Draft::new(Performative::Request, to("guide")).text("hello");
    a.ask(&local(), draft, Some(Duration::from_mins(1))).await.unwrap();
    b.remove(&tenant, &guide).await.unwrap();
    eventually("it is gone", async || a.get(&tenant, &guide).is_err()).await;
    stop(servers).await;
}

#[tokio::test]
async fn a_sqlite_store_has_one_server_and_no_lease() {
    let fixture = Fixture::sqlite();
    let server = open(&fixture, &Bus::local(), "alone").await;
    server.run().await;
    let view = server.agents.nodes().await.unwrap();
    assert!(!view.shared && view.nodes.len() == 1 && view.nodes[0].agents == AGENTS as u64);
    server.agents.send(&local(), inform("agent-1", 7).durable()).await.unwrap();
    server.seen.until(|seen| seen.of("agent-1") == [7]).await;
    server.stop().await;
}
