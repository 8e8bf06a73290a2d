//! New agents: from nothing to the answer to the first message, one after the other.

use std::time::Instant;

use paddock_agents::{
    AgentDefinition, AgentsOptions, WasmDefinition,
    message::{AgentName, Content},
    wasm::{Limits, WasmOptions},
};
use paddock_platform::store::testing::Fixture;

use crate::{
    component::{Guests, Kind},
    figures::{Durations, Figures, at_most, figures, millis, unmeasured},
    server::{Server, names, options, payload, request},
};

/// The first ones, which find nothing in the processor's caches, are not counted.
const WARM_UP: usize = 10;

fn count(kind: Kind) -> usize {
    match kind {
        Kind::Text | Kind::Rust => at_most(1_000, 100),
        Kind::Ts => at_most(500, 40),
        Kind::Py => at_most(200, 20),
    }
}

/// Of a component that is compiled: agents that are told of to the runtime, and agents that are deployed, whose definitions
/// are on the disk before they begin.
pub(crate) async fn spawn(kind: &str) -> Figures {
    let (kind, fixture) = (Kind::of(kind), Fixture::sqlite());
    let wasm =
        WasmOptions { instances_max: 2_000, compile_max: "30m".parse().unwrap(), ..WasmOptions::default() };
    let server = Server::start(&fixture, AgentsOptions { wasm: wasm.clone(), ..options() }).await;
    let Some(guests) = Guests::prepare(kind, wasm, &server.tasks).await else {
        return unmeasured(["spawn_p50_ms", "spawn_p99_ms", "deploy_p50_ms", "deploy_p99_ms"]);
    };
    let content = payload();
    let mut spawned = Vec::new();
    for name in names("agent", WARM_UP + count(kind)) {
        let began = Instant::now();
        guests.register(&server, &name);
        server.ask(request(&name, &content)).await;
        spawned.push(millis(began.elapsed()));
    }
    let spawned = Durations::of(spawned.split_off(WARM_UP));
    let deployed = deployed(&server, kind, &content).await;
    server.stop().await;
    figures([
        ("spawn_p50_ms", spawned.at(0.5)),
        ("spawn_p99_ms", spawned.at(0.99)),
        ("deploy_p50_ms", deployed.at(0.5)),
        ("deploy_p99_ms", deployed.at(0.99)),
    ])
}

async fn deployed(server: &Server, kind: Kind, content: &Content) -> Durations {
    let component = tokio::task::spawn_blocking(move || kind.component()).await.unwrap().unwrap();
    let module = server.agents.upload(component.into()).await.unwrap().digest;
    let mut took = Vec::new();
    for name in names("deployed", WARM_UP + count(kind) / 2) {
        let began = Instant::now();
        deploy(server, kind, &name, &module).await;
        server.ask(request(&name, content)).await;
        took.push(millis(began.elapsed()));
    }
    Durations::of(took.split_off(WARM_UP))
}

/// Deploys an agent of a component that was uploaded.
pub(crate) async fn deploy(server: &Server, kind: Kind, name: &AgentName, module: &str) {
    let wasm = WasmDefinition { module: module.to_owned(), limits: Limits::default() };
    let definition =
        AgentDefinition { config: kind.config(), wasm: Some(wasm), ..AgentDefinition::native(name.clone()) };
    server.agents.deploy(&server.caller, definition).await.unwrap();
}
