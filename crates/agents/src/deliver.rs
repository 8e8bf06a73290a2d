//! How messages get into mailboxes.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use serde_json::json;

use crate::{
    cell::Cell,
    commit::{Change, Place, Post},
    core::{Core, Delivered, Trouble},
    dead::DeadReason,
    live,
    mailbox::{AWAY, Delivery, Pushed, Refusal},
    message::{Address, AgentName, Draft, Label, Message, Performative},
    nodes::Passed,
    schedule::SCHEDULE,
    space::Space,
};

impl Core {
    /// Puts a message into the mailboxes of those whom it is for, without waiting for anything.
    pub(crate) fn deliver(self: &Arc<Self>, space: &Space, message: &Arc<Message>) -> Delivered {
        let mut delivered = Delivered::default();
        if let [one] = message.receivers() {
            self.deliver_to(space, one, message, &mut delivered, &mut |core, cell, delivered| {
                core.put(cell, message, delivered);
            });
        } else {
            // Each agent gets it once, however often it is meant.
            let mut cells: Vec<Arc<Cell>> = Vec::new();
            for address in message.receivers() {
                self.deliver_to(space, address, message, &mut delivered, &mut |_, cell, _| {
                    if !cells.iter().any(|known| Arc::ptr_eq(known, cell)) {
                        cells.push(Arc::clone(cell));
                    }
                });
            }
            for cell in &cells {
                self.put(cell, message, &mut delivered);
            }
        }
        delivered
    }

    fn deliver_to(
        self: &Arc<Self>,
        space: &Space,
        address: &Address,
        message: &Arc<Message>,
        delivered: &mut Delivered,
        found: &mut impl FnMut(&Arc<Self>, &Arc<Cell>, &mut Delivered),
    ) {
        if let Address::Caller(id) = address {
            // What is sent on schedule may be answered; nobody waits for it.
            if id.as_str() == SCHEDULE {
                delivered.count += 1;
                return;
            }
            let is_told = space.answer(id, message)
                || self.nodes.as_ref().is_some_and(|nodes| {
                    nodes.pass_answer(self, &self.space(&space.tenant), address, message)
                });
            if is_told {
                delivered.count += 1;
            } else {
                let detail = format!("nobody waits for answers as `{address}`");
                delivered.troubles.push(Trouble::new(None, DeadReason::NobodyWaits, detail));
            }
            return;
        }
        if let (Some(nodes), Address::Topic(_), false) = (&self.nodes, address, message.is_durable()) {
            // Each server gives it to those that it runs.
            nodes.pass_topic(self, &self.space(&space.tenant), address, message);
            space.each(address, |cell| {
                if cell.mailbox.epoch() != AWAY {
                    found(self, cell, delivered);
                }
            });
            return;
        }
        let count = space.each(address, |cell| found(self, cell, delivered));
        // Nobody has to listen to a topic.
        if count == 0 && !matches!(address, Address::Topic(_)) {
            let detail = format!("there is no agent `{address}`");
            delivered.troubles.push(Trouble::new(address.agent(), DeadReason::NoReceiver, detail));
        }
    }

    fn put(self: &Arc<Self>, cell: &Arc<Cell>, message: &Arc<Message>, delivered: &mut Delivered) {
        match cell.mailbox.push(Delivery::new(Arc::clone(message))) {
            Pushed::Queued => delivered.count += 1,
            Pushed::Asleep => {
                delivered.count += 1;
                self.run(cell);
            }
            Pushed::Shed(shed) => {
                delivered.count += 1;
                self.bury_shed(cell, &shed.message);
            }
            Pushed::Full if cell.mailbox.blocks() => delivered.blocked.push(Arc::clone(cell)),
            Pushed::Full => delivered.troubles.push(full(cell)),
            Pushed::Closed => delivered.troubles.push(stopped(cell)),
            Pushed::Away => self.put_away(cell, message, delivered),
        }
    }

