//! The state of one agent: a small map that is whole in memory while the agent is awake.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use crate::handler::Failure;

/// The longest key.
const KEY_MAX: usize = 256;

/// Keys and values, what the current turn changed of them, and what of them is not in the store yet.
#[derive(Debug, Default)]
pub(crate) struct State {
    values: BTreeMap<String, Bytes>,
    size: usize,
    /// What the keys that this turn changed had before it, in the order of the changes.
    undo: Vec<(String, Option<Bytes>)>,
    dirty: BTreeSet<String>,
}

impl State {
    pub(crate) fn load(values: BTreeMap<String, Bytes>) -> Self {
        let size = values.iter().map(|(key, value)| key.len() + value.len()).sum();
        Self { values, size, ..Self::default() }
    }

    pub(crate) fn get(&self, key: &str) -> Option<&Bytes> {
        self.values.get(key)
    }

    pub(crate) fn keys(&self, prefix: &str) -> Vec<String> {
        let from = self.values.range(prefix.to_owned()..);
        let keys = from.map(|(key, _)| key).take_while(|key| key.starts_with(prefix));
        keys.filter(|key| !key.starts_with('\u{1}')).cloned().collect()
    }

    /// The keys that begin so of those that agents do not see, in order.
    pub(crate) fn hidden<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = &'a String> {
        let from = self.values.range(prefix.to_owned()..);
        from.map(|(key, _)| key).take_while(move |key| key.starts_with(prefix))
    }

    pub(crate) fn set(&mut self, key: &str, value: Bytes, size_max: usize) -> Result<(), Failure> {
        if key.is_empty() || key.len() > KEY_MAX || key.contains('\0') {
            return Err(Failure::invalid(format!("a key of the state has 1 to {KEY_MAX} bytes and no NUL")));
        }
        let had = self.values.get(key).map_or(0, |value| key.len() + value.len());
        let size = self.size - had + key.len() + value.len();
        if size > size_max {
            let detail = format!(
                "the state would have {size} bytes, and {size_max} are the most (`agents.state_max`)"
            );
            return Err(Failure::invalid(detail));
        }
        self.size = size;
        let before = self.values.insert(key.to_owned(), value);
        self.undo.push((key.to_owned(), before));
        Ok(())
    }

    pub(crate) fn remove(&mut self, key: &str) {
        if let Some(before) = self.values.remove(key) {
            self.size -= key.len() + before.len();
            self.undo.push((key.to_owned(), Some(before)));
        }
    }

    /// Keeps what the turn changed.
    pub(crate) fn commit(&mut self) {
        for (key, _) in self.undo.drain(..) {
            self.dirty.insert(key);
        }
    }

    /// Takes back what the turn changed.
    pub(crate) fn roll_back(&mut self) {
        while let Some((key, before)) = self.undo.pop() {
            if let Some(now) = self.values.get(&key) {
                self.size -= key.len() + now.len();
            }
            match before {
                Some(value) => {
                    self.size += key.len() + value.len();
                    self.values.insert(key, value);
                }
                None => {
                    self.values.remove(&key);
                }
            }
        }
    }

    pub(crate) fn is_dirty(&self) -> bool {
        !self.dirty.is_empty()
    }

    /// What the store does not have yet; from now on it counts as stored.
    pub(crate) fn take_dirty(&mut self) -> Vec<(String, Option<Bytes>)> {
        let dirty = std::mem::take(&mut self.dirty);
        dirty
            .into_iter()
            .map(|key| (self.values.get(&key).cloned(), key))
            .map(|(value, key)| (key, value))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SIZE_MAX: usize = 64;

    #[derive(Clone, Debug)]
    enum Step {
        Set(u8, u8),
        Remove(u8),
        Commit,
        RollBack,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (0..6_u8, 0..12_u8).prop_map(|(key, size)| Step::Set(key, size)),
            (0..6_u8).prop_map(Step::Remove),
            Just(Step::Commit),
            Just(Step::RollBack),
        ]
    }

    proptest! {
        #[test]
        fn a_turn_takes_place_whole_or_not_at_all(steps in proptest::collection::vec(step(), 0..60)) {
            let mut state = State::default();
            let mut kept: BTreeMap<String, Bytes> = BTreeMap::new();
            let mut now = kept.clone();
            for step in steps {
                match step {
                    Step::Set(key, size) => {
                        let (key, value) = (format!("k{key}"), Bytes::from(vec![7; size.into()]));
                        let mut next = now.clone();
                        next.insert(key.clone(), value.clone());
                        let size: usize = next.iter().map(|(key, value)| key.len() + value.len()).sum();
                        prop_assert_eq!(state.set(&key, value, SIZE_MAX).is_ok(), size <= SIZE_MAX);
                        if size <= SIZE_MAX {
                            now = next;
                        }
                    }
                    Step::Remove(key) => {
                        state.remove(&format!("k{key}"));
                        now.remove(&format!("k{key}"));
                    }
                    Step::Commit => {
                        state.commit();
                        kept.clone_from(&now);
                    }
                    Step::RollBack => {
                        state.roll_back();
                        now.clone_from(&kept);
                    }
                }
                prop_assert_eq!(&state.values, &now);
                prop_assert_eq!(state.size, now.iter().map(|(key, value)| key.len() + value.len()).sum::<usize>());
            }
            state.roll_back();
            let mut stored = BTreeMap::new();
            for (key, value) in state.take_dirty() {
                if let Some(value) = value {
                    stored.insert(key, value);
                }
            }
            // Everything was changed at one time or another.
            prop_assert_eq!(stored, kept);
        }
    }
}
