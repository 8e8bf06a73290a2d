//! The rings of events and the lists of agents.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
};

use jiff::Timestamp;
use paddock_platform::identity::Tenant;
use serde::{Deserialize, Serialize};
use tokio::sync::broadcast;
use utoipa::{IntoParams, ToSchema};

use super::Event;
use crate::{config::BrowserOptions, ids::TabId};

/// Events that a watcher may be behind before it misses some.
const BEHIND_MAX: usize = 256;
/// Most events that one answer lists.
const LISTED_MAX: usize = 1000;
/// Events that one answer lists unless it is asked for another number.
const LISTED_DEFAULT: usize = 200;

/// An agent, by what it did.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AgentView {
    /// The name that it gives itself.
    pub id: String,
    /// As `id`.
    pub name: String,
    /// When it was first seen.
    #[schema(value_type = String)]
    pub connected_at: Timestamp,
    /// When it was last seen.
    #[schema(value_type = String)]
    pub last_activity: Timestamp,
    /// How many requests it has made.
    pub request_count: u64,
}

/// Which events are wanted.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", default)]
#[into_params(parameter_in = Query)]
pub(crate) struct Filter {
    /// `client` or `agent`.
    pub(crate) source: Option<String>,
    /// Those of one agent.
    pub(crate) agent_id: Option<String>,
    /// Those of one session.
    pub(crate) session_id: Option<String>,
    /// Those about one tab.
    #[param(value_type = Option<String>)]
    pub(crate) tab_id: Option<TabId>,
    /// Those of one instance.
    pub(crate) instance_id: Option<String>,
    /// Those whose path begins so.
    pub(crate) path_prefix: Option<String>,
    /// Those of the last so many seconds.
    pub(crate) age_sec: Option<u64>,
    /// Those since a moment.
    #[param(value_type = Option<String>)]
    pub(crate) since: Option<Timestamp>,
    /// Those until a moment.
    #[param(value_type = Option<String>)]
    pub(crate) until: Option<Timestamp>,
    /// At most so many, the last ones; 200 if absent, 1000 at most.
    pub(crate) limit: Option<usize>,
}

impl Filter {
    fn admits(&self, event: &Event, now: Timestamp) -> bool {
        let is = |wanted: &Option<String>, value: Option<&str>| {
            wanted.as_deref().is_none_or(|wanted| Some(wanted) == value)
        };
        let age = now.duration_since(event.timestamp).as_secs();
        is(&self.source, Some(&event.source))
            && is(&self.agent_id, Some(&event.agent_id))
            && is(&self.session_id, event.session_id.as_deref())
            && is(&self.instance_id, event.instance_id.as_ref().map(crate::ids::InstanceId::as_str))
            && self.tab_id.as_ref().is_none_or(|tab| event.tab_id.as_ref() == Some(tab))
            && self.path_prefix.as_ref().is_none_or(|prefix| event.path.starts_with(prefix))
            && self.age_sec.is_none_or(|max| age <= i64::try_from(max).unwrap_or(i64::MAX))
            && self.since.is_none_or(|since| event.timestamp >= since)
            && self.until.is_none_or(|until| event.timestamp <= until)
    }
}

/// The activity of all tenants.
#[derive(Debug)]
pub(crate) struct Activity {
    tenants: Mutex<HashMap<Tenant, Ring>>,
    feed: broadcast::Sender<(Tenant, Event)>,
}

#[derive(Debug, Default)]
struct Ring {
    events: VecDeque<Event>,
    agents: BTreeMap<String, AgentView>,
    count: u64,
}

impl Default for Activity {
    fn default() -> Self {
        Self { tenants: Mutex::default(), feed: broadcast::Sender::new(BEHIND_MAX) }
    }
}

