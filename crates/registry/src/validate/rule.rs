//! The few kinds of rules that the schema of `server.json` consists of.

use serde_json::{Map, Value};
use url::Url;

use super::Report;

/// What a value must be.
pub(super) enum Rule {
    /// A text.
    Text(Text),
    /// `true` or `false`.
    Flag,
    /// A list, of what.
    List(&'static Rule),
    /// An object with any keys, of what.
    Map(&'static Rule),
    /// An object with known members.
    Object(&'static Object),
    /// One of several objects, told apart by a member.
    Choice(&'static Choice),
}

/// What a text must be, beside one.
pub(super) struct Text {
    pub(super) length_min: usize,
    pub(super) length_max: usize,
    pub(super) form: Form,
}

/// The form of a text.
pub(super) enum Form {
    Any,
    Uri,
    OneOf(&'static [&'static str]),
    Not(&'static str),
    Pattern { pattern: &'static str, matches: fn(&str) -> bool },
}

/// An object's members; others may be there.
pub(super) struct Object {
    pub(super) name: &'static str,
    pub(super) required: &'static [&'static str],
    pub(super) members: &'static [(&'static str, Rule)],
    /// Of these one must be there.
    pub(super) one_of: &'static [&'static str],
}

/// Objects that are told apart by a member.
pub(super) struct Choice {
    pub(super) name: &'static str,
    pub(super) by: &'static str,
    pub(super) objects: &'static [(&'static str, &'static Object)],
}

pub(super) const TEXT: Rule = Rule::Text(Text { length_min: 0, length_max: usize::MAX, form: Form::Any });
pub(super) const URI: Rule = Rule::Text(Text { length_min: 0, length_max: usize::MAX, form: Form::Uri });

impl Rule {
    /// Checks a value; `place` is where the rule stands in the schema.
    pub(super) fn check(&self, value: &Value, place: &str, report: &mut Report) {
        match self {
            Self::Text(text) => match value.as_str() {
                Some(given) => text.check(given, place, report),
                None => mistyped("a text", value, place, report),
            },
            Self::Flag if value.is_boolean() => {}
            Self::Flag => mistyped("true or false", value, place, report),
            Self::List(rule) => match value.as_array() {
                Some(items) => {
                    let place = format!("{place}/items");
                    report.each(items, |report, item| rule.check(item, &place, report));
                }
                None => mistyped("a list", value, place, report),
            },
            Self::Map(rule) => match value.as_object() {
                Some(members) => {
                    let place = format!("{place}/additionalProperties");
                    for (key, member) in members {
                        report.within(key, |report| rule.check(member, &place, report));
                    }
                }
                None => mistyped("an object", value, place, report),
            },
            Self::Object(object) => match value.as_object() {
                Some(members) => object.check(members, report),
                None => mistyped("an object", value, place, report),
            },
            Self::Choice(choice) => match value.as_object() {
                Some(members) => choice.check(members, report),
                None => mistyped("an object", value, place, report),
            },
        }
    }
}

fn mistyped(expected: &str, value: &Value, place: &str, report: &mut Report) {
    let found = match value {
        Value::Null => "null",
        Value::Bool(_) => "a flag",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    };
    report.schema(format!("{place}/type"), format!("must be {expected}, not {found}"));
}

impl Text {
    fn check(&self, given: &str, place: &str, report: &mut Report) {
        // Bytes are never fewer than characters: only long texts are counted.
        if given.len() > self.length_max && given.chars().count() > self.length_max {
            report.schema(
                format!("{place}/maxLength"),
                format!("is longer than {} characters", self.length_max),
            );
        }
        if given.chars().take(self.length_min).count() < self.length_min {
            report.schema(
                format!("{place}/minLength"),
                format!("is shorter than {} characters", self.length_min),
            );
        }
        match &self.form {
            Form::Any => {}
            Form::Uri if is_uri(given) => {}
            Form::Uri => report.schema(format!("{place}/format"), "is not a URI"),
            Form::OneOf(known) if known.contains(&given) => {}
            Form::OneOf(known) => {
                report.schema(format!("{place}/enum"), format!("is none of {}", known.join(", ")));
            }
            Form::Not(refused) if given != *refused => {}
            Form::Not(refused) => report.schema(format!("{place}/not"), format!("must not be `{refused}`")),
            Form::Pattern { matches, .. } if matches(given) => {}
            Form::Pattern { pattern, .. } => {
                report.schema(format!("{place}/pattern"), format!("does not match {pattern}"));
            }
        }
    }
}

/// A URI has a scheme, and none of the characters that must be escaped in one.
fn is_uri(text: &str) -> bool {
    let escaped = |byte: u8| byte > b' ' && byte < 0x7f && !b"\"<>\\^`{|}".contains(&byte);
    text.bytes().all(escaped) && Url::parse(text).is_ok()
}

impl Object {
    fn check(&self, members: &Map<String, Value>, report: &mut Report) {
        let Self { name, required, one_of, .. } = self;
        for member in required.iter().filter(|member| !members.contains_key(**member)) {
            report.schema(format!("#/definitions/{name}/required"), format!("lacks `{member}`"));
        }
        if !one_of.is_empty() && !one_of.iter().any(|member| members.contains_key(*member)) {
            let one_of = one_of.join("` or `");
            report.schema(format!("#/definitions/{name}/anyOf"), format!("lacks `{one_of}`"));
        }
        for (member, rule) in self.members {
            if let Some(value) = members.get(*member) {
                report.within(member, |report| {
                    rule.check(value, &format!("#/definitions/{name}/properties/{member}"), report);
                });
            }
        }
    }
}

impl Choice {
    fn check(&self, members: &Map<String, Value>, report: &mut Report) {
        let Self { name, by, objects } = self;
        let given = members.get(*by).and_then(Value::as_str);
        let known = given.and_then(|given| objects.iter().find(|(value, _)| *value == given));
        if let Some((_, object)) = known {
            return object.check(members, report);
        }
        let values: Vec<_> = objects.iter().map(|(value, _)| *value).collect();
        let values = values.join(", ");
        let message = match given {
            Some(given) => format!("has the {by} `{given}`, which is none of {values}"),
            None => format!("lacks `{by}`: one of {values}"),
        };
        report.schema(format!("#/definitions/{name}/anyOf"), message);
    }
}
