//! How a tab is, in short: whether it loads, whether it can be acted on, whether a dialog is in the way.

use paddock_platform::problem::Problem;
use serde::Serialize;
use utoipa::ToSchema;

use super::{BrowserService, READ, Target};
use crate::{dialog::Dialog, ids::TabId, page::Stage};

/// How far the page is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PageLoad {
    /// `loading`, `interactive` or `complete`, as scripts are told.
    pub ready_state: &'static str,
    /// Whether it is going somewhere.
    pub navigation_in_progress: bool,
    /// Whether nothing is being loaded.
    pub network_idle: bool,
    /// As `readyState`, or `busy`: complete, and something is being loaded.
    pub state: &'static str,
}

/// How a tab is.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PageState {
    /// The tab.
    pub tab_id: TabId,
    /// Where it is.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub url: String,
    /// Title of its page.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub title: String,
    /// Whether a dialog is open.
    pub dialog_present: bool,
    /// Which.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dialog: Option<Dialog>,
    /// How far its page is.
    pub load: PageLoad,
    /// `ready`; `caution` while it loads; `blocked` by a dialog.
    pub actionability: &'static str,
}

impl PageLoad {
    fn of(stage: Stage, leaving: bool, network_idle: bool) -> Self {
        let ready_state = match (leaving, stage) {
            (true, _) | (_, Stage::Committed) => "loading",
            (_, Stage::Parsed) => "interactive",
            (_, Stage::Loaded) => "complete",
        };
        let state = if ready_state == "complete" && !network_idle { "busy" } else { ready_state };
        Self { ready_state, navigation_in_progress: ready_state == "loading", network_idle, state }
    }
}

impl BrowserService {
    /// How a tab is. The page is not asked: it may be standing still.
    pub async fn page_state(&self, target: &Target) -> Result<PageState, Problem> {
        let tab = self.tab(target, READ).await?;
        let info = tab.info().await?;
        let dialog = tab.0.dialogs.open();
        let load =
            tab.0.page.with(|page| PageLoad::of(page.stage, page.is_leaving(), page.quiet_since.is_some()));
        let actionability = match (&dialog, load.state) {
            (Some(_), _) => "blocked",
            (None, "complete") => "ready",
            (None, _) => "caution",
        };
        Ok(PageState {
            tab_id: tab.id().clone(),
            url: info.url,
            title: info.title,
            dialog_present: dialog.is_some(),
            dialog,
            load,
            actionability,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_complete_when_nothing_is_loading() {
        assert_eq!(PageLoad::of(Stage::Loaded, false, true).state, "complete");
        assert_eq!(PageLoad::of(Stage::Loaded, false, false).state, "busy");
        assert_eq!(PageLoad::of(Stage::Parsed, false, false).state, "interactive");
        let leaving = PageLoad::of(Stage::Loaded, true, true);
        assert!(leaving.navigation_in_progress && leaving.state == "loading");
    }
}
