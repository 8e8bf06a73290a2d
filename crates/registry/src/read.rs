//! Reads one part of a source's content: what it is called, what it says, and what is wrong with it.

use std::{borrow::Cow, sync::Arc};

use serde::{Deserialize, Serialize};
use serde_json::{Value, value::RawValue};

use crate::{
    claims::Claims,
    entry::{
        ContentHash, Draft, OFFICIAL_META, Official, PADDOCK_META, Status, compact, content_hash, millis,
    },
    format::Part,
    kinds::Kinds,
    validate::{Issue, PUBLISHER_META, issues_of, schema_name},
};

/// The longest version.
const VERSION_LENGTH_MAX: usize = 255;
/// How much text of tools is kept of an entry, for the search.
const TOOLS_LENGTH_MAX: usize = 8 << 10;
/// How many tags of an entry are kept.
const TAGS_MAX: usize = 64;

/// What holds for all entries of a source.
#[derive(Clone, Debug)]
pub(crate) struct Reading {
    pub(crate) source: Arc<str>,
    pub(crate) claims: Arc<Claims>,
    pub(crate) size_max: usize,
    pub(crate) strict: bool,
    pub(crate) now_ms: i64,
}

/// What Paddock said of an entry itself, when it kept it, in milliseconds since 1970.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Own {
    pub(crate) first_seen: Option<i64>,
    pub(crate) changed: Option<i64>,
    pub(crate) checked: Option<i64>,
}

/// An entry that is kept out, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Refused {
    /// Its name, as far as it has one.
    pub(crate) name: String,
    /// Its version, as far as it has one.
    pub(crate) version: String,
    pub(crate) issues: Vec<Issue>,
}

impl Refused {
    pub(crate) fn new(name: &str, version: &str, reference: &str, message: impl Into<String>) -> Self {
        let issues = vec![Issue::entry(reference, message)];
        Self { name: name.to_owned(), version: version.to_owned(), issues }
    }
}

/// The official metadata as it comes over the wire; `snake_case` is how the API began.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Wire<'a> {
    #[serde(borrow)]
    status: Option<Cow<'a, str>>,
    #[serde(borrow)]
    status_message: Option<Cow<'a, str>>,
    #[serde(borrow)]
    status_changed_at: Option<Cow<'a, str>>,
    #[serde(borrow, alias = "published_at")]
    published_at: Option<Cow<'a, str>>,
    #[serde(borrow, alias = "updated_at")]
    updated_at: Option<Cow<'a, str>>,
    #[serde(alias = "is_latest")]
    is_latest: Option<bool>,
}

/// What tells whether a part has changed since it was read.
pub(crate) fn hash_of(part: &Part<'_>) -> ContentHash {
    let claims = part.claims.as_ref().and_then(|claims| serde_json::to_vec(claims).ok()).unwrap_or_default();
    content_hash(&[part.server.as_bytes(), part.meta.as_deref().unwrap_or_default().as_bytes(), &claims])
}

/// Reads a part. Entries that clients cannot read are refused, and, where the reading is strict, all that break a rule.
pub(crate) fn read(part: &Part<'_>, content: ContentHash, reading: &Reading) -> Result<Draft, Refused> {
    let server: Value = serde_json::from_str(&part.server)
        .map_err(|error| Refused::new("", "", "not-json", format!("is not JSON: {error}")))?;
    let text = |member: &str| server[member].as_str().unwrap_or_default();
    let (name, version) = (text("name"), text("version"));
    if let Some((reference, message)) = unreadable(&server, &part.server, reading) {
        return Err(Refused::new(name, version, reference, message));
    }
    let issues = issues_of(&server);
    if reading.strict && !issues.is_empty() {
        return Err(Refused { name: name.to_owned(), version: version.to_owned(), issues });
    }
    let (official, foreign, _) = meta_of(part.meta.as_deref());
    let haystack = format!("{name}\n{}\n{}", text("title"), text("description")).to_lowercase();
    Ok(Draft {
        name: name.into(),
        version: version.into(),
        server: compact(&part.server),
        official,
        foreign,
        haystack: haystack.into(),
        tags: tags_of(&server),
        content,
        issues: issues.into(),
        first_seen_ms: reading.now_ms,
        checked_ms: reading.now_ms,
        kinds: Kinds::of(&server),
        tools: tools_of(&server),
        claims: Arc::clone(part.claims.as_ref().unwrap_or(&reading.claims)),
        source: Arc::clone(&reading.source),
    })
}

