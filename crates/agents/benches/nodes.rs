//! How long agents are away when a server is lost: `cargo bench --bench nodes -- json lost 300`.
//!
//! Three servers of this benchmark, each a process, share a PostgreSQL database that syncs what it acknowledges and a NATS
//! server, and so many native agents. One is killed, each of its agents is asked by way of another at once, and the time
//! is taken until the last one has answered.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a benchmark is a test in this respect")]
#![expect(clippy::print_stdout, reason = "the figures are what it is for")]

use std::{
    collections::BTreeMap,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use paddock_agents::{
    AgentDefinition, Agents, AgentsOptions, Ground, Native, NodesOptions,
    message::{Address, AgentName, Draft, Performative},
};
use paddock_jobs::{Jobs, JobsOptions};
use paddock_llm::{Gateway, LlmOptions};
use paddock_platform::{
    blobs::{Blobs, BlobsOptions},
    bus::{Bus, BusOptions, testing::NatsServer},
    config::Section,
    events::Events,
    identity::{Caller, Tenant},
    store::{Store, StoreOptions, testing::Fixture},
    task::Tasks,
    tool::Toolbox,
};

/// Far longer than anything takes that works.
const PATIENCE: Duration = Duration::from_mins(2);
const LOOK: Duration = Duration::from_millis(20);

type Figures = BTreeMap<String, f64>;

fn name(number: usize) -> AgentName {
    format!("agent-{number}").parse().unwrap()
}

/// A server of so many agents that answer what they are asked.
async fn serve(store: &str, bus: &str, node: &str, count: usize, data: &Path) -> Agents {
    let tasks = Tasks::default();
    let options = StoreOptions { url: store.parse().unwrap(), ..StoreOptions::default() };
    let store = Store::open(&options, data, &tasks).await.unwrap();
    let blobs = Blobs::open(&BlobsOptions::default(), data).unwrap();
    let models = Gateway::open(Section::fixed(LlmOptions::default()), store.clone(), &tasks).await.unwrap();
    let jobs = Section::fixed(JobsOptions::default());
    let jobs = Jobs::open(store.clone(), blobs.clone(), jobs, &tasks).await.unwrap();
    let options = BusOptions { url: bus.parse().unwrap(), ..BusOptions::default() };
    let bus = Bus::connect(&options, &tasks).await.unwrap();
    let ground = Ground { store, blobs, models, jobs, events: Events::default(), bus, data, tasks: &tasks };
    let nodes = NodesOptions { name: node.to_owned(), ..NodesOptions::default() };
    let mut options = AgentsOptions { nodes, ..AgentsOptions::default() };
    options.wasm.instances_max = 16;
    let agents = Agents::open(Section::fixed(options), ground).await.unwrap();
    for number in 0..count {
        let definition = AgentDefinition::native(name(number));
        let handler = || {
            Native::new(|message, turn| turn.send(Draft::reply(message, Performative::Inform)).map(|_| ()))
        };
        agents.register(&Tenant::local(), definition, handler).unwrap();
    }
    agents.run(Toolbox::new([]).unwrap()).await.unwrap();
    agents
}

/// A process that ends with this one.
struct Process(Child);

impl Process {
    fn start(command: &mut Command) -> Self {
        Self(command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let began = Instant::now();
    while !is_so().await {
        assert!(began.elapsed() < PATIENCE, "gave up waiting until {what}");
        tokio::time::sleep(LOOK).await;
    }
}

async fn lost(count: usize) -> Figures {
    let Some(fixture) = Fixture::durable_postgres().await else { return Figures::new() };
    let Some(nats) = NatsServer::start() else { return Figures::new() };
    let (store, bus) = (fixture.options.url.to_string(), nats.url());
    let own = std::env::current_exe().unwrap();
    let start = |node: &str| {
        Process::start(Command::new(&own).args(["serve", &store, &bus, node, &count.to_string()]))
    };
    let agents = serve(&store, &bus, "a", count, fixture.data_dir()).await;
    let (_kept, mut killed) = (start("b"), start("c"));
    until("three servers run all agents", async || {
        let nodes = agents.nodes().await.unwrap().nodes;
        nodes.len() == 3
            && nodes.iter().all(|node| node.agents > 0)
            && nodes.iter().map(|node| node.agents).sum::<u64>() == count as u64
    })
    .await;
    let node_of = |number: usize| agents.get(&Tenant::local(), &name(number)).unwrap().node;
    until("it is known where each is", async || (0..count).all(|number| node_of(number).is_some())).await;
    let away: Vec<usize> = (0..count).filter(|number| node_of(*number).as_deref() == Some("c")).collect();
    let ask = async |number: usize| {
        let draft = Draft::new(Performative::Request, Address::Agent(name(number)));
        let asked = agents.ask(&Caller::local(), draft, Some(Duration::from_secs(30))).await;
        asked.is_ok_and(|(_, answer)| answer.performative == Performative::Inform)
    };
    for number in &away {
        assert!(ask(*number).await, "each answers before");
    }
    killed.0.kill().unwrap();
    killed.0.wait().unwrap();
    let began = Instant::now();
    let first = async |number: usize| {
        while !ask(number).await {
            assert!(began.elapsed() < PATIENCE, "each answers again");
            tokio::time::sleep(LOOK).await;
        }
        began.elapsed()
    };
    let took = futures_util::future::join_all(away.iter().map(|number| first(*number))).await;
    let last = took.into_iter().max().unwrap_or_default();
    Figures::from([
        ("agents_moved_count".to_owned(), away.len() as f64),
        ("node_loss_s".to_owned(), last.as_secs_f64()),
    ])
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let figures = match words.as_slice() {
        // As a benchmark among others it has nothing to say.
        [] | ["--test", ..] => return,
        ["json", "lost", count] => runtime.block_on(lost(count.parse().unwrap())),
        ["serve", store, bus, node, count] => {
            let data = tempfile::tempdir().unwrap();
            let _agents = runtime.block_on(serve(store, bus, node, count.parse().unwrap(), data.path()));
            // Until the other end is gone.
            let _ = std::io::read_to_string(std::io::stdin());
            return;
        }
        other => panic!("unknown case {other:?}"),
    };
    println!("{}", serde_json::to_string(&figures).unwrap());
}
