use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::{entry::OFFICIAL_META, format::split};

fn server(name: &str, version: &str, description: &str) -> Value {
    json!({"name": name, "version": version, "description": description})
}

fn listed(server: &Value, official: &Value) -> Value {
    json!({"server": server, "_meta": {OFFICIAL_META: official}})
}

struct Source {
    content: Content,
    now_ms: i64,
    filter: Filter,
    strict: bool,
    afresh: bool,
}

impl Source {
    fn new() -> Self {
        Self {
            content: Content::default(),
            now_ms: 1_000,
            filter: Filter::default(),
            strict: false,
            afresh: false,
        }
    }

    fn take(&mut self, items: &[Value], is_update: bool) -> Difference {
        self.now_ms += 1_000;
        let text = json!({"servers": items}).to_string();
        let reading = Reading {
            source: "s".into(),
            claims: Arc::default(),
            size_max: 100_000,
            strict: self.strict,
            now_ms: self.now_ms,
        };
        let (filter, afresh) = (&self.filter, self.afresh);
        let rules = Rules { reading: &reading, filter, entries_max: 1_000, is_update, afresh };
        let (content, difference) = self.content.next(&split(text.as_bytes()).unwrap(), &rules).unwrap();
        self.content = content;
        difference
    }

    fn sync(&mut self, items: &[Value]) -> Difference {
        self.take(items, false)
    }

    fn latest(&self, name: &str) -> Vec<&str> {
        let latest = self.content.entries.iter().filter(|entry| entry.is_latest && *entry.name == *name);
        latest.map(|entry| entry.version.as_ref()).collect()
    }
}

#[test]
fn a_difference_tells_what_was_added_changed_and_removed() {
    let mut source = Source::new();
    let (a, b) = (server("a.b/a", "1.0.0", "one"), server("a.b/b", "1.0.0", "one"));
    let first = source.sync(&[b.clone(), a.clone()]);
    assert_eq!((first.added, first.changed, first.removed), (2, 0, 0));
    assert!(source.sync(&[a, b]).is_empty(), "the order does not matter");
    let next = source.sync(&[server("a.b/a", "1.0.0", "two"), server("a.b/c", "1.0.0", "one")]);
    assert_eq!(next.added_names, ["a.b/c@1.0.0"]);
    assert_eq!(next.changed_names, ["a.b/a@1.0.0"]);
    assert_eq!(next.removed_names, ["a.b/b@1.0.0"]);
}

#[test]
fn what_did_not_change_is_shared_with_what_was_before() {
    let mut source = Source::new();
    source.sync(&[server("a.b/a", "1.0.0", "one"), server("a.b/b", "1.0.0", "one")]);
    let before = source.content.clone();
    source.sync(&[server("a.b/a", "1.0.0", "one"), server("a.b/b", "1.0.0", "two")]);
    assert!(Arc::ptr_eq(&before.entries[0], &source.content.entries[0]));
    assert!(!Arc::ptr_eq(&before.entries[1], &source.content.entries[1]));
}

#[test]
fn an_entry_keeps_the_time_it_was_first_seen_and_gets_the_time_it_changed() {
    let mut source = Source::new();
    source.sync(&[server("a.b/a", "1.0.0", "one")]);
    source.sync(&[server("a.b/a", "1.0.0", "two")]);
    let entry = &source.content.entries[0];
    assert_eq!((entry.first_seen_ms, entry.published_ms, entry.updated_ms), (2_000, 2_000, 3_000));
}

#[test]
fn an_entry_that_is_read_again_is_no_news_unless_something_else_is_wrong_with_it() {
    let mut source = Source::new();
    let (plain, other) = (server("a.b/a", "1.0.0", "one"), server("a.b/a", "1.0.0", "two"));
    source.sync(std::slice::from_ref(&plain));
    source.afresh = true;
    assert!(source.sync(&[plain]).is_empty());
    assert_eq!(source.content.entries[0].checked_ms, 2_000);
    source.sync(&[other]);
    assert_eq!(source.content.entries[0].checked_ms, 4_000);
}

#[test]
fn one_version_of_each_name_is_the_latest() {
    let mut source = Source::new();
    source.sync(&[server("a.b/a", "1.9.0", "x"), server("a.b/a", "1.10.0", "x"), server("a.b/b", "1", "x")]);
    assert_eq!(source.latest("a.b/a"), ["1.10.0"]);
    assert_eq!(source.latest("a.b/b"), ["1"]);
    source.sync(&[server("a.b/a", "1.9.0", "x")]);
    assert_eq!(source.latest("a.b/a"), ["1.9.0"]);
}

