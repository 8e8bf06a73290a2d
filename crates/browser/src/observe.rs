//! Accessibility snapshots of a tab's page, with the frames of other origins in it.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, PoisonError, atomic::Ordering},
    time::Duration,
};

use futures_util::future::join_all;
use http::StatusCode;
use paddock_platform::problem::{NOT_FOUND, Problem, ProblemKind};
use serde::Deserialize;

use crate::{
    evaluate::{EvaluateError, look_problem},
    frames::{LOOK_DEADLINE, Place, Realm},
    snapshot::{BoundingBox, Node, Snapshot, SnapshotError, SnapshotOptions},
    tab::Tab,
};

/// The page's own answer to a snapshot is not one.
pub const SNAPSHOT_FAILED: ProblemKind =
    ProblemKind::new("snapshot-failed", StatusCode::BAD_GATEWAY, "Snapshot failed");

/// How long a snapshot may take.
const SNAPSHOT_DEADLINE: Duration = Duration::from_secs(20);
/// Frames of other origins that one snapshot looks into.
const FRAMES_MAX: usize = 30;
/// How deep such frames may be in one another.
const FRAMES_DEEP_MAX: usize = 5;
/// Frames whose ids are looked up for one snapshot.
const FRAME_IDS_MAX: usize = 50;
/// References whose elements are remembered after they have gone, to say what is there in their place.
const GONE_MAX: usize = 4000;

