//! The commands and flags of `paddock lab`.

use std::{net::SocketAddr, path::PathBuf};

use clap::{Args, Subcommand, ValueEnum};
use paddock_lab::{record::Form, tier::Tier};
use paddock_platform::units::HumanDuration;

/// Measure what `objectives.toml` promises: exit code 0 pass, 1 error, 2 usage, 3 a threshold failed, 4 a regression, 5
/// an invalid run.
#[derive(Debug, Args)]
pub(crate) struct LabArgs {
    #[command(subcommand)]
    pub(super) command: LabCommand,
    #[command(flatten)]
    pub(super) places: Places,
}

/// Where things are.
#[derive(Clone, Debug, Args)]
pub(super) struct Places {
    /// Where runs and baselines are kept
    #[arg(
        long,
        global = true,
        value_name = "DIR",
        env = "PADDOCK_LAB_DATA",
        default_value = "paddock-data/lab"
    )]
    pub(super) data: PathBuf,
    /// The promises [default: `objectives.toml` here or in a directory above]
    #[arg(long, global = true, value_name = "FILE")]
    pub(super) objectives: Option<PathBuf>,
    /// The scenario files [default: `scenarios` beside the promises]
    #[arg(long, global = true, value_name = "DIR")]
    pub(super) scenarios: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(super) enum LabCommand {
    /// Run scenarios and judge them
    Run(RunArgs),
    /// Find mistakes in scenarios and promises without starting anything
    Check(CheckArgs),
    /// Show every promise with its last verdict
    Objectives(ListArgs),
    /// Compare two sets of results
    Compare(CompareArgs),
    /// Stop (exit code 4) if a promised metric is certainly worse than in a baseline
    Gate(GateArgs),
    /// Compare two commands, binaries, configuration values or commits: in turns, each run a process of its own
    Ab(AbArgs),
    /// Keep, list and remove baselines
    #[command(subcommand)]
    Baseline(BaselineCommand),
    /// Write the report of stored runs
    Report(ReportArgs),
    /// Check the lab itself against data and targets with a known answer
    Selftest(SelftestArgs),
    /// Describe this machine as every run records it
    Env(ListArgs),
    /// Write docs/performance-benchmarks.md from stored runs
    Docs(DocsArgs),
    /// Programs with known behaviour, for the self-test
    #[command(subcommand, hide = true)]
    Fixture(FixtureCommand),
}

/// Flags of `run`.
#[derive(Debug, Args)]
pub(super) struct RunArgs {
    /// Names of scenarios, or files [default: all]
    #[arg(value_name = "SCENARIO")]
    pub(super) names: Vec<String>,
    /// How much to measure [default: quick]
    #[arg(long, value_enum, conflicts_with_all = ["form", "repeat"])]
    pub(super) tier: Option<TierArg>,
    /// Which load
    #[arg(long, value_enum, default_value = "short")]
    pub(super) form: FormArg,
    /// How often; a gate needs 6
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=500))]
    pub(super) repeat: u16,
    /// A value for a variable of the scenario; may be repeated
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = assignment)]
    pub(super) set: Vec<(String, String)>,
    /// Allow a target that is not this machine
    #[arg(long)]
    pub(super) allow_target: bool,
    /// What random numbers follow from
    #[arg(long, value_name = "N")]
    pub(super) seed: Option<u64>,
    /// Compare with this baseline, and let it stop
    #[arg(long, value_name = "NAME")]
    pub(super) baseline: Option<String>,
    /// Directory for report.html, report.md and report.json [default: `report` in the data directory]
    #[arg(long, value_name = "DIR")]
    pub(super) out: Option<PathBuf>,
}

/// Flags of `check`.
#[derive(Debug, Args)]
pub(super) struct CheckArgs {
    /// Scenario files [default: all scenarios, and the promises]
    pub(super) files: Vec<PathBuf>,
}

/// Flags of commands that show something.
#[derive(Debug, Args)]
pub(super) struct ListArgs {
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
}

/// Which metrics are compared, and how strictly.
#[derive(Clone, Debug, Args)]
pub(super) struct Strictness {
    /// Only this metric, which may then be the reason to stop; may be repeated [default: what is promised]
    #[arg(long = "metric", value_name = "NAME")]
    pub(super) metrics: Vec<String>,
    /// Change in percent that is allowed [default: each promise's own, else 10]
    #[arg(long, value_name = "PERCENT", value_parser = positive)]
    pub(super) threshold: Option<f64>,
    /// Directory for report.html, report.md and report.json
    #[arg(long, value_name = "DIR")]
    pub(super) out: Option<PathBuf>,
}

