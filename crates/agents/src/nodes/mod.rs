//! Several servers that share one database, and its agents.
//!
//! ```text
//!            lease (renewed)                 who runs which agent, under which epoch
//! server ─────────────────────▶ agent_nodes ◀──────────────────────────────── agent_owners
//!    │ placement: rendezvous hashing over the servers that have leases            ▲
//!    └────────────── takes what nobody runs, gives up what is another's ──────────┘
//!
//! message ─▶ is its agent here? ─ yes ─▶ mailbox
//!                 │ no, memory: over the bus, in order, to the server that runs it; held while nobody does
//!                 └ no, durable: into the store, and a hint over the bus; looked for every second without one
//! ```
//!
//! # What holds
//! * A server runs agents as long as its lease is, by its own clock and with a margin, and stops them before others may
//!   take them. If it does not come to that, because it was stopped itself, nothing that it does afterwards is written:
//!   every transaction of an agent checks the server's lease and the agent's epoch ([`store::nodes::held`]).
//! * Epochs only grow. What one epoch of an agent wrote is there before the next one reads.
//! * Nothing that was acknowledged rests on the bus.
//! * An agent comes with as many durable messages as its mailbox holds. What is beyond that is fetched as there is room,
//!   before anything else that is sent to it here.
//!
//! Where the store is SQLite there is nobody to share with, and none of this is there.

mod hear;
mod keeper;
mod late;
mod lease;
mod link;
mod options;
mod placement;
mod receive;
mod term;
mod view;
mod waiting;
mod wire;

use std::{
    collections::{HashMap, HashSet},
    slice,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    time::Instant,
};

use paddock_platform::{bus::Bus, store::Store};
use tokio::sync::{Notify, mpsc};

pub(crate) use self::{keeper::spawn, link::Passed, term::Term};
use self::{
    late::Late,
    link::{Outgoing, unreachable},
    waiting::Waiting,
};
pub use self::{
    options::NodesOptions,
    view::{NodeView, NodesView},
};
use crate::{
    cell::{Cell, ORDER_LEAVE},
    core::Core,
    mailbox::Delivery,
    message::{Address, Label},
    store::{
        self,
        nodes::{Member, Taken},
    },
};

/// Hints that wait to be sent; more are left out: who is not told looks by itself.
const HINTS_MAX: usize = 1_024;

/// The servers that share the agents of a store, as one of them sees it.
pub(crate) struct Nodes {
    /// This server, as long as it runs.
    server: Arc<str>,
    name: String,
    options: NodesOptions,
    bus: Bus,
    /// The lease under which this server runs agents now.
    term: RwLock<Option<Arc<Term>>>,
    members: RwLock<Arc<Vec<Member>>>,
    /// The last epoch that this server knows of.
    seen: AtomicI64,
    /// The agents that this server runs, by their keys.
    here: Mutex<HashMap<Arc<str>, Arc<Cell>>>,
    links: Mutex<HashMap<Arc<str>, mpsc::Sender<Outgoing>>>,
    pending_max: usize,
    waiting: Mutex<Waiting>,
    /// That something about who runs what may be different.
    changed: Notify,
    is_dirty: AtomicBool,
    /// Acknowledgements that wait until what they are of was fetched.
    late: Mutex<Vec<Late>>,
    /// Held by many while agents are changed here, by one while it is followed what others changed.
    changes: tokio::sync::RwLock<()>,
    hints: mpsc::Sender<Arc<str>>,
    hinted: Mutex<Option<mpsc::Receiver<Arc<str>>>>,
}

impl Nodes {
    pub(crate) fn new(options: NodesOptions, bus: Bus, pending_max: usize) -> Self {
        let (hints, hinted) = mpsc::channel(HINTS_MAX);
        Self {
            server: Arc::from(uuid::Uuid::now_v7().simple().to_string()),
            name: options.name(),
            options,
            bus,
            term: RwLock::default(),
            members: RwLock::default(),
            seen: AtomicI64::new(0),
            here: Mutex::default(),
            links: Mutex::default(),
            pending_max: pending_max.max(1),
            waiting: Mutex::new(Waiting::new(pending_max.max(1))),
            changed: Notify::new(),
            is_dirty: AtomicBool::new(true),
            late: Mutex::default(),
            changes: tokio::sync::RwLock::default(),
            hints,
            hinted: Mutex::new(Some(hinted)),
        }
    }

