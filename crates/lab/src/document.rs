//! Reads the lab's TOML files strictly: what is wrong is said with file, line, and the nearest valid key.

use std::path::{Path, PathBuf};

use paddock_platform::config::nearest;
use serde::de::DeserializeOwned;

/// Largest file that is read; scenarios and objectives are a few KiB.
pub const DOCUMENT_SIZE_MAX: u64 = 4 << 20;

/// A TOML file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    /// The file cannot be read.
    #[error("cannot read `{}`", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The file is larger than [`DOCUMENT_SIZE_MAX`].
    #[error("`{}` has {size} bytes; at most {DOCUMENT_SIZE_MAX} are read", path.display())]
    TooLarge {
        /// Which file.
        path: PathBuf,
        /// Its size in bytes.
        size: u64,
    },
    /// The file is not TOML, or not of the expected shape.
    #[error("{}:{line}:{column}: {message}", path.display())]
    Invalid {
        /// Which file.
        path: PathBuf,
        /// Line, counted from 1.
        line: usize,
        /// Column in characters, counted from 1.
        column: usize,
        /// What is wrong there, in one line.
        message: String,
    },
}

/// Reads and parses a file. `T` refuses what it does not know (`#[serde(deny_unknown_fields)]`).
pub fn read<T: DeserializeOwned>(path: &Path) -> Result<T, DocumentError> {
    parse(path, &read_text(path)?)
}

/// Reads a file of bounded size.
pub fn read_text(path: &Path) -> Result<String, DocumentError> {
    let error = |source| DocumentError::Read { path: path.to_owned(), source };
    let size = std::fs::metadata(path).map_err(error)?.len();
    if size > DOCUMENT_SIZE_MAX {
        return Err(DocumentError::TooLarge { path: path.to_owned(), size });
    }
    std::fs::read_to_string(path).map_err(error)
}

/// Parses the text of a file; `path` is only for messages.
pub fn parse<T: DeserializeOwned>(path: &Path, text: &str) -> Result<T, DocumentError> {
    toml::from_str(text).map_err(|error| {
        let offset = error.span().map_or(0, |span| span.start);
        invalid(path, text, offset, with_nearest_key(error.message()))
    })
}

/// An error at a byte offset of the text, for what is found wrong after parsing (see `toml::Spanned`).
pub fn invalid(path: &Path, text: &str, offset: usize, message: String) -> DocumentError {
    let (line, column) = position(text, offset);
    DocumentError::Invalid { path: path.to_owned(), line, column, message }
}

/// Line and column, counted from 1, of a byte offset.
fn position(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    (line, column)
}

/// Turns serde's list of every field into the one that was probably meant.
fn with_nearest_key(message: &str) -> String {
    let quoted: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
    let what = if message.starts_with("unknown field") {
        "key"
    } else if message.starts_with("unknown variant") {
        "value"
    } else {
        return message.lines().collect::<Vec<_>>().join("; ");
    };
    let Some((unknown, known)) = quoted.split_first() else { return message.to_owned() };
    match nearest(unknown, known.iter().copied()) {
        Some(meant) => format!("unknown {what} `{unknown}`; did you mean `{meant}`?"),
        None => format!("unknown {what} `{unknown}`; there are `{}`", known.join("`, `")),
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only its shape matters")]
    struct Page {
        title: String,
        width: u32,
    }

    fn error(text: &str) -> String {
        parse::<Page>(Path::new("page.toml"), text).unwrap_err().to_string()
    }

    #[test]
    fn an_unknown_key_is_named_with_its_place_and_the_nearest_valid_one() {
        assert_eq!(
            error("title = \"a\"\nwidht = 3\n"),
            "page.toml:2:1: unknown key `widht`; did you mean `width`?"
        );
        assert_eq!(
            error("title = \"a\"\nwidth = 3\n zebra = 3"),
            "page.toml:3:2: unknown key `zebra`; there are `title`, `width`"
        );
    }

    #[test]
    fn a_wrong_type_and_broken_toml_are_named_with_their_place() {
        assert!(error("title = \"a\"\nwidth = \"3\"\n").starts_with("page.toml:2:9: invalid type"));
        assert!(error("title = \"ä\"\nwidth = = 3\n").starts_with("page.toml:2:9: "));
    }
}
