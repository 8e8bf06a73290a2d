//! Having the script in a document before anybody asks about it.
//!
//! In a tab whose documents are looked at, the script stands: Chrome runs it in each new document by itself, so that a
//! document is sent a question and not the whole script. It is taken back when a document came and went without being
//! looked at: a tab that is only sent from page to page pays nothing.

use std::{
    sync::{LazyLock, atomic::Ordering},
    time::Duration,
};

use paddock_cdp::protocol::page::{AddScriptToEvaluateOnNewDocument, RemoveScriptToEvaluateOnNewDocument};
use serde_json::value::RawValue;

use super::Realm;
use crate::{
    evaluate::{EvaluateError, PROBE},
    snapshot::SCRIPT,
    tab::{Tab, WORLD},
};

/// How long a page that just came may take to take the script in.
const PREPARE_DEADLINE: Duration = Duration::from_secs(10);
/// Whether the script is in a world.
const IS_THERE: &str = "Object.hasOwn(globalThis,\"paddockAccessibility\")";
/// The script as it stands: Chrome runs it in frames, too, where it would be of no use.
static STANDING: LazyLock<String> = LazyLock::new(|| format!("if(window===top){}", *SCRIPT));

impl Tab {
    /// Sees to it that a document that has just come has the script, in a tab whose last document was looked at: most
    /// likely the next question is about this one, and until then Chrome has time for it.
    pub(crate) fn prepare_look(&self) {
        let looked = self.0.looked.swap(false, Ordering::Relaxed);
        if !looked && !self.stands() {
            return;
        }
        let tab = self.clone();
        self.0.shared.tasks.spawn("browser_prepare_look", async move {
            if looked {
                tab.prepare().await;
            } else {
                tab.take_back().await;
            }
        });
    }

    /// Whether Chrome runs the script in each new document.
    pub(super) fn stands(&self) -> bool {
        self.0.standing.try_lock().is_ok_and(|standing| standing.is_some())
    }

    async fn prepare(&self) {
        let mut standing = self.0.standing.lock().await;
        if standing.is_some() {
            drop(standing);
            return self.wake_standing().await;
        }
        if self.isolated_world().await.is_err() || self.has_script(&Realm::PAGE) {
            return;
        }
        self.note_script(&Realm::PAGE, true);
        let script = AddScriptToEvaluateOnNewDocument {
            source: &STANDING,
            world_name: Some(WORLD),
            run_immediately: Some(true),
        };
        match self.session().send_within(&script, PREPARE_DEADLINE).await {
            Ok(added) => *standing = Some(added.identifier),
            // Whoever asks next sends it.
            Err(_) => self.note_script(&Realm::PAGE, false),
        }
    }

    /// Has Chrome run the script that stands in the present document.
    async fn wake_standing(&self) {
        // Twice: a page may go on to another at once.
        for _ in 0..2 {
            let is_there = self.ask_standing(IS_THERE, PREPARE_DEADLINE).await;
            if is_there.is_ok_and(|answer| answer.get() == "true") {
                self.note_script(&Realm::PAGE, true);
                return;
            }
        }
        // The page's own world was there before what stands came to its process.
        self.note_script(&Realm::PAGE, true);
        if self.evaluate_realm(&Realm::PAGE, &SCRIPT, PREPARE_DEADLINE).await.is_err() {
            self.note_script(&Realm::PAGE, false);
        }
    }

    /// Asks in the page's isolated world, after the script that stands has run.
    pub(super) async fn ask_standing(
        &self,
        expression: &str,
        timeout: Duration,
    ) -> Result<Box<RawValue>, EvaluateError> {
        // Chrome runs what stands as it makes the page's own world, and a page without scripts of its own has none before
        // somebody needs it.
        let (_, value) = tokio::join!(
            biased;
            self.session().send_within(&PROBE, timeout),
            self.evaluate_realm(&Realm::PAGE, expression, timeout),
        );
        value
    }

    async fn take_back(&self) {
        let Some(identifier) = self.0.standing.lock().await.take() else { return };
        let script = RemoveScriptToEvaluateOnNewDocument { identifier: &identifier };
        // A tab that is gone runs nothing any more.
        self.session().send(&script).await.ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_is_one_statement_under_its_condition() {
        assert!(STANDING.starts_with("if(window===top)if("), "{}", &STANDING[..40]);
    }
}
