//! The task that follows a page's events until it closes.

use std::{sync::Arc, time::Duration};

use metrics::{counter, gauge};
use paddock_cdp::{
    CallError, SESSION_FLOODED, Session, SessionState, Subscription,
    protocol::{
        page::{self, GetFrameTree, HandleJavaScriptDialog, JavascriptDialogOpening},
        target::CloseTarget,
    },
};
use tokio::time::Instant;

use super::{DIALOGS_MAX, Tab};
use crate::{
    config::BrowserOptions,
    dialog::{self, Dialogs},
    environment::Environment,
    fleet::Shared,
    ids::{InstanceId, TabId},
    metrics::{BROWSER_DIALOGS_TOTAL, BROWSER_TAB_CRASHES_TOTAL, BROWSER_TAB_FLOODS_TOTAL, BROWSER_TABS},
    network::log,
    page::{Excess, SharedPage},
    pool::hung,
    process::Process,
};

/// How long the state of a page may take to be asked for anew.
const RESYNC_DEADLINE: Duration = Duration::from_secs(2);

pub(super) async fn close_target(session: &Session, process: &Process) {
    let command = CloseTarget { target_id: session.target_id() };
    if session.state().is_final() {
        return;
    }
    let deadline = process.unresponsive_after();
    let closed = async {
        process.connection().browser().send(&command).await?;
        // The reply comes when closing has begun.
        let late = |_| CallError::Deadline { method: "Target.closeTarget".to_owned(), deadline };
        tokio::time::timeout(deadline, session.closed()).await.map_err(late)
    };
    if let Err(error @ CallError::Deadline { .. }) = closed.await {
        hung(process, error);
    }
}

/// Follows a page's events until it closes.
pub(super) struct Follower {
    id: TabId,
    instance: InstanceId,
    session: Session,
    process: Process,
    page: Arc<SharedPage>,
    shared: Arc<Shared>,
    environment: Arc<Environment>,
    dialogs: Arc<Dialogs>,
    events: Subscription,
}

/// Keeps the gauge right however the task ends.
struct Counted;

impl Counted {
    fn new() -> Self {
        gauge!(BROWSER_TABS).increment(1.0);
        Self
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        gauge!(BROWSER_TABS).decrement(1.0);
    }
}

impl Follower {
    pub(super) fn of(tab: &Tab, events: Subscription) -> Self {
        Self {
            id: tab.0.id.clone(),
            instance: tab.0.instance.clone(),
            session: tab.0.session.clone(),
            process: tab.0.process.clone(),
            page: Arc::clone(&tab.0.page),
            shared: Arc::clone(&tab.0.shared),
            environment: Arc::clone(&tab.0.environment),
            dialogs: Arc::clone(&tab.0.dialogs),
            events,
        }
    }

    pub(super) async fn run(mut self) {
        let _counted = Counted::new();
        let mut dropped = 0;
        let mut bounds = Bounds::of(&self.shared.options.current());
        while let Some(event) = self.events.next().await {
            let lost = self.events.dropped() > dropped;
            dropped = self.events.dropped();
            if event.method == "Page.frameNavigated" {
                bounds = Bounds::of(&self.shared.options.current());
            }
            self.environment.log.apply(&event, bounds.log);
            self.shared.feed.page_event(&self.instance, &self.id, &event);
            let mut excess = None;
            self.page.update(|page| {
                let now = Instant::now();
                page.apply(&event, now);
                if lost {
                    page.forget_requests(now);
                }
                excess = page.excess(bounds.page_size_max, now);
            });
            match excess {
                // The navigation that asked for it may have given up waiting long ago.
                Some(Excess::Stop) => _ = self.session.send(&page::StopLoading {}).await,
                Some(Excess::Close) => {
                    tracing::info!(browser.tab = %self.id, "closing a tab whose page loads without end");
                    close_target(&self.session, &self.process).await;
                }
                None => {}
            }
            match event.method {
                "Page.javascriptDialogOpening" => {
                    if let Ok(dialog) = event.parse() {
                        self.dialog_opens(dialog).await;
                    }
                }
                "Page.javascriptDialogClosed" => self.dialogs.closes(),
                "Inspector.targetCrashed" => counter!(BROWSER_TAB_CRASHES_TOTAL).increment(1),
                SESSION_FLOODED => {
                    counter!(BROWSER_TAB_FLOODS_TOTAL).increment(1);
                    tracing::warn!(browser.tab = %self.id, "closing a tab whose page floods the connection to Chrome");
                    close_target(&self.session, &self.process).await;
                }
                _ => {}
            }
            if lost {
                self.resync().await;
                dropped = self.events.dropped();
            }
        }
        self.page.update(|page| page.closed = true);
    }

    /// Asks for what the events that were lost may have said: which document is there.
    async fn resync(&self) {
        if self.session.state() == SessionState::Crashed {
            self.page.update(|page| page.crashed = true);
            return;
        }
        if let Ok(tree) = self.session.send_within(&GetFrameTree {}, RESYNC_DEADLINE).await {
            self.page.update(|page| page.resync(tree.frame_tree.frame, Instant::now()));
        }
    }

    /// Answers a dialog as was announced or as a user in a hurry would, until there are too many; or leaves it open.
    async fn dialog_opens(&self, dialog: JavascriptDialogOpening) {
        counter!(BROWSER_DIALOGS_TOTAL).increment(1);
        if !self.dialogs.is_kept() && self.page.with(|page| page.dialogs) > DIALOGS_MAX {
            tracing::info!(browser.tab = %self.id, "closing a tab whose page opens dialogs without end");
            close_target(&self.session, &self.process).await;
            return;
        }
        let Some(answer) = self.dialogs.opens(dialog.kind, dialog.message) else {
            let (dialogs, session) = (Arc::clone(&self.dialogs), self.session.clone());
            self.shared.tasks.spawn("browser_dialog", async move {
                let unblocked = tokio::select! {
                    unblocked = dialogs.unblocked(dialog::OPEN_MAX) => unblocked,
                    () = session.closed() => true,
                };
                if !unblocked {
                    session.send(&HandleJavaScriptDialog { accept: false, prompt_text: None }).await.ok();
                }
            });
            return;
        };
        let answer = HandleJavaScriptDialog { accept: answer.accept, prompt_text: answer.text.as_deref() };
        if let Err(error) = self.session.send(&answer).await {
            tracing::debug!(browser.tab = %self.id, error = %error, "a dialog was not answered");
        }
    }
}

/// What the options allow a tab.
struct Bounds {
    log: log::Bounds,
    page_size_max: u64,
}

impl Bounds {
    fn of(options: &BrowserOptions) -> Self {
        let log = log::Bounds {
            entries_max: options.network_entries_max,
            size_max: options.network_log_size_max.as_usize(),
        };
        Self { log, page_size_max: options.page_size_max.get() }
    }
}
