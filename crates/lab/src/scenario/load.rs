//! How long a scenario's load lasts, and when its operations begin.

use paddock_platform::units::HumanDuration;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::{
    engine::Pattern,
    schedule::{Schedule, ScheduleError, Stage},
};

/// How long and how much.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FormFile {
    /// When operations begin.
    pub schedule: ScheduleFile,
    /// Most operations in flight; further ones wait, which counts in their latency. 64 if absent. Users are as many as
    /// the schedule says.
    #[serde(default)]
    pub in_flight_max: Option<usize>,
    /// Threads that carry out operations; half the cores if absent.
    #[serde(default)]
    pub workers: Option<usize>,
    /// Time at the beginning that is not measured.
    #[serde(default)]
    pub warm_up: Option<HumanDuration>,
    /// The run ends early when the target gives no answer, only errors, for this long; 5 s if absent.
    #[serde(default)]
    pub abort_after: Option<HumanDuration>,
    /// What random numbers follow from; 1 if absent.
    #[serde(default)]
    pub seed: Option<u64>,
}

/// When operations begin: at times that are known beforehand, or when a user has an answer and has thought.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ScheduleFile {
    /// The same rate all the time.
    Constant(RateFile),
    /// A rate that changes linearly.
    Ramp(RampFile),
    /// Linear changes, one after the other.
    Stages(StagesFile),
    /// Many operations at once, again and again.
    Burst(BurstFile),
    /// Independent arrivals at an average rate.
    Poisson(RateFile),
    /// Users who wait for their answer and think before they go on.
    Closed(ClosedFile),
}

/// A rate.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RateFile {
    /// Operations per second.
    pub rate_per_s: f64,
    /// How long.
    pub duration: HumanDuration,
}

/// A rate that changes.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RampFile {
    /// Operations per second at the start.
    pub from_per_s: f64,
    /// Operations per second at the end.
    pub to_per_s: f64,
    /// How long.
    pub duration: HumanDuration,
}

/// Changes of the rate.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StagesFile {
    /// Operations per second at the start.
    #[serde(default)]
    pub from_per_s: f64,
    /// The changes, in order.
    pub stages: Vec<StageFile>,
}

/// Bursts.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BurstFile {
    /// Operations of one burst.
    pub size: u64,
    /// Time from burst to burst.
    pub every: HumanDuration,
    /// How long.
    pub duration: HumanDuration,
}

/// One stage.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StageFile {
    /// Operations per second at the end of the stage.
    pub to_per_s: f64,
    /// How long the change takes; `0s` is a step.
    pub duration: HumanDuration,
}

/// Users; they need a `duration`, a number of `iterations`, or both.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClosedFile {
    /// How many users there are.
    pub users: usize,
    /// How long a user waits between an answer and the next operation; not at all if absent.
    #[serde(default)]
    pub think_time: Option<HumanDuration>,
    /// When no further operation begins.
    #[serde(default)]
    pub duration: Option<HumanDuration>,
    /// How many operations there are at most, over all users.
    #[serde(default)]
    pub iterations: Option<u64>,
}

impl ScheduleFile {
    /// The pattern as the engine offers it.
    pub fn to_pattern(&self) -> Result<Pattern, ScheduleError> {
        Ok(Pattern::Open(match self {
            Self::Constant(rate) => Schedule::constant(rate.rate_per_s, rate.duration.get())?,
            Self::Ramp(ramp) => Schedule::ramp(ramp.from_per_s, ramp.to_per_s, ramp.duration.get())?,
            Self::Stages(StagesFile { from_per_s, stages }) => {
                let stage =
                    |stage: &StageFile| Stage { to_per_s: stage.to_per_s, duration: stage.duration.get() };
                Schedule::stages(*from_per_s, &stages.iter().map(stage).collect::<Vec<_>>())?
            }
            Self::Burst(burst) => Schedule::burst(burst.size, burst.every.get(), burst.duration.get())?,
            Self::Poisson(rate) => Schedule::poisson(rate.rate_per_s, rate.duration.get())?,
            Self::Closed(closed) => {
                return Ok(Pattern::Closed {
                    users: closed.users,
                    think_time: closed.think_time.map(HumanDuration::get).unwrap_or_default(),
                    duration: closed.duration.map(HumanDuration::get),
                    iterations: closed.iterations,
                });
            }
        }))
    }
}
