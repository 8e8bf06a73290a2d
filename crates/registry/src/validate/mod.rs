//! Whether a `server.json` is right: what its schema says, and what the official registry checks beside it.
//!
//! Every mistake is an [`Issue`] in the official registry's shape: where it is (`packages[0].transport.url`), what is
//! wrong, and a reference to branch on: the rule's place in the schema (`#/definitions/Package/required`) or the official
//! validators' code (`invalid-remote-url`).

pub(crate) use schema::is_name as schema_name;

mod rule;
mod schema;
mod semantic;
mod url_rules;
mod version_rules;

use paddock_platform::problem::Problem;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

/// The schema that entries are checked against.
pub const SCHEMA_CURRENT: &str =
    "https://static.modelcontextprotocol.io/schemas/2025-12-11/server.schema.json";
/// Where every version of the schema is.
const SCHEMA_PREFIX: &str = "https://static.modelcontextprotocol.io/schemas/";
/// The key of the publisher's metadata.
pub(crate) const PUBLISHER_META: &str = "io.modelcontextprotocol.registry/publisher-provided";
/// How large the publisher's metadata may be in what is published here.
pub(crate) const PUBLISHER_META_SIZE_MAX: usize = 256 << 10;
/// How many mistakes are reported of one entry.
pub(crate) const ISSUES_MAX: usize = 25;

/// Where a mistake was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum IssueKind {
    /// It is no JSON object, or cannot be served for another reason.
    Entry,
    /// The schema is broken.
    Schema,
    /// A rule beside the schema is broken.
    Semantic,
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// It may not be published so.
    Error,
    /// It may, and should be looked at.
    Warning,
}

/// One mistake.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
pub struct Issue {
    /// Where it was found.
    #[serde(rename = "type")]
    pub kind: IssueKind,
    /// The field, for example `packages[0].transport.url`; empty for the entry as a whole.
    pub path: String,
    /// What is wrong.
    pub message: String,
    /// How bad it is.
    pub severity: Severity,
    /// The rule or the official validators' code.
    pub reference: String,
}

impl Issue {
    pub(crate) fn entry(reference: &str, message: impl Into<String>) -> Self {
        Self {
            kind: IssueKind::Entry,
            path: String::new(),
            message: message.into(),
            severity: Severity::Error,
            reference: reference.to_owned(),
        }
    }
}

/// What was found in one entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
pub struct Verdict {
    /// Whether it may be published.
    pub valid: bool,
    /// Every mistake, at most 25.
    pub issues: Vec<Issue>,
}

impl Verdict {
    fn of(issues: Vec<Issue>) -> Self {
        Self { valid: issues.iter().all(|issue| issue.severity == Severity::Warning), issues }
    }

    /// The problem that refuses what was found invalid.
    pub(crate) fn into_problem(self) -> Problem {
        let first = self.issues.iter().find(|issue| issue.severity == Severity::Error);
        let (path, message) =
            first.map_or(("server", "is invalid"), |issue| (issue.path.as_str(), issue.message.as_str()));
        let path = if path.is_empty() { "server" } else { path };
        let issues = serde_json::to_value(&self.issues).unwrap_or_default();
        Problem::invalid_field(path, message).with("issues", issues)
    }
}

/// Everything that is wrong with an entry by its schema and by the rules beside it.
pub(crate) fn issues_of(server: &Value) -> Vec<Issue> {
    let mut report = Report::default();
    schema::check(server, &mut report);
    semantic::check(server, &mut report);
    report.issues
}

/// Checks what is to be published.
pub fn validate(server: &Value) -> Verdict {
    let mut report = Report { issues: issues_of(server), path: Vec::new() };
    match server.get("$schema").and_then(Value::as_str) {
        None | Some("") => report.semantic(
            "$schema",
            "schema-field-required",
            format!("is needed; the current one is {SCHEMA_CURRENT}"),
        ),
        Some(schema) if !schema.starts_with(SCHEMA_PREFIX) => report.semantic(
            "$schema",
            "schema-version-unknown",
            format!("is not a version of the schema; the current one is {SCHEMA_CURRENT}"),
        ),
        Some(schema) if schema != SCHEMA_CURRENT => {
            let message = format!("is not the current version of the schema, {SCHEMA_CURRENT}");
            let reference = "schema-version-deprecated".to_owned();
            report.add(IssueKind::Semantic, Severity::Warning, "$schema", reference, message);
        }
        Some(_) => {}
    }
    if let Some(meta) = server.get("_meta").and_then(Value::as_object) {
        if let Some(key) = meta.keys().find(|key| *key != PUBLISHER_META) {
            report.semantic(
                "_meta",
                "meta-key-not-allowed",
                format!("may hold `{PUBLISHER_META}` only, not `{key}`"),
            );
        }
        let size = meta.get(PUBLISHER_META).map_or(0, |meta| meta.to_string().len());
        if size > PUBLISHER_META_SIZE_MAX {
            report.semantic(
                "_meta",
                "publisher-meta-too-large",
                format!("has {size} bytes, {PUBLISHER_META_SIZE_MAX} are the most"),
            );
        }
    }
    Verdict::of(report.issues)
}

/// Collects mistakes and knows where it stands.
#[derive(Default)]
pub(crate) struct Report {
    issues: Vec<Issue>,
    path: Vec<Step>,
}

enum Step {
    Field(String),
    Index(usize),
}

impl Report {
    /// Runs a check of a part.
    fn within(&mut self, field: &str, check: impl FnOnce(&mut Self)) {
        self.path.push(Step::Field(field.to_owned()));
        check(self);
        self.path.pop();
    }

    /// Runs a check of each item of a list.
    fn each<'v>(
        &mut self,
        items: impl IntoIterator<Item = &'v Value>,
        mut check: impl FnMut(&mut Self, &'v Value),
    ) {
        for (index, item) in items.into_iter().enumerate() {
            self.path.push(Step::Index(index));
            check(self, item);
            self.path.pop();
        }
    }

    fn add(
        &mut self,
        kind: IssueKind,
        severity: Severity,
        field: &str,
        reference: String,
        message: impl Into<String>,
    ) {
        if self.issues.len() >= ISSUES_MAX {
            return;
        }
        let mut path = String::new();
        for step in &self.path {
            match step {
                Step::Field(name) if path.is_empty() => path.push_str(name),
                Step::Field(name) => path.extend([".", name]),
                Step::Index(index) => path.extend(["[", &index.to_string(), "]"]),
            }
        }
        if !field.is_empty() {
            let dot = if path.is_empty() { "" } else { "." };
            path.extend([dot, field]);
        }
        let message = message.into();
        self.issues.push(Issue { kind, path, message, severity, reference });
    }

    fn schema(&mut self, reference: String, message: impl Into<String>) {
        self.add(IssueKind::Schema, Severity::Error, "", reference, message);
    }

    fn semantic(&mut self, field: &str, code: &str, message: impl Into<String>) {
        self.add(IssueKind::Semantic, Severity::Error, field, code.to_owned(), message);
    }
}

#[cfg(test)]
mod tests;
