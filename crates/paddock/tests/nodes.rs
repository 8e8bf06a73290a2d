//! Three servers on one PostgreSQL database and one NATS server, as their users meet them: agents are spread, found from
//! everywhere, and survive what happens to servers.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test says what it found by panicking")]

mod support;

use std::{collections::BTreeMap, path::Path, time::Duration};

use paddock_platform::{bus::testing::NatsServer, store::testing::Fixture};
use reqwest::{Client, Method, StatusCode};
use rustix::process::Signal;
use serde_json::{Value, json};
use support::{PATIENCE, TestServer};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

const AGENTS: usize = 9;

/// Everything that the servers share, and the servers.
struct Cluster {
    servers: BTreeMap<&'static str, TestServer>,
    client: Client,
    nats: NatsServer,
    fixture: Fixture,
    blobs: tempfile::TempDir,
}

impl Cluster {
    /// Three servers with agents; `None` where something is not installed.
    async fn start() -> Option<Self> {
        let (nats, fixture) = (NatsServer::start()?, Fixture::postgres().await?);
        let client = Client::builder().no_proxy().build().unwrap();
        let blobs = tempfile::tempdir().unwrap();
        let mut cluster = Self { servers: BTreeMap::new(), client, nats, fixture, blobs };
        for name in ["a", "b", "c"] {
            cluster.add(name);
        }
        cluster.deploy().await;
        cluster.settled(3).await;
        Some(cluster)
    }

    fn add(&mut self, name: &'static str) {
        let set = [
            format!("store.url={}", self.fixture.options.url),
            format!("bus.url={}", self.nats.url()),
            format!("blobs.url=file:{}", self.blobs.path().display()),
            format!("agents.nodes.name={name}"),
            "agents.nodes.lease=4s".to_owned(),
        ];
        let flags: Vec<&str> = set.iter().flat_map(|set| ["--set", set]).collect();
        self.servers.insert(name, TestServer::start_plain(&flags));
    }

    async fn ask(
        &self,
        of: &str,
        method: Method,
        path: &str,
        body: &Value,
    ) -> Result<(StatusCode, Value), String> {
        let url = format!("{}{path}", self.servers[of].base);
        let request = self.client.request(method, url).timeout(Duration::from_secs(20));
        let request = request.header("Prefer", "wait=15");
        let request = if body.is_null() { request } else { request.json(body) };
        let answer = request.send().await.map_err(|error| error.to_string())?;
        let status = answer.status();
        let text = answer.text().await.map_err(|error| error.to_string())?;
        Ok((status, serde_json::from_str(&text).unwrap_or_default()))
    }

    /// By way of one of the servers.
    async fn deploy(&self) {
        let url = format!("{}/agents/modules", self.servers["a"].base);
        let request = self.client.put(url).header("Content-Type", "application/wasm").body(component());
        let module: Value = request.send().await.unwrap().json().await.unwrap();
        for agent in agents() {
            let definition = json!({ "name": agent, "wasm": { "module": module["digest"] } });
            let (status, answer) = self.ask("a", Method::POST, "/agents", &definition).await.unwrap();
            assert_eq!(status, StatusCode::CREATED, "{answer}");
        }
    }

    /// Who runs which agent, as a server sees it.
    async fn placed(&self, of: &str) -> Option<BTreeMap<String, String>> {
        let (_, page) = self.ask(of, Method::GET, "/agents", &Value::Null).await.ok()?;
        let placed = page["items"].as_array()?.iter().filter_map(|agent| {
            Some((agent["name"].as_str()?.to_owned(), agent["node"].as_str()?.to_owned()))
        });
        Some(placed.collect())
    }

    /// Waits until so many servers run all agents, and all servers that run know and reach each other.
    async fn settled(&self, count: usize) {
        for name in self.servers.keys().copied() {
            let is_settled = async || {
                let (_, view) = self.ask(name, Method::GET, "/agents/nodes", &Value::Null).await.ok()?;
                let nodes = view["nodes"].as_array()?;
                let each: Vec<u64> = nodes.iter().filter_map(|node| node["agents"].as_u64()).collect();
                let placed = self.placed(name).await?;
                let is_all = view["bus_up"] == true
                    && each.len() == count
                    && each.iter().all(|agents| *agents > 0)
                    && each.iter().sum::<u64>() == AGENTS as u64
                    && placed.len() == AGENTS;
                is_all.then_some(())
            };
            eventually(&format!("{count} servers run all agents, as {name} sees it"), is_settled).await;
        }
    }

    /// Sends a number until a server has it; the same one twice is known by its id.
    async fn tell(&self, from: &str, agent: &str, number: u64) {
        let message = json!({
            "id": format!("00000000-0000-8000-8000-{:06}{number:06}", agent_number(agent)),
            "performative": "inform", "receivers": [agent], "content": number.to_string(), "delivery": "durable",
        });
        eventually("a durable message is accepted", async || {
            let answer = self.ask(from, Method::POST, "/agents/messages", &message).await.ok()?;
            answer.0.is_success().then_some(())
        })
        .await;
    }

    /// What an agent was told: fencing tokens and numbers.
    async fn log(&self, of: &str, agent: &str) -> Option<Vec<(i64, u64)>> {
        let question = json!({ "content": "?" });
        let path = format!("/agents/{agent}/ask");
        let (status, answer) = self.ask(of, Method::POST, &path, &question).await.ok()?;
        if !status.is_success() {
            return None;
        }
        let text = answer["answer"]["content"].as_str().unwrap_or_default().to_owned();
        let line = |line: &str| {
            let (fence, number) = line.split_once(' ')?;
            Some((fence.parse().ok()?, number.parse().ok()?))
        };
        Some(text.lines().map(|text| line(text).unwrap_or_else(|| panic!("{answer}"))).collect())
    }

