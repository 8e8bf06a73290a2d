//! What has to be done once in a while: idle agents are put away, states are written, old things are forgotten.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use jiff::Timestamp;
use metrics::gauge;

use super::Agents;
use crate::{cell::ORDER_PARK, core::Core, metrics::AGENTS_AGENTS, remind::Reminders, store};

const TICK: Duration = Duration::from_secs(1);
/// How often old things are forgotten.
const FORGET_INTERVAL_S: u64 = 60;

pub(super) fn spawn(agents: &Agents) {
    let core = &agents.0.core;
    core.tasks.spawn("agents-reminders", Reminders::run(Arc::clone(core)));
    let (agents, stopping) = (agents.clone(), core.tasks.stop_token());
    core.tasks.spawn("agents-upkeep", async move {
        let mut interval = tokio::time::interval(TICK);
        loop {
            tokio::select! {
                _ = interval.tick() => {}
                () = stopping.cancelled() => break,
            }
            let tick = agents.0.core.tick.fetch_add(1, Ordering::Relaxed) + 1;
            look_after(&agents.0.core, tick);
            let count = agents.0.count.load(Ordering::Relaxed);
            gauge!(AGENTS_AGENTS, "state" => "all").set(count as f64);
            if tick.is_multiple_of(FORGET_INTERVAL_S) {
                forget(&agents).await;
            }
        }
    });
}

/// Sees to it that agents that wait for messages see that the server stops.
pub(super) fn end_with_server(core: &Arc<Core>) {
    let (core, stopping) = (Arc::clone(core), core.tasks.stop_token());
    let tasks = core.tasks.clone();
    tasks.spawn("agents-end", async move {
        stopping.cancelled().await;
        core.awake.pin().values().for_each(|cell| {
            cell.mailbox.nudge();
        });
    });
}

/// Puts idle agents away, the sooner the more are awake, and has the others write what they changed.
fn look_after(core: &Core, tick: u64) {
    let awake = core.awake.pin();
    let count = awake.len();
    gauge!(AGENTS_AGENTS, "state" => "awake").set(count as f64);
    let park_before =
        if count > core.limits.awake_max { tick } else { tick.saturating_sub(core.limits.park_after_s) };
    let write_before = tick.saturating_sub(core.limits.checkpoint_interval_s);
    for cell in awake.values() {
        if cell.mailbox.is_idle_since(park_before) {
            cell.order(ORDER_PARK);
            cell.mailbox.nudge_if_idle_since(park_before);
        } else {
            cell.mailbox.nudge_once_idle_since(write_before);
        }
    }
}

async fn forget(agents: &Agents) {
    let options = agents.0.options.current();
    let (store, now) = (&agents.0.core.store, Timestamp::now());
    let before = |age: Duration| now.checked_sub(age).unwrap_or(Timestamp::UNIX_EPOCH);
    let (seen, entries) = (before(options.dedup_window.get()), before(options.conversations_retention.get()));
    loop {
        let more = match store::forget_seen(store, seen).await {
            Ok(more) => more,
            Err(error) => {
                tracing::warn!(%error, "old messages could not be forgotten");
                return;
            }
        };
        let more_entries = store::forget_entries(store, entries).await.unwrap_or(false);
        if !(more || more_entries) || agents.0.core.tasks.is_stopping() {
            return;
        }
    }
}