/// Flags of `compare`.
#[derive(Debug, Args)]
pub(super) struct CompareArgs {
    /// Before: a baseline, scenario, scenario@commit, run id, file or directory (runs, criterion, gungraun); several
    /// separated by commas are taken together
    pub(super) baseline: String,
    /// Now: likewise
    pub(super) current: String,
    #[command(flatten)]
    pub(super) strictness: Strictness,
}

/// Flags of `gate`.
#[derive(Debug, Args)]
pub(super) struct GateArgs {
    /// Name of the baseline
    #[arg(long, value_name = "NAME")]
    pub(super) baseline: String,
    /// What to compare with it, as in `compare`; then only the scenarios in it count [default: the runs of its
    /// scenarios since it was saved]
    pub(super) current: Option<String>,
    /// Compare although the baseline was measured on another machine
    #[arg(long)]
    pub(super) any_machine: bool,
    #[command(flatten)]
    pub(super) strictness: Strictness,
}

/// Flags of `ab`.
#[derive(Debug, Args)]
pub(super) struct AbArgs {
    /// Before: a command line, or what replaces `{}` in COMMAND
    pub(super) a: String,
    /// Now: likewise
    pub(super) b: String,
    /// A command that both sides share, with `{}` where they differ: a binary, a value, with --commits a directory
    #[arg(last = true, value_name = "COMMAND")]
    pub(super) command: Vec<String>,
    /// How many times each side runs
    #[arg(long, value_name = "N", default_value_t = 15)]
    pub(super) pairs: usize,
    /// Runs of each side before those that count
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(super) warm_ups: usize,
    /// How long one run may take
    #[arg(long, value_name = "DURATION", default_value = "5m")]
    pub(super) timeout: HumanDuration,
    /// A number in the command's JSON output to compare, for example `search_ms=/timing/search`; may be repeated
    #[arg(long = "figure", value_name = "NAME=POINTER", value_parser = assignment)]
    pub(super) figures: Vec<(String, String)>,
    /// A and B are commits: each is checked out into a directory, which replaces `{}`
    #[arg(long, requires = "command")]
    pub(super) commits: bool,
    /// Decide although other processes had the CPUs too
    #[arg(long)]
    pub(super) any_load: bool,
    /// Built in each commit's directory first, for example `cargo build --release --workspace`
    #[arg(long, value_name = "COMMAND LINE", requires = "commits")]
    pub(super) build: Option<String>,
    #[command(flatten)]
    pub(super) strictness: Strictness,
}

/// Commands about baselines.
#[derive(Debug, Subcommand)]
pub(super) enum BaselineCommand {
    /// Keep valid runs under a name
    Save {
        /// The name
        name: String,
        /// What to keep, as in `compare` [default: the last runs of every scenario]
        subjects: Vec<String>,
    },
    /// List the baselines
    List,
    /// Remove a baseline
    Remove {
        /// The name
        name: String,
    },
}

/// Flags of `report`.
#[derive(Debug, Args)]
pub(super) struct ReportArgs {
    /// Run ids or files [default: the run of every scenario that speaks for it now]
    pub(super) runs: Vec<String>,
    /// Compare with this baseline
    #[arg(long, value_name = "NAME")]
    pub(super) baseline: Option<String>,
    /// Directory for report.html, report.md and report.json
    #[arg(long, value_name = "DIR", default_value = "lab-report")]
    pub(super) out: PathBuf,
}

/// Flags of `selftest`.
#[derive(Debug, Args)]
pub(super) struct SelftestArgs {
    /// Also slow real processes down and let the gate find out: minutes
    #[arg(long)]
    pub(super) full: bool,
    /// Do not run wrk, hey and oha where they are installed
    #[arg(long)]
    pub(super) no_rivals: bool,
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
}

/// Flags of `docs`.
#[derive(Debug, Args)]
pub(super) struct DocsArgs {
    /// The page [default: docs/performance-benchmarks.md beside the promises]
    #[arg(long, value_name = "FILE")]
    pub(super) out: Option<PathBuf>,
}

/// Which entries of a registry.
#[derive(Debug, Args)]
pub(super) struct RegistryEntriesArgs {
    /// The file that they are written to, and that the server reads
    #[arg(long, value_name = "FILE")]
    pub(super) file: PathBuf,
    /// How many
    #[arg(long, default_value_t = 1_000)]
    pub(super) count: usize,
    /// A list of the official registry that is multiplied [default: entries are made up]
    #[arg(long, value_name = "FILE", env = "PADDOCK_REGISTRY_LIST")]
    pub(super) from: Option<PathBuf>,
    /// What made-up entries follow from
    #[arg(long, default_value_t = 1)]
    pub(super) seed: u64,
}

