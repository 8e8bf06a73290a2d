//! Waiting for a page to become so, without asking it again and again.
//!
//! A condition on what the page shows is one promise in the isolated world that resolves when it holds (`js/…/wait.js`):
//! what wakes it is the page's own change. Conditions on address, loading and network follow the tab's events. A wait
//! survives navigations: it goes on in the next document.

use std::time::Duration;

use serde::Deserialize;
use serde_json::json;
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::{
    action::ActionError,
    evaluate::{EvaluateError, World},
    frames::Place,
    tab::Tab,
};

/// How far a document is loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoadState {
    /// The markup is parsed.
    ContentLoaded,
    /// The load event fired.
    ReadyState,
    /// Loaded, and no request in flight for so long.
    NetworkIdle(Duration),
}

/// Whether an element is to be there.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    serde::Serialize,
    serde::Deserialize,
    schemars::JsonSchema,
    utoipa::ToSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Presence {
    /// It can be seen.
    #[default]
    Visible,
    /// It cannot be seen, or is not there.
    Hidden,
    /// It is in the page, visible or not.
    Attached,
    /// It is not in the page.
    Detached,
}

/// What to wait for.
#[derive(Clone, Debug, PartialEq)]
pub enum Condition {
    /// An element.
    Selector {
        /// Which.
        selector: String,
        /// How it is to be.
        state: Presence,
    },
    /// A text that shows.
    Text(String),
    /// A text that does not show.
    NotText(String),
    /// An address: `**` stands for anything, `*` for anything without a slash, `?` for one character.
    Url(String),
    /// A title that contains this.
    Title(String),
    /// The document.
    Load(LoadState),
    /// An expression of the page's own world that is true.
    Function(String),
}

#[derive(Deserialize)]
struct Waited {
    #[serde(default)]
    met: bool,
    #[serde(default)]
    error: Option<String>,
}

impl Tab {
    /// Waits until a condition holds. Whether it came to hold in time.
    pub async fn wait_for(&self, condition: &Condition, timeout: Duration) -> Result<bool, ActionError> {
        self.touch();
        let deadline = Instant::now() + timeout;
        match condition {
            Condition::Url(pattern) => {
                let there = self.0.page.until(|page| glob_matches(pattern, &page.url).then_some(()));
                Ok(timeout_at(deadline, there).await.is_ok())
            }
            Condition::Load(LoadState::NetworkIdle(quiet)) => self.wait_idle(*quiet, deadline).await,
            Condition::Load(state) => {
                let load = if *state == LoadState::ReadyState { "ready-state" } else { "content-loaded" };
                self.wait_in_page(&json!({ "load": load }), "", deadline).await
            }
            Condition::Selector { selector, state } => {
                let state = serde_json::to_value(state).unwrap_or_default();
                self.wait_in_page(&json!({ "selector": selector, "state": state }), selector, deadline).await
            }
            Condition::Text(text) => self.wait_in_page(&json!({ "text": text }), "", deadline).await,
            Condition::NotText(text) => self.wait_in_page(&json!({ "notText": text }), "", deadline).await,
            Condition::Title(title) => self.wait_in_page(&json!({ "title": title }), "", deadline).await,
            Condition::Function(source) => self.wait_function(source, deadline).await,
        }
    }

    /// Loaded, and quiet for so long at a stretch.
    async fn wait_idle(&self, quiet: Duration, deadline: Instant) -> Result<bool, ActionError> {
        let page = &self.0.page;
        let mut changes = page.changes();
        if !self.wait_in_page(&json!({ "load": "ready-state" }), "", deadline).await? {
            return Ok(false);
        }
        let idle = async {
            loop {
                changes.borrow_and_update();
                match page.with(|page| page.quiet_since) {
                    Some(since) if since.elapsed() >= quiet => return,
                    Some(since) => tokio::select! {
                        () = sleep_until(since + quiet) => {}
                        _ = changes.changed() => {}
                    },
                    None => {
                        changes.changed().await.ok();
                    }
                }
            }
        };
        Ok(timeout_at(deadline, idle).await.is_ok())
    }

    async fn wait_in_page(
        &self,
        condition: &serde_json::Value,
        selector: &str,
        deadline: Instant,
    ) -> Result<bool, ActionError> {
        loop {
            let selector_of = (!selector.is_empty()).then_some(selector);
            let Place { realm, within } = self.place_of(selector_of).unwrap_or_default();
            let mut condition = condition.clone();
            if let Some(within) = within {
                condition["within"] = within.into();
            }
            let left = deadline.saturating_duration_since(Instant::now());
            let expression = format!("paddockAccessibility.waitFor({condition},{})", left.as_millis());
            let asked = self.ask::<Waited>(&realm, &expression, left + GRACE);
            match timeout_at(deadline + GRACE, asked).await {
                Ok(Ok(Waited { error: Some(_), .. })) => {
                    return Err(ActionError::InvalidSelector { selector: selector.to_owned() });
                }
                Ok(Ok(waited)) => return Ok(waited.met),
                Ok(Err(error)) if goes_on(&error) => self.next_document(deadline).await,
                Ok(Err(EvaluateError::Timeout(_))) | Err(_) => return Ok(false),
                Ok(Err(error)) => return Err(error.into()),
            }
            if Instant::now() >= deadline {
                return Ok(false);
            }
        }
    }

