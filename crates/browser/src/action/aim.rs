//! Where an action happens: its element in whichever frame it is, and the point at which that gets events.

use std::{sync::atomic::Ordering, time::Duration};

use paddock_cdp::{
    CallError,
    protocol::{
        dom::ResolveNode,
        page::GetLayoutMetrics,
        runtime::{CallFunctionOn, ReleaseObject},
    },
};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};

use super::{Action, ActionError, Aim, Fault, Outcome};
use crate::{
    evaluate::EvaluateError,
    frames::{LOOK_DEADLINE, Place, Realm},
    snapshot::{Snapshot, SnapshotOptions},
    tab::Tab,
};

/// How long a look at what is in the place of a vanished element may take.
const NEAREST_DEADLINE: Duration = Duration::from_secs(5);

/// An element that is ready to get events at a point.
#[derive(Debug, Deserialize)]
struct Aimed {
    x: f64,
    y: f64,
    r#ref: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct Position {
    pub(super) x: f64,
    pub(super) y: f64,
}

/// A point of the page's viewport, and the element that is there.
pub(super) struct Spot {
    pub(super) x: f64,
    pub(super) y: f64,
    pub(super) reference: Option<String>,
}

impl Spot {
    pub(super) fn outcome(self) -> Outcome {
        Outcome { x: Some(self.x), y: Some(self.y), r#ref: self.reference, ..Outcome::default() }
    }
}

impl Tab {
    /// The pointer's place, unless the action names another; `fallback` yields one when there is neither.
    pub(super) async fn pointer_or_target(
        &self,
        action: &Action,
        fallback: Option<&str>,
    ) -> Result<Spot, ActionError> {
        if action.aim != Aim::Present {
            return self.target_point(action, false, false).await;
        }
        if let Some((x, y)) = self.hands(|hands| hands.pointer) {
            return Ok(Spot { x, y, reference: None });
        }
        let Some(fallback) = fallback else {
            let text = "the pointer has no position yet: use mouse-move first, or name an element or a point";
            return Err(ActionError::Invalid(text.to_owned()));
        };
        let position: Position = self.ask(&Realm::PAGE, fallback, LOOK_DEADLINE).await?;
        Ok(Spot { x: position.x, y: position.y, reference: None })
    }

    /// The point that an action is about. `exposed`: what is there must be the element.
    pub(super) async fn target_point(
        &self,
        action: &Action,
        enabled: bool,
        exposed: bool,
    ) -> Result<Spot, ActionError> {
        if let Aim::Point { x, y } = action.aim {
            return Ok(Spot { x, y, reference: None });
        }
        let (place, selector) = self.element_of(&action.aim).await?;
        self.aim_at(&place, &selector, enabled, exposed).await
    }

