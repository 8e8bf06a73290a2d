//! Listing, opening and closing tabs.

use std::cmp::Reverse;

use futures_util::future::join_all;
use paddock_cdp::SessionState;
use paddock_platform::{identity::Caller, problem::Problem};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use url::Url;
use utoipa::ToSchema;

use super::{BrowserService, Navigated, READ, Target, WRITE};
use crate::{
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
    /// `active`; `crashed`: the next navigation revives it; `hibernated`: the next use opens it again.
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
            Some(id) => entries(&self.own(caller, id)?),
            None => self.owned(caller).flat_map(|instance| entries(&instance)).collect(),
        };
        tabs.sort_by_key(|(_, entry)| Reverse(entry.used));
        Ok(join_all(tabs.into_iter().map(|(id, entry)| view(id, entry))).await)
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
        Ok(Closed { closed: true, tab_id: tab.id().clone() })
    }
}

fn entries(instance: &Instance) -> Vec<(InstanceId, TabEntry)> {
    instance.tab_entries().into_iter().map(|entry| (instance.id().clone(), entry)).collect()
}

async fn view(instance_id: InstanceId, TabEntry { id, tab, url, title, .. }: TabEntry) -> TabView {
    let Some(tab) = tab else {
        let (kind, status) = ("page".to_owned(), "hibernated".to_owned());
        return TabView { id, instance_id, url, title, kind, status };
    };
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
    }
}
