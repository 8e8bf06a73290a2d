//! What follows when an agent fails: restarts, with a limit to how many.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use jiff::Timestamp;
use paddock_platform::{identity::Tenant, units::HumanDuration};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    definition::AgentDefinition,
    message::{AgentName, InvalidField, Label},
    order,
};

/// Which agents of a group are restarted when one of them fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// That one.
    #[default]
    OneForOne,
    /// All of the group.
    OneForAll,
    /// That one, and those of the group that come after it: those that are `after` it, and those that were deployed later.
    RestForOne,
}

/// What happens when an agent fails.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Supervision {
    /// Which agents are restarted.
    pub strategy: Strategy,
    /// The agents that are supervised together name the same group. Its strategy is that of the one that fails.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<Label>,
    /// More restarts than this within `within`, and the agent (or its group) is stopped for good.
    pub restarts_max: u32,
    /// Over which time restarts are counted.
    #[schema(value_type = String)]
    pub within: HumanDuration,
    /// A message that was tried so often is put aside.
    pub attempts_max: u32,
}

impl Default for Supervision {
    fn default() -> Self {
        Self {
            strategy: Strategy::OneForOne,
            group: None,
            restarts_max: 10,
            within: HumanDuration::from_secs(60),
            attempts_max: 3,
        }
    }
}

impl Supervision {
    pub(crate) fn check(&self) -> Result<(), InvalidField> {
        if !(1..=100).contains(&self.attempts_max) {
            return Err(InvalidField::new("supervision.attempts_max", "must be 1 to 100"));
        }
        if self.restarts_max > 10_000 {
            return Err(InvalidField::new("supervision.restarts_max", "must be 10000 at most"));
        }
        Ok(())
    }
}

/// What is to be done about a failure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// Restart these; the one that failed is among them.
    Restart(Vec<AgentName>),
    /// These failed too often: stop them.
    GiveUp(Vec<AgentName>),
}

/// The supervisor of all agents. It knows no agents, only their names, and is told the time.
#[derive(Debug, Default)]
pub(crate) struct Supervisor {
    groups: Mutex<HashMap<(Tenant, Label), Group>>,
    alone: Mutex<HashMap<(Tenant, AgentName), VecDeque<Instant>>>,
}

#[derive(Debug, Default)]
struct Group {
    members: Vec<Member>,
    /// Whether they are in their order: those first that others come after, and of these those that were deployed first.
    is_sorted: bool,
    restarts: VecDeque<Instant>,
}

#[derive(Debug)]
struct Member {
    name: AgentName,
    after: Vec<AgentName>,
    /// When it was deployed first.
    since: Timestamp,
}

impl Group {
    /// The names of its members, in their order.
    fn names(&mut self) -> Vec<AgentName> {
        if !self.is_sorted {
            let agents: Vec<(AgentName, Vec<AgentName>)> =
                self.members.iter().map(|member| (member.name.clone(), member.after.clone())).collect();
            let depths = order::depths(&agents);
            let mut members: Vec<(usize, Member)> = depths.into_iter().zip(self.members.drain(..)).collect();
            members.sort_by(|(depth, left), (other, right)| {
                (depth, left.since, &left.name).cmp(&(other, right.since, &right.name))
            });
            self.members.extend(members.into_iter().map(|(_, member)| member));
            self.is_sorted = true;
        }
        self.members.iter().map(|member| member.name.clone()).collect()
    }
}

/// Counts one more restart, and gives whether there were too many.
fn is_too_many(restarts: &mut VecDeque<Instant>, max: u32, within: Duration, now: Instant) -> bool {
    while restarts.front().is_some_and(|first| now.duration_since(*first) > within) {
        restarts.pop_front();
    }
    restarts.push_back(now);
    // Never longer than what is asked of it.
    restarts.len() > max as usize
}

impl Supervisor {
    /// An agent is there, since this time, or is another than before.
    pub(crate) fn join(&self, tenant: &Tenant, definition: &AgentDefinition, since: Timestamp) {
        self.leave(tenant, &definition.name);
        if let Some(label) = &definition.supervision.group {
            let (name, after) = (definition.name.clone(), definition.after.clone());
            let mut groups = self.groups.lock().unwrap_or_else(PoisonError::into_inner);
            let group = groups.entry((tenant.clone(), label.clone())).or_default();
            group.members.push(Member { name, after, since });
            group.is_sorted = false;
        }
    }

    /// An agent is gone, or begins anew.
    pub(crate) fn leave(&self, tenant: &Tenant, name: &AgentName) {
        self.alone.lock().unwrap_or_else(PoisonError::into_inner).remove(&(tenant.clone(), name.clone()));
        let mut groups = self.groups.lock().unwrap_or_else(PoisonError::into_inner);
        groups.retain(|(of, _), group| {
            if of == tenant {
                group.members.retain(|member| member.name != *name);
            }
            !group.members.is_empty()
        });
    }

