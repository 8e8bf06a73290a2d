//! What other servers have for this one.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use paddock_platform::bus::{Bus, Heard, Subscription};

use super::{
    subject,
    wire::{self, Frame, Outcome, Told},
};
use crate::{
    cell::Cell,
    core::Core,
    mailbox::{Delivery, Pushed},
    message::{Address, Message},
    space::Space,
};

/// The wait before listening is tried again.
const LISTEN_WAIT: Duration = Duration::from_secs(1);
/// How long the messages of one lot wait for room together, where mailboxes say that senders wait.
const BLOCK_MAX: Duration = Duration::from_secs(1);

async fn listen(bus: &Bus, subject: &str) -> Subscription {
    loop {
        match bus.subscribe(subject).await {
            Ok(subscription) => return subscription,
            Err(error) => {
                tracing::warn!(%error, "the bus cannot be listened to; trying again");
                tokio::time::sleep(LISTEN_WAIT).await;
            }
        }
    }
}

/// Takes messages from other servers.
pub(super) async fn deliveries(core: Arc<Core>) {
    let Some(nodes) = &core.nodes else { return };
    let mut lots = listen(&nodes.bus, &subject(&nodes.server, "deliver")).await;
    while let Some(lot) = lots.next().await {
        let Some(frames) = wire::read(lot.body.clone()) else {
            tracing::error!("what came over the bus are no messages");
            continue;
        };
        // A server sends its next lot when it has heard of the one before: those of others need not wait for that.
        core.tasks.spawn("agents-delivery", answer(Arc::clone(&core), lot, frames));
    }
}

/// Puts the messages of a lot into their mailboxes, and says what became of each.
async fn answer(core: Arc<Core>, lot: Heard, frames: Vec<Frame>) {
    let deadline = tokio::time::Instant::now() + BLOCK_MAX;
    let mut told = Vec::with_capacity(frames.len());
    for frame in frames {
        told.push(take(&core, frame, deadline).await);
    }
    let told = serde_json::to_vec(&told).unwrap_or_default();
    if let Err(error) = lot.answer(Bytes::from(told)).await {
        tracing::warn!(%error, "another server does not hear what became of its messages");
    }
}

/// Hears that durable messages are there.
pub(super) async fn hints(core: Arc<Core>) {
    let Some(nodes) = &core.nodes else { return };
    let mut hints = listen(&nodes.bus, &subject(&nodes.server, "look")).await;
    while hints.next().await.is_some() {
        nodes.changed.notify_one();
    }
}

/// Tells other servers that durable messages are there for them.
pub(super) async fn tell_hints(core: Arc<Core>) {
    const BATCH: usize = 256;
    let Some(nodes) = &core.nodes else { return };
    let Some(mut hinted) = nodes.hinted.lock().ok().and_then(|mut hinted| hinted.take()) else { return };
    let mut servers = Vec::new();
    while hinted.recv_many(&mut servers, BATCH).await > 0 {
        servers.sort_unstable();
        servers.dedup();
        for server in servers.drain(..) {
            // Who is not told looks by itself.
            let _ = nodes.bus.publish(&subject(&server, "look"), Bytes::new()).await;
        }
    }
}

async fn take(core: &Arc<Core>, frame: Frame, deadline: tokio::time::Instant) -> Told {
    let Frame { tenant, to, message } = frame;
    let (space, message) = (core.space(&tenant), Arc::new(message));
    match &to {
        Address::Agent(name) => match space.agent(name) {
            Some(cell) => put(core, &cell, &message, deadline).await,
            None => (Outcome::Nobody, 0),
        },
        Address::Topic(_) => {
            publish(core, &space, &to, &message);
            (Outcome::Taken, 0)
        }
        Address::Caller(asker) => {
            (if space.answer(asker, &message) { Outcome::Taken } else { Outcome::Nobody }, 0)
        }
        Address::Capability { .. } => (Outcome::Nobody, 0),
    }
}

async fn put(
    core: &Arc<Core>,
    cell: &Arc<Cell>,
    message: &Arc<Message>,
    deadline: tokio::time::Instant,
) -> Told {
    let push = || cell.mailbox.push(Delivery::new(Arc::clone(message)));
    let mut pushed = push();
    if matches!(pushed, Pushed::Full) && cell.mailbox.blocks() {
        let room = cell.mailbox.room(|| match push() {
            Pushed::Full => None,
            pushed => Some(pushed),
        });
        pushed = tokio::time::timeout_at(deadline, room).await.unwrap_or(Pushed::Full);
    }
    let outcome = match pushed {
        Pushed::Queued => Outcome::Taken,
        Pushed::Asleep => {
            core.run(cell);
            Outcome::Taken
        }
        Pushed::Shed(shed) => {
            core.bury_shed(cell, &shed.message);
            Outcome::Taken
        }
        Pushed::Full => Outcome::Full,
        Pushed::Closed => Outcome::Stopped,
        Pushed::Away => Outcome::Moved,
    };
    (outcome, cell.mailbox.len())
}

/// Gives a message to a topic's subscribers that this server runs.
fn publish(core: &Arc<Core>, space: &Arc<Space>, topic: &Address, message: &Arc<Message>) {
    let mut cells = Vec::new();
    space.each(topic, |cell| cells.push(Arc::clone(cell)));
    cells.retain(|cell| cell.mailbox.epoch() != crate::mailbox::AWAY);
    core.put_all(space, &cells, message);
}