    /// Another server runs the agent, or nobody at the moment.
    fn put_away(self: &Arc<Self>, cell: &Arc<Cell>, message: &Arc<Message>, delivered: &mut Delivered) {
        match self.nodes.as_ref().map(|nodes| nodes.pass(self, cell, message, Instant::now())) {
            Some(Passed::On) => delivered.count += 1,
            Some(Passed::Here) => self.put(cell, message, delivered),
            Some(Passed::Trouble(trouble)) => delivered.troubles.push(trouble),
            None => delivered.troubles.push(stopped(cell)),
        }
    }

    /// Puts a message that somebody else sent into a mailbox, or aside.
    pub(crate) fn put_again(self: &Arc<Self>, cell: &Arc<Cell>, message: &Arc<Message>) {
        self.put_all(&cell.space, std::slice::from_ref(cell), message);
    }

    /// As [`Core::put_again`], into several mailboxes.
    pub(crate) fn put_all(self: &Arc<Self>, space: &Arc<Space>, cells: &[Arc<Cell>], message: &Arc<Message>) {
        let mut delivered = Delivered::default();
        for cell in cells {
            self.put(cell, message, &mut delivered);
        }
        delivered.troubles.extend(delivered.blocked.iter().map(|cell| full(cell)));
        self.troubled(space, message, delivered.troubles);
    }

    pub(crate) fn bury_shed(&self, cell: &Cell, message: &Arc<Message>) {
        let trouble = Trouble::new(Some(&cell.name), DeadReason::Shed, "it made room for a later one");
        self.bury(&cell.space, message, trouble);
    }

    /// How long a message may wait for room: no longer than it is of use.
    fn patience(&self, message: &Message) -> Duration {
        let left = message.reply_by.map(|until| until.duration_since(Timestamp::now()));
        // What is over already is less than nothing, which is no time to wait.
        let left = left.map(|left| Duration::try_from(left).unwrap_or_default());
        left.map_or(self.limits.block_max, |left| left.min(self.limits.block_max))
    }

    /// Waits for room in the mailboxes that were full, as long as the message and the limit allow.
    pub(crate) async fn deliver_blocked(self: &Arc<Self>, message: &Arc<Message>, delivered: &mut Delivered) {
        let deadline = tokio::time::Instant::now() + self.patience(message);
        let stopping = self.tasks.stop_token();
        for cell in std::mem::take(&mut delivered.blocked) {
            // An agent that waits for room in its own mailbox would wait for itself.
            if message.sender.agent() == Some(&cell.name) {
                delivered.troubles.push(full(&cell));
                continue;
            }
            let room = cell.mailbox.room(|| match cell.mailbox.push(Delivery::new(Arc::clone(message))) {
                Pushed::Full => None,
                pushed => Some(pushed),
            });
            match stopping.run_until_cancelled(tokio::time::timeout_at(deadline, room)).await {
                Some(Ok(Pushed::Closed)) => delivered.troubles.push(stopped(&cell)),
                Some(Ok(Pushed::Away)) => self.put_away(&cell, message, delivered),
                Some(Ok(pushed)) => {
                    delivered.count += 1;
                    if matches!(pushed, Pushed::Asleep) {
                        self.run(&cell);
                    }
                }
                Some(Err(_)) | None => delivered.troubles.push(full(&cell)),
            }
        }
    }

    /// Sends what an agent, or a reminder of one, sends: what cannot be delivered is put aside, and the agent is told.
    pub(crate) async fn forward(self: &Arc<Self>, space: &Arc<Space>, message: Arc<Message>) {
        self.journal.sent(&space.tenant, &message);
        if message.is_durable() {
            let Some(posts) = self.posts(space, &message).await else { return };
            if let Some(commits) = self.commits()
                && !posts.is_empty()
            {
                let change = Change { posts, ..Change::default() };
                if let Err(error) = commits.write(change).await {
                    tracing::error!(%error, message = %message.id, "a durable message could not be kept");
                }
            }
            self.tell_callers(space, &message);
            return;
        }
        let mut delivered = self.deliver(space, &message);
        if !delivered.blocked.is_empty() {
            self.deliver_blocked(&message, &mut delivered).await;
        }
        self.troubled(space, &message, delivered.troubles);
    }

