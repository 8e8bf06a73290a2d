use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::{
    entry::{Draft, Official, Status},
    testing::{draft, supply},
};

fn selection(drafts: Vec<Draft>) -> Selection {
    let supply = supply("one", drafts);
    Selection::new(supply.content.entries.iter().map(Arc::clone).collect(), 1 << 20)
}

fn body(page: &Prepared) -> Value {
    serde_json::from_slice(page.bytes()).unwrap()
}

/// The servers of one page as `name@version`, and its cursor.
fn ask(selection: &Selection, query: &str) -> (Vec<String>, Option<String>) {
    let body = body(&page(selection, query, 1_000).unwrap());
    let name = |item: &Value| {
        format!(
            "{}@{}",
            item["server"]["name"].as_str().unwrap(),
            item["server"]["version"].as_str().unwrap()
        )
    };
    let names: Vec<String> = body["servers"].as_array().unwrap().iter().map(name).collect();
    assert_eq!(body["metadata"]["count"], names.len());
    (names, body["metadata"]["nextCursor"].as_str().map(str::to_owned))
}

fn names(selection: &Selection, query: &str) -> Vec<String> {
    ask(selection, query).0
}

fn with_status(name: &str, version: &str, status: Status, updated_at: &str) -> Draft {
    let official = Official { status, updated_at: Some(updated_at.to_owned()), ..Official::default() };
    Draft { official, ..draft(name, version) }
}

fn some() -> Selection {
    selection(vec![
        with_status("a.b/github", "1.0.0", Status::Active, "2026-01-01T00:00:00Z"),
        with_status("a.b/github", "1.1.0", Status::Active, "2026-02-01T00:00:00Z"),
        with_status("a.b/gone", "1.0.0", Status::Deleted, "2026-03-01T00:00:00Z"),
        with_status("a.b/old", "1.0.0", Status::Deprecated, "2025-01-01T00:00:00Z"),
    ])
}

#[test]
fn a_list_is_in_order_and_without_the_deleted() {
    assert_eq!(names(&some(), ""), ["a.b/github@1.0.0", "a.b/github@1.1.0", "a.b/old@1.0.0"]);
    assert_eq!(names(&some(), "include_deleted=true").len(), 4);
    assert_eq!(names(&some(), "version=latest"), ["a.b/github@1.1.0", "a.b/old@1.0.0"]);
    assert_eq!(names(&some(), "version=1.0.0"), ["a.b/github@1.0.0", "a.b/old@1.0.0"]);
}

#[test]
fn a_text_is_searched_in_names_and_descriptions_whatever_its_case() {
    assert_eq!(names(&some(), "search=GitHub").len(), 2);
    assert_eq!(names(&some(), "search=what+a.b%2Fold"), ["a.b/old@1.0.0"]);
    assert_eq!(names(&some(), "search=nothing"), [""; 0]);
}

#[test]
fn who_asks_for_changes_learns_of_deletions() {
    assert_eq!(names(&some(), "updated_since=2026-01-15T00:00:00Z"), ["a.b/github@1.1.0", "a.b/gone@1.0.0"]);
    assert_eq!(
        names(&some(), "updated_since=2026-03-01T00:00:00+00:00").len(),
        1,
        "a `+` that was not escaped"
    );
}

#[test]
fn a_cursor_carries_the_whole_query() {
    let drafts = (0..9).map(|index| draft(&format!("a.b/s{index}"), "1.0.0")).collect();
    let selection = selection(drafts);
    let (first, cursor) = ask(&selection, "limit=2&version=latest&search=a.b");
    assert_eq!(first, ["a.b/s0@1.0.0", "a.b/s1@1.0.0"]);
    // As clients do that append it and forget the rest.
    let cursor = cursor.unwrap();
    let (second, _) = ask(&selection, &format!("limit=2&cursor={cursor}"));
    assert_eq!(second, ["a.b/s2@1.0.0", "a.b/s3@1.0.0"]);
    let decoded = Cursor::decode(&cursor).unwrap();
    assert_eq!(decoded.filters.search.as_deref(), Some("a.b"));
    assert_eq!(decoded.filters.version.as_deref(), Some("latest"));
}

