//! What the tests of several modules need.

use std::sync::Arc;

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::{
    content::Content,
    entry::{Draft, Official, content_hash},
    kinds::Kinds,
    view::Supply,
};

/// An entry that was seen a second after the epoch.
pub(crate) fn draft(name: &str, version: &str) -> Draft {
    let server =
        json!({"name": name, "description": format!("What {name} does"), "version": version}).to_string();
    Draft {
        name: name.into(),
        version: version.into(),
        content: content_hash(&[server.as_bytes()]),
        haystack: format!("{name}\n\nwhat {name} does").to_lowercase().into(),
        server: server.into_bytes(),
        official: Official::default(),
        foreign: Vec::new(),
        tags: Box::default(),
        issues: Box::default(),
        first_seen_ms: 1_000,
        checked_ms: 1_000,
        kinds: Kinds::default(),
        tools: Box::default(),
        claims: Arc::default(),
        source: "test".into(),
    }
}

/// Any JSON.
pub(crate) fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[ -~]{0,8}", inner, 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// A source that gives these entries; of each name the last one is the latest.
pub(crate) fn supply(name: &str, drafts: Vec<Draft>) -> Supply {
    let mut drafts = drafts;
    drafts.sort_by(|a, b| (&a.name, &a.version).cmp(&(&b.name, &b.version)));
    let last: Vec<bool> = (0..drafts.len())
        .map(|index| drafts.get(index + 1).is_none_or(|next| next.name != drafts[index].name))
        .collect();
    let entries = drafts
        .into_iter()
        .zip(last)
        .map(|(draft, is_latest)| Arc::new(Draft { source: name.into(), ..draft }.render(is_latest, 1_000)));
    let content = Content { entries: entries.collect(), ..Content::default() };
    Supply { name: name.to_owned(), content: Arc::new(content) }
}
