//! The task of an agent that is awake: takes messages out of its mailbox, has them handled, and sees to it that what the
//! turns want done is done.

mod keep;
mod split;
mod subscribe;
mod turns;

use std::{
    collections::VecDeque,
    future::poll_fn,
    pin::Pin,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use jiff::Timestamp;
use tokio_util::sync::WaitForCancellationFutureOwned;

use crate::{
    cell::{
        Agent, AgentStatus, Cell, ORDER_END, ORDER_LEAVE, ORDER_LOOK, ORDER_PARK, ORDER_RESTART, ORDER_START,
        Split,
    },
    core::{Core, Seat, Trouble},
    dead::{DeadLetter, DeadReason},
    handler::Handler,
    mailbox::{AWAY, Delivery, Next},
    message::Message,
    nodes::Term,
    remind::Reminder,
    state::State,
    turn::{Home, Turn},
};

/// What a handler leaves is kept in the state under a key that agents cannot write.
const SNAPSHOT: &str = "\u{1}snapshot";
/// The key under which handlers find what they are configured with.
const CONFIG: &str = "config";
/// The first and the longest wait before a message is tried again, or the store is asked again.
const RETRY_WAIT: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));

/// What a turn that takes longer came to is written at once, and not with the rest of its batch.
const SLOW_TURN: Duration = Duration::from_millis(2);

/// Whether the agent goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Go {
    On,
    /// It was removed, or the server stops.
    End,
    /// It was put away: whoever has a message for it runs it again.
    Parked,
}

/// None while it is not made, or parked.
type MaybeHandler = Option<Box<dyn Handler>>;

struct Life {
    core: Arc<Core>,
    cell: Arc<Cell>,
    /// The version in force.
    in_force: Arc<Agent>,
    /// Another one that gets a share.
    split: Option<Arc<Split>>,
    /// The version that is at work, and its handler.
    agent: Arc<Agent>,
    handler: MaybeHandler,
    /// The one that was before, where two take turns.
    spare: Option<(Arc<Agent>, MaybeHandler)>,
    turn: Turn,
    batch: VecDeque<Delivery>,
    /// What took place and is not in the store yet.
    pending: Pending,
    since_checkpoint: u32,
    dirty_since: Option<u64>,
    is_first: bool,
    /// The last place in the store whose message was taken out of the mailbox.
    last_row: i64,
    /// Turns of this batch that went well, and that did not.
    done: (u64, u64),
    /// Messages since others had their turn.
    since_yield: usize,
    /// Whether turns take so long that what they come to does not wait for the rest of their batch.
    is_slow: bool,
    /// Whether a turn asked for its state to be in the store.
    is_urgent: bool,
    /// Under which this server runs the agent.
    epoch: i64,
    /// For how long it may, where several servers share the agents.
    term: Option<Arc<Term>>,
    /// Who is told what the agent publishes.
    subscriptions: Vec<subscribe::Subscription>,
    stop: Pin<Box<WaitForCancellationFutureOwned>>,
}

#[derive(Default)]
struct Pending {
    consumed: Vec<i64>,
    sends: Vec<Arc<Message>>,
    dead: Vec<DeadLetter>,
    reminders: Vec<(Timestamp, Reminder)>,
}

impl Pending {
    fn is_empty(&self) -> bool {
        let is_quiet = self.sends.is_empty() && self.reminders.is_empty();
        is_quiet && self.consumed.is_empty() && self.dead.is_empty()
    }
}

/// Runs an agent until there is nothing to do for a while, or it is told to end.
pub(crate) async fn run(core: Arc<Core>, cell: Arc<Cell>) {
    core.awake.pin().insert(cell.id(), Arc::clone(&cell));
    let epoch = cell.mailbox.begin();
    let mut rest = Vec::new();
    if let Some(mut life) = Life::begin(&core, &cell, epoch).await {
        if life.live().await == Go::Parked {
            // Somebody else may run it already.
            return;
        }
        rest.extend(life.batch.drain(..).filter(|delivery| delivery.row.is_none()));
    }
    core.awake.pin().remove(&cell.id());
    if let Some(nodes) = &core.nodes
        && !core.tasks.is_stopping()
    {
        nodes.retired(&core, &cell, epoch, rest);
    }
}

