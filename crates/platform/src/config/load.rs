//! Lays the layers of the configuration over each other and reports everything that is wrong with them.

use std::{
    collections::BTreeMap,
    fmt,
    io::{self, Read},
    path::{Path, PathBuf},
    sync::Arc,
};

use schemars::JsonSchema;
use serde::{Serialize, de::DeserializeOwned};
use serde_path_to_error::Segment;

use super::{
    keys::Keys,
    show,
    tree::{Node, Origin, Step, dotted},
};

/// Prefix of the environment variables that set keys.
const ENV_PREFIX: &str = "PADDOCK_";
/// The largest configuration file that is read.
const FILE_SIZE_MAX: u64 = 1 << 20;
/// How many ill-typed values one load reports.
const PROBLEMS_MAX: usize = 50;

/// One thing that is wrong with the configuration.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ConfigProblem {
    /// Where: a line, a variable or a flag.
    pub origin: Origin,
    /// What, and what to write instead.
    pub message: String,
}

impl fmt::Display for ConfigProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.origin, self.message)
    }
}

/// The configuration cannot be used.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration file {}: {reason}", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        reason: String,
    },
    /// The layers hold mistakes: one line each.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Invalid(Vec<ConfigProblem>),
}

/// Knows the layers of the configuration: file, environment, flags.
#[derive(Clone, Debug, Default)]
pub struct Loader {
    file: Option<PathBuf>,
    file_required: bool,
    env: BTreeMap<String, String>,
    set: Vec<String>,
}

impl Loader {
    /// No layers: the defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the file that was asked for: it must exist.
    #[must_use]
    pub fn with_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.file = Some(path.into());
        self.file_required = true;
        self
    }

    /// Adds the file at its customary place: it may be absent, and is used once it appears.
    #[must_use]
    pub fn with_file_if_present(mut self, path: impl Into<PathBuf>) -> Self {
        self.file = Some(path.into());
        self.file_required = false;
        self
    }

    /// Adds the environment: variables `PADDOCK_SECTION__KEY`; `__` separates levels. Others are ignored.
    #[must_use]
    pub fn with_env(mut self, variables: impl IntoIterator<Item = (String, String)>) -> Self {
        self.env = variables.into_iter().filter(|(name, _)| name.starts_with(ENV_PREFIX)).collect();
        self
    }

    /// As [`Loader::with_env`], with the environment of this process.
    #[must_use]
    pub fn with_process_env(self) -> Self {
        // Variables that are not text cannot be meant for us, and must not end the program.
        self.with_env(
            std::env::vars_os()
                .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
                // Names the server that commands talk to, and is no section.
                .filter(|(name, _)| name != "PADDOCK_SERVER"),
        )
    }

    /// Adds what `--set` was given: texts `section.key=value`, later ones over earlier ones.
    #[must_use]
    pub fn with_set(mut self, assignments: impl IntoIterator<Item = String>) -> Self {
        self.set = assignments.into_iter().collect();
        self
    }

    /// The file of the lowest layer, whether it exists or not.
    pub fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// Reads and checks all layers.
    pub fn load<C>(&self) -> Result<Loaded<C>, ConfigError>
    where
        C: DeserializeOwned + Serialize + JsonSchema,
    {
        let text = self.read_file()?;
        self.load_with(text.as_deref())
    }

    /// The text of the file, `None` if it is absent and may be.
    pub(super) fn read_file(&self) -> Result<Option<String>, ConfigError> {
        let Some(path) = &self.file else { return Ok(None) };
        match read_bounded(path) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound && !self.file_required => Ok(None),
            Err(error) => Err(ConfigError::Read { path: path.clone(), reason: error.to_string() }),
        }
    }

    /// As [`Loader::load`], with the file's text already read.
    pub(super) fn load_with<C>(&self, text: Option<&str>) -> Result<Loaded<C>, ConfigError>
    where
        C: DeserializeOwned + Serialize + JsonSchema,
    {
        let keys = Keys::of::<C>();
        let mut problems = Vec::new();
        let mut tree = match (&self.file, text) {
            (Some(path), Some(text)) => Node::parse_file(path, text).map_err(|errors| {
                // What a broken document seems to say would only mislead: nothing else is checked.
                let problem = |(origin, message)| ConfigProblem { origin, message };
                let mut problems: Vec<_> = errors.into_iter().map(problem).collect();
                problems.sort();
                ConfigError::Invalid(problems)
            })?,
            _ => Node::empty(),
        };
        self.overlay_env(&keys, &mut tree, &mut problems);
        self.overlay_set(&keys, &mut tree, &mut problems);
        for (origin, key, meant) in keys.take_unknown(&mut tree) {
            let hint = meant.map(|meant| format!("; did you mean `{}`?", spelled_for(&origin, &meant)));
            let message = format!("unknown key `{key}`{}", hint.unwrap_or_default());
            problems.push(ConfigProblem { origin, message });
        }
        let config = deserialize(&mut tree, &mut problems);
        match config {
            Some(config) if problems.is_empty() => {
                let file = text.and_then(|_| self.file.clone());
                let mut origins = BTreeMap::new();
                tree.leaves(&mut Vec::new(), &mut |path, node| {
                    origins.insert(dotted(path), node.origin.clone());
                });
                let file_hash = text.map(|text| blake3::hash(text.as_bytes()));
                Ok(Loaded { config, file, file_hash, origins })
            }
            _ => {
                problems.sort();
                problems.dedup();
                Err(ConfigError::Invalid(problems))
            }
        }
    }

    fn overlay_env(&self, keys: &Keys, tree: &mut Node, problems: &mut Vec<ConfigProblem>) {
        for (variable, text) in &self.env {
            let name = variable[ENV_PREFIX.len()..].to_lowercase();
            let origin = Origin::Env(Arc::from(variable.as_str()));
            if !name.contains("__") && !keys.has(&name) {
                // Not a key of ours (`PADDOCK_LOG`), unless it is one with too few underscores.
                if let Some(key) = keys.spelled_without_dots(&name) {
                    let message = format!("is not read; write `{}`", variable_for(key));
                    problems.push(ConfigProblem { origin, message });
                }
                continue;
            }
            let path: Vec<String> = name.split("__").map(str::to_owned).collect();
            overlay(keys, tree, &path, text, origin, problems);
        }
    }

    fn overlay_set(&self, keys: &Keys, tree: &mut Node, problems: &mut Vec<ConfigProblem>) {
        for assignment in &self.set {
            match assignment.split_once('=') {
                Some((key, text)) if !key.trim().is_empty() => {
                    let path: Vec<String> = key.trim().split('.').map(str::to_owned).collect();
                    let origin = Origin::Flag(Arc::from(key.trim()));
                    overlay(keys, tree, &path, text.trim(), origin, problems);
                }
                _ => problems.push(ConfigProblem {
                    origin: Origin::Flag(Arc::from(assignment.as_str())),
                    message: "is not `key=value`; write for example `--set browser.instances_max=5`"
                        .to_owned(),
                }),
            }
        }
    }
}

