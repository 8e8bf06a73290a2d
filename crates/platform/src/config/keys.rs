//! The keys that exist, read from the JSON Schema of the configuration type.

use std::collections::BTreeMap;

use schemars::{JsonSchema, generate::SchemaSettings};
use serde_json::Value;

use super::{
    nearest,
    tree::{Node, NodeValue, Origin, Step, dotted},
};

/// How deep a schema is followed; also the guard against one that refers to itself.
const DEPTH_MAX: usize = 12;

/// The JSON Schema (2020-12) of a configuration type, as `paddock config schema` publishes it.
pub fn schema<C: JsonSchema>() -> Value {
    SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<C>().to_value()
}

/// Answers what may stand where in the configuration.
pub(super) struct Keys {
    root: Value,
    /// Every key by its full name, arrays left out of the name: `llm.providers.url`.
    names: Vec<String>,
}

/// What the tables at one place may hold: several schemas where the type is an enum or optional.
#[derive(Default)]
struct Shape<'a> {
    properties: BTreeMap<&'a str, Vec<&'a Value>>,
    /// The schemas of values under keys that the user chooses, as in a map.
    any_key: Vec<&'a Value>,
    items: Vec<&'a Value>,
    types: Vec<&'a str>,
}

impl Keys {
    pub(super) fn of<C: JsonSchema>() -> Self {
        let mut keys = Self { root: schema::<C>(), names: Vec::new() };
        let mut names = Vec::new();
        keys.collect(&[&keys.root], "", 0, &mut names);
        keys.names = names;
        keys
    }

    fn collect(&self, schemas: &[&Value], prefix: &str, depth: usize, names: &mut Vec<String>) {
        if depth > DEPTH_MAX {
            return;
        }
        let shape = self.shape(schemas);
        for (key, schemas) in &shape.properties {
            let name = if prefix.is_empty() { (*key).to_owned() } else { format!("{prefix}.{key}") };
            self.collect(schemas, &name, depth + 1, names);
            names.push(name);
        }
        if !shape.items.is_empty() {
            self.collect(&shape.items, prefix, depth + 1, names);
        }
    }

    fn shape<'a>(&'a self, schemas: &[&'a Value]) -> Shape<'a> {
        let mut shape = Shape::default();
        for schema in schemas {
            self.add(schema, &mut shape, 0);
        }
        shape
    }

    fn add<'a>(&'a self, schema: &'a Value, shape: &mut Shape<'a>, depth: usize) {
        if depth > DEPTH_MAX {
            return;
        }
        if let Some(reference) = schema["$ref"].as_str()
            && let Some(target) = reference.strip_prefix('#').and_then(|at| self.root.pointer(at))
        {
            self.add(target, shape, depth + 1);
        }
        for combined in ["anyOf", "oneOf", "allOf"] {
            for alternative in schema[combined].as_array().into_iter().flatten() {
                self.add(alternative, shape, depth + 1);
            }
        }
        for (key, property) in schema["properties"].as_object().into_iter().flatten() {
            shape.properties.entry(key).or_default().push(property);
        }
        match &schema["additionalProperties"] {
            Value::Object(_) | Value::Bool(true) => shape.any_key.push(&schema["additionalProperties"]),
            _ => {}
        }
        if schema["items"].is_object() {
            shape.items.push(&schema["items"]);
        }
        match &schema["type"] {
            Value::String(name) => shape.types.push(name),
            Value::Array(names) => shape.types.extend(names.iter().filter_map(Value::as_str)),
            _ => {}
        }
    }

    /// Whether the key takes text and nothing else, so that `5` in a variable means the text "5".
    pub(super) fn takes_only_text(&self, path: &[String]) -> bool {
        let mut schemas = vec![&self.root];
        for key in path {
            let mut shape = self.shape(&schemas);
            schemas = match shape.properties.remove(key.as_str()) {
                Some(found) => found,
                None if key.bytes().all(|b| b.is_ascii_digit()) && !shape.items.is_empty() => shape.items,
                None => shape.any_key,
            };
        }
        let types = self.shape(&schemas).types;
        types.contains(&"string") && types.iter().all(|name| matches!(*name, "string" | "null"))
    }

    /// Whether a key of this full name exists at the top, beside the sections.
    pub(super) fn has(&self, name: &str) -> bool {
        self.names.iter().any(|known| known == name)
    }

    /// The key whose name is this one with other separators: `browser_instances_max` for `browser.instances_max`.
    pub(super) fn spelled_without_dots(&self, name: &str) -> Option<&str> {
        self.names
            .iter()
            .find(|known| known.contains('.') && known.replace('.', "_") == name)
            .map(String::as_str)
    }

    /// Takes the keys that do not exist out of a tree: where they came from, their names, and what may be meant.
    pub(super) fn take_unknown(&self, tree: &mut Node) -> Vec<(Origin, String, Option<String>)> {
        let mut unknown = Vec::new();
        self.visit(tree, &[&self.root], &mut Vec::new(), &mut unknown);
        unknown
    }

    fn visit(
        &self,
        node: &mut Node,
        schemas: &[&Value],
        path: &mut Vec<Step>,
        unknown: &mut Vec<(Origin, String, Option<String>)>,
    ) {
        let shape = self.shape(schemas);
        match &mut node.value {
            NodeValue::Table(entries) if shape.properties.is_empty() => {
                for (key, child) in entries {
                    path.push(Step::Key(key.clone()));
                    self.visit(child, &shape.any_key, path, unknown);
                    path.pop();
                }
            }
            NodeValue::Table(entries) => entries.retain(|key, child| {
                path.push(Step::Key(key.clone()));
                let known = match shape.properties.get(key.as_str()) {
                    Some(schemas) => {
                        self.visit(child, schemas, path, unknown);
                        true
                    }
                    None if shape.any_key.is_empty() => {
                        let meant = self.meant(path, &shape);
                        unknown.push((child.origin.clone(), dotted(path), meant));
                        false
                    }
                    None => true,
                };
                path.pop();
                known
            }),
            NodeValue::Array(items) => {
                for (index, item) in items.iter_mut().enumerate() {
                    path.push(Step::Index(index));
                    self.visit(item, &shape.items, path, unknown);
                    path.pop();
                }
            }
            NodeValue::Leaf(_) => {}
        }
    }

    /// The nearest key of the same table, or else one of the same name in another.
    fn meant(&self, path: &[Step], shape: &Shape<'_>) -> Option<String> {
        let (Step::Key(name), parents) = path.split_last()? else { return None };
        if let Some(near) = nearest(name, shape.properties.keys().copied()) {
            let mut path = parents.to_vec();
            path.push(Step::Key(near.to_owned()));
            return Some(dotted(&path));
        }
        let same_name = |known: &&String| known.rsplit('.').next() == Some(name.as_str());
        let mut elsewhere = self.names.iter().filter(same_name);
        let found = elsewhere.next()?;
        // Several sections have a `url`; naming one of them would be a guess.
        elsewhere.next().is_none().then(|| found.clone())
    }
}
