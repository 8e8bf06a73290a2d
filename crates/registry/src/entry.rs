//! An [`Entry`]: one version of one server, rendered once and shared by everything that serves it.

use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use paddock_platform::http::Etag;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{claims::Claims, kinds::Kinds, validate::Issue};

/// The key of what the official API says of an entry.
pub const OFFICIAL_META: &str = "io.modelcontextprotocol.registry/official";
/// The key of what Paddock adds: source, first seen, when it was checked, what is wrong with it.
pub const PADDOCK_META: &str = "dev.paddock/registry";
/// The longest message beside a status.
pub(crate) const STATUS_MESSAGE_LENGTH_MAX: usize = 500;
const OPENING: &[u8] = b"{\"server\":";

/// The first 16 bytes of a BLAKE3 hash.
pub(crate) type ContentHash = [u8; 16];

/// How an entry stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// It may be used.
    #[default]
    Active,
    /// It may be used, and something else should be.
    Deprecated,
    /// It is withdrawn: listed for those who ask for the deleted, too.
    Deleted,
}

impl Status {
    /// The name in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Deprecated => "deprecated",
            Self::Deleted => "deleted",
        }
    }
}

/// One version of one server.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) name: Arc<str>,
    pub(crate) version: Box<str>,
    /// `{"server":…,"_meta":…}`, as it is served.
    pub(crate) rendered: Bytes,
    pub(crate) etag: Etag,
    /// Where the server's own document ends in `rendered`.
    server_end: u32,
    /// Where `true` or `false` of `isLatest` stands in `rendered`.
    latest_at: u32,
    pub(crate) is_latest: bool,
    /// Whether the source said that it is the latest.
    pub(crate) upstream_latest: Option<bool>,
    pub(crate) status: Status,
    pub(crate) published_ms: i64,
    pub(crate) updated_ms: i64,
    pub(crate) first_seen_ms: i64,
    /// When it was last seen to be another.
    pub(crate) changed_ms: i64,
    /// When what is known to be wrong with it was found out.
    pub(crate) checked_ms: i64,
    /// What it runs on and speaks.
    pub(crate) kinds: Kinds,
    /// Names and descriptions of its tools, where the publisher gave them.
    pub(crate) tools: Box<str>,
    /// Name, title and description in lower case.
    pub(crate) haystack: Box<str>,
    pub(crate) tags: Box<[Box<str>]>,
    /// Of what the source gave, before it was rendered.
    pub(crate) content: ContentHash,
    /// What is wrong with it, though it is served.
    pub(crate) issues: Box<[Issue]>,
    /// What a caller must claim to see it.
    pub(crate) claims: Arc<Claims>,
    pub(crate) source: Arc<str>,
}

/// What the official API says of an entry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Official {
    pub(crate) status: Status,
    pub(crate) status_message: Option<String>,
    pub(crate) status_changed_at: Option<String>,
    pub(crate) published_at: Option<String>,
    pub(crate) updated_at: Option<String>,
    pub(crate) is_latest: Option<bool>,
}

/// An entry before it is rendered.
#[derive(Clone, Debug)]
pub(crate) struct Draft {
    pub(crate) name: Arc<str>,
    pub(crate) version: Box<str>,
    /// The server's document without white space between its tokens.
    pub(crate) server: Vec<u8>,
    pub(crate) official: Official,
    /// What others said of it, by their keys, as it came.
    pub(crate) foreign: Vec<(String, Box<str>)>,
    pub(crate) haystack: Box<str>,
    pub(crate) tags: Box<[Box<str>]>,
    pub(crate) content: ContentHash,
    pub(crate) issues: Box<[Issue]>,
    pub(crate) first_seen_ms: i64,
    pub(crate) checked_ms: i64,
    pub(crate) kinds: Kinds,
    pub(crate) tools: Box<str>,
    pub(crate) claims: Arc<Claims>,
    pub(crate) source: Arc<str>,
}

impl Entry {
    /// The server's document.
    pub(crate) fn server(&self) -> &[u8] {
        self.rendered.get(OPENING.len()..self.server_end as usize).unwrap_or_default()
    }

    pub(crate) fn is_deleted(&self) -> bool {
        self.status == Status::Deleted
    }

