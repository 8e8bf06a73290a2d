//! In which order agents come that name others in `after`.

use std::{
    collections::{HashMap, VecDeque},
    hash::Hash,
};

/// How deep each lies: 0 for those that come after none of the others, and for the rest one more than the deepest of
/// those that they come after. What comes after itself, and what comes after that, is the deepest of all.
pub(crate) fn depths<K: Eq + Hash>(agents: &[(K, Vec<K>)]) -> Vec<usize> {
    let places: HashMap<&K, usize> =
        agents.iter().enumerate().map(|(place, (key, _))| (key, place)).collect();
    let mut missing = vec![0_usize; agents.len()];
    let mut followers: Vec<Vec<usize>> = vec![Vec::new(); agents.len()];
    for (place, (_, after)) in agents.iter().enumerate() {
        for first in after.iter().filter_map(|key| places.get(key)) {
            followers[*first].push(place);
            missing[place] += 1;
        }
    }
    let mut depths: Vec<Option<usize>> = vec![None; agents.len()];
    let mut wave: Vec<usize> = (0..agents.len()).filter(|place| missing[*place] == 0).collect();
    let mut depth = 0;
    while !wave.is_empty() {
        let mut next = Vec::new();
        for place in wave {
            depths[place] = Some(depth);
            for follower in &followers[place] {
                missing[*follower] -= 1;
                if missing[*follower] == 0 {
                    next.push(*follower);
                }
            }
        }
        wave = next;
        depth += 1;
    }
    depths.into_iter().map(|found| found.unwrap_or(depth)).collect()
}

/// The way from an agent by those that it comes after back to itself, if there is one: the agent is its first and its last.
pub(crate) fn circle<K: Clone + Eq + Hash>(
    agent: &K,
    after: &[K],
    after_of: impl Fn(&K) -> Vec<K>,
) -> Option<Vec<K>> {
    let (mut from, mut next): (HashMap<K, K>, VecDeque<K>) = (HashMap::new(), VecDeque::new());
    let mut look = |at: &K, before: &[K], next: &mut VecDeque<K>| {
        for first in before {
            if !from.contains_key(first) {
                from.insert(first.clone(), at.clone());
                next.push_back(first.clone());
            }
        }
        from.contains_key(agent)
    };
    let mut is_found = look(agent, after, &mut next);
    while !is_found && let Some(at) = next.pop_front() {
        is_found = look(&at, &after_of(&at), &mut next);
    }
    if !is_found {
        return None;
    }
    let mut way = vec![agent.clone()];
    let mut step = from.get(agent)?;
    while step != agent {
        way.push(step.clone());
        step = from.get(step)?;
    }
    way.push(agent.clone());
    way.reverse();
    Some(way)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn graph(text: &[(&'static str, &[&'static str])]) -> Vec<(&'static str, Vec<&'static str>)> {
        text.iter().map(|(name, after)| (*name, after.to_vec())).collect()
    }

    #[test]
    fn what_comes_after_others_lies_deeper() {
        let agents = graph(&[("c", &["b", "elsewhere"]), ("a", &[]), ("b", &["a"]), ("d", &["a", "c"])]);
        assert_eq!(depths(&agents), [2, 0, 1, 3]);
        assert_eq!(depths(&graph(&[("a", &["b"]), ("b", &["a"]), ("c", &["b"]), ("d", &[])])), [1, 1, 1, 0]);
        assert_eq!(depths::<u8>(&[]), Vec::<usize>::new());
    }

    #[test]
    fn a_circle_is_told_from_its_agent_on() {
        let agents = graph(&[("a", &[]), ("b", &["a"]), ("c", &["x", "b"]), ("d", &["d"])]);
        let after_of = |name: &&str| {
            agents.iter().find(|(of, _)| of == name).map(|(_, after)| after.clone()).unwrap_or_default()
        };
        assert_eq!(circle(&"a", &["c"], after_of), Some(vec!["a", "c", "b", "a"]));
        assert_eq!(circle(&"a", &["a"], after_of), Some(vec!["a", "a"]));
        assert_eq!(circle(&"e", &["c", "d"], after_of), None, "a circle of others is theirs");
    }

    proptest! {
        #[test]
        fn every_order_puts_those_first_that_others_come_after(edges in proptest::collection::vec((0_u8..12, 0_u8..12), 0..40)) {
            // From larger to smaller numbers: there is no circle.
            let after = |agent: u8| -> Vec<u8> {
                edges.iter().filter(|(from, to)| *from == agent && to < from).map(|(_, to)| *to).collect()
            };
            let agents: Vec<(u8, Vec<u8>)> = (0..12).rev().map(|agent| (agent, after(agent))).collect();
            let found = depths(&agents);
            let depth_of = |agent: u8| found[usize::from(11 - agent)];
            for agent in 0..12 {
                prop_assert!(after(agent).into_iter().all(|first| depth_of(first) < depth_of(agent)));
                prop_assert_eq!(circle(&agent, &after(agent), |at| after(*at)), None);
            }
        }
    }
}
