//! Whose turn it is.

use std::collections::BTreeMap;

/// The bounds of a tenant's tasks.
#[expect(clippy::struct_field_names, reason = "every bound ends in `_max`")]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Tasks that wait.
    pub(crate) queued_max: usize,
    /// Tasks of one agent that wait.
    pub(crate) queued_per_agent_max: usize,
    /// Tasks under way.
    pub(crate) running_max: usize,
    /// Tasks of one agent under way.
    pub(crate) running_per_agent_max: usize,
}

/// Tasks that wait, by agent, and how many are under way.
#[derive(Debug, Default)]
pub(super) struct Queue {
    agents: BTreeMap<String, Agent>,
    queued: usize,
    running: usize,
    sequence: u64,
}

#[derive(Debug, Default)]
struct Agent {
    /// Ids by priority and age.
    waiting: BTreeMap<(i64, u64), String>,
    running: usize,
}

impl Queue {
    /// Takes a task in; its place in the queue, from 1, or which bound is in the way.
    pub(super) fn push(
        &mut self,
        agent: &str,
        priority: i64,
        id: &str,
        limits: &Limits,
    ) -> Result<usize, String> {
        if self.queued >= limits.queued_max {
            return Err(format!("global queue full ({}/{})", self.queued, limits.queued_max));
        }
        let waiting = self.agents.get(agent).map_or(0, |agent| agent.waiting.len());
        if waiting >= limits.queued_per_agent_max {
            return Err(format!(
                "agent queue full for {agent:?} ({waiting}/{})",
                limits.queued_per_agent_max
            ));
        }
        self.sequence += 1;
        self.queued += 1;
        let place = (priority, self.sequence);
        self.agents.entry(agent.to_owned()).or_default().waiting.insert(place, id.to_owned());
        Ok(self.queued)
    }

    /// The id of the next task, which is under way from now on.
    pub(super) fn pop(&mut self, limits: &Limits) -> Option<String> {
        if self.running >= limits.running_max {
            return None;
        }
        let free = self
            .agents
            .values_mut()
            .filter(|agent| !agent.waiting.is_empty() && agent.running < limits.running_per_agent_max);
        let oldest = |agent: &Agent| agent.waiting.keys().map(|(_, sequence)| *sequence).min();
        let agent = free.min_by_key(|agent| (agent.running, oldest(agent)))?;
        let (_, id) = agent.waiting.pop_first()?;
        agent.running += 1;
        self.queued -= 1;
        self.running += 1;
        Some(id)
    }

    /// Takes a task that waits out.
    pub(super) fn remove(&mut self, agent: &str, id: &str) {
        let Some(of_agent) = self.agents.get_mut(agent) else { return };
        let before = of_agent.waiting.len();
        of_agent.waiting.retain(|_, waiting| waiting != id);
        self.queued -= before - of_agent.waiting.len();
        self.forget_idle(agent);
    }

    /// A task of an agent that was under way has stopped.
    pub(super) fn stopped(&mut self, agent: &str) {
        if let Some(of_agent) = self.agents.get_mut(agent) {
            of_agent.running -= 1;
            self.running -= 1;
        }
        self.forget_idle(agent);
    }

    fn forget_idle(&mut self, agent: &str) {
        if self.agents.get(agent).is_some_and(|agent| agent.waiting.is_empty() && agent.running == 0) {
            self.agents.remove(agent);
        }
    }

    pub(super) fn queued(&self) -> usize {
        self.queued
    }

    pub(super) fn running(&self) -> usize {
        self.running
    }

    /// How many tasks of each agent wait.
    pub(super) fn queued_by_agent(&self) -> BTreeMap<String, usize> {
        let waiting = self.agents.iter().map(|(name, agent)| (name.clone(), agent.waiting.len()));
        waiting.filter(|(_, count)| *count > 0).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMITS: Limits =
        Limits { queued_max: 6, queued_per_agent_max: 4, running_max: 3, running_per_agent_max: 2 };

    fn queue(tasks: &[(&str, i64, &str)]) -> Queue {
        let mut queue = Queue::default();
        for (agent, priority, id) in tasks {
            queue.push(agent, *priority, id, &LIMITS).unwrap();
        }
        queue
    }

    #[test]
    fn an_agents_urgent_tasks_come_first_and_equal_ones_by_age() {
        let mut queue = queue(&[("a", 5, "later"), ("a", 1, "first"), ("a", 5, "last")]);
        assert_eq!(queue.pop(&LIMITS).as_deref(), Some("first"));
        assert_eq!(queue.pop(&LIMITS).as_deref(), Some("later"));
        assert_eq!(queue.pop(&LIMITS), None, "the agent has two under way");
        queue.stopped("a");
        assert_eq!(queue.pop(&LIMITS).as_deref(), Some("last"));
    }

    #[test]
    fn the_agent_with_the_fewest_tasks_under_way_is_next() {
        let mut queue = queue(&[("busy", 0, "b1"), ("busy", 0, "b2"), ("busy", 0, "b3"), ("calm", 9, "c1")]);
        let order: Vec<_> = std::iter::from_fn(|| queue.pop(&LIMITS)).collect();
        assert_eq!(order, ["b1", "c1", "b2"]);
    }

    #[test]
    fn each_bound_is_named() {
        let mut queue = queue(&[("a", 0, "1"), ("a", 0, "2"), ("a", 0, "3"), ("a", 0, "4")]);
        assert!(queue.push("a", 0, "5", &LIMITS).unwrap_err().starts_with("agent queue full"));
        assert_eq!(queue.push("b", 0, "5", &LIMITS), Ok(5));
        assert_eq!(queue.push("c", 0, "6", &LIMITS), Ok(6));
        assert!(queue.push("d", 0, "7", &LIMITS).unwrap_err().starts_with("global queue full"));
    }

    proptest! {
        #[test]
        fn counts_agree_with_what_is_there_and_no_bound_is_passed(
            steps in prop::collection::vec((0_u8..4, 0_u8..3, -2_i64..3), 0..120),
        ) {
            let mut queue = Queue::default();
            let (mut waiting, mut running) = (Vec::new(), Vec::new());
            for (index, (step, agent, priority)) in steps.into_iter().enumerate() {
                let (agent, id) = (agent.to_string(), index.to_string());
                match step {
                    0 | 1 => if queue.push(&agent, priority, &id, &LIMITS).is_ok() { waiting.push((agent, id)) },
                    2 => if let Some(id) = queue.pop(&LIMITS) {
                        let at = waiting.iter().position(|(_, waiting)| *waiting == id).unwrap();
                        running.push(waiting.remove(at).0);
                    },
                    _ => {
                        if let Some(agent) = running.pop() { queue.stopped(&agent) }
                        if !waiting.is_empty() {
                            let (agent, id) = waiting.remove(0);
                            queue.remove(&agent, &id);
                        }
                    }
                }
                prop_assert_eq!((queue.queued(), queue.running()), (waiting.len(), running.len()));
                prop_assert!(queue.queued() <= LIMITS.queued_max && queue.running() <= LIMITS.running_max);
                prop_assert_eq!(queue.queued_by_agent().values().sum::<usize>(), waiting.len());
                if waiting.is_empty() && running.is_empty() { prop_assert!(queue.agents.is_empty()) }
            }
        }
    }
}