    /// Gives a durable message to those outside whom it is for: once it is certain.
    pub(crate) fn tell_callers(self: &Arc<Self>, space: &Arc<Space>, message: &Arc<Message>) {
        let mut delivered = Delivered::default();
        for address in message.receivers().iter().filter(|address| matches!(address, Address::Caller(_))) {
            self.deliver_to(space, address, message, &mut delivered, &mut |_, _, _| {});
        }
        self.troubled(space, message, delivered.troubles);
    }

    /// As [`Core::forward`], for messages that need not wait for anything. Gives those that have to.
    pub(crate) fn forward_now(
        self: &Arc<Self>,
        space: &Arc<Space>,
        message: &Arc<Message>,
    ) -> Option<Delivered> {
        if message.conversation.is_some() {
            self.journal.sent(&space.tenant, message);
        }
        let delivered = self.deliver(space, message);
        if !delivered.blocked.is_empty() {
            return Some(delivered);
        }
        if !delivered.troubles.is_empty() {
            self.troubled(space, message, delivered.troubles);
        }
        None
    }

    /// Keeps places for a durable message with all whom it is for; `None` if the server stops before it has them.
    pub(crate) async fn posts(
        self: &Arc<Self>,
        space: &Arc<Space>,
        message: &Arc<Message>,
    ) -> Option<Vec<Post>> {
        let (posts, troubles) = self.posts_or_troubles(space, message).await?;
        self.troubled(space, message, troubles);
        Some(posts)
    }

    /// The agents for whom a message is, each once.
    fn receivers_of(
        self: &Arc<Self>,
        space: &Space,
        message: &Arc<Message>,
    ) -> (Vec<Arc<Cell>>, Vec<Trouble>) {
        let mut delivered = Delivered::default();
        let mut cells: Vec<Arc<Cell>> = Vec::new();
        for address in message.receivers().iter().filter(|address| !matches!(address, Address::Caller(_))) {
            self.deliver_to(space, address, message, &mut delivered, &mut |_, cell, _| {
                if !cells.iter().any(|known| Arc::ptr_eq(known, cell)) {
                    cells.push(Arc::clone(cell));
                }
            });
        }
        (cells, delivered.troubles)
    }

    pub(crate) async fn posts_or_troubles(
        self: &Arc<Self>,
        space: &Arc<Space>,
        message: &Arc<Message>,
    ) -> Option<(Vec<Post>, Vec<Trouble>)> {
        let (cells, mut troubles) = self.receivers_of(space, message);
        let deadline = tokio::time::Instant::now() + self.patience(message);
        let mut posts = Vec::with_capacity(cells.len());
        for cell in cells {
            let place = match Place::reserve(&cell) {
                Err(Refusal::Away) => {
                    if self.has_room_away(&cell, message, deadline).await? {
                        posts.push(Post::away(cell, message));
                    } else {
                        troubles.push(full(&cell));
                    }
                    continue;
                }
                Err(Refusal::Full) if waits_for(&cell, message) => {
                    let room = cell.mailbox.room(|| match Place::reserve(&cell) {
                        Err(Refusal::Full) => None,
                        other => Some(other),
                    });
                    let stopping = self.tasks.stop_token();
                    let room = stopping.run_until_cancelled(tokio::time::timeout_at(deadline, room)).await?;
                    room.unwrap_or(Err(Refusal::Full))
                }
                other => other,
            };
            match place {
                Ok(place) => {
                    posts.push(Post::here(place, message));
                }
                Err(Refusal::Full) => troubles.push(full(&cell)),
                Err(Refusal::Closed) => troubles.push(stopped(&cell)),
                // It went while it was waited for: its next server has it from the store.
                Err(Refusal::Away) => posts.push(Post::away(cell, message)),
            }
        }
        Some((posts, troubles))
    }

