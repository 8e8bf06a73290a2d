//! `[store]` of the configuration.

use std::{
    fmt,
    num::NonZeroUsize,
    path::{Path, PathBuf},
    str::FromStr,
};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::StoreError;
use crate::{
    config::SecretRef,
    units::{ByteSize, HumanDuration, non_zero, non_zero_duration},
};

/// Where everything durable is kept. Changes take effect after a restart.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct StoreOptions {
    /// `sqlite:paddock.db` (relative to the data directory), `postgres://user@host/database`, or where such a URL is:
    /// `env:NAME`, `file:/path`.
    pub url: StoreUrl,
    /// PostgreSQL: where the password is, `env:NAME` or `file:/path`.
    pub password: Option<SecretRef>,
    /// PostgreSQL: a PEM file with the authorities to trust instead of the public ones.
    pub tls_ca: Option<PathBuf>,
    /// Where the key is under which secrets in the store are encrypted, `env:NAME` or `file:/path`; `seal.key` in the data
    /// directory when left out. Servers that share a PostgreSQL store need the same.
    pub seal_key: Option<SecretRef>,
    /// PostgreSQL: connections at most.
    pub pool_size: NonZeroUsize,
    /// SQLite: connections that read.
    pub readers: NonZeroUsize,
    /// SQLite: how many calls may wait for their turn.
    pub queue_max: NonZeroUsize,
    /// SQLite: how many transactions may share a commit.
    pub group_max: NonZeroUsize,
    /// SQLite: how large the database may become; the disk alone is the limit when it is not set.
    pub size_max: Option<ByteSize>,
    /// How long connecting may take.
    #[serde(deserialize_with = "non_zero_duration")]
    pub connect_timeout: HumanDuration,
    /// How long a call waits for a connection or for its turn.
    #[serde(deserialize_with = "non_zero_duration")]
    pub acquire_timeout: HumanDuration,
    /// How long a statement may take.
    #[serde(deserialize_with = "non_zero_duration")]
    pub statement_timeout: HumanDuration,
    /// Statements that take longer are logged.
    pub slow_query: HumanDuration,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            url: StoreUrl::Sqlite(PathBuf::from("paddock.db")),
            password: None,
            tls_ca: None,
            seal_key: None,
            pool_size: non_zero(25),
            readers: non_zero(4),
            queue_max: non_zero(1024),
            group_max: non_zero(256),
            size_max: None,
            connect_timeout: HumanDuration::from_secs(5),
            acquire_timeout: HumanDuration::from_secs(5),
            statement_timeout: HumanDuration::from_secs(30),
            slow_query: HumanDuration::from_millis(500),
        }
    }
}

/// Which engine, and where it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum StoreUrl {
    /// A file, relative to the data directory.
    Sqlite(PathBuf),
    /// A server; the URL holds no password.
    Postgres(String),
    /// The URL is itself a secret.
    Secret(SecretRef),
}

/// A text that is not a store's URL. Does not repeat the text: it may hold a password.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ParseStoreUrlError {
    /// No known engine.
    #[error(
        "is not a store; write `sqlite:paddock.db`, `postgres://user@host/database`, `env:NAME` or `file:/path`"
    )]
    Scheme,
    /// PostgreSQL's URL is malformed.
    #[error("is not a PostgreSQL URL: {0}")]
    Postgres(String),
    /// It holds a password.
    #[error(
        "holds a password; put it where `store.password = \"env:NAME\"` says, or the whole URL where `store.url = \"env:NAME\"` says"
    )]
    Password,
}

impl StoreUrl {
    /// Follows a secret to the URL behind it. Only then may it hold a password.
    pub(super) fn resolve(&self) -> Result<Self, StoreError> {
        let Self::Secret(reference) = self else { return Ok(self.clone()) };
        let text = reference.resolve().map_err(|error| StoreError::Options(error.to_string()))?;
        match parse(text.expose().trim(), true) {
            Ok(Self::Secret(_)) => Err(StoreError::Options(format!("`{reference}` holds another reference"))),
            Ok(url) => Ok(url),
            Err(error) => Err(StoreError::Options(format!("`{reference}` {error}"))),
        }
    }
}

fn parse(text: &str, password_allowed: bool) -> Result<StoreUrl, ParseStoreUrlError> {
    if let Some(path) = text.strip_prefix("sqlite:") {
        let path = path.strip_prefix("//").unwrap_or(path);
        return if path.is_empty() || path.starts_with(':') {
            Err(ParseStoreUrlError::Scheme)
        } else {
            Ok(StoreUrl::Sqlite(Path::new(path).to_owned()))
        };
    }
    if text.starts_with("postgres://") || text.starts_with("postgresql://") {
        let config = super::postgres::parse_url(text)
            .map_err(|error| ParseStoreUrlError::Postgres(error.to_string()))?;
        if config.get_password().is_some() && !password_allowed {
            return Err(ParseStoreUrlError::Password);
        }
        return Ok(StoreUrl::Postgres(text.to_owned()));
    }
    text.parse().map(StoreUrl::Secret).map_err(|_| ParseStoreUrlError::Scheme)
}

impl fmt::Display for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
            Self::Postgres(url) => f.write_str(url),
            Self::Secret(reference) => reference.fmt(f),
        }
    }
}

impl FromStr for StoreUrl {
    type Err = ParseStoreUrlError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse(text, false)
    }
}

impl TryFrom<String> for StoreUrl {
    type Error = ParseStoreUrlError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<StoreUrl> for String {
    fn from(url: StoreUrl) -> Self {
        url.to_string()
    }
}

impl JsonSchema for StoreUrl {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "StoreUrl".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^(sqlite:|postgres(ql)?://|env:|file:/)" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_survives_being_printed() {
        for text in
            ["sqlite:paddock.db", "postgres://paddock@db:5432/paddock?sslmode=require", "env:DATABASE_URL"]
        {
            assert_eq!(text.parse::<StoreUrl>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_password_in_the_url_is_refused_without_repeating_it() {
        let error = "postgres://paddock:hunter2@db/paddock".parse::<StoreUrl>().unwrap_err().to_string();
        assert!(error.contains("store.password") && !error.contains("hunter2"), "{error}");
    }

    #[test]
    fn what_is_not_a_store_is_refused_with_examples() {
        for text in ["", "paddock.db", "mysql://x", "sqlite:", "sqlite::memory:"] {
            let error = text.parse::<StoreUrl>().unwrap_err().to_string();
            assert!(error.contains("sqlite:paddock.db"), "{text}: {error}");
        }
        let error = "postgres://host:notaport/x".parse::<StoreUrl>().unwrap_err().to_string();
        assert!(error.contains("not a PostgreSQL URL"), "{error}");
    }

    #[test]
    fn a_url_behind_a_reference_may_hold_a_password() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("url");
        std::fs::write(&path, "postgres://paddock:hunter2@db/paddock\n").unwrap();
        let url = StoreUrl::Secret(SecretRef::File(path));
        assert!(matches!(url.resolve(), Ok(StoreUrl::Postgres(_))));
        assert!(!format!("{url:?}").contains("hunter2"));
    }
}
