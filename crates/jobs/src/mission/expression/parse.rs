//! Reads an expression.

use serde_json::{Number, Value};

use super::{Comparison, Expression, Reference, Root, StepField};

/// The longest expression.
const LENGTH_MAX: usize = 4_096;
/// How deep parentheses and negations may nest.
const DEPTH_MAX: u32 = 32;

/// A text that is not an expression.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason} at character {}", at + 1)]
pub(crate) struct ParseError {
    /// Where, in characters from 0.
    pub(crate) at: usize,
    pub(crate) reason: String,
}

/// Reads a whole text as one expression.
pub(crate) fn parse(text: &str) -> Result<Expression, ParseError> {
    let mut parser = Parser::new(text, 0);
    let expression = parser.expression(0)?;
    parser.skip_space();
    if parser.rest().is_empty() { Ok(expression) } else { Err(parser.expected("an operator or the end")) }
}

/// Reads the expression that begins at a byte of a text and ends with `}`; gives the byte after that.
pub(super) fn parse_braced(text: &str, start: usize) -> Result<(Expression, usize), ParseError> {
    let mut parser = Parser::new(text, start);
    let expression = parser.expression(0)?;
    parser.expect("}")?;
    Ok((expression, parser.at))
}

struct Parser<'a> {
    text: &'a str,
    start: usize,
    at: usize,
}

impl<'a> Parser<'a> {
    const fn new(text: &'a str, start: usize) -> Self {
        Self { text, start, at: start }
    }

    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn error(&self, reason: impl Into<String>) -> ParseError {
        ParseError { at: self.text[..self.at].chars().count(), reason: reason.into() }
    }

    fn expected(&self, what: &str) -> ParseError {
        match self.rest().chars().next() {
            Some(found) => self.error(format!("expected {what}, found `{}`", found.escape_default())),
            None => self.error(format!("expected {what}, found the end")),
        }
    }