/// Programs with known behaviour.
#[derive(Debug, Subcommand)]
pub(super) enum FixtureCommand {
    /// Answer every request with `200 ok` until standard input ends, or with an address until it is stopped
    Serve {
        /// Where to listen
        #[arg(long, value_name = "ADDRESS")]
        listen: Option<SocketAddr>,
    },
    /// Change the configuration of a running server, and print when the change was in force
    Reload {
        /// The program whose `serve` is started
        program: PathBuf,
    },
    /// Use the browsers of a running server in one way, and print what it took
    Fleet {
        /// Which way: ready, contexts, processes, page, tabs, batch, growth, hibernation, flood, healing, agents or
        /// existing
        case: paddock_lab::fixture::FleetCase,
        /// The server
        #[arg(long, value_name = "URL")]
        server: url::Url,
        /// Where article.html and product.html are
        #[arg(long, value_name = "URL")]
        site: url::Url,
        /// How many instances, navigations, requests or rounds
        #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=5_000))]
        count: u16,
    },
    /// Do the same in a tab of a Chrome directly, through a running server's passthrough and over its HTTP interface, and
    /// print what each took
    FleetOverhead {
        /// The server
        #[arg(long, value_name = "URL")]
        server: url::Url,
        /// Where article.html is
        #[arg(long, value_name = "URL")]
        site: url::Url,
        /// The Chrome's debugging port
        #[arg(long, value_name = "URL")]
        devtools: url::Url,
        /// How many rounds
        #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u16).range(1..=5_000))]
        count: u16,
    },
    /// Kill a server, its workers and its database while jobs go through it, and account for every job
    JobsChaos {
        /// The program whose `serve` is started
        program: PathBuf,
        /// Jobs that are handed over
        #[arg(long, default_value_t = 1_000)]
        jobs: usize,
        /// Kills of each
        #[arg(long, default_value_t = 3)]
        kills: usize,
        /// On a private PostgreSQL instead of SQLite; it is killed, too
        #[arg(long)]
        postgres: bool,
    },
    /// Kill a server while jobs run and wait, and look how soon they run again
    JobsRecovery {
        /// The program whose `serve` is started
        program: PathBuf,
        /// Jobs that run
        #[arg(long, default_value_t = 10_000)]
        running: usize,
        /// Jobs that wait
        #[arg(long, default_value_t = 1_000_000)]
        queued: usize,
        /// Seconds that a worker is believed
        #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u32).range(5..=3_600))]
        lease: u32,
        /// On a private PostgreSQL instead of SQLite
        #[arg(long)]
        postgres: bool,
    },
    /// Let jobs pile up, add workers, and look how soon the queue is steady
    JobsBacklog {
        /// The program whose `serve` is started
        program: PathBuf,
        /// Jobs that pile up
        #[arg(long, default_value_t = 20_000)]
        jobs: usize,
        /// Workers that are added to the one there is
        #[arg(long, default_value_t = 3)]
        workers: usize,
    },
    /// Work at the jobs of a server until killed, for `jobs-chaos` and `jobs-backlog`
    JobsWorker {
        /// The server
        #[arg(long, value_name = "URL")]
        server: url::Url,
        /// Its name for itself
        #[arg(long)]
        name: String,
    },
    /// Write a list of registry entries
    RegistryEntries(RegistryEntriesArgs),
    /// Change the sources of a running server's registry, query it meanwhile, and print what it took
    Registry {
        /// The server, with the sources `files`, `mirror` and `repository` and the view `files`
        #[arg(long, value_name = "URL")]
        server: url::Url,
        #[command(flatten)]
        entries: RegistryEntriesArgs,
    },
    /// Do a fixed piece of work and print what it took
    Burn {
        /// How much
        rounds: u64,
    },
}

/// [`Tier`] as a flag.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum TierArg {
    /// The short form of every scenario once, under five minutes
    Quick,
    /// The short form as often as a gate needs
    Regression,
    /// The full form, and the full self-test
    Full,
}

/// [`Form`] as a flag.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum FormArg {
    /// Seconds
    Short,
    /// As promised
    Full,
}

impl From<TierArg> for Tier {
    fn from(tier: TierArg) -> Self {
        match tier {
            TierArg::Quick => Self::Quick,
            TierArg::Regression => Self::Regression,
            TierArg::Full => Self::Full,
        }
    }
}

impl From<FormArg> for Form {
    fn from(form: FormArg) -> Self {
        match form {
            FormArg::Short => Self::Short,
            FormArg::Full => Self::Full,
        }
    }
}

fn assignment(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("write NAME=VALUE".to_owned()),
    }
}

fn positive(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() && number > 0.0 => Ok(number),
        _ => Err("must be a number above 0".to_owned()),
    }
}
