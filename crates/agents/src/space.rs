//! The agents of one tenant, and who is meant by an address.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicUsize, Ordering},
};

use paddock_platform::identity::Tenant;
use tokio::sync::mpsc;

use crate::{
    cell::Cell,
    live,
    message::{Address, AgentName, Capability, Label, Message, Pick, Topic},
};

/// One tenant's agents. Looking one up takes no lock.
pub(crate) struct Space {
    pub(crate) tenant: Tenant,
    pub(crate) agents: papaya::HashMap<AgentName, Arc<Cell>>,
    capabilities: papaya::HashMap<Capability, Arc<Group>>,
    topics: papaya::HashMap<Topic, Arc<Group>>,
    /// Those outside who wait for answers.
    pub(crate) askers: papaya::HashMap<Label, mpsc::Sender<Arc<Message>>>,
    /// Changes are made one at a time: they read, and then replace.
    changing: Mutex<()>,
}

impl std::fmt::Debug for Space {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Space").field("tenant", &self.tenant).finish_non_exhaustive()
    }
}

/// Agents that have something in common. Replaced whole when one comes or goes.
struct Group {
    members: Vec<Arc<Cell>>,
    next: AtomicUsize,
}

impl Group {
    fn least_loaded(&self) -> Option<&Arc<Cell>> {
        // From another one each time, so that equals take turns.
        let from = self.next.fetch_add(1, Ordering::Relaxed);
        let count = self.members.len();
        (0..count).map(|step| &self.members[(from + step) % count]).min_by_key(|cell| cell.mailbox.len())
    }

    fn any(&self) -> Option<&Arc<Cell>> {
        let from = self.next.fetch_add(1, Ordering::Relaxed);
        self.members.get(from % self.members.len().max(1))
    }
}

fn with(group: Option<&Arc<Group>>, cell: &Arc<Cell>) -> Arc<Group> {
    let mut members: Vec<Arc<Cell>> = group.map(|group| group.members.clone()).unwrap_or_default();
    members.retain(|member| !Arc::ptr_eq(member, cell));
    members.push(Arc::clone(cell));
    Arc::new(Group { members, next: AtomicUsize::new(0) })
}

fn without(group: &Arc<Group>, cell: &Arc<Cell>) -> Option<Arc<Group>> {
    let members: Vec<Arc<Cell>> =
        group.members.iter().filter(|member| !Arc::ptr_eq(member, cell)).cloned().collect();
    (!members.is_empty()).then(|| Arc::new(Group { members, next: AtomicUsize::new(0) }))
}

macro_rules! join_and_leave {
    ($join:ident, $leave:ident, $map:ident, $key:ty) => {
        fn $join(&self, key: &$key, cell: &Arc<Cell>) {
            let map = self.$map.pin();
            let group = with(map.get(key), cell);
            map.insert(key.clone(), group);
        }

        fn $leave(&self, key: &$key, cell: &Arc<Cell>) {
            let map = self.$map.pin();
            let Some(group) = map.get(key) else { return };
            match without(group, cell) {
                Some(group) => map.insert(key.clone(), group),
                None => map.remove(key),
            };
        }
    };
}

impl Space {
    pub(crate) fn new(tenant: Tenant) -> Self {
        Self {
            tenant,
            agents: papaya::HashMap::new(),
            capabilities: papaya::HashMap::new(),
            topics: papaya::HashMap::new(),
            askers: papaya::HashMap::new(),
            changing: Mutex::new(()),
        }
    }

    join_and_leave!(join_capability, leave_capability, capabilities, Capability);
    join_and_leave!(join_topic, leave_topic, topics, Topic);

    /// An agent can do these, and listens to those, and no longer to what it did before.
    pub(crate) fn enlist(
        &self,
        cell: &Arc<Cell>,
        before: (&[Capability], &[Topic]),
        now: (&[Capability], &[Topic]),
    ) {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        before.0.iter().filter(|old| !now.0.contains(old)).for_each(|old| self.leave_capability(old, cell));
        before.1.iter().filter(|old| !now.1.contains(old)).for_each(|old| self.leave_topic(old, cell));
        now.0.iter().filter(|new| !before.0.contains(new)).for_each(|new| self.join_capability(new, cell));
        now.1.iter().filter(|new| !before.1.contains(new)).for_each(|new| self.join_topic(new, cell));
    }

    pub(crate) fn subscribe(&self, topic: &Topic, cell: &Arc<Cell>, is_on: bool) {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        if is_on {
            self.join_topic(topic, cell);
        } else {
            self.leave_topic(topic, cell);
        }
    }

    /// Forgets an agent wherever it is listed. Gives whether it was.
    pub(crate) fn remove(&self, cell: &Arc<Cell>) -> bool {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let agents = self.agents.pin();
        if !agents.get(&cell.name).is_some_and(|there| Arc::ptr_eq(there, cell)) {
            return false;
        }
        agents.remove(&cell.name);
        let capabilities: Vec<Capability> = self.capabilities.pin().keys().cloned().collect();
        for capability in &capabilities {
            self.leave_capability(capability, cell);
        }
        let topics: Vec<Topic> = self.topics.pin().keys().cloned().collect();
        for topic in &topics {
            self.leave_topic(topic, cell);
        }
        true
    }

    /// Gives a message to somebody outside who waits for answers. What is only told on the way leaves room for the answer.
    pub(crate) fn answer(&self, asker: &Label, message: &Arc<Message>) -> bool {
        let askers = self.askers.pin();
        askers.get(asker).is_some_and(|asker| {
            let has_room = !live::is_told(message) || asker.capacity() * 2 > asker.max_capacity();
            has_room && asker.try_send(Arc::clone(message)).is_ok()
        })
    }

    pub(crate) fn agent(&self, name: &AgentName) -> Option<Arc<Cell>> {
        self.agents.pin().get(name).cloned()
    }

    pub(crate) fn cells(&self) -> Vec<Arc<Cell>> {
        self.agents.pin().values().cloned().collect()
    }

    /// Calls `found` with each agent that is meant, and gives how many there were.
    pub(crate) fn each(&self, address: &Address, mut found: impl FnMut(&Arc<Cell>)) -> usize {
        match address {
            Address::Agent(name) => {
                let agents = self.agents.pin();
                let Some(cell) = agents.get(name) else { return 0 };
                found(cell);
                1
            }
            Address::Capability { name, pick } => {
                let capabilities = self.capabilities.pin();
                let Some(group) = capabilities.get(name) else { return 0 };
                let one = match pick {
                    Pick::LeastLoaded => group.least_loaded(),
                    Pick::Any => group.any(),
                    Pick::All => {
                        group.members.iter().for_each(found);
                        return group.members.len();
                    }
                };
                one.map(found).map_or(0, |()| 1)
            }
            Address::Topic(topic) => {
                let topics = self.topics.pin();
                let Some(group) = topics.get(topic) else { return 0 };
                group.members.iter().for_each(found);
                group.members.len()
            }
            Address::Caller(_) => 0,
        }
    }
}
