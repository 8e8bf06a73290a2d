//! The commands and their flags.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::client::AskedArgs;

/// Flags of `paddock missions`.
#[derive(Debug, Args)]
pub(crate) struct MissionsArgs {
    #[command(subcommand)]
    pub(super) command: MissionsCommand,
    #[command(flatten)]
    pub(super) asked: AskedArgs,
}

#[derive(Debug, Subcommand)]
pub(super) enum MissionsCommand {
    /// Check definitions and tell every mistake
    Validate(FilesArgs),
    /// Store definitions
    Save(FilesArgs),
    /// List the stored definitions
    Definitions,
    /// Start a mission and follow it
    Run(RunArgs),
    /// List missions, the newest first
    List(ListArgs),
    /// Show a mission with its steps
    Show(ShowArgs),
    /// Follow a mission to its end
    Watch(IdArgs),
    /// List what missions ask people now
    Approvals,
    /// Answer what a step asks with yes
    Approve(DecideArgs),
    /// Answer what a step asks with no
    Reject(DecideArgs),
    /// Cancel a mission: what is done is compensated
    Cancel(IdArgs),
    /// Go on with a mission from what failed
    Retry(IdArgs),
}

#[derive(Debug, Args)]
pub(super) struct FilesArgs {
    /// The files, in YAML or JSON
    #[arg(required = true)]
    pub(super) files: Vec<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct RunArgs {
    /// A file with a definition, which is stored first, or the name of a stored one, as `name` or `name@version`
    pub(super) mission: String,
    /// What it is started with: JSON, `@FILE`, or `-` for standard input
    #[arg(long, value_name = "JSON", conflicts_with = "set_input")]
    pub(super) inputs: Option<String>,
    /// One input, for example `--input url=https://a.example/`; JSON where it is that, otherwise text; may be repeated
    #[arg(long = "input", id = "set_input", value_name = "NAME=VALUE")]
    pub(super) input: Vec<String>,
    /// The queue of the mission and its steps [default: standard]
    #[arg(long)]
    pub(super) queue: Option<String>,
    /// While a mission with this key is kept, that one is answered instead
    #[arg(long, value_name = "KEY")]
    pub(super) unique_key: Option<String>,
    /// Print its id and do not wait for its end
    #[arg(long)]
    pub(super) detach: bool,
}

#[derive(Debug, Args)]
pub(super) struct ListArgs {
    /// In this state
    #[arg(long, value_parser = [
        "queued", "running", "concluding", "stopping", "compensating", "succeeded", "failed", "cancelled",
    ])]
    pub(super) state: Option<String>,
    /// Of this definition
    #[arg(long)]
    pub(super) name: Option<String>,
    /// How many, 1 to 500
    #[arg(long, default_value_t = 50)]
    pub(super) limit: u32,
}

#[derive(Debug, Args)]
pub(super) struct IdArgs {
    /// The mission
    pub(super) id: String,
}

#[derive(Debug, Args)]
pub(super) struct ShowArgs {
    /// The mission
    pub(super) id: String,
    /// Write a picture of its graph into this file, as SVG
    #[arg(long, value_name = "FILE")]
    pub(super) graph: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct DecideArgs {
    /// The mission
    pub(super) id: String,
    /// The step that asks; may be left out if only one does
    pub(super) step: Option<String>,
    /// Why, for those who look later
    #[arg(long, short)]
    pub(super) comment: Option<String>,
}