    /// An agent failed at this moment.
    pub(crate) fn failed(
        &self,
        tenant: &Tenant,
        name: &AgentName,
        supervision: &Supervision,
        now: Instant,
    ) -> Decision {
        let (max, within) = (supervision.restarts_max, supervision.within.get());
        let Some(label) = &supervision.group else {
            let mut alone = self.alone.lock().unwrap_or_else(PoisonError::into_inner);
            let restarts = alone.entry((tenant.clone(), name.clone())).or_default();
            let names = vec![name.clone()];
            return if is_too_many(restarts, max, within, now) {
                restarts.clear();
                Decision::GiveUp(names)
            } else {
                Decision::Restart(names)
            };
        };
        let mut groups = self.groups.lock().unwrap_or_else(PoisonError::into_inner);
        let group = groups.entry((tenant.clone(), label.clone())).or_default();
        let mut members = group.names();
        if !members.contains(name) {
            members.push(name.clone());
        }
        if is_too_many(&mut group.restarts, max, within, now) {
            group.restarts.clear();
            return Decision::GiveUp(members);
        }
        let from = members.iter().position(|member| member == name).unwrap_or_default();
        Decision::Restart(match supervision.strategy {
            Strategy::OneForOne => vec![name.clone()],
            Strategy::OneForAll => members,
            Strategy::RestForOne => members.split_off(from),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> AgentName {
        text.parse().unwrap()
    }

    fn supervision(strategy: Strategy, group: Option<&'static str>) -> Supervision {
        Supervision { strategy, group: group.map(Label::of), restarts_max: 2, ..Supervision::default() }
    }

    fn three(strategy: Strategy) -> (Supervisor, Supervision) {
        let (supervisor, supervision) = (Supervisor::default(), supervision(strategy, Some("g")));
        for (member, at) in ["a", "b", "c"].into_iter().zip(1..) {
            join(&supervisor, &supervision, member, &[], at);
        }
        (supervisor, supervision)
    }

    fn join(supervisor: &Supervisor, supervision: &Supervision, member: &str, after: &[&str], at: i64) {
        let after = after.iter().map(|first| name(first)).collect();
        let supervision = supervision.clone();
        let definition = AgentDefinition { supervision, after, ..AgentDefinition::native(name(member)) };
        supervisor.join(&Tenant::local(), &definition, Timestamp::from_second(at).unwrap());
    }

    #[test]
    fn a_group_is_in_the_order_of_dependencies_and_then_of_first_deployments() {
        let supervision = Supervision { restarts_max: 100, ..supervision(Strategy::RestForOne, Some("g")) };
        let supervisor = Supervisor::default();
        let members: [(&str, &[&str], i64); 5] =
            [("a", &["z", "elsewhere"], 1), ("m", &[], 3), ("z", &["m"], 4), ("b", &[], 2), ("m", &[], 3)];
        for (member, after, at) in members {
            join(&supervisor, &supervision, member, after, at);
        }
        let expected: [(&str, &[&str]); 5] = [
            ("b", &["b", "m", "z", "a"]),
            ("m", &["m", "z", "a"]),
            ("z", &["z", "a"]),
            ("a", &["a"]),
            ("unknown", &["unknown"]),
        ];
        for (failed, restarted) in expected {
            let decision = supervisor.failed(&Tenant::local(), &name(failed), &supervision, Instant::now());
            assert_eq!(decision, Decision::Restart(restarted.iter().map(|text| name(text)).collect()));
        }
    }

    #[test]
    fn a_strategy_says_who_is_restarted() {
        for (strategy, restarted) in [
            (Strategy::OneForOne, vec!["b"]),
            (Strategy::OneForAll, vec!["a", "b", "c"]),
            (Strategy::RestForOne, vec!["b", "c"]),
        ] {
            let (supervisor, supervision) = three(strategy);
            let decision = supervisor.failed(&Tenant::local(), &name("b"), &supervision, Instant::now());
            assert_eq!(decision, Decision::Restart(restarted.into_iter().map(name).collect()));
        }
    }

    #[test]
    fn too_many_restarts_stop_the_whole_group() {
        let (supervisor, supervision) = three(Strategy::OneForOne);
        let now = Instant::now();
        let fail = |member| supervisor.failed(&Tenant::local(), &name(member), &supervision, now);
        assert!(matches!(fail("a"), Decision::Restart(_)));
        assert!(matches!(fail("b"), Decision::Restart(_)));
        assert_eq!(fail("a"), Decision::GiveUp(["a", "b", "c"].map(name).to_vec()));
    }

    #[test]
    fn restarts_long_ago_do_not_count() {
        let (supervisor, supervision) = (Supervisor::default(), supervision(Strategy::OneForOne, None));
        let start = Instant::now();
        for minute in 0..10 {
            let now = start + Duration::from_secs(61) * minute;
            let decision = supervisor.failed(&Tenant::local(), &name("a"), &supervision, now);
            assert_eq!(decision, Decision::Restart(vec![name("a")]));
        }
    }

    #[test]
    fn one_that_left_is_not_restarted() {
        let (supervisor, supervision) = three(Strategy::OneForAll);
        supervisor.leave(&Tenant::local(), &name("c"));
        let decision = supervisor.failed(&Tenant::local(), &name("a"), &supervision, Instant::now());
        assert_eq!(decision, Decision::Restart(["a", "b"].map(name).to_vec()));
    }
}
