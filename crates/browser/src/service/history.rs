//! Going back and forward, and loading again.

use paddock_cdp::CallError;
use paddock_platform::problem::Problem;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{BrowserService, Target, WRITE};
use crate::{
    error::BrowserError,
    history::Turn,
    ids::{InstanceId, TabId},
};

/// In which tab.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, IntoParams)]
#[serde(rename_all = "camelCase", default)]
#[into_params(parameter_in = Query)]
pub struct HistoryQuery {
    /// The tab; without one, the current tab.
    #[param(value_type = Option<String>)]
    pub tab_id: Option<TabId>,
    /// Closes cookie and consent banners afterwards.
    pub dismiss_banners: bool,
}

/// Where a tab is now.
#[derive(Clone, Debug, Serialize, JsonSchema, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Turned {
    /// The tab.
    pub tab_id: TabId,
    /// Its instance.
    pub instance_id: InstanceId,
    /// Its address.
    pub url: String,
}

impl BrowserService {
    /// Goes through a tab's history, or loads its page again.
    pub async fn turn(&self, target: &Target, turn: Turn, query: HistoryQuery) -> Result<Turned, Problem> {
        let tab = self.tab(target, WRITE).await?;
        let url = tab.turn(turn).await.map_err(|error: CallError| BrowserError::from(error))?;
        if query.dismiss_banners {
            tab.dismiss_banners().await?;
        }
        Ok(Turned { tab_id: tab.id().clone(), instance_id: tab.instance_id().clone(), url })
    }
}
