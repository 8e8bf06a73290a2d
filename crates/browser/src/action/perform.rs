//! Doing each kind of action.

use std::{
    sync::{Arc, PoisonError, atomic::Ordering},
    time::Duration,
};

use futures_util::FutureExt;
use paddock_cdp::{
    CallError, Subscription,
    protocol::{
        dom::ResolveNode,
        input::InsertText,
        page::FrameNavigates,
        runtime::{CallFunctionOn, ReleaseObject},
    },
};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};
use tokio::time::{Instant, timeout};

use super::{
    Action, ActionError, ActionKind, Aim, ClickMode, Fault, Outcome,
    keyboard::{self, Key},
    pointer::Mouse,
};
use crate::{
    dialog::Answer,
    frames::{LOOK_DEADLINE, Place, Realm},
    page::Stage,
    snapshot::{Snapshot, SnapshotOptions},
    tab::Tab,
};

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
struct Touched {
    r#ref: String,
    /// What is selected in it is to be replaced by inserting the text.
    #[serde(default)]
    typed: bool,
    /// Of an option that was chosen.
    #[serde(default)]
    value: String,
}

#[derive(Debug, Deserialize)]
struct CheckState {
    r#ref: String,
    checked: bool,
    /// What to click; absent when nothing of it is visible.
    at: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Position {
    x: f64,
    y: f64,
}

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

