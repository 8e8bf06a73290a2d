//! Servers that share the agents: which there are, who runs which agent, and which messages came for whom. PostgreSQL only.
//!
//! A server's row is its lease, by the database's clock. Removing the row ends it: a transaction that writes what an agent
//! did locks the row of its server against that ([`held`]), so that nothing is written under a lease that has ended. The
//! id of a row is never used again.
//!
//! Who runs which agent changes under one lock ([`LOCK`]), so that epochs are in the order in which they were committed.

use std::collections::{BTreeMap, HashMap};

use paddock_platform::{
    params,
    store::{Params, Row, Store, StoreError, Transaction, Value},
};

use super::statement;

/// Where servers that share a store tell each other that something changed.
pub(crate) const CHANNEL: &str = "paddock_agents";
/// What is told when a server comes or goes, or agents go to another.
pub(crate) const PLACED: &str = "placed";
/// What is told before the key of an agent that is another, or removed.
pub(crate) const AGENT: &str = "agent:";
/// Changes that are read at once.
const CHANGES_MAX: i64 = 10_000;

// The number says whose lock it is.
statement!(LOCK, "lock_placement", "SELECT pg_advisory_xact_lock(7306093012)::text");
statement!(
    JOIN,
    "join_node",
    "INSERT INTO agent_nodes (node, name, labels, weight, started_at, renewed_at, expires_at, awake, is_full, seen) \
     SELECT ?1, ?2, ?3, ?4::bigint, c.now, c.now, c.now + ?5::bigint, 0, false, 0 \
     FROM (SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint AS now) AS c"
);
statement!(
    RENEW,
    "renew_node",
    "UPDATE agent_nodes SET renewed_at = c.now, expires_at = c.now + ?2::bigint, awake = ?3, is_full = ?4, seen = ?5 \
     FROM (SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint AS now) AS c WHERE node = ?1"
);
statement!(LEAVE, "leave_node", "DELETE FROM agent_nodes WHERE node = ?1");
statement!(
    EXPIRED,
    "expired_nodes",
    "SELECT node FROM agent_nodes WHERE expires_at < (extract(epoch FROM clock_timestamp()) * 1000)::bigint"
);
// One that is in the middle of a transaction is left for the next time: its transaction is ended before long.
statement!(
    EXPEL,
    "expel_nodes",
    "DELETE FROM agent_nodes WHERE node IN (SELECT node FROM agent_nodes \
     WHERE expires_at < (extract(epoch FROM clock_timestamp()) * 1000)::bigint FOR UPDATE SKIP LOCKED) RETURNING node"
);
statement!(
    MEMBERS,
    "nodes",
    "SELECT node, name, labels, weight, started_at, renewed_at, expires_at, awake, is_full, \
     (extract(epoch FROM clock_timestamp()) * 1000)::bigint AS now FROM agent_nodes ORDER BY node"
);
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
statement!(
    ARRIVE,
    "arrive",
    "INSERT INTO agent_arrivals (agent, place) SELECT n.a, n.p FROM UNNEST(?1::text[], ?2::bigint[]) AS n (a, p) \
     ON CONFLICT DO NOTHING"
);
statement!(
    ARRIVALS,
    "arrivals",
    "SELECT a.agent, o.epoch, count(*) AS waiting FROM agent_arrivals a JOIN agent_owners o ON o.agent = a.agent \
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

/// A server that runs agents, as it says itself.
#[derive(Clone, Debug)]
pub(crate) struct NodeRow {
    pub(crate) node: String,
    pub(crate) name: String,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) weight: u32,
}

/// A server that runs agents.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    pub(crate) row: NodeRow,
    pub(crate) started_at: i64,
    /// How long ago its lease was renewed, and how long it still is, in milliseconds.
    pub(crate) renewed_ms: i64,
    pub(crate) left_ms: i64,
    pub(crate) awake: u64,
    pub(crate) is_full: bool,
}

/// How much a server does.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Busy {
    pub(crate) awake: u64,
    pub(crate) is_full: bool,
    /// The last epoch that it knows of.
    pub(crate) seen: i64,
}

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

fn texts<'a>(of: impl Iterator<Item = &'a str>) -> Value {
    Value::Array(of.map(Value::from).collect())
}

