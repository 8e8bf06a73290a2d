//! Waiting for a page.

use std::time::Duration;

use paddock_platform::problem::Problem;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep};
use utoipa::ToSchema;

use super::{BrowserService, READ, Target, WRITE};
use crate::{
    ids::TabId,
    wait::{Condition, LoadState, Presence},
};

/// How long a wait may take, in milliseconds: at least, at most, and when nothing is said.
const TIMEOUT_MS: (i64, i64, i64) = (100, 30_000, 10_000);
/// How long the network has to be quiet, in milliseconds: at most, and when nothing is said.
const IDLE_MS: (i64, i64) = (10_000, 500);

/// Waits for one of `selector`, `text`, `notText`, `url`, `load`, `fn` and `ms`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct WaitRequest {
    /// The tab; without one, the current tab.
    pub tab_id: Option<TabId>,
    /// An element.
    pub selector: Option<String>,
    /// How it is to be: `visible` if absent.
    pub state: Option<Presence>,
    /// A text that shows.
    pub text: Option<String>,
    /// A text that does not show.
    pub not_text: Option<String>,
    /// An address: `**` stands for anything, `*` for anything without a slash.
    pub url: Option<String>,
    /// `content-loaded`, `ready-state` or `network-idle`.
    pub load: Option<String>,
    /// Milliseconds without a request, for `network-idle`; 500 if absent.
    pub idle_for: Option<i64>,
    /// An expression of the page that is true.
    #[serde(rename = "fn")]
    pub function: Option<String>,
    /// So many milliseconds.
    pub ms: Option<i64>,
    /// Milliseconds that it may take, 100 to 30000; 10000 if absent.
    pub timeout: Option<i64>,
}

/// How a wait ended.
#[derive(Clone, Debug, Serialize, JsonSchema, ToSchema)]
pub struct Waited {
    /// Whether what was waited for is so.
    pub waited: bool,
    /// Milliseconds that it took.
    pub elapsed: u64,
    /// What was waited for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub r#match: Option<String>,
    /// Why the wait ended without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// What a request waits for: the condition, what it is called, and what the answer says of it.
enum Wanted {
    Time(Duration),
    Page { condition: Condition, mode: &'static str, label: String },
}

fn milliseconds(given: i64) -> Duration {
    Duration::from_millis(u64::try_from(given).unwrap_or(0))
}

impl WaitRequest {
    fn timeout(&self) -> Duration {
        let (least, most, default) = TIMEOUT_MS;
        milliseconds(self.timeout.unwrap_or(default).clamp(least, most))
    }

    fn wanted(&self) -> Result<Wanted, Problem> {
        let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        let (selector, text, not_text) = (given(&self.selector), given(&self.text), given(&self.not_text));
        let (url, load, function) = (given(&self.url), given(&self.load), given(&self.function));
        let count = [&selector, &text, &not_text, &url, &load, &function].into_iter().flatten().count()
            + usize::from(self.ms.is_some());
        if count != 1 {
            let detail =
                "exactly one of `selector`, `text`, `notText`, `url`, `load`, `fn` and `ms` is required";
            return Err(Problem::invalid_field("selector", detail));
        }
        let page = |condition, mode, label| Ok(Wanted::Page { condition, mode, label });
        if let Some(ms) = self.ms {
            return Ok(Wanted::Time(milliseconds(ms.clamp(0, TIMEOUT_MS.1))));
        }
        if let Some(selector) = selector {
            let state = self.state.unwrap_or_default();
            return page(Condition::Selector { selector: selector.clone(), state }, "selector", selector);
        }
        if let Some(text) = text {
            return page(Condition::Text(text.clone()), "text", text);
        }
        if let Some(text) = not_text {
            return page(Condition::NotText(text.clone()), "notText", format!("!{text}"));
        }
        if let Some(url) = url {
            return page(Condition::Url(url.clone()), "url", url);
        }
        if let Some(function) = function {
            return page(Condition::Function(function), "fn", "fn".to_owned());
        }
        let (most, default) = IDLE_MS;
        let (state, label) = match load.as_deref() {
            Some("content-loaded") => (LoadState::ContentLoaded, "content-loaded"),
            Some("ready-state") => (LoadState::ReadyState, "ready-state"),
            Some("network-idle" | "networkidle") => {
                let quiet = milliseconds(self.idle_for.unwrap_or(default).clamp(0, most));
                (LoadState::NetworkIdle(quiet), "network-idle")
            }
            _ => {
                let detail = "must be `content-loaded`, `ready-state` or `network-idle`";
                return Err(Problem::invalid_field("load", detail));
            }
        };
        page(Condition::Load(state), "load", label.to_owned())
    }
}

impl BrowserService {
    /// Waits until something is so in a tab. That it did not become so in time is an answer, not an error.
    pub async fn wait(&self, target: Target, request: WaitRequest) -> Result<Waited, Problem> {
        let started = Instant::now();
        target.caller.require(READ)?;
        let elapsed = || u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        let (condition, mode, label) = match request.wanted()? {
            Wanted::Time(time) => {
                sleep(time).await;
                let label = Some(format!("{}ms", time.as_millis()));
                return Ok(Waited { waited: true, elapsed: elapsed(), r#match: label, error: None });
            }
            Wanted::Page { condition, mode, label } => (condition, mode, label),
        };
        // An expression is evaluated, which needs more than looking.
        let scope = if matches!(condition, Condition::Function(_)) { WRITE } else { READ };
        let timeout = request.timeout();
        let tab = self.tab(&target.or(request.tab_id), scope).await?;
        let met = tab.wait_for(&condition, timeout).await?;
        let error = (!met).then(|| format!("timeout after {}ms waiting for {mode}", elapsed()));
        Ok(Waited { waited: met, elapsed: elapsed(), r#match: met.then_some(label), error })
    }
}