    async fn click(&self, action: &Action, times: u8) -> Result<Outcome, ActionError> {
        if action.mode != ClickMode::Mouse {
            let mode = if action.mode == ClickMode::Dom { "dom" } else { "dispatch" };
            let extra = json!({ "mode": mode, "times": times });
            let touched: Touched = self.on_element(&action.aim, "clickDirectly", extra).await?;
            return Ok(Outcome { clicked: true, r#ref: Some(touched.r#ref), ..Outcome::default() });
        }
        let at = self.target_point(action, true, true).await?;
        self.mouse(action).click(at.x, at.y, action.button, times).await?;
        self.remember_pointer(at.x, at.y);
        Ok(Outcome { clicked: true, ..at.outcome() })
    }

    async fn type_into(&self, action: &Action) -> Result<Outcome, ActionError> {
        if action.text.is_empty() {
            return Err(ActionError::Invalid("`text` is required to type".to_owned()));
        }
        let mut outcome = Outcome { typed: true, ..Outcome::default() };
        match &action.aim {
            Aim::Present => {}
            Aim::Point { x, y } => {
                self.mouse(action).click(*x, *y, action.button, 1).await?;
                self.remember_pointer(*x, *y);
            }
            aim => {
                let touched: Touched = self.on_element(aim, "prepareTyping", json!({})).await?;
                outcome.r#ref = Some(touched.r#ref);
            }
        }
        keyboard::type_text(self.session(), &action.text, self.held(action), action.timeout).await?;
        Ok(outcome)
    }

    async fn fill(&self, action: &Action) -> Result<Outcome, ActionError> {
        let text = if action.text.is_empty() { &action.value } else { &action.text };
        let (place, selector) = self.element_of(&action.aim).await?;
        let touched: Touched =
            self.in_place(&place, &selector, "prepareFill", json!({ "text": text })).await?;
        if touched.typed {
            if text.is_empty() {
                let delete: Key = "Delete".parse()?;
                keyboard::press(self.session(), &delete, 0, action.timeout).await?;
            } else {
                self.session().send_within(&InsertText { text }, action.timeout).await?;
            }
            let reference = Value::from(touched.r#ref.as_str());
            let expression = format!("paddockAccessibility.finishFill({reference})");
            self.ask_raw(&place.realm, &expression, action.timeout).await?;
        }
        Ok(Outcome { filled: true, r#ref: Some(touched.r#ref), ..Outcome::default() })
    }

    async fn focus(&self, action: &Action) -> Result<Outcome, ActionError> {
        let touched: Touched = self.on_element(&action.aim, "focusOn", json!({})).await?;
        Ok(Outcome { focused: true, r#ref: Some(touched.r#ref), ..Outcome::default() })
    }

    async fn press_key(&self, action: &Action) -> Result<Outcome, ActionError> {
        let key = key_of(action)?;
        if matches!(action.aim, Aim::Element(_) | Aim::Node(_)) {
            self.focus(action).await?;
        }
        keyboard::press(self.session(), &key, self.held(action), action.timeout).await?;
        Ok(Outcome { pressed: Some(action.key.clone()), ..Outcome::default() })
    }

    async fn hold_key(&self, action: &Action) -> Result<Outcome, ActionError> {
        let key = key_of(action)?;
        let modifier = key.modifier();
        if action.kind == ActionKind::KeyDown {
            self.hands(|hands| hands.modifiers |= modifier);
            key.down(self.session(), self.held(action) | key.modifiers, action.timeout).await?;
        } else {
            self.hands(|hands| hands.modifiers &= !modifier);
            key.up(self.session(), self.held(action), action.timeout).await?;
        }
        Ok(Outcome { pressed: Some(action.key.clone()), ..Outcome::default() })
    }

    async fn select(&self, action: &Action) -> Result<Outcome, ActionError> {
        let value = if action.value.is_empty() { &action.text } else { &action.value };
        let touched: Touched = self.on_element(&action.aim, "choose", json!({ "value": value })).await?;
        Ok(Outcome { selected: Some(touched.value), r#ref: Some(touched.r#ref), ..Outcome::default() })
    }

    async fn scroll(&self, action: &Action) -> Result<Outcome, ActionError> {
        let (right, down) = action.distance.unwrap_or_default();
        if let (Aim::Point { x, y }, Some(_)) = (&action.aim, action.distance) {
            self.mouse(action).wheel(*x, *y, right, down).await?;
            self.remember_pointer(*x, *y);
            return Ok(Outcome { scrolled: true, x: Some(*x), y: Some(*y), ..Outcome::default() });
        }
        let present = matches!(action.aim, Aim::Present | Aim::Point { .. });
        let pages = match (present, action.distance, action.pages) {
            (true, None, 0.0) => 1.0,
            (_, _, pages) => pages,
        };
        let extra = json!({ "across": right, "down": down, "pages": pages });
        let position: Position = if present {
            let place = self.place_of(None).unwrap_or_default();
            let argument = with_scope(extra, &place);
            self.ask(&place.realm, &format!("paddockAccessibility.scrollFrom({argument})"), LOOK_DEADLINE)
                .await?
        } else {
            self.on_element(&action.aim, "scrollFrom", extra).await?
        };
        Ok(Outcome { scrolled: true, x: Some(position.x), y: Some(position.y), ..Outcome::default() })
    }

    async fn move_mouse(&self, action: &Action) -> Result<Outcome, ActionError> {
        // Whatever covers the element gets the event: that is what moving the mouse there does.
        let at = self.target_point(action, false, false).await?;
        self.mouse(action).move_to(at.x, at.y).await?;
        self.remember_pointer(at.x, at.y);
        Ok(at.outcome())
    }

    async fn hold_mouse(&self, action: &Action) -> Result<Outcome, ActionError> {
        let at = self.pointer_or_target(action, None).await?;
        let mouse = self.mouse(action);
        let bit = action.button.bit();
        if action.kind == ActionKind::MouseDown {
            self.hands(|hands| hands.buttons |= bit);
            mouse.press(at.x, at.y, action.button, 1).await?;
        } else {
            self.hands(|hands| hands.buttons &= !bit);
            mouse.release(at.x, at.y, action.button, 1).await?;
        }
        self.remember_pointer(at.x, at.y);
        Ok(at.outcome())
    }

    async fn turn_wheel(&self, action: &Action) -> Result<Outcome, ActionError> {
        let middle = "({x: innerWidth / 2, y: innerHeight / 2})";
        let at = self.pointer_or_target(action, Some(middle)).await?;
        let (right, down) = action.distance.unwrap_or((0.0, 120.0));
        self.mouse(action).wheel(at.x, at.y, right, down).await?;
        self.remember_pointer(at.x, at.y);
        Ok(Outcome { scrolled: true, ..at.outcome() })
    }

    async fn drag(&self, action: &Action) -> Result<Outcome, ActionError> {
        let from = self.target_point(action, true, true).await?;
        let to = match (&action.destination, action.distance) {
            (Aim::Present, Some((right, down))) => (from.x + right, from.y + down),
            (Aim::Present, None) => {
                return Err(ActionError::Invalid(
                    "`dragX` and `dragY`, or `to`, are required to drag".to_owned(),
                ));
            }
            (destination, _) => {
                let there = Action { aim: destination.clone(), ..action.clone() };
                let at = self.target_point(&there, false, false).await?;
                (at.x, at.y)
            }
        };
        self.mouse(action).drag((from.x, from.y), to, action.button).await?;
        self.remember_pointer(to.0, to.1);
        Ok(Outcome {
            dragged: true,
            x: Some(to.0),
            y: Some(to.1),
            r#ref: from.reference,
            ..Outcome::default()
        })
    }

    async fn set_checked(&self, action: &Action, wanted: bool) -> Result<Outcome, ActionError> {
        let (place, selector) = self.element_of(&action.aim).await?;
        let state: CheckState = self.in_place(&place, &selector, "checkState", json!({})).await?;
        if state.checked != wanted {
            let clicked = match &state.at {
                Some(at) => self.click_in(&place, at, action).await,
                None => Err(ActionError::Invalid("nothing of it is visible".to_owned())),
            };
            match clicked {
                Ok(()) => {}
                // What is drawn in its place takes no part in the form.
                Err(ActionError::Invalid(_) | ActionError::Covered { .. }) => {
                    let extra = json!({ "mode": "dom" });
                    self.in_place::<Touched>(&place, &state.r#ref, "clickDirectly", extra).await?;
                }
                Err(error) => return Err(error),
            }
            let after: CheckState = self.in_place(&place, &state.r#ref, "checkState", json!({})).await?;
            if after.checked != wanted {
                let element =
                    super::ElementSummary { r#ref: state.r#ref, ..super::ElementSummary::default() };
                let element = Box::new(element);
                let reason = if wanted { "did not become checked" } else { "stayed checked" };
                return Err(ActionError::Unfit { element, reason: reason.to_owned() });
            }
        }
        Ok(Outcome { checked: Some(wanted), r#ref: Some(state.r#ref), ..Outcome::default() })
    }

    async fn click_in(&self, place: &Place, selector: &str, action: &Action) -> Result<(), ActionError> {
        let at = self.aim_at(place, selector, true, true).await?;
        self.mouse(action).click(at.x, at.y, super::Button::Left, 1).await?;
        self.remember_pointer(at.x, at.y);
        Ok(())
    }

    /// The pointer's place, unless the action names another; `fallback` yields one when there is neither.
    async fn pointer_or_target(&self, action: &Action, fallback: Option<&str>) -> Result<Spot, ActionError> {
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
    async fn target_point(&self, action: &Action, enabled: bool, exposed: bool) -> Result<Spot, ActionError> {
        if let Aim::Point { x, y } = action.aim {
            return Ok(Spot { x, y, reference: None });
        }
        let (place, selector) = self.element_of(&action.aim).await?;
        self.aim_at(&place, &selector, enabled, exposed).await
    }

    async fn aim_at(
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

    /// Where the element of an action is looked up, and its selector.
    async fn element_of(&self, aim: &Aim) -> Result<(Place, String), ActionError> {
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
    async fn reference_of(&self, backend_node_id: i64) -> Result<String, ActionError> {
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
    async fn on_element<T: DeserializeOwned>(
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
    async fn nearest(&self, role: &str, name: &str) -> Option<String> {
        let refs_from = self.0.frames.refs_next.load(Ordering::Relaxed);
        let options = SnapshotOptions { refs_from, ..SnapshotOptions::default() };
        let text: String = self.ask(&Realm::PAGE, &options.expression(), NEAREST_DEADLINE).await.ok()?;
        let snapshot = Snapshot::parse(&text).ok()?;
        self.refs_given(&Realm::PAGE, snapshot.ref_next);
        let same = snapshot.nodes.into_iter().find(|node| node.role == role && node.name == name);
        same.map(|node| node.r#ref)
    }

    fn mouse<'a>(&'a self, action: &Action) -> Mouse<'a> {
        let mut hands = self.hands(|hands| *hands);
        hands.modifiers |= action.modifiers;
        Mouse { session: self.session(), hands, deadline: action.timeout }
    }

    fn held(&self, action: &Action) -> u8 {
        self.hands(|hands| hands.modifiers) | action.modifiers
    }

    fn remember_pointer(&self, x: f64, y: f64) {
        self.hands(|hands| hands.pointer = Some((x, y)));
    }

    fn hands<T>(&self, with: impl FnOnce(&mut super::Hands) -> T) -> T {
        with(&mut self.0.hands.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A point of the page's viewport, and the element that is there.
struct Spot {
    x: f64,
    y: f64,
    reference: Option<String>,
}

impl Spot {
    fn outcome(self) -> Outcome {
        Outcome { x: Some(self.x), y: Some(self.y), r#ref: self.reference, ..Outcome::default() }
    }
}

fn key_of(action: &Action) -> Result<Key, ActionError> {
    if action.key.is_empty() {
        return Err(ActionError::Invalid(format!("`key` is required for {}", action.kind.name())));
    }
    Ok(action.key.parse()?)
}

fn with_scope(mut argument: Value, place: &Place) -> Value {
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
    serde_json::from_value(answer)
        .map_err(|error| ActionError::Page(crate::evaluate::EvaluateError::Type(error)))
}

/// Whether going to an address replaces the document, rather than starting another program.
fn is_document(url: &str) -> bool {
    ["http:", "https:", "about:", "blob:", "data:", "file:"].iter().any(|scheme| url.starts_with(scheme))
}
