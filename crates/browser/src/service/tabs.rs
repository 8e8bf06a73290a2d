//! Listing, opening and closing tabs.

use std::cmp::Reverse;

use futures_util::future::join_all;
use jiff::Timestamp;
use paddock_cdp::SessionState;
use paddock_platform::{identity::Caller, problem::Problem};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use url::Url;
use utoipa::ToSchema;

use super::{BrowserService, Navigated, READ, TabInUse, Target, WRITE};
use crate::{
    coordination::{Handoff, Lock},
    ids::{InstanceId, TabId},
    navigate::Wait,
    tab::Tab,
};

/// A tab in a list.
#[derive(Clone, Debug, Serialize, JsonSchema, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TabView {
    /// Its id.
    pub id: TabId,
    /// The instance that it belongs to.
    pub instance_id: InstanceId,
    /// Where it is.
    pub url: String,
    /// Title of its page.
    pub title: String,
    /// `page`.
    #[serde(rename = "type")]
    pub kind: String,
    /// `active`, `paused_handoff` while a person works in it, or `crashed`: the next navigation revives it.
    pub status: String,
    /// Who holds its lock.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// When the lock ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    #[schema(value_type = Option<String>)]
    pub locked_until: Option<Timestamp>,
    /// Why it is paused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub handoff_reason: Option<String>,
    /// Since when it is paused.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    #[schema(value_type = Option<String>)]
    pub paused_at: Option<Timestamp>,
}

/// Opens or picks a tab.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TabActionRequest {
    /// What to do.
    pub action: TabAction,
    /// The tab to focus or close.
    #[serde(default)]
    pub tab_id: Option<TabId>,
    /// Where a new tab goes; stays empty if absent or `about:blank`.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub url: Option<Url>,
}

/// What `POST /tab` can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum TabAction {
    /// Opens a tab and makes it the current one.
    New,
    /// Makes a tab the current one.
    Focus,
    /// Closes a tab.
    Close,
}

/// What came of it.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub enum TabActionDone {
    /// A tab was opened.
    New(Box<Navigated>),
    /// A tab is the current one now.
    #[serde(rename_all = "camelCase")]
    Focused {
        /// True.
        focused: bool,
        /// Which.
        tab_id: TabId,
    },
    /// A tab was closed.
    Closed(Closed),
}

/// All tabs.
#[derive(Clone, Debug, Serialize, JsonSchema, ToSchema)]
pub struct TabList {
    /// The tabs, the last used first.
    pub tabs: Vec<TabView>,
}

/// Opens a tab.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(default)]
pub struct OpenRequest {
    /// Where it goes at once; stays empty if absent.
    #[schema(value_type = Option<String>)]
    pub url: Option<Url>,
}

/// Closes a tab.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct CloseRequest {
    /// The tab; without one, the tab that was used last.
    pub tab_id: Option<TabId>,
}

/// A tab was closed.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Closed {
    /// True.
    pub closed: bool,
    /// Which.
    pub tab_id: TabId,
}

impl BrowserService {
    /// The tabs of one or of all of the caller's instances, the last used first.
    pub async fn tabs(&self, caller: &Caller, id: Option<&InstanceId>) -> Result<Vec<TabView>, Problem> {
        caller.require(READ)?;
        let mut tabs = match id {
            Some(id) => self.own(caller, id)?.tabs(),
            None => self.owned(caller).flat_map(|instance| instance.tabs()).collect(),
        };
        tabs.sort_by_key(|tab| Reverse(tab.used()));
        let mut views = join_all(tabs.into_iter().map(view)).await;
        for view in &mut views {
            self.show_hold(view);
        }
        Ok(views)
    }

    /// Tells of a tab in a list who holds it.
    pub(crate) fn show_hold(&self, view: &mut TabView) {
        let (lock, handoff) = self.shared().holds.of(&view.id, Timestamp::now());
        if let Some(Lock { owner, expires_at }) = lock {
            (view.owner, view.locked_until) = (Some(owner), Some(expires_at));
        }
        if let Some(Handoff { reason, paused_at, .. }) = handoff {
            "paused_handoff".clone_into(&mut view.status);
            (view.handoff_reason, view.paused_at) = (Some(reason), Some(paused_at));
        }
    }

    /// Opens a tab, and goes somewhere with it if asked.
    pub async fn open(
        &self,
        caller: &Caller,
        id: &InstanceId,
        request: OpenRequest,
    ) -> Result<Navigated, Problem> {
        caller.require(WRITE)?;
        let tab = self.new_tab(&self.own(caller, id)?).await?;
        self.begin_at(&tab, request.url).await
    }

    /// Opens, focuses or closes a tab.
    pub async fn act_on_tab(
        &self,
        target: Target,
        request: TabActionRequest,
    ) -> Result<TabActionDone, Problem> {
        let target = target.or(request.tab_id);
        let named = |target: &Target| match &target.tab {
            Some(_) => Ok(()),
            None => Err(Problem::invalid_field("tabId", "tabId is needed to focus a tab")),
        };
        match request.action {
            TabAction::New => {
                let tab = self.tab_to_navigate(&target, None, true).await?;
                self.begin_at(&tab, request.url).await.map(|opened| TabActionDone::New(Box::new(opened)))
            }
            TabAction::Focus => {
                named(&target)?;
                let tab = self.held_tab(&target, WRITE).await?;
                Ok(TabActionDone::Focused { focused: true, tab_id: tab.id().clone() })
            }
            TabAction::Close => self.close(target).await.map(TabActionDone::Closed),
        }
    }

    /// Sends a new tab to its first address, if there is one.
    async fn begin_at(&self, tab: &TabInUse, url: Option<Url>) -> Result<Navigated, Problem> {
        tab.is_unread();
        match url.filter(|url| url.as_str() != "about:blank") {
            Some(url) => self.go(tab, &url, self.navigate_options(None, Wait::loaded())?).await,
            None => Ok(Navigated {
                tab_id: tab.id().clone(),
                instance_id: tab.instance_id().clone(),
                url: "about:blank".to_owned(),
                title: String::new(),
                navigation: None,
            }),
        }
    }

    /// Closes a tab.
    pub async fn close(&self, target: Target) -> Result<Closed, Problem> {
        let tab = self.tab(&target, WRITE).await?;
        self.close_tab(target.caller.tenant(), &tab).await;
        Ok(Closed { closed: true, tab_id: tab.id().clone() })
    }
}

async fn view(tab: Tab) -> TabView {
    let crashed = tab.session().state() == SessionState::Crashed;
    let (url, title) = match tab.info().await {
        Ok(info) => (info.url, info.title),
        Err(_) => (String::new(), String::new()),
    };
    TabView {
        id: tab.id().clone(),
        instance_id: tab.instance_id().clone(),
        url,
        title,
        kind: "page".to_owned(),
        status: if crashed { "crashed" } else { "active" }.to_owned(),
        owner: None,
        locked_until: None,
        handoff_reason: None,
        paused_at: None,
    }
}