impl Activity {
    /// Remembers an event, forgets the oldest at the bound, and tells those who watch.
    pub(crate) fn add(&self, tenant: &Tenant, mut event: Event, options: &BrowserOptions) {
        {
            let mut tenants = self.tenants();
            let ring = tenants.entry(tenant.clone()).or_default();
            ring.count += 1;
            event.id = ring.count;
            if !event.agent_id.is_empty() {
                ring.see(&event, options.agents_per_tenant_max);
            }
            ring.events.push_back(event.clone());
            while ring.events.len() > options.activity_max {
                ring.events.pop_front();
            }
        }
        // Nobody watches most of the time.
        let _ = self.feed.send((tenant.clone(), event));
    }

    /// The events that a filter admits, the last first.
    pub(crate) fn list(&self, tenant: &Tenant, filter: &Filter) -> Vec<Event> {
        let limit = filter.limit.unwrap_or(LISTED_DEFAULT).min(LISTED_MAX);
        let now = Timestamp::now();
        let tenants = self.tenants();
        let Some(ring) = tenants.get(tenant) else { return Vec::new() };
        ring.events.iter().rev().filter(|event| filter.admits(event, now)).take(limit).cloned().collect()
    }

    /// The agents that were seen, by name.
    pub(crate) fn agents(&self, tenant: &Tenant) -> Vec<AgentView> {
        self.tenants().get(tenant).map(|ring| ring.agents.values().cloned().collect()).unwrap_or_default()
    }

    /// One agent.
    pub(crate) fn agent(&self, tenant: &Tenant, id: &str) -> Option<AgentView> {
        self.tenants().get(tenant)?.agents.get(id).cloned()
    }

    /// How many events there were.
    pub(crate) fn count(&self, tenant: &Tenant) -> u64 {
        self.tenants().get(tenant).map_or(0, |ring| ring.count)
    }

    /// Events of all tenants from now on; the receiver picks its own.
    pub(crate) fn watch(&self) -> broadcast::Receiver<(Tenant, Event)> {
        self.feed.subscribe()
    }

    fn tenants(&self) -> MutexGuard<'_, HashMap<Tenant, Ring>> {
        self.tenants.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ring {
    fn see(&mut self, event: &Event, agents_max: usize) {
        let name = &event.agent_id;
        let agent = self.agents.entry(name.clone()).or_insert_with(|| AgentView {
            id: name.clone(),
            name: name.clone(),
            connected_at: event.timestamp,
            last_activity: event.timestamp,
            request_count: 0,
        });
        agent.last_activity = event.timestamp;
        agent.request_count += u64::from(event.source == "client");
        while self.agents.len() > agents_max.max(1) {
            let oldest = self.agents.values().min_by_key(|agent| agent.last_activity);
            let oldest = oldest.map(|agent| agent.id.clone());
            oldest.and_then(|id| self.agents.remove(&id));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{activity::AgentEvent, coordination::Identity};

    fn event(agent: &str) -> Event {
        let report =
            AgentEvent { kind: "note".to_owned(), message: String::new(), more: serde_json::Map::new() };
        Event::reported(agent, &Identity::Anonymous, report)
    }

    #[test]
    fn a_ring_forgets_its_oldest_and_shows_each_tenant_its_own() {
        let (activity, tenant) = (Activity::default(), Tenant::local());
        let options =
            BrowserOptions { activity_max: 2, agents_per_tenant_max: 2, ..BrowserOptions::default() };
        for agent in ["a", "b", "c"] {
            activity.add(&tenant, event(agent), &options);
        }
        let listed = activity.list(&tenant, &Filter::default());
        assert_eq!(listed.iter().map(|event| event.agent_id.as_str()).collect::<Vec<_>>(), ["c", "b"]);
        assert_eq!(activity.agents(&tenant).len(), 2);
        assert_eq!(activity.count(&tenant), 3);
        let of_b = Filter { agent_id: Some("b".to_owned()), ..Filter::default() };
        assert_eq!(activity.list(&tenant, &of_b).len(), 1);
        assert!(activity.list(&"other".parse().unwrap(), &Filter::default()).is_empty());
    }
}
