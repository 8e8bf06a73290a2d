//! Messages into components that reply, as fast as they go: each reply is followed by the next message.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use paddock_agents::{
    Turn,
    message::{Address, AgentName, Content, Draft, Message, Performative},
    wasm::WasmOptions,
};
use paddock_platform::store::testing::Fixture;

use crate::{
    component::{Guests, Kind},
    figures::{Figures, MEASURED, WARM_UP, cpu, cpu_us_each, figures, lasting, millis, unmeasured},
    route::{COUNTED_AT_ONCE, IN_FLIGHT},
    server::{Server, inform, names, options, payload},
};

/// Components that one native agent sends to.
const GUESTS_EACH: usize = 20;

/// What all agents of a case share.
#[derive(Default)]
struct Round {
    replies: AtomicU64,
    failures: AtomicU64,
    is_over: AtomicBool,
}

pub(crate) async fn guests(kind: &str, count: usize) -> Figures {
    let fixture = Fixture::sqlite();
    let server = Server::start(&fixture, options()).await;
    let Some(guests) = Guests::prepare(Kind::of(kind), WasmOptions::default(), &server.tasks).await else {
        return unmeasured(["messages_per_s", "cpu_per_message_us", "begun_ms", "failed_count"]);
    };
    let (names, content, round) = (names("agent", count), payload(), Arc::new(Round::default()));
    let began = Instant::now();
    for name in &names {
        guests.register(&server, name);
    }
    server.ask_each(&names, &content).await;
    let begun_ms = millis(began.elapsed());
    start(&server, &names, &content, &round).await;
    tokio::time::sleep(lasting(WARM_UP)).await;
    let (replies, used, began) = (round.replies.load(Ordering::Relaxed), cpu(), Instant::now());
    tokio::time::sleep(lasting(MEASURED)).await;
    let messages = (round.replies.load(Ordering::Relaxed) - replies) as f64;
    let measured = figures([
        ("messages_per_s", messages / began.elapsed().as_secs_f64()),
        ("cpu_per_message_us", cpu_us_each(used, messages)),
        ("begun_ms", begun_ms),
        ("failed_count", round.failures.load(Ordering::Relaxed) as f64),
    ]);
    round.is_over.store(true, Ordering::Relaxed);
    tokio::time::sleep(Duration::from_millis(100)).await;
    server.stop().await;
    measured
}

/// Native agents that keep messages under way to some components each.
async fn start(server: &Server, names: &[AgentName], content: &Content, round: &Arc<Round>) {
    let groups: Vec<&[AgentName]> = names.chunks(GUESTS_EACH).collect();
    let drivers = self::names("driver", groups.len());
    for (driver, group) in drivers.iter().zip(groups) {
        let addresses: Arc<[AgentName]> = group.into();
        let (round, content) = (Arc::clone(round), content.clone());
        server.native(driver, move || {
            let (addresses, round, content) = (Arc::clone(&addresses), Arc::clone(&round), content.clone());
            let mut mine = 0_u64;
            move |message: &Message, turn: &mut Turn| {
                if !matches!(message.sender, Address::Agent(_)) {
                    // The word to begin.
                    return (0..IN_FLIGHT)
                        .flat_map(|_| &addresses[..])
                        .try_for_each(|name| ask(turn, name.clone().into(), &content));
                }
                if message.performative == Performative::Failure {
                    round.failures.fetch_add(1, Ordering::Relaxed);
                }
                mine += 1;
                if mine.is_multiple_of(COUNTED_AT_ONCE) {
                    round.replies.fetch_add(COUNTED_AT_ONCE, Ordering::Relaxed);
                }
                if round.is_over.load(Ordering::Relaxed) {
                    return Ok(());
                }
                ask(turn, message.sender.clone(), &content)
            }
        });
    }
    for driver in &drivers {
        server.send(inform(driver, content)).await;
    }
}

fn ask(turn: &mut Turn, to: Address, content: &Content) -> Result<(), paddock_agents::Failure> {
    turn.send(Draft::new(Performative::Request, to).content(content.clone())).map(|_| ())
}