    fn skip_space(&mut self) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start().len();
    }

    /// Takes a token of signs if it is next.
    fn take(&mut self, token: &str) -> bool {
        self.skip_space();
        let taken = self.rest().starts_with(token);
        if taken {
            self.at += token.len();
        }
        taken
    }

    fn expect(&mut self, token: &str) -> Result<(), ParseError> {
        if self.take(token) { Ok(()) } else { Err(self.expected(&format!("`{token}`"))) }
    }

    /// A name directly here: letters, digits, `_` and `-`, beginning with a letter or `_`.
    fn name(&mut self) -> Option<&'a str> {
        let rest = self.rest();
        if !rest.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') {
            return None;
        }
        let is_inside = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        let end = rest.find(|c| !is_inside(c)).unwrap_or(rest.len());
        self.at += end;
        Some(&rest[..end])
    }

    fn expression(&mut self, depth: u32) -> Result<Expression, ParseError> {
        if depth > DEPTH_MAX {
            return Err(self.error("the expression is nested too deep"));
        }
        if self.at - self.start > LENGTH_MAX {
            return Err(self.error("the expression is too long"));
        }
        let mut left = self.both(depth)?;
        while self.take("||") {
            left = Expression::Or(Box::new(left), Box::new(self.both(depth)?));
        }
        Ok(left)
    }

    fn both(&mut self, depth: u32) -> Result<Expression, ParseError> {
        let mut left = self.negated(depth)?;
        while self.take("&&") {
            left = Expression::And(Box::new(left), Box::new(self.negated(depth)?));
        }
        Ok(left)
    }

    fn negated(&mut self, depth: u32) -> Result<Expression, ParseError> {
        if depth > DEPTH_MAX {
            return Err(self.error("the expression is nested too deep"));
        }
        self.skip_space();
        if self.rest().starts_with('!') {
            self.at += 1;
            return Ok(Expression::Not(Box::new(self.negated(depth + 1)?)));
        }
        let left = self.value(depth)?;
        match self.comparison() {
            Some(comparison) => {
                Ok(Expression::Compare(comparison, Box::new(left), Box::new(self.value(depth)?)))
            }
            None => Ok(left),
        }
    }

    fn comparison(&mut self) -> Option<Comparison> {
        const SIGNS: [(&str, Comparison); 6] = [
            ("==", Comparison::Equal),
            ("!=", Comparison::NotEqual),
            ("<=", Comparison::LessOrEqual),
            (">=", Comparison::GreaterOrEqual),
            ("<", Comparison::Less),
            (">", Comparison::Greater),
        ];
        if let Some((_, comparison)) = SIGNS.into_iter().find(|(sign, _)| self.take(sign)) {
            return Some(comparison);
        }
        let before = self.at;
        self.skip_space();
        if self.name() == Some("in") {
            return Some(Comparison::In);
        }
        self.at = before;
        None
    }

    fn value(&mut self, depth: u32) -> Result<Expression, ParseError> {
        self.skip_space();
        if self.take("(") {
            let inner = self.expression(depth + 1)?;
            self.expect(")")?;
            return Ok(inner);
        }
        match self.rest().chars().next() {
            Some(quote @ ('\'' | '"')) => self.quoted(quote).map(Value::String).map(Expression::Literal),
            Some(c) if c.is_ascii_digit() || c == '-' => self.number(),
            Some(c) if c.is_ascii_alphabetic() || c == '_' => self.named(depth),
            _ => Err(self.expected("a value")),
        }
    }

    /// A text in quotes; `\` keeps the sign after it.
    fn quoted(&mut self, quote: char) -> Result<String, ParseError> {
        let mut text = String::new();
        let mut signs = self.rest().char_indices().skip(1);
        while let Some((index, sign)) = signs.next() {
            if sign == quote {
                self.at += index + 1;
                return Ok(text);
            }
            text.push(if sign == '\\' {
                match signs.next() {
                    Some((_, 'n')) => '\n',
                    Some((_, 't')) => '\t',
                    Some((_, kept)) => kept,
                    None => break,
                }
            } else {
                sign
            });
        }
        Err(self.error("a text is not closed"))
    }

    fn number(&mut self) -> Result<Expression, ParseError> {
        let rest = self.rest();
        let end = rest
            .char_indices()
            .find(|(index, c)| {
                let follows_exponent = *index > 0 && rest[..*index].ends_with(['e', 'E']);
                !(c.is_ascii_digit()
                    || matches!(c, '.' | 'e' | 'E')
                    || (matches!(c, '-' | '+') && (*index == 0 || follows_exponent)))
            })
            .map_or(rest.len(), |(index, _)| index);
        let number: Number = serde_json::from_str(&rest[..end])
            .map_err(|_| self.error(format!("`{}` is not a number", &rest[..end])))?;
        self.at += end;
        Ok(Expression::Literal(Value::Number(number)))
    }

    fn named(&mut self, depth: u32) -> Result<Expression, ParseError> {
        let begin = self.at;
        let name = self.name().ok_or_else(|| self.expected("a name"))?;
        match name {
            "true" => return Ok(Expression::Literal(Value::Bool(true))),
            "false" => return Ok(Expression::Literal(Value::Bool(false))),
            "null" => return Ok(Expression::Literal(Value::Null)),
            "length" | "exists" | "default" if self.take("(") => return self.call(name, depth),
            _ => self.at = begin,
        }
        self.reference().map(Expression::Reference)
    }

    fn call(&mut self, function: &str, depth: u32) -> Result<Expression, ParseError> {
        let expression = match function {
            "length" => Expression::Length(Box::new(self.expression(depth + 1)?)),
            "exists" => Expression::Exists(self.spaced_reference()?),
            _ => {
                let reference = self.spaced_reference()?;
                self.expect(",")?;
                Expression::Default(reference, Box::new(self.expression(depth + 1)?))
            }
        };
        self.expect(")")?;
        Ok(expression)
    }

    fn spaced_reference(&mut self) -> Result<Reference, ParseError> {
        self.skip_space();
        self.reference()
    }

    fn reference(&mut self) -> Result<Reference, ParseError> {
        let begin = self.at;
        let root = match self.name() {
            Some("inputs") => Root::Inputs,
            Some("item") => Root::Item,
            Some("index") => Root::Index,
            Some("output") => Root::Output,
            Some("mission") => Root::Mission,
            Some("steps") => self.step_root()?,
            Some(other) => {
                self.at = begin;
                let known = "`inputs`, `item`, `index`, `output`, `mission` and `steps`";
                return Err(self.error(format!("`{other}` is nothing to refer to; there are {known}")));
            }
            None => return Err(self.expected("a reference")),
        };
        let mut path = self.segments()?;
        if self.rest().starts_with('#') {
            self.at += 1;
            path.extend(self.pointer()?);
        }
        Ok(Reference { root, path })
    }

    fn step_root(&mut self) -> Result<Root, ParseError> {
        let mut segment = |what: &str| {
            if !self.rest().starts_with('.') {
                return Err(self.expected(&format!("`.` and {what}")));
            }
            self.at += 1;
            self.name().ok_or_else(|| self.expected(what))
        };
        let step = segment("the name of a step")?.to_owned();
        let field = match segment("`output`, `state` or `error`")? {
            "output" => StepField::Output,
            "state" => StepField::State,
            "error" => StepField::Error,
            other => {
                return Err(self.error(format!("a step has `output`, `state` and `error`, not `{other}`")));
            }
        };
        Ok(Root::Step(step, field))
    }

    fn segments(&mut self) -> Result<Vec<String>, ParseError> {
        let mut path = Vec::new();
        loop {
            if self.rest().starts_with('.') {
                self.at += 1;
                let name = self.name().ok_or_else(|| self.expected("a name"))?;
                path.push(name.to_owned());
            } else if self.rest().starts_with('[') {
                self.at += 1;
                let rest = self.rest();
                let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
                if end == 0 || end > 9 {
                    return Err(self.expected("a position"));
                }
                path.push(rest[..end].to_owned());
                self.at += end;
                self.expect("]")?;
            } else {
                return Ok(path);
            }
        }
    }

    fn pointer(&mut self) -> Result<Vec<String>, ParseError> {
        let text = if let Some(quote @ ('\'' | '"')) = self.rest().chars().next() {
            self.quoted(quote)?
        } else {
            let rest = self.rest();
            let is_inside = |c: char| c.is_ascii_alphanumeric() || "_-.~/".contains(c);
            let end = rest.find(|c| !is_inside(c)).unwrap_or(rest.len());
            self.at += end;
            rest[..end].to_owned()
        };
        match text.strip_prefix('/') {
            Some(rest) => {
                Ok(rest.split('/').map(|part| part.replace("~1", "/").replace("~0", "~")).collect())
            }
            None if text.is_empty() => Ok(Vec::new()),
            None => Err(self.error(format!("`{text}` is not a JSON pointer; one begins with `/`"))),
        }
    }
}
