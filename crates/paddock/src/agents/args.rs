//! The commands and their flags.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::project::{BuildArgs, NewArgs};
use crate::{client::AskedArgs, top::TopArgs};

/// Flags of `paddock agents`.
#[derive(Debug, Args)]
pub(crate) struct AgentsArgs {
    #[command(subcommand)]
    pub(super) command: AgentsCommand,
    #[command(flatten)]
    pub(super) asked: AskedArgs,
}

#[derive(Debug, Subcommand)]
pub(super) enum AgentsCommand {
    /// List agents
    List(ListArgs),
    /// Show an agent, its definition and its versions
    Show(NameArgs),
    /// Deploy agents: Markdown files, WebAssembly components, definitions in JSON
    Deploy(DeployArgs),
    /// Check definitions and tell what is wrong, without deploying them
    Validate(FilesArgs),
    /// Send a message and do not wait for an answer
    Send(SendArgs),
    /// Ask an agent and print its answer
    Ask(AskArgs),
    /// Show the conversations of late, or everything that happened in one
    Trace(TraceArgs),
    /// Draw what agents do, over and over
    Top(TopArgs),
    /// Print the log of an agent
    Logs(LogsArgs),
    /// List the tool calls of an agent that wait for approval, or decide about one
    Approve(ApproveArgs),
    /// Have an agent handle no messages for now; they wait
    Suspend(NameArgs),
    /// Have an agent handle messages again
    Resume(NameArgs),
    /// Put an earlier version of an agent in force again
    Rollback(RollbackArgs),
    /// Give a version of an agent a share of the conversations, or take it back
    Split(SplitArgs),
    /// Put the version that has a share in force, for everything
    Promote(NameArgs),
    /// Remove agents, with their state and their messages
    Rm(NamesArgs),
    /// List messages that nobody handled, and why
    Dead(LimitArgs),
    /// List the servers that share the agents, with their leases
    Nodes,
    /// Begin a project of an agent in WebAssembly
    New(NewArgs),
    /// Build a project of an agent in WebAssembly
    Build(BuildArgs),
}

#[derive(Debug, Args)]
pub(super) struct ListArgs {
    /// Only those that can do this
    #[arg(long)]
    pub(super) capability: Option<String>,
    /// How many, 1 to 500
    #[arg(long, default_value_t = 100)]
    pub(super) limit: u32,
}

#[derive(Debug, Args)]
pub(super) struct LimitArgs {
    /// How many, 1 to 500
    #[arg(long, default_value_t = 50)]
    pub(super) limit: u32,
}

#[derive(Debug, Args)]
pub(super) struct NameArgs {
    /// The agent
    pub(super) name: String,
}

#[derive(Debug, Args)]
pub(super) struct NamesArgs {
    /// The agents
    #[arg(required = true)]
    pub(super) names: Vec<String>,
}

#[derive(Debug, Args)]
pub(super) struct FilesArgs {
    /// The files, in Markdown or JSON
    #[arg(required = true)]
    pub(super) files: Vec<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct DeployArgs {
    /// The files: `.md`, `.wasm` or `.json`
    #[arg(required = true)]
    pub(super) files: Vec<PathBuf>,
    /// The new version's share of the conversations that begin, beside the one in force: more than 0, less than 1
    #[arg(long, value_name = "SHARE")]
    pub(super) weight: Option<f64>,
    /// The name of an agent in WebAssembly [default: the one that it gives itself, or that of its file]
    #[arg(long)]
    pub(super) name: Option<String>,
    /// A tool that an agent in WebAssembly may call; may be repeated [default: those that it asks for]
    #[arg(long = "tool", value_name = "TOOL")]
    pub(super) tools: Vec<String>,
    /// What an agent in WebAssembly is configured with: JSON, `@FILE`, or `-` for standard input
    #[arg(long = "settings", value_name = "JSON")]
    pub(super) settings: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct SendArgs {
    /// Whom: a name, `capability:NAME` (also `?all`, `?any`), or `topic:NAME`
    pub(super) to: String,
    /// The content: text, or JSON where it is that; `@FILE`, or `-` for standard input
    #[arg(default_value = "")]
    pub(super) content: String,
    /// What the message does
    #[arg(long, default_value = "request")]
    pub(super) performative: String,
    /// The conversation that it belongs to
    #[arg(long)]
    pub(super) conversation: Option<String>,
    /// On disk before it is acknowledged, and taking effect exactly once
    #[arg(long)]
    pub(super) durable: bool,
}

#[derive(Debug, Args)]
pub(super) struct AskArgs {
    /// The agent
    pub(super) name: String,
    /// The question: text, or JSON where it is that; `@FILE`, or `-` for standard input
    pub(super) content: String,
    /// What the message does
    #[arg(long, default_value = "request")]
    pub(super) performative: String,
    /// The conversation that it belongs to; printed with the answer
    #[arg(long)]
    pub(super) conversation: Option<String>,
    /// Seconds to wait for the answer
    #[arg(long, default_value_t = 60)]
    pub(super) wait: u32,
}

#[derive(Debug, Args)]
pub(super) struct TraceArgs {
    /// The conversation; a list of those of late when left out
    pub(super) conversation: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct LogsArgs {
    /// The agent
    pub(super) name: String,
    /// Go on with the lines that come
    #[arg(long, short)]
    pub(super) follow: bool,
}

#[derive(Debug, Args)]
pub(super) struct ApproveArgs {
    /// The agent
    pub(super) name: String,
    /// What waits; a list when left out
    pub(super) id: Option<String>,
    /// Decide against it
    #[arg(long)]
    pub(super) reject: bool,
    /// Why, for the model
    #[arg(long, default_value = "")]
    pub(super) reason: String,
}

#[derive(Debug, Args)]
pub(super) struct RollbackArgs {
    /// The agent
    pub(super) name: String,
    /// The version
    #[arg(id = "wanted", value_name = "VERSION")]
    pub(super) version: u32,
}

#[derive(Debug, Args)]
pub(super) struct SplitArgs {
    /// The agent
    pub(super) name: String,
    /// The version
    #[arg(id = "wanted", value_name = "VERSION")]
    pub(super) version: u32,
    /// Its share of the conversations that begin, less than 1; 0 takes it back
    pub(super) weight: f64,
}