    /// The expression is of the page's world, so the promise has to be there too.
    async fn wait_function(&self, source: &str, deadline: Instant) -> Result<bool, ActionError> {
        let source = serde_json::Value::from(source);
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let expression = format!("({HOLDS})({source},{})", left.as_millis());
            let asked = self.evaluate_in_place(&expression, World::Main, left + GRACE);
            let asked = async {
                tokio::select! {
                    result = asked => result,
                    dialog = self.0.dialogs.blocked() => Err(EvaluateError::DialogOpen(dialog)),
                }
            };
            match asked.await {
                Ok(value) => return Ok(value.get() == "true"),
                Err(error) if goes_on(&error) => self.next_document(deadline).await,
                Err(EvaluateError::Timeout(_)) => return Ok(false),
                Err(error) => return Err(error.into()),
            }
            if Instant::now() >= deadline {
                return Ok(false);
            }
        }
    }

    /// Waits for the tab's next event: the document that was asked is gone, the next one is about to come.
    async fn next_document(&self, deadline: Instant) {
        let mut changes = self.0.page.changes();
        changes.borrow_and_update();
        let soon = deadline.min(Instant::now() + SOON);
        timeout_at(soon, changes.changed()).await.ok();
    }
}

/// How much longer than the page Chrome may take to answer.
const GRACE: Duration = Duration::from_millis(250);
/// How long the next document is waited for before it is asked anyway.
const SOON: Duration = Duration::from_millis(100);

/// Whether the document that was asked went away, so that the next one has to be asked.
fn goes_on(error: &EvaluateError) -> bool {
    matches!(error, EvaluateError::Replaced | EvaluateError::NoContext | EvaluateError::Terminated)
}

/// Resolves to true once the expression is true, asked again at every frame and change of the page; to false after `ms`.
const HOLDS: &str = "(source, ms) => new Promise((resolve) => {
    let ended = false;
    const holds = (0, eval)('() => { try { return !!(' + source + '\\n) } catch { return false } }');
    const end = (value) => { ended = true; observer.disconnect(); clearTimeout(late); resolve(value); };
    const ask = () => { if (!ended && holds()) end(true); };
    const observer = new MutationObserver(ask);
    const frame = () => { ask(); if (!ended) requestAnimationFrame(frame); };
    const late = setTimeout(() => end(holds()), ms);
    observer.observe(document, { subtree: true, childList: true, characterData: true, attributes: true });
    frame();
})";

/// Whether a pattern occurs in an address.
fn glob_matches(pattern: &str, url: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().take(PATTERN_LENGTH_MAX).collect();
    let url: Vec<char> = url.chars().take(URL_LENGTH_MAX).collect();
    // `after[j]`: whether what was read of the pattern matches up to before `url[j]`, from anywhere on.
    let mut after = vec![true; url.len() + 1];
    let mut index = 0;
    while index < pattern.len() {
        let many = pattern[index] == '*';
        let anything = many && pattern.get(index + 1) == Some(&'*');
        let mut next = vec![false; url.len() + 1];
        if many {
            let mut open = false;
            for (at, reached) in after.iter().enumerate() {
                if at > 0 && !anything && url[at - 1] == '/' {
                    open = false;
                }
                open |= *reached;
                next[at] = open;
            }
        } else {
            for (at, character) in url.iter().enumerate() {
                next[at + 1] = after[at] && (pattern[index] == '?' || pattern[index] == *character);
            }
        }
        after = next;
        index += if anything { 2 } else { 1 };
    }
    after.contains(&true)
}

const PATTERN_LENGTH_MAX: usize = 1000;
const URL_LENGTH_MAX: usize = 8000;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn patterns_match_addresses() {
        let url = "https://shop.example/a/b?x=1";
        for pattern in ["shop.example", "**/b?x=1", "https://*/a/*", "/a/?", "https://**", "*"] {
            assert!(glob_matches(pattern, url), "{pattern}");
        }
        for pattern in ["example.shop", "https://*/b", "/c", "shopXexample"] {
            assert!(!glob_matches(pattern, url), "{pattern}");
        }
    }

    proptest! {
        #[test]
        fn every_part_of_an_address_is_a_pattern_for_it(url in "[a-z/?=.]{0,30}", from in 0_usize..30, to in 0_usize..30) {
            let (from, to) = (from.min(url.len()), to.min(url.len()));
            prop_assert!(glob_matches(&url[from.min(to)..to.max(from)], &url));
        }

        #[test]
        fn no_pattern_makes_it_panic(pattern in ".{0,40}", url in ".{0,60}") {
            glob_matches(&pattern, &url);
        }
    }
}
