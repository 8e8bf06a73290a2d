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
    /// How many of them, the first ones, have come back.
    returned: usize,
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
        let Some(held) = self.held_for(cell) else { return false };
        held.messages.push_back((since, message));
        true
    }

    /// As [`Waiting::add`], for a message that was on its way to a server that does not run the agent any more: before those
    /// that were sent since.
    pub(super) fn add_returned(&mut self, cell: &Arc<Cell>, message: Arc<Message>, since: Instant) -> bool {
        let Some(held) = self.held_for(cell) else { return false };
        held.messages.insert(held.returned, (since, message));
        held.returned += 1;
        true
    }

    /// What is held for an agent, where one more is counted already; `None` if there is no room.
    fn held_for(&mut self, cell: &Arc<Cell>) -> Option<&mut Held> {
        if self.count >= self.max {
            return None;
        }
        self.counted(self.count + 1);
        let held = self.held.entry(Arc::clone(&cell.key));
        Some(held.or_insert_with(|| Held { cell: Arc::clone(cell), messages: VecDeque::new(), returned: 0 }))
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
                held.returned = held.returned.saturating_sub(1);
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

#[cfg(test)]
mod tests {
    use paddock_platform::identity::{Caller, Tenant};

    use super::*;
    use crate::{
        AgentDefinition, Native,
        cell::Agent,
        handler,
        message::{AgentName, Draft, Performative},
        space::Space,
    };

    fn cell() -> Arc<Cell> {
        let definition = Arc::new(AgentDefinition::native("a".parse().unwrap()));
        let factory = handler::factory(|| Box::new(Native::new(|_, _| Ok(()))));
        let agent = Agent { definition, version: 0, factory, caller: Caller::local() };
        Arc::new(Cell::new(&Arc::new(Space::new(Tenant::local())), agent, 10))
    }

    fn message(number: u32) -> Arc<Message> {
        let to: AgentName = "a".parse().unwrap();
        Draft::new(Performative::Inform, to).json(&number).from("b".parse().unwrap())
    }

    fn numbers<'a>(messages: impl IntoIterator<Item = &'a Arc<Message>>) -> Vec<u32> {
        messages.into_iter().map(|message| message.content.read().unwrap()).collect()
    }

    #[test]
    fn what_comes_back_waits_before_what_was_sent_since() {
        let (mut waiting, cell, now) = (Waiting::new(5), cell(), Instant::now());
        assert!(waiting.add_returned(&cell, message(1), now));
        assert!(waiting.add(&cell, message(4), now));
        assert!(waiting.add_returned(&cell, message(2), now));
        assert!(waiting.add_returned(&cell, message(3), now));
        assert!(waiting.add(&cell, message(5), now));
        assert!(!waiting.add(&cell, message(6), now) && !waiting.add_returned(&cell, message(6), now));
        let taken = waiting.take(&cell.key);
        assert_eq!(numbers(taken.iter().map(|(_, message)| message)), [1, 2, 3, 4, 5]);
        assert_eq!(waiting.len(), 0);
    }

    #[test]
    fn what_waits_for_too_long_is_given_up_and_the_rest_stays_in_order() {
        let (mut waiting, cell, now) = (Waiting::new(9), cell(), Instant::now());
        let before = now.checked_sub(Duration::from_millis(1)).unwrap();
        // However slow the machine is.
        let later = now + Duration::from_hours(1);
        waiting.add_returned(&cell, message(1), before);
        waiting.add_returned(&cell, message(2), later);
        waiting.add(&cell, message(4), later);
        let overdue = waiting.overdue(Duration::ZERO);
        assert_eq!(numbers(overdue.iter().map(|(_, message)| message)), [1]);
        waiting.add_returned(&cell, message(3), later);
        let taken = waiting.take(&cell.key);
        assert_eq!(numbers(taken.iter().map(|(_, message)| message)), [2, 3, 4]);
    }
}
