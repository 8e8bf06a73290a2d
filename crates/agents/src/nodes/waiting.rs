//! Messages in memory whose agents nobody runs at the moment: a server went, or hands them over.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use metrics::gauge;

use crate::{cell::Cell, message::Message, metrics::AGENTS_HELD};

struct Held {
    cell: Arc<Cell>,
    messages: VecDeque<(Instant, Arc<Message>)>,
}

/// What waits, by agent and in order.
pub(super) struct Waiting {
    held: HashMap<Arc<str>, Held>,
    count: usize,
    max: usize,
}

impl Waiting {
    pub(super) fn new(max: usize) -> Self {
        Self { held: HashMap::new(), count: 0, max }
    }

    fn counted(&mut self, count: usize) {
        self.count = count;
        gauge!(AGENTS_HELD).set(count as f64);
    }

    pub(super) const fn len(&self) -> usize {
        self.count
    }

    /// Gives whether there was room.
    pub(super) fn add(&mut self, cell: &Arc<Cell>, message: Arc<Message>, since: Instant) -> bool {
        if self.count >= self.max {
            return false;
        }
        let held = self.held.entry(Arc::clone(&cell.key));
        let held = held.or_insert_with(|| Held { cell: Arc::clone(cell), messages: VecDeque::new() });
        held.messages.push_back((since, message));
        self.counted(self.count + 1);
        true
    }

    /// What waits for an agent, which waits here no longer.
    pub(super) fn take(&mut self, key: &str) -> VecDeque<(Instant, Arc<Message>)> {
        let Some(held) = self.held.remove(key) else { return VecDeque::new() };
        self.counted(self.count - held.messages.len());
        held.messages
    }

    /// What has waited for longer than it may.
    pub(super) fn overdue(&mut self, age: Duration) -> Vec<(Arc<Cell>, Arc<Message>)> {
        let mut overdue = Vec::new();
        for held in self.held.values_mut() {
            while held.messages.front().is_some_and(|(since, _)| since.elapsed() > age) {
                overdue
                    .extend(held.messages.pop_front().map(|(_, message)| (Arc::clone(&held.cell), message)));
            }
        }
        self.held.retain(|_, held| !held.messages.is_empty());
        if !overdue.is_empty() {
            self.counted(self.count - overdue.len());
        }
        overdue
    }
}
