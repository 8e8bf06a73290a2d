//! What a request is about: on whose behalf, and in which tab.

use axum::extract::{FromRequestParts, RawPathParams};
use http::request::Parts;
use paddock_platform::{http::parse_query, identity::Caller, problem::Problem};
use serde::Deserialize;

use crate::ids::TabId;

/// The header by which an agent names itself: each agent of a caller has a current tab of its own.
const AGENT_HEADER: &str = "x-agent-id";
/// Longest name of an agent, in bytes.
const AGENT_SIZE_MAX: usize = 128;

/// On whose behalf a request is made, and the tab that its path or query names. Routes that act on a tab take it as an
/// argument, whichever of their two paths was used (`/snapshot?tabId=…` or `/tabs/{id}/snapshot`).
#[derive(Clone, Debug)]
pub struct Target {
    /// Who asks.
    pub caller: Caller,
    /// The name that the agent gives itself; empty for none.
    pub agent: String,
    /// The tab that is named; without one, the agent's current tab is meant.
    pub tab: Option<TabId>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TabQuery {
    tab_id: Option<String>,
}

impl Target {
    /// The target of a call that names its tab, if any, itself.
    pub fn new(caller: Caller, tab: Option<TabId>) -> Self {
        Self { caller, agent: String::new(), tab }
    }

    /// Has the tab that a body names, unless the path or query names one.
    #[must_use]
    pub fn or(self, tab: Option<TabId>) -> Self {
        Self { tab: self.tab.or(tab), ..self }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Target {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let caller = Caller::from_request_parts(parts, state).await?;
        let agent = parts.headers.get(AGENT_HEADER).and_then(|value| value.to_str().ok()).unwrap_or_default();
        if agent.len() > AGENT_SIZE_MAX {
            return Err(Problem::invalid_field("X-Agent-Id", format!("is over {AGENT_SIZE_MAX} bytes")));
        }
        let agent = agent.to_owned();
        let path = RawPathParams::from_request_parts(parts, state).await.ok();
        let in_path = path.as_ref().and_then(|path| path.iter().find(|(name, _)| *name == "tab"));
        let named = match in_path {
            Some((_, id)) => Some(id.to_owned()),
            None => parse_query::<TabQuery>(parts.uri.query().unwrap_or_default())?.tab_id,
        };
        let tab = named.filter(|id| !id.is_empty()).map(|id| parse(&id)).transpose()?;
        Ok(Self { caller, agent, tab })
    }
}

/// A text that is no id names no tab either.
fn parse(id: &str) -> Result<TabId, Problem> {
    id.parse().map_err(|_| Problem::not_found("tab", id))
}
