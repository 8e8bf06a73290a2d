//! When what agents changed is written.

use std::sync::Arc;

use paddock_platform::{
    store::testing::{Fixture, on_each_engine},
    units::HumanDuration,
};

use super::support::{Server, eventually, inform, local, name};
use crate::{AgentDefinition, AgentsOptions, store};

/// Longer than any test.
const NEVER: HumanDuration = HumanDuration::from_secs(86_400);

/// A server with an agent that sums up what it is told.
async fn start(fixture: &Fixture, options: AgentsOptions) -> Server {
    let options = AgentsOptions { park_after: NEVER, ..options };
    let server = Server::start(fixture, options).await;
    let seen = Arc::clone(&server.seen);
    server.add(AgentDefinition::native(name("counter")), move |message, turn| {
        let sum: u64 = turn.get("sum").map_or(0, |bytes| serde_json::from_slice(&bytes).unwrap());
        let sum = sum + message.content.read::<u64>().unwrap();
        turn.set("sum", serde_json::to_vec(&sum).unwrap().into())?;
        seen.note("counter", sum);
        Ok(())
    });
    server
}

/// What the store has of the sum.
async fn stored(server: &Server) -> Option<u64> {
    let found = store::state_entries(&server.agents.0.core.store, "local/counter", "sum").await.unwrap();
    found.first().map(|(_, value)| serde_json::from_slice(value).unwrap())
}

async fn tell(server: &Server, number: u64) {
    server.agents.send(&local(), inform("counter", number)).await.unwrap();
}

fn is_awake(server: &Server) -> bool {
    server.agents.get(local().tenant(), &name("counter")).unwrap().awake
}

#[tokio::test]
async fn a_state_is_written_after_so_many_messages_while_the_agent_is_awake() {
    on_each_engine(async |fixture| {
        let options =
            AgentsOptions { checkpoint_messages: 10, checkpoint_interval: NEVER, ..AgentsOptions::default() };
        let server = start(fixture, options).await;
        for number in 1..=9 {
            tell(&server, number).await;
            server.seen.until(|seen| seen.count() == number as usize).await;
        }
        assert_eq!(stored(&server).await, None);
        tell(&server, 10).await;
        eventually("it is written", async || stored(&server).await == Some(55)).await;
        assert!(is_awake(&server));
        // From here it is counted anew.
        tell(&server, 11).await;
        server.seen.until(|seen| seen.count() == 11).await;
        assert_eq!(stored(&server).await, Some(55));
        server.stop().await;
    })
    .await;
}

#[tokio::test]
async fn a_state_is_written_after_a_while_although_nothing_more_comes() {
    let fixture = Fixture::sqlite();
    let options = AgentsOptions {
        checkpoint_messages: 1_000_000,
        checkpoint_interval: HumanDuration::from_secs(1),
        ..AgentsOptions::default()
    };
    let server = start(&fixture, options).await;
    tell(&server, 7).await;
    eventually("it is written", async || stored(&server).await == Some(7)).await;
    assert!(is_awake(&server));
    server.stop().await;
}
