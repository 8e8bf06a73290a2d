//! The commands and their flags.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{act::ActCommand, keep::KeepCommand, read::ReadCommand};
use crate::{client::AskedArgs, top::TopArgs};

/// Flags of `paddock browser`.
#[derive(Debug, Args)]
pub(crate) struct BrowserArgs {
    #[command(subcommand)]
    pub(super) command: BrowserCommand,
    #[command(flatten)]
    pub(super) asked: AskedArgs,
}

#[derive(Debug, Subcommand)]
pub(super) enum BrowserCommand {
    /// Start a browser with its own cookies and storage
    Start(StartArgs),
    /// List the browsers
    List,
    /// Open a page and print its tab's id
    Open(OpenArgs),
    /// Read a page: one line per element, with references to act on
    Snapshot(SnapshotArgs),
    /// Click an element
    Click(ElementArgs),
    /// Type text into a field, key by key
    Type(TypeArgs),
    /// Replace the content of a field
    Fill(TypeArgs),
    /// Press a key, such as Enter or Control+A
    Press(PressArgs),
    #[command(flatten)]
    Act(ActCommand),
    /// Print the text of a page
    Text(TabArgs),
    /// Take a picture of a page
    Screenshot(ScreenshotArgs),
    /// Print a page to a PDF file
    Pdf(FileArgs),
    /// Evaluate JavaScript in a page and print its value
    Evaluate(EvaluateArgs),
    #[command(flatten)]
    Read(ReadCommand),
    #[command(flatten)]
    Keep(KeepCommand),
    /// List the tabs of all browsers, the last used first
    Tabs,
    /// Close a tab
    Close(TabArgs),
    /// Stop browsers
    Stop(StopArgs),
    /// Save a browser's state and give its memory back; the next use wakes it
    Hibernate(InstanceArgs),
    /// Wake a hibernated browser now
    Wake(InstanceArgs),
    /// List the named profiles
    Profiles,
    /// Open many pages at once, each in a tab of its own
    Batch(BatchArgs),
    /// Watch what each browser costs
    Top(TopArgs),
}

#[derive(Debug, Args)]
pub(super) struct StartArgs {
    /// A name for people
    #[arg(long, default_value = "")]
    pub(super) name: String,
    /// The profile whose cookies and storage it keeps
    #[arg(long, value_name = "ID")]
    pub(super) profile: Option<String>,
    /// A Chrome process of its own
    #[arg(long)]
    pub(super) process: bool,
    /// With a window on a screen
    #[arg(long)]
    pub(super) headed: bool,
    /// A host that it may reach, such as `shop.example` or `*.cdn.example`; no others then. May be repeated
    #[arg(long, value_name = "HOST")]
    pub(super) allow: Vec<String>,
}

#[derive(Debug, Args)]
pub(super) struct TabArgs {
    /// The tab [default: the one that was used last]
    #[arg(long, value_name = "ID")]
    pub(super) tab: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct OpenArgs {
    /// Where to go: http or https
    pub(super) url: String,
    /// Go there in this tab [default: a new one]
    #[arg(long, value_name = "ID")]
    pub(super) tab: Option<String>,
    /// Open the new tab in this browser [default: any that runs, or a new one]
    #[arg(long, value_name = "ID", conflicts_with = "tab")]
    pub(super) instance: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct SnapshotArgs {
    #[command(flatten)]
    pub(super) tab: TabArgs,
    /// Only what can be acted on, and headings
    #[arg(short, long)]
    pub(super) interactive: bool,
    /// Only what changed since the last snapshot
    #[arg(long)]
    pub(super) diff: bool,
    /// Only what is inside this element: a reference (e5) or CSS
    #[arg(long)]
    pub(super) selector: Option<String>,
    /// About how many tokens it may take
    #[arg(long, value_name = "N")]
    pub(super) max_tokens: Option<u32>,
}

#[derive(Debug, Args)]
pub(super) struct ElementArgs {
    /// A reference of a snapshot (e5), or a selector (CSS, `text:Buy`, `role:button Buy`)
    pub(super) element: String,
    #[command(flatten)]
    pub(super) tab: TabArgs,
}

#[derive(Debug, Args)]
pub(super) struct TypeArgs {
    #[command(flatten)]
    pub(super) element: ElementArgs,
    /// What to type
    pub(super) text: String,
}

#[derive(Debug, Args)]
pub(super) struct PressArgs {
    /// The key
    pub(super) key: String,
    #[command(flatten)]
    pub(super) tab: TabArgs,
}

#[derive(Debug, Args)]
pub(super) struct FileArgs {
    #[command(flatten)]
    pub(super) tab: TabArgs,
    /// The file to write; `-` is standard output [default: page.pdf or page.png]
    #[arg(short, long, value_name = "FILE")]
    pub(super) out: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct ScreenshotArgs {
    #[command(flatten)]
    pub(super) file: FileArgs,
    /// The whole page instead of what is visible
    #[arg(long)]
    pub(super) full: bool,
    /// Only this element: a reference (e5) or CSS
    #[arg(long)]
    pub(super) selector: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct EvaluateArgs {
    /// The expression; a promise is awaited
    pub(super) expression: String,
    #[command(flatten)]
    pub(super) tab: TabArgs,
}

#[derive(Debug, Args)]
pub(super) struct InstanceArgs {
    /// The browser's id, as `paddock browser list` shows it
    pub(super) instance: String,
}

#[derive(Debug, Args)]
pub(super) struct StopArgs {
    /// Ids of the browsers
    #[arg(required_unless_present = "all")]
    pub(super) instances: Vec<String>,
    /// Stop all of them
    #[arg(long, conflicts_with = "instances")]
    pub(super) all: bool,
}

#[derive(Debug, Args)]
pub(super) struct BatchArgs {
    /// The addresses; `-` reads them from standard input, one per line
    #[arg(required = true)]
    pub(super) urls: Vec<String>,
    /// Pages that are loaded at once [default: the server's]
    #[arg(long, value_name = "N")]
    pub(super) concurrency: Option<u32>,
    /// Open the tabs in this browser
    #[arg(long, value_name = "ID")]
    pub(super) instance: Option<String>,
}
