//! Which target and which credential, now.

use std::{sync::Arc, time::Duration};

use super::{Ask, Plan, Route, Strategy, Target};
use crate::resilience::{Blocked, Lane, Permit};

/// What a hybrid score is made of.
pub(super) const HYBRID_WEIGHTS: [(&str, f64); 4] =
    [("cost", 0.4), ("speed", 0.3), ("quality", 0.2), ("reliability", 0.1)];

/// A place for a call.
#[derive(Debug)]
pub(crate) struct Choice {
    pub(crate) target: Arc<Target>,
    pub(crate) permit: Permit,
    /// Which of the routes it is of: 0 is the first, others are fallbacks.
    pub(crate) stage: usize,
    /// What was passed over, and why.
    pub(crate) skipped: Vec<(String, &'static str)>,
}

/// There is no place for a call.
#[derive(Debug)]
pub(crate) struct NoChoice {
    /// When there may be one, as far as anybody knows.
    pub(crate) wait: Option<Duration>,
    pub(crate) skipped: Vec<(String, &'static str)>,
}

impl NoChoice {
    /// Whether every target was passed over for this reason.
    pub(crate) fn is_all(&self, reason: &str) -> bool {
        !self.skipped.is_empty() && self.skipped.iter().all(|(_, why)| *why == reason)
    }
}

/// Picks a place for a call. Lanes in `tried` are passed over.
pub(crate) fn choose(
    plan: &Plan,
    routes: &[Arc<Route>],
    ask: &Ask<'_>,
    tried: &[Arc<Lane>],
) -> Result<Choice, NoChoice> {
    if let Some(again) = ask.again.and_then(|place| again_at(plan, routes, ask, tried, place)) {
        return again;
    }
    let mut none = NoChoice { wait: None, skipped: Vec::new() };
    // What was ejected is better than nothing.
    for even_ejected in [false, true] {
        for (stage, route) in routes.iter().enumerate() {
            for target in ranked(route, ask) {
                let limits = (even_ejected, route.cost_max);
                if let Some(permit) = lane_of(plan, target, ask, tried, limits, &mut none) {
                    let target = Arc::clone(target);
                    return Ok(Choice { target, permit, stage, skipped: none.skipped });
                }
            }
        }
        if !none.skipped.iter().any(|(_, why)| *why == "ejected") {
            break;
        }
    }
    Err(none)
}

/// The place where a call may have been made already, or a wait for it. `None`: it is not there any more, or fails; then the
/// call is better made elsewhere than not at all.
fn again_at(
    plan: &Plan,
    routes: &[Arc<Route>],
    ask: &Ask<'_>,
    tried: &[Arc<Lane>],
    place: &str,
) -> Option<Result<Choice, NoChoice>> {
    let targets = routes
        .iter()
        .enumerate()
        .flat_map(|(stage, route)| route.targets.iter().map(move |target| (stage, target)));
    let mut lanes =
        targets.flat_map(|(stage, target)| target.lanes.iter().map(move |lane| (stage, target, lane)));
    let (stage, target, lane) = lanes.find(|(_, _, lane)| name_of(lane) == place)?;
    if tried.iter().any(|tried| Arc::ptr_eq(tried, lane)) {
        return None;
    }
    match lane.admit(&plan.lane_settings, ask.tokens_in + ask.tokens_out, true) {
        Ok(permit) => Some(Ok(Choice { target: Arc::clone(target), permit, stage, skipped: Vec::new() })),
        Err(Blocked { reason: "breaker" | "no-key", .. }) => None,
        Err(Blocked { reason, wait }) => {
            Some(Err(NoChoice { wait: Some(wait), skipped: vec![(name_of(lane), reason)] }))
        }
    }
}

/// The first credential of a target that has a place; credentials come in an order by chance and weight.
fn lane_of(
    plan: &Plan,
    target: &Arc<Target>,
    ask: &Ask<'_>,
    tried: &[Arc<Lane>],
    (even_ejected, cost_max): (bool, Option<crate::govern::Pico>),
    none: &mut NoChoice,
) -> Option<Permit> {
    if let Some(reason) = target.unfit(ask, cost_max) {
        none.skipped.push((format!("{}/{}", target.provider.name, target.model), reason));
        return None;
    }
    let tokens = ask.tokens_in + ask.tokens_out;
    let admit = |lane: &Arc<Lane>| lane.admit(&plan.lane_settings, tokens, even_ejected);
    let order = by_chance(target.lanes.len(), |index| target.lanes[index].credential.weight);
    for index in order {
        let lane = &target.lanes[index];
        if tried.iter().any(|tried| Arc::ptr_eq(tried, lane)) {
            continue;
        }
        match admit(lane) {
            Ok(permit) => return Some(permit),
            Err(Blocked { reason, wait }) => {
                none.wait = Some(none.wait.map_or(wait, |known| known.min(wait)));
                none.skipped.push((name_of(lane), reason));
            }
        }
    }
    None
}

/// A place, for people.
pub(crate) fn name_of(lane: &Lane) -> String {
    format!("{}/{}#{}", lane.provider, lane.model, lane.credential.name)
}

/// Targets of a route, the best first.
fn ranked<'a>(route: &'a Route, ask: &Ask<'_>) -> Vec<&'a Arc<Target>> {
    let targets = &route.targets;
    if targets.len() == 1 {
        return vec![&targets[0]];
    }
    let order = match route.strategy {
        Strategy::Weighted => by_chance(targets.len(), |index| targets[index].weight),
        strategy => {
            let scores = scores(strategy, targets, ask);
            let mut order: Vec<usize> = (0..targets.len()).collect();
            // By chance among equals: nothing known yet must not mean always the first.
            fastrand::shuffle(&mut order);
            order.sort_by(|left, right| scores[*right].total_cmp(&scores[*left]));
            order
        }
    };
    order.into_iter().map(|index| &targets[index]).collect()
}

/// All indices in an order by chance, in which each is first in proportion to its weight. A weight of zero is last.
fn by_chance(count: usize, weight: impl Fn(usize) -> f64) -> Vec<usize> {
    if count == 1 {
        return vec![0];
    }
    let mut keyed: Vec<(f64, usize)> = (0..count)
        .map(|index| {
            let draw = -(1.0 - fastrand::f64()).max(f64::MIN_POSITIVE).ln();
            (draw / weight(index).max(1e-12), index)
        })
        .collect();
    keyed.sort_by(|left, right| left.0.total_cmp(&right.0));
    keyed.into_iter().map(|(_, index)| index).collect()
}

/// How good each target is by a strategy; more is better.
pub(super) fn scores(strategy: Strategy, targets: &[Arc<Target>], ask: &Ask<'_>) -> Vec<f64> {
    match strategy {
        Strategy::Weighted => targets.iter().map(|target| target.weight).collect(),
        // What has no price is not taken for free.
        Strategy::Cheapest => targets
            .iter()
            .map(|target| target.price.map_or(f64::MIN, |_| -(target.estimate(ask) as f64)))
            .collect(),
        // What was not tried yet is tried.
        Strategy::Fastest => targets.iter().map(|target| -speed(target)).collect(),
        Strategy::LeastBusy => targets
            .iter()
            .map(|target| {
                let busy: u32 = target.lanes.iter().map(|lane| lane.in_flight()).sum();
                -(f64::from(busy) / target.weight.max(1e-12))
            })
            .collect(),
        Strategy::Hybrid => hybrid_parts(targets, ask)
            .iter()
            .map(|parts| parts.iter().zip(HYBRID_WEIGHTS).map(|(part, (_, weight))| part * weight).sum())
            .collect(),
        Strategy::Sticky => targets.iter().map(|target| stickiness(target, ask.conversation)).collect(),
    }
}

/// Seconds until an answer begins, of the quickest lane that takes calls.
fn speed(target: &Target) -> f64 {
    let times =
        target.lanes.iter().filter(|lane| lane.is_open_to_calls()).filter_map(|lane| lane.first_token());
    times.min().map_or(0.0, |time| time.as_secs_f64())
}

/// Cost, speed, quality and reliability of each target, from 0 to 1, beside the others.
pub(super) fn hybrid_parts(targets: &[Arc<Target>], ask: &Ask<'_>) -> Vec<[f64; 4]> {
    let costs: Vec<f64> = targets.iter().map(|target| target.estimate(ask) as f64).collect();
    let speeds: Vec<f64> = targets.iter().map(|target| speed(target)).collect();
    // The best has 1, one that is twice as dear or slow 0.5. What costs nothing, or was not measured yet, is not worse.
    let share = |values: &[f64], index: usize| {
        let least = values.iter().copied().filter(|value| *value > 0.0).fold(f64::INFINITY, f64::min);
        if values[index] > 0.0 { least / values[index] } else { 1.0 }
    };
    let reliability = |target: &Target| {
        let ratios = target.lanes.iter().map(|lane| lane.failure_ratio());
        1.0 - ratios.fold(1.0, f64::min)
    };
    targets
        .iter()
        .enumerate()
        .map(|(index, target)| {
            [share(&costs, index), share(&speeds, index), target.quality, reliability(target)]
        })
        .collect()
}

/// Rendezvous hashing: a conversation stays where it is when other targets come and go.
fn stickiness(target: &Target, conversation: u64) -> f64 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&conversation.to_le_bytes());
    hasher.update(target.provider.name.as_bytes());
    hasher.update(target.model.as_bytes());
    let hash = u64::from_le_bytes(hasher.finalize().as_bytes()[..8].try_into().unwrap_or_default());
    let uniform = (hash as f64 / u64::MAX as f64).clamp(f64::MIN_POSITIVE, 1.0 - f64::EPSILON);
    -target.weight.max(1e-12) / uniform.ln()
}
