//! Which messages came for agents of other servers than the one that wrote them.

use paddock_platform::{
    params,
    store::{Params, Store, StoreError, Transaction},
};

use super::held;
use crate::store::{InboxRow, inbox, statement};

statement!(
    ARRIVE,
    "arrive",
    "INSERT INTO agent_arrivals (agent, place) SELECT n.a, n.p FROM UNNEST(?1::text[], ?2::bigint[]) AS n (a, p) \
     ON CONFLICT DO NOTHING"
);
statement!(
    ARRIVALS,
    "arrivals",
    "SELECT a.agent, o.epoch, count(*) AS waiting, max(a.place) AS last FROM agent_arrivals a JOIN agent_owners o ON o.agent = a.agent \
     WHERE o.node = ?1 GROUP BY a.agent, o.epoch"
);
statement!(
    PICK,
    "pick_arrivals",
    "WITH gone AS (DELETE FROM agent_arrivals WHERE agent = ?1 AND place IN \
     (SELECT place FROM agent_arrivals WHERE agent = ?1 ORDER BY place LIMIT ?2) RETURNING agent, place) \
     SELECT i.place, i.attempts, i.envelope, i.content FROM gone g \
     JOIN agent_inbox i ON i.agent = g.agent AND i.place = g.place ORDER BY i.place"
);
statement!(
    BACKLOG,
    "backlog",
    "SELECT count(*) AS waiting FROM (SELECT 1 FROM agent_inbox WHERE agent = ?1 LIMIT ?2) AS first"
);
statement!(PLACES, "places", "SELECT nextval('agent_places') AS place FROM generate_series(1, ?1::bigint)");

/// Messages are there for agents of other servers: `agent, place`.
pub(crate) async fn arrive(tx: &mut Transaction, arrivals: &[Params]) -> Result<(), StoreError> {
    tx.execute_each(&ARRIVE, arrivals).await.map(|_| ())
}

/// What came from other servers for an agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Arrivals {
    pub(crate) agent: String,
    /// Under which its server runs it.
    pub(crate) epoch: i64,
    pub(crate) count: usize,
    /// The last place of them.
    pub(crate) last: i64,
}

/// For which agents of a server messages came from others.
pub(crate) async fn arrivals(store: &Store, node: &str) -> Result<Vec<Arrivals>, StoreError> {
    let rows = store.query(&ARRIVALS, params![node]).await?;
    let arrivals = rows.iter().map(|row| {
        let (agent, epoch) = (row.get("agent")?, row.get("epoch")?);
        Ok(Arrivals { agent, epoch, count: row.get("waiting")?, last: row.get("last")? })
    });
    arrivals.collect()
}

/// Takes messages that came from other servers for an agent that this one still runs under an epoch.
pub(crate) async fn pick(
    store: &Store,
    node: &str,
    agent: &str,
    epoch: i64,
    max: usize,
) -> Result<Vec<InboxRow>, StoreError> {
    let (node, agent) = (node.to_owned(), agent.to_owned());
    let max = i64::try_from(max).unwrap_or(i64::MAX);
    store
        .write(move |tx| {
            Box::pin(async move {
                if held(tx, &node, &[&agent]).await?.get(&agent) != Some(&epoch) {
                    return Ok(Vec::new());
                }
                let rows = tx.query(&PICK, params![agent, max]).await?;
                rows.iter().map(inbox::read).collect()
            })
        })
        .await
}

/// How many messages wait for an agent in the store; counted no further than to a bound.
pub(crate) async fn backlog(store: &Store, agent: &str, max: usize) -> Result<usize, StoreError> {
    let max = i64::try_from(max).unwrap_or(i64::MAX);
    let row = store.query_first(&BACKLOG, params![agent, max]).await?;
    row.map_or(Ok(0), |row| row.get("waiting"))
}

/// Places in the order of all servers' messages.
pub(crate) async fn places(store: &Store, count: usize) -> Result<Vec<i64>, StoreError> {
    let count = i64::try_from(count).unwrap_or(i64::MAX);
    let rows = store.query(&PLACES, params![count]).await?;
    let mut places: Vec<i64> = rows.iter().map(|row| row.get("place")).collect::<Result<_, _>>()?;
    places.sort_unstable();
    Ok(places)
}
