//! Agents for whom more waits than their mailboxes hold when a server takes them.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use paddock_platform::{
    params,
    store::{Statement, Store, Value, testing::Fixture},
};

use super::support::{Server, inform, local, name};
use crate::{
    AgentDefinition, AgentsOptions, MailboxDefinition, Overflow,
    store::{
        self, InboxRow,
        nodes::{self, NodeRow, Taken},
    },
};

static INSERT: Statement = Statement::new(
    "tests",
    "insert_messages",
    "INSERT INTO agent_inbox (agent, place, attempts, envelope, content) \
     SELECT ?1::text, n.p, 0, '', ''::bytea FROM UNNEST(?2::bigint[]) AS n (p)",
);
static ARRIVE: Statement = Statement::new(
    "tests",
    "announce_messages",
    "INSERT INTO agent_arrivals (agent, place) SELECT ?1::text, n.p FROM UNNEST(?2::bigint[]) AS n (p)",
);

const NODE: &str = "a.1";
const BOUND: usize = 8;

fn places(of: impl IntoIterator<Item = i64>) -> Value {
    Value::Array(of.into_iter().map(Value::Int).collect())
}

fn places_of(rows: &[InboxRow]) -> Vec<i64> {
    rows.iter().map(|row| row.place).collect()
}

/// Takes an agent, and gives what was taken with it.
async fn take(store: &Store, agent: &str) -> Taken {
    let taken = nodes::place(store, NODE, Vec::new(), vec![(agent.to_owned(), BOUND)]).await.unwrap();
    taken.into_iter().next().unwrap()
}

async fn shared(fixture: &Fixture) -> Store {
    let store = fixture.open().await;
    store.migrate(&store::MIGRATIONS).await.unwrap();
    let row = NodeRow { node: NODE.to_owned(), name: "a".to_owned(), labels: BTreeMap::new(), weight: 1 };
    nodes::join(&store, row, 60_000).await.unwrap();
    store
}

#[tokio::test]
async fn an_agent_is_taken_with_what_fits_and_the_rest_comes_after_it() {
    let Some(fixture) = Fixture::postgres().await else { return };
    let store = shared(&fixture).await;
    let agent = "local/many";
    store.execute(&INSERT, params![agent, places(1..=20)]).await.unwrap();
    // What was announced to whoever ran the agent before.
    store.execute(&ARRIVE, params![agent, places([3, 8, 9])]).await.unwrap();
    let taken = take(&store, agent).await;
    assert_eq!((taken.waiting, taken.until, taken.surplus_until), (BOUND, 8, 20));
    let arrivals = nodes::arrivals(&store, NODE).await.unwrap();
    assert_eq!((arrivals.len(), arrivals[0].epoch, arrivals[0].count), (1, taken.epoch, 12));
    assert_eq!(arrivals[0].agent, agent);
    let rows = store::load_inbox(&store, agent, taken.until).await.unwrap();
    assert_eq!(places_of(&rows), (1..=8).collect::<Vec<_>>());
    let first = nodes::pick(&store, NODE, agent, taken.epoch, 5).await.unwrap();
    assert_eq!(places_of(&first), (9..=13).collect::<Vec<_>>());
    let rest = nodes::pick(&store, NODE, agent, taken.epoch, 100).await.unwrap();
    assert_eq!(places_of(&rest), (14..=20).collect::<Vec<_>>());
    assert!(nodes::arrivals(&store, NODE).await.unwrap().is_empty());
}

#[tokio::test]
async fn what_is_written_after_an_agent_was_taken_is_not_loaded_with_what_was_there() {
    let Some(fixture) = Fixture::postgres().await else { return };
    let store = shared(&fixture).await;
    let agent = "local/few";
    store.execute(&INSERT, params![agent, places([10, 20, 30])]).await.unwrap();
    let taken = take(&store, agent).await;
    assert_eq!((taken.waiting, taken.until, taken.surplus_until), (3, 30, 0));
    // Its place is from before.
    store.execute(&INSERT, params![agent, places([15])]).await.unwrap();
    store.execute(&ARRIVE, params![agent, places([15])]).await.unwrap();
    let rows = store::load_inbox(&store, agent, taken.until).await.unwrap();
    assert_eq!(places_of(&rows), [10, 20, 30]);
    let late = nodes::pick(&store, NODE, agent, taken.epoch, 100).await.unwrap();
    assert_eq!(places_of(&late), [15]);
    // Nothing waits for this one.
    let taken = take(&store, "local/none").await;
    assert_eq!((taken.waiting, taken.until, taken.surplus_until), (0, 0, 0));
}

fn bounded(messages_max: usize) -> AgentDefinition {
    let overflow = Overflow::Block;
    let mailbox = MailboxDefinition { messages_max: Some(messages_max), overflow, shed: Vec::new() };
    AgentDefinition { mailbox, ..AgentDefinition::native(name("popular")) }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mailbox_keeps_its_bound_when_more_waited_for_its_agent_and_all_is_handled_in_order() {
    let Some(fixture) = Fixture::postgres().await else { return };
    // It never begins to run agents, and lets more through.
    let sender = Server::open(&fixture, AgentsOptions::default()).await;
    sender.add(bounded(64), |_, _| Ok(()));
    for number in 0..20 {
        sender.agents.send(&local(), inform("popular", number).durable()).await.unwrap();
    }
    let server = Server::open(&fixture, AgentsOptions::default()).await;
    let (core, seen) = (Arc::downgrade(&server.agents.0.core), Arc::clone(&server.seen));
    let most = Arc::new(AtomicUsize::new(0));
    let highest = Arc::clone(&most);
    server.add(bounded(BOUND), move |message, _| {
        let cell = core.upgrade().and_then(|core| core.space(local().tenant()).agent(&name("popular")));
        highest.fetch_max(cell.map_or(0, |cell| cell.mailbox.len()), Ordering::Relaxed);
        seen.note("popular", message.content.read().unwrap_or_default());
        Ok(())
    });
    server.run().await;
    // One that is sent meanwhile waits for its turn.
    server.agents.send(&local(), inform("popular", 20).durable()).await.unwrap();
    server.seen.until(|seen| seen.of("popular").len() > 20).await;
    assert_eq!(server.seen.of("popular"), (0..=20).collect::<Vec<u64>>());
    assert_eq!(most.load(Ordering::Relaxed), BOUND);
    server.stop().await;
}
