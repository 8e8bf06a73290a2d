//! Acting on a page as a user does: with real mouse and keyboard events, after checks that they would arrive.
//!
//! An action takes two round trips to the page. The first finds its element and makes sure that it is there, visible,
//! at rest, enabled, and on top at the point that is about to be clicked, scrolling it into view if it is not; all of
//! that is one call of the script in the isolated world (`js/accessibility/act.js`). The second sends the events
//! together. What the page did is known when they are answered: a dialog that it opened, a window, a document that it
//! went to.
//!
//! Nothing waits for an element to appear: `POST /wait` does, and a selector that names nothing fails at once.

mod aim;
mod error;
mod gesture;
mod keyboard;
mod kind;
mod outcome;
mod perform;
mod pointer;

use std::time::Duration;

pub(crate) use self::{error::Fault, pointer::Hands};
pub use self::{
    error::{
        ACTION_FAILED, ActionError, ELEMENT_COVERED, ELEMENT_DISABLED, ELEMENT_HIDDEN, ELEMENT_MOVING,
        ELEMENT_UNFIT, ElementSummary, INVALID_ACTION, NO_ELEMENT, STALE_REF,
    },
    keyboard::{Key, UnknownKeyError},
    kind::{ActionKind, UnknownActionError},
    outcome::Outcome,
};

/// How long an action may take when nothing else is said.
pub(crate) const ACTION_TIMEOUT: Duration = Duration::from_secs(30);

/// Which mouse button.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    serde::Serialize,
    serde::Deserialize,
    schemars::JsonSchema,
    utoipa::ToSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Button {
    /// The first.
    #[default]
    Left,
    /// The wheel.
    Middle,
    /// The second.
    Right,
}

impl Button {
    const fn name(self) -> &'static str {
        match self {
            Self::Left => "left",
            Self::Middle => "middle",
            Self::Right => "right",
        }
    }

    /// Its bit among the buttons that are held.
    const fn bit(self) -> u8 {
        match self {
            Self::Left => 1,
            Self::Right => 2,
            Self::Middle => 4,
        }
    }
}

/// How a click is delivered.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    serde::Serialize,
    serde::Deserialize,
    schemars::JsonSchema,
    utoipa::ToSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum ClickMode {
    /// With the mouse, as a user does.
    #[default]
    Mouse,
    /// By calling the element's `click()`, whatever covers it.
    Dom,
    /// By dispatching the events that a mouse causes, whatever covers it.
    Dispatch,
}

/// What is acted on.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Aim {
    /// What has the focus, or where the pointer is.
    #[default]
    Present,
    /// An element, by a selector or reference.
    Element(String),
    /// An element, by Chrome's number.
    Node(i64),
    /// A point of the viewport in CSS pixels.
    Point {
        /// From the left edge.
        x: f64,
        /// From the top edge.
        y: f64,
    },
}

/// What to do.
#[derive(Clone, Debug)]
pub struct Action {
    /// Which kind.
    pub kind: ActionKind,
    /// What it is done to.
    pub aim: Aim,
    /// What is typed, filled in or entered.
    pub text: String,
    /// Which option of a select.
    pub value: String,
    /// Which key, such as `Enter` or `Control+A`.
    pub key: String,
    /// Which mouse button.
    pub button: Button,
    /// Keys held meanwhile: Alt 1, Ctrl 2, Meta 4, Shift 8.
    pub modifiers: u8,
    /// How a click is delivered.
    pub mode: ClickMode,
    /// Pixels to scroll, to turn the wheel or to drag: to the right and down.
    pub distance: Option<(f64, f64)>,
    /// Heights of the viewport to scroll down.
    pub pages: f64,
    /// Where a drag ends, if not at a distance.
    pub destination: Aim,
    /// Waits for the document that the action goes to.
    pub wait_navigation: bool,
    /// Whether the tab of a window that the action opens becomes the current one; otherwise it is closed.
    pub switch_tab: bool,
    /// How a dialog that the action opens is answered.
    pub dialog: Option<DialogAnswer>,
    /// How long it may take.
    pub timeout: Duration,
}

impl Action {
    /// An action on something, with nothing else said.
    pub fn new(kind: ActionKind, aim: Aim) -> Self {
        Self {
            kind,
            aim,
            text: String::new(),
            value: String::new(),
            key: String::new(),
            button: Button::Left,
            modifiers: 0,
            mode: ClickMode::Mouse,
            distance: None,
            pages: 0.0,
            destination: Aim::Present,
            wait_navigation: false,
            switch_tab: true,
            dialog: None,
            timeout: ACTION_TIMEOUT,
        }
    }
}

/// How a dialog is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DialogAnswer {
    /// OK or Cancel.
    pub accept: bool,
    /// What is entered into a prompt.
    pub text: Option<String>,
}
