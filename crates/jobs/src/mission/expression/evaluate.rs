//! What an expression comes to.

use std::{borrow::Cow, cmp::Ordering, collections::BTreeMap};

use serde_json::{Value, json};

use super::{Comparison, Expression, Reference, Root, StepField};

/// Everything that an expression can refer to.
#[derive(Clone, Debug, Default)]
pub(crate) struct Environment {
    pub(crate) inputs: Value,
    pub(crate) mission: Value,
    pub(crate) steps: BTreeMap<String, StepValue>,
    /// The item and its position, within a step that runs for each of a list.
    pub(crate) item: Option<(Value, u32)>,
    /// What the step came to that is being compensated.
    pub(crate) output: Option<Value>,
}

/// A step as later ones see it.
#[derive(Clone, Debug, Default)]
pub(crate) struct StepValue {
    pub(crate) output: Value,
    pub(crate) state: &'static str,
    /// An object with `class` and `message`, or null.
    pub(crate) error: Value,
}

/// An expression cannot be evaluated.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum EvaluateError {
    #[error("there is nothing at `{0}`")]
    Missing(String),
    #[error("{what} is {found}, it must be {expected}")]
    Type { what: &'static str, found: &'static str, expected: &'static str },
}

impl Expression {
    /// The value of the expression.
    pub(crate) fn evaluate<'a>(
        &'a self,
        environment: &'a Environment,
    ) -> Result<Cow<'a, Value>, EvaluateError> {
        match self {
            Self::Literal(value) => Ok(Cow::Borrowed(value)),
            Self::Reference(reference) => {
                environment.resolve(reference).ok_or_else(|| EvaluateError::Missing(reference.to_string()))
            }
            Self::Not(inner) => Ok(owned(!inner.truth(environment, "what `!` negates")?)),
            Self::And(left, right) => {
                let both = left.truth(environment, "the left side of `&&`")?
                    && right.truth(environment, "the right side of `&&`")?;
                Ok(owned(both))
            }
            Self::Or(left, right) => {
                let either = left.truth(environment, "the left side of `||`")?
                    || right.truth(environment, "the right side of `||`")?;
                Ok(owned(either))
            }
            Self::Compare(comparison, left, right) => {
                compare(*comparison, &*left.evaluate(environment)?, &*right.evaluate(environment)?).map(owned)
            }
            Self::Length(inner) => {
                length(&*inner.evaluate(environment)?).map(|length| Cow::Owned(json!(length)))
            }
            Self::Exists(reference) => {
                Ok(owned(environment.resolve(reference).is_some_and(|value| !value.is_null())))
            }
            Self::Default(reference, otherwise) => match environment.resolve(reference) {
                Some(value) if !value.is_null() => Ok(value),
                _ => otherwise.evaluate(environment),
            },
        }
    }

    /// The value as true or false; anything else is an error.
    pub(crate) fn truth(&self, environment: &Environment, what: &'static str) -> Result<bool, EvaluateError> {
        match &*self.evaluate(environment)? {
            Value::Bool(truth) => Ok(*truth),
            other => Err(EvaluateError::Type { what, found: kind(other), expected: "true or false" }),
        }
    }
}

fn owned<'a>(truth: bool) -> Cow<'a, Value> {
    Cow::Owned(Value::Bool(truth))
}

impl Environment {
    fn resolve(&self, reference: &Reference) -> Option<Cow<'_, Value>> {
        let root: Cow<'_, Value> = match &reference.root {
            Root::Inputs => Cow::Borrowed(&self.inputs),
            Root::Mission => Cow::Borrowed(&self.mission),
            Root::Item => Cow::Borrowed(&self.item.as_ref()?.0),
            Root::Index => Cow::Owned(json!(self.item.as_ref()?.1)),
            Root::Output => Cow::Borrowed(self.output.as_ref()?),
            Root::Step(name, field) => {
                let step = self.steps.get(name)?;
                match field {
                    StepField::Output => Cow::Borrowed(&step.output),
                    StepField::State => Cow::Owned(Value::String(step.state.to_owned())),
                    StepField::Error => Cow::Borrowed(&step.error),
                }
            }
        };
        match root {
            Cow::Borrowed(value) => follow(value, &reference.path).map(Cow::Borrowed),
            Cow::Owned(value) => follow(&value, &reference.path).cloned().map(Cow::Owned),
        }
    }
}

