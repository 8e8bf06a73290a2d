//! Durable messages, each on the disk before its sender hears of it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use paddock_agents::{Turn, message::Message};
use paddock_platform::store::testing::Fixture;

use crate::{
    figures::{Figures, MEASURED, WARM_UP, cpu, cpu_us_each, figures, lasting},
    server::{Server, inform, names, options, payload},
};

const AGENTS: usize = 100;

/// To agents that count them in their state.
pub(crate) async fn durable(senders: usize) -> Figures {
    let fixture = Fixture::sqlite();
    let server = Server::start(&fixture, options()).await;
    let (handled, names, content) = (Arc::new(AtomicUsize::new(0)), names("agent", AGENTS), payload());
    for name in &names {
        let handled = Arc::clone(&handled);
        server.native(name, move || {
            let handled = Arc::clone(&handled);
            move |_: &Message, turn: &mut Turn| {
                let count = turn
                    .get("count")
                    .map_or(0, |bytes| u64::from_le_bytes(bytes[..].try_into().unwrap_or_default()));
                handled.fetch_add(1, Ordering::Relaxed);
                turn.set("count", Bytes::copy_from_slice(&(count + 1).to_le_bytes()))
            }
        });
    }
    let (warm_up, measured) = (lasting(WARM_UP), lasting(MEASURED));
    let stop = Instant::now() + warm_up + measured;
    let sender = |number: usize| {
        let (server, names, content) = (&server, &names, &content);
        async move {
            let mut to = number;
            while Instant::now() < stop {
                to = (to + 1) % AGENTS;
                // At the bound of a mailbox there is nothing to do but to wait.
                if server.agents.send(&server.caller, inform(&names[to], content).durable()).await.is_err() {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            }
        }
    };
    let measure = async {
        tokio::time::sleep(warm_up).await;
        let (before, used, began) = (handled.load(Ordering::Relaxed), cpu(), Instant::now());
        tokio::time::sleep(measured.mul_f64(0.96)).await;
        let count = (handled.load(Ordering::Relaxed) - before) as f64;
        (count / began.elapsed().as_secs_f64(), cpu_us_each(used, count))
    };
    let senders = futures_util::future::join_all((0..senders).map(sender));
    let ((per_second, cpu_us), _) = futures_util::join!(measure, senders);
    server.stop().await;
    figures([("durable_per_s", per_second), ("cpu_per_durable_us", cpu_us)])
}
