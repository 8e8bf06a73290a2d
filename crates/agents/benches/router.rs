//! What a message costs. Prints the figures of one case in one line, for the lab:
//! `cargo bench --bench router -- json route 1000`.
//!
//! Cases: `route N` passes messages of 1 KiB round among N native agents as fast as they go; `paced RATE` sends so many a
//! second to 1,000 of them and tells how long each waited; `durable N` has N senders send durable messages, each its next
//! when the last is on the disk and handled; `recover N` starts a server with N agents that have state and a message waiting.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a benchmark is a test in this respect")]
#![expect(clippy::print_stdout, reason = "the figures are what it is for")]

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use paddock_agents::{
    AgentDefinition, Agents, AgentsOptions, Ground, Native,
    message::{Address, AgentName, Content, Draft, MediaType, Performative},
};
use paddock_jobs::{Jobs, JobsOptions};
use paddock_llm::{Gateway, LlmOptions};
use paddock_platform::{
    blobs::{Blobs, BlobsOptions},
    config::Section,
    events::Events,
    identity::{Caller, Tenant},
    store::testing::Fixture,
    task::Tasks,
    tool::Toolbox,
};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const WARM_UP: Duration = Duration::from_secs(1);
const MEASURED: Duration = Duration::from_secs(5);
const PAYLOAD: usize = 1_024;
/// Messages under way for each agent.
const IN_FLIGHT: usize = 16;

type Figures = BTreeMap<String, f64>;

struct Server {
    agents: Agents,
    tasks: Tasks,
}

impl Server {
    async fn open(fixture: &Fixture) -> Self {
        let tasks = Tasks::default();
        let store = fixture.open().await;
        let blobs = Blobs::open(&BlobsOptions::default(), fixture.data_dir()).unwrap();
        let models =
            Gateway::open(Section::fixed(LlmOptions::default()), store.clone(), &tasks).await.unwrap();
        let jobs = Section::fixed(JobsOptions::default());
        let jobs = Jobs::open(store.clone(), blobs.clone(), jobs, &tasks).await.unwrap();
        let ground = Ground {
            store,
            blobs,
            models,
            jobs,
            events: Events::default(),
            data: fixture.data_dir(),
            tasks: &tasks,
        };
        let agents = Agents::open(Section::fixed(AgentsOptions::default()), ground).await.unwrap();
        Self { agents, tasks }
    }

    async fn run(&self) {
        self.agents.run(Toolbox::new([]).unwrap()).await.unwrap();
    }

    async fn stop(self) {
        self.tasks.stop(Duration::from_secs(30)).await.unwrap();
    }
}

fn name(number: usize) -> AgentName {
    format!("agent-{number}").parse().unwrap()
}

fn payload() -> Content {
    Content { media_type: MediaType::OCTETS, body: Bytes::from(vec![7; PAYLOAD]) }
}

fn draft(to: AgentName, content: Content) -> Draft {
    Draft::new(Performative::Inform, Address::Agent(to)).content(content)
}

/// Processor time of this process, as the kernel counts it in hundredths of a second.
fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields = stat.rsplit(')').next().unwrap().split_whitespace();
    let ticks: u64 = fields.skip(11).take(2).map(|ticks| ticks.parse::<u64>().unwrap()).sum();
    Duration::from_millis(ticks * 10)
}

