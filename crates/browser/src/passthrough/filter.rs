//! Target filters, as `Target.setDiscoverTargets` and `Target.setAutoAttach` take them.

use serde::Deserialize;

/// One entry: the first whose type matches decides.
#[derive(Clone, Debug, Deserialize)]
struct Entry {
    #[serde(rename = "type")]
    kind: Option<String>,
    #[serde(default)]
    exclude: bool,
}

/// Entries that a client may send.
const ENTRIES_MAX: usize = 64;

/// Which types of targets a client wants to hear of.
#[derive(Clone, Debug, Deserialize)]
#[serde(transparent)]
pub(super) struct TargetFilter(Vec<Entry>);

impl Default for TargetFilter {
    /// Chrome's own default: everything but browsers and tabs.
    fn default() -> Self {
        let excluded = |kind: &str| Entry { kind: Some(kind.to_owned()), exclude: true };
        Self(vec![excluded("browser"), excluded("tab"), Entry { kind: None, exclude: false }])
    }
}

impl TargetFilter {
    pub(super) fn admits(&self, kind: &str) -> bool {
        let matching =
            self.0.iter().take(ENTRIES_MAX).find(|entry| entry.kind.as_ref().is_none_or(|of| of == kind));
        matching.is_some_and(|entry| !entry.exclude)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_entry_that_matches_decides() {
        let filter = |json: &str| serde_json::from_str::<TargetFilter>(json).unwrap();
        assert!(filter("[{}]").admits("tab"));
        let puppeteer = filter(r#"[{"type":"page","exclude":true},{}]"#);
        assert_eq!((puppeteer.admits("page"), puppeteer.admits("tab")), (false, true));
        assert!(!filter("[]").admits("page"));
        let default = TargetFilter::default();
        assert_eq!(
            (default.admits("page"), default.admits("tab"), default.admits("browser")),
            (true, false, false)
        );
    }
}
