//! `${name}` in the texts of a scenario: fixed values, and values that differ from operation to operation.
//!
//! The value of a variable is a function of the operation's index and the run's seed alone, so that a run can be
//! repeated exactly, whatever thread carries an operation out, and no list of values has to be kept.

use std::{borrow::Cow, collections::BTreeMap, fmt, sync::Arc};

use paddock_platform::config::nearest;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::random;

/// Where the values of a variable come from.
#[derive(Clone, Debug, PartialEq)]
pub enum Source {
    /// The same value for every operation.
    Fixed(String),
    /// A whole number, uniform between two bounds, both included.
    Random {
        /// Smallest value.
        min: i64,
        /// Largest value.
        max: i64,
    },
    /// A whole number that grows with every operation.
    Sequence {
        /// Value for the first operation.
        from: i64,
        /// What the next operation adds.
        step: i64,
    },
    /// One of many rows of a file.
    Rows {
        /// The values, at least one.
        values: Arc<[String]>,
        /// Which row an operation gets.
        order: Order,
    },
}

/// Which row of a data file an operation gets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Order {
    /// One row after the other, from the start again at the end. Columns of one file stay together.
    #[default]
    Sequence,
    /// A random row. Columns of one file stay together.
    Random,
}

/// The variables of a run. Cheap to look up by the number that a [`Bound`] template holds.
#[derive(Clone, Debug, Default)]
pub struct Variables {
    sources: BTreeMap<String, Source>,
    seed: u64,
}

/// A template names a variable that does not exist.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no variable `{name}`{}", hint(meant.as_deref(), known))]
pub struct MissingVariableError {
    /// The name in the template.
    pub name: String,
    /// The variable that was probably meant.
    pub meant: Option<String>,
    /// Those there are.
    pub known: Vec<String>,
}

fn hint(meant: Option<&str>, known: &[String]) -> String {
    match (meant, known) {
        (Some(meant), _) => format!("; did you mean `{meant}`?"),
        (None, []) => "; the scenario has none: declare it under `[variables]`".to_owned(),
        (None, known) => format!("; there are `{}`", known.join("`, `")),
    }
}

/// Purposes of random numbers, so that variables are independent of each other and of the choice of steps.
const VARIABLE_SALT: u64 = 0x5641_5249;
const ROW_SALT: u64 = 0x524F_5753;

impl Variables {
    /// Variables whose random values follow from a seed.
    pub fn new(seed: u64) -> Self {
        Self { sources: BTreeMap::new(), seed }
    }

    /// Lets random values follow from another seed.
    pub fn seed(&mut self, seed: u64) {
        self.seed = seed;
    }

    /// Declares a variable, or replaces it.
    pub fn insert(&mut self, name: impl Into<String>, source: Source) {
        self.sources.insert(name.into(), source);
    }

    /// Declares a variable with one value.
    pub fn fix(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.insert(name, Source::Fixed(value.into()));
    }

    /// What determines the values: per variable its name and source, rows of data files included.
    pub(crate) fn texts(&self, counts: impl Fn(&str) -> bool) -> Vec<String> {
        let mut texts = Vec::new();
        for (name, source) in self.sources.iter().filter(|(name, _)| counts(name)) {
            texts.push(name.clone());
            match source {
                Source::Fixed(value) => texts.push(value.clone()),
                Source::Random { min, max } => texts.push(format!("random {min} {max}")),
                Source::Sequence { from, step } => texts.push(format!("sequence {from} {step}")),
                Source::Rows { values, order } => {
                    texts.push(format!("rows {order:?}"));
                    texts.extend(values.iter().cloned());
                }
            }
        }
        texts
    }

    /// Whether there is a variable of that name.
    pub fn contains(&self, name: &str) -> bool {
        self.sources.contains_key(name)
    }

    /// The variable's value for an operation.
    pub fn value(&self, name: &str, index: u64) -> Result<Cow<'_, str>, MissingVariableError> {
        let source = self.sources.get(name).ok_or_else(|| self.missing(name))?;
        Ok(match source {
            Source::Fixed(value) => Cow::Borrowed(value),
            Source::Random { min, max } => {
                let salt = name.bytes().fold(VARIABLE_SALT, |salt, byte| random::at(salt, u64::from(byte)));
                let span = i128::from(*max) - i128::from(*min) + 1;
                let drawn = i128::from(random::at(self.seed ^ salt, index)) % span.max(1);
                Cow::Owned((i128::from(*min) + drawn).to_string())
            }
            Source::Sequence { from, step } => {
                let index = i64::try_from(index).unwrap_or(i64::MAX);
                Cow::Owned(from.wrapping_add(step.wrapping_mul(index)).to_string())
            }
            Source::Rows { values, order } => {
                let row = match order {
                    Order::Sequence => index,
                    Order::Random => random::at(self.seed ^ ROW_SALT, index),
                };
                let row = row % (values.len() as u64).max(1);
                Cow::Borrowed(values.get(row as usize).map_or("", String::as_str))
            }
        })
    }

    fn missing(&self, name: &str) -> MissingVariableError {
        MissingVariableError {
            name: name.to_owned(),
            meant: nearest(name, self.sources.keys().map(String::as_str)).map(str::to_owned),
            known: self.sources.keys().cloned().collect(),
        }
    }
}

/// A text with `${name}` in it; `$${` stands for a literal `${`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    text: String,
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Variable(String),
}

/// A text that is not a template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}`: {reason}")]
pub struct ParseTemplateError {
    text: String,
    reason: &'static str,
}

