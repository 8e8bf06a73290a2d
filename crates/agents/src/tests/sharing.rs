//! Tenants that keep the processors busy, and others.

use std::{
    hint::black_box,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use paddock_platform::{
    identity::{Caller, Scope, Tenant},
    store::testing::Fixture,
};

use super::support::{Server, inform, name};
use crate::{AgentDefinition, AgentsOptions, Native, Turn, message::Message};

/// Agents of the tenant that floods.
const FLOODERS: u64 = 64;
/// Messages for the one agent of the other.
const MESSAGES: u64 = 100;

fn of(tenant: &str) -> Caller {
    Caller::with_key("k", tenant.parse().unwrap(), vec![Scope::ALL])
}

/// The same work, whoever does it.
fn work() {
    let (mut hasher, block) = (blake3::Hasher::new(), [7_u8; 1_024]);
    for _ in 0..64 {
        hasher.update(black_box(&block[..]));
    }
    black_box(hasher.finalize());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_agent_of_a_tenant_gets_its_share_beside_many_of_another() {
    let fixture = Fixture::sqlite();
    // One message each time that an agent has its turn.
    let server = Server::start(&fixture, AgentsOptions { batch_max: 1, ..AgentsOptions::default() }).await;
    let (flood, is_over) = (Arc::<AtomicU64>::default(), Arc::<AtomicBool>::default());
    let busy: Tenant = "busy".parse().unwrap();
    for number in 0..FLOODERS {
        let agent = format!("flooder-{number}");
        let (flood, is_over, own) = (Arc::clone(&flood), Arc::clone(&is_over), agent.clone());
        let make = move || {
            let (flood, is_over, own) = (Arc::clone(&flood), Arc::clone(&is_over), own.clone());
            Native::new(move |_: &Message, turn: &mut Turn| {
                work();
                flood.fetch_add(1, Ordering::Relaxed);
                // It always has something more to do.
                let more = !is_over.load(Ordering::Relaxed);
                if more { turn.send(inform(&own, 1)).map(|_| ()) } else { Ok(()) }
            })
        };
        server.agents.register(&busy, AgentDefinition::native(name(&agent)), make).unwrap();
        server.agents.send(&of("busy"), inform(&agent, 1)).await.unwrap();
    }
    let (seen, counted) = (Arc::clone(&server.seen), Arc::clone(&flood));
    let make = move || {
        let (seen, counted) = (Arc::clone(&seen), Arc::clone(&counted));
        Native::new(move |_: &Message, _: &mut Turn| {
            work();
            seen.note("calm", counted.load(Ordering::Relaxed));
            Ok(())
        })
    };
    server.agents.register(&"calm".parse().unwrap(), AgentDefinition::native(name("calm")), make).unwrap();
    for _ in 0..MESSAGES {
        server.agents.send(&of("calm"), inform("calm", 1)).await.unwrap();
    }
    server.seen.until(|seen| seen.of("calm").len() == MESSAGES as usize).await;
    is_over.store(true, Ordering::Relaxed);
    let counts = server.seen.of("calm");
    let meanwhile = counts[counts.len() - 1] - counts[0];
    // In turns it would be 64 turns of the others for each of its own, and by shares it is about one.
    assert!(meanwhile < 10 * MESSAGES, "{meanwhile} turns of others during {MESSAGES} of its own");
    server.stop().await;
}
