//! What a scenario prepares before the load, and does after it.

use std::collections::BTreeMap;

use paddock_platform::units::HumanDuration;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::{driver::command::CommandOptions, variables::Template};

/// One thing to prepare.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SetupFile {
    /// Start a server, and wait until it answers.
    Server(ServerFile),
    /// Serve the files of a directory on a free port of the loopback address.
    Site(SiteFile),
    /// Run a command to its end.
    Command(CommandFile),
    /// Make an empty directory that is deleted in the end; the variable gets its path.
    TempDir(NameFile),
    /// Find a port that nobody listens on; the variable gets its number.
    FreePort(NameFile),
}

/// A server to start.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ServerFile {
    /// Name of the process tree in the results.
    pub name: String,
    /// Program and arguments. No shell is involved.
    pub run: Vec<Template>,
    /// Environment variables beside the inherited ones.
    #[serde(default)]
    pub env: BTreeMap<String, Template>,
    /// Working directory; that of the scenario file if absent.
    #[serde(default)]
    pub dir: Option<Template>,
    /// Address that answers with a status below 400 when the server is ready. Its time is the metric `ready_ms`.
    pub ready: Template,
    /// How long that may take; 30 s if absent.
    #[serde(default)]
    pub ready_within: Option<HumanDuration>,
    /// How long the server may take to stop when asked; then it is killed. 10 s if absent.
    #[serde(default)]
    pub stop_within: Option<HumanDuration>,
}

/// A directory to serve.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SiteFile {
    /// Variable that gets the address, for example `http://127.0.0.1:40123`.
    pub variable: String,
    /// The directory, relative to the scenario file.
    pub dir: String,
}

/// A command to run to its end.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CommandFile {
    /// Program and arguments. No shell is involved.
    pub run: Vec<Template>,
    /// Environment variables beside the inherited ones.
    #[serde(default)]
    pub env: BTreeMap<String, Template>,
    /// Working directory; that of the scenario file if absent.
    #[serde(default)]
    pub dir: Option<Template>,
    /// How long it may take; 60 s if absent.
    #[serde(default)]
    pub within: Option<HumanDuration>,
}

/// A variable to set.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NameFile {
    /// The variable.
    pub variable: String,
}

/// One thing to do after the load.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TeardownFile {
    /// Run a command to its end.
    Command(CommandFile),
    /// Run a command to its end within a minute, and keep the figures in its output: what the load left behind. Only
    /// what `figures` names is kept.
    Measure(CommandOptions),
}