/// Why clients could not read it.
fn unreadable(server: &Value, text: &str, reading: &Reading) -> Option<(&'static str, String)> {
    if text.len() > reading.size_max {
        return Some(("too-large", format!("has {} bytes, {} are the most", text.len(), reading.size_max)));
    }
    let Some(members) = server.as_object() else {
        return Some(("not-an-object", "is not an object".to_owned()));
    };
    for member in ["name", "description", "version"] {
        if members.get(member).and_then(Value::as_str).is_none_or(str::is_empty) {
            return Some(("field-required", format!("lacks `{member}`, or it is no text")));
        }
    }
    for member in ["packages", "remotes", "icons"] {
        if members.get(member).is_some_and(|value| !value.is_array()) {
            return Some(("field-mistyped", format!("`{member}` is not a list")));
        }
    }
    let (name, version) = (server["name"].as_str()?, server["version"].as_str()?);
    if name.len() > 200 || !schema_name(name) {
        return Some(("invalid-server-name", format!("`{name}` is not `namespace/name`")));
    }
    let is_version =
        version.len() <= VERSION_LENGTH_MAX && version != "latest" && !version.contains(char::is_control);
    (!is_version).then(|| ("reserved-version-string", format!("`{version}` cannot be asked for")))
}

/// What the official API says of an entry, what others do, and what a Paddock does.
pub(crate) fn meta_of(meta: Option<&str>) -> (Official, Vec<(String, Box<str>)>, Own) {
    let members: std::collections::BTreeMap<Cow<'_, str>, &RawValue> =
        meta.and_then(|meta| serde_json::from_str(meta).ok()).unwrap_or_default();
    let mut official = Official::default();
    let mut own = Own::default();
    let mut foreign = Vec::new();
    for (key, value) in members {
        match &*key {
            OFFICIAL_META => official = official_of(serde_json::from_str(value.get()).unwrap_or_default()),
            PADDOCK_META => {
                let said: Value = serde_json::from_str(value.get()).unwrap_or_default();
                own.first_seen = millis(said["firstSeenAt"].as_str());
                own.changed = millis(said["changedAt"].as_str());
                own.checked = millis(said["scan"]["checkedAt"].as_str());
            }
            _ => {
                let value = String::from_utf8(compact(value.get())).unwrap_or_default();
                foreign.push((key.into_owned(), value.into()));
            }
        }
    }
    (official, foreign, own)
}

fn official_of(wire: Wire<'_>) -> Official {
    // What is no time would break clients that parse it.
    let time =
        |text: Option<Cow<'_, str>>| text.map(Cow::into_owned).filter(|text| millis(Some(text)).is_some());
    Official {
        status: match wire.status.as_deref() {
            Some("deprecated") => Status::Deprecated,
            Some("deleted") => Status::Deleted,
            _ => Status::Active,
        },
        status_message: wire.status_message.map(Cow::into_owned).filter(|message| !message.is_empty()),
        status_changed_at: time(wire.status_changed_at),
        published_at: time(wire.published_at),
        updated_at: time(wire.updated_at),
        is_latest: wire.is_latest,
    }
}

/// The tags in the publisher's metadata: `tags` at any depth up to three.
fn tags_of(server: &Value) -> Box<[Box<str>]> {
    let mut tags = Vec::new();
    collect_tags(&server["_meta"][PUBLISHER_META], 3, &mut tags);
    tags.sort();
    tags.dedup();
    tags.truncate(TAGS_MAX);
    tags.into()
}

/// Names and descriptions of the tools in the publisher's metadata: `tools` at any depth up to four.
fn tools_of(server: &Value) -> Box<str> {
    let mut text = String::new();
    collect_tools(&server["_meta"][PUBLISHER_META], 4, &mut text);
    text.to_lowercase().into()
}

