//! Listing, opening and closing tabs.

use std::{cmp::Reverse, time::Duration};

use futures_util::future::join_all;
use paddock_cdp::SessionState;
use paddock_platform::{identity::Caller, problem::Problem};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::time::timeout;
use url::Url;
use utoipa::ToSchema;

use super::{BrowserService, Navigated, READ, Target, WRITE};
use crate::{
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
    /// `active`, or `crashed`: the next navigation revives it.
    pub status: String,
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
        tabs.retain(|tab| !tab.is_closed());
        tabs.sort_by_key(|tab| Reverse(tab.used()));
        Ok(join_all(tabs.into_iter().map(|tab| view(tab, INFO_DEADLINE))).await)
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
        match request.url {
            Some(url) => self.go(&tab, &url, self.navigate_options(None, Wait::loaded())?).await,
            None => Ok(Navigated {
                tab_id: tab.id().clone(),
                instance_id: id.clone(),
                url: "about:blank".to_owned(),
                title: String::new(),
                navigation: None,
            }),
        }
    }

    /// Closes a tab.
    pub async fn close(&self, target: Target) -> Result<Closed, Problem> {
        let tab = self.tab(&target, WRITE).await?;
        tab.close().await;
        // Whoever asks for the tabs next does not find it any more.
        self.fleet.0.feed.changed(tab.instance_id());
        Ok(Closed { closed: true, tab_id: tab.id().clone() })
    }
}

/// How long Chrome may take to tell of a tab in a list.
const INFO_DEADLINE: Duration = Duration::from_secs(5);

/// What is known of a tab; without Chrome's word in time, what its events said.
pub(super) async fn view(tab: Tab, deadline: Duration) -> TabView {
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
    }
}
