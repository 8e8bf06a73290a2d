//! The shape of a scenario file. Every doc comment here is the documentation of the published schema.

use std::{collections::BTreeMap, fmt};

use paddock_platform::units::HumanDuration;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{
    Deserialize, Deserializer,
    de::{self, MapAccess, Visitor, value::MapAccessDeserializer},
};
use toml::Spanned;

use super::schema;
use crate::{
    driver::{DriverOptions, OptionsOf, STEP_DRIVERS},
    engine::Check,
    schedule::{Schedule, ScheduleError, Stage},
    threshold::Threshold,
    variables::{Order, Template},
};

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

/// Where a variable's values come from: a text, or a table that says.
#[derive(Clone, Debug)]
pub enum VariableFile {
    /// A text, which may refer to other variables.
    Text(Template),
    /// A table.
    Table(Box<VariableTable>),
}

/// Exactly one of `env`, `random`, `sequence` and `file`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct VariableTable {
    /// Name of an environment variable.
    pub env: Option<String>,
    /// Value if the environment variable is not set; without it that is an error.
    pub default: Option<String>,
    /// A random whole number for every operation.
    pub random: Option<RandomFile>,
    /// The next whole number for every operation.
    pub sequence: Option<SequenceFile>,
    /// A data file with a row for every operation: `.csv` with a header line, or `.jsonl` with an object per line.
    pub file: Option<String>,
    /// Column of the CSV file, or key of the objects.
    pub column: Option<String>,
    /// Which row an operation gets.
    pub order: Option<Order>,
}

/// Bounds of a random number, both included.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RandomFile {
    /// Smallest value.
    pub min: i64,
    /// Largest value.
    pub max: i64,
}

/// A sequence of numbers.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SequenceFile {
    /// Value for the first operation.
    #[serde(default)]
    pub from: i64,
    /// What each further operation adds; 1 if absent.
    #[serde(default = "one")]
    pub step: i64,
}

fn one() -> i64 {
    1
}

/// One thing to prepare.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SetupFile {
    /// Start a server, and wait until it answers.
    Server(ServerFile),
    /// Serve the files of a directory on a free port of the loopback address.
    Site(SiteFile),
    /// Run a command to its end.
    Command(CommandFile),
    /// Make an empty directory that is deleted in the end; the variable gets its path.
    TempDir(NameFile),
    /// Find a port that nobody listens on; the variable gets its number.
    FreePort(NameFile),
}

/// A server to start.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ServerFile {
    /// Name of the process tree in the results.
    pub name: String,
    /// Program and arguments. No shell is involved.
    pub run: Vec<Template>,
    /// Environment variables beside the inherited ones.
    #[serde(default)]
    pub env: BTreeMap<String, Template>,
    /// Working directory; that of the scenario file if absent.
    #[serde(default)]
    pub dir: Option<Template>,
    /// Address that answers with a status below 400 when the server is ready. Its time is the metric `ready_ms`.
    pub ready: Template,
    /// How long that may take; 30 s if absent.
    #[serde(default)]
    pub ready_within: Option<HumanDuration>,
    /// How long the server may take to stop when asked; then it is killed. 10 s if absent.
    #[serde(default)]
    pub stop_within: Option<HumanDuration>,
}

/// A directory to serve.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SiteFile {
    /// Variable that gets the address, for example `http://127.0.0.1:40123`.
    pub variable: String,
    /// The directory, relative to the scenario file.
    pub dir: String,
}

/// A command to run to its end.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CommandFile {
    /// Program and arguments. No shell is involved.
    pub run: Vec<Template>,
    /// Environment variables beside the inherited ones.
    #[serde(default)]
    pub env: BTreeMap<String, Template>,
    /// Working directory; that of the scenario file if absent.
    #[serde(default)]
    pub dir: Option<Template>,
    /// How long it may take; 60 s if absent.
    #[serde(default)]
    pub within: Option<HumanDuration>,
}

/// A variable to set.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NameFile {
    /// The variable.
    pub variable: String,
}

/// One thing to do after the load.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TeardownFile {
    /// Run a command to its end.
    Command(CommandFile),
}

/// One kind of operation: a name, and one driver with its options.
#[derive(Clone, Debug)]
pub struct StepFile {
    /// Name in the results.
    pub name: String,
    /// How often it is chosen, against the other steps; 1 if absent.
    pub weight: u32,
    /// When an operation is given up; 10 s if absent.
    pub timeout: HumanDuration,
    /// What has to hold of each answer.
    pub checks: Vec<CheckFile>,
    /// What carries it out.
    pub driver: Spanned<DriverOptions>,
}

/// A condition on each answer.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CheckFile {
    /// The HTTP status, or exit code of a command, is one of these.
    Status(Vec<i32>),
    /// The body contains this text.
    BodyContains(String),
    /// The body is JSON and has something at a pointer.
    Json(JsonCheckFile),
    /// The answer is there so soon after the operation was due.
    LatencyMax(HumanDuration),
}

