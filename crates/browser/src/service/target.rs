//! What a request is about: on whose behalf, and in which tab.

use axum::extract::{FromRequestParts, RawPathParams};
use http::request::Parts;
use paddock_platform::{
    http::parse_query,
    identity::Caller,
    problem::{NOT_FOUND, Problem},
};
use serde::Deserialize;

use super::browser_choice::check_browser;
use crate::{activity::Note, coordination::Identity, ids::TabId};

/// The header by which an agent names itself: each agent of a caller has a current tab of its own.
const AGENT_HEADER: &str = "x-agent-id";
/// The header by which a request names the owner of a tab's lock.
const OWNER_HEADER: &str = "x-owner";
/// Longest name of an agent or an owner, in bytes.
pub(crate) const NAME_SIZE_MAX: usize = 128;

/// On whose behalf a request is made, and the tab that its path or query names. Routes that act on a tab take it as an
/// argument, whichever of their two paths was used (`/snapshot?tabId=…` or `/tabs/{id}/snapshot`).
#[derive(Clone, Debug)]
pub struct Target {
    /// Who asks.
    pub caller: Caller,
    /// The name that the agent gives itself, or that its session gives it; empty for none.
    pub agent: String,
    /// The tab that is named; without one, the agent's current tab is meant.
    pub tab: Option<TabId>,
    /// As whom it claims the tab's lock; without one, as its agent.
    pub owner: Option<String>,
    /// Tells the log of activity which tab it was.
    pub(crate) note: Note,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TabQuery {
    tab_id: Option<String>,
    owner: Option<String>,
    browser: Option<String>,
}

impl Target {
    /// The target of a call that names its tab, if any, itself.
    pub fn new(caller: Caller, tab: Option<TabId>) -> Self {
        let agent = caller.session().map(|session| session.agent.clone()).unwrap_or_default();
        Self { caller, agent, tab, owner: None, note: Note::default() }
    }

    /// Has the tab that a body names, unless the path or query names one.
    #[must_use]
    pub fn or(self, tab: Option<TabId>) -> Self {
        Self { tab: self.tab.or(tab), ..self }
    }

    /// As [`Target::or`], but a body that names another tab than the path or query is refused.
    pub(crate) fn same(self, tab: Option<TabId>) -> Result<Self, Problem> {
        match (&self.tab, &tab) {
            (Some(named), Some(other)) if named != other => {
                Err(Problem::invalid_field("tabId", format!("is not the tab of the path, {named}")))
            }
            _ => Ok(self.or(tab)),
        }
    }

    /// Claims the tab's lock as the owner that a body names, unless the headers or query name one.
    #[must_use]
    pub fn owned_by(self, owner: Option<String>) -> Self {
        Self { owner: self.owner.or(owner.filter(|owner| !owner.is_empty())), ..self }
    }

    /// Acts as an agent of this name. A session is bound to its agent and keeps it.
    #[must_use]
    pub fn acting_as(self, agent: &str) -> Self {
        if self.caller.session().is_some() { self } else { Self { agent: agent.to_owned(), ..self } }
    }

    /// As whom it claims the tab's lock.
    pub(crate) fn claimed_owner(&self) -> Option<&str> {
        self.owner.as_deref().or((!self.agent.is_empty()).then_some(self.agent.as_str()))
    }

    /// The agent that a request names, or that its session gives it; empty for none.
    pub(crate) fn agent_in(parts: &Parts, caller: &Caller) -> String {
        let target = Self::new(caller.clone(), None);
        match name_in(parts, AGENT_HEADER) {
            Ok(Some(agent)) => target.acting_as(&agent).agent,
            _ => target.agent,
        }
    }

    /// Who it is among the callers of its tenant.
    pub(crate) fn identity(&self) -> Identity {
        match self.caller.session() {
            Some(session) => Identity::Session(session.id.clone()),
            None if self.agent.is_empty() => Identity::Anonymous,
            None => Identity::Agent(self.agent.clone()),
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Target {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let caller = Caller::from_request_parts(parts, state).await?;
        let agent = name_in(parts, AGENT_HEADER)?;
        let owner = name_in(parts, OWNER_HEADER)?;
        let path = RawPathParams::from_request_parts(parts, state).await.ok();
        let in_path = path.as_ref().and_then(|path| path.iter().find(|(name, _)| *name == "tab"));
        let query: TabQuery = parse_query(parts.uri.query().unwrap_or_default())?;
        check_browser(query.browser.as_deref())?;
        let named = in_path.map(|(_, id)| id.to_owned()).or(query.tab_id);
        let tab = named.filter(|id| !id.is_empty()).map(|id| parse(&id)).transpose()?;
        let note = parts.extensions.get::<Note>().cloned().unwrap_or_default();
        let target = Self { note, ..Self::new(caller, tab) };
        let target = agent.map(|agent| target.clone().acting_as(&agent)).unwrap_or(target);
        Ok(target.owned_by(owner).owned_by(query.owner))
    }
}

fn name_in(parts: &Parts, header: &'static str) -> Result<Option<String>, Problem> {
    let name = parts.headers.get(header).and_then(|value| value.to_str().ok()).map(str::trim);
    let name = name.filter(|name| !name.is_empty());
    if name.is_some_and(|name| name.len() > NAME_SIZE_MAX) {
        return Err(Problem::invalid_field(header, format!("is over {NAME_SIZE_MAX} bytes")));
    }
    Ok(name.map(str::to_owned))
}

/// A text that is no id names no tab either.
fn parse(id: &str) -> Result<TabId, Problem> {
    id.parse().map_err(|_| Problem::new(NOT_FOUND, format!("tab `{}` not found", id.escape_default())))
}
