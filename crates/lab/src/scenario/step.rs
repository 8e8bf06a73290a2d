//! The kinds of operations of a scenario, and what has to hold of each answer.

use std::fmt;

use paddock_platform::units::HumanDuration;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{
    Deserialize, Deserializer,
    de::{self, MapAccess, Visitor},
};
use toml::Spanned;

use super::schema;
use crate::{
    driver::{DriverOptions, OptionsOf, STEP_DRIVERS},
    engine::Check,
};

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
