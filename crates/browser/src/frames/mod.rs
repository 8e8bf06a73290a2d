//! Frames: where a selector is looked up, and how frames of other origins are reached.
//!
//! Frames of the page's own origin are seen from its isolated world: they are read and acted on with the page, and a
//! selector in one of them is a selector `within` the reference of its element. A frame of another origin has an
//! isolated world of its own ([`Realm`]), in the page's process or, where Chrome isolates sites, in another one, which is
//! then attached to. That is done when somebody asks for it: a tab whose frames nobody looks at pays nothing.
//!
//! References of a frame of another origin have letters of their own (`ea4`), so that they never collide.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use paddock_cdp::{
    CallError, Session,
    protocol::{
        dom::DescribeNode,
        page::CreateIsolatedWorld,
        runtime::{Evaluate, ReleaseObject},
    },
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Value, json, value::RawValue};

use crate::{
    action::ActionError,
    evaluate::{EvaluateError, World, evaluate_at, is_stale},
    snapshot::SCRIPT,
    tab::{Tab, WORLD},
};

/// Frames of other origins that a tab knows at a time; the one entered first is forgotten for the next.
const APART_MAX: usize = 64;
/// Elements of frames whose frame is remembered.
const OWNERS_MAX: usize = 1000;
/// How long a look-up in a page may take.
pub(crate) const LOOK_DEADLINE: Duration = Duration::from_secs(10);
/// What an expression yields in a world where the script is not.
const MISSING: &str = "\"paddock:missing\"";

/// A frame of another origin than the page around it.
#[derive(Debug)]
pub(crate) struct Apart {
    frame_id: String,
    /// The letters of its references.
    pub(crate) prefix: String,
    /// Where its element is, and the element.
    pub(crate) around: Realm,
    pub(crate) owner: String,
    entered: Mutex<Option<(Session, i64)>>,
    /// Number of the next reference.
    pub(crate) refs_next: AtomicU32,
}

/// The isolated world that a script runs in: the page's, or that of a frame of another origin.
#[derive(Clone, Debug, Default)]
pub(crate) struct Realm(pub(crate) Option<Arc<Apart>>);

impl Realm {
    /// The page's own.
    pub(crate) const PAGE: Self = Self(None);
}

/// Where a selector is looked up.
#[derive(Clone, Debug, Default)]
pub(crate) struct Place {
    pub(crate) realm: Realm,
    /// The reference of the frame whose document is meant; none for the realm's own.
    pub(crate) within: Option<String>,
}

/// The frame that selectors of a tab are about.
#[derive(Clone, Debug, Serialize, schemars::JsonSchema, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct FrameScope {
    /// Chrome's id of the frame.
    pub frame_id: String,
    /// Where it is.
    pub frame_url: String,
    /// Its name, or the id of its element.
    pub frame_name: String,
    /// Reference of its element.
    pub owner_ref: String,
    #[serde(skip)]
    #[schema(ignore)]
    pub(crate) place: Place,
    /// The page's document when the scope was chosen: it ends with that.
    #[serde(skip)]
    #[schema(ignore)]
    loader_id: String,
}

#[derive(Debug, Default)]
struct State {
    apart: Vec<Arc<Apart>>,
    /// The frame of an element, by the element's reference.
    owners: HashMap<String, String>,
    apart_total: usize,
    scope: Option<FrameScope>,
}

/// What a tab knows of its frames.
#[derive(Debug, Default)]
pub(crate) struct Frames {
    state: Mutex<State>,
    /// Number of the page's next reference: a later document goes on from it.
    pub(crate) refs_next: AtomicU32,
}

impl Frames {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The frame whose references begin with these letters.
    fn of_prefix(&self, prefix: &str) -> Option<Arc<Apart>> {
        self.lock().apart.iter().find(|apart| apart.prefix == prefix).cloned()
    }