    /// The same entry as (not) the latest version.
    pub(crate) fn with_latest(self: &Arc<Self>, is_latest: bool) -> Arc<Self> {
        if self.is_latest == is_latest {
            return Arc::clone(self);
        }
        let at = self.latest_at as usize;
        let (old, new) = if is_latest { ("false", "true") } else { ("true", "false") };
        let mut rendered = Vec::with_capacity(self.rendered.len() + 1);
        rendered.extend_from_slice(&self.rendered[..at]);
        rendered.extend_from_slice(new.as_bytes());
        rendered.extend_from_slice(&self.rendered[at + old.len()..]);
        let mut flipped = Self::clone(self);
        flipped.etag = Etag::of(&rendered);
        flipped.rendered = rendered.into();
        flipped.is_latest = is_latest;
        Arc::new(flipped)
    }
}

impl Draft {
    /// When it was published, in milliseconds since 1970.
    pub(crate) fn published_ms(&self) -> i64 {
        millis(self.official.published_at.as_deref()).unwrap_or(self.first_seen_ms)
    }

    /// Makes the entry. What its source does not say of its times is when Paddock saw it first, and saw it change.
    pub(crate) fn render(self, is_latest: bool, changed_ms: i64) -> Entry {
        let first_seen = Timestamp::from_millisecond(self.first_seen_ms).unwrap_or_default().to_string();
        let changed = Timestamp::from_millisecond(changed_ms).unwrap_or_default().to_string();
        let checked = Timestamp::from_millisecond(self.checked_ms).unwrap_or_default().to_string();
        let official = &self.official;
        let published_at = official.published_at.as_deref().unwrap_or(&first_seen);
        let updated_at =
            official.updated_at.as_deref().or(official.published_at.as_deref()).unwrap_or(&changed);
        let status_changed_at = official.status_changed_at.as_deref().unwrap_or(published_at);

        let mut out = Vec::with_capacity(self.server.len() + 512);
        out.extend_from_slice(OPENING);
        out.extend_from_slice(&self.server);
        let server_end = out.len() as u32;
        out.extend_from_slice(b",\"_meta\":{");
        for (key, value) in &self.foreign {
            write_text(&mut out, key);
            out.push(b':');
            out.extend_from_slice(value.as_bytes());
            out.push(b',');
        }
        write_key(&mut out, PADDOCK_META);
        out.extend_from_slice(b"{\"source\":");
        write_text(&mut out, &self.source);
        out.extend_from_slice(b",\"firstSeenAt\":");
        write_text(&mut out, &first_seen);
        out.extend_from_slice(b",\"changedAt\":");
        write_text(&mut out, &changed);
        out.extend_from_slice(b",\"scan\":{\"checkedAt\":");
        write_text(&mut out, &checked);
        out.extend_from_slice(format!(",\"issues\":{}}}", self.issues.len()).as_bytes());
        if !self.issues.is_empty() {
            out.extend_from_slice(b",\"quarantine\":");
            out.extend(serde_json::to_vec(&self.issues).unwrap_or_else(|_| b"[]".to_vec()));
        }
        out.extend_from_slice(b"},");
        write_key(&mut out, OFFICIAL_META);
        out.extend_from_slice(b"{\"status\":");
        write_text(&mut out, official.status.as_str());
        if let Some(message) = &official.status_message {
            out.extend_from_slice(b",\"statusMessage\":");
            write_text(&mut out, message);
        }
        for (key, value) in
            [("statusChangedAt", status_changed_at), ("publishedAt", published_at), ("updatedAt", updated_at)]
        {
            out.push(b',');
            write_key(&mut out, key);
            write_text(&mut out, value);
        }
        out.extend_from_slice(b",\"isLatest\":");
        let latest_at = out.len() as u32;
        out.extend_from_slice(if is_latest { b"true" } else { b"false" });
        out.extend_from_slice(b"}}}");
        Entry {
            etag: Etag::of(&out),
            server_end,
            latest_at,
            is_latest,
            upstream_latest: official.is_latest,
            status: official.status,
            published_ms: millis(Some(published_at)).unwrap_or(self.first_seen_ms),
            updated_ms: millis(Some(updated_at)).unwrap_or(changed_ms),
            rendered: out.into(),
            name: self.name,
            version: self.version,
            first_seen_ms: self.first_seen_ms,
            changed_ms,
            checked_ms: self.checked_ms,
            kinds: self.kinds,
            tools: self.tools,
            haystack: self.haystack,
            tags: self.tags,
            content: self.content,
            issues: self.issues,
            claims: self.claims,
            source: self.source,
        }
    }
}

