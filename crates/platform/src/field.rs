//! Which field of an input is wrong: named by its path, whoever found out.

use std::fmt::{Display, Write};

use jsonschema::{ValidationError, error::ValidationErrorKind};

use crate::problem::Problem;

/// What a deserializer refused. `path` is where it was, as `serde_path_to_error` writes it. For a missing or unknown
/// field that is its parent: the message names it. `whole` is what to call the input itself.
pub(crate) fn refused_by_type(path: &str, message: &str, whole: &str) -> Problem {
    let named = message
        .strip_prefix("missing field `")
        .or_else(|| message.strip_prefix("unknown field `"))
        .and_then(|rest| rest.split_once('`'))
        .map(|(field, _)| field);
    problem(if path == "." { "" } else { path }, named, message, whole)
}

/// What a JSON Schema refused. The message never quotes the value: it may be long, or a secret.
pub(crate) fn refused_by_schema(error: &ValidationError<'_>, whole: &str) -> Problem {
    let named = match error.kind() {
        ValidationErrorKind::Required { property } => property.as_str(),
        ValidationErrorKind::AdditionalProperties { unexpected }
        | ValidationErrorKind::UnevaluatedProperties { unexpected } => unexpected.first().map(String::as_str),
        _ => None,
    };
    problem(&dotted(&error.instance_path().to_string()), named, error.masked_with("it"), whole)
}

fn problem(parent: &str, named: Option<&str>, message: impl Display, whole: &str) -> Problem {
    let field = match (parent, named) {
        ("", None) => whole.to_owned(),
        ("", Some(field)) => field.to_owned(),
        // The path of an unknown field ends with the field already.
        (parent, Some(field)) if parent == field || parent.ends_with(&format!(".{field}")) => {
            parent.to_owned()
        }
        (parent, Some(field)) => format!("{parent}.{field}"),
        (parent, None) => parent.to_owned(),
    };
    Problem::invalid_field(&field, message)
}

/// A JSON pointer as a path: `/items/0/count` is `items[0].count`.
fn dotted(pointer: &str) -> String {
    let mut path = String::new();
    for step in pointer.split('/').skip(1) {
        if step.bytes().all(|byte| byte.is_ascii_digit()) && !step.is_empty() && !path.is_empty() {
            let _ = write!(path, "[{step}]");
            continue;
        }
        if !path.is_empty() {
            path.push('.');
        }
        path.push_str(&step.replace("~1", "/").replace("~0", "~"));
    }
    path
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn a_schema_names_the_field_and_quotes_no_value() {
        let schema = json!({
            "type": "object", "additionalProperties": false, "required": ["items"],
            "properties": {"items": {"type": "array", "items": {
                "type": "object", "additionalProperties": false, "required": ["count"],
                "properties": {"count": {"type": "integer", "maximum": 255}},
            }}},
        });
        let validator = jsonschema::validator_for(&schema).unwrap();
        let check = |input: Value| {
            let error = validator.iter_errors(&input).next().unwrap();
            refused_by_schema(&error, "input")
        };
        for (input, field) in [
            (json!({"items": [{"count": "secret"}]}), "items[0].count"),
            (json!({"items": [{"count": 300}]}), "items[0].count"),
            (json!({"items": [{}]}), "items[0].count"),
            (json!({"items": [{"count": 1, "size": 2}]}), "items[0].size"),
            (json!({}), "items"),
            (json!({"items": [], "extra": "secret"}), "extra"),
            (json!("secret"), "input"),
        ] {
            let problem = check(input.clone());
            assert_eq!(problem.extensions.as_ref().unwrap()["field"], field, "{input}: {problem}");
            assert!(!problem.detail.contains("secret"), "{problem}");
        }
    }
}