fn collect_tools(value: &Value, depth: usize, text: &mut String) {
    let Some(members) = value.as_object() else { return };
    for (key, value) in members {
        match value {
            Value::Array(items) if matches!(key.as_str(), "tools" | "tool_definitions") => {
                let texts = items.iter().flat_map(|item| [item, &item["name"], &item["description"]]);
                for part in texts.filter_map(Value::as_str) {
                    if text.len() + part.len() < TOOLS_LENGTH_MAX {
                        text.extend([part, "\n"]);
                    }
                }
            }
            Value::Object(_) if depth > 1 => collect_tools(value, depth - 1, text),
            _ => {}
        }
    }
}

fn collect_tags(value: &Value, depth: usize, tags: &mut Vec<Box<str>>) {
    let Some(members) = value.as_object() else { return };
    for (key, value) in members {
        match value {
            Value::Array(items) if key == "tags" => {
                tags.extend(items.iter().filter_map(Value::as_str).map(Box::from));
            }
            Value::Object(_) if depth > 1 => collect_tags(value, depth - 1, tags),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn reading(strict: bool) -> Reading {
        Reading { source: "s".into(), claims: Arc::default(), size_max: 10_000, strict, now_ms: 5_000 }
    }

    fn read_value(server: &Value, meta: Option<&Value>, strict: bool) -> Result<Draft, Refused> {
        let (server, meta) = (server.to_string(), meta.map(ToString::to_string));
        let part = Part { server: server.into(), meta: meta.map(Into::into), claims: None };
        read(&part, hash_of(&part), &reading(strict))
    }

    fn server() -> Value {
        json!({"name": "a.b/see", "description": "d", "version": "1.0.0"})
    }

    #[test]
    fn what_clients_cannot_read_is_refused_with_the_reason() {
        for (member, value, reference) in [
            ("name", json!(7), "field-required"),
            ("name", json!("weather"), "invalid-server-name"),
            ("description", json!(null), "field-required"),
            ("version", json!(""), "field-required"),
            ("version", json!("latest"), "reserved-version-string"),
            ("packages", json!({}), "field-mistyped"),
            ("title", json!("x".repeat(20_000)), "too-large"),
        ] {
            let mut server = server();
            server[member] = value.clone();
            let refused = read_value(&server, None, false).unwrap_err();
            assert_eq!(refused.issues[0].reference, reference, "{member} = {value}");
        }
    }

    #[test]
    fn an_entry_that_breaks_the_schema_is_marked_or_refused_as_its_source_says() {
        let mut server = server();
        server["repository"] = json!({});
        let marked = read_value(&server, None, false).unwrap();
        assert_eq!(marked.issues.len(), 2);
        let refused = read_value(&server, None, true).unwrap_err();
        assert_eq!((refused.name.as_str(), refused.issues.len()), ("a.b/see", 2));
    }

    #[test]
    fn deprecations_and_times_of_the_upstream_are_read_in_both_spellings() {
        let official =
            json!({"status": "deprecated", "statusMessage": "old", "published_at": "2025-01-01T00:00:00Z"});
        let meta = json!({OFFICIAL_META: official, "x.y/z": {"a": [1, 2]}});
        let draft = read_value(&server(), Some(&meta), false).unwrap();
        assert_eq!(draft.official.status, Status::Deprecated);
        assert_eq!(draft.official.published_at.as_deref(), Some("2025-01-01T00:00:00Z"));
        assert_eq!(draft.foreign, [("x.y/z".to_owned(), r#"{"a":[1,2]}"#.into())]);
    }

    #[test]
    fn tags_are_found_in_the_publishers_metadata() {
        let mut server = server();
        server["_meta"] =
            json!({PUBLISHER_META: {"io.example": {"image:1": {"tags": ["sql", "db", "sql"]}}}});
        assert_eq!(*read_value(&server, None, false).unwrap().tags, ["db".into(), "sql".into()]);
    }
}