    /// Waits until an agent was told so many numbers.
    async fn told(&self, of: &str, agent: &str, count: usize) {
        eventually(&format!("{agent} was told {count} numbers"), async || {
            self.log(of, agent).await.filter(|log| log.len() == count)
        })
        .await;
    }

    /// Waits until each agent was told all numbers, and sees that it was told each once, and never by a server that had
    /// been replaced.
    async fn all_told(&self, of: &str, sent: u64) {
        for agent in agents() {
            let log = eventually(&format!("{agent} was told everything"), async || {
                self.log(of, &agent).await.filter(|log| log.len() as u64 >= sent)
            })
            .await;
            let mut numbers: Vec<u64> = log.iter().map(|(_, number)| *number).collect();
            numbers.sort_unstable();
            assert_eq!(numbers, (0..sent).collect::<Vec<_>>(), "{agent}: {log:?}");
            assert!(log.is_sorted_by_key(|(fence, _)| *fence), "{agent}: {log:?}");
        }
    }
}

fn agents() -> impl Iterator<Item = String> {
    (0..AGENTS).map(|number| format!("agent-{number}"))
}

fn agent_number(agent: &str) -> usize {
    agent.trim_start_matches("agent-").parse().unwrap()
}

/// As [`support::eventually`], for what takes requests.
async fn eventually<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let wait = async {
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("gave up waiting until {what}"))
}

/// The agent of `nodes/agent.wat`.
fn component() -> Vec<u8> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut module = wat::parse_file(root.join("tests/nodes/agent.wat")).unwrap();
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_path(root.join("../../sdk/wit")).unwrap();
    let world = resolve.select_world(&[package], Some("agent")).unwrap();
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).unwrap();
    ComponentEncoder::default().validate(true).module(&module).unwrap().encode().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stops_in_the_middle_loses_nothing_and_does_nothing_twice() {
    let Some(mut cluster) = Cluster::start().await else { return };
    // From every server to every agent.
    let mut sent = 0;
    for from in ["a", "b", "c"] {
        for agent in agents() {
            cluster.tell(from, &agent, sent).await;
        }
        sent += 1;
    }
    for of in ["a", "b", "c"] {
        cluster.all_told(of, sent).await;
    }
    // One is stopped in the middle, and goes on when others have its agents.
    for number in 0..30 {
        if number == 10 {
            cluster.servers["c"].signal(Signal::STOP);
        }
        for agent in agents() {
            cluster.tell(["a", "b"][number % 2], &agent, sent).await;
        }
        sent += 1;
    }
    cluster.all_told("a", sent).await;
    cluster.servers["c"].signal(Signal::CONT);
    cluster.settled(3).await;
    for agent in agents() {
        cluster.tell("c", &agent, sent).await;
    }
    sent += 1;
    cluster.all_told("c", sent).await;
    // One is killed, and another comes in its place.
    for number in 0..30 {
        if number == 10 {
            let mut killed = cluster.servers.remove("b").unwrap();
            killed.signal(Signal::KILL);
            killed.wait();
        }
        for agent in agents() {
            cluster.tell(["a", "c"][number % 2], &agent, sent).await;
        }
        sent += 1;
    }
    cluster.all_told("c", sent).await;
    cluster.settled(2).await;
    cluster.add("b");
    cluster.settled(3).await;
    cluster.all_told("b", sent).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn durable_messages_arrive_without_the_bus_and_all_messages_with_it() {
    let Some(mut cluster) = Cluster::start().await else { return };
    let placed = cluster.placed("a").await.unwrap();
    let (elsewhere, node) = placed.iter().find(|(_, node)| *node == "c").unwrap();
    let memory = |number: u64| json!({ "performative": "inform", "receivers": [elsewhere], "content": number.to_string() });
    let (status, answer) = cluster.ask("a", Method::POST, "/agents/messages", &memory(0)).await.unwrap();
    assert!(status.is_success(), "{answer}");
    cluster.told("a", elsewhere, 1).await;

    cluster.nats.stop();
    cluster.tell("a", elsewhere, 1).await;
    // On the server that runs it no bus is needed to ask.
    cluster.told(node, elsewhere, 2).await;
    cluster.ask("a", Method::POST, "/agents/messages", &memory(2)).await.unwrap();
    eventually("a message in memory is a dead letter", async || {
        let (_, letters) = cluster.ask("a", Method::GET, "/agents/dead-letters", &Value::Null).await.ok()?;
        letters["dead_letters"]
            .as_array()?
            .iter()
            .find(|letter| letter["reason"] == "unreachable")
            .map(|_| ())
    })
    .await;
    let (_, ready) = cluster.ask("a", Method::GET, "/readyz", &Value::Null).await.unwrap();
    assert!(ready.to_string().contains("NATS cannot be reached"), "{ready}");

    assert!(cluster.nats.resume());
    eventually("the bus is there again", async || {
        let (_, view) = cluster.ask("a", Method::GET, "/agents/nodes", &Value::Null).await.ok()?;
        (view["bus_up"] == true).then_some(())
    })
    .await;
    eventually("messages in memory arrive again", async || {
        cluster.ask("a", Method::POST, "/agents/messages", &memory(3)).await.ok()?;
        let log = cluster.log("a", elsewhere).await?;
        log.iter().any(|(_, number)| *number == 3).then_some(())
    })
    .await;
}
