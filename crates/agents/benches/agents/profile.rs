//! Where processor time goes: agents that do nothing, messages, new agents.

use std::time::{Duration, Instant};

use paddock_agents::wasm::WasmOptions;
use paddock_platform::store::testing::Fixture;

use crate::{
    component::{Guests, Kind},
    figures::{Figures, at_most, cpu, figures, lasting, unmeasured},
    server::{Server, names, options, payload},
};

const IDLE: Duration = Duration::from_secs(10);
const AGENTS: usize = 1_000;
const MESSAGES: usize = 10_000;
const NEW: usize = 100;

pub(crate) async fn profile(kind: &str) -> Figures {
    let fixture = Fixture::sqlite();
    let server = Server::start(&fixture, options()).await;
    let Some(guests) = Guests::prepare(Kind::of(kind), WasmOptions::default(), &server.tasks).await else {
        return unmeasured(["idle_cores", "messages_10000_cpu_s", "spawn_100_cpu_s"]);
    };
    let (names, content) = (names("agent", at_most(AGENTS, 100)), payload());
    for name in &names {
        guests.register(&server, name);
    }
    server.ask_each(&names, &content).await;
    // What they were woken for is over.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let (used, began) = (cpu(), Instant::now());
    tokio::time::sleep(lasting(IDLE)).await;
    let idle_cores = since(used) / began.elapsed().as_secs_f64();
    let used = cpu();
    for _ in 0..MESSAGES / names.len() {
        server.ask_each(&names, &content).await;
    }
    let messages = since(used);
    let used = cpu();
    let new = self::names("new", NEW);
    for name in &new {
        guests.register(&server, name);
    }
    server.ask_each(&new, &content).await;
    let spawning = since(used);
    server.stop().await;
    figures([("idle_cores", idle_cores), ("messages_10000_cpu_s", messages), ("spawn_100_cpu_s", spawning)])
}

/// Seconds of processor time since then.
fn since(used: Duration) -> f64 {
    cpu().saturating_sub(used).as_secs_f64()
}