/// Begins a lease.
pub(crate) async fn join(store: &Store, row: NodeRow, lease_ms: i64) -> Result<(), StoreError> {
    let labels = serde_json::to_string(&row.labels).unwrap_or_default();
    store
        .write(move |tx| {
            Box::pin(async move {
                tx.query(&LOCK, params![]).await?;
                tx.execute(&JOIN, params![row.node, row.name, labels, row.weight, lease_ms]).await?;
                tx.notify(CHANNEL, PLACED.to_owned()).await
            })
        })
        .await
}

/// Goes on with a lease. Gives whether it still is one.
pub(crate) async fn renew(store: &Store, node: &str, lease_ms: i64, busy: Busy) -> Result<bool, StoreError> {
    let awake = i64::try_from(busy.awake).unwrap_or(i64::MAX);
    let params = params![node, lease_ms, awake, busy.is_full, busy.seen];
    Ok(store.execute(&RENEW, params).await? == 1)
}

/// Ends a lease: others take its agents at once.
pub(crate) async fn leave(store: &Store, node: &str) -> Result<(), StoreError> {
    let node = node.to_owned();
    store
        .write(move |tx| {
            Box::pin(async move {
                tx.query(&LOCK, params![]).await?;
                tx.execute(&LEAVE, params![node]).await?;
                tx.notify(CHANNEL, PLACED.to_owned()).await
            })
        })
        .await
}

/// Ends leases that are over. Gives whose.
pub(crate) async fn expel(store: &Store) -> Result<Vec<String>, StoreError> {
    if store.query(&EXPIRED, params![]).await?.is_empty() {
        return Ok(Vec::new());
    }
    store
        .write(move |tx| {
            Box::pin(async move {
                tx.query(&LOCK, params![]).await?;
                let gone = tx.query(&EXPEL, params![]).await?;
                if !gone.is_empty() {
                    tx.notify(CHANNEL, PLACED.to_owned()).await?;
                }
                gone.iter().map(|row| row.get("node")).collect()
            })
        })
        .await
}

/// The servers that there are.
pub(crate) async fn members(store: &Store) -> Result<Vec<Member>, StoreError> {
    let rows = store.query(&MEMBERS, params![]).await?;
    rows.iter().map(member).collect()
}

fn member(row: &Row) -> Result<Member, StoreError> {
    let labels: String = row.get("labels")?;
    let now: i64 = row.get("now")?;
    Ok(Member {
        row: NodeRow {
            node: row.get("node")?,
            name: row.get("name")?,
            labels: serde_json::from_str(&labels).unwrap_or_default(),
            weight: row.get("weight")?,
        },
        started_at: row.get("started_at")?,
        renewed_ms: (now - row.get::<i64>("renewed_at")?).max(0),
        left_ms: row.get::<i64>("expires_at")? - now,
        awake: row.get("awake")?,
        is_full: row.get("is_full")?,
    })
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

/// Messages are there for agents of other servers: `agent, place`.
pub(crate) async fn arrive(tx: &mut Transaction, arrivals: &[Params]) -> Result<(), StoreError> {
    tx.execute_each(&ARRIVE, arrivals).await.map(|_| ())
}

/// For which agents of a server messages came from others, and how many: `agent, epoch, count`.
pub(crate) async fn arrivals(store: &Store, node: &str) -> Result<Vec<(String, i64, usize)>, StoreError> {
    let rows = store.query(&ARRIVALS, params![node]).await?;
    rows.iter().map(|row| Ok((row.get("agent")?, row.get("epoch")?, row.get("waiting")?))).collect()
}

/// Takes messages that came from other servers for an agent that this one still runs under an epoch.
pub(crate) async fn pick(
    store: &Store,
    node: &str,
    agent: &str,
    epoch: i64,
    max: usize,
) -> Result<Vec<super::InboxRow>, StoreError> {
    let (node, agent) = (node.to_owned(), agent.to_owned());
    let max = i64::try_from(max).unwrap_or(i64::MAX);
    store
        .write(move |tx| {
            Box::pin(async move {
                if held(tx, &node, &[&agent]).await?.get(&agent) != Some(&epoch) {
                    return Ok(Vec::new());
                }
                let rows = tx.query(&PICK, params![agent, max]).await?;
                rows.iter().map(super::inbox::read).collect()
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
