//! Fairness: which lanes the next places go to.
//!
//! Stride scheduling over groups (a queue and a pool): each place that a group gets moves it forward by the inverse of its weight,
//! and the group that is furthest behind is next. A group that had nothing begins where the others are: it saves
//! nothing up. Within a group tenants take turns.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::Arc,
};

use paddock_platform::identity::Tenant;

use super::Lane;

/// The step of weight 1. Divisible by every weight up to 16, and large enough for the others.
const STRIDE: u64 = 720_720 * 1_000;

/// How much is asked of a lane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Share {
    pub(crate) lane: Lane,
    pub(crate) count: usize,
    /// What was known of the lane when it was asked.
    version: u64,
}

/// A queue and a pool.
type GroupKey = (Arc<str>, Arc<str>);

/// A group that may be served: its step, its name, itself.
type Open<'a> = (u64, &'a GroupKey, &'a mut Group);

#[derive(Debug)]
struct Group {
    pass: u64,
    /// Tenants that may have ready jobs, in the order of their turns.
    turns: VecDeque<Tenant>,
}

/// The lanes that may have ready jobs.
#[derive(Debug, Default)]
pub(crate) struct Lanes {
    groups: BTreeMap<GroupKey, Group>,
    /// When each lane was last heard of: an answer that is older says nothing about what came after.
    versions: HashMap<Lane, u64>,
    /// Lanes that have jobs which may not run now, because of a limit of their queue.
    limited: BTreeMap<Arc<str>, Vec<Lane>>,
    /// Where the group is that had the last turn.
    clock: u64,
    heard: u64,
}

impl Lanes {
    /// A lane may have ready jobs.
    pub(crate) fn add(&mut self, lane: &Lane) {
        self.heard += 1;
        if self.versions.insert(lane.clone(), self.heard).is_some() {
            return;
        }
        let key = (Arc::clone(&lane.queue), Arc::clone(&lane.pool));
        let clock = self.clock;
        let group = self.groups.entry(key).or_insert_with(|| Group { pass: clock, turns: VecDeque::new() });
        if group.turns.is_empty() {
            group.pass = group.pass.max(clock);
        }
        group.turns.push_back(lane.tenant.clone());
    }

    /// A queue was paused and is no more: meanwhile it saved nothing up.
    pub(crate) fn reopened(&mut self, queue: &str) {
        let clock = self.clock;
        for (_, group) in self.groups.iter_mut().filter(|((of, _), _)| **of == *queue) {
            group.pass = group.pass.max(clock);
        }
    }

    /// A place became free in a queue that had reached a limit.
    pub(crate) fn freed(&mut self, queue: &str) {
        for lane in self.limited.remove(queue).unwrap_or_default() {
            self.add(&lane);
        }
    }

    /// All that had reached a limit may be asked again.
    pub(crate) fn all_freed(&mut self) {
        for lane in std::mem::take(&mut self.limited).into_values().flatten() {
            self.add(&lane);
        }
    }

    /// Divides `places` among the lanes. `weight` says what a group counts for, and `None` that it is out of the
    /// question; `serves` the same of a tenant.
    pub(crate) fn plan(
        &mut self,
        places: usize,
        weight: impl Fn(&str, &str) -> Option<u32>,
        serves: impl Fn(&Tenant) -> bool,
    ) -> Vec<Share> {
        let clock = self.clock;
        self.groups.retain(|_, group| !group.turns.is_empty() || group.pass > clock);
        let mut open: Vec<Open<'_>> = self
            .groups
            .iter_mut()
            .filter(|(_, group)| group.turns.iter().any(&serves))
            .filter_map(|(key, group)| {
                weight(&key.0, &key.1).map(|weight| (STRIDE / u64::from(weight.max(1)), key, group))
            })
            .collect();
        let mut counts: BTreeMap<Lane, usize> = BTreeMap::new();
        for _ in 0..places {
            // Few: queues times pools. The first of equals is the one that was first last time, too: passes differ next.
            let Some((stride, key, group)) = open.iter_mut().min_by_key(|(_, _, group)| group.pass) else {
                break;
            };
            self.clock = group.pass;
            group.pass += *stride;
            let Some(position) = group.turns.iter().position(&serves) else { break };
            let Some(tenant) = group.turns.remove(position) else { break };
            group.turns.push_back(tenant.clone());
            let lane = Lane { queue: Arc::clone(&key.0), pool: Arc::clone(&key.1), tenant };
            *counts.entry(lane).or_default() += 1;
        }
        let version = |lane: &Lane| self.versions.get(lane).copied().unwrap_or(0);
        counts.into_iter().map(|(lane, count)| Share { version: version(&lane), lane, count }).collect()
    }

