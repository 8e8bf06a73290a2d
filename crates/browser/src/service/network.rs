//! The network log: lists of requests, and requests as they end.

use axum::response::sse;
use futures_util::{Stream, stream};
use paddock_platform::problem::Problem;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::broadcast;
use utoipa::{IntoParams, ToSchema};

use super::{BrowserService, READ, Target, WRITE};
use crate::{
    ids::TabId,
    network::{Entry, Filter},
};

/// Requests of a tab.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct NetworkList {
    /// The requests, oldest first.
    pub entries: Vec<Entry>,
    /// The same once more, for clients that look here.
    pub items: Vec<Entry>,
    /// How many.
    pub count: usize,
    /// The tab.
    pub tab_id: TabId,
}

/// Requests that got nothing.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct BrokenAssets {
    /// The requests.
    pub broken: Vec<BrokenAsset>,
    /// How many.
    pub count: usize,
    /// The tab.
    pub tab_id: TabId,
}

/// A request that got nothing.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct BrokenAsset {
    /// Its address.
    pub url: String,
    /// What was asked for: `image`, `script`, `stylesheet`, `xhr`, …
    pub resource_type: String,
    /// HTTP status, 400 or more; 0 for none.
    pub status_code: u16,
    /// Why there was no answer.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub error: String,
}

/// Whether only broken ones are asked for.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema, IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
pub struct NetworkQuery {
    /// Only requests that failed or were answered with 400 or more, in short.
    pub broken: bool,
}

/// A log was emptied.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct NetworkCleared {
    /// True.
    pub cleared: bool,
    /// The tab.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tab_id: Option<TabId>,
    /// All tabs of the caller's tenant.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub all: bool,
}

impl BrowserService {
    /// Requests of a tab.
    pub async fn network(&self, target: &Target, filter: &Filter) -> Result<NetworkList, Problem> {
        let tab = self.tab(target, READ).await?;
        let entries = tab.0.environment.log.list(filter);
        let (items, count) = (entries.clone(), entries.len());
        Ok(NetworkList { entries, items, count, tab_id: tab.id().clone() })
    }

    /// Requests of a tab that got nothing.
    pub async fn broken_assets(&self, target: &Target, filter: &Filter) -> Result<BrokenAssets, Problem> {
        let tab = self.tab(target, READ).await?;
        let entries = tab.0.environment.log.list(filter).into_iter();
        let broken: Vec<BrokenAsset> = entries
            .filter(|entry| entry.failed || entry.status >= 400)
            .map(|entry| BrokenAsset {
                url: entry.url,
                resource_type: entry.resource_type.to_ascii_lowercase(),
                status_code: entry.status,
                error: entry.error,
            })
            .collect();
        Ok(BrokenAssets { count: broken.len(), broken, tab_id: tab.id().clone() })
    }

    /// Empties the log of the tab that is named, or of all tabs of the caller's tenant.
    pub async fn clear_network(&self, target: &Target) -> Result<NetworkCleared, Problem> {
        target.caller.require(WRITE)?;
        if target.tab.is_some() {
            let tab = self.tab(target, WRITE).await?;
            tab.0.environment.log.clear();
            return Ok(NetworkCleared { cleared: true, tab_id: Some(tab.id().clone()), all: false });
        }
        for tab in self.owned(&target.caller).flat_map(|instance| instance.tabs()) {
            tab.0.environment.log.clear();
        }
        Ok(NetworkCleared { cleared: true, tab_id: None, all: true })
    }

    /// Requests of a tab as they end.
    pub async fn network_stream(
        &self,
        target: &Target,
        filter: Filter,
    ) -> Result<impl Stream<Item = Result<sse::Event, axum::Error>> + use<>, Problem> {
        let tab = self.tab(target, READ).await?;
        let ended = tab.0.environment.log.follow();
        Ok(stream::unfold((tab, ended, filter), |(tab, mut ended, filter)| async move {
            loop {
                let received = tokio::select! {
                    received = ended.recv() => received,
                    () = tab.session().closed() => return None,
                };
                let event = match received {
                    Ok(entry) if filter.matches(&entry) => {
                        sse::Event::default().event("network").json_data(&*entry)
                    }
                    Ok(_) => continue,
                    Err(broadcast::error::RecvError::Lagged(missed)) => {
                        sse::Event::default().event("lagged").json_data(json!({ "missed": missed }))
                    }
                    Err(broadcast::error::RecvError::Closed) => return None,
                };
                return Some((event, (tab, ended, filter)));
            }
        }))
    }
}
