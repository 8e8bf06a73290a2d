//! Listing, opening and closing tabs.

use std::{cmp::Reverse, time::Duration};

use futures_util::future::join_all;
use jiff::Timestamp;
use paddock_cdp::SessionState;
use paddock_platform::{identity::Caller, problem::Problem};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::time::timeout;
use url::Url;
use utoipa::ToSchema;

use super::{BrowserService, Navigated, READ, TabInUse, Target, WRITE};
use crate::{
    coordination::{Handoff, Lock},
    ids::{InstanceId, TabId},
    instance::{Instance, TabEntry},
    navigate::Wait,
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
    /// `active`; `paused_handoff` while a person works in it; `crashed`: the next navigation revives it; `hibernated`: the
    /// next use opens it again.
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
        let instances = match id {
            Some(id) => vec![self.own(caller, id)?],
            None => self.owned(caller).collect(),
        };
        Ok(self.view_tabs(instances, INFO_DEADLINE).await)
    }

    /// The tabs of instances, the last used first. All are asked at once, each within its deadline.
    pub(super) async fn view_tabs(&self, instances: Vec<Instance>, deadline: Duration) -> Vec<TabView> {
        let mut tabs: Vec<_> = instances.iter().flat_map(entries).collect();
        tabs.sort_by_key(|(_, entry)| Reverse(entry.used));
        let mut views = join_all(tabs.into_iter().map(|(id, entry)| view(id, entry, deadline))).await;
        for view in &mut views {
            self.show_hold(view);
        }
        views
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

    /// As [`BrowserService::act_on_tab`], in one instance. Without a tab, its last used one is meant.
    pub async fn act_on_tab_of(
        &self,
        target: Target,
        id: &InstanceId,
        request: TabActionRequest,
    ) -> Result<TabActionDone, Problem> {
        target.caller.require(WRITE)?;
        let instance = self.own(&target.caller, id)?;
        if request.action == TabAction::New {
            let tab = self.tab_to_navigate(&target, Some(id), true).await?;
            return self.begin_at(&tab, request.url).await.map(|opened| TabActionDone::New(Box::new(opened)));
        }
        let last_used =
            || instance.tab_entries().into_iter().max_by_key(|entry| entry.used).map(|entry| entry.id);
        let tab = request.tab_id.or_else(|| target.tab.clone()).or_else(last_used);
        match &tab {
            Some(tab) if !instance.has_tab(tab) => Err(Problem::not_found("tab", tab)),
            _ => self.act_on_tab(target, TabActionRequest { tab_id: tab, ..request }).await,
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
        let instance = self.owner_of(&target.caller, tab.id())?;
        self.close_tab(&instance, tab.id()).await;
        // Whoever asks for the tabs next does not find it any more.
        self.fleet.0.feed.changed(tab.instance_id());
        Ok(Closed { closed: true, tab_id: tab.id().clone() })
    }
}

fn entries(instance: &Instance) -> Vec<(InstanceId, TabEntry)> {
    instance.tab_entries().into_iter().map(|entry| (instance.id().clone(), entry)).collect()
}

/// How long Chrome may take to tell of a tab in a list.
const INFO_DEADLINE: Duration = Duration::from_secs(5);

/// What is known of a tab, with or without a page; without Chrome's word in time, what its events said.
async fn view(
    instance_id: InstanceId,
    TabEntry { id, tab, url, title, .. }: TabEntry,
    deadline: Duration,
) -> TabView {
    let Some(tab) = tab else {
        let (kind, status) = ("page".to_owned(), "hibernated".to_owned());
        return TabView {
            id,
            instance_id,
            url,
            title,
            kind,
            status,
            owner: None,
            locked_until: None,
            handoff_reason: None,
            paused_at: None,
        };
    };
    let crashed = tab.session().state() == SessionState::Crashed;
    let (url, title) = match timeout(deadline, tab.info()).await {
        Ok(Ok(info)) => (info.url, info.title),
        _ => (tab.0.page.with(|page| page.url.clone()), String::new()),
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
