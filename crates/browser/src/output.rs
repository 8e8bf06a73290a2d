//! Files that callers ask for instead of an answer: snapshots and pictures, in the server's data directory.

use std::{
    fs, io,
    path::{Component, Path, PathBuf},
};

use http::StatusCode;
use paddock_platform::problem::{Problem, ProblemKind};

use crate::fleet::Shared;

/// A file could not be written.
pub const OUTPUT_FAILED: ProblemKind =
    ProblemKind::new("output-failed", StatusCode::INTERNAL_SERVER_ERROR, "Output was not written");

/// Longest path of a caller, in bytes.
const PATH_SIZE_MAX: usize = 512;

/// A file that was not written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OutputError {
    #[error("`{0}` is not a path within the server's data directory")]
    Outside(String),
    #[error("cannot write {path}")]
    Write { path: PathBuf, source: io::Error },
}

impl From<OutputError> for Problem {
    fn from(error: OutputError) -> Self {
        match error {
            OutputError::Outside(_) => Self::invalid_field("path", error),
            OutputError::Write { .. } => {
                tracing::warn!(
                    error = paddock_platform::problem::error_chain(&error),
                    "output was not written"
                );
                Self::new(OUTPUT_FAILED, "the file could not be written; the server's log has the cause")
            }
        }
    }
}

/// A relative path without steps upwards. Only these stay within the directory.
fn relative(path: &str) -> Option<&Path> {
    let path = Path::new(path);
    let plain = path.components().all(|part| matches!(part, Component::Normal(_)));
    (plain && path.as_os_str().len() <= PATH_SIZE_MAX && path.file_name().is_some()).then_some(path)
}

impl Shared {
    /// Writes a file to `output/<folder>`, under the caller's name for it or one of its own. An existing file is not
    /// overwritten.
    pub(crate) async fn write_output(
        &self,
        folder: &'static str,
        name: Option<&str>,
        extension: &str,
        content: Vec<u8>,
    ) -> Result<PathBuf, OutputError> {
        let base = self.data_dir.join("output").join(folder);
        let path = if let Some(name) = name.map(str::trim).filter(|name| !name.is_empty()) {
            base.join(relative(name).ok_or_else(|| OutputError::Outside(name.to_owned()))?)
        } else {
            let moment = jiff::Timestamp::now().strftime("%Y%m%d-%H%M%S");
            let id = uuid::Uuid::now_v7().simple();
            base.join(format!("{moment}-{id}.{extension}"))
        };
        let written = path.clone();
        let write = move || {
            if let Some(parent) = written.parent() {
                fs::create_dir_all(parent)?;
            }
            let mut file = fs::OpenOptions::new().write(true).create_new(true).open(&written)?;
            io::Write::write_all(&mut file, &content)
        };
        let result =
            tokio::task::spawn_blocking(write).await.unwrap_or_else(|error| Err(io::Error::other(error)));
        match result {
            Ok(()) => Ok(path),
            Err(source) => Err(OutputError::Write { path, source }),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_paths_below_the_directory_are_taken() {
        assert!(relative("a/b.json").is_some());
        for outside in ["", "/etc/passwd", "../x", "a/../../x", "..", "./x"] {
            assert!(relative(outside).is_none(), "{outside}");
        }
    }

    proptest! {
        #[test]
        fn no_path_leads_out(name in "[a-z./\\\\]{0,20}") {
            if let Some(path) = relative(&name) {
                prop_assert!(Path::new("/data").join(path).starts_with("/data"));
            }
        }
    }
}