/// Each agent passes on what it gets to the next.
async fn route(fixture: &Fixture, count: usize) -> Figures {
    let server = Server::open(fixture).await;
    let (handled, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    for number in 0..count {
        let next = name((number + 1) % count);
        let (handled, stop) = (Arc::clone(&handled), Arc::clone(&stop));
        server
            .agents
            .register(&Tenant::local(), AgentDefinition::native(name(number)), move || {
                let (next, handled, stop) = (next.clone(), Arc::clone(&handled), Arc::clone(&stop));
                let mut mine = 0_u64;
                Native::new(move |message, turn| {
                    mine += 1;
                    if mine.is_multiple_of(64) {
                        handled.fetch_add(64, Ordering::Relaxed);
                    }
                    if stop.load(Ordering::Relaxed) {
                        return Ok(());
                    }
                    turn.send(draft(next.clone(), message.content.clone())).map(|_| ())
                })
            })
            .unwrap();
    }
    server.run().await;
    let content = payload();
    for _ in 0..IN_FLIGHT {
        for number in 0..count {
            server.agents.send(&Caller::local(), draft(name(number), content.clone())).await.unwrap();
        }
    }
    tokio::time::sleep(WARM_UP).await;
    let (before, used, began) = (handled.load(Ordering::Relaxed), cpu(), Instant::now());
    tokio::time::sleep(MEASURED).await;
    let messages = (handled.load(Ordering::Relaxed) - before) as f64;
    let figures = Figures::from([
        ("messages_per_s".to_owned(), messages / began.elapsed().as_secs_f64()),
        ("cpu_per_message_us".to_owned(), cpu().saturating_sub(used).as_secs_f64() * 1e6 / messages),
    ]);
    stop.store(true, Ordering::Relaxed);
    server.stop().await;
    figures
}

/// So many a second, at their times whatever became of those before.
async fn paced(fixture: &Fixture, rate: f64) -> Figures {
    const AGENTS: usize = 1_000;
    let server = Server::open(fixture).await;
    let began = Instant::now();
    let waits = Arc::new(Mutex::new(Vec::<f64>::new()));
    for number in 0..AGENTS {
        let waits = Arc::clone(&waits);
        server
            .agents
            .register(&Tenant::local(), AgentDefinition::native(name(number)), move || {
                let (waits, mut seen) = (Arc::clone(&waits), 0_u32);
                Native::new(move |message, _| {
                    seen += 1;
                    let sent = u64::from_le_bytes(message.content.body[..8].try_into().unwrap_or_default());
                    // One of sixteen is enough to see the distribution.
                    if seen.is_multiple_of(16) && sent > 0 {
                        let now = u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX);
                        waits
                            .lock()
                            .unwrap_or_else(std::sync::PoisonError::into_inner)
                            .push(now.saturating_sub(sent) as f64 / 1e6);
                    }
                    Ok(())
                })
            })
            .unwrap();
    }
    server.run().await;
    let (gap, until) = (1.0 / rate, WARM_UP + MEASURED);
    let start = Instant::now();
    let mut sent = 0_u64;
    while start.elapsed() < until {
        let due = (start.elapsed().as_secs_f64() / gap) as u64;
        while sent < due {
            let mut body = vec![0_u8; PAYLOAD];
            let scheduled = (start - began).as_secs_f64() + sent as f64 * gap;
            if start.elapsed() > WARM_UP {
                body[..8].copy_from_slice(&((scheduled * 1e9) as u64).to_le_bytes());
            }
            let content = Content { media_type: MediaType::OCTETS, body: Bytes::from(body) };
            let to = name(sent as usize * 7 % AGENTS);
            server.agents.send(&Caller::local(), draft(to, content)).await.unwrap();
            sent += 1;
        }
        tokio::task::yield_now().await;
    }
    server.stop().await;
    let mut waits = std::mem::take(&mut *waits.lock().unwrap());
    waits.sort_by(f64::total_cmp);
    let at = |share: f64| waits[((waits.len() - 1) as f64 * share) as usize];
    Figures::from([
        ("wait_p50_ms".to_owned(), at(0.5)),
        ("wait_p99_ms".to_owned(), at(0.99)),
        ("sent_per_s".to_owned(), sent as f64 / until.as_secs_f64()),
    ])
}

