//! Values with expressions in them.

use serde_json::{Map, Value};

use super::{Environment, EvaluateError, Expression, ParseError, Reference, parse::parse_braced};

/// How deep a value may nest.
const DEPTH_MAX: usize = 64;

/// A value with `${…}` in its texts. A text that is nothing but one expression becomes its value; within a longer text
/// the value is written out. `$${` is a literal `${`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Template {
    Literal(Value),
    Expression(Expression),
    Text(Vec<Piece>),
    List(Vec<Self>),
    Object(Vec<(String, Self)>),
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Piece {
    Text(String),
    Expression(Expression),
}

/// A text of a template is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TemplateError {
    /// Where it is, as `items[0].url`; empty for the value itself.
    pub(crate) path: String,
    pub(crate) error: ParseError,
}

impl Template {
    /// Reads a value. All texts that are wrong are told.
    pub(crate) fn parse(value: &Value) -> Result<Self, Vec<TemplateError>> {
        let mut errors = Vec::new();
        let template = Self::read(value, "", 0, &mut errors);
        if errors.is_empty() { Ok(template) } else { Err(errors) }
    }

    fn read(value: &Value, path: &str, depth: usize, errors: &mut Vec<TemplateError>) -> Self {
        if depth > DEPTH_MAX {
            let error = ParseError { at: 0, reason: "it is nested too deep".to_owned() };
            errors.push(TemplateError { path: path.to_owned(), error });
            return Self::Literal(Value::Null);
        }
        match value {
            Value::String(text) => Self::parse_text(text).unwrap_or_else(|error| {
                errors.push(TemplateError { path: path.to_owned(), error });
                Self::Literal(Value::Null)
            }),
            Value::Array(items) => {
                let mut read =
                    |(index, item)| Self::read(item, &format!("{path}[{index}]"), depth + 1, errors);
                let items: Vec<Self> = items.iter().enumerate().map(&mut read).collect();
                if items.iter().all(Self::is_literal) {
                    Self::Literal(value.clone_unescaped())
                } else {
                    Self::List(items)
                }
            }
            Value::Object(members) => {
                let mut read = |(name, member): (&String, &Value)| {
                    let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                    (name.clone(), Self::read(member, &path, depth + 1, errors))
                };
                let members: Vec<(String, Self)> = members.iter().map(&mut read).collect();
                if members.iter().all(|(_, member)| member.is_literal()) {
                    Self::Literal(value.clone_unescaped())
                } else {
                    Self::Object(members)
                }
            }
            other => Self::Literal(other.clone()),
        }
    }

    /// Reads a text.
    pub(crate) fn parse_text(text: &str) -> Result<Self, ParseError> {
        let mut pieces = Vec::new();
        let mut literal = String::new();
        let mut at = 0;
        while let Some(found) = text[at..].find('$') {
            let dollar = at + found;
            literal.push_str(&text[at..dollar]);
            if text[dollar..].starts_with("$${") {
                literal.push_str("${");
                at = dollar + 3;
            } else if text[dollar..].starts_with("${") {
                if !literal.is_empty() {
                    pieces.push(Piece::Text(std::mem::take(&mut literal)));
                }
                let (expression, end) = parse_braced(text, dollar + 2)?;
                pieces.push(Piece::Expression(expression));
                at = end;
            } else {
                literal.push('$');
                at = dollar + 1;
            }
        }
        literal.push_str(&text[at..]);
        Ok(match pieces.as_slice() {
            [] => Self::Literal(Value::String(literal)),
            [Piece::Expression(_)] if literal.is_empty() => match pieces.pop() {
                Some(Piece::Expression(expression)) => Self::Expression(expression),
                _ => Self::Text(pieces),
            },
            _ => {
                if !literal.is_empty() {
                    pieces.push(Piece::Text(literal));
                }
                Self::Text(pieces)
            }
        })
    }

    fn is_literal(&self) -> bool {
        matches!(self, Self::Literal(_))
    }

    /// The value with its expressions evaluated.
    pub(crate) fn render(&self, environment: &Environment) -> Result<Value, EvaluateError> {
        match self {
            Self::Literal(value) => Ok(value.clone()),
            Self::Expression(expression) => Ok(expression.evaluate(environment)?.into_owned()),
            Self::Text(pieces) => {
                let mut text = String::new();
                for piece in pieces {
                    match piece {
                        Piece::Text(literal) => text.push_str(literal),
                        Piece::Expression(expression) => match &*expression.evaluate(environment)? {
                            Value::String(value) => text.push_str(value),
                            value => text.push_str(&value.to_string()),
                        },
                    }
                }
                Ok(Value::String(text))
            }
            Self::List(items) => items.iter().map(|item| item.render(environment)).collect(),
            Self::Object(members) => {
                let rendered =
                    members.iter().map(|(name, member)| Ok((name.clone(), member.render(environment)?)));
                rendered.collect::<Result<Map<String, Value>, EvaluateError>>().map(Value::Object)
            }
        }
    }

    /// Calls `visit` with every reference.
    pub(crate) fn visit(&self, visit: &mut dyn FnMut(&Reference)) {
        match self {
            Self::Literal(_) => {}
            Self::Expression(expression) => expression.visit(visit),
            Self::Text(pieces) => {
                for piece in pieces {
                    if let Piece::Expression(expression) = piece {
                        expression.visit(visit);
                    }
                }
            }
            Self::List(items) => items.iter().for_each(|item| item.visit(visit)),
            Self::Object(members) => members.iter().for_each(|(_, member)| member.visit(visit)),
        }
    }
}

trait Unescaped {
    /// A copy in which `$${` is `${`.
    fn clone_unescaped(&self) -> Self;
}

impl Unescaped for Value {
    fn clone_unescaped(&self) -> Self {
        match self {
            Self::String(text) => Self::String(text.replace("$${", "${")),
            Self::Array(items) => items.iter().map(Unescaped::clone_unescaped).collect(),
            Self::Object(members) => {
                members.iter().map(|(name, member)| (name.clone(), member.clone_unescaped())).collect()
            }
            other => other.clone(),
        }
    }
}