    /// The frame of an element, known from now on.
    fn apart(&self, frame_id: &str, around: &Realm, owner: &str) -> Arc<Apart> {
        let mut state = self.lock();
        if let Some(known) =
            state.apart.iter().find(|apart| apart.frame_id == frame_id && apart.owner == owner)
        {
            return Arc::clone(known);
        }
        if state.apart.len() == APART_MAX {
            state.apart.remove(0);
        }
        let apart = Arc::new(Apart {
            frame_id: frame_id.to_owned(),
            prefix: prefix_of(state.apart_total),
            around: around.clone(),
            owner: owner.to_owned(),
            entered: Mutex::default(),
            refs_next: AtomicU32::new(0),
        });
        state.apart_total += 1;
        state.apart.push(Arc::clone(&apart));
        apart
    }
}

/// `ea`, `eb`, …, `ez`, `eaa`, …
fn prefix_of(mut number: usize) -> String {
    let mut letters = Vec::new();
    loop {
        letters.push(char::from(b'a' + u8::try_from(number % 26).unwrap_or_default()));
        number /= 26;
        if number == 0 {
            break;
        }
        number -= 1;
    }
    letters.push('e');
    letters.iter().rev().collect()
}

/// The letters of a text that is a reference (`e12`, `ea3`).
pub(crate) fn reference_prefix(text: &str) -> Option<&str> {
    let text = text.trim();
    let digits = text.find(|character: char| character.is_ascii_digit())?;
    let (prefix, number) = text.split_at(digits);
    let letters = prefix.strip_prefix('e')?;
    let is_reference = letters.len() <= 4
        && letters.bytes().all(|letter| letter.is_ascii_lowercase())
        && number.len() <= 9
        && number.bytes().all(|digit| digit.is_ascii_digit());
    is_reference.then_some(prefix)
}

