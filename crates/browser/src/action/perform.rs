//! An action from its beginning to the document that it leads to.

use std::{sync::Arc, time::Duration};

use futures_util::FutureExt;
use paddock_cdp::{
    CallError, Subscription,
    protocol::{input::InsertText, page::FrameNavigates},
};
use tokio::time::{Instant, timeout};

use super::{Action, ActionError, ActionKind, Outcome, keyboard};
use crate::{dialog::Answer, page::Stage, tab::Tab};

/// Events by which a page says where it goes.
const LEAVES: &[&str] = &[
    "Page.windowOpen",
    "Page.frameScheduledNavigation",
    "Page.frameRequestedNavigation",
    "Page.frameStartedNavigating",
];
/// Of those, as many as are kept for one action.
const LEAVES_MAX: usize = 16;
/// How long an action waits for a document that it went to, when nobody asked it to wait.
const COMMIT_MAX: Duration = Duration::from_secs(1);
/// How long an action that is to wait for a navigation waits for one to begin.
const BEGIN_MAX: Duration = Duration::from_secs(3);

/// What an action did, and whether it opened windows.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) outcome: Outcome,
    pub(crate) opened_window: bool,
}

impl Tab {
    /// Does an action.
    pub async fn act(&self, action: &Action) -> Result<Outcome, ActionError> {
        self.act_and_tell(action).await.map(|done| done.outcome)
    }

    pub(crate) async fn act_and_tell(&self, action: &Action) -> Result<Done, ActionError> {
        self.touch();
        let dialogs = Arc::clone(&self.0.dialogs);
        if let Some(dialog) = dialogs.open() {
            return Err(ActionError::DialogOpen(dialog));
        }
        dialogs.keep();
        let started = Instant::now();
        let mut leaves = self.session().subscribe(LEAVES, LEAVES_MAX);
        let before = self.0.page.with(|page| (page.loader_id.clone(), page.url.clone()));
        let announced = action
            .dialog
            .as_ref()
            .map(|answer| dialogs.announce(Answer { accept: answer.accept, text: answer.text.clone() }));
        let performed = tokio::select! {
            biased;
            performed = timeout(action.timeout, self.perform(action)) => performed,
            dialog = dialogs.blocked() => return Err(ActionError::DialogOpen(dialog)),
        };
        let mut outcome = match performed {
            Ok(Err(ActionError::StaleRef { reference, .. })) => return Err(self.stale(reference).await),
            Ok(result) => result?,
            Err(_) => {
                let deadline = action.timeout;
                return Err(CallError::Deadline { method: "action".to_owned(), deadline }.into());
            }
        };
        outcome.success = true;
        outcome.dialog = dialogs.take_answered();
        drop(announced);
        let (opened_window, leaves) = self.leaving(&mut leaves);
        let left = action.timeout.saturating_sub(started.elapsed());
        if action.wait_navigation || leaves {
            tokio::select! {
                navigated = self.follow(&before, action.wait_navigation, leaves, left) => outcome.navigated = navigated,
                dialog = dialogs.blocked() => return Err(ActionError::DialogOpen(dialog)),
            }
        }
        if outcome.navigated {
            self.prepare_look();
            outcome.url = Some(self.0.page.with(|page| page.url.clone()));
        }
        Ok(Done { outcome, opened_window })
    }

    /// Whether the page opened a window, and whether it goes to another document.
    fn leaving(&self, events: &mut Subscription) -> (bool, bool) {
        let (main_frame, mut leaves) = self.0.page.with(|page| (page.main_frame.clone(), page.is_leaving()));
        let mut opened_window = false;
        while let Some(Some(event)) = events.next().now_or_never() {
            if event.method == "Page.windowOpen" {
                opened_window = true;
            } else if let Ok(event) = event.parse::<FrameNavigates>() {
                let here = event.disposition.as_deref().is_none_or(|place| place == "currentTab");
                leaves |= event.frame_id == main_frame && here && is_document(&event.url);
            }
        }
        (opened_window, leaves)
    }

    /// Waits for the document that the page goes to. Whether it came.
    async fn follow(
        &self,
        (loader_id, url): &(String, String),
        wait: bool,
        leaves: bool,
        left: Duration,
    ) -> bool {
        let page = &self.0.page;
        let mut asked = leaves && page.with(|page| page.is_leaving());
        let changed = page.until(|page| {
            asked |= page.is_leaving();
            let there = page.loader_id != *loader_id || page.url != *url || page.closed;
            // A download, or an answer without content: the document stays.
            (there || (asked && !page.is_leaving())).then_some(there)
        });
        let longest = match (wait, leaves) {
            (false, _) => left.min(COMMIT_MAX),
            (true, true) => left,
            (true, false) => left.min(BEGIN_MAX),
        };
        let navigated = timeout(longest, changed).await.unwrap_or(false);
        if navigated && wait && page.with(|page| page.loader_id != *loader_id) {
            let loaded = page.until(|page| (page.stage == Stage::Loaded || page.closed).then_some(()));
            timeout(left, loaded).await.ok();
        }
        navigated
    }

    async fn perform(&self, action: &Action) -> Result<Outcome, ActionError> {
        match action.kind {
            ActionKind::Click => self.click(action, 1).await,
            ActionKind::DoubleClick => self.click(action, 2).await,
            ActionKind::Type => self.type_into(action).await,
            ActionKind::Fill => self.fill(action).await,
            ActionKind::Press => self.press_key(action).await,
            ActionKind::Focus => self.focus(action).await,
            ActionKind::Hover => {
                let at = self.target_point(action, false, true).await?;
                self.mouse(action).move_to(at.x, at.y).await?;
                self.remember_pointer(at.x, at.y);
                Ok(Outcome { hovered: true, ..at.outcome() })
            }
            ActionKind::Select => self.select(action).await,
            ActionKind::Scroll => self.scroll(action).await,
            ActionKind::ScrollIntoView => {
                let at = self.target_point(action, false, false).await?;
                Ok(Outcome { scrolled: true, ..at.outcome() })
            }
            ActionKind::MouseMove => self.move_mouse(action).await,
            ActionKind::MouseDown | ActionKind::MouseUp => self.hold_mouse(action).await,
            ActionKind::MouseWheel => self.turn_wheel(action).await,
            ActionKind::Drag => self.drag(action).await,
            ActionKind::Check => self.set_checked(action, true).await,
            ActionKind::Uncheck => self.set_checked(action, false).await,
            ActionKind::KeyboardType => {
                let held = self.held(action);
                keyboard::type_text(self.session(), &action.text, held, action.timeout).await?;
                Ok(Outcome { typed: true, ..Outcome::default() })
            }
            ActionKind::KeyboardInsertText => {
                self.session().send_within(&InsertText { text: &action.text }, action.timeout).await?;
                Ok(Outcome { typed: true, ..Outcome::default() })
            }
            ActionKind::KeyDown | ActionKind::KeyUp => self.hold_key(action).await,
        }
    }
}

/// Whether going to an address replaces the document, rather than starting another program.
fn is_document(url: &str) -> bool {
    ["http:", "https:", "about:", "blob:", "data:", "file:"].iter().any(|scheme| url.starts_with(scheme))
}
