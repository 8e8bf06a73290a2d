//! Expressions: how a step refers to what was before it, and decides.
//!
//! ```text
//! expression = either
//! either     = both { "||" both }
//! both       = negated { "&&" negated }
//! negated    = "!" negated | compared
//! compared   = value [ ("==" | "!=" | "<" | "<=" | ">" | ">=" | "in") value ]
//! value      = literal | reference | function "(" expression { "," expression } ")" | "(" expression ")"
//! reference  = root { "." name | "[" number "]" } [ "#" pointer ]
//! root       = "inputs" | "item" | "index" | "output" | "mission" | "steps" "." name "." ("output" | "state" | "error")
//! pointer    = a JSON pointer (RFC 6901), in quotes if there is anything but a-z A-Z 0-9 _ - . ~ / in it
//! function   = "length" | "exists" | "default"
//! literal    = number | "'" text "'" | '"' text '"' | "true" | "false" | "null"
//! ```
//!
//! That is all: an expression has a cost that its length bounds, names what it reads before it runs, and changes nothing.
//! A general language such as CEL has neither property without limits of its own, and none of its crates reads JSON
//! pointers. A reference to what is not there is an error, except within `exists` and `default`: a mission that reads
//! the wrong field must fail, not go on with null.

mod evaluate;
mod parse;
mod template;

use serde_json::Value;

pub(crate) use self::{
    evaluate::{Environment, EvaluateError, StepValue},
    parse::{ParseError, parse},
    template::Template,
};

/// An expression, read.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Expression {
    Literal(Value),
    Reference(Reference),
    Not(Box<Self>),
    And(Box<Self>, Box<Self>),
    Or(Box<Self>, Box<Self>),
    Compare(Comparison, Box<Self>, Box<Self>),
    Length(Box<Self>),
    Exists(Reference),
    Default(Reference, Box<Self>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    In,
}

/// What an expression reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reference {
    pub(crate) root: Root,
    /// The steps of the pointer, unescaped.
    pub(crate) path: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Root {
    Inputs,
    Item,
    Index,
    /// What the step came to that is being compensated.
    Output,
    Mission,
    Step(String, StepField),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StepField {
    Output,
    State,
    Error,
}

impl Expression {
    /// Calls `visit` with every reference.
    pub(crate) fn visit(&self, visit: &mut dyn FnMut(&Reference)) {
        match self {
            Self::Literal(_) => {}
            Self::Reference(reference) | Self::Exists(reference) => visit(reference),
            Self::Not(inner) | Self::Length(inner) => inner.visit(visit),
            Self::And(left, right) | Self::Or(left, right) | Self::Compare(_, left, right) => {
                left.visit(visit);
                right.visit(visit);
            }
            Self::Default(reference, otherwise) => {
                visit(reference);
                otherwise.visit(visit);
            }
        }
    }
}

#[cfg(test)]
mod tests;
