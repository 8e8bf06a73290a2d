//! Frames: where a selector is looked up, and how frames of other origins are reached.
//!
//! Frames of the page's own origin are seen from its isolated world: they are read and acted on with the page, and a
//! selector in one of them is a selector `within` the reference of its element. A frame of another origin has an
//! isolated world of its own ([`Realm`]), in the page's process or, where Chrome isolates sites, in another one, which is
//! then attached to. That is done when somebody asks for it: a tab whose frames nobody looks at pays nothing.
//!
//! References of a frame of another origin have letters of their own (`ea4`), so that they never collide.

mod ahead;
mod realm;
mod reference;

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use paddock_cdp::{
    Session,
    protocol::{
        dom::DescribeNode,
        runtime::{Evaluate, ReleaseObject},
    },
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use self::reference::prefix_of;
pub(crate) use self::reference::reference_prefix;
use crate::{action::ActionError, evaluate::EvaluateError, tab::Tab};

/// Frames of other origins that a tab knows at a time; the one entered first is forgotten for the next.
const APART_MAX: usize = 64;
/// Elements of frames whose frame is remembered.
const OWNERS_MAX: usize = 1000;
/// How long a look-up in a page may take.
pub(crate) const LOOK_DEADLINE: Duration = Duration::from_secs(10);

/// A frame of another origin than the page around it.
#[derive(Debug)]
pub(crate) struct Apart {
    frame_id: String,
    /// The letters of its references.
    pub(crate) prefix: String,
    /// Where its element is, and the element.
    pub(crate) around: Realm,
    pub(crate) owner: String,
    entered: Mutex<Option<Entered>>,
    /// Number of the next reference.
    pub(crate) refs_next: AtomicU32,
}

/// A frame's session and isolated world.
#[derive(Clone, Debug)]
pub(crate) struct Entered {
    session: Session,
    context_id: i64,
    /// The script was sent there.
    has_script: bool,
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
        let describe = DescribeNode { object_id: &object_id };
        let release = ReleaseObject { object_id: &object_id };
        // In this order, and on their way together.
        let (described, _) = tokio::join!(biased; session.send(&describe), session.send(&release));
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
    fn entered(&self) -> MutexGuard<'_, Option<Entered>> {
        self.entered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn refs_from(&self) -> u32 {
        self.refs_next.load(Ordering::Relaxed)
    }
}
