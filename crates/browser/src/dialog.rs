//! JavaScript dialogs of a tab: answered for the page's visitors, or left open for an agent to answer.
//!
//! A page that opens a dialog stands still until it is answered. While a page loads nobody could, so dialogs are
//! dismissed at once. From the first action on the page to the next navigation they are the agent's: one that an action
//! announced (`dialogAction`) is answered so, any other stays open until it is answered, or until [`OPEN_MAX`] is over.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use http::StatusCode;
use paddock_cdp::{CallError, protocol::page::HandleJavaScriptDialog};
use paddock_platform::problem::{INVALID_REQUEST, Problem, ProblemKind};
use serde::Serialize;
use tokio::{sync::watch, time::timeout};

use crate::{error::call_problem, tab::Tab};

/// A dialog is open, and nothing else of the page answers until it is closed.
pub const DIALOG_BLOCKING: ProblemKind =
    ProblemKind::new("dialog-blocking", StatusCode::CONFLICT, "A dialog is open");

/// How long a dialog that nobody answers stays open.
pub(crate) const OPEN_MAX: Duration = Duration::from_mins(2);
/// How much of a dialog's text is passed on.
const MESSAGE_LENGTH_MAX: usize = 2000;

/// A dialog that is open.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, schemars::JsonSchema, utoipa::ToSchema)]
pub struct Dialog {
    /// `alert`, `confirm`, `prompt` or `beforeunload`.
    #[serde(rename = "type")]
    pub kind: String,
    /// What it says.
    pub message: String,
}

/// How a dialog is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    /// OK or Cancel.
    pub(crate) accept: bool,
    /// What is entered into a prompt.
    pub(crate) text: Option<String>,
}

/// A dialog could not be answered.
#[derive(Debug, thiserror::Error)]
pub enum DialogError {
    /// None is open.
    #[error("no dialog is open")]
    None,
    /// Chrome did not take the answer.
    #[error("the dialog was not answered")]
    Call(#[source] CallError),
}

impl From<DialogError> for Problem {
    fn from(error: DialogError) -> Self {
        match error {
            DialogError::None => Self::new(INVALID_REQUEST, error.to_string()),
            DialogError::Call(error) => call_problem(&error),
        }
    }
}

/// The problem of everything that waits for a page with an open dialog.
pub(crate) fn blocked_problem(dialog: &Dialog) -> Problem {
    let details = serde_json::json!({
        "suggestion": "repeat the action with dialogAction `accept` or `dismiss`, or answer with POST /dialog",
        "dialog_type": dialog.kind,
        "dialog_message": dialog.message,
    });
    let detail = format!(
        "a JavaScript dialog is blocking the page ({}: {:?}); answer it with POST /dialog",
        dialog.kind, dialog.message
    );
    Problem::new(DIALOG_BLOCKING, detail).with("details", details)
}

#[derive(Debug, Default)]
struct State {
    open: Option<Dialog>,
    announced: Option<Answer>,
    /// The last one that was answered as announced.
    answered: Option<Dialog>,
    /// Dialogs are the agent's now.
    kept: bool,
}

/// The dialogs of one tab.
#[derive(Debug)]
pub(crate) struct Dialogs {
    state: Mutex<State>,
    changed: watch::Sender<()>,
}

impl Default for Dialogs {
    fn default() -> Self {
        Self { state: Mutex::default(), changed: watch::Sender::new(()) }
    }
}

/// An announced answer, taken back when this is dropped.
pub(crate) struct Announced<'a>(&'a Dialogs);

impl Drop for Announced<'_> {
    fn drop(&mut self) {
        self.0.lock().announced = None;
    }
}

impl Dialogs {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An agent acts: dialogs are its own from now on.
    pub(crate) fn keep(&self) {
        self.lock().kept = true;
    }

    /// Whether dialogs are the agent's.
    pub(crate) fn is_kept(&self) -> bool {
        self.lock().kept
    }

    /// A navigation begins: nobody can answer dialogs until it is over.
    pub(crate) fn dismiss(&self) {
        let mut state = self.lock();
        state.kept = false;
        state.announced = None;
    }

