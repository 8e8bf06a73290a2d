//! A server's lease: begun, renewed, and lost.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use metrics::{counter, gauge};
use paddock_platform::store::StoreError;
use serde_json::json;
use tokio::time::Instant;

use super::{Nodes, term::Term};
use crate::{
    core::Core,
    metrics::{AGENTS_LEASE_LEFT_SECONDS, AGENTS_LEASES_LOST_TOTAL},
    store::nodes::{self, Busy, NodeRow},
};

/// The wait before a lease is asked for again.
const JOIN_WAIT: Duration = Duration::from_millis(500);
/// How long agents may take to write what they did when the server stops.
const STOP_WAIT: Duration = Duration::from_secs(8);
/// How long giving a lease back may take.
const LEAVE_WAIT: Duration = Duration::from_secs(2);

/// Keeps a lease, until the server stops.
pub(super) async fn run(core: Arc<Core>) {
    let Some(nodes) = core.nodes.clone() else { return };
    let stopping = core.tasks.stop_token();
    let mut number = 0_u64;
    while !core.tasks.is_stopping() {
        number += 1;
        let Some(term) = stopping.run_until_cancelled(begin(&core, &nodes, number)).await else { return };
        nodes.set_term(Some(Arc::clone(&term)));
        nodes.poke();
        let lost = stopping.run_until_cancelled(keep(&core, &nodes, &term)).await;
        if let Some(reason) = lost {
            cut_off(&core, &nodes, &term, reason).await;
        } else {
            give_back(&core, &term).await;
        }
    }
}

async fn begin(core: &Core, nodes: &Nodes, number: u64) -> Arc<Term> {
    let node: Arc<str> = Arc::from(format!("{}.{number}", nodes.server));
    loop {
        let row = NodeRow {
            node: node.to_string(),
            name: nodes.name.clone(),
            labels: nodes.options.labels.clone(),
            weight: nodes.options.weight,
        };
        let asked = Instant::now();
        let lease_ms = i64::try_from(nodes.options.lease().as_millis()).unwrap_or(i64::MAX);
        match nodes::join(&core.store, row, lease_ms).await {
            Ok(()) => {
                let term = Term::begin(node, asked, nodes.options.term(), &core.tasks.stop_token());
                tracing::info!(node = &*term.node, name = nodes.name, "this server runs agents");
                return Arc::new(term);
            }
            // Whether it was kept is not known: the row of that number ends by itself.
            Err(error) => {
                tracing::warn!(%error, "this server has no lease, and runs no agents; trying again");
                let _ = nodes::leave(&core.store, &node).await;
                tokio::time::sleep(JOIN_WAIT).await;
            }
        }
    }
}

/// Renews it. Gives why that was not possible.
async fn keep(core: &Core, nodes: &Nodes, term: &Term) -> &'static str {
    let lease_ms = i64::try_from(nodes.options.lease().as_millis()).unwrap_or(i64::MAX);
    let mut next = Instant::now();
    loop {
        next += nodes.options.heartbeat();
        if tokio::time::timeout_at(term.until(), tokio::time::sleep_until(next)).await.is_err() {
            return "late";
        }
        let asked = Instant::now();
        // A server that was stopped finds its lease over, and does not ask for what is over.
        if !term.is_live() {
            return "late";
        }
        let renewing = nodes::renew(&core.store, &term.node, lease_ms, busy(core, nodes));
        let renewed: Result<bool, StoreError> = match tokio::time::timeout_at(term.until(), renewing).await {
            Ok(renewed) => renewed,
            Err(_) => return "late",
        };
        match renewed {
            Ok(true) => term.extend(asked, nodes.options.term()),
            Ok(false) => return "expelled",
            Err(error) => tracing::warn!(%error, "the lease of this server was not renewed"),
        }
        gauge!(AGENTS_LEASE_LEFT_SECONDS).set(term.left().as_secs_f64());
        next = next.max(asked);
    }
}

fn busy(core: &Core, nodes: &Nodes) -> Busy {
    let awake = core.awake.pin().len();
    Busy {
        awake: awake as u64,
        is_full: awake > core.limits.awake_max,
        seen: nodes.seen.load(Ordering::Acquire),
    }
}

/// The lease is over: nothing goes on here, and others take over when the store's clock says so too, or at once if the
/// store can be told.
async fn cut_off(core: &Arc<Core>, nodes: &Arc<Nodes>, term: &Term, reason: &'static str) {
    term.end();
    nodes.set_term(None);
    counter!(AGENTS_LEASES_LOST_TOTAL, "reason" => reason).increment(1);
    gauge!(AGENTS_LEASE_LEFT_SECONDS).set(0.0);
    let cells: Vec<_> = nodes.here().values().cloned().collect();
    tracing::error!(reason, agents = cells.len(), "the lease of this server is over; its agents stop here");
    nodes.left(core, &cells);
    let data = json!({ "reason": reason, "agents": cells.len() });
    super::view::publish(core, "lost", &nodes.name, data);
    let _ = tokio::time::timeout(LEAVE_WAIT, nodes::leave(&core.store, &term.node)).await;
}

/// The server stops: its agents go to others as soon as they have written what they did.
async fn give_back(core: &Core, term: &Term) {
    let until = (Instant::now() + STOP_WAIT).min(term.until());
    core.lives.close();
    let _ = tokio::time::timeout_at(until, core.lives.wait()).await;
    let _ = tokio::time::timeout(LEAVE_WAIT, nodes::leave(&core.store, &term.node)).await;
}