/// What a JSON body has to have.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct JsonCheckFile {
    /// Where to look (RFC 6901), for example `/status`.
    pub pointer: String,
    /// The value that has to be there; anything, if absent.
    #[serde(default)]
    pub equals: Option<serde_json::Value>,
}

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

/// How the processes that `setup` started, and the lab itself, are watched.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ResourcesFile {
    /// Time between two samples; 1 s if absent, and at most that.
    #[serde(default)]
    pub every: Option<HumanDuration>,
    /// Growth that is allowed per hour. Without it, growth counts as a leak when it is certain and above 2 % of the
    /// level within the run.
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

// === impl VariableFile ===

impl<'de> Deserialize<'de> for VariableFile {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextOrTable;
        impl<'de> Visitor<'de> for TextOrTable {
            type Value = VariableFile;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text, a whole number, or a table with `env`, `random`, `sequence` or `file`")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<VariableFile, E> {
                text.parse().map(VariableFile::Text).map_err(E::custom)
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<VariableFile, E> {
                self.visit_str(&number.to_string())
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<VariableFile, A::Error> {
                VariableTable::deserialize(MapAccessDeserializer::new(map))
                    .map(|table| VariableFile::Table(Box::new(table)))
            }
        }
        deserializer.deserialize_any(TextOrTable)
    }
}

impl JsonSchema for VariableFile {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "VariableFile".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let table = generator.subschema_for::<VariableTable>();
        schemars::json_schema!({
            "description": "Where a variable's values come from: a text, or a table that says.",
            "anyOf": [{ "type": "string" }, { "type": "integer" }, table],
        })
    }
}

// === impl StepFile ===

/// Keys of a step beside those of [`STEP_DRIVERS`].
const STEP_KEYS: [&str; 4] = ["name", "weight", "timeout", "checks"];

impl<'de> Deserialize<'de> for StepFile {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(StepVisitor)
    }
}

struct StepVisitor;

impl<'de> Visitor<'de> for StepVisitor {
    type Value = StepFile;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a step with a `name` and one of `{}`", STEP_DRIVERS.join("`, `"))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<StepFile, A::Error> {
        let (mut name, mut weight, mut timeout, mut checks) =
            (None, 1, HumanDuration::from_secs(10), Vec::new());
        let mut driver: Option<Spanned<DriverOptions>> = None;
        while let Some(key) = map.next_key::<Spanned<String>>()? {
            match key.get_ref().as_str() {
                "name" => name = Some(map.next_value()?),
                "weight" => weight = map.next_value()?,
                "timeout" => timeout = map.next_value()?,
                "checks" => checks = map.next_value()?,
                other if STEP_DRIVERS.contains(&other) => {
                    if let Some(first) = &driver {
                        let first = first.get_ref().name();
                        return Err(de::Error::custom(format_args!(
                            "a step has one driver; this one has `{first}` and `{other}`"
                        )));
                    }
                    let options = map.next_value_seed(OptionsOf(other))?;
                    driver = Some(Spanned::new(key.span(), options));
                }
                other => return Err(unknown_step_key(other)),
            }
        }
        Ok(StepFile {
            name: name.ok_or_else(|| de::Error::missing_field("name"))?,
            weight,
            timeout,
            checks,
            driver: driver.ok_or_else(|| {
                de::Error::custom(format_args!(
                    "the step has no driver: one of `{}`",
                    STEP_DRIVERS.join("`, `")
                ))
            })?,
        })
    }
}

/// In the words of serde, from which the nearest valid key is found.
fn unknown_step_key<E: de::Error>(key: &str) -> E {
    let known: Vec<&str> = STEP_KEYS.iter().chain(STEP_DRIVERS).copied().collect();
    E::custom(format_args!("unknown field `{key}`, expected one of `{}`", known.join("`, `")))
}

impl JsonSchema for StepFile {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "StepFile".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        schema::step(generator)
    }
}

// === conversions ===

impl CheckFile {
    /// The check as the engine evaluates it.
    pub fn to_check(&self) -> Check {
        match self {
            Self::Status(allowed) => Check::Status(allowed.clone()),
            Self::BodyContains(text) => Check::BodyContains(text.clone()),
            Self::Json(JsonCheckFile { pointer, equals }) => {
                Check::Json { pointer: pointer.clone(), equals: equals.clone() }
            }
            Self::LatencyMax(max) => Check::LatencyMax(max.get()),
        }
    }
}

impl ScheduleFile {
    /// The pattern as the engine offers it.
    pub fn to_pattern(&self) -> Result<crate::engine::Pattern, ScheduleError> {
        use crate::engine::Pattern;
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