fn follow<'a>(value: &'a Value, path: &[String]) -> Option<&'a Value> {
    path.iter().try_fold(value, |value, part| match value {
        Value::Object(members) => members.get(part),
        // As RFC 6901 has it: no sign, no leading zero.
        Value::Array(items) if part == "0" || !part.starts_with(['0', '+']) => {
            items.get(part.parse::<usize>().ok()?)
        }
        _ => None,
    })
}

pub(super) const fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

fn length(value: &Value) -> Result<usize, EvaluateError> {
    match value {
        Value::Array(items) => Ok(items.len()),
        Value::Object(members) => Ok(members.len()),
        Value::String(text) => Ok(text.chars().count()),
        other => Err(EvaluateError::Type {
            what: "what `length` counts",
            found: kind(other),
            expected: "a list, an object or a text",
        }),
    }
}

fn compare(comparison: Comparison, left: &Value, right: &Value) -> Result<bool, EvaluateError> {
    match comparison {
        Comparison::Equal => Ok(equal(left, right)),
        Comparison::NotEqual => Ok(!equal(left, right)),
        Comparison::In => is_in(left, right),
        Comparison::Less => Ok(order(left, right)?.is_lt()),
        Comparison::LessOrEqual => Ok(order(left, right)?.is_le()),
        Comparison::Greater => Ok(order(left, right)?.is_gt()),
        Comparison::GreaterOrEqual => Ok(order(left, right)?.is_ge()),
    }
}

/// As JSON has it: 1 and 1.0 are the same number.
fn equal(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Number(_), Value::Number(_)) => order(left, right).is_ok_and(Ordering::is_eq),
        (Value::Array(left), Value::Array(right)) => {
            left.len() == right.len() && left.iter().zip(right).all(|(left, right)| equal(left, right))
        }
        (Value::Object(left), Value::Object(right)) => {
            left.len() == right.len()
                && left.iter().all(|(name, value)| right.get(name).is_some_and(|other| equal(value, other)))
        }
        _ => left == right,
    }
}

fn order(left: &Value, right: &Value) -> Result<Ordering, EvaluateError> {
    let mismatch = |what, value| EvaluateError::Type {
        what,
        found: kind(value),
        expected: "a number or a text, as the other side",
    };
    match (left, right) {
        (Value::Number(a), Value::Number(b)) => {
            if let (Some(a), Some(b)) = (a.as_i64(), b.as_i64()) {
                return Ok(a.cmp(&b));
            }
            let (a, b) = (a.as_f64().unwrap_or(f64::NAN), b.as_f64().unwrap_or(f64::NAN));
            Ok(a.partial_cmp(&b).unwrap_or(Ordering::Equal))
        }
        (Value::String(a), Value::String(b)) => Ok(a.cmp(b)),
        (Value::Number(_) | Value::String(_), other) => {
            Err(mismatch("the right side of the comparison", other))
        }
        (other, _) => Err(mismatch("the left side of the comparison", other)),
    }
}

fn is_in(left: &Value, right: &Value) -> Result<bool, EvaluateError> {
    match (left, right) {
        (_, Value::Array(items)) => Ok(items.iter().any(|item| equal(left, item))),
        (Value::String(name), Value::Object(members)) => Ok(members.contains_key(name)),
        (Value::String(part), Value::String(text)) => Ok(text.contains(part.as_str())),
        (_, other) => Err(EvaluateError::Type {
            what: "the right side of `in`",
            found: kind(other),
            expected: "a list, or an object or text if the left side is a text",
        }),
    }
}

impl std::fmt::Display for Reference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.root {
            Root::Inputs => f.write_str("inputs")?,
            Root::Item => f.write_str("item")?,
            Root::Index => f.write_str("index")?,
            Root::Output => f.write_str("output")?,
            Root::Mission => f.write_str("mission")?,
            Root::Step(name, field) => {
                let field = match field {
                    StepField::Output => "output",
                    StepField::State => "state",
                    StepField::Error => "error",
                };
                write!(f, "steps.{name}.{field}")?;
            }
        }
        if !self.path.is_empty() {
            f.write_str("#")?;
        }
        for part in &self.path {
            write!(f, "/{}", part.replace('~', "~0").replace('/', "~1"))?;
        }
        Ok(())
    }
}
