//! The console and the errors of a page.

use paddock_platform::problem::Problem;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{BrowserService, READ, Target, WRITE};
use crate::{
    console::{ConsoleMessage, PageError},
    ids::TabId,
};

/// Which messages.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, IntoParams)]
#[serde(rename_all = "camelCase", default)]
#[into_params(parameter_in = Query)]
pub struct ConsoleQuery {
    /// The tab; without one, the tab that was used last.
    #[param(value_type = Option<String>)]
    pub tab_id: Option<TabId>,
    /// Only the last so many; at most 1000.
    pub limit: Option<usize>,
}

/// The console of a page.
#[derive(Clone, Debug, Serialize, JsonSchema, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConsoleView {
    /// The tab.
    pub tab_id: TabId,
    /// What the present document wrote, oldest first.
    pub console: Vec<ConsoleMessage>,
}

/// The errors of a page.
#[derive(Clone, Debug, Serialize, JsonSchema, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ErrorsView {
    /// The tab.
    pub tab_id: TabId,
    /// What the present document threw, oldest first.
    pub errors: Vec<PageError>,
}

/// A list was emptied.
#[derive(Clone, Debug, Serialize, JsonSchema, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct LogCleared {
    /// True.
    pub success: bool,
    /// The tab.
    pub tab_id: TabId,
}

impl BrowserService {
    /// What the page wrote to its console.
    pub async fn console(&self, target: &Target, query: ConsoleQuery) -> Result<ConsoleView, Problem> {
        let tab = self.tab(target, READ).await?;
        let console = last(tab.console().await?.messages, query.limit);
        Ok(ConsoleView { tab_id: tab.id().clone(), console })
    }

    /// What the page threw.
    pub async fn errors(&self, target: &Target, query: ConsoleQuery) -> Result<ErrorsView, Problem> {
        let tab = self.tab(target, READ).await?;
        let errors = last(tab.console().await?.errors, query.limit);
        Ok(ErrorsView { tab_id: tab.id().clone(), errors })
    }

    /// Forgets what the page wrote so far.
    pub async fn clear_console(&self, target: &Target) -> Result<LogCleared, Problem> {
        let tab = self.tab(target, WRITE).await?;
        tab.clear_console().await;
        Ok(LogCleared { success: true, tab_id: tab.id().clone() })
    }

    /// Forgets what the page threw so far.
    pub async fn clear_errors(&self, target: &Target) -> Result<LogCleared, Problem> {
        let tab = self.tab(target, WRITE).await?;
        tab.clear_errors().await;
        Ok(LogCleared { success: true, tab_id: tab.id().clone() })
    }
}

/// The last so many; none or 0 for all.
fn last<T>(mut items: Vec<T>, limit: Option<usize>) -> Vec<T> {
    let surplus = match limit {
        None | Some(0) => 0,
        Some(limit) => items.len().saturating_sub(limit),
    };
    items.drain(..surplus);
    items
}
