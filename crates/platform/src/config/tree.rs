//! Values with the place they came from: what the layers of a configuration are merged in.

use std::{collections::BTreeMap, fmt, path::Path, sync::Arc};

use toml::de::{DeTable, DeValue};

/// Where a value of the configuration came from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// Nobody set it.
    Default,
    /// A line of the file.
    File {
        /// The path as it was given.
        path: Arc<Path>,
        /// Counted from 1.
        line: usize,
    },
    /// An environment variable, by name.
    Env(Arc<str>),
    /// A `--set` flag, by the key it sets.
    Flag(Arc<str>),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::Env(variable) => f.write_str(variable),
            Self::Flag(key) => write!(f, "--set {key}"),
        }
    }
}

/// One value, or a table or array of them.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) origin: Origin,
    pub(super) value: NodeValue,
}

#[derive(Clone, Debug)]
pub(super) enum NodeValue {
    Table(BTreeMap<String, Node>),
    Array(Vec<Node>),
    Leaf(toml::Value),
}

/// A step into a [`Node`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Key(String),
    Index(usize),
}

/// Steps as a person writes them: `llm.providers[0].url`.
pub(super) fn dotted(path: &[Step]) -> String {
    let mut text = String::new();
    for step in path {
        match step {
            Step::Key(key) if text.is_empty() => text.push_str(key),
            Step::Key(key) => {
                text.push('.');
                text.push_str(key);
            }
            Step::Index(index) => {
                text.push('[');
                text.push_str(&index.to_string());
                text.push(']');
            }
        }
    }
    text
}

impl Node {
    pub(super) fn empty() -> Self {
        Self { origin: Origin::Default, value: NodeValue::Table(BTreeMap::new()) }
    }

    /// Reads a TOML document; every syntax error with its line.
    pub(super) fn parse_file(path: &Path, text: &str) -> Result<Self, Vec<(Origin, String)>> {
        let path: Arc<Path> = Arc::from(path);
        let lines = Lines::new(text);
        let at = |offset: usize| Origin::File { path: Arc::clone(&path), line: lines.line(offset) };
        let (table, errors) = DeTable::parse_recoverable(text);
        if !errors.is_empty() {
            let problem = |error: &toml::de::Error| {
                (at(error.span().map_or(0, |span| span.start)), error.message().to_owned())
            };
            return Err(errors.iter().map(problem).collect());
        }
        let origin = at(0);
        Ok(Self { origin, value: NodeValue::Table(table_of(table.get_ref(), &at)) })
    }

    /// Reads the value of a variable or flag: as TOML where it is TOML, otherwise as text.
    pub(super) fn parse_value(text: &str, origin: &Origin, only_text: bool) -> Self {
        let quoted = text.starts_with(['"', '\'']);
        let parsed = if only_text && !quoted { None } else { DeValue::parse(text).ok() };
        match parsed {
            // A bare date is somebody's name for something: no key of ours holds one.
            Some(value) if !value.get_ref().is_datetime() => node_of(value.get_ref(), &|_| origin.clone(), 0),
            _ => {
                Self { origin: origin.clone(), value: NodeValue::Leaf(toml::Value::String(text.to_owned())) }
            }
        }
    }

    /// Puts `node` at a path, over what is there; tables are merged. The error is the part of the path that holds a
    /// plain value where a table is needed, or an index that the array does not have.
    pub(super) fn overlay(&mut self, path: &[String], node: Self) -> Result<(), String> {
        let Some((first, rest)) = path.split_first() else {
            self.merge(node);
            return Ok(());
        };
        match &mut self.value {
            NodeValue::Table(entries) => entries
                .entry(first.clone())
                .or_insert_with(|| Self { origin: node.origin.clone(), ..Self::empty() })
                .overlay(rest, node),
            NodeValue::Array(items) => {
                let item = first.parse::<usize>().ok().and_then(|index| items.get_mut(index));
                item.ok_or_else(|| first.clone())?.overlay(rest, node)
            }
            NodeValue::Leaf(_) => Err(first.clone()),
        }
    }

    fn merge(&mut self, over: Self) {
        match (&mut self.value, over.value) {
            (NodeValue::Table(below), NodeValue::Table(over)) => {
                for (key, node) in over {
                    match below.get_mut(&key) {
                        Some(existing) => existing.merge(node),
                        None => {
                            below.insert(key, node);
                        }
                    }
                }
            }
            (_, value) => *self = Self { origin: over.origin, value },
        }
    }