impl Life {
    /// `None` if the agent is not to be run here.
    async fn begin(core: &Arc<Core>, cell: &Arc<Cell>, epoch: i64) -> Option<Self> {
        let term = match &core.nodes {
            Some(nodes) => Some(nodes.term().filter(|_| epoch != AWAY)?),
            None => None,
        };
        let stop = term.as_ref().map_or_else(|| core.tasks.stop_token(), |term| term.token());
        let host = Arc::new(Seat { core: Arc::clone(core), cell: Arc::clone(cell) });
        let home = Arc::new(Home {
            name: cell.name.clone(),
            tenant: cell.space.tenant.clone(),
            address: cell.name.clone().into(),
            limits: core.limits.turn,
            epoch,
            host,
        });
        let mut life = Self {
            core: Arc::clone(core),
            cell: Arc::clone(cell),
            in_force: cell.agent(),
            split: None,
            agent: cell.agent(),
            handler: None,
            spare: None,
            turn: Turn::new(home, State::default()),
            batch: VecDeque::new(),
            pending: Pending::default(),
            since_checkpoint: 0,
            dirty_since: None,
            is_first: true,
            last_row: 0,
            done: (0, 0),
            since_yield: 0,
            is_slow: false,
            is_urgent: false,
            epoch,
            term,
            subscriptions: Vec::new(),
            stop: Box::pin(stop.cancelled_owned()),
        };
        cell.has_started.store(false, Ordering::Release);
        if !life.reload().await {
            return None;
        }
        life.look_at_versions();
        Some(life)
    }

    /// Whether the server's lease is over: nothing that is done now would be kept.
    fn is_over(&self) -> bool {
        self.term.as_ref().is_some_and(|term| !term.is_live())
    }

    /// Whether another server is to run the agent, or this one in another epoch.
    fn has_left(&self) -> bool {
        self.term.is_some() && (self.is_over() || self.cell.mailbox.epoch() != self.epoch)
    }

    /// Waits. Gives whether the server still runs then.
    async fn pause(&mut self, wait: Duration) -> bool {
        tokio::select! {
            () = tokio::time::sleep(wait) => true,
            () = self.stop.as_mut() => false,
        }
    }

    async fn live(&mut self) -> Go {
        // Whoever says that the server stops says it to those that he sees awake.
        if self.core.tasks.is_stopping() {
            return Go::End;
        }
        loop {
            let (core, cell, batch) = (&self.core, &self.cell, &mut self.batch);
            let is_active = cell.status() == AgentStatus::Active;
            let max = if is_active { core.limits.batch_max } else { 0 };
            let next = poll_fn(|cx| {
                let next = if max == 0 {
                    cell.mailbox.poll_nudge(cx)
                } else {
                    cell.mailbox.poll_next(cx, core.tick(), max, batch)
                };
                if let Some(nodes) = &core.nodes
                    && cell.mailbox.wants_surplus()
                {
                    nodes.look_soon();
                }
                next
            });
            let next = next.await;
            if self.core.tasks.is_stopping() {
                self.end_with_server().await;
                return Go::End;
            }
            if self.has_left() {
                return Go::End;
            }
            let go = match next {
                Next::Batch => self.handle_batch().await,
                Next::Backlog => self.load_backlog(self.place_before()).await,
                Next::Nudge => self.obey().await,
            };
            if go != Go::On {
                return go;
            }
            if self.since_yield >= self.core.limits.batch_max {
                // Others have their turn.
                self.since_yield = 0;
                self.core.shares.give_way().await;
            }
        }
    }