#[test]
fn bad_parameters_are_named() {
    for (query, parameter) in [
        ("limit=0", "limit"),
        ("limit=-1", "limit"),
        ("limit=many", "limit"),
        ("cursor=nonsense", "cursor"),
        ("updated_since=yesterday", "updated_since"),
        ("include_deleted=perhaps", "include_deleted"),
    ] {
        let problem = page(&some(), query, 1_000).unwrap_err();
        assert!(problem.detail.contains(parameter), "{query}: {problem}");
        assert_eq!(problem.kind.status, 400);
    }
    assert!(
        page(&some(), "limit=99999&unknown=1", 1_000).is_ok(),
        "too many is cut, what is unknown ignored"
    );
}

#[test]
fn versions_are_listed_the_newest_first() {
    let mut newer = draft("a.b/x", "1.2.0");
    newer.official.published_at = Some("2026-02-01T00:00:00Z".to_owned());
    let mut older = draft("a.b/x", "1.10.0");
    older.official.published_at = Some("2026-01-01T00:00:00Z".to_owned());
    let selection = selection(vec![newer, older]);
    let body = body(&versions_page(&selection, "a.b/x", "").unwrap().unwrap());
    let versions: Vec<&str> = body["servers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| item["server"]["version"].as_str().unwrap())
        .collect();
    assert_eq!(versions, ["1.2.0", "1.10.0"]);
    assert!(versions_page(&selection, "a.b/y", "").unwrap().is_none());
    assert!(versions_page(&some(), "a.b/gone", "").unwrap().is_none());
    assert!(versions_page(&some(), "a.b/gone", "include_deleted=true").unwrap().is_some());
}

#[test]
fn a_page_is_made_once() {
    let selection = some();
    let (first, again) = (page(&selection, "limit=2", 10).unwrap(), page(&selection, "limit=2", 10).unwrap());
    assert!(Arc::ptr_eq(&first, &again));
}

/// Follows cursors; `swap` gives the selection to ask next.
fn follow(
    mut selection: Selection,
    query: &str,
    mut swap: impl FnMut(usize) -> Option<Selection>,
) -> Vec<String> {
    let (mut seen, mut query) = (Vec::new(), query.to_owned());
    for step in 0.. {
        let (names, cursor) = ask(&selection, &query);
        seen.extend(names);
        let Some(cursor) = cursor else { break };
        query = format!("limit=3&cursor={cursor}");
        if let Some(next) = swap(step) {
            selection = next;
        }
    }
    seen
}

fn drafts_of(set: &BTreeMap<u8, u8>) -> Vec<Draft> {
    set.iter()
        .flat_map(|(name, versions)| {
            (0..=*versions).map(move |version| draft(&format!("a.b/n{name:03}"), &format!("{version}.0.0")))
        })
        .collect()
}

proptest! {
    #[test]
    fn following_cursors_shows_every_version_once(
        set in prop::collection::btree_map(any::<u8>(), 0_u8..3, 0..20), limit in 1_usize..7
    ) {
        let all = selection(drafts_of(&set));
        let expected: Vec<String> =
            all.entries.iter().map(|entry| format!("{}@{}", entry.name, entry.version)).collect();
        let seen = follow(selection(drafts_of(&set)), &format!("limit={limit}"), |_| None);
        prop_assert_eq!(seen, expected);
    }

    /// While entries come and go with every page, those that stay are seen exactly once, and nothing twice.
    #[test]
    fn what_stays_is_seen_once_while_the_data_is_swapped(
        sets in prop::collection::vec(prop::collection::btree_map(any::<u8>(), 0_u8..3, 0..20), 1..8), latest: bool
    ) {
        let query = if latest { "limit=3&version=latest" } else { "limit=3" };
        let seen = follow(selection(drafts_of(&sets[0])), query, |step| {
            Some(selection(drafts_of(&sets[(step + 1) % sets.len()])))
        });
        let key = |text: &String| if latest { text.split('@').next().unwrap().to_owned() } else { text.clone() };
        let mut unique: Vec<String> = seen.iter().map(key).collect();
        unique.sort();
        unique.dedup();
        prop_assert_eq!(unique.len(), seen.len(), "{:?}", seen);
        for (name, versions) in &sets[0] {
            let stays = sets.iter().all(|set| set.get(name) == Some(versions));
            let shown = seen.iter().filter(|text| text.starts_with(&format!("a.b/n{name:03}@"))).count();
            let expected = if latest { 1 } else { usize::from(*versions) + 1 };
            prop_assert!(!stays || shown == expected, "{} was shown {} times", name, shown);
        }
    }

    #[test]
    fn no_query_makes_it_panic(query in "[a-z_=&%+0-9]{0,60}") {
        let _ = page(&some(), &query, 100);
        let _ = versions_page(&some(), "a.b/old", &query);
    }
}
