//! `paddock lab`: measures what is promised, on the machine of the person who asks.
//!
//! The commands are thin: what they do is in the crate `paddock_lab`. Exit codes are part of the interface, see
//! [`Code`]. Results go to standard output, progress and complaints to standard error.

mod args;
mod judge;
mod measure;
mod show;
pub(crate) mod terminal;

use std::{
    fmt,
    path::Path,
    process::ExitCode,
    sync::atomic::{AtomicBool, Ordering},
};

use paddock_lab::{
    archive::Archive, document::DocumentError, gate::Decision, objectives::Objectives, scenario::Scenario,
    text::one_line, verdict::Level,
};
use paddock_platform::{problem::error_chain, task::Tasks};
use tokio_util::sync::CancellationToken;

pub(crate) use self::args::LabArgs;
use self::args::{LabCommand, Places};

/// How a command of the lab ended; the number is its exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Code {
    /// Everything that was judged passes, or is acceptable.
    Pass = 0,
    /// Something of the machine or of ours failed.
    Error = 1,
    /// A flag, a name or a file is wrong; nothing was done.
    Usage = 2,
    /// A promise is missed.
    ThresholdFailed = 3,
    /// A promised metric became certainly worse.
    Regression = 4,
    /// The measurements cannot be believed, or do not suffice to decide.
    Invalid = 5,
}

/// A command that could not do what it was asked: one line for the person.
#[derive(Debug)]
pub(crate) struct LabError {
    code: Code,
    message: String,
}

/// What a command returns.
type LabResult = Result<Code, LabError>;

/// Runs a command and prints why it failed, if it did.
pub(crate) async fn run(args: LabArgs) -> ExitCode {
    ExitCode::from(execute(args).await as u8)
}

/// As [`run`], with the code in its own type.
pub(crate) async fn execute(args: LabArgs) -> Code {
    let LabArgs { command, places } = args;
    let lab = match Lab::new(places) {
        Ok(lab) => lab,
        Err(error) => return error.report(),
    };
    let result = match command {
        LabCommand::Run(args) => Box::pin(measure::run(&lab, args)).await,
        LabCommand::Check(args) => show::check(&lab, &args),
        LabCommand::Objectives(args) => show::objectives(&lab, &args),
        LabCommand::Compare(args) => judge::compare(&lab, &args),
        LabCommand::Gate(args) => judge::gate(&lab, &args),
        LabCommand::Ab(args) => Box::pin(judge::ab(&lab, args)).await,
        LabCommand::Baseline(command) => judge::baseline(&lab, &command),
        LabCommand::Report(args) => show::report(&lab, &args),
        LabCommand::Selftest(args) => Box::pin(measure::selftest(&lab, &args)).await,
        LabCommand::Env(args) => show::env(&lab, &args).await,
        LabCommand::Docs(args) => show::docs(&lab, &args),
        LabCommand::Fixture(command) => measure::fixture(command).await,
    };
    result.unwrap_or_else(|error| error.report())
}

/// What every command needs.
#[derive(Debug)]
struct Lab {
    places: Places,
    archive: Archive,
    objectives: Objectives,
    tasks: Tasks,
    /// Cancelled by the first SIGINT or SIGTERM; a second one ends the process at once.
    stop: CancellationToken,
    /// Whether signals are listened for.
    listens: AtomicBool,
}

impl Lab {
    fn new(mut places: Places) -> Result<Self, LabError> {
        if places.objectives.is_none() {
            places.objectives = std::env::current_dir().ok().and_then(|dir| Objectives::find(&dir));
        }
        let objectives = Objectives::read(places.objectives.as_deref())?;
        let archive = Archive::new(&places.data);
        Ok(Self {
            places,
            archive,
            objectives,
            tasks: Tasks::default(),
            stop: CancellationToken::new(),
            listens: AtomicBool::new(false),
        })
    }

