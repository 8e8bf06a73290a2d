//! Hears what the other servers did.

use std::sync::Arc;

use jiff::Timestamp;
use tokio::sync::broadcast::error::RecvError;

use crate::{
    EventKind, JobEvent,
    core::Core,
    dispatch::Lane,
    ledger::{Announcement, CHANNEL},
};

/// Listens while the server runs. A store that nobody shares is silent.
pub(crate) fn spawn(core: &Arc<Core>) {
    if !core.store.is_shared() {
        return;
    }
    let mut heard = core.store.listen(CHANNEL, &core.tasks);
    let (core, tasks) = (Arc::clone(core), core.tasks.clone());
    let stopping = tasks.stop_token();
    tasks.spawn("jobs-hear", async move {
        let hear = async {
            loop {
                match heard.recv().await {
                    Ok(text) => take(&core, &text).await,
                    Err(RecvError::Lagged(_)) => look_everywhere(&core).await,
                    Err(RecvError::Closed) => return,
                }
            }
        };
        let _ = stopping.run_until_cancelled(hear).await;
    });
}

/// Something may have been missed.
async fn look_everywhere(core: &Core) {
    core.supply.look();
    core.waiters.tell_all();
    core.beat_now.notify_one();
    if let Err(error) = core.read_modes().await {
        tracing::debug!(%error, "the modes of queues cannot be read now");
    }
}

async fn take(core: &Core, text: &str) {
    let Ok(announcement) = serde_json::from_str::<Announcement>(text) else {
        return look_everywhere(core).await;
    };
    if announcement.node == core.node.name {
        return;
    }
    if announcement.all {
        look_everywhere(core).await;
    }
    let lane = |(queue, pool, tenant): (String, String, String)| {
        Some(Lane { queue: queue.into(), pool: pool.into(), tenant: tenant.parse().ok()? })
    };
    core.supply.lanes(announcement.lanes.into_iter().filter_map(lane).collect());
    if announcement.queues.iter().any(String::is_empty) && core.read_modes().await.is_err() {
        core.supply.look();
    }
    core.supply.freed(announcement.queues.into_iter().map(Into::into).collect());
    for (key, tenant) in announcement.jobs {
        core.waiters.tell(key);
        if core.running.has(key) {
            core.beat_now.notify_one();
        }
        if let Ok(tenant) = tenant.parse() {
            core.tell(|| JobEvent {
                id: core.ids.of(&tenant, key),
                tenant: tenant.clone(),
                queue: "".into(),
                kind: "".into(),
                sequence: 0,
                at: Timestamp::now(),
                attempt: 0,
                parent: None,
                what: EventKind::Changed,
            });
        }
    }
}
