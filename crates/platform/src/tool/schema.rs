//! JSON Schemas as models and their clients like them: self-contained, and without words that say nothing.

use schemars::{JsonSchema, generate::SchemaSettings};
use serde_json::{Map, Value};

/// The schema of what a tool takes in. A member that is null counts as left out, see [`drop_nulls`]: the schema need not
/// say so.
pub(super) fn input_schema<T: JsonSchema>() -> Value {
    let mut schema = schema_of::<T>();
    prune(&mut schema, true);
    schema
}

/// The schema of what a tool answers with.
pub(super) fn output_schema<T: JsonSchema>() -> Value {
    let mut schema = schema_of::<T>();
    prune(&mut schema, false);
    schema
}

fn schema_of<T: JsonSchema>() -> Value {
    // Inlined: many clients of tool schemas do not follow `$ref`.
    let settings = SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true);
    let mut schema = settings.into_generator().into_root_schema_for::<T>().to_value();
    if let Value::Object(root) = &mut schema {
        root.remove("$schema");
        // What the type is for says the tool's own description.
        root.remove("description");
    }
    schema
}

/// Takes out what costs tokens and constrains nothing: names of Rust types, formats of numbers, defaults that mean
/// "left out", and, if told, `null` beside a type.
fn prune(schema: &mut Value, nulls: bool) {
    let Value::Object(schema) = schema else { return };
    schema.remove("title");
    if schema
        .get("default")
        .is_some_and(|default| matches!(default, Value::Null | Value::Bool(false)) || default == "")
    {
        schema.remove("default");
    }
    let is_number = |kind: Option<&Value>| {
        let text = kind.map(Value::to_string).unwrap_or_default();
        text.contains("integer") || text.contains("number")
    };
    if is_number(schema.get("type")) {
        schema.remove("format");
    }
    if nulls {
        drop_null_type(schema);
    }
    for (key, value) in schema.iter_mut() {
        match (key.as_str(), value) {
            // Here the keys are names of fields, not words of the language.
            ("properties" | "patternProperties", Value::Object(fields)) => {
                for field in fields.values_mut() {
                    // "Anything" is `true` as well as `{}`, and clients of MCP take only the latter.
                    if *field == Value::Bool(true) {
                        *field = Value::Object(Map::new());
                    }
                    prune(field, nulls);
                }
            }
            ("items" | "additionalProperties" | "not" | "contains", value) => prune(value, nulls),
            ("anyOf" | "oneOf" | "allOf" | "prefixItems", Value::Array(options)) => {
                for option in options {
                    prune(option, nulls);
                }
            }
            _ => {}
        }
    }
}

/// `anyOf: [X, null]` is X; what was written beside it (the field's own description) wins over X's.
fn drop_null_type(schema: &mut Map<String, Value>) {
    if let Some(Value::Array(types)) = schema.get_mut("type") {
        types.retain(|kind| kind != "null");
        if let [only] = types.as_slice() {
            let only = only.clone();
            schema.insert("type".to_owned(), only);
        }
    }
    if let Some(Value::Array(options)) = schema.get_mut("enum") {
        options.retain(|option| !option.is_null());
    }
    let Some(Value::Array(options)) = schema.get_mut("anyOf") else { return };
    options.retain(|option| option.get("type").is_none_or(|kind| kind != "null"));
    let [Value::Object(only)] = options.as_slice() else { return };
    let only = only.clone();
    schema.remove("anyOf");
    for (key, value) in only {
        schema.entry(key).or_insert(value);
    }
}

/// Models often write `null` for what they leave out.
pub(super) fn drop_nulls(input: &mut Value) {
    if let Value::Object(members) = input {
        members.retain(|_, value| !value.is_null());
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[derive(JsonSchema)]
    #[serde(rename_all = "camelCase", default, deny_unknown_fields)]
    #[derive(Default, serde::Deserialize)]
    struct Look {
        /// The tab.
        tab_id: Option<String>,
        /// How deep.
        depth: Option<u32>,
        /// What kind.
        title: Option<Kind>,
        all: bool,
        extra: serde_json::Value,
    }

    #[derive(JsonSchema, serde::Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Kind {
        Page,
        Part,
    }

    #[test]
    fn a_schema_says_what_constrains_and_nothing_else() {
        assert_eq!(
            input_schema::<Look>(),
            json!({
                "type": "object",
                "additionalProperties": false,
                "properties": {
                    "tabId": {"type": "string", "description": "The tab."},
                    "depth": {"type": "integer", "minimum": 0, "description": "How deep."},
                    "title": {"type": "string", "enum": ["page", "part"], "description": "What kind."},
                    "all": {"type": "boolean"},
                    "extra": {},
                },
            })
        );
    }
}
