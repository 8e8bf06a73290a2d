//! How a command ends: one line for the person, one documented code for the script.

use std::{fmt, process::ExitCode};

use paddock_platform::problem::{Problem, error_chain};

/// Why a command ended; the number is its exit code and part of the interface (docs/cli.md).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    /// Something of ours or of the machine failed.
    Failure = 1,
    /// A flag, a config key or a file name is wrong; nothing was done.
    Usage = 2,
    /// No browser engine is installed, or it does not start.
    NoEngine = 10,
    /// The page cannot be had: no such host, refused, TLS, redirects, an HTTP error.
    Unreachable = 11,
    /// The page's address lies in a network that pages may not reach.
    AddressRefused = 12,
    /// What came is not a page that can be analysed: a download, too large, never ending.
    NotAPage = 13,
    /// The result could not be written.
    NotWritten = 14,
    /// The address or the data directory is in use by another server.
    InUse = 15,
    /// The server stopped before everything in flight was finished.
    Unfinished = 16,
    /// No server answers at the address.
    NoServer = 17,
    /// The server refused the key, or lacks one.
    NotAllowed = 18,
    /// The server refused what was asked of it: no such tab, a bad argument, a limit.
    Refused = 19,
}

/// A command's failure.
#[derive(Debug)]
pub(crate) struct CommandError {
    /// The exit code.
    pub exit: Exit,
    /// One line: what happened, what was kept, what to do.
    pub message: String,
}

/// What a command returns.
pub(crate) type CommandResult = Result<(), CommandError>;

impl CommandError {
    /// A failure with its line.
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into() }
    }

    /// A failure that an error describes, with the chain of its sources.
    pub(crate) fn from_error(exit: Exit, error: &(dyn std::error::Error + 'static)) -> Self {
        Self::new(exit, error_chain(error))
    }

    /// A failure that a problem describes.
    pub(crate) fn from_problem(exit: Exit, problem: &Problem) -> Self {
        Self::new(exit, problem.detail.clone())
    }

    /// Prints the line and gives the code.
    pub(crate) fn report(&self) -> ExitCode {
        crate::cli::complain(format_args!("paddock: {self}"));
        ExitCode::from(self.exit as u8)
    }
}

impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A library's message may span lines; a person's terminal and a script's log want one.
        for (index, line) in self.message.lines().map(str::trim).filter(|line| !line.is_empty()).enumerate() {
            if index > 0 {
                f.write_str("; ")?;
            }
            f.write_str(line)?;
        }
        Ok(())
    }
}