    pub(super) async fn aim_at(
        &self,
        place: &Place,
        selector: &str,
        enabled: bool,
        exposed: bool,
    ) -> Result<Spot, ActionError> {
        if place.realm.0.is_some() {
            self.show_realm(&place.realm).await?;
        }
        let demands = json!({ "enabled": enabled, "exposed": exposed });
        let aimed: Aimed = self.in_place(place, selector, "aim", demands).await?;
        let mut spot = Spot { x: aimed.x, y: aimed.y, reference: Some(aimed.r#ref) };
        if place.realm.0.is_some() {
            let at = self.outward(&place.realm, aimed.x, aimed.y).await?;
            let position: Position = read_answer(at, selector)?;
            (spot.x, spot.y) = (position.x, position.y);
        }
        Ok(spot)
    }

    /// Makes a point of a picture of the viewport, which has this size, one of the viewport.
    pub(crate) async fn scale_point(
        &self,
        aim: &mut Aim,
        width: f64,
        height: f64,
    ) -> Result<(), ActionError> {
        let Aim::Point { x, y } = aim else { return Ok(()) };
        if !(1.0..=1e6).contains(&width) || !(1.0..=1e6).contains(&height) {
            return Err(ActionError::Invalid("frameW and frameH must be numbers of pixels".to_owned()));
        }
        let viewport = self.session().send(&GetLayoutMetrics {}).await?.css_layout_viewport;
        *x *= viewport.client_width / width;
        *y *= viewport.client_height / height;
        Ok(())
    }

    /// Where the element of an action is looked up, and its selector.
    pub(super) async fn element_of(&self, aim: &Aim) -> Result<(Place, String), ActionError> {
        match aim {
            Aim::Element(selector) => {
                let place = self.place_of(Some(selector)).ok_or_else(|| ActionError::StaleRef {
                    reference: selector.clone(),
                    was: None,
                    nearest: None,
                })?;
                Ok((place, selector.clone()))
            }
            Aim::Node(node_id) => Ok((Place::default(), self.reference_of(*node_id).await?)),
            Aim::Present | Aim::Point { .. } => {
                let text = "an element is required: name it with `ref`, `selector` or `nodeId`";
                Err(ActionError::Invalid(text.to_owned()))
            }
        }
    }

    /// The reference of the node that Chrome knows by a number.
    pub(super) async fn reference_of(&self, backend_node_id: i64) -> Result<String, ActionError> {
        let missing = || ActionError::NoElement { selector: format!("node {backend_node_id}") };
        self.ask_raw(&Realm::PAGE, "0", LOOK_DEADLINE).await?;
        let execution_context_id = self.isolated_world().await?;
        let resolved = self.session().send(&ResolveNode { backend_node_id, execution_context_id }).await;
        let object_id = match resolved {
            Ok(resolved) => resolved.object.object_id.ok_or_else(missing)?,
            Err(CallError::Protocol { .. }) => return Err(missing()),
            Err(error) => return Err(error.into()),
        };
        let call = CallFunctionOn {
            object_id: &object_id,
            function_declaration: "function () { return paddockAccessibility.ref(this); }",
            return_by_value: true,
        };
        let called = self.session().send(&call).await;
        self.session().send(&ReleaseObject { object_id: &object_id }).await.ok();
        let value = called?.result.value.ok_or_else(missing)?;
        serde_json::from_str(value.get()).map_err(|_| missing())
    }

    /// Calls a function of the script for the element of an action.
    pub(super) async fn on_element<T: DeserializeOwned>(
        &self,
        aim: &Aim,
        function: &str,
        argument: Value,
    ) -> Result<T, ActionError> {
        let (place, selector) = self.element_of(aim).await?;
        self.in_place(&place, &selector, function, argument).await
    }

    /// Calls a function of the script for an element.
    pub(crate) async fn in_place<T: DeserializeOwned>(
        &self,
        place: &Place,
        selector: &str,
        function: &str,
        mut argument: Value,
    ) -> Result<T, ActionError> {
        argument["selector"] = Value::from(selector);
        let argument = with_scope(argument, place);
        let expression = format!("paddockAccessibility.told(paddockAccessibility.{function}({argument}))");
        let mut answer: Value = self.ask(&place.realm, &expression, LOOK_DEADLINE).await?;
        if let Some(next) = answer["refNext"].take().as_u64().and_then(|next| u32::try_from(next).ok()) {
            self.refs_given(&place.realm, next);
        }
        read_answer(answer["answer"].take(), selector)
    }

    /// Notes how many references were given in a realm.
    pub(crate) fn refs_given(&self, realm: &Realm, next: u32) {
        let counter = match &realm.0 {
            Some(apart) => &apart.refs_next,
            None => &self.0.frames.refs_next,
        };
        counter.fetch_max(next, Ordering::Relaxed);
    }

    /// What to say of a reference whose element is gone.
    pub(crate) async fn stale(&self, reference: String) -> ActionError {
        let was = self.remembered(&reference);
        let nearest = match &was {
            Some((role, name)) => self.nearest(role, name).await,
            None => None,
        };
        ActionError::StaleRef { reference, was, nearest }
    }

    /// The reference of the first element that has this role and name now.
    pub(super) async fn nearest(&self, role: &str, name: &str) -> Option<String> {
        let refs_from = self.0.frames.refs_next.load(Ordering::Relaxed);
        let options = SnapshotOptions { refs_from, ..SnapshotOptions::default() };
        let text: String = self.ask(&Realm::PAGE, &options.expression(), NEAREST_DEADLINE).await.ok()?;
        let snapshot = Snapshot::parse(&text).ok()?;
        self.refs_given(&Realm::PAGE, snapshot.ref_next);
        let same = snapshot.nodes.into_iter().find(|node| node.role == role && node.name == name);
        same.map(|node| node.r#ref)
    }
}

pub(super) fn with_scope(mut argument: Value, place: &Place) -> Value {
    if let Some(within) = &place.within {
        argument["within"] = Value::from(within.as_str());
    }
    argument
}

/// The script's answer, or what it says is wrong with the element.
fn read_answer<T: DeserializeOwned>(answer: Value, selector: &str) -> Result<T, ActionError> {
    if answer.get("error").is_some() {
        let fault: Fault = serde_json::from_value(answer).unwrap_or_default();
        return Err(ActionError::of_fault(fault, selector));
    }
    serde_json::from_value(answer).map_err(|error| ActionError::Page(EvaluateError::Type(error)))
}
