//! The commands and their flags.

use clap::{Args, Subcommand, ValueEnum};

use crate::{client::AskedArgs, top::TopArgs};

/// Flags of `paddock llm`.
#[derive(Debug, Args)]
pub(crate) struct LlmArgs {
    #[command(subcommand)]
    pub(super) command: LlmCommand,
    #[command(flatten)]
    pub(super) asked: AskedArgs,
}

#[derive(Debug, Subcommand)]
pub(super) enum LlmCommand {
    /// Watch every credential and model: breaker, calls, failures, first token
    Top(TopArgs),
    /// List the configured routes
    Routes,
    /// Explain where a call would go, without making it
    Route(RouteArgs),
    /// List breakers, or open, close or reset them
    Breakers(BreakersArgs),
    /// Show what was used and what it cost
    Usage(UsageArgs),
    /// Ask a model and print its answer
    Ask(AskArgs),
    /// Run a simulated provider that speaks every dialect
    Sim(SimArgs),
}

#[derive(Debug, Args)]
pub(super) struct RouteArgs {
    /// The model, as callers name it
    pub(super) model: String,
    /// A prompt, for how long the request is
    #[arg(long, default_value = "")]
    pub(super) prompt: String,
    /// Tags of the request, as a, b
    #[arg(long)]
    pub(super) tags: Option<String>,
    /// `interactive` or `batch`
    #[arg(long)]
    pub(super) class: Option<String>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum BreakerAction {
    /// Nothing passes until somebody closes it
    Open,
    /// Everything passes
    Close,
    /// Forget all that was learned
    Reset,
}

#[derive(Debug, Args)]
pub(super) struct BreakersArgs {
    /// What to do with those that are meant [default: list all]
    pub(super) action: Option<BreakerAction>,
    /// Those of this provider
    #[arg(long)]
    pub(super) provider: Option<String>,
    /// Those of this model, as the provider names it
    #[arg(long)]
    pub(super) model: Option<String>,
    /// Those of this credential
    #[arg(long)]
    pub(super) credential: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct UsageArgs {
    /// What it is added up by: model, provider, credential, key, tenant, day, hour
    #[arg(long, default_value = "model")]
    pub(super) by: String,
    /// From this moment, such as 2026-11-30T00:00:00Z [default: a day ago]
    #[arg(long)]
    pub(super) from: Option<String>,
    /// Until this moment [default: now]
    #[arg(long)]
    pub(super) to: Option<String>,
    /// Of all tenants
    #[arg(long)]
    pub(super) all: bool,
    /// Print it as CSV
    #[arg(long)]
    pub(super) csv: bool,
}

#[derive(Debug, Args)]
pub(super) struct AskArgs {
    /// The model, as callers name it
    pub(super) model: String,
    /// What to ask
    pub(super) prompt: String,
    /// What the model is told before
    #[arg(long)]
    pub(super) system: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct SimArgs {
    /// Where to listen, as host:port
    #[arg(long, default_value = "127.0.0.1:9101", value_name = "ADDRESS")]
    pub(super) listen: String,
    /// How it behaves, such as `seed=7`, `latency=5ms..20ms`, `tokens_per_s=50`, `error=0.01`, `limit=0.05`
    #[arg(value_name = "KEY=VALUE")]
    pub(super) behaviour: Vec<String>,
}
