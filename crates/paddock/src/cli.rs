//! The commands and their flags.

use std::{io::IsTerminal, path::PathBuf, process::ExitCode};

use clap::{Args, Parser, Subcommand};

/// What the person reads goes through the lab's terminal, which its tests have on their own.
pub(crate) use crate::lab::terminal::{complain, say};
use crate::{
    agents::AgentsArgs,
    analyze::AnalyzeArgs,
    browser::BrowserArgs,
    config_command::ConfigCommand,
    doctor::DoctorArgs,
    exit::{CommandError, CommandResult, Exit},
    jobs::JobsArgs,
    keys_command::KeysCommand,
    lab::LabArgs,
    llm::LlmArgs,
    mcp_command::McpArgs,
    missions::MissionsArgs,
    registry_command::RegistryArgs,
    serve::ServeArgs,
};

/// One server that AI agents work on: browsers, models, tools, durable work and each other.
#[derive(Debug, Parser)]
#[command(
    name = "paddock",
    version,
    propagate_version = true,
    max_term_width = 100,
    disable_help_subcommand = true
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start the server
    Serve(ServeArgs),
    /// Analyse a page: what costs it its visitors, with evidence
    Analyze(AnalyzeArgs),
    /// Use the browsers of a running server
    Browser(BrowserArgs),
    /// Hand over durable work to a running server, and look after it
    Jobs(JobsArgs),
    /// Run graphs of jobs on a running server, and look after them
    Missions(MissionsArgs),
    /// Deploy agents on a running server, talk to them, and look after them
    Agents(AgentsArgs),
    /// Use the registry of MCP servers of a running server
    Registry(RegistryArgs),
    /// Show, check or describe the configuration
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Create, list and revoke API keys
    #[command(subcommand)]
    Keys(KeysCommand),
    /// Say what is installed, missing or misconfigured, with the fix
    Doctor(DoctorArgs),
    /// Speak MCP on standard input and output, for clients that start their servers themselves
    Mcp(McpArgs),
    /// Watch and steer the model gateway, or simulate a provider
    Llm(LlmArgs),
    /// Measure what is promised, on this machine
    Lab(LabArgs),
}

/// Where the configuration comes from; later ones win.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct ConfigArgs {
    /// The configuration file [default: paddock.toml, if there is one]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Set one key, for example `--set browser.instances_max=50`; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub set: Vec<String>,
}

/// Where the server keeps everything it keeps.
#[derive(Clone, Debug, Args)]
pub(crate) struct DataArgs {
    /// The directory for everything that Paddock keeps: database, reports, browser profiles
    #[arg(long, value_name = "DIR", env = "PADDOCK_DATA", default_value = "paddock-data")]
    pub data: PathBuf,
}

/// Parses the command line and runs the command.
pub(crate) fn run() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    // One TLS provider for everything; a second install can only happen if a library did it first.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return CommandError::from_error(Exit::Failure, &error).report(),
    };
    runtime.block_on(dispatch(cli.command))
}

async fn dispatch(command: Command) -> ExitCode {
    let outcome: CommandResult = match command {
        Command::Serve(args) => Box::pin(crate::serve::run(args)).await,
        Command::Analyze(args) => Box::pin(crate::analyze::run(args)).await,
        Command::Browser(args) => Box::pin(crate::browser::run(args)).await,
        Command::Jobs(args) => Box::pin(crate::jobs::run(args)).await,
        Command::Missions(args) => Box::pin(crate::missions::run(args)).await,
        Command::Agents(args) => Box::pin(crate::agents::run(args)).await,
        Command::Registry(args) => Box::pin(crate::registry_command::run(args)).await,
        Command::Config(command) => crate::config_command::run(command),
        Command::Keys(command) => Box::pin(crate::keys_command::run(command)).await,
        Command::Doctor(args) => Box::pin(crate::doctor::run(args)).await,
        Command::Mcp(args) => Box::pin(crate::mcp_command::run(args)).await,
        Command::Llm(args) => Box::pin(crate::llm::run(args)).await,
        // Its exit codes are verdicts, not only failures.
        Command::Lab(args) => return Box::pin(crate::lab::run(args)).await,
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => error.report(),
    }
}

/// clap's message as one line for an error, whole for `--help` and `--version`.
fn usage(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() {
        say(format_args!("{}", error.render().to_string().trim_end()));
        return ExitCode::SUCCESS;
    }
    let text = error.render().to_string();
    let text = text.strip_prefix("error: ").unwrap_or(&text);
    let mut message = String::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        if line.starts_with("Usage:") || line.starts_with("For more information") {
            continue;
        }
        if !message.is_empty() {
            message.push_str(if message.ends_with(':') { " " } else { "; " });
        }
        message.push_str(line.strip_prefix("tip: ").unwrap_or(line));
    }
    message.push_str("; see `paddock --help`");
    CommandError::new(Exit::Usage, message).report()
}

/// Whether a person watches standard error, so that progress may be drawn there.
pub(crate) fn is_watched() -> bool {
    std::io::stderr().is_terminal()
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::Cli;

    #[test]
    fn no_command_has_two_flags_of_one_name() {
        Cli::command().debug_assert();
    }
}
