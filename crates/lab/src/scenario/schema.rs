//! The published JSON Schema of scenario files.

use schemars::{Schema, SchemaGenerator, generate::SchemaSettings, json_schema};
use serde_json::{Map, Value, json};

use super::{CheckFile, ScenarioFile};
use crate::driver::{DriverOptions, STEP_DRIVERS};

/// The JSON Schema (2020-12) of a scenario file.
pub fn schema() -> Value {
    let generator = SchemaGenerator::new(SchemaSettings::draft2020_12());
    generator.into_root_schema_for::<ScenarioFile>().to_value()
}

/// A step: the keys of every step, and exactly one of those that choose a driver.
pub(super) fn step(generator: &mut SchemaGenerator) -> Schema {
    let checks = generator.subschema_for::<Vec<CheckFile>>();
    let duration = generator.subschema_for::<paddock_platform::units::HumanDuration>();
    let mut properties = Map::new();
    properties.insert("name".to_owned(), json!({ "type": "string", "description": "Name in the results." }));
    properties.insert(
        "weight".to_owned(),
        json!({ "type": "integer", "minimum": 1, "default": 1,
            "description": "How often it is chosen, against the other steps." }),
    );
    properties
        .insert("timeout".to_owned(), described(duration, "When an operation is given up; 10 s if absent."));
    properties.insert("checks".to_owned(), described(checks, "What has to hold of each answer."));
    for (name, options) in DriverOptions::schemas(generator) {
        properties.insert(name.to_owned(), options.to_value());
    }
    let one_driver: Vec<Value> = STEP_DRIVERS.iter().map(|name| json!({ "required": [name] })).collect();
    json_schema!({
        "description": "One kind of operation: a name, and one driver with its options.",
        "type": "object",
        "properties": properties,
        "required": ["name"],
        "oneOf": one_driver,
        "additionalProperties": false,
    })
}

fn described(schema: Schema, description: &str) -> Value {
    let mut value = schema.to_value();
    if let Some(members) = value.as_object_mut() {
        members.insert("description".to_owned(), json!(description));
    }
    value
}
