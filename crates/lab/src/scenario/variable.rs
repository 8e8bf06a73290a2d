//! Where the values of a scenario's variables come from.

use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{
    Deserialize, Deserializer,
    de::{self, MapAccess, Visitor, value::MapAccessDeserializer},
};

use crate::variables::{Order, Template};

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
