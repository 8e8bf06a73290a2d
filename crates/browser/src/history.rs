//! Going back and forward in a tab's history, and loading its page again.

use std::time::Duration;

use paddock_cdp::{
    CallError,
    protocol::page::{GetNavigationHistory, NavigateToHistoryEntry, Reload},
};
use tokio::time::timeout;

use crate::{page::Stage, tab::Tab};

/// Which way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// To the document before.
    Back,
    /// To the document after.
    Forward,
    /// The same document again.
    Reload,
}

/// How long a document of the history may take to be shown.
const TURN_MAX: Duration = Duration::from_secs(30);

impl Tab {
    /// Goes through the history; where there is nothing in that direction, the page stays. Answers with the address.
    pub async fn turn(&self, turn: Turn) -> Result<String, CallError> {
        self.touch();
        let _turn = self.0.navigating.lock().await;
        self.0.dialogs.dismiss();
        let page = &self.0.page;
        let (loader_id, url) = page.with(|page| (page.loader_id.clone(), page.url.clone()));
        if turn == Turn::Reload {
            self.session().send(&Reload::default()).await?;
        } else {
            let history = self.session().send(&GetNavigationHistory {}).await?;
            let index = match turn {
                Turn::Back => history.current_index.checked_sub(1),
                _ => history.current_index.checked_add(1),
            };
            let entry = index.and_then(|index| history.entries.get(index));
            // The empty page that every tab begins with is nowhere to go back to.
            let Some(entry) = entry.filter(|entry| turn != Turn::Back || entry.url != "about:blank") else {
                return Ok(url);
            };
            self.session().send(&NavigateToHistoryEntry { entry_id: entry.id }).await?;
        }
        let there = async {
            page.until(|page| {
                (page.loader_id != loader_id || page.url != url || page.closed || page.crashed).then_some(())
            })
            .await;
            // A page that comes back as it was left is as loaded as it was then.
            page.until(|page| {
                let same = page.loader_id == loader_id;
                (same || page.stage == Stage::Loaded || page.closed || page.crashed).then_some(())
            })
            .await;
        };
        timeout(TURN_MAX, there).await.ok();
        Ok(page.with(|page| page.url.clone()))
    }
}
