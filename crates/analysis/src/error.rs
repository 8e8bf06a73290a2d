//! Why an analysis did not come to a report.

use std::{path::PathBuf, time::Duration};

use http::StatusCode;
use paddock_browser::{BrowserError, EvaluateError, NavigateError};
use paddock_platform::problem::{DEADLINE_EXCEEDED, OVERLOADED, Problem, ProblemKind, error_chain};
use url::Url;

use crate::{Screen, store::ArchiveError};

/// The page answered with an HTTP error, so there is nothing of its own to analyse.
pub const PAGE_HTTP_ERROR: ProblemKind =
    ProblemKind::new("page-http-error", StatusCode::BAD_GATEWAY, "Page answered with an error");
/// The file that was named cannot be read.
pub const FILE_UNREADABLE: ProblemKind =
    ProblemKind::new("file-unreadable", StatusCode::BAD_REQUEST, "File unreadable");
/// The analysis ended without a report, for a reason that is not the page's: it took too long, or was cancelled.
pub const ANALYSIS_FAILED: ProblemKind =
    ProblemKind::new("analysis-failed", StatusCode::BAD_GATEWAY, "Analysis failed");
/// The page could not be read, though it loaded.
pub const PAGE_UNREADABLE: ProblemKind =
    ProblemKind::new("page-unreadable", StatusCode::BAD_GATEWAY, "Page unreadable");

/// An analysis ended without a report. Whatever browsers it held were given back.
#[derive(Debug, thiserror::Error)]
pub enum AnalysisError {
    /// As many analyses wait as may.
    #[error("{waiting} analyses wait for their turn already, more may not; try again later")]
    Overloaded {
        /// How many wait.
        waiting: usize,
        /// When a place is expected to be free.
        retry_after: Duration,
    },
    /// It took longer than `[analysis] timeout`.
    #[error("the analysis did not finish within {}s; nothing was kept", timeout.as_secs())]
    TimedOut {
        /// The configured limit.
        timeout: Duration,
    },
    /// The page could not be loaded.
    #[error(transparent)]
    Navigate(#[from] NavigateError),
    /// The page answered 4xx or 5xx.
    #[error("{url} answered {status}: an error page is not analysed")]
    HttpStatus {
        /// What was asked, after redirects.
        url: Url,
        /// What it answered.
        status: u16,
    },
    /// The file is not there or cannot be read.
    #[error("cannot read `{}`", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The browser failed, again after a retry.
    #[error(transparent)]
    Browser(#[from] BrowserError),
    /// The page loaded but did not let itself be read.
    #[error("the {screen} page loaded but cannot be read")]
    Unreadable {
        /// On which screen.
        screen: Screen,
        /// What happened instead.
        source: EvaluateError,
    },
    /// The report was made but could not be kept.
    #[error("the report was made but could not be kept")]
    NotKept(#[from] ArchiveError),
    /// Work on another thread failed: a defect.
    #[error("judging the page failed")]
    Judging(#[source] tokio::task::JoinError),
}

impl From<AnalysisError> for Problem {
    fn from(error: AnalysisError) -> Self {
        match error {
            AnalysisError::Overloaded { retry_after, .. } => {
                Self::new(OVERLOADED, error.to_string()).retry_after(retry_after)
            }
            AnalysisError::TimedOut { .. } => Self::new(DEADLINE_EXCEEDED, error.to_string()),
            AnalysisError::Navigate(error) => error.into(),
            AnalysisError::HttpStatus { status, .. } => {
                Self::new(PAGE_HTTP_ERROR, error.to_string()).with("page_status", status)
            }
            AnalysisError::File { .. } => Self::new(FILE_UNREADABLE, error.to_string()),
            AnalysisError::Browser(error) => error.into(),
            AnalysisError::Unreadable { .. } => Self::new(PAGE_UNREADABLE, error_chain(&error)),
            AnalysisError::NotKept(error) => error.into(),
            AnalysisError::Judging(_) => Self::internal("judging a page", &error),
        }
    }
}

impl From<ArchiveError> for Problem {
    fn from(error: ArchiveError) -> Self {
        match error {
            ArchiveError::Store(error) => error.into(),
            ArchiveError::Blobs(error) => error.into(),
            ArchiveError::Render(_) | ArchiveError::Panic(_) => Self::internal("rendering a report", &error),
        }
    }
}
