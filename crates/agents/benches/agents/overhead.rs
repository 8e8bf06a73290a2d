//! The same computation in a native agent and in a component, in turns.

use std::time::Instant;

use paddock_agents::{
    Turn,
    message::{AgentName, Content, Draft, Message, Performative},
    wasm::WasmOptions,
};
use paddock_platform::store::testing::Fixture;

use crate::{
    component::{Guests, Kind},
    figures::{Durations, Figures, at_most, figures, millis, unmeasured},
    server::{Server, options},
    work::work,
};

/// About a millisecond: within the first slice of a component.
const ROUNDS: u32 = 200;
const TURNS: usize = 500;

pub(crate) async fn overhead() -> Figures {
    let fixture = Fixture::sqlite();
    let server = Server::start(&fixture, options()).await;
    let Some(guests) = Guests::prepare(Kind::Rust, WasmOptions::default(), &server.tasks).await else {
        return unmeasured(["native_ms", "wasm_ms", "overhead_ratio"]);
    };
    let (native, component): (AgentName, AgentName) = ("native".parse().unwrap(), "wasm".parse().unwrap());
    server.native(&native, || {
        |message: &Message, turn: &mut Turn| {
            let rounds: u32 = message.content.to_text().parse().unwrap_or_default();
            let content = Content::text(work(rounds).to_string());
            turn.send(Draft::reply(message, Performative::Inform).content(content)).map(|_| ())
        }
    });
    guests.register(&server, &component);
    let compute = async |name: &AgentName| {
        let draft = Draft::new(Performative::QueryIf, name.clone()).text(ROUNDS.to_string());
        let began = Instant::now();
        let answer = server.ask(draft).await;
        (millis(began.elapsed()), answer.content.to_text().into_owned())
    };
    let (mut natives, mut components) = (Vec::new(), Vec::new());
    for _ in 0..at_most(TURNS, 20) {
        let (native_ms, own) = compute(&native).await;
        let (wasm_ms, other) = compute(&component).await;
        assert_eq!(own, other, "the same computation came to something else");
        natives.push(native_ms);
        components.push(wasm_ms);
    }
    server.stop().await;
    let (native_ms, wasm_ms) = (Durations::of(natives).at(0.5), Durations::of(components).at(0.5));
    figures([("native_ms", native_ms), ("wasm_ms", wasm_ms), ("overhead_ratio", wasm_ms / native_ms)])
}
