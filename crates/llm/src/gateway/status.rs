//! How everything does, for people: lanes, routes, budgets; and the hand on the breakers.

use std::sync::atomic::Ordering;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Gateway;
use crate::{clock::now_ms, govern::dollars, resilience::BreakerState};

/// One credential and one model.
#[derive(Clone, Debug, Serialize, JsonSchema, ToSchema)]
pub struct LaneStatus {
    /// The provider.
    pub provider: String,
    /// The provider's model.
    pub model: String,
    /// The credential.
    pub credential: String,
    /// `closed`, `open` or `half-open`.
    pub breaker: &'static str,
    /// Failures in a row.
    pub failures_in_a_row: u32,
    /// For how long it lets nothing pass, in seconds; null if somebody opened it by hand.
    pub open_for_s: Option<f64>,
    /// For how long it rests, because its provider says that it is at its limits, in seconds.
    pub resting_for_s: f64,
    /// Whether it is left out for its share of failures.
    pub ejected: bool,
    /// Share of failures among its last calls.
    pub failure_ratio: f64,
    /// Calls since the start.
    pub requests: u64,
    /// Those that failed.
    pub failures: u64,
    /// Calls in flight.
    pub in_flight: u32,
    /// How long answers take to begin, lately, in milliseconds.
    pub first_token_ms: Option<f64>,
}

/// A name that callers can use.
#[derive(Clone, Debug, Serialize, JsonSchema, ToSchema)]
pub struct RouteStatus {
    /// The name.
    pub model: String,
    /// How it picks.
    pub strategy: &'static str,
    /// `provider/model` with weights.
    pub targets: Vec<String>,
    /// Names that it falls back to.
    pub fallbacks: Vec<String>,
    /// Whether it has conditions.
    pub conditional: bool,
}

/// A budget, and what is spent of it.
#[derive(Clone, Debug, Serialize, JsonSchema, ToSchema)]
pub struct BudgetStatus {
    /// Whose it is.
    pub name: String,
    /// US dollars that are spent of the day.
    pub day_spent_usd: f64,
    /// US dollars of a day after which callers are refused.
    pub day_hard_usd: Option<f64>,
    /// US dollars that are spent of the month.
    pub month_spent_usd: f64,
    /// US dollars of a month after which callers are refused.
    pub month_hard_usd: Option<f64>,
}

/// How the gateway does.
#[derive(Clone, Debug, Serialize, JsonSchema, ToSchema)]
pub struct Status {
    /// Calls in flight.
    pub in_flight: usize,
    /// Every credential and model that was used or is configured.
    pub lanes: Vec<LaneStatus>,
    /// Budgets of callers that were seen.
    pub budgets: Vec<BudgetStatus>,
}

/// What is done to breakers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum BreakerAction {
    /// Nothing passes until somebody closes it.
    Open,
    /// Everything passes.
    Close,
    /// All that was learned is forgotten: breaker, rest, ejection.
    Reset,
}

/// Which breakers, and what is done to them.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BreakerInput {
    /// What is done.
    pub action: BreakerAction,
    /// The provider; all where none is named.
    #[serde(default)]
    pub provider: Option<String>,
    /// The provider's model; all where none is named.
    #[serde(default)]
    pub model: Option<String>,
    /// The credential; all where none is named.
    #[serde(default)]
    pub credential: Option<String>,
}

impl Gateway {
    /// How everything does.
    pub fn status(&self) -> Status {
        let inner = self.inner();
        let plan = inner.plan.load();
        let budgets = plan.limits.all().into_iter().filter_map(|meter| {
            let (day, month) = meter.budgets();
            if day.is_none() && month.is_none() {
                return None;
            }
            let (of_day, of_month) = meter.spent();
            Some(BudgetStatus {
                name: meter.name.to_string(),
                day_spent_usd: dollars(of_day),
                day_hard_usd: day.and_then(|budget| budget.hard),
                month_spent_usd: dollars(of_month),
                month_hard_usd: month.and_then(|budget| budget.hard),
            })
        });
        Status {
            in_flight: inner.in_flight.load(Ordering::Relaxed),
            lanes: self.lanes(),
            budgets: budgets.collect(),
        }
    }

    /// Every credential and model.
    pub fn lanes(&self) -> Vec<LaneStatus> {
        let now = now_ms();
        let lanes = self.inner().lanes.all();
        let status = lanes.iter().map(|lane| {
            let state = lane.state();
            let open_for_s = match state {
                BreakerState::Open { until_ms: u64::MAX } => None,
                BreakerState::Open { until_ms } => Some(until_ms.saturating_sub(now) as f64 / 1e3),
                _ => Some(0.0),
            };
            LaneStatus {
                provider: lane.provider.to_string(),
                model: lane.model.to_string(),
                credential: lane.credential.name.to_string(),
                breaker: state.name(now),
                failures_in_a_row: match state {
                    BreakerState::Closed { failures } => failures,
                    _ => 0,
                },
                open_for_s,
                resting_for_s: lane.resting_for().as_secs_f64(),
                ejected: lane.is_ejected(),
                failure_ratio: lane.failure_ratio(),
                requests: lane.requests.load(Ordering::Relaxed),
                failures: lane.failures.load(Ordering::Relaxed),
                in_flight: lane.in_flight(),
                first_token_ms: lane.first_token().map(|time| time.as_secs_f64() * 1e3),
            }
        });
        status.collect()
    }

    /// The configured routes.
    pub fn routes(&self) -> Vec<RouteStatus> {
        let plan = self.inner().plan.load();
        let always = crate::routing::WhenOptions::default();
        let routes = plan.options.routes.iter().map(|route| RouteStatus {
            model: route.model.clone(),
            strategy: route.strategy.unwrap_or(plan.options.strategy).name(),
            targets: route
                .targets
                .iter()
                .map(|target| {
                    let model = if target.model.is_empty() { &route.model } else { &target.model };
                    format!("{}/{model} x{}", target.provider, target.weight)
                })
                .collect(),
            fallbacks: route.fallbacks.clone(),
            conditional: route.when != always,
        });
        routes.collect()
    }

    /// Opens, closes or resets breakers; says which.
    pub fn set_breakers(&self, input: &BreakerInput) -> Vec<LaneStatus> {
        let is_meant =
            |wanted: &Option<String>, name: &str| wanted.as_deref().is_none_or(|wanted| wanted == name);
        for lane in self.inner().lanes.all() {
            if is_meant(&input.provider, &lane.provider)
                && is_meant(&input.model, &lane.model)
                && is_meant(&input.credential, &lane.credential.name)
            {
                match input.action {
                    BreakerAction::Open => lane.force_open(),
                    BreakerAction::Close => lane.force_closed(),
                    BreakerAction::Reset => lane.reset(),
                }
            }
        }
        let lanes = self.lanes().into_iter().filter(|lane| {
            is_meant(&input.provider, &lane.provider)
                && is_meant(&input.model, &lane.model)
                && is_meant(&input.credential, &lane.credential)
        });
        lanes.collect()
    }
}
