//! The tab that a caller means when it names none.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use http::StatusCode;
use paddock_platform::{identity::Tenant, problem::ProblemKind};

use crate::ids::TabId;

/// A session or an agent has no current tab: it has not navigated yet, or its tab was closed.
pub const NO_CURRENT_TAB: ProblemKind =
    ProblemKind::new("no-current-tab", StatusCode::CONFLICT, "No current tab");

/// Who a caller is among those of its tenant.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) enum Identity {
    /// Nobody in particular: the tab of the tenant that was used last is meant.
    #[default]
    Anonymous,
    /// The bearer of a session, by its id.
    Session(String),
    /// An agent, by the name that it gives itself.
    Agent(String),
}

impl std::fmt::Display for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Anonymous => f.write_str("anonymous"),
            Self::Session(id) => write!(f, "session `{id}`"),
            Self::Agent(name) => write!(f, "agent `{name}`"),
        }
    }
}

/// Which tab is current for whom. Of each tenant the identities that were seen last are known.
#[derive(Debug, Default)]
pub(crate) struct CurrentTabs(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// Counts uses, to find the oldest.
    clock: u64,
    tenants: HashMap<Tenant, HashMap<Identity, Entry>>,
}

#[derive(Debug)]
struct Entry {
    tab: TabId,
    used: u64,
}

impl CurrentTabs {
    /// The tab of an identity.
    pub(crate) fn get(&self, tenant: &Tenant, identity: &Identity) -> Option<TabId> {
        let mut state = self.state();
        state.clock += 1;
        let clock = state.clock;
        let entry = state.tenants.get_mut(tenant)?.get_mut(identity)?;
        entry.used = clock;
        Some(entry.tab.clone())
    }

    /// Makes a tab the current one. At `identities_max`, the identity of the tenant that was not seen for longest is
    /// forgotten.
    pub(crate) fn set(&self, tenant: &Tenant, identity: &Identity, tab: &TabId, identities_max: usize) {
        if *identity == Identity::Anonymous {
            return;
        }
        let mut state = self.state();
        state.clock += 1;
        let used = state.clock;
        let entries = state.tenants.entry(tenant.clone()).or_default();
        entries.insert(identity.clone(), Entry { tab: tab.clone(), used });
        while entries.len() > identities_max.max(1) {
            let oldest = entries.iter().min_by_key(|(_, entry)| entry.used).map(|(key, _)| key.clone());
            oldest.and_then(|oldest| entries.remove(&oldest));
        }
    }

    /// Forgets a tab that is gone.
    pub(crate) fn forget(&self, tenant: &Tenant, tab: &TabId) {
        let mut state = self.state();
        if let Some(entries) = state.tenants.get_mut(tenant) {
            entries.retain(|_, entry| entry.tab != *tab);
            if entries.is_empty() {
                state.tenants.remove(tenant);
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agent(name: &str) -> Identity {
        Identity::Agent(name.to_owned())
    }

    #[test]
    fn each_agent_of_each_tenant_has_its_own() {
        let (tabs, ours, theirs) = (CurrentTabs::default(), Tenant::local(), "other".parse().unwrap());
        let (one, other) = (TabId::new(), TabId::new());
        tabs.set(&ours, &agent("a"), &one, 10);
        tabs.set(&ours, &Identity::Session("a".to_owned()), &other, 10);
        assert_eq!(tabs.get(&ours, &agent("a")), Some(one.clone()));
        assert_eq!(tabs.get(&ours, &Identity::Session("a".to_owned())), Some(other));
        assert_eq!(tabs.get(&theirs, &agent("a")), None);
        tabs.forget(&ours, &one);
        assert_eq!(tabs.get(&ours, &agent("a")), None);
    }

    #[test]
    fn the_agent_that_was_not_seen_for_longest_is_forgotten() {
        let (tabs, tenant) = (CurrentTabs::default(), Tenant::local());
        for name in ["a", "b"] {
            tabs.set(&tenant, &agent(name), &TabId::new(), 2);
        }
        tabs.get(&tenant, &agent("a"));
        tabs.set(&tenant, &agent("c"), &TabId::new(), 2);
        assert!(tabs.get(&tenant, &agent("b")).is_none());
        assert!(tabs.get(&tenant, &agent("a")).is_some() && tabs.get(&tenant, &agent("c")).is_some());
    }
}
