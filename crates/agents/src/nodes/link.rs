//! Messages in memory for agents of other servers: one line for each server, so that they stay in order.
//!
//! What waits for a server is sent together, and the next lot goes when it has said what became of the one before. A line
//! that is full refuses, a server that does not answer costs what was on its way.
//!
//! When an agent moves, what comes back is held before what was sent since. What comes back only once it is known where the
//! agent is now may be late: nobody waits for the line to a server that may not answer.

use std::{
    collections::VecDeque,
    sync::{Arc, PoisonError, Weak},
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use metrics::counter;
use paddock_platform::bus::BusError;
use tokio::sync::mpsc;

use super::{
    Nodes, To, subject,
    wire::{self, Outcome, Told},
};
use crate::{
    cell::Cell,
    core::{Core, Trouble},
    dead::DeadReason,
    mailbox::AWAY,
    message::{Address, Message},
    metrics::AGENTS_PASSED_TOTAL,
    space::Space,
};

/// Messages that are sent together at most, and about how many bytes.
const BATCH_MAX: usize = 256;
const BATCH_BYTES: usize = 512 << 10;
/// What a frame may have around it on the bus.
const MARGIN: usize = 1 << 10;
/// How long a server may take to say what became of messages.
const ANSWER_WAIT: Duration = Duration::from_secs(5);
/// For how long sending is tried where nothing can have arrived, and how often.
const TRY_FOR: Duration = Duration::from_secs(3);
const TRY_WAIT: Duration = Duration::from_millis(100);

const NO_ROOM: &str =
    "nobody runs it at the moment, and as much as may waits for that (`agents.pending_max`)";

/// A message that goes to another server.
pub(super) struct Outgoing {
    space: Arc<Space>,
    to: To,
    message: Arc<Message>,
    /// Since when it is on its way.
    since: Instant,
}

/// What became of a message for an agent that is not here.
pub(crate) enum Passed {
    /// It is on its way, or waits for somebody to run the agent.
    On,
    /// The agent has come here meanwhile.
    Here,
    /// It does not get it.
    Trouble(Trouble),
}

impl Outgoing {
    fn to_others(space: &Arc<Space>, to: &Address, message: &Arc<Message>) -> Self {
        let (space, to, message) = (Arc::clone(space), To::Others(to.clone()), Arc::clone(message));
        Self { space, to, message, since: Instant::now() }
    }
}

pub(super) fn unreachable(cell: Option<&Cell>, detail: impl Into<String>) -> Trouble {
    Trouble::new(cell.map(|cell| &cell.name), DeadReason::Unreachable, detail)
}

impl Nodes {
    /// Passes a message in memory on to the server that runs its agent.
    pub(crate) fn pass(
        &self,
        core: &Arc<Core>,
        cell: &Arc<Cell>,
        message: &Arc<Message>,
        since: Instant,
    ) -> Passed {
        if let Some(server) = cell.owner() {
            return self.pass_to(core, &server, cell, message, since);
        }
        let mut waiting = self.waiting();
        // Who runs it may have become known meanwhile: what waited goes first then.
        if cell.mailbox.epoch() != AWAY {
            return Passed::Here;
        }
        if let Some(server) = cell.owner() {
            drop(waiting);
            return self.pass_to(core, &server, cell, message, since);
        }
        if waiting.add(cell, Arc::clone(message), since) {
            self.changed.notify_one();
            return Passed::On;
        }
        Passed::Trouble(unreachable(Some(cell), NO_ROOM))
    }

    fn pass_to(
        &self,
        core: &Arc<Core>,
        server: &Arc<str>,
        cell: &Arc<Cell>,
        message: &Arc<Message>,
        since: Instant,
    ) -> Passed {
        let (space, to, message) =
            (Arc::clone(&cell.space), To::Agent(Arc::clone(cell)), Arc::clone(message));
        if self.post(core, server, Outgoing { space, to, message, since }) {
            return Passed::On;
        }
        let detail = "as much as may waits for the server that runs it (`agents.pending_max`)";
        Passed::Trouble(Trouble::new(Some(&cell.name), DeadReason::Full, detail))
    }

    /// Puts a message into the line of a server. Gives whether there was room.
    fn post(&self, core: &Arc<Core>, server: &Arc<str>, outgoing: Outgoing) -> bool {
        let mut links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        let link = links.entry(Arc::clone(server)).or_insert_with(|| {
            let (sender, receiver) = mpsc::channel(self.pending_max);
            let stopping = core.tasks.stop_token();
            let run = run(Arc::downgrade(core), Arc::clone(server), receiver);
            core.tasks.spawn("agents-link", async move {
                let _ = stopping.run_until_cancelled(run).await;
            });
            sender
        });
        link.try_send(outgoing).is_ok()
    }

    /// Passes an answer on to the server where somebody waits for it. Gives whether there is one.
    pub(crate) fn pass_answer(
        &self,
        core: &Arc<Core>,
        space: &Arc<Space>,
        to: &Address,
        message: &Arc<Message>,
    ) -> bool {
        let Address::Caller(asker) = to else { return false };
        let server = self.server_of_asker(asker);
        server.is_some_and(|server| self.post(core, &server, Outgoing::to_others(space, to, message)))
    }

    /// Passes a message for a topic's subscribers on to all other servers.
    pub(crate) fn pass_topic(
        &self,
        core: &Arc<Core>,
        space: &Arc<Space>,
        topic: &Address,
        message: &Arc<Message>,
    ) {
        for member in self.members().iter() {
            let server = super::server_of(&member.row.node);
            if server != &*self.server
                && !self.post(core, &Arc::from(server), Outgoing::to_others(space, topic, message))
            {
                counter!(AGENTS_PASSED_TOTAL, "outcome" => "full").increment(1);
            }
        }
    }

    /// Forgets the lines to servers that are gone: what waits in them is seen to by their tasks.
    pub(super) fn keep_links(&self, is_there: impl Fn(&str) -> bool) {
        let mut links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        links.retain(|server, _| is_there(server));
    }

    /// The server that runs an agent is another, and known: what waited for that goes there, in order.
    pub(super) fn route(&self, core: &Arc<Core>, cell: &Arc<Cell>, server: Arc<str>) {
        let mut waiting = self.waiting();
        let held = waiting.take(&cell.key);
        let mut troubles = Vec::new();
        for (since, message) in held {
            if let Passed::Trouble(trouble) = self.pass_to(core, &server, cell, &message, since) {
                troubles.push((message, trouble));
            }
        }
        cell.set_owner(Some(server));
        drop(waiting);
        for (message, trouble) in troubles {
            core.troubled(&cell.space, &message, vec![trouble]);
        }
    }
}

/// Sends what waits in a line, until it is forgotten.
async fn run(core: Weak<Core>, server: Arc<str>, mut receiver: mpsc::Receiver<Outgoing>) {
    let mut batch = Vec::new();
    while receiver.recv_many(&mut batch, BATCH_MAX).await > 0 {
        let Some(core) = core.upgrade() else { return };
        let Some(nodes) = &core.nodes else { return };
        let mut frames: VecDeque<(Outgoing, BytesMut)> = batch.drain(..).map(framed).collect();
        let size_max = BATCH_BYTES.min(nodes.bus.body_max().saturating_sub(MARGIN).max(MARGIN));
        while !frames.is_empty() {
            let (mut body, mut lot) = (BytesMut::new(), Vec::new());
            while let Some((_, frame)) = frames.front()
                && (lot.is_empty() || body.len() + frame.len() <= size_max)
                && let Some((outgoing, frame)) = frames.pop_front()
            {
                body.unsplit(frame);
                lot.push(outgoing);
            }
            send(&core, nodes, &server, lot, body.freeze()).await;
        }
    }
}

fn framed(outgoing: Outgoing) -> (Outgoing, BytesMut) {
    let to = match &outgoing.to {
        To::Agent(cell) => cell.name.as_str().to_owned(),
        To::Others(address) => address.to_string(),
    };
    let frame = wire::write(&outgoing.space.tenant, &to, &outgoing.message);
    (outgoing, frame)
}

async fn send(core: &Arc<Core>, nodes: &Arc<Nodes>, server: &Arc<str>, lot: Vec<Outgoing>, body: Bytes) {
    let began = Instant::now();
    let subject = subject(server, "deliver");
    let told = loop {
        match nodes.bus.request(&subject, body.clone(), ANSWER_WAIT).await {
            // Nothing arrived, and the bus may be back soon.
            Err(BusError::Unreachable(_)) if began.elapsed() < TRY_FOR && nodes.is_member(server) => {
                tokio::time::sleep(TRY_WAIT).await;
            }
            answered => break answered,
        }
    };
    let told: Result<Vec<Told>, BusError> =
        told.map(|told| serde_json::from_slice(&told).unwrap_or_default());
    let outcome = told.as_ref().map_or("failed", |_| "ok");
    counter!(AGENTS_PASSED_TOTAL, "outcome" => outcome).increment(lot.len() as u64);
    match told {
        Ok(told) => {
            let told = told.into_iter().map(Some).chain(std::iter::repeat(None));
            for (outgoing, told) in lot.into_iter().zip(told) {
                settle(core, nodes, outgoing, told);
            }
        }
        Err(error) => {
            // Nothing arrived, and the server is not there: whoever runs its agents next gets it.
            let is_gone = match &error {
                BusError::NobodyListens => true,
                BusError::Unreachable(_) => !nodes.is_member(server),
                _ => false,
            };
            for outgoing in lot {
                match &outgoing.to {
                    To::Agent(cell) if is_gone => hold(core, nodes, cell, &outgoing.message, outgoing.since),
                    _ => fail(core, &outgoing, &error.to_string()),
                }
            }
        }
    }
}

/// A message comes back: the server that it went to does not run its agent any more.
fn hold(core: &Arc<Core>, nodes: &Nodes, cell: &Arc<Cell>, message: &Arc<Message>, since: Instant) {
    let mut waiting = nodes.waiting();
    if cell.mailbox.epoch() != AWAY {
        drop(waiting);
        core.put_again(cell, message);
        return;
    }
    // Until it is looked who runs it: what is sent meanwhile waits behind this one.
    cell.set_owner(None);
    let is_held = waiting.add_returned(cell, Arc::clone(message), since);
    drop(waiting);
    nodes.changed.notify_one();
    if !is_held {
        core.troubled(&cell.space, message, vec![unreachable(Some(cell), NO_ROOM)]);
    }
}

fn fail(core: &Arc<Core>, outgoing: &Outgoing, detail: &str) {
    let trouble = match &outgoing.to {
        To::Agent(cell) => {
            unreachable(Some(cell), format!("the server that runs it does not take it: {detail}"))
        }
        // Nobody has to listen to a topic.
        To::Others(Address::Topic(_)) => return,
        To::Others(to) => unreachable(None, format!("`{to}` waits on another server: {detail}")),
    };
    core.troubled(&outgoing.space, &outgoing.message, vec![trouble]);
}

/// What a server said became of a message.
fn settle(core: &Arc<Core>, nodes: &Nodes, outgoing: Outgoing, told: Option<Told>) {
    let Outgoing { space, to, message, since } = outgoing;
    let cell = match &to {
        To::Agent(cell) => Some(cell),
        To::Others(_) => None,
    };
    let name = cell.map(|cell| &cell.name);
    let trouble = match told {
        Some((Outcome::Taken, waiting)) => {
            if let Some(cell) = cell {
                cell.mailbox.note_elsewhere(waiting);
            }
            return;
        }
        Some((Outcome::Moved, _)) => {
            if let Some(cell) = cell {
                hold(core, nodes, cell, &message, since);
            }
            return;
        }
        Some((Outcome::Full, _)) => Trouble::new(name, DeadReason::Full, "its mailbox is full"),
        Some((Outcome::Stopped, _)) => Trouble::new(name, DeadReason::Stopped, "it takes no messages"),
        Some((Outcome::Nobody, _)) if cell.is_none() => {
            Trouble::new(None, DeadReason::NobodyWaits, "nobody waits for answers any more")
        }
        Some((Outcome::Nobody, _)) => {
            Trouble::new(name, DeadReason::NoReceiver, "the server that runs it does not know it")
        }
        None => {
            unreachable(cell.map(|cell| &**cell), "the server that runs it did not say what became of it")
        }
    };
    core.troubled(&space, &message, vec![trouble]);
}