    /// Has the next dialog answered so, until what this returns is dropped.
    pub(crate) fn announce(&self, answer: Answer) -> Announced<'_> {
        let mut state = self.lock();
        state.announced = Some(answer);
        state.answered = None;
        Announced(self)
    }

    /// The dialog that was answered as announced, once.
    pub(crate) fn take_answered(&self) -> Option<Dialog> {
        self.lock().answered.take()
    }

    /// A dialog opens: how to answer it now, or none when it stays open.
    pub(crate) fn opens(&self, kind: String, mut message: String) -> Option<Answer> {
        if let Some((end, _)) = message.char_indices().nth(MESSAGE_LENGTH_MAX) {
            message.truncate(end);
        }
        let dialog = Dialog { kind, message };
        let mut state = self.lock();
        if dialog.kind == "beforeunload" {
            // "Leave the page?" is answered with yes: somebody asked for the navigation.
            return Some(Answer { accept: true, text: None });
        }
        if let Some(answer) = state.announced.take() {
            state.answered = Some(dialog);
            return Some(answer);
        }
        if !state.kept {
            return Some(Answer { accept: false, text: None });
        }
        state.open = Some(dialog);
        drop(state);
        self.changed.send_replace(());
        None
    }

    /// The open dialog was closed.
    pub(crate) fn closes(&self) {
        self.lock().open = None;
        self.changed.send_replace(());
    }

    pub(crate) fn open(&self) -> Option<Dialog> {
        self.lock().open.clone()
    }

    /// Resolves when a dialog is open that waits for an agent.
    pub(crate) async fn blocked(&self) -> Dialog {
        let mut changed = self.changed.subscribe();
        loop {
            changed.borrow_and_update();
            if let Some(dialog) = self.open() {
                return dialog;
            }
            // The sender is ours: it cannot be gone.
            changed.changed().await.ok();
        }
    }

    /// Waits until no dialog is open, but not for ever. Whether it came to that.
    pub(crate) async fn unblocked(&self, longest: Duration) -> bool {
        let mut changed = self.changed.subscribe();
        let closed = async {
            loop {
                changed.borrow_and_update();
                if self.open().is_none() {
                    return;
                }
                changed.changed().await.ok();
            }
        };
        timeout(longest, closed).await.is_ok()
    }
}

impl Tab {
    /// Answers the dialog that is open.
    pub async fn answer_dialog(&self, accept: bool, text: Option<&str>) -> Result<Dialog, DialogError> {
        self.touch();
        let dialog = self.0.dialogs.open().ok_or(DialogError::None)?;
        let answer = HandleJavaScriptDialog { accept, prompt_text: text };
        match self.session().send(&answer).await {
            // It was closed by the page's end, or by another request.
            Err(CallError::Protocol { .. }) => {
                self.0.dialogs.closes();
                return Err(DialogError::None);
            }
            result => result.map_err(DialogError::Call)?,
        };
        self.0.dialogs.closes();
        Ok(dialog)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opens(dialogs: &Dialogs) -> Option<Answer> {
        dialogs.opens("confirm".to_owned(), "Sure?".to_owned())
    }

    #[test]
    fn dialogs_are_dismissed_until_somebody_acts() {
        let dialogs = Dialogs::default();
        assert_eq!(opens(&dialogs), Some(Answer { accept: false, text: None }));
        dialogs.keep();
        assert_eq!(opens(&dialogs), None);
        assert_eq!(dialogs.open().unwrap().message, "Sure?");
        dialogs.closes();
        dialogs.dismiss();
        assert!(opens(&dialogs).is_some());
    }

    #[test]
    fn an_announced_answer_is_given_once_and_not_after_its_action() {
        let dialogs = Dialogs::default();
        dialogs.keep();
        let answer = Answer { accept: true, text: Some("x".to_owned()) };
        let announced = dialogs.announce(answer.clone());
        assert_eq!(opens(&dialogs), Some(answer.clone()));
        assert_eq!(opens(&dialogs), None);
        drop(announced);
        dialogs.closes();
        drop(dialogs.announce(answer));
        assert_eq!(opens(&dialogs), None);
    }

    #[tokio::test]
    async fn waiting_ends_with_the_dialog() {
        let dialogs = Dialogs::default();
        dialogs.keep();
        assert!(dialogs.unblocked(OPEN_MAX).await);
        opens(&dialogs);
        assert_eq!(dialogs.blocked().await.kind, "confirm");
        let (done, ()) = tokio::join!(dialogs.unblocked(OPEN_MAX), async { dialogs.closes() });
        assert!(done);
    }
}
