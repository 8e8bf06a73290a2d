//! Cursors of the official API's lists.
//!
//! A cursor holds the query that it continues and the key of the last entry: clients that repeat nothing of their query
//! still get what they asked for. Its alphabet needs no escaping, because some clients append it as it is. Keys instead
//! of positions: whoever follows cursors while the data is swapped sees every version that stays exactly once.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};

const CHECK_LENGTH: usize = 4;
/// The longest cursor: names and versions have at most 200 and 255 characters, a search 200.
const CURSOR_LENGTH_MAX: usize = 2_000;

/// Where a list continues.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Cursor {
    /// The name of the last entry.
    #[serde(rename = "n")]
    pub(crate) name: String,
    /// Its version; empty where a list has one version of each name.
    #[serde(rename = "v", default, skip_serializing_if = "String::is_empty")]
    pub(crate) version: String,
    /// The filters that the list was asked with.
    #[serde(rename = "f", default, skip_serializing_if = "Filters::is_empty")]
    pub(crate) filters: Filters,
}

/// What a list is asked for, beside its pages.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Filters {
    /// In lower case.
    #[serde(rename = "s", skip_serializing_if = "Option::is_none")]
    pub(crate) search: Option<String>,
    #[serde(rename = "u", skip_serializing_if = "Option::is_none")]
    pub(crate) updated_since_ms: Option<i64>,
    #[serde(rename = "r", skip_serializing_if = "Option::is_none")]
    pub(crate) version: Option<String>,
    #[serde(rename = "d", skip_serializing_if = "Option::is_none")]
    pub(crate) include_deleted: Option<bool>,
}

impl Filters {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// What is not asked here is asked as there.
    pub(crate) fn or(self, other: Self) -> Self {
        Self {
            search: self.search.or(other.search),
            updated_since_ms: self.updated_since_ms.or(other.updated_since_ms),
            version: self.version.or(other.version),
            include_deleted: self.include_deleted.or(other.include_deleted),
        }
    }
}

impl Cursor {
    pub(crate) fn encode(&self) -> String {
        let json = serde_json::to_vec(self).unwrap_or_default();
        let mut bytes = check_of(&json).to_vec();
        bytes.extend_from_slice(&json);
        BASE64_URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Reads what [`Cursor::encode`] made; nothing else is a cursor.
    pub(crate) fn decode(text: &str) -> Option<Self> {
        if text.len() > CURSOR_LENGTH_MAX {
            return None;
        }
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(text).ok()?;
        let (check, json) = bytes.split_at_checked(CHECK_LENGTH)?;
        (check == check_of(json)).then(|| serde_json::from_slice(json).ok())?
    }
}

/// Keeps out accidents; what a caller may see does not depend on it.
fn check_of(json: &[u8]) -> [u8; CHECK_LENGTH] {
    let mut check = [0; CHECK_LENGTH];
    check.copy_from_slice(&blake3::hash(json).as_bytes()[..CHECK_LENGTH]);
    check
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_cursor_survives_being_appended_to_a_url_as_it_is(
            name in ".{0,40}", version in ".{0,20}", search in prop::option::of(".{0,20}"), updated_since_ms: Option<i64>
        ) {
            let filters = Filters { search, updated_since_ms, version: None, include_deleted: Some(true) };
            let cursor = Cursor { name, version, filters };
            let text = cursor.encode();
            prop_assert!(text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_'));
            prop_assert_eq!(Cursor::decode(&text), Some(cursor));
        }

        #[test]
        fn a_damaged_or_made_up_cursor_is_none(text in "[A-Za-z0-9_=+/-]{0,80}") {
            prop_assert_eq!(Cursor::decode(&text), None);
        }
    }
}
