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
use crate::{AgentDefinition, AgentsOptions, Native};

/// Agents of the tenant that floods.
const FLOODERS: u64 = 64;
/// Turns of the one agent of the other.
const TURNS: usize = 100;

fn of(tenant: &str) -> Caller {
    Caller::with_key("k", tenant.parse().unwrap(), vec![Scope::ALL])
}

/// The same work, whoever does it.
fn work() {
    black_box(blake3::hash(black_box(&vec![7; 64 << 10])));
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
            Native::new(move |_, turn| {
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
        Native::new(move |_, turn| {
            work();
            seen.note("calm", counted.load(Ordering::Relaxed));
            // It has something more to do, too, until it has done enough.
            let more = seen.of("calm").len() < TURNS;
            if more { turn.send(inform("calm", 1)).map(|_| ()) } else { Ok(()) }
        })
    };
    server.agents.register(&"calm".parse().unwrap(), AgentDefinition::native(name("calm")), make).unwrap();
    server.agents.send(&of("calm"), inform("calm", 1)).await.unwrap();
    server.seen.until(|seen| seen.of("calm").len() == TURNS).await;
    is_over.store(true, Ordering::Relaxed);
    let counts = server.seen.of("calm");
    let meanwhile = counts[counts.len() - 1] - counts[0];
    // In turns it would be 64 turns of the others for each of its own, and by shares it is about one.
    assert!(meanwhile < 10 * TURNS as u64, "{meanwhile} turns of others during {TURNS} of its own");
    server.stop().await;
}