    /// What a lane gave when it was asked. One that gave less than it was asked for has nothing left, unless it was heard
    /// of since; with `limited` it has, and may not now.
    pub(crate) fn gave(&mut self, share: &Share, got: usize, limited: bool) {
        if got >= share.count {
            return;
        }
        if limited {
            self.limited.entry(Arc::clone(&share.lane.queue)).or_default().push(share.lane.clone());
        } else if self.versions.get(&share.lane) != Some(&share.version) {
            return;
        }
        self.remove(&share.lane);
    }

    fn remove(&mut self, lane: &Lane) {
        self.versions.remove(lane);
        let key = (Arc::clone(&lane.queue), Arc::clone(&lane.pool));
        if let Some(group) = self.groups.get_mut(&key) {
            group.turns.retain(|tenant| *tenant != lane.tenant);
            // Its pass is kept while others are behind it: leaving and coming back gains nothing.
            if group.turns.is_empty() && group.pass <= self.clock {
                self.groups.remove(&key);
            }
        }
    }

    /// Lanes that are known.
    pub(crate) fn len(&self) -> usize {
        self.versions.len()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn lane(queue: &str, tenant: &str) -> Lane {
        Lane { queue: queue.into(), pool: "".into(), tenant: tenant.parse().unwrap() }
    }

    #[expect(clippy::unnecessary_wraps, reason = "as the plan asks for it")]
    fn weight(queue: &str, _: &str) -> Option<u32> {
        Some(match queue {
            "critical" => 3,
            "standard" => 2,
            _ => 1,
        })
    }

    fn everybody(_: &Tenant) -> bool {
        true
    }

    fn total(shares: &[Share], queue: &str) -> usize {
        shares.iter().filter(|share| &*share.lane.queue == queue).map(|share| share.count).sum()
    }

    #[test]
    fn places_are_divided_by_weight() {
        let mut lanes = Lanes::default();
        for queue in ["critical", "standard", "low"] {
            lanes.add(&lane(queue, "a"));
        }
        let shares = lanes.plan(600, weight, everybody);
        assert_eq!(["critical", "standard", "low"].map(|queue| total(&shares, queue)), [300, 200, 100]);
    }

    #[test]
    fn a_queue_that_was_paused_has_saved_nothing_up() {
        let mut lanes = Lanes::default();
        lanes.add(&lane("critical", "a"));
        lanes.add(&lane("low", "a"));
        let paused = |queue: &str, pool: &str| (queue != "low").then(|| weight(queue, pool)).flatten();
        assert_eq!(total(&lanes.plan(900, paused, everybody), "critical"), 900);
        lanes.reopened("low");
        let shares = lanes.plan(400, weight, everybody);
        assert_eq!(["critical", "low"].map(|queue| total(&shares, queue)), [300, 100]);
    }

    #[test]
    fn small_rounds_come_to_the_same_division_and_nobody_starves() {
        let mut lanes = Lanes::default();
        for queue in ["critical", "standard", "low"] {
            lanes.add(&lane(queue, "a"));
        }
        let mut counts = [0; 3];
        for _ in 0..120 {
            let shares = lanes.plan(5, weight, everybody);
            for (count, queue) in counts.iter_mut().zip(["critical", "standard", "low"]) {
                *count += total(&shares, queue);
            }
        }
        assert_eq!(counts, [300, 200, 100]);
    }

    #[test]
    fn tenants_take_turns_however_much_one_has() {
        let mut lanes = Lanes::default();
        for _ in 0..1_000 {
            lanes.add(&lane("low", "loud"));
        }
        lanes.add(&lane("low", "quiet"));
        let shares = lanes.plan(10, weight, everybody);
        assert!(shares.iter().all(|share| share.count == 5), "{shares:?}");
    }

    #[test]
    fn a_queue_that_was_empty_saves_nothing_up() {
        let mut lanes = Lanes::default();
        lanes.add(&lane("low", "a"));
        lanes.plan(1_000, weight, everybody);
        lanes.add(&lane("critical", "a"));
        let shares = lanes.plan(40, weight, everybody);
        // The first turn is its own, too.
        assert_eq!((total(&shares, "critical"), total(&shares, "low")), (31, 9));
    }

    #[test]
    fn a_lane_that_gave_less_is_asked_no_more_until_it_is_heard_of() {
        let mut lanes = Lanes::default();
        lanes.add(&lane("low", "a"));
        let shares = lanes.plan(2, weight, everybody);
        lanes.gave(&shares[0], 1, false);
        assert!(lanes.plan(1, weight, everybody).is_empty());
        lanes.add(&lane("low", "a"));
        assert_eq!(lanes.plan(1, weight, everybody).len(), 1);
    }

    #[test]
    fn news_that_came_while_a_lane_was_asked_is_not_lost() {
        let mut lanes = Lanes::default();
        lanes.add(&lane("low", "a"));
        let shares = lanes.plan(2, weight, everybody);
        lanes.add(&lane("low", "a"));
        lanes.gave(&shares[0], 0, false);
        assert_eq!(lanes.plan(1, weight, everybody).len(), 1);
    }

    #[test]
    fn a_lane_at_a_limit_is_asked_again_when_a_place_is_free() {
        let mut lanes = Lanes::default();
        lanes.add(&lane("low", "a"));
        let shares = lanes.plan(2, weight, everybody);
        lanes.gave(&shares[0], 0, true);
        assert!(lanes.plan(1, weight, everybody).is_empty());
        lanes.freed("low");
        assert_eq!(lanes.plan(1, weight, everybody).len(), 1);
    }

    #[test]
    fn a_worker_of_one_tenant_gets_nothing_of_another() {
        let mut lanes = Lanes::default();
        lanes.add(&lane("low", "a"));
        lanes.add(&lane("low", "b"));
        let shares = lanes.plan(4, weight, |tenant| tenant.as_str() == "b");
        assert_eq!(shares.len(), 1);
        assert_eq!((shares[0].lane.tenant.as_str(), shares[0].count), ("b", 4));
    }

    proptest! {
        /// Whatever comes and goes: every place goes to somebody while there is somebody, and with steady supply no lane
        /// waits longer than a full turn of everybody.
        #[test]
        fn no_place_is_wasted_and_no_lane_starves(
            known in prop::collection::btree_set((0_u8..3, 0_u8..6), 1..12), places in 1_usize..40,
        ) {
            let names = ["critical", "standard", "low"];
            let mut lanes = Lanes::default();
            for (queue, tenant) in &known {
                lanes.add(&lane(names[usize::from(*queue)], &format!("t{tenant}")));
            }
            let mut served: BTreeMap<Lane, usize> = BTreeMap::new();
            for _ in 0..(6 * 6 * 3) {
                let shares = lanes.plan(places, weight, everybody);
                prop_assert_eq!(shares.iter().map(|share| share.count).sum::<usize>(), places);
                for share in shares {
                    *served.entry(share.lane).or_default() += share.count;
                }
            }
            prop_assert_eq!(served.len(), known.len());
        }
    }
}
