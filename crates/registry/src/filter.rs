//! Filters: which entries a source takes and a view shows.

use globset::{Glob, GlobSet, GlobSetBuilder};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How many globs one list may have.
const PATTERNS_MAX: usize = 1_000;

/// Which entries are taken: those that no `exclude` matches and, where there is an `include`, that it does.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct FilterOptions {
    /// By name; `*` matches across `/`.
    #[serde(skip_serializing_if = "PatternOptions::is_empty")]
    pub names: PatternOptions,
    /// By the tags in the publisher's metadata.
    #[serde(skip_serializing_if = "PatternOptions::is_empty")]
    pub tags: PatternOptions,
    /// By version.
    #[serde(skip_serializing_if = "PatternOptions::is_empty")]
    pub versions: PatternOptions,
    /// Only the latest version of each server.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub latest_only: bool,
}

/// Globs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PatternOptions {
    /// One of these must match, if there are any.
    pub include: Vec<String>,
    /// None of these may match.
    pub exclude: Vec<String>,
}

impl FilterOptions {
    /// Whether everything passes.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl PatternOptions {
    /// Whether everything passes.
    pub fn is_empty(&self) -> bool {
        self.include.is_empty() && self.exclude.is_empty()
    }
}

/// A filter cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FilterError {
    /// A glob is malformed.
    #[error("`{pattern}` is not a pattern: {reason}")]
    Pattern {
        /// Which one.
        pattern: String,
        /// What is wrong with it.
        reason: String,
    },
    /// There are too many globs.
    #[error("a filter has {0} patterns, {PATTERNS_MAX} are the most")]
    TooMany(usize),
}

/// Compiled [`FilterOptions`].
#[derive(Clone, Debug, Default)]
pub(crate) struct Filter {
    names: Patterns,
    tags: Patterns,
    versions: Patterns,
    pub(crate) latest_only: bool,
}

#[derive(Clone, Debug, Default)]
struct Patterns {
    include: Option<GlobSet>,
    exclude: Option<GlobSet>,
}

impl Filter {
    pub(crate) fn compile(options: &FilterOptions) -> Result<Self, FilterError> {
        Ok(Self {
            names: Patterns::compile(&options.names)?,
            tags: Patterns::compile(&options.tags)?,
            versions: Patterns::compile(&options.versions)?,
            latest_only: options.latest_only,
        })
    }

    /// Whether an entry passes, `latest_only` aside: that depends on the others.
    pub(crate) fn passes(&self, name: &str, version: &str, tags: &[Box<str>]) -> bool {
        self.names.pass_any(&[name]) && self.versions.pass_any(&[version]) && self.tags.pass_any(tags)
    }
}

impl Patterns {
    fn compile(options: &PatternOptions) -> Result<Self, FilterError> {
        Ok(Self { include: set_of(&options.include)?, exclude: set_of(&options.exclude)? })
    }

    /// Exclusion wins over inclusion.
    fn pass_any<T: AsRef<str>>(&self, texts: &[T]) -> bool {
        let matched = |set: &GlobSet| texts.iter().any(|text| set.is_match(text.as_ref()));
        !self.exclude.as_ref().is_some_and(matched) && self.include.as_ref().is_none_or(matched)
    }
}

fn set_of(patterns: &[String]) -> Result<Option<GlobSet>, FilterError> {
    if patterns.is_empty() {
        return Ok(None);
    }
    if patterns.len() > PATTERNS_MAX {
        return Err(FilterError::TooMany(patterns.len()));
    }
    let error = |pattern: &str, error: &globset::Error| FilterError::Pattern {
        pattern: pattern.to_owned(),
        reason: error.kind().to_string(),
    };
    let mut builder = GlobSetBuilder::new();
    for pattern in patterns {
        builder.add(Glob::new(pattern).map_err(|source| error(pattern, &source))?);
    }
    builder.build().map(Some).map_err(|source| error("", &source))
}

#[cfg(test)]
mod tests {
    use super::*;
    fn passes(options: &FilterOptions, name: &str, tags: &[&str]) -> bool {
        let tags: Vec<Box<str>> = tags.iter().map(|tag| Box::from(*tag)).collect();
        Filter::compile(options).unwrap().passes(name, "1.0.0", &tags)
    }

    fn patterns(include: &[&str], exclude: &[&str]) -> PatternOptions {
        let owned = |patterns: &[&str]| patterns.iter().map(ToString::to_string).collect();
        PatternOptions { include: owned(include), exclude: owned(exclude) }
    }

    #[test]
    fn exclusion_wins_over_inclusion() {
        let names = patterns(&["*/*-mysql-*", "*/genai-*"], &["*/*-mcp-server"]);
        let options = FilterOptions { names, ..FilterOptions::default() };
        assert!(passes(&options, "io.github.example/genai-toolbox", &[]));
        assert!(!passes(&options, "io.github.example/adb-mysql-mcp-server", &[]));
        assert!(!passes(&options, "io.github.example/fetch", &[]));
    }

    #[test]
    fn tags_pass_by_any_and_are_refused_by_any() {
        let tags = patterns(&["security", "database"], &["mysql"]);
        let options = FilterOptions { tags, ..FilterOptions::default() };
        assert!(passes(&options, "a.b/c", &["database", "sql"]));
        assert!(!passes(&options, "a.b/c", &["database", "mysql"]));
        assert!(!passes(&options, "a.b/c", &[]));
    }

    #[test]
    fn a_star_matches_across_slashes() {
        let options = FilterOptions { names: patterns(&["io.*"], &[]), ..FilterOptions::default() };
        assert!(passes(&options, "io.github.example/fetch", &[]));
    }

    #[test]
    fn a_malformed_pattern_is_named() {
        let options = FilterOptions { names: patterns(&["[a"], &[]), ..FilterOptions::default() };
        let error = Filter::compile(&options).unwrap_err().to_string();
        assert!(error.contains("[a"), "{error}");
    }
}
