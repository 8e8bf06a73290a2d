//! How much memory an agent gets under each limit before it is told that there is no more, and how quickly.

use std::time::Instant;

use bytes::Bytes;
use paddock_agents::{
    AgentDefinition,
    message::{AgentName, Content, MediaType},
    wasm::{Limits, Wasm, WasmOptions},
};
use paddock_platform::{store::testing::Fixture, units::ByteSize};

use crate::{
    figures::Figures,
    server::{Guest, Server, options, request},
    text,
};

const LIMITS_MIB: [u64; 4] = [1, 10, 100, 1_000];
/// What an agent's memory grows by.
const PAGE: f64 = 65_536.0;

pub(crate) async fn limits() -> Figures {
    let fixture = Fixture::sqlite();
    let server = Server::start(&fixture, options()).await;
    let wasm = Wasm::start(WasmOptions::default(), fixture.data_dir().join("code"), &server.tasks).unwrap();
    let module = wasm.prepare(text::fill().into()).await.unwrap();
    let mut measured = Figures::new();
    for mib in LIMITS_MIB {
        let limits = Limits {
            memory_max: Some(ByteSize::mib(mib)),
            call_max: Some("60s".parse().unwrap()),
            ..Limits::default()
        };
        module.check(&limits).unwrap();
        let name: AgentName = format!("limit-{mib}").parse().unwrap();
        let own = module.clone();
        server.register(AgentDefinition::native(name.clone()), move || Guest::new(&own, &limits));
        let content = Content { media_type: MediaType::OCTETS, body: Bytes::from_static(b"fill") };
        let began = Instant::now();
        let answer = server.ask(request(&name, &content)).await;
        let took = began.elapsed().as_secs_f64();
        let pages = u32::from_le_bytes(answer.content.body[..].try_into().unwrap());
        let reached = f64::from(pages) * PAGE / f64::from(1 << 20);
        measured.insert(format!("reached_{mib}_mib"), Some(reached));
        measured.insert(format!("filled_{mib}_mib_per_s"), Some(reached / took));
    }
    server.stop().await;
    measured
}
