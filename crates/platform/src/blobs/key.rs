//! Names of blobs.

use std::{fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize};

/// The longest key.
const KEY_LEN_MAX: usize = 512;
/// The types that blobs have, by extension.
const CONTENT_TYPES: [(&str, &str); 20] = [
    ("bin", "application/octet-stream"),
    ("css", "text/css; charset=utf-8"),
    ("csv", "text/csv; charset=utf-8"),
    ("gif", "image/gif"),
    ("gz", "application/gzip"),
    ("html", "text/html; charset=utf-8"),
    ("jpg", "image/jpeg"),
    ("js", "text/javascript; charset=utf-8"),
    ("json", "application/json"),
    ("jsonl", "application/jsonl"),
    ("md", "text/markdown; charset=utf-8"),
    ("pdf", "application/pdf"),
    ("png", "image/png"),
    ("svg", "image/svg+xml"),
    ("txt", "text/plain; charset=utf-8"),
    ("wasm", "application/wasm"),
    ("webm", "video/webm"),
    ("webp", "image/webp"),
    ("zip", "application/zip"),
    ("zst", "application/zstd"),
];

/// Names a blob: `area/…/name.extension`. Segments are of `A-Z a-z 0-9 . _ -` and do not begin with a dot, so that no
/// key leaves its directory; the extension is one that has a content type. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BlobKey {
    text: Arc<str>,
}

/// A text that is not a blob's key.
#[derive(Debug, thiserror::Error)]
#[error(
    "`{0}` is not a blob's key; write `area/…/name.extension` of A-Z, a-z, 0-9, `.`, `_` and `-`, with one of these extensions: {list}",
    list = CONTENT_TYPES.map(|(extension, _)| extension).join(", ")
)]
pub struct ParseBlobKeyError(String);

impl BlobKey {
    /// The key as text.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The media type that the extension stands for.
    pub fn content_type(&self) -> &'static str {
        content_type(&self.text).unwrap_or("application/octet-stream")
    }
}

fn content_type(key: &str) -> Option<&'static str> {
    let (_, name) = key.rsplit_once('/')?;
    let (_, extension) = name.rsplit_once('.')?;
    CONTENT_TYPES.iter().find(|(known, _)| *known == extension).map(|(_, content_type)| *content_type)
}

impl FromStr for BlobKey {
    type Err = ParseBlobKeyError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_segment = |segment: &str| {
            !segment.is_empty()
                && !segment.starts_with('.')
                && segment.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
        };
        let valid =
            text.len() <= KEY_LEN_MAX && text.split('/').all(is_segment) && content_type(text).is_some();
        if valid { Ok(Self { text: Arc::from(text) }) } else { Err(ParseBlobKeyError(text.to_owned())) }
    }
}

impl TryFrom<String> for BlobKey {
    type Error = ParseBlobKeyError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<BlobKey> for String {
    fn from(key: BlobKey) -> Self {
        key.text.as_ref().to_owned()
    }
}

impl fmt::Display for BlobKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_key_knows_its_content_type() {
        for (key, expected) in [
            ("analysis/1/report.html", "text/html; charset=utf-8"),
            ("analysis/1/desktop.full.png", "image/png"),
            ("browser/download.bin", "application/octet-stream"),
        ] {
            assert_eq!(key.parse::<BlobKey>().unwrap().content_type(), expected);
        }
    }

    #[test]
    fn a_key_that_leaves_its_directory_or_has_no_type_is_refused() {
        for key in [
            "",
            "report.html",
            "a/../b.png",
            "/a/b.png",
            "a//b.png",
            "a/b",
            "a/.png",
            "a/b.exe",
            "a/ü.png",
            "a/b.png/",
        ] {
            assert!(key.parse::<BlobKey>().is_err(), "{key}");
        }
        assert!(format!("a/{}.png", "x".repeat(600)).parse::<BlobKey>().is_err());
    }

    proptest! {
        #[test]
        fn a_key_stays_below_its_directory(key in "[a./\\\\é-]{1,20}\\.png") {
            if let Ok(key) = key.parse::<BlobKey>() {
                prop_assert!(key.as_str().split('/').all(|segment| !segment.starts_with('.') && !segment.is_empty()));
                prop_assert!(!key.as_str().contains('\\'));
            }
        }
    }
}