/// Durable messages to 100 agents that count them.
async fn durable(fixture: &Fixture, senders: usize) -> Figures {
    const AGENTS: usize = 100;
    let server = Server::open(fixture).await;
    let handled = Arc::new(AtomicUsize::new(0));
    for number in 0..AGENTS {
        let handled = Arc::clone(&handled);
        server
            .agents
            .register(&Tenant::local(), AgentDefinition::native(name(number)), move || {
                let handled = Arc::clone(&handled);
                Native::new(move |_, turn| {
                    let count = turn
                        .get("count")
                        .map_or(0, |bytes| u64::from_le_bytes(bytes[..].try_into().unwrap_or_default()));
                    handled.fetch_add(1, Ordering::Relaxed);
                    turn.set("count", Bytes::copy_from_slice(&(count + 1).to_le_bytes()))
                })
            })
            .unwrap();
    }
    server.run().await;
    let stop = Instant::now() + WARM_UP + MEASURED;
    let content = payload();
    let sender = |number: usize| {
        let (agents, content) = (server.agents.clone(), content.clone());
        async move {
            let mut to = number;
            while Instant::now() < stop {
                to = (to + 1) % AGENTS;
                // At the bound of a mailbox there is nothing to do but to wait.
                if agents.send(&Caller::local(), draft(name(to), content.clone()).durable()).await.is_err() {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            }
        }
    };
    let measure = async {
        tokio::time::sleep(WARM_UP).await;
        let (before, used, began) = (handled.load(Ordering::Relaxed), cpu(), Instant::now());
        tokio::time::sleep(MEASURED.mul_f64(0.96)).await;
        let count = (handled.load(Ordering::Relaxed) - before) as f64;
        (count / began.elapsed().as_secs_f64(), cpu().saturating_sub(used).as_secs_f64() * 1e6 / count)
    };
    let senders = futures_util::future::join_all((0..senders).map(sender));
    let ((per_second, cpu_us), _) = futures_util::join!(measure, senders);
    server.stop().await;
    Figures::from([("durable_per_s".to_owned(), per_second), ("cpu_per_durable_us".to_owned(), cpu_us)])
}

/// How long it takes from the start until each of so many agents has handled what waited for it.
async fn recover(fixture: &Fixture, count: usize) -> Figures {
    let before = Server::open(fixture).await;
    for number in 0..count {
        let definition = AgentDefinition::native(name(number));
        before.agents.register(&Tenant::local(), definition, || Native::new(|_, _| Ok(()))).unwrap();
        before.agents.suspend(&Tenant::local(), &name(number)).await.unwrap();
    }
    before.run().await;
    let content = payload();
    let send = |number: usize| {
        let (agents, content) = (before.agents.clone(), content.clone());
        async move {
            agents.send(&Caller::local(), draft(name(number), content).durable()).await.unwrap();
        }
    };
    for chunk in (0..count).collect::<Vec<_>>().chunks(1_000) {
        futures_util::future::join_all(chunk.iter().map(|number| send(*number))).await;
    }
    before.stop().await;
    let began = Instant::now();
    let server = Server::open(fixture).await;
    let opened = began.elapsed();
    let handled = Arc::new(AtomicUsize::new(0));
    for number in 0..count {
        let handled = Arc::clone(&handled);
        server
            .agents
            .register(&Tenant::local(), AgentDefinition::native(name(number)), move || {
                let handled = Arc::clone(&handled);
                Native::new(move |_, _| {
                    handled.fetch_add(1, Ordering::Relaxed);
                    Ok(())
                })
            })
            .unwrap();
    }
    server.run().await;
    while handled.load(Ordering::Relaxed) < count {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let recovered = began.elapsed();
    server.stop().await;
    Figures::from([
        ("opened_s".to_owned(), opened.as_secs_f64()),
        ("recovered_s".to_owned(), recovered.as_secs_f64()),
    ])
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let fixture = Fixture::sqlite();
    let number = |text: &str| text.parse::<usize>().unwrap();
    let figures = match words.as_slice() {
        // As a benchmark among others it has nothing to say.
        [] | ["--test", ..] => return,
        ["json", "route", count] => runtime.block_on(route(&fixture, number(count))),
        ["json", "paced", rate] => runtime.block_on(paced(&fixture, rate.parse().unwrap())),
        ["json", "durable", senders] => runtime.block_on(durable(&fixture, number(senders))),
        ["json", "recover", count] => runtime.block_on(recover(&fixture, number(count))),
        other => panic!("unknown case {other:?}"),
    };
    println!("{}", serde_json::to_string(&figures).unwrap());
}