    /// The deepest existing node along a path, with the part of the path that leads to it.
    pub(super) fn deepest<'a>(&self, path: &'a [Step]) -> (&Self, &'a [Step]) {
        let mut node = self;
        for (depth, step) in path.iter().enumerate() {
            let child = match (&node.value, step) {
                (NodeValue::Table(entries), Step::Key(key)) => entries.get(key),
                (NodeValue::Array(items), Step::Index(index)) => items.get(*index),
                _ => None,
            };
            match child {
                Some(child) => node = child,
                None => return (node, &path[..depth]),
            }
        }
        (node, path)
    }

    /// Takes out the node at a path; `false` if it is not there.
    pub(super) fn remove(&mut self, path: &[Step]) -> bool {
        match (path, &mut self.value) {
            ([Step::Key(key)], NodeValue::Table(entries)) => entries.remove(key).is_some(),
            ([Step::Index(index)], NodeValue::Array(items)) if *index < items.len() => {
                items.remove(*index);
                true
            }
            ([Step::Key(key), rest @ ..], NodeValue::Table(entries)) => {
                entries.get_mut(key).is_some_and(|node| node.remove(rest))
            }
            ([Step::Index(index), rest @ ..], NodeValue::Array(items)) => {
                items.get_mut(*index).is_some_and(|node| node.remove(rest))
            }
            _ => false,
        }
    }

    pub(super) fn to_toml(&self) -> toml::Value {
        match &self.value {
            NodeValue::Leaf(value) => value.clone(),
            NodeValue::Array(items) => items.iter().map(Self::to_toml).collect::<Vec<_>>().into(),
            NodeValue::Table(entries) => entries
                .iter()
                .map(|(key, node)| (key.clone(), node.to_toml()))
                .collect::<toml::Table>()
                .into(),
        }
    }

    /// Calls `visit` with every plain value and empty container, and its path.
    pub(super) fn leaves(&self, path: &mut Vec<Step>, visit: &mut impl FnMut(&[Step], &Self)) {
        match &self.value {
            NodeValue::Table(entries) if !entries.is_empty() => {
                for (key, node) in entries {
                    path.push(Step::Key(key.clone()));
                    node.leaves(path, visit);
                    path.pop();
                }
            }
            NodeValue::Array(items) if !items.is_empty() => {
                for (index, node) in items.iter().enumerate() {
                    path.push(Step::Index(index));
                    node.leaves(path, visit);
                    path.pop();
                }
            }
            _ => visit(path, self),
        }
    }
}

fn table_of(table: &DeTable<'_>, at: &impl Fn(usize) -> Origin) -> BTreeMap<String, Node> {
    table
        .iter()
        .map(|(key, value)| {
            let node = node_of(value.get_ref(), at, key.span().start);
            (key.get_ref().to_string(), node)
        })
        .collect()
}

fn node_of(value: &DeValue<'_>, at: &impl Fn(usize) -> Origin, offset: usize) -> Node {
    let value = match value {
        DeValue::Table(table) => NodeValue::Table(table_of(table, at)),
        DeValue::Array(items) => NodeValue::Array(
            items.iter().map(|item| node_of(item.get_ref(), at, item.span().start)).collect(),
        ),
        DeValue::Boolean(flag) => NodeValue::Leaf((*flag).into()),
        DeValue::String(text) => NodeValue::Leaf(text.to_string().into()),
        DeValue::Datetime(moment) => NodeValue::Leaf((*moment).into()),
        // The parser has checked both numbers; one that is too large for the type stays text and is refused as such.
        DeValue::Integer(number) => NodeValue::Leaf(
            i64::from_str_radix(number.as_str(), number.radix())
                .map_or_else(|_| number.as_str().to_owned().into(), toml::Value::Integer),
        ),
        DeValue::Float(number) => NodeValue::Leaf(
            number.as_str().parse().map_or_else(|_| number.as_str().to_owned().into(), toml::Value::Float),
        ),
    };
    Node { origin: at(offset), value }
}

/// Finds the line of a byte offset.
pub(super) struct Lines(Vec<usize>);

impl Lines {
    pub(super) fn new(text: &str) -> Self {
        Self(text.match_indices('\n').map(|(offset, _)| offset).collect())
    }

    /// Counted from 1.
    pub(super) fn line(&self, offset: usize) -> usize {
        self.0.partition_point(|newline| *newline < offset) + 1
    }
}