/// A page whose snapshot could not be taken.
#[derive(Debug, thiserror::Error)]
pub enum ObserveError {
    /// The page did not run the walk.
    #[error(transparent)]
    Evaluate(#[from] EvaluateError),
    /// The walk did not find what was asked for, or its result is not a snapshot.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
}

impl From<ObserveError> for Problem {
    fn from(error: ObserveError) -> Self {
        match error {
            ObserveError::Evaluate(error) => look_problem(error),
            ObserveError::Snapshot(error @ SnapshotError::NotFound) => {
                Self::new(NOT_FOUND, error.to_string())
            }
            ObserveError::Snapshot(error @ SnapshotError::InvalidSelector) => {
                Self::invalid_field("selector", error)
            }
            ObserveError::Snapshot(error) => Self::new(SNAPSHOT_FAILED, error.to_string()),
        }
    }
}

/// The last snapshot of a tab, and what it is of.
#[derive(Debug)]
pub(crate) struct LastSnapshot {
    snapshot: Arc<Snapshot>,
    /// What was asked for: only snapshots of the same are compared.
    options: SnapshotOptions,
    /// Role and name of the elements that were in an earlier snapshot and are not in this one.
    gone: HashMap<String, (String, String)>,
}

impl LastSnapshot {
    fn next(previous: Option<Self>, snapshot: &Arc<Snapshot>, options: &SnapshotOptions) -> Self {
        let (snapshot, options) = (Arc::clone(snapshot), options.clone());
        let Some(previous) = previous else {
            return Self { snapshot, options, gone: HashMap::new() };
        };
        let mut gone = previous.gone;
        if gone.len() > GONE_MAX {
            gone.clear();
        }
        // References of two documents of a tab are never the same.
        let here: HashSet<&str> = if previous.snapshot.document == snapshot.document {
            snapshot.nodes.iter().map(|node| node.r#ref.as_str()).collect()
        } else {
            HashSet::new()
        };
        let left = |node: &Node| !here.contains(node.r#ref.as_str());
        // Unless somebody compares the two, nobody else has the earlier one: its texts need not be copied.
        match Arc::try_unwrap(previous.snapshot) {
            Ok(own) => {
                let nodes = own.nodes.into_iter().filter(left).take(GONE_MAX);
                gone.extend(nodes.map(|node| (node.r#ref, (node.role, node.name))));
            }
            Err(shared) => {
                let nodes = shared.nodes.iter().filter(|node| left(node)).take(GONE_MAX);
                gone.extend(nodes.map(|node| (node.r#ref.clone(), (node.role.clone(), node.name.clone()))));
            }
        }
        drop(here);
        Self { snapshot, options, gone }
    }

    /// Role and name that the element of a reference had when it was last seen.
    fn remembered(&self, reference: &str) -> Option<(String, String)> {
        let here = self.snapshot.nodes.iter().find(|node| node.r#ref == reference);
        here.map(|node| (node.role.clone(), node.name.clone())).or_else(|| self.gone.get(reference).cloned())
    }
}

impl Tab {
    /// Takes a snapshot, and returns the one before as well if it was of the same: document, part and filter.
    pub async fn snapshot(
        &self,
        options: SnapshotOptions,
    ) -> Result<(Arc<Snapshot>, Option<Arc<Snapshot>>), ObserveError> {
        let mut options = options;
        let snapshot = Arc::new(self.look(&options).await?);
        options.within = self.place_of(options.selector.as_deref()).unwrap_or_default().within;
        let mut last = self.0.snapshot.lock().unwrap_or_else(PoisonError::into_inner);
        options.refs_from = 0;
        let previous = last.take();
        let comparable = previous.as_ref().filter(|previous| {
            previous.options == options && previous.snapshot.document == snapshot.document
        });
        let comparable = comparable.map(|previous| Arc::clone(&previous.snapshot));
        *last = Some(LastSnapshot::next(previous, &snapshot, &options));
        Ok((snapshot, comparable))
    }

    /// Takes a snapshot that is not the next one's past.
    pub(crate) async fn look(&self, options: &SnapshotOptions) -> Result<Snapshot, ObserveError> {
        let refs_from = self.0.frames.refs_next.load(Ordering::Relaxed).max(options.refs_from);
        let place = self.place_of(options.selector.as_deref()).ok_or(SnapshotError::NotFound)?;
        let options = SnapshotOptions { refs_from, within: place.within.clone(), ..options.clone() };
        let mut snapshot = self.walk(&place.realm, &options).await?;
        self.name_frames(&place.realm, &mut snapshot).await;
        if snapshot.nodes.iter().any(|node| node.apart) {
            let mut left = FRAMES_MAX;
            self.look_into_frames(&place.realm, &options, &mut snapshot, &mut left, FRAMES_DEEP_MAX).await;
        }
        Ok(snapshot)
    }

    /// Waits until the page's markup is parsed, but not for ever.
    pub(crate) async fn parsed(&self, longest: Duration) {
        let expression =
            format!("paddockAccessibility.waitFor({{load:'content-loaded'}},{})", longest.as_millis());
        let parsed = async {
            // A new document in place of the one that was asked: asked again.
            while let Err(EvaluateError::Replaced | EvaluateError::NoContext) =
                self.ask_raw(&Realm::PAGE, &expression, longest).await
            {}
        };
        tokio::time::timeout(longest, parsed).await.ok();
    }

    /// Role and name that the element of a reference had when it was last seen.
    pub(crate) fn remembered(&self, reference: &str) -> Option<(String, String)> {
        let last = self.0.snapshot.lock().unwrap_or_else(PoisonError::into_inner);
        last.as_ref()?.remembered(reference)
    }

    /// One walk in one realm.
    async fn walk(&self, realm: &Realm, options: &SnapshotOptions) -> Result<Snapshot, ObserveError> {
        let (prefix, refs_from) = match &realm.0 {
            Some(apart) => (Some(apart.prefix.as_str()), apart.refs_from()),
            None => (None, options.refs_from),
        };
        let expression = SnapshotOptions { refs_from, ..options.clone() }.expression_in(prefix);
        // The value is a text that holds the JSON: cheaper for the page than an object.
        let text: String = self.ask(realm, &expression, SNAPSHOT_DEADLINE).await?;
        let snapshot = Snapshot::parse(&text)?;
        self.refs_given(realm, snapshot.ref_next);
        Ok(snapshot)
    }

    /// Adds Chrome's ids of the frames to their elements. One that cannot be told is left out.
    async fn name_frames(&self, realm: &Realm, snapshot: &mut Snapshot) {
        let frames = snapshot.nodes.iter_mut().filter(|node| node.role == "Iframe").take(FRAME_IDS_MAX);
        // All at once: one after the other, each would take its time on the way to Chrome and back.
        let named = frames.map(|node| async move {
            node.child_frame_id = self.frame_id_of(realm, &node.r#ref).await.ok();
        });
        join_all(named).await;
    }

    /// Puts the nodes of frames of other origins below their elements. A frame that does not answer stays closed.
    async fn look_into_frames(
        &self,
        realm: &Realm,
        options: &SnapshotOptions,
        snapshot: &mut Snapshot,
        left: &mut usize,
        deep_max: usize,
    ) {
        let mut nodes = Vec::with_capacity(snapshot.nodes.len());
        for node in std::mem::take(&mut snapshot.nodes) {
            let closed = !node.apart || *left == 0 || deep_max == 0;
            let (depth, owner) = (node.depth, node.r#ref.clone());
            nodes.push(node);
            if closed || options.depth.is_some_and(|depth_max| depth >= depth_max) {
                continue;
            }
            *left -= 1;
            match Box::pin(self.look_into(realm, &owner, depth, options, left, deep_max - 1)).await {
                Ok(inner) => {
                    snapshot.truncated |= inner.truncated;
                    nodes.extend(inner.nodes);
                }
                Err(error) => {
                    tracing::debug!(browser.tab = %self.id(), error = %error, "a frame stayed closed");
                }
            }
        }
        snapshot.nodes = nodes;
    }

    async fn look_into(
        &self,
        around: &Realm,
        owner: &str,
        depth: u32,
        options: &SnapshotOptions,
        left: &mut usize,
        deep_max: usize,
    ) -> Result<Snapshot, ObserveError> {
        let realm = self.realm_in(around, owner).await?;
        let depth_left = options.depth.map(|depth_max| depth_max - depth - 1);
        let options = SnapshotOptions {
            selector: None,
            within: None,
            depth: depth_left,
            framed: true,
            ..options.clone()
        };
        let mut snapshot = self.walk(&realm, &options).await?;
        self.name_frames(&realm, &mut snapshot).await;
        self.look_into_frames(&realm, &options, &mut snapshot, left, deep_max).await;
        let origin =
            if options.boxes { self.origin_of(around, owner).await? } else { Origin { x: 0.0, y: 0.0 } };
        for node in &mut snapshot.nodes {
            node.depth += depth + 1;
            origin.shift(node);
        }
        Ok(snapshot)
    }

    /// Where the content of a frame begins, in the coordinates of the realm around it.
    async fn origin_of(&self, around: &Realm, owner: &str) -> Result<Origin, EvaluateError> {
        let owner = serde_json::Value::from(owner);
        self.ask(around, &format!("paddockAccessibility.originOf({owner})"), LOOK_DEADLINE).await
    }

    /// Where an element of a place is on the page: for pictures of it.
    pub(crate) async fn page_rect(
        &self,
        place: &Place,
        selector: &str,
    ) -> Result<Found<BoundingBox>, EvaluateError> {
        let argument = serde_json::json!({ "selector": selector, "within": place.within });
        let mut found: Found<BoundingBox> = self
            .ask(&place.realm, &format!("paddockAccessibility.pageRect({argument})"), LOOK_DEADLINE)
            .await?;
        let mut inside = place.realm.0.clone();
        while let (Found::Here(rect), Some(apart)) = (&mut found, &inside) {
            let origin = self.origin_of(&apart.around, &apart.owner).await?;
            rect.x += origin.x;
            rect.y += origin.y;
            inside = apart.around.0.clone();
        }
        Ok(found)
    }
}

/// Something in a page, or why it is not there.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Found<T> {
    /// It is.
    Here(T),
    /// `no_element`, `stale_ref`, `invalid_selector`, …
    Error(String),
}

#[derive(Clone, Copy, Debug, Deserialize)]
struct Origin {
    x: f64,
    y: f64,
}

impl Origin {
    fn shift(self, node: &mut Node) {
        if let Some(rect) = &mut node.bounding_box {
            rect.x += self.x;
            rect.y += self.y;
        }
    }
}