impl Template {
    /// Names of the variables in it, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| match part {
            Part::Variable(name) => Some(name.as_str()),
            Part::Text(_) => None,
        })
    }

    /// The text with every variable's value for one operation.
    pub fn render(&self, variables: &Variables, index: u64) -> Result<String, MissingVariableError> {
        let mut rendered = String::with_capacity(self.text.len() + 16);
        for part in &self.parts {
            match part {
                Part::Text(text) => rendered.push_str(text),
                Part::Variable(name) => rendered.push_str(&variables.value(name, index)?),
            }
        }
        Ok(rendered)
    }

    /// Checks that every variable exists, and computes the text now if it is the same for every operation.
    pub fn bind(&self, variables: &Variables) -> Result<Bound, MissingVariableError> {
        let mut fixed = true;
        for name in self.names() {
            match variables.sources.get(name) {
                Some(Source::Fixed(_)) => {}
                Some(_) => fixed = false,
                None => return Err(variables.missing(name)),
            }
        }
        Ok(if fixed { Bound::Fixed(self.render(variables, 0)?) } else { Bound::Varying(self.clone()) })
    }
}

impl std::str::FromStr for Template {
    type Err = ParseTemplateError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = |reason| ParseTemplateError { text: text.to_owned(), reason };
        let (mut parts, mut literal, mut rest) = (Vec::new(), String::new(), text);
        while let Some(dollar) = rest.find('$') {
            let (before, from_dollar) = rest.split_at(dollar);
            literal.push_str(before);
            if let Some(after) = from_dollar.strip_prefix("$${") {
                literal.push_str("${");
                rest = after;
            } else if let Some(after) = from_dollar.strip_prefix("${") {
                let (name, after) = after.split_once('}').ok_or_else(|| error("`${` without its `}`"))?;
                if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
                    return Err(error("the name of a variable has letters, digits and `_` only"));
                }
                if !literal.is_empty() {
                    parts.push(Part::Text(std::mem::take(&mut literal)));
                }
                parts.push(Part::Variable(name.to_owned()));
                rest = after;
            } else {
                literal.push('$');
                rest = from_dollar.strip_prefix('$').unwrap_or_default();
            }
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            parts.push(Part::Text(literal));
        }
        Ok(Self { text: text.to_owned(), parts })
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for Template {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

impl Serialize for Template {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl JsonSchema for Template {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Template".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "description": "a text in which `${name}` stands for the value of a variable" })
    }
}

/// A template whose variables are known to exist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bound {
    /// The same for every operation.
    Fixed(String),
    /// Depends on the operation.
    Varying(Template),
}

impl Bound {
    /// The text for an operation.
    pub fn text(&self, variables: &Variables, index: u64) -> Cow<'_, str> {
        match self {
            Self::Fixed(text) => Cow::Borrowed(text),
            // `bind` found every name; a variable is never taken away.
            Self::Varying(template) => Cow::Owned(template.render(variables, index).unwrap_or_default()),
        }
    }

    /// Whether it is the same for every operation.
    pub fn is_fixed(&self) -> bool {
        matches!(self, Self::Fixed(_))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn template(text: &str) -> Template {
        text.parse().unwrap()
    }

    fn variables() -> Variables {
        let mut variables = Variables::new(7);
        variables.fix("port", "8080");
        variables.insert("id", Source::Sequence { from: 10, step: 2 });
        variables.insert("user", Source::Random { min: -3, max: 3 });
        let values: Arc<[String]> = ["a", "b", "c"].map(str::to_owned).into();
        variables.insert("name", Source::Rows { values, order: Order::Sequence });
        variables
    }

    #[test]
    fn variables_are_replaced_and_a_doubled_dollar_is_literal() {
        let text = template("http://127.0.0.1:${port}/${id}?n=${name}&price=$5&raw=$${port}");
        assert_eq!(
            text.render(&variables(), 4).unwrap(),
            "http://127.0.0.1:8080/18?n=b&price=$5&raw=${port}"
        );
    }

    #[test]
    fn a_template_of_fixed_variables_is_computed_once() {
        assert_eq!(template(":${port}").bind(&variables()).unwrap(), Bound::Fixed(":8080".to_owned()));
        assert!(!template("${id}").bind(&variables()).unwrap().is_fixed());
    }

    #[test]
    fn a_missing_variable_is_named_with_the_nearest_one() {
        let error = template("${prot}").bind(&variables()).unwrap_err().to_string();
        assert_eq!(error, "there is no variable `prot`; did you mean `port`?");
        let error = template("${x}").bind(&Variables::new(1)).unwrap_err().to_string();
        assert!(error.contains("declare it under `[variables]`"), "{error}");
    }

    #[test]
    fn a_broken_template_is_refused() {
        for text in ["${port", "${}", "${a b}", "${a.b}"] {
            assert!(text.parse::<Template>().is_err(), "{text}");
        }
    }

    #[test]
    fn random_values_stay_in_their_range_and_repeat_from_the_seed() {
        let variables = variables();
        let drawn: Vec<i64> =
            (0..1_000).map(|index| variables.value("user", index).unwrap().parse().unwrap()).collect();
        assert!(drawn.iter().all(|value| (-3..=3).contains(value)));
        assert!((-3..=3).all(|value| drawn.contains(&value)));
        assert_eq!(variables.value("user", 5).unwrap(), drawn[5].to_string());
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic_and_text_without_variables_is_kept(text in ".{0,40}") {
            if let Ok(template) = text.parse::<Template>() && !text.contains("${") {
                prop_assert_eq!(template.render(&Variables::new(1), 0).unwrap(), text);
            }
        }
    }
}