    /// The scenarios that exist: those of `--scenarios`, else of the directory beside the objectives.
    fn scenarios(&self) -> Result<Vec<Scenario>, LabError> {
        let beside =
            self.places.objectives.as_deref().and_then(Path::parent).map(|dir| dir.join("scenarios"));
        let Some(dir) = self.places.scenarios.clone().or(beside) else {
            return Err(LabError::usage(
                "there is no `objectives.toml` here or above; name the scenarios with `--scenarios DIR`",
            ));
        };
        Ok(paddock_lab::scenario::read_dir(&dir)?)
    }

    /// Lets a signal end what runs in good order. Once per command.
    fn stop_on_signals(&self) -> Result<(), LabError> {
        if self.listens.swap(true, Ordering::Relaxed) {
            return Ok(());
        }
        paddock_platform::signal::stop_on_signals(self.stop.clone()).map_err(|error| LabError::of(&error))?;
        let stop = self.stop.clone();
        self.tasks.spawn("lab-interrupt", async move {
            stop.cancelled().await;
            terminal::complain(format_args!(
                "interrupted: keeping what was measured (once more to stop at once)"
            ));
        });
        Ok(())
    }
}

// === impl Code ===

impl Code {
    fn of_level(level: Level) -> Self {
        match level {
            Level::Pass | Level::Warn => Self::Pass,
            Level::Fail => Self::ThresholdFailed,
            Level::Invalid => Self::Invalid,
        }
    }

    fn of_decision(decision: &Decision) -> Self {
        match decision {
            Decision::Open => Self::Pass,
            Decision::Regressed { .. } => Self::Regression,
            Decision::Undecided { .. } => Self::Invalid,
        }
    }

    /// The one that matters more to a script: an error, then a regression, then a missed promise, then an invalid run.
    fn or(self, other: Self) -> Self {
        const ORDER: [Code; 6] =
            [Code::Usage, Code::Error, Code::Regression, Code::ThresholdFailed, Code::Invalid, Code::Pass];
        ORDER.into_iter().find(|code| *code == self || *code == other).unwrap_or(self)
    }
}

// === impl LabError ===

impl LabError {
    fn usage(message: impl Into<String>) -> Self {
        Self { code: Code::Usage, message: message.into() }
    }

    fn of(error: &(dyn std::error::Error + 'static)) -> Self {
        Self { code: Code::Error, message: error_chain(error) }
    }

    fn report(&self) -> Code {
        terminal::complain(format_args!("paddock: {self}"));
        self.code
    }
}

impl fmt::Display for LabError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&one_line(&self.message.lines().collect::<Vec<_>>().join("; ")))
    }
}

/// A wrong file is the user's, and nothing was done yet.
impl From<DocumentError> for LabError {
    fn from(error: DocumentError) -> Self {
        Self { code: Code::Usage, message: error_chain(&error) }
    }
}

macro_rules! is_failure {
    ($($error:ty),* $(,)?) => {$(
        impl From<$error> for LabError {
            fn from(error: $error) -> Self {
                Self::of(&error)
            }
        }
    )*};
}
is_failure!(paddock_lab::archive::ArchiveError, std::io::Error, serde_json::Error);

impl From<paddock_lab::subject::SubjectError> for LabError {
    fn from(error: paddock_lab::subject::SubjectError) -> Self {
        use paddock_lab::subject::SubjectError;
        let code = match error {
            SubjectError::Unknown { .. } | SubjectError::NoSuchCommit { .. } => Code::Usage,
            SubjectError::Archive(_) | SubjectError::Results(_) => Code::Error,
        };
        Self { code, message: error_chain(&error) }
    }
}

impl From<paddock_lab::ab::TrialError> for LabError {
    fn from(error: paddock_lab::ab::TrialError) -> Self {
        use paddock_lab::ab::TrialError;
        let code = match error {
            TrialError::Run { .. } => Code::Error,
            _ => Code::Usage,
        };
        Self { code, message: error_chain(&error) }
    }
}

impl From<paddock_lab::ab::CheckOutError> for LabError {
    fn from(error: paddock_lab::ab::CheckOutError) -> Self {
        use paddock_lab::ab::CheckOutError;
        let code = match error {
            CheckOutError::Git { .. } => Code::Usage,
            CheckOutError::Start { .. } => Code::Error,
        };
        Self { code, message: error_chain(&error) }
    }
}
