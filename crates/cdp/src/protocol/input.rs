//! `Input`: what a user does with mouse and keyboard.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{Empty, command};

/// Moves, presses, releases or turns the mouse; answered when the page has handled it.
#[derive(Clone, Copy, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DispatchMouseEvent<'a> {
    /// `mouseMoved`, `mousePressed`, `mouseReleased` or `mouseWheel`.
    #[serde(rename = "type")]
    pub kind: &'a str,
    /// CSS pixels from the left edge of the viewport.
    pub x: f64,
    /// CSS pixels from its top edge.
    pub y: f64,
    /// Keys held: Alt 1, Ctrl 2, Meta 4, Shift 8.
    pub modifiers: u8,
    /// `none`, `left`, `middle` or `right`.
    pub button: &'a str,
    /// Buttons held: left 1, right 2, middle 4.
    pub buttons: u8,
    /// Which click in a row this is.
    pub click_count: u8,
    /// Of a wheel: pixels to the right.
    pub delta_x: f64,
    /// Of a wheel: pixels down.
    pub delta_y: f64,
}
command!(DispatchMouseEvent<'a>, "Input.dispatchMouseEvent", Empty);

/// Presses or releases a key; answered when the page has handled it.
#[derive(Clone, Copy, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DispatchKeyEvent<'a> {
    /// `keyDown`, `rawKeyDown`, `keyUp` or `char`.
    #[serde(rename = "type")]
    pub kind: &'a str,
    /// Keys held: Alt 1, Ctrl 2, Meta 4, Shift 8.
    pub modifiers: u8,
    /// The text that the key types.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<&'a str>,
    /// The text without modifiers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unmodified_text: Option<&'a str>,
    /// The key's meaning, `KeyboardEvent.key`.
    pub key: &'a str,
    /// The key's place, `KeyboardEvent.code`.
    pub code: &'a str,
    /// The key's old number, `KeyboardEvent.keyCode`.
    pub windows_virtual_key_code: u16,
    /// Which of two equal keys: 1 left, 2 right.
    pub location: u8,
    /// Whether it is held down.
    pub auto_repeat: bool,
}
command!(DispatchKeyEvent<'a>, "Input.dispatchKeyEvent", Empty);

/// Inserts a text as an input method would: without keys.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct InsertText<'a> {
    /// The text.
    pub text: &'a str,
}
command!(InsertText<'a>, "Input.insertText", Empty);

/// Reports drags instead of performing them (`Input.dragIntercepted`).
#[derive(Clone, Copy, Debug, Serialize)]
pub struct SetInterceptDrags {
    /// On or off.
    pub enabled: bool,
}
command!(SetInterceptDrags, "Input.setInterceptDrags", Empty);

/// Parameters of `Input.dragIntercepted`.
#[derive(Debug, Deserialize)]
pub struct DragIntercepted {
    /// What is dragged.
    pub data: Box<RawValue>,
}

/// Drags something over the page, or drops it.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct DispatchDragEvent<'a> {
    /// `dragEnter`, `dragOver`, `drop` or `dragCancel`.
    #[serde(rename = "type")]
    pub kind: &'a str,
    /// CSS pixels from the left edge of the viewport.
    pub x: f64,
    /// CSS pixels from its top edge.
    pub y: f64,
    /// What is dragged.
    pub data: &'a RawValue,
    /// Keys held.
    pub modifiers: u8,
}
command!(DispatchDragEvent<'a>, "Input.dispatchDragEvent", Empty);
