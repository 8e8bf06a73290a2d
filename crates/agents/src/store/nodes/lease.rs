//! Which servers there are: each has a row, which is its lease.

use std::collections::BTreeMap;

use paddock_platform::{
    params,
    store::{Row, Store, StoreError},
};

use super::{CHANNEL, LOCK, PLACED};
use crate::store::statement;

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