/// What the script says of a frame's element.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct FrameFacts {
    pub(crate) r#ref: String,
    pub(crate) name: String,
    pub(crate) url: String,
    /// Of another origin.
    pub(crate) apart: bool,
}

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
        // A page can name an element as the script is named; only a property of the global object is the script.
        let guarded =
            format!("Object.hasOwn(globalThis,\"paddockAccessibility\")?{expression}:\"paddock:missing\"");
        let asked = async {
            let value = self.evaluate_realm(realm, &guarded, timeout).await?;
            if value.get() != MISSING {
                return Ok(value);
            }
            // Once per document.
            self.evaluate_realm(realm, SCRIPT, timeout).await?;
            self.evaluate_realm(realm, &guarded, timeout).await
        };
        tokio::select! {
            biased;
            result = asked => result,
            dialog = self.0.dialogs.blocked() => Err(EvaluateError::DialogOpen(dialog)),
        }
    }

    async fn evaluate_realm(
        &self,
        realm: &Realm,
        expression: &str,
        timeout: Duration,
    ) -> Result<Box<RawValue>, EvaluateError> {
        let Some(apart) = &realm.0 else {
            return self.evaluate_in_place(expression, World::Isolated, timeout).await;
        };
        for attempt in 0..2 {
            let (session, context_id) = self.enter(apart).await?;
            match evaluate_at(&session, expression, Some(context_id), timeout).await {
                Err(EvaluateError::Call(error)) if attempt == 0 && is_lost(&error) => {
                    *apart.entered.lock().unwrap_or_else(PoisonError::into_inner) = None;
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
    async fn enter(&self, apart: &Arc<Apart>) -> Result<(Session, i64), EvaluateError> {
        let entered = apart.entered.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(entered) = entered {
            return Ok(entered);
        }
        let around = match &apart.around.0 {
            Some(outer) => Box::pin(self.enter(outer)).await?.0,
            None => self.session().clone(),
        };
        let command = CreateIsolatedWorld { frame_id: &apart.frame_id, world_name: WORLD };
        let entered = match around.send(&command).await {
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
        *apart.entered.lock().unwrap_or_else(PoisonError::into_inner) = Some(entered.clone());
        Ok(entered)
    }

    async fn context_of(&self, realm: &Realm) -> Result<(Session, i64), EvaluateError> {
        if let Some(apart) = &realm.0 {
            return self.enter(apart).await;
        }
        let context_id = self.isolated_world().await.map_err(EvaluateError::Call)?;
        Ok((self.session().clone(), context_id))
    }

    /// Chrome's id of the frame in an element.
    pub(crate) async fn frame_id_of(&self, realm: &Realm, owner: &str) -> Result<String, EvaluateError> {
        if let Some(known) = self.0.frames.lock().owners.get(owner) {
            return Ok(known.clone());
        }
        let (session, context_id) = self.context_of(realm).await?;
        let command = Evaluate {
            expression: &format!("paddockAccessibility.element({})", Value::from(owner)),
            context_id: Some(context_id),
            await_promise: false,
            return_by_value: false,
            user_gesture: false,
        };
        let found = session.send(&command).await.map_err(EvaluateError::Call)?;
        let object_id = found.result.object_id.ok_or(EvaluateError::Replaced)?;
        let described = session.send(&DescribeNode { object_id: &object_id }).await;
        session.send(&ReleaseObject { object_id: &object_id }).await.ok();
        let frame_id = described.map_err(EvaluateError::Call)?.node.frame_id;
        let frame_id = frame_id.ok_or(EvaluateError::Replaced)?;
        let mut state = self.0.frames.lock();
        if state.owners.len() >= OWNERS_MAX {
            state.owners.clear();
        }
        state.owners.insert(owner.to_owned(), frame_id.clone());
        Ok(frame_id)
    }

    /// The realm of the frame of another origin in an element.
    pub(crate) async fn realm_in(&self, around: &Realm, owner: &str) -> Result<Realm, EvaluateError> {
        let frame_id = self.frame_id_of(around, owner).await?;
        let apart = self.0.frames.apart(&frame_id, around, owner);
        self.enter(&apart).await?;
        Ok(Realm(Some(apart)))
    }

    /// Where a selector is to be looked up: references in the frame that they are of, all else in the present scope.
    /// None for a reference of a frame that is not known.
    pub(crate) fn place_of(&self, selector: Option<&str>) -> Option<Place> {
        match selector.and_then(reference_prefix) {
            Some("e") => Some(Place::default()),
            Some(prefix) => {
                let apart = self.0.frames.of_prefix(prefix)?;
                Some(Place { realm: Realm(Some(apart)), within: None })
            }
            None => Some(self.scope().map(|scope| scope.place).unwrap_or_default()),
        }
    }

    /// The document of a frame, by Chrome's id of the frame. Known are those that a snapshot showed.
    pub(crate) fn place_of_frame(&self, frame_id: &str) -> Result<Place, ActionError> {
        if self.0.page.with(|page| page.main_frame == frame_id) {
            return Ok(Place::default());
        }
        let (apart, owner) = {
            let state = self.0.frames.lock();
            let apart = state.apart.iter().find(|apart| apart.frame_id == frame_id).cloned();
            let owner = state.owners.iter().find(|(_, id)| *id == frame_id).map(|(owner, _)| owner.clone());
            (apart, owner)
        };
        match (apart, owner) {
            (Some(apart), _) => Ok(Place { realm: Realm(Some(apart)), within: None }),
            (None, Some(owner)) => {
                let place = self.place_of(Some(&owner)).unwrap_or_default();
                Ok(Place { realm: place.realm, within: Some(owner) })
            }
            (None, None) => {
                let text = format!("no frame `{frame_id}` is known; take a snapshot, which names the frames");
                Err(ActionError::Invalid(text))
            }
        }
    }

    /// The frame that selectors are about; none for the page.
    pub fn scope(&self) -> Option<FrameScope> {
        let loader_id = self.0.page.with(|page| page.loader_id.clone());
        let mut state = self.0.frames.lock();
        state.scope.take_if(|scope| scope.loader_id != loader_id);
        state.scope.clone()
    }

    /// Makes selectors be about the page again.
    pub fn leave_frame(&self) {
        self.0.frames.lock().scope = None;
    }

    /// Makes selectors be about the frame in an element.
    pub(crate) async fn enter_frame(
        &self,
        place: &Place,
        facts: FrameFacts,
    ) -> Result<FrameScope, EvaluateError> {
        let frame_id = self.frame_id_of(&place.realm, &facts.r#ref).await?;
        let (place, frame_url) = if facts.apart {
            let realm = self.realm_in(&place.realm, &facts.r#ref).await?;
            let url: String = self.ask(&realm, "location.href", LOOK_DEADLINE).await?;
            (Place { realm, within: None }, url)
        } else {
            (Place { realm: place.realm.clone(), within: Some(facts.r#ref.clone()) }, facts.url)
        };
        let loader_id = self.0.page.with(|page| page.loader_id.clone());
        let scope = FrameScope {
            frame_id,
            frame_url,
            frame_name: facts.name,
            owner_ref: facts.r#ref,
            place,
            loader_id,
        };
        self.0.frames.lock().scope = Some(scope.clone());
        Ok(scope)
    }

    /// A point of a realm's viewport in the coordinates of the page's, if nothing covers the frames on the way.
    pub(crate) async fn outward(&self, realm: &Realm, x: f64, y: f64) -> Result<Value, EvaluateError> {
        let mut at = json!({ "x": x, "y": y });
        let mut inside = realm.0.clone();
        while let Some(apart) = inside.take() {
            let expression = format!(
                "paddockAccessibility.frameAt({},{},{})",
                Value::from(apart.owner.as_str()),
                at["x"],
                at["y"]
            );
            at = self.ask(&apart.around, &expression, LOOK_DEADLINE).await?;
            if at.get("error").is_some() {
                return Ok(at);
            }
            inside.clone_from(&apart.around.0);
        }
        Ok(at)
    }

    /// Scrolls the frames around a realm into view, the outermost first.
    pub(crate) async fn show_realm(&self, realm: &Realm) -> Result<(), EvaluateError> {
        let mut chain = Vec::new();
        let mut inside = realm.0.clone();
        while let Some(apart) = inside.take() {
            inside.clone_from(&apart.around.0);
            chain.push(apart);
        }
        for apart in chain.into_iter().rev() {
            let expression = format!("paddockAccessibility.showFrame({})", Value::from(apart.owner.as_str()));
            self.ask_raw(&apart.around, &expression, LOOK_DEADLINE).await?;
        }
        Ok(())
    }
}

impl Apart {
    pub(crate) fn refs_from(&self) -> u32 {
        self.refs_next.load(Ordering::Relaxed)
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

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_frame_has_letters_of_its_own() {
        let prefixes: Vec<_> = [0, 1, 25, 26, 27, 701, 702].map(prefix_of).into();
        assert_eq!(prefixes, ["ea", "eb", "ez", "eaa", "eab", "ezz", "eaaa"]);
        let all: HashSet<_> = (0..2000).map(prefix_of).collect();
        assert_eq!(all.len(), 2000);
    }

    #[test]
    fn references_are_told_from_other_selectors() {
        assert_eq!(reference_prefix(" e12"), Some("e"));
        assert_eq!(reference_prefix("eab7"), Some("eab"));
        for other in ["e", "em", "e1x", "E1", "#e1", "h1", "e-1", "e1234567890"] {
            assert_eq!(reference_prefix(other), None, "{other}");
        }
    }

    proptest! {
        #[test]
        fn what_is_given_is_recognised(frame in 0_usize..100_000, number in 0_u32..999_999_999) {
            let prefix = prefix_of(frame);
            let reference = format!("{prefix}{number}");
            prop_assert_eq!(reference_prefix(&reference), Some(prefix.as_str()));
        }
    }
}
