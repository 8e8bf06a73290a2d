//! Versions that are none: ranges, wildcards and the reserved word.

use super::Report;

pub(super) fn check(version: &str, field: &str, report: &mut Report) {
    if version == "latest" {
        report.semantic(field, "reserved-version-string", "must be one version; `latest` is reserved");
    } else if looks_like_range(version) {
        report.semantic(
            field,
            "version-looks-like-range",
            format!("`{version}` is a range; name one version"),
        );
    }
}

fn looks_like_range(version: &str) -> bool {
    let version = version.trim();
    let after_comparator =
        [">=", "<=", "^", "~", ">", "<", "="].iter().find_map(|it| version.strip_prefix(it));
    after_comparator.is_some_and(|rest| is_plain(rest.trim()))
        || version.split_once(" -").is_some_and(|(from, to)| is_plain(from.trim()) && is_plain(to.trim()))
        || version.contains("||") && version.split("||").all(|part| is_plain(part.trim()))
        || has_wildcard(version)
}

/// `v1`, `1.2`, `1.2.3`, `1.2.3.4`, each also with a pre-release.
fn is_plain(version: &str) -> bool {
    let version = version.strip_prefix('v').unwrap_or(version);
    let (numbers, pre_release) = match version.split_once('-') {
        Some((numbers, pre_release)) => (numbers, Some(pre_release)),
        None => (version, None),
    };
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    numbers.split('.').count() <= 4
        && numbers.split('.').all(is_number)
        && pre_release.is_none_or(|text| {
            !text.is_empty()
                && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'.' || byte == b'-')
        })
}

/// `1.x`, `1.2.*`: a wildcard among two or three dotted parts. What follows a `-` is a pre-release and may hold any
/// letter.
fn has_wildcard(version: &str) -> bool {
    let dotted = version.split('-').next().unwrap_or_default();
    let parts: Vec<&str> = dotted.split('.').collect();
    let is_wildcard = |part: &&str| matches!(*part, "x" | "X" | "*");
    let is_number = |part: &&str| {
        let part = part.strip_prefix('v').unwrap_or(part);
        !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit())
    };
    (2..=3).contains(&parts.len())
        && parts.iter().all(|part| is_wildcard(part) || is_number(part))
        && parts.iter().any(is_wildcard)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_told_from_versions() {
        for range in [
            "^1.2.3",
            "~1.2",
            ">=1.0.0",
            "<= 2",
            ">1",
            "<v2",
            "=1.0.0",
            "1.2.3 - 2.0.0",
            "1.2 || 1.3",
            "1.x",
            "1.2.*",
            "*.*",
            "v1.X",
        ] {
            assert!(looks_like_range(range), "{range}");
        }
        for version in [
            "1.2.3",
            "v1",
            "2025-11-05",
            "1.0.0-experimental",
            "1.0.0-x.1",
            "snapshot",
            "",
            "1.2.3+build",
            "x",
        ] {
            assert!(!looks_like_range(version), "{version}");
        }
    }
}
