//! The shape of a scenario file. Every doc comment here is the documentation of the published schema.

use std::collections::BTreeMap;

use paddock_platform::units::HumanDuration;
use schemars::JsonSchema;
use serde::Deserialize;
use toml::Spanned;

use super::{
    load::FormFile,
    setup::{SetupFile, TeardownFile},
    step::StepFile,
    variable::VariableFile,
};
use crate::threshold::Threshold;

/// A scenario.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "Scenario of the Paddock lab")]
pub struct ScenarioFile {
    /// Name, as objectives and reports refer to it; the file is called `<name>.toml`.
    pub name: String,
    /// What is measured, and why, in a sentence or two.
    pub description: String,
    /// Values for `${name}` in the texts below.
    #[serde(default)]
    pub variables: BTreeMap<String, VariableFile>,
    /// What to prepare, in order. It is taken down in reverse order, also after a failure.
    #[serde(default)]
    #[schemars(with = "Vec<SetupFile>")]
    pub setup: Vec<Spanned<SetupFile>>,
    /// What to run after the load, before what `setup` started is stopped.
    #[serde(default)]
    #[schemars(with = "Vec<TeardownFile>")]
    pub teardown: Vec<Spanned<TeardownFile>>,
    /// The kinds of operations.
    #[schemars(with = "Vec<StepFile>")]
    pub steps: Vec<Spanned<StepFile>>,
    /// Figures that are what one figure is beyond another, by name: what stands between two ways to the same target.
    #[serde(default)]
    pub differences: BTreeMap<String, DifferenceFile>,
    /// The load for every change: seconds.
    #[schemars(with = "FormFile")]
    pub short: Spanned<FormFile>,
    /// The load as promised.
    #[schemars(with = "FormFile")]
    pub full: Spanned<FormFile>,
    /// What has to hold of the figures.
    #[serde(default)]
    #[schemars(with = "Vec<Threshold>")]
    pub thresholds: Vec<Spanned<Threshold>>,
    /// How processes are watched.
    #[serde(default)]
    pub resources: ResourcesFile,
}

/// What one figure is beyond another.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DifferenceFile {
    /// The figure, for example `through_latency_p50_ms`.
    pub of: String,
    /// What is taken from it, for example `direct_latency_p50_ms`.
    pub less: String,
}

/// How the processes that `setup` started, and the lab itself, are watched.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ResourcesFile {
    /// Time between two samples; 1 s if absent, and at most that.
    #[serde(default)]
    pub every: Option<HumanDuration>,
    /// Growth that is allowed per hour. Without it, growth counts as a leak when it is certain and above 2 % of the
    /// level within the run. Runs under two minutes are not judged, and the first quarter of a run is left out.
    #[serde(default)]
    pub growth_max: Vec<GrowthFile>,
}

/// Growth of one resource that is allowed.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GrowthFile {
    /// The resource: `pss_mib`, `rss_mib`, `threads` or `descriptors`.
    pub resource: String,
    /// How much it may grow in an hour.
    pub per_hour: f64,
}
