//! References to secrets, so that a configuration never holds one.

use std::{fmt, io::Read, path::PathBuf, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// The largest secret that is read from a file.
const SECRET_SIZE_MAX: u64 = 64 << 10;

/// Where a secret is: `env:NAME` or `file:/path`. Read when it is needed, so that a rotated secret is found.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum SecretRef {
    /// An environment variable of the server.
    Env(String),
    /// A file; one trailing line break is not part of the secret.
    File(PathBuf),
}

/// A secret was written where a reference to one belongs. Does not repeat the text: it may be the secret.
#[derive(Debug, thiserror::Error)]
#[error("a secret is never written here; write `env:NAME` or `file:/path`, which say where it is")]
pub struct ParseSecretError;

/// A secret cannot be read from where the configuration says it is.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The variable is not set, or not text.
    #[error("the environment variable `{0}`, which should hold a secret, is not set")]
    Env(String),
    /// The file cannot be read.
    #[error("cannot read the secret in {}", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// There is nothing in it.
    #[error("the secret `{0}` is empty")]
    Empty(SecretRef),
}

/// A secret in memory. It cannot be printed by accident.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// A secret that is at hand already.
    pub fn new(secret: impl Into<String>) -> Self {
        Self(secret.into())
    }

    /// The secret itself, for the one call that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl SecretRef {
    /// Reads the secret.
    pub fn resolve(&self) -> Result<Secret, SecretError> {
        let secret = match self {
            Self::Env(name) => std::env::var(name).map_err(|_| SecretError::Env(name.clone()))?,
            Self::File(path) => {
                let mut text = String::new();
                std::fs::File::open(path)
                    .and_then(|file| file.take(SECRET_SIZE_MAX).read_to_string(&mut text))
                    .map_err(|source| SecretError::File { path: path.clone(), source })?;
                let line = text.strip_suffix('\n').unwrap_or(&text);
                line.strip_suffix('\r').unwrap_or(line).to_owned()
            }
        };
        if secret.is_empty() { Err(SecretError::Empty(self.clone())) } else { Ok(Secret(secret)) }
    }
}

impl fmt::Display for SecretRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Env(name) => write!(f, "env:{name}"),
            Self::File(path) => write!(f, "file:{}", path.display()),
        }
    }
}

impl FromStr for SecretRef {
    type Err = ParseSecretError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_name =
            |name: &str| !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        match text.split_once(':') {
            Some(("env", name)) if is_name(name) => Ok(Self::Env(name.to_owned())),
            Some(("file", path)) if path.starts_with('/') => Ok(Self::File(PathBuf::from(path))),
            _ => Err(ParseSecretError),
        }
    }
}

impl TryFrom<String> for SecretRef {
    type Error = ParseSecretError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<SecretRef> for String {
    fn from(reference: SecretRef) -> Self {
        reference.to_string()
    }
}

impl JsonSchema for SecretRef {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "SecretRef".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "where a secret is: \"env:NAME\" or \"file:/path\"",
            "pattern": r"^(env:[A-Za-z0-9_]+|file:/.*)$",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_survives_being_printed() {
        for text in ["env:OPENAI_KEY", "file:/run/secrets/key"] {
            assert_eq!(text.parse::<SecretRef>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_literal_secret_is_refused_without_repeating_it() {
        for text in ["sk-live-12345", "env:", "env:A B", "file:relative", "", "https://user:pw@host"] {
            let error = text.parse::<SecretRef>().unwrap_err().to_string();
            assert!(
                error.contains("env:NAME") && (text.is_empty() || text == "env:" || !error.contains(text))
            );
        }
    }

    #[test]
    fn a_file_is_read_when_it_is_needed_and_without_its_line_break() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        let reference = SecretRef::File(path.clone());
        assert!(matches!(reference.resolve(), Err(SecretError::File { .. })));
        std::fs::write(&path, "first\n").unwrap();
        assert_eq!(reference.resolve().unwrap().expose(), "first");
        std::fs::write(&path, "rotated\r\n").unwrap();
        assert_eq!(reference.resolve().unwrap().expose(), "rotated");
        std::fs::write(&path, "\n").unwrap();
        assert!(matches!(reference.resolve(), Err(SecretError::Empty(_))));
    }

    #[test]
    fn a_missing_variable_is_named() {
        let reference: SecretRef = "env:PADDOCK_TEST_NO_SUCH_SECRET".parse().unwrap();
        assert!(reference.resolve().unwrap_err().to_string().contains("PADDOCK_TEST_NO_SUCH_SECRET"));
    }

    #[test]
    fn a_secret_is_not_printed() {
        assert!(!format!("{:?}", Secret::new("hunter2")).contains("hunter2"));
    }
}
