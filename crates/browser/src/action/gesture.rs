//! What each kind of action does with mouse and keyboard.

use std::sync::PoisonError;

use paddock_cdp::protocol::input::InsertText;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Action, ActionError, ActionKind, Aim, Button, ClickMode, ElementSummary, Hands, Outcome,
    aim::{Position, with_scope},
    keyboard::{self, Key},
    pointer::Mouse,
};
use crate::{
    frames::{LOOK_DEADLINE, Place},
    tab::Tab,
};

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

impl Tab {
    pub(super) async fn click(&self, action: &Action, times: u8) -> Result<Outcome, ActionError> {
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

    pub(super) async fn type_into(&self, action: &Action) -> Result<Outcome, ActionError> {
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

    pub(super) async fn fill(&self, action: &Action) -> Result<Outcome, ActionError> {
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

    pub(super) async fn focus(&self, action: &Action) -> Result<Outcome, ActionError> {
        let touched: Touched = self.on_element(&action.aim, "focusOn", json!({})).await?;
        Ok(Outcome { focused: true, r#ref: Some(touched.r#ref), ..Outcome::default() })
    }

    pub(super) async fn press_key(&self, action: &Action) -> Result<Outcome, ActionError> {
        let key = key_of(action)?;
        if matches!(action.aim, Aim::Element(_) | Aim::Node(_)) {
            self.focus(action).await?;
        }
        keyboard::press(self.session(), &key, self.held(action), action.timeout).await?;
        Ok(Outcome { pressed: Some(action.key.clone()), ..Outcome::default() })
    }

    pub(super) async fn hold_key(&self, action: &Action) -> Result<Outcome, ActionError> {
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

    pub(super) async fn select(&self, action: &Action) -> Result<Outcome, ActionError> {
        let value = if action.value.is_empty() { &action.text } else { &action.value };
        let touched: Touched = self.on_element(&action.aim, "choose", json!({ "value": value })).await?;
        Ok(Outcome { selected: Some(touched.value), r#ref: Some(touched.r#ref), ..Outcome::default() })
    }

    pub(super) async fn scroll(&self, action: &Action) -> Result<Outcome, ActionError> {
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

    pub(super) async fn move_mouse(&self, action: &Action) -> Result<Outcome, ActionError> {
        // Whatever covers the element gets the event: that is what moving the mouse there does.
        let at = self.target_point(action, false, false).await?;
        self.mouse(action).move_to(at.x, at.y).await?;
        self.remember_pointer(at.x, at.y);
        Ok(at.outcome())
    }

    pub(super) async fn hold_mouse(&self, action: &Action) -> Result<Outcome, ActionError> {
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

    pub(super) async fn turn_wheel(&self, action: &Action) -> Result<Outcome, ActionError> {
        let middle = "({x: innerWidth / 2, y: innerHeight / 2})";
        let at = self.pointer_or_target(action, Some(middle)).await?;
        let (right, down) = action.distance.unwrap_or((0.0, 120.0));
        self.mouse(action).wheel(at.x, at.y, right, down).await?;
        self.remember_pointer(at.x, at.y);
        Ok(Outcome { scrolled: true, ..at.outcome() })
    }

    pub(super) async fn drag(&self, action: &Action) -> Result<Outcome, ActionError> {
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

    pub(super) async fn set_checked(&self, action: &Action, wanted: bool) -> Result<Outcome, ActionError> {
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
                let element = ElementSummary { r#ref: state.r#ref, ..ElementSummary::default() };
                let element = Box::new(element);
                let reason = if wanted { "did not become checked" } else { "stayed checked" };
                return Err(ActionError::Unfit { element, reason: reason.to_owned() });
            }
        }
        Ok(Outcome { checked: Some(wanted), r#ref: Some(state.r#ref), ..Outcome::default() })
    }

    pub(super) async fn click_in(
        &self,
        place: &Place,
        selector: &str,
        action: &Action,
    ) -> Result<(), ActionError> {
        let at = self.aim_at(place, selector, true, true).await?;
        self.mouse(action).click(at.x, at.y, Button::Left, 1).await?;
        self.remember_pointer(at.x, at.y);
        Ok(())
    }

    pub(super) fn mouse<'a>(&'a self, action: &Action) -> Mouse<'a> {
        let mut hands = self.hands(|hands| *hands);
        hands.modifiers |= action.modifiers;
        Mouse { session: self.session(), hands, deadline: action.timeout }
    }

    pub(super) fn held(&self, action: &Action) -> u8 {
        self.hands(|hands| hands.modifiers) | action.modifiers
    }

    pub(super) fn remember_pointer(&self, x: f64, y: f64) {
        self.hands(|hands| hands.pointer = Some((x, y)));
    }

    pub(super) fn hands<T>(&self, with: impl FnOnce(&mut Hands) -> T) -> T {
        with(&mut self.0.hands.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn key_of(action: &Action) -> Result<Key, ActionError> {
    if action.key.is_empty() {
        return Err(ActionError::Invalid(format!("`key` is required for {}", action.kind.name())));
    }
    Ok(action.key.parse()?)
}
