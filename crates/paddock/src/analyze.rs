//! `paddock analyze`: one page, looked at here and now, without a server.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use paddock_analysis::{
    AnalysisError, AnalysisRequest, Analyzer, Finished, Progress, Screen, Stage, Target,
    report::{self, Format},
};
use paddock_browser::{BrowserError, Fleet, NavigateError, egress::Network};
use paddock_platform::{config::Live, identity::Tenant, signal::stop_on_signals, task::Tasks};
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::{
    cli::{ConfigArgs, complain, is_watched, say},
    config::{Config, load},
    exit::{CommandError, CommandResult, Exit},
    summary,
};

/// How long the browsers may take to end.
const SHUTDOWN_DEADLINE: Duration = Duration::from_secs(10);

/// Flags of `paddock analyze`.
#[derive(Debug, Args)]
pub(crate) struct AnalyzeArgs {
    /// The page: an http or https URL, or an HTML file
    target: String,
    /// The screens to look at it on
    #[arg(long, value_delimiter = ',', default_value = "desktop,mobile")]
    viewport: Vec<ScreenArg>,
    /// Write report.html, report.json and report.md with their pictures into this directory
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// The forms of the report; without `--out`, the one form to print [default: all of them with `--out`]
    #[arg(long, value_delimiter = ',')]
    format: Vec<FormatArg>,
    /// A network that pages may reach beside the public internet, such as 127.0.0.0/8; may be repeated
    #[arg(long, value_name = "CIDR")]
    allow: Vec<Network>,
    #[command(flatten)]
    config: ConfigArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ScreenArg {
    Desktop,
    Mobile,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum FormatArg {
    Html,
    Json,
    Md,
}

impl From<FormatArg> for Format {
    fn from(format: FormatArg) -> Self {
        match format {
            FormatArg::Html => Self::Html,
            FormatArg::Json => Self::Json,
            FormatArg::Md => Self::Markdown,
        }
    }
}

/// Runs the command.
pub(crate) async fn run(args: AnalyzeArgs) -> CommandResult {
    let request = request(&args)?;
    let output = Output::from_args(&args)?;
    let mut config = load(&args.config)?.config;
    config.browser.allow.extend(args.allow);
    // One page needs no spare browser behind it.
    config.browser.warm = 0;
    let live = Live::new(config);

    let scratch = tempfile::tempdir().map_err(|error| {
        CommandError::new(Exit::Failure, format!("cannot make a temporary directory: {error}"))
    })?;
    let tasks = Tasks::default();
    let outcome = analyze(&live, &request, scratch.path(), &tasks).await;
    let _ = tasks.stop(SHUTDOWN_DEADLINE).await;
    output.deliver(&outcome?)
}

async fn analyze(
    live: &Live<Config>,
    request: &AnalysisRequest,
    scratch: &Path,
    tasks: &Tasks,
) -> Result<Finished, CommandError> {
    let fleet = Fleet::start(live.section(|config| &config.browser), scratch, tasks)
        .await
        .map_err(|error| from_analysis(&error.into()))?;
    let analyzer = Analyzer::new(fleet.clone(), live.section(|config| &config.analysis));
    let (progress, finish) = progress();
    let stop = CancellationToken::new();
    stop_on_signals(stop.clone()).map_err(|error| CommandError::from_error(Exit::Failure, &error))?;
    let outcome = tokio::select! {
        outcome = analyzer.analyze(request, &progress) => outcome.map_err(|error| from_analysis(&error)),
        () = stop.cancelled() => Err(CommandError::new(Exit::Failure, "interrupted; nothing was written")),
    };
    finish();
    fleet.shutdown().await;
    outcome
}

fn request(args: &AnalyzeArgs) -> Result<AnalysisRequest, CommandError> {
    let mut screens = Vec::new();
    for screen in &args.viewport {
        let screen = match screen {
            ScreenArg::Desktop => Screen::Desktop,
            ScreenArg::Mobile => Screen::Mobile,
        };
        if !screens.contains(&screen) {
            screens.push(screen);
        }
    }
    Ok(AnalysisRequest { tenant: Tenant::local(), target: target(&args.target)?, screens })
}

/// A URL if it has the form of one, otherwise a file that has to exist.
fn target(text: &str) -> Result<Target, CommandError> {
    if text.starts_with("http://") || text.starts_with("https://") {
        return Url::parse(text)
            .map(Target::Url)
            .map_err(|error| CommandError::new(Exit::Usage, format!("`{text}` is not a URL: {error}")));
    }
    let path = PathBuf::from(text.strip_prefix("file://").unwrap_or(text));
    if path.is_file() {
        return path.canonicalize().map(Target::File).map_err(|error| {
            CommandError::new(Exit::Usage, format!("cannot read `{}`: {error}", path.display()))
        });
    }
    let mut message = format!("there is no file `{text}`");
    if path.is_dir() {
        message = format!("`{text}` is a directory; name an HTML file in it");
    } else if text.contains('.') && !text.contains('/') || text.contains("://") {
        message.push_str(", and a URL begins with http:// or https://");
    }
    Err(CommandError::new(Exit::Usage, message))
}

/// Where the report goes.
enum Output {
    /// Files in a directory.
    Files { dir: PathBuf, formats: Vec<Format> },
    /// One form on standard output.
    Print(Format),
    /// What a person wants to know first, on standard output.
    Summary,
}

impl Output {
    fn from_args(args: &AnalyzeArgs) -> Result<Self, CommandError> {
        let formats: Vec<Format> = args.format.iter().copied().map(Format::from).collect();
        match (&args.out, formats.as_slice()) {
            (Some(dir), []) => Ok(Self::Files { dir: dir.clone(), formats: Format::ALL.to_vec() }),
            (Some(dir), _) => Ok(Self::Files { dir: dir.clone(), formats }),
            (None, []) => Ok(Self::Summary),
            (None, [format]) => Ok(Self::Print(*format)),
            (None, _) => Err(CommandError::new(
                Exit::Usage,
                "several forms need a directory: add `--out DIR`, or name one form to print",
            )),
        }
    }

    fn deliver(&self, analysis: &Finished) -> CommandResult {
        let not_written =
            |error: &(dyn std::error::Error + 'static)| CommandError::from_error(Exit::NotWritten, error);
        match self {
            Self::Files { dir, formats } => {
                let written = report::write(dir, formats, &analysis.report, &analysis.images)
                    .map_err(|error| not_written(&error))?;
                summary::print(&analysis.report);
                for file in written {
                    say(format_args!("{}", file.display()));
                }
            }
            Self::Print(format) => {
                let text = report::render(*format, &analysis.report, &analysis.images)
                    .map_err(|error| not_written(&error))?;
                say(format_args!("{}", text.trim_end()));
            }
            Self::Summary => {
                summary::print(&analysis.report);
                complain(format_args!("add `--out DIR` for the report with its pictures"));
            }
        }
        Ok(())
    }
}

/// Draws the stages: a spinner for a person, lines for a log.
fn progress() -> (Progress, impl FnOnce()) {
    let bar = if is_watched() { ProgressBar::new_spinner() } else { ProgressBar::hidden() };
    if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} {elapsed:.dim}") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(120));
    let told = bar.clone();
    let watched = is_watched();
    let progress: Progress = Arc::new(move |stage| {
        let line = match stage {
            Stage::Queued => "starting a browser".to_owned(),
            Stage::Loading(screen) => format!("loading the page ({screen})"),
            Stage::Reading(screen) => format!("reading the page ({screen})"),
            Stage::Shooting(screen) => format!("photographing the page ({screen})"),
            Stage::Judging => "judging".to_owned(),
        };
        if watched {
            told.set_message(line);
        } else {
            complain(format_args!("{line}"));
        }
    });
    (progress, move || bar.finish_and_clear())
}

fn exit_of_navigation(error: &NavigateError) -> Exit {
    match error {
        NavigateError::InvalidUrl { .. } => Exit::Usage,
        NavigateError::AddressRefused { .. } => Exit::AddressRefused,
        NavigateError::HostNotFound { .. }
        | NavigateError::Unreachable { .. }
        | NavigateError::Tls { .. }
        | NavigateError::RedirectLoop { .. }
        | NavigateError::BadAnswer { .. } => Exit::Unreachable,
        NavigateError::Download { .. }
        | NavigateError::NotAPage { .. }
        | NavigateError::Timeout { .. }
        | NavigateError::PageTooLarge { .. }
        | NavigateError::Dialogs { .. } => Exit::NotAPage,
        _ => Exit::Failure,
    }
}

fn exit_of_browser(error: &BrowserError) -> Exit {
    match error {
        BrowserError::Engine(_) | BrowserError::Launch(_) => Exit::NoEngine,
        _ => Exit::Failure,
    }
}

/// The exit code that fits an analysis that failed.
fn from_analysis(error: &AnalysisError) -> CommandError {
    let exit = match error {
        AnalysisError::Navigate(error) => exit_of_navigation(error),
        AnalysisError::HttpStatus { .. } => Exit::Unreachable,
        AnalysisError::TimedOut { .. } | AnalysisError::Unreadable { .. } => Exit::NotAPage,
        AnalysisError::File { .. } => Exit::Usage,
        AnalysisError::Browser(error) => exit_of_browser(error),
        _ => Exit::Failure,
    };
    CommandError::from_error(exit, error)
}
