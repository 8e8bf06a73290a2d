//! Evaluating in a realm: the page's isolated world, or that of a frame of another origin, entered when it is needed.

use std::{
    sync::{Arc, PoisonError, atomic::Ordering},
    time::Duration,
};

use paddock_cdp::{CallError, Session, protocol::page::CreateIsolatedWorld};
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use super::{Apart, Entered, Realm};
use crate::{
    evaluate::{EvaluateError, World, evaluate_at, is_stale},
    snapshot::SCRIPT,
    tab::{Tab, WORLD},
};

/// What an expression yields in a world where the script is not.
const MISSING: &str = "\"paddock:missing\"";

impl Tab {
    /// Evaluates an expression that uses `paddockAccessibility`, in a realm, and reads its value.
    pub(crate) async fn ask<T: DeserializeOwned>(
        &self,
        realm: &Realm,
        expression: &str,
        timeout: Duration,
    ) -> Result<T, EvaluateError> {
        let value = self.ask_raw(realm, expression, timeout).await?;
        serde_json::from_str(value.get()).map_err(EvaluateError::Type)
    }

    /// As [`Tab::ask`], with the value as JSON. A dialog that is open ends the waiting.
    pub(crate) async fn ask_raw(
        &self,
        realm: &Realm,
        expression: &str,
        timeout: Duration,
    ) -> Result<Box<RawValue>, EvaluateError> {
        self.touch();
        self.0.looked.store(true, Ordering::Relaxed);
        // A page can name an element as the script is named; only a property of the global object is the script.
        let guarded =
            format!("Object.hasOwn(globalThis,\"paddockAccessibility\")?{expression}:\"paddock:missing\"");
        let asked = async {
            if self.has_script(realm) {
                let value = self.evaluate_realm(realm, &guarded, timeout).await?;
                if value.get() != MISSING {
                    return Ok(value);
                }
            }
            if realm.0.is_none() && self.stands() {
                let value = self.ask_standing(&guarded, timeout).await?;
                if value.get() != MISSING {
                    self.note_script(realm, true);
                    return Ok(value);
                }
            }
            // Twice: the document may be replaced between the script and the question.
            for _ in 0..2 {
                if let Some(value) = self.ask_with_script(realm, &guarded, timeout).await? {
                    return Ok(value);
                }
            }
            Err(EvaluateError::Replaced)
        };
        tokio::select! {
            biased;
            result = asked => result,
            dialog = self.0.dialogs.blocked() => Err(EvaluateError::DialogOpen(dialog)),
        }
    }

    /// Asks in a world that is new: the script goes ahead, and nobody waits for its answer. Apart from the question,
    /// because Chrome keeps what it compiled of a text that it knows. None if the script was not there after all.
    async fn ask_with_script(
        &self,
        realm: &Realm,
        guarded: &str,
        timeout: Duration,
    ) -> Result<Option<Box<RawValue>>, EvaluateError> {
        // Before the two: each would ask for it.
        match &realm.0 {
            Some(apart) => drop(self.enter(apart).await?),
            None => self.make_world(timeout).await?,
        }
        self.note_script(realm, true);
        let (defined, value) = tokio::join!(
            biased;
            self.evaluate_realm(realm, &SCRIPT, timeout),
            self.evaluate_realm(realm, guarded, timeout),
        );
        if let Err(error) = defined {
            self.note_script(realm, false);
            return Err(error);
        }
        let value = value?;
        if value.get() == MISSING {
            self.note_script(realm, false);
            return Ok(None);
        }
        Ok(Some(value))
    }

    /// Whether the script was sent to the realm's present world.
    pub(super) fn has_script(&self, realm: &Realm) -> bool {
        match &realm.0 {
            Some(apart) => apart.entered().as_ref().is_some_and(|entered| entered.has_script),
            None => self.0.page.with(|page| {
                let world = self.0.world.lock().unwrap_or_else(PoisonError::into_inner);
                world.as_ref().is_some_and(|world| world.has_script && world.loader_id == page.loader_id)
            }),
        }
    }

    pub(super) fn note_script(&self, realm: &Realm, sent: bool) {
        if let Some(apart) = &realm.0 {
            if let Some(entered) = apart.entered().as_mut() {
                entered.has_script = sent;
            }
            return;
        }
        let mut world = self.0.world.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(world) = world.as_mut() {
            world.has_script = sent;
        }
    }

    pub(super) async fn evaluate_realm(
        &self,
        realm: &Realm,
        expression: &str,
        timeout: Duration,
    ) -> Result<Box<RawValue>, EvaluateError> {
        let Some(apart) = &realm.0 else {
            return self.evaluate_in_place(expression, World::Isolated, timeout).await;
        };
        for attempt in 0..2 {
            let Entered { session, context_id, .. } = self.enter(apart).await?;
            match evaluate_at(&session, expression, Some(context_id), timeout).await {
                Err(EvaluateError::Call(error)) if attempt == 0 && is_lost(&error) => {
                    *apart.entered() = None;
                }
                Err(EvaluateError::Call(CallError::Deadline { .. })) => {
                    return Err(EvaluateError::Timeout(timeout));
                }
                result => return result,
            }
        }
        Err(EvaluateError::Replaced)
    }

    /// The session and the isolated world of a frame.
    pub(super) async fn enter(&self, apart: &Arc<Apart>) -> Result<Entered, EvaluateError> {
        let entered = apart.entered().clone();
        if let Some(entered) = entered {
            return Ok(entered);
        }
        let around = match &apart.around.0 {
            Some(outer) => Box::pin(self.enter(outer)).await?.session,
            None => self.session().clone(),
        };
        let command = CreateIsolatedWorld { frame_id: &apart.frame_id, world_name: WORLD };
        let (session, context_id) = match around.send(&command).await {
            Ok(world) => (around, world.execution_context_id),
            // It lives in a process of its own: a target whose id is that of the frame.
            Err(CallError::Protocol { .. }) => {
                let attach = self.0.process.connection().attach(&apart.frame_id).await;
                let session = attach.map_err(|_| EvaluateError::Replaced)?;
                let world = session.send(&command).await.map_err(EvaluateError::Call)?;
                (session, world.execution_context_id)
            }
            Err(error) => return Err(EvaluateError::Call(error)),
        };
        let entered = Entered { session, context_id, has_script: false };
        *apart.entered() = Some(entered.clone());
        Ok(entered)
    }

    pub(super) async fn context_of(&self, realm: &Realm) -> Result<(Session, i64), EvaluateError> {
        if let Some(apart) = &realm.0 {
            let Entered { session, context_id, .. } = self.enter(apart).await?;
            return Ok((session, context_id));
        }
        let context_id = self.isolated_world().await.map_err(EvaluateError::Call)?;
        Ok((self.session().clone(), context_id))
    }
}

/// Whether the world or the session that a frame had is gone.
fn is_lost(error: &CallError) -> bool {
    match error {
        CallError::Protocol { message, .. } => {
            is_stale(message) || message.contains("Session with given id not found")
        }
        CallError::Detached { .. } | CallError::Crashed { .. } => true,
        _ => false,
    }
}