    /// The last place in the store of what waited before this server ran the agent.
    fn place_before(&self) -> i64 {
        match self.term {
            Some(_) => self.cell.place_before.load(Ordering::Acquire),
            None => self.core.place_before,
        }
    }

    async fn handle_batch(&mut self) -> Go {
        if let Some(since) = self.batch.front().and_then(|first| first.since) {
            self.core.meters.wait.record(since.elapsed());
        }
        self.since_checkpoint = self.since_checkpoint.saturating_add(self.batch.len() as u32);
        self.since_yield += self.batch.len();
        while let Some(delivery) = self.batch.pop_front() {
            self.last_row = self.last_row.max(delivery.row.unwrap_or(0));
            if self.handle_one(delivery).await == Go::End {
                if self.term.is_some() && !self.core.tasks.is_stopping() {
                    // Whoever runs it next goes on from what is in the store.
                    self.count();
                    return Go::End;
                }
                self.cell.mailbox.put_back(&mut self.batch);
                self.count();
                self.flush().await;
                return Go::End;
            }
            if self.cell.status() != AgentStatus::Active {
                if self.cell.mailbox.epoch() != self.epoch {
                    // Nobody here waits for the rest.
                    self.count();
                    return Go::End;
                }
                self.leave_batch();
            }
        }
        self.count();
        self.checkpoint(false).await
    }

    /// Counts what was done, once a batch: others count at the same time.
    fn count(&mut self) {
        let (ok, failed) = std::mem::take(&mut self.done);
        self.cell.counts.handled.fetch_add(ok, Ordering::Relaxed);
        self.core.meters.handled.increment(ok);
        if failed > 0 {
            self.cell.counts.failed.fetch_add(failed, Ordering::Relaxed);
            self.core.meters.failed.increment(failed);
        }
    }

    /// The agent was suspended or stopped in the middle of a batch: the rest waits, or is given up.
    fn leave_batch(&mut self) {
        if self.cell.status() == AgentStatus::Failed {
            for delivery in self.batch.iter().filter(|delivery| delivery.row.is_none()) {
                let trouble =
                    Trouble::new(Some(&self.cell.name), DeadReason::Stopped, "the agent was stopped");
                self.core.bury(&self.cell.space, &delivery.message, trouble);
            }
            self.batch.retain(|delivery| delivery.row.is_some());
        }
        self.cell.mailbox.put_back(&mut self.batch);
    }

    /// Looks at what it was told.
    async fn obey(&mut self) -> Go {
        let orders = self.cell.take_orders();
        if orders & ORDER_END != 0 {
            self.handler = None;
            return Go::End;
        }
        if orders & ORDER_LEAVE != 0 && self.term.is_some() {
            self.leave_snapshot().await;
            self.flush().await;
            return Go::End;
        }
        if orders & ORDER_RESTART != 0 {
            (self.handler, self.spare) = (None, None);
        }
        if orders & ORDER_LOOK != 0 && self.is_outdated() {
            self.leave_snapshot().await;
            self.look_at_versions();
        }
        if orders & ORDER_START != 0 && self.start_early().await == Go::End {
            return Go::End;
        }
        if self.dirty_since.is_some() && self.checkpoint(true).await == Go::End {
            return Go::End;
        }
        if orders & ORDER_PARK != 0 {
            self.leave_snapshot().await;
            if self.flush().await == Go::End {
                return Go::End;
            }
            // First gone, then asleep: who runs it again adds it again.
            self.core.awake.pin().remove(&self.cell.id());
            if self.cell.mailbox.fall_asleep() {
                return Go::Parked;
            }
            self.core.awake.pin().insert(self.cell.id(), Arc::clone(&self.cell));
        }
        Go::On
    }

    async fn end_with_server(&mut self) {
        self.cell.mailbox.put_back(&mut self.batch);
        self.leave_snapshot().await;
        self.flush().await;
    }
}
