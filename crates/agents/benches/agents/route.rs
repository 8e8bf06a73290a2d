//! Native agents that pass messages round as fast as they go.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use paddock_agents::{Turn, message::Message};
use paddock_platform::store::testing::Fixture;

use crate::{
    figures::{Figures, MEASURED, WARM_UP, cpu, cpu_us_each, figures, lasting, memory, millis},
    server::{Server, inform, names, options, payload},
};

/// Messages under way for each agent.
pub(crate) const IN_FLIGHT: usize = 16;
/// A count that all agents share is brought up to date once for so many messages.
pub(crate) const COUNTED_AT_ONCE: u64 = 64;

/// What all agents of a round share.
#[derive(Default)]
struct Round {
    begun: AtomicUsize,
    handled: AtomicU64,
    is_still: AtomicBool,
}

/// What a second of it comes to, and what its agents cost.
pub(crate) async fn route(count: usize) -> Figures {
    let fixture = Fixture::sqlite();
    let server = Server::start(&fixture, options()).await;
    let (names, round, content) = (names("agent", count), Arc::new(Round::default()), payload());
    round.is_still.store(true, Ordering::Relaxed);
    let (before, began) = (memory(), Instant::now());
    for (number, name) in names.iter().enumerate() {
        let next = names[(number + 1) % count].clone();
        let round = Arc::clone(&round);
        server.native(name, move || {
            let (next, round, mut mine) = (next.clone(), Arc::clone(&round), 0_u64);
            move |message: &Message, turn: &mut Turn| {
                if mine == 0 {
                    round.begun.fetch_add(1, Ordering::Relaxed);
                }
                mine += 1;
                if mine.is_multiple_of(COUNTED_AT_ONCE) {
                    round.handled.fetch_add(COUNTED_AT_ONCE, Ordering::Relaxed);
                }
                if round.is_still.load(Ordering::Relaxed) {
                    return Ok(());
                }
                turn.send(inform(&next, &message.content)).map(|_| ())
            }
        });
    }
    for name in &names {
        server.send(inform(name, &content)).await;
    }
    while round.begun.load(Ordering::Relaxed) < count {
        tokio::time::sleep(Duration::from_micros(100)).await;
    }
    let begun_ms = millis(began.elapsed());
    let each_bytes = (memory() - before) / count as f64;
    round.is_still.store(false, Ordering::Relaxed);
    for _ in 0..IN_FLIGHT {
        for name in &names {
            server.send(inform(name, &content)).await;
        }
    }
    tokio::time::sleep(lasting(WARM_UP)).await;
    let (handled, used, began) = (round.handled.load(Ordering::Relaxed), cpu(), Instant::now());
    tokio::time::sleep(lasting(MEASURED)).await;
    let messages = (round.handled.load(Ordering::Relaxed) - handled) as f64;
    let measured = figures([
        ("messages_per_s", messages / began.elapsed().as_secs_f64()),
        ("cpu_per_message_us", cpu_us_each(used, messages)),
        ("begun_ms", begun_ms),
        ("agent_bytes", each_bytes),
    ]);
    round.is_still.store(true, Ordering::Relaxed);
    server.stop().await;
    measured
}
