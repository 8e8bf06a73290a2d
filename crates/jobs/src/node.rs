//! This server among those that share its store: a number for ids, and a name for attempts.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use paddock_platform::{
    params,
    store::{Row, Store, StoreError, Transaction},
};

use crate::{core::Core, id::NODES_MAX, store::sql, verdict::later};

/// How often a server says that it is there.
const SEEN_INTERVAL: Duration = Duration::from_secs(30);
/// A server that was silent for so long has lost its number.
const SILENT_MAX: Duration = Duration::from_mins(5);

/// A server.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) number: u16,
    pub(crate) name: String,
}

impl Node {
    /// Takes the lowest number that no living server has.
    pub(crate) async fn take(store: &Store, now: Timestamp) -> Result<Self, StoreError> {
        let token = uuid::Uuid::new_v4().simple().to_string();
        let shared = store.is_shared();
        store
            .write(move |tx| {
                Box::pin(async move {
                    tx.query(&sql::LOCK, params!["job_nodes"]).await?;
                    let number = if shared { free_number(tx, now).await? } else { 0 };
                    let name = format!("server-{number}-{}", &token[..8]);
                    tx.execute(&sql::TAKE_NODE, params![number, &name, now]).await?;
                    Ok(Self { number, name })
                })
            })
            .await
    }

    /// Gives the number back.
    pub(crate) async fn leave(&self, store: &Store) {
        let params = params![self.number, &self.name];
        if let Err(error) = store.execute(&sql::LEAVE_NODE, params).await {
            tracing::debug!(%error, "this server's number was not given back; it lapses by itself");
        }
    }
}

async fn free_number(tx: &mut Transaction, now: Timestamp) -> Result<u16, StoreError> {
    let alive = |row: &Row| {
        let seen: Timestamp = row.get(2_usize)?;
        Ok::<_, StoreError>((later(seen, SILENT_MAX) > now).then_some(row.get::<u16>(0_usize)?))
    };
    let rows = tx.query(&sql::NODES, params![]).await?;
    let taken: Vec<u16> = rows.iter().map(alive).filter_map(Result::transpose).collect::<Result<_, _>>()?;
    let free = (0..NODES_MAX).find(|number| !taken.contains(number));
    free.ok_or_else(|| StoreError::Options(format!("{NODES_MAX} servers share this store already")))
}

/// Says now and then that this server is there.
pub(crate) fn spawn(core: &Arc<Core>) {
    if !core.store.is_shared() {
        return;
    }
    let (core, tasks) = (Arc::clone(core), core.tasks.clone());
    let stopping = tasks.stop_token();
    tasks.spawn("jobs-node", async move {
        let mut interval = tokio::time::interval(SEEN_INTERVAL);
        while stopping.run_until_cancelled(interval.tick()).await.is_some() {
            let node = &core.node;
            let seen = core.store.execute(&sql::SEE_NODE, params![node.number, &node.name, core.now()]).await;
            if let Err(error) = seen {
                tracing::warn!(%error, "this server cannot say that it is there; trying again");
            }
        }
    });
}