    /// The lease under which this server runs agents, if it has one.
    pub(crate) fn term(&self) -> Option<Arc<Term>> {
        let term = self.term.read().unwrap_or_else(PoisonError::into_inner).clone();
        term.filter(|term| term.is_live())
    }

    /// Until this is dropped it is not followed here what became of agents: it would be read before and done after what is
    /// done meanwhile.
    pub(crate) async fn unfollowed(&self) -> tokio::sync::RwLockReadGuard<'_, ()> {
        self.changes.read().await
    }

    fn set_term(&self, term: Option<Arc<Term>>) {
        *self.term.write().unwrap_or_else(PoisonError::into_inner) = term;
    }

    /// What its row is found by; empty while it has none. While the server stops agents still write what they did: whether
    /// the lease holds is for the store to say.
    pub(crate) fn id(&self) -> String {
        let term = self.term.read().unwrap_or_else(PoisonError::into_inner);
        term.as_ref().map(|term| term.node.to_string()).unwrap_or_default()
    }

    fn members(&self) -> Arc<Vec<Member>> {
        Arc::clone(&self.members.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Looks at once at what may be different.
    pub(crate) fn poke(&self) {
        self.is_dirty.store(true, Ordering::Release);
        self.changed.notify_one();
    }

    /// Looks before long at what can be fetched: there is room again for an agent for whom more waits than fits.
    pub(crate) fn look_soon(&self) {
        self.changed.notify_one();
    }

    /// Durable messages are there for agents of another server: it is told, if the bus is there.
    pub(crate) fn hint(&self, server: Arc<str>) {
        if self.bus.is_up() {
            let _ = self.hints.try_send(server);
        }
    }

    /// A name for somebody who waits for answers here, under which other servers find the way back.
    pub(crate) fn asker(&self) -> Label {
        format!("{}.{}", self.server, Label::fresh()).parse().unwrap_or_else(|_| Label::fresh())
    }

    /// On which server somebody waits for answers, if on another.
    pub(crate) fn server_of_asker(&self, asker: &Label) -> Option<Arc<str>> {
        let (server, _) = asker.as_str().split_once('.')?;
        let is_other = server != &*self.server && self.is_member(server);
        is_other.then(|| Arc::from(server))
    }

    fn here(&self) -> MutexGuard<'_, HashMap<Arc<str>, Arc<Cell>>> {
        self.here.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How much waits for its agent to be run by somebody.
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// This server runs these agents no longer. What waited for them in memory goes to whoever runs them next.
    fn left(&self, core: &Arc<Core>, cells: &[Arc<Cell>]) {
        for cell in cells {
            let waiting = self.waiting();
            let left = cell.mailbox.leave();
            part(core, waiting, cell, left);
        }
        self.parted(core, cells);
    }

    /// The first half of [`Nodes::left`], if no task runs the agent; [`Nodes::parted`] is the other. Gives whether that is
    /// so.
    fn part_asleep(&self, core: &Arc<Core>, cell: &Arc<Cell>) -> bool {
        let waiting = self.waiting();
        let Some(left) = cell.mailbox.leave_if_asleep() else { return false };
        part(core, waiting, cell, left);
        true
    }

    /// Forgets what only the server does that runs an agent. Whoever runs it next has that from the store.
    fn parted(&self, core: &Core, cells: &[Arc<Cell>]) {
        if cells.is_empty() {
            return;
        }
        for cell in cells {
            self.here().remove(&cell.key);
            cell.clear_due();
            cell.has_scheduled.store(false, Ordering::Release);
        }
        core.reminders.forget(&cells.iter().map(|cell| &*cell.key).collect::<HashSet<_>>());
        self.poke();
    }

    /// This server runs an agent from now on.
    fn settle(&self, core: &Arc<Core>, cell: &Arc<Cell>, taken: &Taken) {
        self.here().insert(Arc::clone(&cell.key), Arc::clone(cell));
        cell.withdraw(ORDER_LEAVE);
        let mut waiting = self.waiting();
        cell.set_owner(None);
        let waited = waiting.take(&cell.key).into_iter().map(|(_, message)| Delivery::new(message)).collect();
        cell.place_before.store(taken.until, Ordering::Release);
        let Taken { epoch, waiting: backlog, surplus_until, .. } = *taken;
        let (is_to_run, rest) = cell.mailbox.settle(epoch, backlog, surplus_until, waited);
        drop(waiting);
        if is_to_run {
            core.run(cell);
        }
        for delivery in rest {
            core.put_again(cell, &delivery.message);
        }
    }

    /// A task that ran an agent has ended, and left these messages, none of which is in the store.
    pub(crate) fn retired(&self, core: &Arc<Core>, cell: &Arc<Cell>, epoch: i64, mut rest: Vec<Delivery>) {
        let waiting = self.waiting();
        if cell.mailbox.epoch() == epoch {
            rest.extend(cell.mailbox.leave());
            part(core, waiting, cell, rest);
            self.parted(core, slice::from_ref(cell));
        } else {
            drop(waiting);
            for delivery in rest {
                core.put_again(cell, &delivery.message);
            }
        }
        if cell.mailbox.retire() {
            core.run(cell);
        }
        self.poke();
    }

    fn is_member(&self, server: &str) -> bool {
        self.members().iter().any(|member| server_of(&member.row.node) == server)
    }

    /// An agent was removed.
    pub(crate) fn removed(&self, cell: &Cell) {
        self.here().remove(&cell.key);
    }

    /// Whether an agent of another server takes one more durable message now. It is looked at once in a while, and what
    /// other servers are about to write is not known: together they may go beyond its bound by some, which then waits in
    /// the store until its mailbox has room.
    pub(crate) async fn has_room(&self, store: &Store, cell: &Cell) -> bool {
        /// Messages that are sent before the backlog is looked at again.
        const ALLOWANCE_MAX: usize = 64;
        if cell.allowance.fetch_sub(1, Ordering::AcqRel) > 0 {
            return true;
        }
        let bound = cell.mailbox.bound();
        // A store that does not answer will say so when the message is written.
        let waiting = store::nodes::backlog(store, &cell.key, bound).await.unwrap_or(0);
        // After that, so that what was let through meanwhile counts.
        let underway = cell.underway.load(Ordering::Acquire);
        let left = bound.saturating_sub(waiting.saturating_add(underway));
        let allowance = (left / 2).min(ALLOWANCE_MAX);
        cell.allowance.store(i64::try_from(allowance).unwrap_or(0), Ordering::Release);
        left > 0
    }
}

/// The server that a lease is of.
fn server_of(node: &str) -> &str {
    node.split_once('.').map_or(node, |(server, _)| server)
}

/// Where a server hears what other servers have for it.
fn subject(server: &str, what: &str) -> String {
    format!("paddock.agents.{server}.{what}")
}

/// Whom a message goes to on another server.
#[derive(Clone, Debug)]
enum To {
    Agent(Arc<Cell>),
    /// A topic's subscribers, or one who waits for answers.
    Others(Address),
}

/// Keeps what waited for an agent that has left. Whoever has more for it waits meanwhile, so that it stays in order.
fn part(core: &Arc<Core>, mut waiting: MutexGuard<'_, Waiting>, cell: &Arc<Cell>, left: Vec<Delivery>) {
    cell.set_owner(None);
    let mut left = left.into_iter().map(|delivery| delivery.message);
    let refused = left.find(|message| !waiting.add(cell, Arc::clone(message), Instant::now()));
    drop(waiting);
    for message in refused.into_iter().chain(left) {
        let trouble = unreachable(Some(cell), "as much as may waits already for agents that move");
        core.troubled(&cell.space, &message, vec![trouble]);
    }
}
