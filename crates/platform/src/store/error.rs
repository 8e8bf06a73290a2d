//! The ways in which the store fails.

use std::time::Duration;

use http::StatusCode;

use super::{MigrationError, Statement};
use crate::problem::{INVALID_REQUEST, Problem, ProblemKind};

/// There is no space left to keep what was sent.
pub const STORAGE_FULL: ProblemKind =
    ProblemKind::new("storage-full", StatusCode::INSUFFICIENT_STORAGE, "Storage full");
/// The store cannot be reached, is overloaded, or gave up: trying again makes sense.
pub const STORE_UNAVAILABLE: ProblemKind =
    ProblemKind::new("store-unavailable", StatusCode::SERVICE_UNAVAILABLE, "Store unavailable");

/// When a caller should try again after [`STORE_UNAVAILABLE`].
const RETRY_AFTER: Duration = Duration::from_secs(2);
/// When a caller should try again after [`STORAGE_FULL`]: somebody has to make space first.
pub(crate) const RETRY_AFTER_FULL: Duration = Duration::from_mins(1);

/// Which rule of the schema a change would have broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConstraintKind {
    /// A key that exists already.
    Unique,
    /// A reference to something that does not exist, or the removal of something referred to.
    ForeignKey,
    /// A value that is missing.
    NotNull,
    /// A `CHECK`.
    Check,
}

/// The store did not do what it was asked. Of a failed change nothing was kept, except where the variant says otherwise.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// The options make no sense together, or a secret they name is missing.
    #[error("the store's configuration cannot be used: {0}")]
    Options(String),
    /// The database cannot be opened.
    #[error("cannot open the store {store}: {reason}")]
    Open {
        /// The file or the server, without credentials.
        store: String,
        /// What the engine says.
        reason: String,
    },
    /// There is no connection, or another process keeps the database locked. If a connection broke during a commit, the
    /// change may have been kept.
    #[error("the store cannot be reached: {0}")]
    Unavailable(String),
    /// No connection, or no place in the queue, within the configured wait.
    #[error("the store is overloaded: nothing was free within {}s", .0.as_secs_f64())]
    Overloaded(Duration),
    /// A statement exceeded `store.statement_timeout`.
    #[error("statement {statement} did not finish within {}s", limit.as_secs_f64())]
    Timeout {
        /// Area and name.
        statement: String,
        /// The configured limit.
        limit: Duration,
    },
    /// The disk, or `store.size_max`, is full. The store still reads, and writes again once there is space.
    #[error(
        "the store is full: the change was not saved; free disk space (or raise `store.size_max`) and try again"
    )]
    DiskFull,
    /// The disk failed.
    #[error("the store's disk failed: {0}")]
    Io(String),
    /// The file is damaged, or not a database.
    #[error("the store's file is damaged: {0}; restore it from a backup")]
    Corrupt(String),
    /// The change contradicts the schema.
    #[error("the change breaks a rule of the store: {detail}")]
    Constraint {
        /// Which rule.
        kind: ConstraintKind,
        /// The engine's words: names of tables and columns, no values.
        detail: String,
    },
    /// A simultaneous change got in the way; the same change may succeed when tried again.
    #[error("another change got in the way: {0}")]
    Conflict(String),
    /// The SQL or its parameters are wrong: a defect.
    #[error("statement {statement} failed: {reason}")]
    Statement {
        /// Area and name.
        statement: String,
        /// The engine's words.
        reason: String,
    },
    /// A text has a NUL character in it, which no engine is asked to keep or to find.
    #[error("a text has a NUL character in it (parameter {0})")]
    Nul(usize),
    /// A column is not there or holds another type: a defect.
    #[error("column `{column}`: expected {expected}, found {found}")]
    Column {
        /// Position or name.
        column: String,
        /// What was asked for.
        expected: &'static str,
        /// What is there.
        found: &'static str,
    },
    /// A query found more than [`ROWS_MAX`](super::ROWS_MAX) rows: a defect of a list without pages.
    #[error("statement {0} found more rows than one query may return")]
    TooManyRows(String),
    /// The body of a transaction panicked; the transaction was rolled back.
    #[error("a transaction panicked and was rolled back")]
    Panicked,
    /// The body of a transaction awaited something other than its own statements; it was rolled back.
    #[error("a transaction waited for something outside of itself and was rolled back")]
    Suspended,
    /// The store was closed: the server is shutting down.
    #[error("the store is closed")]
    Closed,
    /// The schema cannot be brought to what the code expects.
    #[error(transparent)]
    Migration(#[from] MigrationError),
}

impl StoreError {
    pub(super) fn statement(statement: &Statement, reason: impl Into<String>) -> Self {
        Self::Statement { statement: statement.to_string(), reason: reason.into() }
    }

    /// Whether the change broke a `UNIQUE` or primary key: the thing exists already.
    pub fn is_duplicate(&self) -> bool {
        matches!(self, Self::Constraint { kind: ConstraintKind::Unique, .. })
    }

    /// Whether the same call may succeed when it is made again.
    pub fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::Unavailable(_)
                | Self::Overloaded(_)
                | Self::Timeout { .. }
                | Self::Conflict(_)
                | Self::DiskFull
                | Self::Io(_)
        )
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        match &error {
            StoreError::DiskFull => {
                tracing::error!(%error, "store full");
                Self::new(STORAGE_FULL, error.to_string()).retry_after(RETRY_AFTER_FULL)
            }
            StoreError::Nul(_) => {
                Self::new(INVALID_REQUEST, "a text in the request has a NUL character in it; leave it out")
            }
            transient if transient.is_transient() || matches!(transient, StoreError::Closed) => {
                tracing::warn!(%error, "store unavailable");
                Self::new(STORE_UNAVAILABLE, "the store cannot do this now; nothing is lost, try again")
                    .retry_after(RETRY_AFTER)
            }
            _ => Self::internal("using the store", &error),
        }
    }
}