    /// As [`Core::posts`], at once: `None` if one of the mailboxes is full whose senders wait.
    pub(crate) fn posts_now(
        self: &Arc<Self>,
        space: &Arc<Space>,
        message: &Arc<Message>,
    ) -> Option<Vec<Post>> {
        let (cells, mut troubles) = self.receivers_of(space, message);
        let is_patient = !message.is_late(Timestamp::now());
        let mut posts = Vec::with_capacity(cells.len());
        for cell in cells {
            match Place::reserve(&cell) {
                Ok(place) => posts.push(Post::here(place, message)),
                // It waits in the store, whether there is room or not: it cannot be asked about at once.
                Err(Refusal::Away) => posts.push(Post::away(cell, message)),
                Err(Refusal::Full) if is_patient && waits_for(&cell, message) => return None,
                Err(Refusal::Full) => troubles.push(full(&cell)),
                Err(Refusal::Closed) => troubles.push(stopped(&cell)),
            }
        }
        self.troubled(space, message, troubles);
        Some(posts)
    }

    /// Whether an agent of another server takes one more durable message; waited for where its mailbox says so.
    /// `None` if the server stops first.
    async fn has_room_away(
        &self,
        cell: &Cell,
        message: &Message,
        until: tokio::time::Instant,
    ) -> Option<bool> {
        /// How often the store is asked.
        const LOOK: Duration = Duration::from_millis(100);
        let Some(nodes) = &self.nodes else { return Some(false) };
        loop {
            if nodes.has_room(&self.store, cell).await {
                return Some(true);
            }
            if !waits_for(cell, message) || tokio::time::Instant::now() >= until {
                return Some(false);
            }
            self.tasks.stop_token().run_until_cancelled(tokio::time::sleep(LOOK)).await?;
        }
    }

    /// Puts aside what could not be delivered, and tells the agent that sent it.
    pub(crate) fn troubled(
        self: &Arc<Self>,
        space: &Arc<Space>,
        message: &Arc<Message>,
        troubles: Vec<Trouble>,
    ) {
        if live::is_told(message) {
            return;
        }
        for trouble in troubles {
            if !message.performative.is_answer() {
                self.tell_failure(space, message, &trouble);
            }
            self.bury(space, message, trouble);
        }
    }

    /// Tells the sender of a message that it was for nothing.
    pub(crate) fn tell_failure(self: &Arc<Self>, space: &Arc<Space>, message: &Message, trouble: &Trouble) {
        if matches!(message.answer_to(), Address::Topic(_)) {
            return;
        }
        let performative = match trouble.reason {
            DeadReason::Invalid => Performative::NotUnderstood,
            _ => Performative::Failure,
        };
        let content = json!({
            "reason": trouble.reason.name(),
            "detail": trouble.detail,
            "receiver": trouble.receiver.as_ref().map(AgentName::as_str),
            "message": message.id.to_string(),
        });
        let from = trouble.receiver.clone().map_or_else(|| Address::Caller(Label::of("router")), Into::into);
        // Not as surely as the message itself: it is news, and the reason is on record.
        let answer = Draft::reply(message, performative).in_memory().json(&content).from(from);
        self.journal.sent(&space.tenant, &answer);
        // It is an answer: if it cannot be delivered either, that is the end of it.
        let _ = self.deliver(space, &answer);
    }

    /// Puts a message aside that nobody will handle.
    pub(crate) fn bury(&self, space: &Space, message: &Arc<Message>, trouble: Trouble) {
        let letter = self.letter(space, message, trouble);
        self.dead.add(letter);
    }
}

/// Whether the sender of a message waits for room with an agent. One that waited for itself would wait for ever.
fn waits_for(cell: &Cell, message: &Message) -> bool {
    cell.mailbox.blocks() && message.sender.agent() != Some(&cell.name)
}

fn full(cell: &Cell) -> Trouble {
    Trouble::new(Some(&cell.name), DeadReason::Full, "its mailbox is full")
}

pub(crate) fn stopped(cell: &Cell) -> Trouble {
    Trouble::new(Some(&cell.name), DeadReason::Stopped, "it takes no messages")
}