/// A time of RFC 3339 in milliseconds since 1970.
pub(crate) fn millis(text: Option<&str>) -> Option<i64> {
    text?.parse::<Timestamp>().ok().map(Timestamp::as_millisecond)
}

fn write_key(out: &mut Vec<u8>, key: &str) {
    write_text(out, key);
    out.push(b':');
}

/// Most texts need no escaping.
fn write_text(out: &mut Vec<u8>, text: &str) {
    if text.bytes().all(|byte| byte >= 0x20 && byte != b'"' && byte != b'\\') {
        out.push(b'"');
        out.extend_from_slice(text.as_bytes());
        out.push(b'"');
    } else {
        out.extend(serde_json::to_vec(text).unwrap_or_else(|_| b"\"\"".to_vec()));
    }
}

/// The hash that tells whether content has changed.
pub(crate) fn content_hash(parts: &[&[u8]]) -> ContentHash {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        hasher.update(part);
        // Parts must not run into each other.
        hasher.update(&[0]);
    }
    let mut hash = [0; 16];
    hash.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
    hash
}

/// JSON without the white space between its tokens; the tokens stay as they are, byte for byte.
pub(crate) fn compact(json: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(json.len());
    let (mut in_text, mut escaped) = (false, false);
    for &byte in json.as_bytes() {
        if in_text {
            out.push(byte);
            (in_text, escaped) = (escaped || byte != b'"', !escaped && byte == b'\\');
        } else if !matches!(byte, b' ' | b'\n' | b'\r' | b'\t') {
            out.push(byte);
            in_text = byte == b'"';
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::testing::{draft, json_value};

    #[test]
    fn an_entry_carries_the_whole_of_the_official_metadata() {
        let entry = draft("com.example/weather", "1.0.0").render(true, 2_000);
        let value: Value = serde_json::from_slice(&entry.rendered).unwrap();
        let official = &value["_meta"][OFFICIAL_META];
        assert_eq!(
            *official,
            json!({
                "status": "active", "statusChangedAt": "1970-01-01T00:00:01Z", "publishedAt": "1970-01-01T00:00:01Z",
                "updatedAt": "1970-01-01T00:00:02Z", "isLatest": true,
            })
        );
        assert_eq!(
            value["_meta"][PADDOCK_META],
            json!({
                "source": "test", "firstSeenAt": "1970-01-01T00:00:01Z", "changedAt": "1970-01-01T00:00:02Z",
                "scan": {"checkedAt": "1970-01-01T00:00:01Z", "issues": 0},
            })
        );
        assert_eq!(entry.server(), value["server"].to_string().as_bytes());
    }

    #[test]
    fn an_entry_that_is_no_longer_the_latest_says_so_and_nothing_else() {
        let entry = Arc::new(draft("com.example/weather", "1.0.0").render(true, 2_000));
        let older = entry.with_latest(false);
        assert_ne!(entry.etag, older.etag);
        let text = String::from_utf8(entry.rendered.to_vec()).unwrap();
        assert_eq!(older.rendered, text.replace("\"isLatest\":true", "\"isLatest\":false"));
        assert_eq!(older.with_latest(true).rendered, entry.rendered);
        assert!(Arc::ptr_eq(&older, &older.with_latest(false)));
    }

    #[test]
    fn what_upstream_said_is_kept_as_it_was_said() {
        let mut draft = draft("com.example/weather", "1.0.0");
        draft.official = Official {
            status: Status::Deprecated,
            status_message: Some("use \"other\"".to_owned()),
            published_at: Some("2025-10-09T17:05:17.793149Z".to_owned()),
            ..Official::default()
        };
        draft.foreign = vec![("com.example/rating".to_owned(), "{\"stars\": 5}".into())];
        let entry = draft.render(false, 2_000);
        let value: Value = serde_json::from_slice(&entry.rendered).unwrap();
        assert_eq!(value["_meta"]["com.example/rating"]["stars"], 5);
        let official = &value["_meta"][OFFICIAL_META];
        assert_eq!(official["statusMessage"], "use \"other\"");
        assert_eq!(official["publishedAt"], "2025-10-09T17:05:17.793149Z");
        assert_eq!(entry.published_ms, 1_760_029_517_793);
    }

    proptest! {
        #[test]
        fn compacting_changes_white_space_only(value in json_value()) {
            let pretty = serde_json::to_string_pretty(&value).unwrap();
            prop_assert_eq!(compact(&pretty), value.to_string().into_bytes());
        }
    }
}
