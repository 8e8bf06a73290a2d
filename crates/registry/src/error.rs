//! Why the registry could not do what was asked, and why a source could not be read.

use std::{path::PathBuf, time::Duration};

use http::StatusCode;
use paddock_platform::{
    config::SecretError,
    problem::{CONFLICT, FORBIDDEN, Problem, ProblemKind},
    store::StoreError,
    units::ByteSize,
};

use crate::{content::TooManyError, format::FormatError};

/// The version is published already: versions never change.
pub const VERSION_EXISTS: ProblemKind =
    ProblemKind::new("registry-version-exists", StatusCode::CONFLICT, "Version exists");
/// The namespace belongs to somebody else.
pub const NAMESPACE_NOT_OWNED: ProblemKind =
    ProblemKind::new("registry-namespace-not-owned", StatusCode::FORBIDDEN, "Namespace not owned");
/// Nothing can be published: there is no managed source, or the entry comes from elsewhere.
pub const NOT_MANAGED: ProblemKind =
    ProblemKind::new("registry-not-managed", StatusCode::CONFLICT, "Not managed here");

/// A source could not be read; what it gave before is still served.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The file is not there or cannot be read.
    #[error("cannot read `{}`", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// There is more than the source may have.
    #[error("the content is larger than `registry.source_size_max`, {0}")]
    TooLarge(ByteSize),
    /// The server cannot be reached or broke off.
    #[error("cannot fetch `{url}`")]
    Http {
        /// What was asked for.
        url: String,
        /// What the client says.
        source: reqwest::Error,
    },
    /// The server answered with an error.
    #[error("`{url}` answered {status}")]
    Status {
        /// What was asked for.
        url: String,
        /// What it answered.
        status: u16,
        /// When it wants to be asked again.
        retry_after: Option<Duration>,
    },
    /// What came is no list of servers.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// Nothing is left of many entries: more likely a mistake of the other side than the truth.
    #[error("the source gives no entries at all, and gave {before} before; they are kept")]
    NothingLeft {
        /// How many there were.
        before: usize,
    },
    /// There are more entries than the source may have.
    #[error(transparent)]
    TooMany(#[from] TooManyError),
    /// A registry sends its clients in circles.
    #[error("the registry gives a cursor for the second time after {pages} pages: it would never end")]
    CursorLoop {
        /// How many pages came before.
        pages: usize,
    },
    /// A registry gives pages without entries, one after the other.
    #[error("the registry gives one empty page after the other")]
    EmptyPages,
    /// A token or password cannot be read.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The repository cannot be read.
    #[error("git: {0}")]
    Git(String),
    /// The cluster is not named, and this process runs in none.
    #[error(
        "`KUBERNETES_SERVICE_HOST` and `KUBERNETES_SERVICE_PORT` name no cluster, as they do in every pod; outside of one, \
         `url` names it"
    )]
    NotInCluster,
    /// Whom to take for the cluster cannot be told.
    #[error("cannot use the authorities in `{}`", path.display())]
    Authorities {
        /// Where they are.
        path: PathBuf,
        /// What the client says.
        source: reqwest::Error,
    },
    /// The cluster has no such resources.
    #[error("the cluster knows no resources of ToolHive's version `{0}`; is its operator installed?")]
    NoResources(String),
    /// It took too long.
    #[error("the sync did not finish within `registry.sync_timeout`, {}s", .0.as_secs())]
    TimedOut(Duration),
    /// What was read could not be kept.
    #[error("the content could not be kept")]
    Store(#[from] StoreError),
    /// Work on another thread failed: a defect.
    #[error("reading the content failed")]
    Panic(#[from] tokio::task::JoinError),
}

impl FetchError {
    /// A short name, for metrics.
    pub const fn label(&self) -> &'static str {
        match self {
            Self::File { .. } => "file",
            Self::TooLarge(_) => "too_large",
            Self::Http { .. } => "unreachable",
            Self::Status { .. } => "status",
            Self::Format(_) => "format",
            Self::NothingLeft { .. } => "nothing_left",
            Self::TooMany(_) => "too_many",
            Self::CursorLoop { .. } | Self::EmptyPages => "pagination",
            Self::Secret(_) => "secret",
            Self::Git(_) => "git",
            Self::NotInCluster | Self::Authorities { .. } | Self::NoResources(_) => "cluster",
            Self::TimedOut(_) => "timeout",
            Self::Store(_) => "store",
            Self::Panic(_) => "internal",
        }
    }

    /// Whether asking again at once may help.
    pub(crate) fn is_passing(&self) -> bool {
        match self {
            Self::Http { .. } => true,
            Self::Status { status, .. } => *status >= 500 || *status == 429 || *status == 408,
            _ => false,
        }
    }

    /// When the other side wants to be asked again.
    pub(crate) const fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Status { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}

/// A change was refused.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// There is no managed source.
    #[error("there is no managed source to publish to; configure one with `managed = {{}}`")]
    NoManagedSource,
    /// The entry was not published here.
    #[error("`{name}` comes from the source `{origin}`; only what was published here can be changed")]
    NotManaged {
        /// Which entry.
        name: String,
        /// Where it comes from.
        origin: String,
    },
    /// The version is published already.
    #[error("`{name}` has a version {version} already, and versions never change; publish another one")]
    Exists {
        /// Which server.
        name: String,
        /// Which version.
        version: String,
    },
    /// The namespace is somebody else's.
    #[error("the namespace `{namespace}` belongs to somebody else")]
    NotOwned {
        /// Which namespace.
        namespace: String,
    },
    /// The claims are not the caller's to give, or not those of the other versions.
    #[error("{0}")]
    Claims(&'static str),
    /// The configuration file has it: it is changed there.
    #[error("the {kind} `{name}` is in the configuration file, and is changed there")]
    Configured {
        /// `source` or `view`.
        kind: &'static str,
        /// Which one.
        name: String,
    },
    /// Something else needs it.
    #[error("the source `{name}` is used by the view `{view}`")]
    InUse {
        /// Which source.
        name: String,
        /// By which view.
        view: String,
    },
    /// The options make no sense.
    #[error("{0}")]
    Options(String),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<RegistryError> for Problem {
    fn from(error: RegistryError) -> Self {
        let detail = error.to_string();
        match error {
            RegistryError::NoManagedSource | RegistryError::NotManaged { .. } => {
                Self::new(NOT_MANAGED, detail)
            }
            RegistryError::Exists { .. } => Self::new(VERSION_EXISTS, detail),
            RegistryError::NotOwned { .. } => Self::new(NAMESPACE_NOT_OWNED, detail),
            RegistryError::Claims(_) | RegistryError::Configured { .. } => Self::new(FORBIDDEN, detail),
            RegistryError::InUse { .. } => Self::new(CONFLICT, detail),
            RegistryError::Options(_) => Self::invalid_field("body", detail),
            RegistryError::Store(error) => error.into(),
        }
    }
}
