//! The commands and their flags.

use clap::{Args, Subcommand, ValueEnum};
use paddock_platform::units::HumanDuration;

use super::{schedules::SchedulesCommand, webhooks::WebhooksCommand};
use crate::{client::AskedArgs, top::TopArgs};

/// Flags of `paddock jobs`.
#[derive(Debug, Args)]
pub(crate) struct JobsArgs {
    #[command(subcommand)]
    pub(super) command: JobsCommand,
    #[command(flatten)]
    pub(super) asked: AskedArgs,
}

#[derive(Debug, Subcommand)]
pub(super) enum JobsCommand {
    /// Hand over a job and print its id
    Enqueue(EnqueueArgs),
    /// List jobs, the newest first
    List(ListArgs),
    /// Show a job with its attempts
    Show(ShowArgs),
    /// Follow a job to its end, or all of them until interrupted
    Watch(WatchArgs),
    /// Run jobs once more that failed, died or were cancelled
    Retry(RetryArgs),
    /// Cancel jobs
    Cancel(IdsArgs),
    /// Show the queues, over and over
    Top(TopArgs),
    /// Say what holds up the queues and what to do about it
    Backlog(BacklogArgs),
    /// Take nothing more out of a queue
    Pause(QueueArgs),
    /// Undo pausing and draining
    Resume(QueueArgs),
    /// Put nothing more into a queue
    Drain(QueueArgs),
    /// Cancel what waits in a queue
    Purge(PurgeArgs),
    /// Enqueue jobs and missions by the clock
    #[command(subcommand)]
    Schedules(SchedulesCommand),
    /// Tell other servers how jobs end
    #[command(subcommand)]
    Webhooks(WebhooksCommand),
}

#[derive(Debug, Args)]
pub(super) struct EnqueueArgs {
    /// The tool to call
    #[arg(required_unless_present = "kind", conflicts_with = "kind")]
    pub(super) tool: Option<String>,
    /// Work of this kind for external workers, instead of a tool
    #[arg(long)]
    pub(super) kind: Option<String>,
    /// What it is called with: JSON, `@FILE`, or `-` for standard input
    #[arg(long, default_value = "{}", value_name = "JSON")]
    pub(super) input: String,
    /// The queue that it waits in [default: standard]
    #[arg(long)]
    pub(super) queue: Option<String>,
    /// -100 to 100; the higher goes first
    #[arg(long, default_value_t = 0, allow_negative_numbers = true)]
    pub(super) priority: i8,
    /// Not before this time, for example 2026-12-01T08:00:00Z
    #[arg(long, value_name = "TIME")]
    pub(super) run_at: Option<jiff::Timestamp>,
    /// How long one attempt may take, for example 90s
    #[arg(long, value_name = "DURATION")]
    pub(super) timeout: Option<String>,
    /// While a job with this key is kept, that one is answered instead
    #[arg(long, value_name = "KEY")]
    pub(super) unique_key: Option<String>,
    /// Jobs with the same key run one at a time
    #[arg(long, value_name = "KEY")]
    pub(super) concurrency_key: Option<String>,
    /// Who is told how it ended: a webhook's id, or a URL
    #[arg(long, value_name = "WEBHOOK")]
    pub(super) webhook: Option<String>,
    /// Wait for the end and print the result
    #[arg(long)]
    pub(super) wait: bool,
}

/// A state as the flag has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum StateArg {
    Queued,
    Scheduled,
    Running,
    Waiting,
    Succeeded,
    Failed,
    Cancelled,
    Dead,
}

impl StateArg {
    pub(super) fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }
}

#[derive(Debug, Args)]
pub(super) struct ListArgs {
    /// In this state
    #[arg(long)]
    pub(super) state: Option<StateArg>,
    /// In this queue
    #[arg(long)]
    pub(super) queue: Option<String>,
    /// Of this tool or kind
    #[arg(long)]
    pub(super) kind: Option<String>,
    /// How many, 1 to 500
    #[arg(long, default_value_t = 50)]
    pub(super) limit: u32,
}

#[derive(Debug, Args)]
pub(super) struct ShowArgs {
    /// The job
    pub(super) id: String,
    /// Print its result and nothing else
    #[arg(long)]
    pub(super) result: bool,
}

#[derive(Debug, Args)]
pub(super) struct WatchArgs {
    /// The job; all of them when left out
    pub(super) id: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct IdsArgs {
    /// The jobs
    #[arg(required = true)]
    pub(super) ids: Vec<String>,
}

#[derive(Debug, Args)]
pub(super) struct RetryArgs {
    /// The jobs
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    pub(super) ids: Vec<String>,
    /// All dead jobs that the flags below fit
    #[arg(long)]
    pub(super) all: bool,
    /// In this queue
    #[arg(long, requires = "all")]
    pub(super) queue: Option<String>,
    /// Of this tool or kind
    #[arg(long, requires = "all")]
    pub(super) kind: Option<String>,
    /// With an error of this class
    #[arg(long, requires = "all")]
    pub(super) class: Option<String>,
    /// In these states instead of dead: dead, failed, cancelled
    #[arg(long, requires = "all", value_delimiter = ',')]
    pub(super) state: Vec<StateArg>,
    /// Only count them
    #[arg(long, requires = "all")]
    pub(super) dry_run: bool,
}

#[derive(Debug, Args)]
pub(super) struct BacklogArgs {
    /// The queue; all of them when left out
    pub(super) queue: Option<String>,
    /// Wait until nothing was backed up for a minute
    #[arg(long)]
    pub(super) wait: bool,
    /// How long that may take
    #[arg(long, value_name = "DURATION", default_value = "15m", requires = "wait")]
    pub(super) within: HumanDuration,
}

#[derive(Debug, Args)]
pub(super) struct QueueArgs {
    /// The queue
    pub(super) queue: String,
}

#[derive(Debug, Args)]
pub(super) struct PurgeArgs {
    /// The queue
    pub(super) queue: String,
    /// Only count the jobs
    #[arg(long)]
    pub(super) dry_run: bool,
}
