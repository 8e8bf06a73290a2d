//! Who runs which agent, and under which epoch.

use std::collections::HashMap;

use paddock_platform::{
    params,
    store::{Row, Store, StoreError, Transaction, Value},
};

use super::{CHANNEL, LOCK, PLACED, texts};
use crate::store::statement;

/// Changes that are read at once.
const CHANGES_MAX: i64 = 10_000;

statement!(
    CHANGES,
    "owners",
    "SELECT agent, node, epoch FROM agent_owners WHERE epoch > ?1 ORDER BY epoch LIMIT ?2"
);
statement!(
    TAKE,
    "take_agents",
    "INSERT INTO agent_owners AS o (agent, node, epoch) \
     SELECT n.a, ?1, nextval('agent_epochs') FROM UNNEST(?2::text[]) AS n (a) \
     WHERE EXISTS (SELECT 1 FROM agent_nodes m WHERE m.node = ?1) \
     ON CONFLICT (agent) DO UPDATE SET node = excluded.node, epoch = excluded.epoch \
     WHERE NOT EXISTS (SELECT 1 FROM agent_nodes m WHERE m.node = o.node) RETURNING agent, epoch"
);
statement!(
    RELEASE,
    "release_agents",
    "UPDATE agent_owners AS o SET node = '', epoch = nextval('agent_epochs') \
     FROM UNNEST(?2::text[], ?3::bigint[]) AS n (a, e) WHERE o.agent = n.a AND o.epoch = n.e AND o.node = ?1"
);
statement!(
    DISOWN,
    "disown_agent",
    "UPDATE agent_owners SET node = '', epoch = nextval('agent_epochs') WHERE agent = ?1"
);
// Of agents that were removed, as far as all servers know that nobody runs them.
statement!(
    FORGET_OWNERS,
    "forget_owners",
    "DELETE FROM agent_owners AS o WHERE o.node = '' AND o.epoch <= (SELECT min(m.seen) FROM agent_nodes m) \
     AND NOT EXISTS (SELECT 1 FROM agents a WHERE a.tenant = split_part(o.agent, '/', 1) \
     AND a.name = substr(o.agent, strpos(o.agent, '/') + 1))"
);
statement!(FORGET_ARRIVALS, "forget_arrivals", "DELETE FROM agent_arrivals WHERE agent = ?1");
statement!(COUNTS, "count_owned", "SELECT node, count(*) AS agents FROM agent_owners GROUP BY node");
// What fits a mailbox is loaded as a whole, and the rest comes like what other servers write: in one look at the database,
// so that each message is one or the other.
statement!(
    DIVIDE,
    "divide_backlogs",
    "WITH w AS MATERIALIZED (SELECT n.a, i.place, i.nth <= n.b AS fits FROM UNNEST(?1::text[], ?2::bigint[]) AS n (a, b) \
     CROSS JOIN LATERAL (SELECT place, row_number() OVER (ORDER BY place) AS nth FROM agent_inbox WHERE agent = n.a) AS i), \
     here AS (DELETE FROM agent_arrivals AS r USING w WHERE w.fits AND r.agent = w.a AND r.place = w.place), \
     later AS (INSERT INTO agent_arrivals (agent, place) SELECT w.a, w.place FROM w WHERE NOT w.fits \
     ON CONFLICT DO NOTHING) \
     SELECT w.a AS agent, count(*) FILTER (WHERE w.fits) AS waiting, \
     coalesce(max(w.place) FILTER (WHERE w.fits), 0) AS until_place, \
     coalesce(max(w.place) FILTER (WHERE NOT w.fits), 0) AS surplus_until FROM w GROUP BY w.a"
);
// The first column is for its effect: a server that stops in the middle of a transaction must not keep others from
// taking its agents over.
statement!(
    HELD,
    "held",
    "SELECT set_config('idle_in_transaction_session_timeout', '3000', true) AS limited, o.agent, o.epoch \
     FROM agent_nodes m JOIN agent_owners o ON o.node = m.node \
     WHERE m.node = ?1 AND o.agent = ANY(?2::text[]) FOR KEY SHARE OF m"
);

/// An agent that a server runs from now on.
#[derive(Clone, Debug, Default)]
pub(crate) struct Taken {
    pub(crate) key: String,
    pub(crate) epoch: i64,
    /// How many of the messages that wait for it in the store fit its mailbox.
    pub(crate) waiting: usize,
    /// The last place of those; 0 if there are none.
    pub(crate) until: i64,
    /// The last place of those that do not fit: they are among its arrivals. 0 if all fit.
    pub(crate) surplus_until: i64,
}

