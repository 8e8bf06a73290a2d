//! Reading members of JSON, with refusals that name the field.

use serde_json::{Map, Number, Value};

use crate::error::LlmError;

pub(super) type Members = Map<String, Value>;

/// The members of an object.
pub(super) fn object(value: Value, field: &str) -> Result<Members, LlmError> {
    match value {
        Value::Object(members) => Ok(members),
        _ => Err(LlmError::invalid(field, "must be an object")),
    }
}

/// Takes a member out; null counts as none.
pub(super) fn take(members: &mut Members, name: &str) -> Option<Value> {
    members.remove(name).filter(|value| !value.is_null())
}

/// Takes a text out.
pub(super) fn take_text(members: &mut Members, name: &str) -> Result<Option<String>, LlmError> {
    match take(members, name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(LlmError::invalid(name, "must be a text")),
    }
}

/// Takes a text out that must be there.
pub(super) fn need_text(members: &mut Members, name: &str, field: &str) -> Result<String, LlmError> {
    take_text(members, name)?.ok_or_else(|| LlmError::invalid(field, format!("lacks `{name}`")))
}

pub(super) fn take_number(members: &mut Members, name: &str) -> Result<Option<Number>, LlmError> {
    match take(members, name) {
        None => Ok(None),
        Some(Value::Number(number)) => Ok(Some(number)),
        Some(_) => Err(LlmError::invalid(name, "must be a number")),
    }
}

pub(super) fn take_count(members: &mut Members, name: &str) -> Result<Option<u64>, LlmError> {
    match take_number(members, name)? {
        None => Ok(None),
        Some(number) => number
            .as_u64()
            .map(Some)
            .ok_or_else(|| LlmError::invalid(name, "must be a whole number, zero or more")),
    }
}

pub(super) fn take_bool(members: &mut Members, name: &str) -> Result<Option<bool>, LlmError> {
    match take(members, name) {
        None => Ok(None),
        Some(Value::Bool(flag)) => Ok(Some(flag)),
        Some(_) => Err(LlmError::invalid(name, "must be true or false")),
    }
}

pub(super) fn take_array(members: &mut Members, name: &str) -> Result<Vec<Value>, LlmError> {
    match take(members, name) {
        None => Ok(Vec::new()),
        Some(Value::Array(items)) => Ok(items),
        Some(_) => Err(LlmError::invalid(name, "must be an array")),
    }
}

/// One text or several.
pub(super) fn take_texts(members: &mut Members, name: &str) -> Result<Vec<String>, LlmError> {
    let refused = || LlmError::invalid(name, "must be a text or an array of texts");
    match take(members, name) {
        None => Ok(Vec::new()),
        Some(Value::String(text)) => Ok(vec![text]),
        Some(Value::Array(items)) => items
            .into_iter()
            .map(|item| match item {
                Value::String(text) => Ok(text),
                _ => Err(refused()),
            })
            .collect(),
        Some(_) => Err(refused()),
    }
}

/// Adds a member unless there is nothing to add.
pub(super) fn put(members: &mut Members, name: &str, value: impl Into<Value>) {
    let value = value.into();
    if !value.is_null() {
        members.insert(name.to_owned(), value);
    }
}

/// A schema of a tool's input must be an object: vendors refuse others with less to say.
pub(super) fn check_schema(schema: &Value, tool: &str) -> Result<(), LlmError> {
    let is_schema = schema.as_object().is_some_and(|schema| {
        schema.get("type").is_none_or(|kind| kind == "object" || kind.is_array())
            && schema.get("properties").is_none_or(Value::is_object)
            && schema.get("required").is_none_or(Value::is_array)
    });
    if is_schema {
        return Ok(());
    }
    Err(LlmError::invalid("tools", format!("the schema of tool `{tool}` is not one of an object")))
}

/// Arguments of a call as an object; what a model wrote that is none goes in under a name of ours.
pub(super) fn arguments_object(arguments: &str) -> Value {
    if arguments.trim().is_empty() {
        return Value::Object(Map::new());
    }
    match serde_json::from_str(arguments) {
        Ok(Value::Object(members)) => Value::Object(members),
        Ok(other) => Value::Object(Map::from_iter([("value".to_owned(), other)])),
        Err(_) => Value::Object(Map::from_iter([("text".to_owned(), Value::from(arguments))])),
    }
}

/// The parts of a `data:` URL.
pub(super) fn data_url(url: &str) -> Option<(String, String)> {
    let (head, data) = url.strip_prefix("data:")?.split_once(',')?;
    let mime = head.strip_suffix(";base64")?;
    Some((mime.to_owned(), data.to_owned()))
}
