//! What would be decided, and why: the dry run.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    Ask, Plan, Route, Strategy,
    choose::{HYBRID_WEIGHTS, hybrid_parts, scores},
};
use crate::{clock::now_ms, error::LlmError, govern::dollars};

/// One place that a call could go to.
#[derive(Clone, Debug, Serialize, JsonSchema, ToSchema)]
pub struct Considered {
    /// The name whose route it is of: another than what was asked for is a fallback.
    pub route: String,
    /// The provider.
    pub provider: String,
    /// The provider's model.
    pub model: String,
    /// The credential.
    pub credential: String,
    /// Its target's score by the route's strategy; more is better.
    pub score: f64,
    /// What the score is made of, for `hybrid`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<ScorePart>,
    /// What the call may cost here, in US dollars.
    pub cost_usd: f64,
    /// How long answers take to begin, lately.
    pub first_token_ms: Option<f64>,
    /// Calls in flight.
    pub in_flight: u32,
    /// State of the breaker.
    pub breaker: &'static str,
    /// Why it would not be taken; null if it could be.
    pub refused: Option<&'static str>,
}

/// A part of a score.
#[derive(Clone, Debug, Serialize, JsonSchema, ToSchema)]
pub struct ScorePart {
    /// What it is about.
    pub name: &'static str,
    /// From 0 to 1.
    pub value: f64,
    /// How much it weighs.
    pub weight: f64,
}

/// What would be decided.
#[derive(Clone, Debug, Serialize, JsonSchema, ToSchema)]
pub struct Explanation {
    /// The name that was asked for.
    pub model: String,
    /// The names whose routes would be tried, in order.
    pub routes: Vec<String>,
    /// How the first route picks.
    pub strategy: &'static str,
    /// Estimate of the tokens that are sent.
    pub tokens_in: u64,
    /// Estimate of the tokens that are answered.
    pub tokens_out: u64,
    /// Every place, by route and score.
    pub considered: Vec<Considered>,
}

/// Explains a request without making it: nothing is taken, counted or sent.
pub(crate) fn explain(plan: &Plan, ask: &Ask<'_>) -> Result<Explanation, LlmError> {
    let routes = plan.resolve(ask)?;
    let considered = routes.iter().flat_map(|route| of_route(route, ask)).collect();
    Ok(Explanation {
        model: ask.model.to_owned(),
        routes: routes.iter().map(|route| route.options.model.clone()).collect(),
        strategy: routes.first().map_or("", |route| route.strategy.name()),
        tokens_in: ask.tokens_in,
        tokens_out: ask.tokens_out,
        considered,
    })
}

fn of_route(route: &Arc<Route>, ask: &Ask<'_>) -> Vec<Considered> {
    let scores = scores(route.strategy, &route.targets, ask);
    let parts = hybrid_parts(&route.targets, ask);
    let mut considered = Vec::new();
    for (index, target) in route.targets.iter().enumerate() {
        for lane in &target.lanes {
            let now = now_ms();
            let breaker = lane.state().name(now);
            let refused = target.unfit(ask, route.cost_max).or(match breaker {
                "open" => Some("breaker"),
                _ if !lane.resting_for().is_zero() => Some("resting"),
                _ if lane.is_ejected() => Some("ejected"),
                _ => None,
            });
            let weighed = parts[index].iter().zip(HYBRID_WEIGHTS);
            let weighed = weighed.map(|(value, (name, weight))| ScorePart { name, value: *value, weight });
            let is_hybrid = route.strategy == Strategy::Hybrid;
            considered.push(Considered {
                route: route.options.model.clone(),
                provider: target.provider.name.to_string(),
                model: target.model.to_string(),
                credential: lane.credential.name.to_string(),
                score: scores[index].max(f64::MIN / 2.0),
                parts: if is_hybrid { weighed.collect() } else { Vec::new() },
                cost_usd: dollars(target.estimate(ask)),
                first_token_ms: lane.first_token().map(|time| time.as_secs_f64() * 1e3),
                in_flight: lane.in_flight(),
                breaker,
                refused,
            });
        }
    }
    considered.sort_by(|left, right| right.score.total_cmp(&left.score));
    considered
}
