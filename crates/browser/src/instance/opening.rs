//! Tabs that are being opened: several at a time, and none of them is taken for a page that a page opened.

use std::collections::{BTreeSet, HashSet};

use super::{Instance, Slot, State};
use crate::{error::BrowserError, tab::Attached};

/// Pages of one instance that Chrome makes for us at a time.
pub(super) const CREATING_MAX: usize = 4;

/// What is being opened.
#[derive(Debug, Default)]
pub(crate) struct Openings {
    /// Number of the next one.
    next: u64,
    /// Those whose page Chrome has not named yet.
    unnamed: BTreeSet<u64>,
    /// The pages of the others.
    targets: HashSet<String>,
    count: usize,
}

/// One tab that is being opened; it counts among the instance's until this is dropped.
#[derive(Debug)]
pub(super) struct Opening<'a> {
    instance: &'a Instance,
    number: u64,
    target: Option<String>,
}

impl<'a> Opening<'a> {
    /// Takes a place for a tab, and the page that was opened in advance if there is one.
    pub(super) fn begin(
        instance: &'a Instance,
        state: &mut State,
    ) -> Result<(Self, Option<Attached>), BrowserError> {
        let max = instance.0.shared.options.current().tabs_per_instance_max;
        if state.open_tabs() + state.opening_tabs() >= max {
            return Err(BrowserError::TabsExhausted { max });
        }
        let spare = state.spare.take();
        let openings = &mut state.openings;
        let number = openings.next;
        openings.next += 1;
        openings.count += 1;
        let target = spare.as_ref().map(|spare| spare.target_id().to_owned());
        match &target {
            Some(target) => drop(openings.targets.insert(target.clone())),
            None => drop(openings.unnamed.insert(number)),
        }
        Ok((Self { instance, number, target }, spare))
    }

    /// Another page is opened than the one that was there in advance.
    pub(super) fn renew(&mut self) {
        let mut state = self.instance.0.state();
        if let Some(target) = self.target.take() {
            state.openings.targets.remove(&target);
        }
        self.number = state.openings.next;
        state.openings.next += 1;
        state.openings.unnamed.insert(self.number);
    }

    /// Chrome has named the page.
    pub(super) fn named(&mut self, target: &str) {
        let mut state = self.instance.0.state();
        state.openings.unnamed.remove(&self.number);
        state.openings.targets.insert(target.to_owned());
        self.target = Some(target.to_owned());
        drop(state);
        self.instance.0.named.send_replace(());
    }
}

impl Drop for Opening<'_> {
    fn drop(&mut self) {
        let mut state = self.instance.0.state();
        state.openings.unnamed.remove(&self.number);
        if let Some(target) = &self.target {
            state.openings.targets.remove(target);
        }
        state.openings.count -= 1;
        drop(state);
        self.instance.0.named.send_replace(());
    }
}

impl State {
    /// Tabs that are being opened and are not among the others yet.
    pub(super) fn opening_tabs(&self) -> usize {
        let is_there = |slot: &&Slot| match slot {
            Slot::Awake(tab) => self.is_opening(tab.session().target_id()),
            Slot::Asleep(_) => false,
        };
        self.openings.count.saturating_sub(self.tabs.values().filter(is_there).count())
    }

    fn is_opening(&self, target_id: &str) -> bool {
        self.openings.targets.contains(target_id)
    }
}

impl Instance {
    /// Whether a page is one that is being opened here. What was begun before the page appeared has a name when this
    /// returns.
    pub(super) async fn opens(&self, target_id: &str) -> bool {
        let mut named = self.0.named.subscribe();
        let begun = self.0.state().openings.next;
        loop {
            named.borrow_and_update();
            {
                let state = self.0.state();
                if state.is_opening(target_id) {
                    return true;
                }
                if state.openings.unnamed.first().is_none_or(|number| *number >= begun) {
                    return false;
                }
            }
            // The sender is ours: it cannot be gone.
            named.changed().await.ok();
        }
    }
}
