//! Which requests are meant: patterns of addresses, and filters of lists.

use schemars::JsonSchema;
use serde::Deserialize;
use utoipa::IntoParams;

use super::Entry;
use crate::ids::TabId;

/// Which requests of a tab.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, IntoParams)]
#[serde(rename_all = "camelCase", default)]
#[into_params(parameter_in = Query)]
pub struct Filter {
    /// The tab; without one, the tab that was used last.
    #[param(value_type = Option<String>)]
    pub tab_id: Option<TabId>,
    /// Part of the address; with `*`, a pattern of the whole.
    pub filter: Option<String>,
    /// HTTP method.
    pub method: Option<String>,
    /// HTTP status: `404`, `4xx` or `400-499`.
    pub status: Option<String>,
    /// Kind of resource, for example `XHR`; several are separated by commas.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// Only the last so many.
    pub limit: Option<usize>,
}

impl Filter {
    /// Whether a request is meant.
    pub fn matches(&self, entry: &Entry) -> bool {
        let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        given(&self.filter).is_none_or(|pattern| matches_url(&pattern, &entry.url))
            && given(&self.method).is_none_or(|method| method.eq_ignore_ascii_case(&entry.method))
            && given(&self.status).is_none_or(|range| matches_status(&range, entry.status))
            && given(&self.kind)
                .is_none_or(|kinds| kinds.split(',').any(|kind| is_kind(kind.trim(), &entry.resource_type)))
    }
}

/// `XHR` and `Fetch` are one to those who ask.
pub(super) fn is_kind(asked: &str, kind: &str) -> bool {
    let scripted = |kind: &str| kind.eq_ignore_ascii_case("xhr") || kind.eq_ignore_ascii_case("fetch");
    asked.eq_ignore_ascii_case(kind) || scripted(asked) && scripted(kind)
}

/// Whether an address contains the pattern, or, if that has `*` in it, is of its form as a whole.
pub(super) fn matches_url(pattern: &str, url: &str) -> bool {
    if !pattern.contains('*') {
        return url.contains(pattern);
    }
    let mut parts = pattern.split('*');
    let (first, last) = (parts.next().unwrap_or_default(), pattern.rsplit('*').next().unwrap_or_default());
    let Some(mut rest) = url.strip_prefix(first) else { return false };
    // The part after the last star is looked for at the end.
    let between: Vec<&str> = parts.collect();
    for part in between.iter().take(between.len().saturating_sub(1)) {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

fn matches_status(range: &str, status: u16) -> bool {
    if let Some(class) = range.to_ascii_lowercase().strip_suffix("xx") {
        return class.parse() == Ok(status / 100) && status > 0;
    }
    match range.split_once('-') {
        Some((from, to)) => match (from.trim().parse::<u16>(), to.trim().parse::<u16>()) {
            (Ok(from), Ok(to)) => (from..=to).contains(&status),
            _ => false,
        },
        None => range.trim().parse() == Ok(status),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_pattern_without_stars_is_a_part_of_the_address() {
        assert!(matches_url("api/users", "http://a/api/users?x=1"));
        assert!(!matches_url("api/users", "http://a/api/orders"));
    }

    #[test]
    fn stars_stand_for_anything_and_the_rest_for_itself() {
        for (pattern, url, expected) in [
            ("*.png", "http://a/x.png", true),
            ("*.png", "http://a/x.png?v=1", false),
            ("http://a/*", "http://a/x/y", true),
            ("http://a/*/z", "http://a/x/y/z", true),
            ("http://a/*/z*", "http://a/z", false),
            ("*a*a*", "aa", true),
            ("*a*a", "a", false),
            ("ab*ba", "aba", false),
            ("*", "", true),
        ] {
            assert_eq!(matches_url(pattern, url), expected, "{pattern} {url}");
        }
    }

    #[test]
    fn a_status_is_a_number_a_class_or_a_range() {
        assert!(matches_status("404", 404) && matches_status("4xx", 404) && matches_status("400-499", 404));
        assert!(!matches_status("5xx", 404) && !matches_status("200", 404) && !matches_status("x", 0));
    }

    proptest! {
        #[test]
        fn a_pattern_matches_what_it_was_made_of(parts in prop::collection::vec("[a-c/]{0,4}", 1..5), fill in "[a-c]{0,6}") {
            let (pattern, url) = (parts.join("*"), parts.join(fill.as_str()));
            prop_assert!(matches_url(&pattern, &url));
        }

        #[test]
        fn no_pattern_panics(pattern in "[a-zä*]{0,12}", url in "[a-zä]{0,12}") {
            matches_url(&pattern, &url);
        }
    }
}