#[test]
fn upstreams_word_for_the_latest_counts_unless_it_is_deleted() {
    let mut source = Source::new();
    let at = "2025-01-01T00:00:00Z";
    let official =
        |status: &str, is_latest| json!({"status": status, "publishedAt": at, "isLatest": is_latest});
    let older = listed(&server("a.b/a", "1.0.0", "x"), &official("active", true));
    let newer = listed(&server("a.b/a", "2.0.0", "x"), &official("active", false));
    source.sync(&[older, newer.clone()]);
    assert_eq!(source.latest("a.b/a"), ["1.0.0"]);
    let withdrawn = listed(&server("a.b/a", "1.0.0", "x"), &official("deleted", true));
    source.sync(&[withdrawn, newer]);
    assert_eq!(source.latest("a.b/a"), ["2.0.0"]);
}

#[test]
fn a_duplicate_version_is_kept_out_and_the_first_one_taken() {
    let mut source = Source::new();
    source.sync(&[server("a.b/a", "1.0.0", "first"), server("a.b/a", "1.0.0", "second")]);
    assert_eq!(source.content.entries.len(), 1);
    assert!(String::from_utf8_lossy(source.content.entries[0].server()).contains("first"));
    assert_eq!(source.content.refused[0].issues[0].reference, "duplicate-version");
}

#[test]
fn bad_entries_leave_the_good_ones_alone() {
    let mut source = Source::new();
    source.sync(&[json!(7), server("bad", "1", "x"), server("a.b/a", "1", "x"), json!({"name": "a.b/c"})]);
    assert_eq!(source.content.entries.len(), 1);
    assert_eq!(source.content.refused_count, 3);
}

#[test]
fn an_update_changes_what_it_names_and_keeps_the_rest() {
    let mut source = Source::new();
    source.sync(&[server("a.b/a", "1.0.0", "x"), server("a.b/b", "1.0.0", "x")]);
    let official = json!({"status": "deleted", "publishedAt": "2025-01-01T00:00:00Z"});
    let withdrawn = listed(&server("a.b/a", "1.0.0", "x"), &official);
    let difference = source.take(&[withdrawn, server("a.b/b", "2.0.0", "x")], true);
    assert_eq!((difference.added, difference.changed, difference.removed), (1, 2, 0));
    assert_eq!(source.content.entries.len(), 3);
    assert!(source.content.entries[0].is_deleted());
    assert_eq!(source.latest("a.b/b"), ["2.0.0"]);
}

#[test]
fn only_the_latest_versions_pass_where_that_is_asked() {
    let mut source = Source::new();
    source.filter.latest_only = true;
    source.sync(&[server("a.b/a", "1.0.0", "x"), server("a.b/a", "2.0.0", "x")]);
    assert_eq!(source.content.entries.len(), 1);
    assert_eq!(source.latest("a.b/a"), ["2.0.0"]);
}

#[test]
fn too_many_entries_are_refused_as_a_whole() {
    let items: Vec<Value> = (0..1_001).map(|index| server(&format!("a.b/s{index}"), "1", "x")).collect();
    let text = json!({"servers": items}).to_string();
    let reading =
        Reading { source: "s".into(), claims: Arc::default(), size_max: 1_000, strict: false, now_ms: 1 };
    let filter = Filter::default();
    let rules =
        Rules { reading: &reading, filter: &filter, entries_max: 1_000, is_update: false, afresh: false };
    assert!(Content::default().next(&split(text.as_bytes()).unwrap(), &rules).is_err());
}

proptest! {
    /// However a source changes, what it gives is what reading it from nothing gives, but for the times.
    #[test]
    fn content_does_not_depend_on_its_history(
        steps in prop::collection::vec(prop::collection::btree_map((0_u8..4, 0_u8..3), 0_u8..3, 0..8), 1..5)
    ) {
        let mut source = Source::new();
        let mut last = Vec::new();
        for step in &steps {
            last = step
                .iter()
                .map(|((name, version), text)| server(&format!("a.b/n{name}"), &format!("{version}.0.0"), &format!("t{text}")))
                .collect::<Vec<_>>();
            let before = source.content.clone();
            let difference = source.sync(&last);
            prop_assert_eq!(before.entries.len() + difference.added - difference.removed, source.content.entries.len());
        }
        let mut fresh = Source::new();
        fresh.sync(&last);
        let facts = |source: &Source| -> Vec<_> {
            let entries = source.content.entries.iter();
            entries.map(|entry| (entry.name.clone(), entry.version.clone(), entry.server().to_vec())).collect()
        };
        prop_assert_eq!(facts(&source), facts(&fresh));
        let names: BTreeSet<_> = source.content.entries.iter().map(|entry| entry.name.clone()).collect();
        for name in names {
            prop_assert_eq!(source.latest(&name).len(), 1);
        }
    }
}
