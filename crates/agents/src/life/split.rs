//! Two versions of one agent at work: which of them handles a message.
//!
//! They have one mailbox and one state, and take turns. A conversation stays with the version that it began with, which is
//! in the state under a key that agents cannot write; one that began before the split stays with the version in force.

use std::sync::Arc;

use bytes::Bytes;

use super::{CONFIG, Life, SNAPSHOT};
use crate::{
    cell::{Agent, Cell, Split},
    core::Core,
    message::{Label, Message},
    store,
};

/// Keys of the state that say with which version a conversation began.
const BEGAN_WITH: &str = "\u{1}version/";
/// Conversations that are remembered; of more, the first in the order of their ids are forgotten.
const REMEMBERED_MAX: usize = 4_000;

/// Where in the unit interval something falls: the same place each time.
pub(crate) fn place_of(bytes: &[u8]) -> f64 {
    let hash = blake3::hash(bytes);
    let start = hash.as_bytes().iter().take(8).fold(0_u64, |start, byte| (start << 8) | u64::from(*byte));
    // 53 bits are what a float holds.
    (start >> 11) as f64 / (1_u64 << 53) as f64
}

impl Life {
    /// What the definitions in force say; those that are made anew begin with it.
    pub(super) fn look_at_versions(&mut self) {
        self.in_force = self.cell.agent();
        self.agent = Arc::clone(&self.in_force);
        self.split = self.cell.split();
        (self.handler, self.spare) = (None, None);
        self.cell.set_acting(None);
        // What handlers leave is of one version; where there are two, both begin without.
        let of_no_use = if self.split.is_none() { BEGAN_WITH } else { SNAPSHOT };
        let keys: Vec<String> = self.turn.state.hidden(of_no_use).cloned().collect();
        if keys.is_empty() {
            return;
        }
        for key in &keys {
            self.turn.state.remove(key);
        }
        self.turn.state.commit();
        self.dirty_since = self.dirty_since.or(Some(self.core.tick()));
    }

    /// Whether other versions are to work than those that do.
    pub(super) fn is_outdated(&self) -> bool {
        let is_same_split = match (&self.split, &self.cell.split()) {
            (None, None) => true,
            (Some(ours), Some(theirs)) => Arc::ptr_eq(ours, theirs),
            _ => false,
        };
        !is_same_split || !Arc::ptr_eq(&self.in_force, &self.cell.agent())
    }

    /// Sees to it that the version that a message is for handles it.
    pub(super) async fn choose(&mut self, message: &Message) {
        let Some(split) = self.split.clone() else { return };
        let is_new = match &message.conversation {
            Some(conversation) => self.is_with_new(conversation, &split).await,
            None => place_of(message.id.as_bytes()) < split.weight,
        };
        let agent = Arc::clone(if is_new { &split.agent } else { &self.in_force });
        self.switch_to(agent);
        // Each has its own under the same key.
        let config = &self.agent.definition.config;
        if !config.is_null() {
            let config = Bytes::from(config.to_string());
            if self.turn.get(CONFIG).as_ref() != Some(&config)
                && let Err(failure) = self.turn.set(CONFIG, config)
            {
                self.core.log(&self.cell, tracing::Level::WARN, &failure.detail);
            }
        }
    }

    async fn is_with_new(&mut self, conversation: &Label, split: &Split) -> bool {
        let key = format!("{BEGAN_WITH}{conversation}");
        if let Some(known) = self.turn.state.get(&key) {
            return known[..] == [1];
        }
        let is_new = place_of(conversation.as_str().as_bytes()) < split.weight
            && !is_older(&self.core, &self.cell, split, conversation).await;
        let count = self.turn.state.hidden(BEGAN_WITH).count();
        let first = self.turn.state.hidden(BEGAN_WITH).next().cloned();
        if let Some(first) = first.filter(|_| count >= REMEMBERED_MAX) {
            self.turn.state.remove(&first);
        }
        // A label that is too long for a key is where it falls by itself.
        let _ = self.turn.state.set(&key, Bytes::from_static(if is_new { &[1] } else { &[0] }), usize::MAX);
        is_new
    }

    fn switch_to(&mut self, agent: Arc<Agent>) {
        if Arc::ptr_eq(&self.agent, &agent) {
            return;
        }
        self.cell.set_acting(Some(Arc::clone(&agent)));
        let before = (std::mem::replace(&mut self.agent, agent), self.handler.take());
        if let Some((spare, handler)) = self.spare.replace(before)
            && Arc::ptr_eq(&spare, &self.agent)
        {
            self.handler = handler;
        }
    }
}

/// Whether a conversation began before the split.
async fn is_older(core: &Core, cell: &Cell, split: &Split, conversation: &Label) -> bool {
    core.journal.flush().await;
    match store::conversation_began(&core.store, &cell.space.tenant, conversation.as_str()).await {
        Ok(began) => began.is_some_and(|began| began < split.since),
        Err(error) => {
            tracing::warn!(%error, agent = &*cell.key, "when a conversation began cannot be read");
            true
        }
    }
}

#[cfg(test)]
mod tests {
    use super::place_of;

    #[test]
    fn places_are_spread_evenly() {
        let below = |weight: f64| (0..10_000_u32).filter(|id| place_of(&id.to_be_bytes()) < weight).count();
        assert_eq!((below(0.0), below(1.0)), (0, 10_000));
        assert!((800..1_200).contains(&below(0.1)), "{}", below(0.1));
    }
}