fn read_bounded(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    std::fs::File::open(path)?.take(FILE_SIZE_MAX + 1).read_to_string(&mut text)?;
    if text.len() as u64 > FILE_SIZE_MAX {
        return Err(io::Error::other(format!("larger than {FILE_SIZE_MAX} bytes")));
    }
    Ok(text)
}

fn overlay(
    keys: &Keys,
    tree: &mut Node,
    path: &[String],
    text: &str,
    origin: Origin,
    problems: &mut Vec<ConfigProblem>,
) {
    let node = Node::parse_value(text, &origin, keys.takes_only_text(path));
    if let Err(part) = tree.overlay(path, node) {
        let message = format!("cannot set `{}`: there is nothing to set `{part}` in", path.join("."));
        problems.push(ConfigProblem { origin, message });
    }
}

/// A key as it would be written where the mistaken one was.
fn spelled_for(origin: &Origin, key: &str) -> String {
    match origin {
        Origin::Env(_) => variable_for(key),
        _ => key.to_owned(),
    }
}

fn variable_for(key: &str) -> String {
    format!("{ENV_PREFIX}{}", key.replace('.', "__").to_uppercase())
}

/// Deserializes; a value of the wrong type is reported, taken out, and the rest tried again.
fn deserialize<C: DeserializeOwned>(tree: &mut Node, problems: &mut Vec<ConfigProblem>) -> Option<C> {
    for _ in 0..PROBLEMS_MAX {
        let error = match serde_path_to_error::deserialize::<_, C>(tree.to_toml()) {
            Ok(config) => return Some(config),
            Err(error) => error,
        };
        let steps: Vec<Step> = error.path().iter().filter_map(step_of).collect();
        let (node, path) = tree.deepest(&steps);
        let path = path.to_vec();
        let message = plain_words(error.inner().message());
        let message = if path.is_empty() { message } else { format!("`{}`: {message}", dotted(&path)) };
        problems.push(ConfigProblem { origin: node.origin.clone(), message });
        if !tree.remove(&path) {
            return None;
        }
    }
    None
}

fn step_of(segment: &Segment) -> Option<Step> {
    match segment {
        Segment::Seq { index } => Some(Step::Index(*index)),
        Segment::Map { key } | Segment::Enum { variant: key } => Some(Step::Key(key.clone())),
        Segment::Unknown => None,
    }
}

/// Serde names Rust's types; the reader of a config file may not know them.
fn plain_words(message: &str) -> String {
    let Some((start, expected)) = message.rsplit_once("expected ") else { return message.to_owned() };
    let plain = match expected {
        "u8" => "a whole number from 0 to 255",
        "u16" => "a whole number from 0 to 65535",
        "u32" | "u64" | "usize" => "a whole number, 0 or more",
        "a nonzero u16" | "a nonzero u32" | "a nonzero u64" | "a nonzero usize" => {
            "a whole number, 1 or more"
        }
        "i32" | "i64" => "a whole number",
        "f32" | "f64" => "a number",
        "a boolean" => "true or false",
        "a sequence" => "an array",
        "a map" => "a table",
        other => other,
    };
    format!("{start}expected {plain}")
}

/// A configuration that was read, checked, and knows where each of its values came from.
#[derive(Clone, Debug)]
pub struct Loaded<C> {
    /// The effective values.
    pub config: C,
    /// The file that took part, if it exists.
    pub file: Option<PathBuf>,
    /// Of the file's text, to know whether the file was changed since.
    pub(super) file_hash: Option<blake3::Hash>,
    origins: BTreeMap<String, Origin>,
}

impl<C: Serialize> Loaded<C> {
    /// Where the value of a key (`browser.instances_max`) came from.
    pub fn origin(&self, key: &str) -> Origin {
        self.origins.get(key).cloned().unwrap_or(Origin::Default)
    }

    /// The effective configuration as TOML, each value with its origin as comment. Loads again to the same.
    pub fn to_annotated_toml(&self) -> Result<String, toml::ser::Error> {
        show::annotated(&self.config, |key| self.origin(key))
    }
}

#[cfg(test)]
#[path = "load_tests.rs"]
mod tests;