/// How many agents each server runs.
pub(crate) async fn counts(store: &Store) -> Result<HashMap<String, u64>, StoreError> {
    let rows = store.query(&COUNTS, params![]).await?;
    rows.iter().map(|row| Ok((row.get("node")?, row.get("agents")?))).collect()
}

/// Who runs which agent, as far as it changed after an epoch: `agent, node, epoch`. Nobody is an empty text.
pub(crate) async fn changes(store: &Store, after: i64) -> Result<Vec<(String, String, i64)>, StoreError> {
    let mut changes = Vec::new();
    let mut last = after;
    loop {
        let rows = store.query(&CHANGES, params![last, CHANGES_MAX]).await?;
        let count = rows.len();
        for row in rows {
            last = row.get("epoch")?;
            changes.push((row.get("agent")?, row.get("node")?, last));
        }
        if count < CHANGES_MAX as usize {
            return Ok(changes);
        }
    }
}

/// Gives agents up, and takes others that nobody runs, as far as nobody was quicker: each with what waits for it, up to so
/// many messages.
pub(crate) async fn place(
    store: &Store,
    node: &str,
    release: Vec<(String, i64)>,
    take: Vec<(String, usize)>,
) -> Result<Vec<Taken>, StoreError> {
    let node = node.to_owned();
    store
        .write(move |tx| {
            Box::pin(async move {
                tx.query(&LOCK, params![]).await?;
                if !release.is_empty() {
                    let agents = texts(release.iter().map(|(agent, _)| agent.as_str()));
                    let epochs = Value::Array(release.iter().map(|(_, epoch)| Value::Int(*epoch)).collect());
                    tx.execute(&RELEASE, vec![Value::from(&node), agents, epochs]).await?;
                }
                let taken = if take.is_empty() { Vec::new() } else { taken(tx, &node, &take).await? };
                if !release.is_empty() || !taken.is_empty() {
                    tx.notify(CHANNEL, PLACED.to_owned()).await?;
                }
                Ok(taken)
            })
        })
        .await
}

async fn taken(tx: &mut Transaction, node: &str, take: &[(String, usize)]) -> Result<Vec<Taken>, StoreError> {
    let keys = texts(take.iter().map(|(key, _)| key.as_str()));
    let rows = tx.query(&TAKE, vec![Value::from(node), keys]).await?;
    let mut agents = Vec::with_capacity(rows.len());
    for row in &rows {
        agents.push(Taken { key: row.get("agent")?, epoch: row.get("epoch")?, ..Taken::default() });
    }
    if agents.is_empty() {
        return Ok(agents);
    }
    // After the rows are locked: whoever writes for these agents now sees whose they are, and announces it.
    let bounds: HashMap<&str, usize> = take.iter().map(|(key, bound)| (key.as_str(), *bound)).collect();
    let bound_of = |agent: &Taken| {
        let bound = bounds.get(agent.key.as_str()).copied().unwrap_or(1);
        Value::Int(i64::try_from(bound).unwrap_or(i64::MAX))
    };
    let keys = texts(agents.iter().map(|agent| agent.key.as_str()));
    let bounds = Value::Array(agents.iter().map(bound_of).collect());
    let rows = tx.query(&DIVIDE, vec![keys, bounds]).await?;
    let mut backlogs: HashMap<String, &Row> = HashMap::with_capacity(rows.len());
    for row in &rows {
        backlogs.insert(row.get("agent")?, row);
    }
    for agent in &mut agents {
        if let Some(row) = backlogs.get(&agent.key) {
            agent.waiting = row.get("waiting")?;
            agent.until = row.get("until_place")?;
            agent.surplus_until = row.get("surplus_until")?;
        }
    }
    Ok(agents)
}

/// Whoever ran an agent runs it no longer: it is removed.
pub(crate) async fn disown(tx: &mut Transaction, agent: &str) -> Result<(), StoreError> {
    tx.query(&LOCK, params![]).await?;
    tx.execute(&DISOWN, params![agent]).await?;
    tx.execute(&FORGET_ARRIVALS, params![agent]).await.map(|_| ())
}

/// Forgets that nobody runs agents that were removed, once every server knows.
pub(crate) async fn forget_owners(store: &Store) -> Result<(), StoreError> {
    store.execute(&FORGET_OWNERS, params![]).await.map(|_| ())
}

/// Which of these agents a server runs, and under which epochs. Until the transaction ends nobody takes them from it.
pub(crate) async fn held(
    tx: &mut Transaction,
    node: &str,
    agents: &[&str],
) -> Result<HashMap<String, i64>, StoreError> {
    if agents.is_empty() {
        return Ok(HashMap::new());
    }
    let rows = tx.query(&HELD, vec![Value::from(node), texts(agents.iter().copied())]).await?;
    rows.iter().map(|row| Ok((row.get("agent")?, row.get("epoch")?))).collect()
}
