//! What of an instance outlives its Chrome: cookies, storage, and where its tabs were.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{areas::Areas, emulation::Emulation, environment::Settings, ids::TabId, network::Route};

/// The state of an instance.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Saved {
    pub(crate) cookies: Vec<SavedCookie>,
    /// `localStorage`, by origin.
    pub(crate) local: Areas,
    pub(crate) tabs: Vec<SavedTab>,
}

/// A tab, as it is opened again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct SavedTab {
    pub(crate) id: TabId,
    pub(crate) url: String,
    pub(crate) title: String,
    /// How far the page was scrolled, in CSS pixels to the right and down.
    #[serde(default)]
    pub(crate) scroll: (f64, f64),
    /// `sessionStorage`, by origin.
    #[serde(default)]
    pub(crate) session: Areas,
    pub(crate) emulation: Emulation,
    /// Scripts that run in every document before its own.
    #[serde(default)]
    pub(crate) scripts: Vec<String>,
    /// What it was told to pretend.
    #[serde(default, skip_serializing_if = "Settings::is_empty")]
    pub(crate) settings: Settings,
    /// Its rules about requests.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) routes: Vec<Arc<Route>>,
}

/// A cookie as Chrome gives and takes it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SavedCookie {
    name: String,
    value: String,
    domain: String,
    path: String,
    /// Seconds since 1970; absent, or less than 0 from Chrome, for a cookie of the session.
    #[serde(default, skip_serializing_if = "is_of_session")]
    expires: Option<f64>,
    #[serde(default)]
    http_only: bool,
    #[serde(default)]
    secure: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    same_site: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    priority: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    source_scheme: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    source_port: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    partition_key: Option<serde_json::Value>,
}

#[expect(clippy::ref_option, reason = "the signature is what serde calls")]
fn is_of_session(expires: &Option<f64>) -> bool {
    expires.is_none_or(|expires| expires < 0.0)
}

impl SavedTab {
    /// Leaves its rules out when they, with the answers that they give, are larger than what may be saved of it.
    pub(crate) fn bound(&mut self, size_max: usize) {
        if self.routes.iter().map(|route| route.size()).sum::<usize>() > size_max {
            self.routes.clear();
        }
    }
}

impl Saved {
    /// What a profile keeps: everything but the tabs.
    pub(crate) fn without_tabs(&self) -> Self {
        Self { tabs: Vec::new(), ..self.clone() }
    }
}

/// A script that gives documents of an origin their storage back before their own scripts run, and the page at `url`
/// its place. It fills only what is empty: what a page has changed since stays.
pub(crate) fn restoring_script(
    local: &[(&str, Vec<(&str, &str)>)],
    session: &[(&str, Vec<(&str, &str)>)],
    scroll: Option<(&str, (f64, f64))>,
) -> String {
    // JSON is JavaScript: nothing that a page chose is ever more than a literal here.
    let data = serde_json::json!([local, session, scroll]).to_string();
    format!(
        "(([local, session, scroll]) => {{
  const fill = (areas, of) => {{
    const items = areas.find(([origin]) => origin === location.origin)?.[1];
    if (!items) return;
    try {{
      const area = of();
      if (area.length === 0) for (const [key, value] of items) area.setItem(key, value);
    }} catch {{ /* a sandboxed frame has no storage */ }}
  }};
  fill(local, () => localStorage);
  fill(session, () => sessionStorage);
  if (scroll && self === top && location.href === scroll[0]) {{
    const go = () => scrollTo(...scroll[1]);
    addEventListener('DOMContentLoaded', go, {{ once: true }});
    addEventListener('load', go, {{ once: true }});
  }}
}})({data})"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_goes_back_to_chrome_as_it_came() {
        let of_chrome = serde_json::json!({
            "name": "a", "value": "1", "domain": ".a.test", "path": "/", "expires": -1, "size": 2, "httpOnly": true,
            "secure": false, "session": true, "priority": "Medium", "sourceScheme": "Secure", "sourcePort": 443,
        });
        let cookie: SavedCookie = serde_json::from_value(of_chrome).unwrap();
        assert_eq!(
            serde_json::to_value(&cookie).unwrap(),
            serde_json::json!({
                "name": "a", "value": "1", "domain": ".a.test", "path": "/", "httpOnly": true, "secure": false,
                "priority": "Medium", "sourceScheme": "Secure", "sourcePort": 443,
            })
        );
    }

    #[test]
    fn what_a_page_stored_is_a_literal_in_the_script() {
        let script = restoring_script(
            &[("http://a", vec![("__proto__", "\"]); alert(1); (['")])],
            &[],
            Some(("http://a/", (0.0, 5.0))),
        );
        assert!(script.contains(r#"[["__proto__","\"]); alert(1); (['"]]"#), "{script}");
    }
}
