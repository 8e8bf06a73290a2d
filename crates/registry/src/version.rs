//! Which version is the latest.
//!
//! As the official registry decides it: versions are published one after the other, and each takes the place of the
//! latest one if it is greater by semantic versioning, or if one of the two is no semantic version at all.

use semver::Version;

/// A version in the order of publication.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Published<'a> {
    pub(crate) version: &'a str,
    /// When, in milliseconds since 1970.
    pub(crate) at_ms: i64,
}

/// The position of the latest version; none if there is no version.
pub(crate) fn latest(versions: &[Published<'_>]) -> Option<usize> {
    let mut order: Vec<usize> = (0..versions.len()).collect();
    // Stable: those of the same moment stay as they came.
    order.sort_by_key(|&index| versions[index].at_ms);
    let mut latest: Option<(usize, Option<Version>)> = None;
    for index in order {
        let parsed = parse(versions[index].version);
        let takes_over = match (&latest, &parsed) {
            (Some((_, Some(current))), Some(next)) => next > current,
            _ => true,
        };
        if takes_over {
            latest = Some((index, parsed));
        }
    }
    latest.map(|(index, _)| index)
}

/// A semantic version, also with a leading `v`.
fn parse(version: &str) -> Option<Version> {
    Version::parse(version.strip_prefix('v').unwrap_or(version)).ok()
}

/// The newest first, for lists of versions: by time, then by semantic version, then by the text.
pub(crate) fn newest_first(left: Published<'_>, right: Published<'_>) -> std::cmp::Ordering {
    right
        .at_ms
        .cmp(&left.at_ms)
        .then_with(|| parse(right.version).cmp(&parse(left.version)))
        .then_with(|| right.version.cmp(left.version))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn latest_of(versions: &[(&str, i64)]) -> String {
        let versions: Vec<_> =
            versions.iter().map(|(version, at_ms)| Published { version, at_ms: *at_ms }).collect();
        versions[latest(&versions).unwrap()].version.to_owned()
    }

    #[test]
    fn the_greatest_semantic_version_is_the_latest_whenever_it_was_published() {
        assert_eq!(latest_of(&[("1.0.0", 3), ("1.10.0", 1), ("1.9.0", 2)]), "1.10.0");
        assert_eq!(latest_of(&[("1.0.0", 1), ("1.0.0-rc.1", 2)]), "1.0.0");
        assert_eq!(latest_of(&[("v2.0.0", 1), ("1.0.0", 2)]), "v2.0.0");
    }

    #[test]
    fn what_is_no_semantic_version_is_the_latest_when_it_is_published() {
        assert_eq!(latest_of(&[("1.0.0", 1), ("2025-11", 2)]), "2025-11");
        assert_eq!(latest_of(&[("2025-11", 1), ("1.0.0", 2)]), "1.0.0");
        assert_eq!(latest_of(&[("b", 1), ("a", 2)]), "a");
    }

    #[test]
    fn without_versions_there_is_no_latest() {
        assert_eq!(latest(&[]), None);
    }

    proptest! {
        #[test]
        fn there_is_exactly_one_latest(versions in prop::collection::vec(("[0-3]\\.[0-3]\\.[0-3]|[a-c]", 0_i64..9), 1..9)) {
            let versions: Vec<_> = versions.iter().map(|(version, at_ms)| Published { version, at_ms: *at_ms }).collect();
            let latest = latest(&versions).unwrap();
            prop_assert!(latest < versions.len());
            // Of semantic versions alone, none is greater.
            if versions.iter().all(|it| parse(it.version).is_some()) {
                let greatest = versions.iter().filter_map(|it| parse(it.version)).max();
                prop_assert_eq!(parse(versions[latest].version), greatest);
            }
        }
    }
}
